"""The size of a model counts its external data once, and never leaves the model's folder."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from planish.errors import ModelError
from planish.measure import model_bytes


def save_external(model: onnx.ModelProto, path: Path, location: str) -> Path:
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_external_data_are_counted(linear: Path, tmp_path: Path) -> None:
    assert model_bytes(linear) == linear.stat().st_size
    path = save_external(onnx.load(linear), tmp_path / "external.onnx", "weights.bin")
    assert model_bytes(path) == path.stat().st_size + 8 * 3 * 4


def test_missing_and_outside_data_are_errors(linear: Path, tmp_path: Path) -> None:
    path = save_external(onnx.load(linear), tmp_path / "external.onnx", "weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"'weights.bin' is missing"):
        model_bytes(path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="lies outside its folder"):
        model_bytes(path)


def test_not_onnx_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="not an ONNX file"):
        model_bytes(tmp_path / "bad.onnx")


def test_a_plan_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "m.plan").write_bytes(b"x" * 77)
    assert model_bytes(tmp_path / "m.plan") == 77
