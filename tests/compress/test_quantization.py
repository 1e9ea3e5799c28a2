"""ONNX Runtime's quantization calls."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization as theirs
import pytest
from small_models import Judge

import planish.quantization as ours
from planish.errors import RecipeError, UsageError


class Reader(ours.CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"x": image[np.newaxis]}


@pytest.mark.parametrize("name", ["quantize_static", "quantize_dynamic"])
def test_parameters_have_the_same_names_order_and_defaults(name: str) -> None:
    def parameters(module: object) -> list[tuple[str, object]]:
        found = inspect.signature(getattr(module, name)).parameters.values()
        return [(p.name, getattr(p.default, "name", p.default)) for p in found]

    expected = parameters(theirs)
    assert parameters(ours)[: len(expected)] == expected


@pytest.mark.parametrize("activation", [ours.QuantType.QInt8, ours.QuantType.QUInt8])
def test_quantize_static(
    activation: ours.QuantType, cnn: onnx.ModelProto, images: np.ndarray, judge: Judge, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(cnn, source)
    ours.quantize_static(
        str(source), str(output), Reader(images), activation_type=activation, nodes_to_exclude=["first"]
    )
    model = onnx.load(output)
    zeros = [t for t in model.graph.initializer if t.name.endswith("zero_point")]
    expected = onnx.TensorProto.INT8 if activation is ours.QuantType.QInt8 else onnx.TensorProto.UINT8
    assert {tensor.data_type for tensor in zeros} == {expected}
    assert "w0" in {tensor.name for tensor in model.graph.initializer}
    agree = judge(model, {"x": images})[0].argmax(1) == judge(cnn, {"x": images})[0].argmax(1)
    assert agree.mean() >= 0.93


def test_quantize_dynamic(mlp: onnx.ModelProto, judge: Judge, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    ours.quantize_dynamic(mlp, output)
    model = onnx.load(output)
    assert sum(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node) == 2
    x = np.random.default_rng(0).standard_normal((16, 32)).astype(np.float32)
    expected, got = judge(mlp, {"x": x})[0], judge(model, {"x": x})[0]
    assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


def test_what_is_not_written_is_refused(cnn: onnx.ModelProto, images: np.ndarray, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    with pytest.raises(UsageError, match=r"use QuantFormat\.QDQ"):
        ours.quantize_static(cnn, output, Reader(images), quant_format=ours.QuantFormat.QOperator)
    with pytest.raises(UsageError, match=r"use QuantType\.QInt8"):
        ours.quantize_dynamic(cnn, output, weight_type=ours.QuantType.QUInt8)
    with pytest.raises(UsageError, match="use_external_data_format"):
        ours.quantize_dynamic(cnn, output, use_external_data_format=True)
    with pytest.raises(UsageError, match="Distribution"):
        ours.quantize_static(cnn, output, Reader(images), calibrate_method=ours.CalibrationMethod.Distribution)
    with pytest.raises(RecipeError, match="the nearest are deep"):
        ours.quantize_static(cnn, output, Reader(images), nodes_to_exclude=["deeep"])
    with pytest.warns(UserWarning, match="SmoothQuant"):
        ours.quantize_dynamic(cnn, output, extra_options={"SmoothQuant": True})
