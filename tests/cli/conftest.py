"""What the tests of the command line share: a folder of small models and data, and a way to call commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from planish.cli import main

#: A convolution, its activation, pooling and a product: three instructions of different families.
NETWORK = """
<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 3, 16, 16] x) => (float[N, 10] y) {
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(c)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, w2, b2)
}
"""
#: Binarizer has no native kernel.
FALLBACK = """
<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 1]>
fallback (float[N, 4, 4] x) => (float[N, 4, 4] y) {
    a = Relu(x)
    d = ai.onnx.ml.Binarizer <threshold = 0.5> (a)
    y = Neg(d)
}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models and data, and broken ones."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((16, 3, 3, 3)),
        "b": rng.standard_normal(16),
        "w2": rng.standard_normal((10, 16)),
        "b2": rng.standard_normal(10),
    }
    network = onnx.parser.parse_model(NETWORK)
    network.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()
    )
    for number, node in enumerate(network.graph.node):
        node.name = f"{node.op_type.lower()}{number}"
    onnx.save(network, folder / "model.onnx")
    onnx.save(onnx.parser.parse_model(FALLBACK), folder / "fallback.onnx")
    data = (folder / "model.onnx").read_bytes()
    (folder / "half.onnx").write_bytes(data[: len(data) // 2])
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "text.onnx").write_text("this is not a model\n")
    (folder / "text.npz").write_text("this is no archive\n")
    (folder / "bad.toml").write_text('version = 1\n[[rules]]\nweigths = "int8"\n')
    (folder / "nothing.toml").write_text('version = 1\n[[rules]]\nmatch = {name = "conv9"}\nweights = "int8"\n')
    samples = rng.standard_normal((24, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "samples.npz", x=samples)
    np.savez(folder / "wrong_name.npz", image=samples)
    np.savez(folder / "wrong_type.npz", x=samples.astype(np.float64))
    np.savez(folder / "channels_last.npz", x=samples.transpose(0, 2, 3, 1))
    np.savez(folder / "nan.npz", x=np.full_like(samples, np.nan))
    np.savez(folder / "none.npz", x=samples[:0])
    np.save(folder / "array.npy", samples)
    np.save(folder / "labels.npy", rng.integers(0, 10, len(samples)))
    np.save(folder / "few_labels.npy", np.zeros(3, np.int64))
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def place(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of links to what was prepared, as the current one; planish's environment variables are not set."""
    for path in prepared.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PLANISH_")]:
        monkeypatch.delenv(name)
    return tmp_path
