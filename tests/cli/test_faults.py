"""Faults while files are written: the old file or the new one is there, never a part of it."""

from __future__ import annotations

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
