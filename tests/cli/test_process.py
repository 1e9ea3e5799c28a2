"""The command line as a process: signals, pipes, full disks, lazy imports, and an install without onnx and rich."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import planish

ENGINE = str(Path(planish.__file__).parents[1])


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "planish", *arguments]


def _environment(*folders: str, **change: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, ENGINE]), **change}


def _run(*arguments: str, **change: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, env=_environment(**change), timeout=60)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from planish.cli import main; main(['--help']); main(['compress', '--help']); "
        "heavy = {'numpy', 'onnx', 'onnx_ir', 'rich', 'planish._core'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env=_environment(), stdout=subprocess.DEVNULL)


def test_debug_shows_where_an_error_comes_from(place: Path) -> None:
    plain = _run("run", "missing.onnx")
    assert (plain.returncode, plain.stderr.count("\n")) == (1, 1)
    debug = _run("run", "missing.onnx", PLANISH_DEBUG="1")
    assert debug.stderr.startswith("Traceback")
    assert debug.stderr.endswith(plain.stderr)


def test_wrong_environment_is_one_line(place: Path) -> None:
    outcome = _run("run", "model.onnx", PLANISH_ISA="sse9")
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("planish: error: PLANISH_ISA: unknown instruction set 'sse9'; use one of scalar, ")
    assert outcome.stderr.count("\n") == 1


def test_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        _command("doctor", "--kernels"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(place: Path) -> None:
    with open("/dev/full", "w") as full:
        outcome = subprocess.run(
            _command("doctor"), stdout=full, stderr=subprocess.PIPE, text=True, env=_environment(), timeout=60
        )
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "planish: error: planish doctor: cannot write its output: No space left on device; "
        "free some room or write elsewhere\n"
    )


def test_little_memory_is_one_line(place: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> big (float[N] x) => (float[N] y) { y = Relu(x) }'
    onnx.save(onnx.parser.parse_model(text), "relu.onnx")
    limited = [
        "sh",
        "-c",
        'ulimit -v 1500000; exec "$@"',
        "sh",
        *_command("run", "relu.onnx", "--shape", "x=400000000"),
    ]
    outcome = subprocess.run(
        limited, capture_output=True, text=True, env=_environment(OPENBLAS_NUM_THREADS="1"), timeout=60
    )
    assert outcome.returncode == 1
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith("planish: error: ")


@pytest.mark.parametrize("kilobytes", [120_000, 140_000, 160_000])
def test_too_little_memory_to_load_what_is_needed_is_one_line(place: Path, kilobytes: int) -> None:
    limited = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh", *_command("export", "model.onnx", "-o", "o.plan")]
    outcome = subprocess.run(
        limited, capture_output=True, text=True, env=_environment(OPENBLAS_NUM_THREADS="1"), timeout=60
    )
    # What the interpreter and its own modules say when they lack memory is theirs; planish adds one line.
    own = [line for line in outcome.stderr.splitlines() if line.startswith("planish: error: ")]
    assert outcome.returncode in (0, 1)
    assert len(own) == outcome.returncode, outcome.stderr


def _answer_to_interruption() -> None:
    """A parent that runs in the background may have left SIGINT ignored, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interruption_leaves_nothing_behind(place: Path) -> None:
    before = sorted(path.name for path in place.iterdir())
    os.mkfifo("samples")
    process = subprocess.Popen(
        _command("compress", "model.onnx", "-o", "out.onnx", "--calibration", "samples"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(),
        preexec_fn=_answer_to_interruption,
    )  # fmt: skip
    with open("samples", "wb"):  # opens once the command reads its samples, and gives it none
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err == "planish: error: planish compress: interrupted; nothing is half-written\n"
    assert sorted(path.name for path in place.iterdir()) == sorted([*before, "samples"])


def test_a_plan_needs_numpy_alone(place: Path) -> None:
    planish.export("model.onnx", "model.plan")
    missing = place / "missing"
    missing.mkdir()
    for name in ("onnx", "onnx_ir", "rich", "google"):
        (missing / f"{name}.py").write_text(f"raise ImportError('{name} is not installed')\n")
    environment = _environment(str(missing))
    for arguments in (
        ("run", "model.plan", "--inputs", "samples.npz", "--output", "out.npz"),
        ("inspect", "model.plan", "--html", "page.html"),
        ("bench", "model.plan", "--seconds", "0.1", "--threads", "1"),
        ("doctor",),
    ):
        outcome = subprocess.run(_command(*arguments), capture_output=True, text=True, env=environment, timeout=60)
        assert (outcome.returncode, outcome.stderr) == (0, ""), arguments
        assert outcome.stdout
    session = planish.InferenceSession("model.onnx")
    expected = session.run(None, {"x": np.load("samples.npz")["x"]})[0]
    np.testing.assert_array_equal(np.load("out.npz")["y"], expected)
