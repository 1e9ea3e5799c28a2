"""Sessions under load: many threads, many sessions, forks, exits; and the threads that the machine grants."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

import planish
from tests.lowering.harness import parse

from .test_session import integer_network

PAGE = os.sysconf("SC_PAGE_SIZE")
#: What the allocator may keep between two readings of a process that does the same work again.
SLACK = 8 << 20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def run_python(code: str, *arguments: str, before: list[str] | None = None, **environment: str) -> str:
    """Runs `code` in a new process that must succeed within a minute; what it prints."""
    command = [*(before or []), sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("load") / "model.onnx"
    onnx.save(integer_network()[0], path)
    return str(path)


def test_eight_threads_of_two_thousand_runs() -> None:
    """Correct results, and memory that does not grow with the runs."""
    model, _ = integer_network()
    session = planish.InferenceSession(model, planish.SessionOptions(intra_op_num_threads=2))
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal((1 + i % 3, 3, 8, 8)).astype(np.float32) for i in range(6)]
    expected = [session.run(None, {"x": x})[0] for x in feeds]
    wrong: list[int] = []
    memory: list[int] = []

    def work(first: int) -> None:
        for i in range(2000):
            at = (first + i) % len(feeds)
            if not np.array_equal(session.run(None, {"x": feeds[at]})[0], expected[at]):
                wrong.append(i)
            if first == 0 and i in (400, 1999):
                memory.append(resident())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert memory[1] - memory[0] < SLACK


def test_two_hundred_sessions_leave_nothing_behind() -> None:
    model, feeds = integer_network()
    expected = planish.InferenceSession(model).run(None, feeds)[0]
    memory = 0
    for i in range(200):
        np.testing.assert_array_equal(planish.InferenceSession(model).run(None, feeds)[0], expected)
        if i == 40:
            memory = resident()
    assert resident() - memory < SLACK


FORKS = """
import os, sys, threading, numpy as np, planish
session = planish.InferenceSession(sys.argv[1], planish.SessionOptions(intra_op_num_threads=2))
x = np.ones((2, 3, 8, 8), np.float32)
(want,) = session.run(None, {"x": x})
stop = False
def busy(rows):
    while not stop:
        session.run(None, {"x": np.ones((rows, 3, 8, 8), np.float32)})
