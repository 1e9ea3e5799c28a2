"""Faults while files are written: the old file or the new one is there, never a part of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import planish

from .test_process import _command, _environment

WRITER = """
import itertools, sys, numpy as np, onnx, planish
models = [onnx.load(name) for name in ("model.onnx", "other.onnx")]
feeds = [{"x": np.zeros((1, 3, 16, 16), np.float32)}]
for model in itertools.cycle(models):
    planish.export(model, "out.plan")
    planish.compress(model, "out.onnx", recipe="int8", calibration=feeds)
    print("written", flush=True)
"""


def _other_weights() -> None:
    model = onnx.load("model.onnx")
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array * 2, tensor.name))
    onnx.save(model, "other.onnx")


def _contents(model: str) -> tuple[bytes, bytes]:
    """What the writer writes for a model: the plan and the compressed file."""
    proto = onnx.load(model)
    planish.export(proto, "expected.plan")
    planish.compress(proto, "expected.onnx", recipe="int8", calibration=[{"x": np.zeros((1, 3, 16, 16), np.float32)}])
    return Path("expected.plan").read_bytes(), Path("expected.onnx").read_bytes()


def test_a_kill_at_any_moment_leaves_whole_files(place: Path) -> None:
    _other_weights()
    expected = [_contents("model.onnx"), _contents("other.onnx")]
    moments = random.Random(0)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-P", "-c", WRITER], stdout=subprocess.PIPE, text=True, env=_environment()
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        time.sleep(moments.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert Path("out.plan").read_bytes() in [plan for plan, _ in expected]
        assert Path("out.onnx").read_bytes() in [model for _, model in expected]


@pytest.mark.parametrize(
    "words",
    ["export model.onnx -o out.plan", "compress model.onnx -o out.onnx --recipe int8 --calibration random --quiet"],
)
def test_a_file_that_cannot_grow_is_one_line(place: Path, words: str) -> None:
    """As on a full disk: the write fails half-way, the old file stays, no part is left."""
    out = words.split()[3]
    Path(out).write_bytes(b"the old file")
    before = sorted(path.name for path in place.iterdir())
    limited = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *_command(*words.split())]
    outcome = subprocess.run(limited, capture_output=True, text=True, env=_environment(), timeout=60, check=False)
    assert (outcome.returncode, outcome.stderr) == (
        1,
        f"planish: error: {out}: cannot be written: File too large; choose a folder that exists and has room\n",
    )
    assert Path(out).read_bytes() == b"the old file"
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize(
    "words", ["export model.onnx -o out.plan", "compress model.onnx --recipe int8 --calibration random -o out.onnx"]
)
def test_a_folder_that_is_read_only_is_one_line(place: Path, words: str) -> None:
    folder = place / "closed"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:  # whom only the system's own folders refuse
        folder = Path("/sys/kernel")
    *before, out = words.split()
    outcome = subprocess.run(
        _command(*before, str(folder / out)),
        capture_output=True, text=True, env=_environment(), timeout=60, check=False,
    )  # fmt: skip
    assert (outcome.returncode, outcome.stderr.count("\n")) == (1, 1)
    assert f"planish: error: {folder / out}: cannot be written: " in outcome.stderr


def test_files_that_vanish_or_are_replaced_do_not_reach_a_session(place: Path) -> None:
    """A large plan is mapped: what is exported to its path afterwards is a file of its own."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2200)).astype(np.float32)

    def write() -> np.ndarray:
        w = rng.standard_normal((2200, 2200)).astype(np.float32)
        model = onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2200] x) => (float[1,2200] y) { y = MatMul (x, w) }'
        )
        model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
        planish.export(model, "large.plan")
        return planish.InferenceSession("large.plan").run(None, {"x": x})[0]

    first = write()
    session = planish.InferenceSession("large.plan")
    second = write()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], first)
    session = planish.InferenceSession("large.plan")
    Path("large.plan").unlink()
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], second)
    with pytest.raises(planish.PlanishError, match=r"^large\.plan: cannot open the file \(No such file or directory\)"):
        planish.InferenceSession("large.plan")