threads = [threading.Thread(target=busy, args=(i + 1,)) for i in range(3)]
for t in threads: t.start()
for i in range(30):
    child = os.fork()
    if child == 0:
        (got,) = session.run(None, {"x": x})
        os._exit(0 if (got == want).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
for t in threads: t.join()
"""


@pytest.mark.parametrize("threads", ["1", "4"])
def test_children_of_a_fork_run(model_file: str, threads: str) -> None:
    """Forked while other threads are in the middle of runs; a child that hangs ends the test by its time limit."""
    run_python("import warnings; warnings.simplefilter('ignore')\n" + FORKS, model_file, PLANISH_NUM_THREADS=threads)


EXITS = """
import sys, threading, time, numpy as np, planish
session = planish.InferenceSession(sys.argv[1], planish.SessionOptions(intra_op_num_threads=4))
def busy():
    while True:
        session.run(None, {"x": np.ones((4, 3, 16, 16), np.float32)})
for _ in range(3): threading.Thread(target=busy, daemon=True).start()
time.sleep(0.2)
"""


def test_the_interpreter_exits_amid_runs(model_file: str) -> None:
    for _ in range(3):
        run_python(EXITS, model_file, PLANISH_NUM_THREADS="4")


THREADS = "from planish import _core; print(_core.default_threads())"


def test_the_affinity_mask_is_obeyed() -> None:
    last = max(os.sched_getaffinity(0))
    narrow = f"import os; os.sched_setaffinity(0, [{last}]); "
    assert run_python(narrow + THREADS, PLANISH_NUM_THREADS="") == "1"
    assert run_python(narrow + THREADS, PLANISH_NUM_THREADS="3") == "3"
    if shutil.which("taskset"):
        pinned = ["taskset", "--cpu-list", str(last)]
        assert run_python(THREADS, before=pinned, PLANISH_NUM_THREADS="") == "1"
        assert run_python(TASKS, before=pinned, PLANISH_NUM_THREADS="") == "0 more"


TASKS = """
import os, numpy as np, planish
from planish import _core
from tests.runtime.test_session import integer_network
model, feeds = integer_network()
feeds["x"] = np.ones((8, 3, 32, 32), np.float32)
planish.InferenceSession(model, planish.SessionOptions(intra_op_num_threads=1)).run(None, feeds)
before = len(os.listdir("/proc/self/task"))
for _ in range(10): planish.InferenceSession(model).run(None, feeds)
print(len(os.listdir("/proc/self/task")) - before, "more")
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_sessions_share_one_pool(threads: int) -> None:
    """Ten sessions take as many threads as the pool has, of which the caller is one."""
    assert run_python(TASKS, PLANISH_NUM_THREADS=str(threads)) == f"{threads - 1} more"


def test_the_quota_of_the_control_group_is_obeyed() -> None:
    """In a group made for this, where the system lets us make one."""
    enter = (
        "import os, sys; open(os.path.join(sys.argv[1], 'cgroup.procs'), 'w').write(str(os.getpid()));"
        "os.environ['PLANISH_NUM_THREADS'] = ''; "
    )
    for root, files in (
        ("/sys/fs/cgroup", {"cpu.max": "100000 100000"}),
        ("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}),
    ):
        group = Path(root, f"planish_test_{os.getpid()}")
        if not (Path(root) / "cgroup.procs").exists():
            continue
        try:
            group.mkdir()
        except OSError as error:
            pytest.skip(f"cannot make a control group: {error}")
        try:
            for name, text in files.items():
                (group / name).write_text(text)
            assert run_python(enter + THREADS, str(group)) == "1"
        except (OSError, PermissionError) as error:
            pytest.skip(f"cannot set a quota: {error}")
        finally:
            group.rmdir()
        return
    pytest.skip("no control groups here")


def test_every_run_gives_the_same_bits() -> None:
    """At a fixed number of threads, float models too; integer ones at any number."""
    seen = set()
    for threads in (1, 2, 4):
        seen |= results(*integer_network(), threads)
    assert len(seen) == 1
    image = np.random.default_rng(0).standard_normal((2, 3, 33, 47)).astype(np.float32)
    for threads in (1, 2, 4):
        assert len(results(float_network(), {"x": image}, threads)) == 1


def results(model: object, feeds: dict[str, np.ndarray], threads: int) -> set[bytes]:
    """What three runs of three sessions give, while another thread keeps the pool busy."""
    seen, stop = set(), threading.Event()
    options = planish.SessionOptions(intra_op_num_threads=threads)
    other = planish.InferenceSession(model, options)

    def disturb() -> None:
        while not stop.is_set():
            other.run(None, feeds)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        for _ in range(3):
            session = planish.InferenceSession(model, options)
            seen |= {b"".join(a.tobytes() for a in session.run(None, feeds)) for _ in range(3)}
    finally:
        stop.set()
        disturbing.join()
    return seen


def float_network() -> object:
    """Convolution, depthwise, product, normalisation and sums along every kind of axis."""
    rng = np.random.default_rng(0)
    shapes = {"w": (24, 3, 3, 3), "d": (24, 1, 3, 3), "m": (24, 24), "s": (24,), "b": (24,)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    body = (
        "c = Conv (x, w) r = Relu (c) p = Conv <group = 24> (r, d) t = Transpose <perm = [0, 2, 3, 1]> (p) "
        "l = LayerNormalization (t, s, b) g = MatMul (l, m) z = Softmax (g) q = ReduceSum <keepdims = 0> (z) "
        "v = ReduceMean <axes = [1, 2], keepdims = 0> (g)"
    )
    return parse(body, "float[n,3,h,w] x", "float q, float[n,24] v, float[n,i,j,24] z", 17, weights)
