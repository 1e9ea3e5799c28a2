"""Static int8: integer from end to end, shared scales, folded activations, int32 biases."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from small_models import Judge, model_of

from planish.compress import compress
from planish.compress.static import quantize_bias


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def scale_of(model: onnx.ModelProto, tensor: str) -> str:
    """The name of the scale with which `tensor` is quantized."""
    return next(n.input[1] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == tensor)


def test_a_cnn_is_integer_from_end_to_end(cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    report = compress(cnn, calibration={"x": images})
    model = report.model
    assert model is not None
    float_result, integer_result = judge(cnn, {"x": images})[0], judge(model, {"x": images})[0]
    assert (float_result.argmax(1) == integer_result.argmax(1)).mean() >= 0.95
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["Relu"] == 0
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "Add", "MaxPool", "Concat", "GlobalAveragePool", "Flatten"):
            assert all(producers[name].op_type == "DequantizeLinear" for name in node.input if name in producers)
            readers = [other.op_type for other in model.graph.node if node.output[0] in other.input]
            assert readers == ["QuantizeLinear"]
    assert producers["scores"].op_type == "DequantizeLinear"
    assert model.opset_import[0].version <= 21
    assert model.ir_version <= 10


def test_types_of_weights_activations_and_biases(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    model = compress(cnn, calibration={"x": images}).model
    assert model is not None
    arrays = constants(model)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
            raw, scale = arrays[node.input[0]], arrays[node.input[1]]
            assert raw.dtype == (np.int32 if raw.ndim == 1 else np.int8)
            assert scale.shape in ((), (raw.shape[0],))
            assert np.isfinite(scale).all()
            assert (scale > 0).all()
        if node.op_type == "QuantizeLinear":
            assert arrays[node.input[2]].dtype == np.uint8


def test_lossless_operators_share_a_scale(cnn: onnx.ModelProto, images: np.ndarray) -> None:
    model = compress(cnn, calibration={"x": images}).model
    assert model is not None
    shared = {scale_of(model, name) for name in ("r1", "r2", "joined", "pooled")}
    assert len(shared) == 1
    assert scale_of(model, "r3") not in shared
    assert scale_of(model, "mean") == scale_of(model, "flat")


def test_a_concat_input_with_another_reader_keeps_its_scale() -> None:
    w = np.full((4, 4, 1, 1), 0.1, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="one"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="two"),
        helper.make_node("Concat", ["a", "b"], ["y"], axis=1, name="join"),
    ]
    model = model_of(nodes, {"w": w}, {"x": [1, 4, 2, 2]}, ["y"])
    found = compress(model, calibration="random", samples=4).model
    assert found is not None
    assert scale_of(found, "a") != scale_of(found, "y_QuantizeLinear_Input")


def test_a_clip_folds_where_saturation_does_the_same() -> None:
    w = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    bounds = {"low": np.float32(0).reshape(()), "six": np.float32(6).reshape(())}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Clip", ["c", "low", "six"], ["r"], name="clip"),
        helper.make_node("Conv", ["r", "w"], ["y"], name="last"),
    ]
    model = model_of(nodes, {"w": w, **bounds}, {"x": [1, 4, 2, 2]}, ["y"])
    found = compress(model, calibration=[{"x": np.linspace(-9, 9, 16, dtype=np.float32).reshape(1, 4, 2, 2)}]).model
    assert found is not None
    assert "Clip" not in {node.op_type for node in found.graph.node}


def test_a_batched_matmul_takes_its_bias_along(judge: Judge) -> None:
    rng = np.random.default_rng(5)
    arrays = {"w0": rng.standard_normal((8, 16)), "b0": rng.standard_normal(16), "w1": rng.standard_normal((16, 4))}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m0"], name="up"),
        helper.make_node("Add", ["m0", "b0"], ["a0"], name="bias"),
        helper.make_node("Relu", ["a0"], ["r0"], name="relu"),
        helper.make_node("MatMul", ["r0", "w1"], ["y"], name="down"),
    ]
    floats = {name: array.astype(np.float32) for name, array in arrays.items()}
    model = model_of(nodes, floats, {"x": ["N", 6, 8]}, ["y"])
    x = rng.standard_normal((64, 6, 8)).astype(np.float32)
    found = compress(model, calibration={"x": x}).model
    assert found is not None
    expected, got = judge(model, {"x": x})[0], judge(found, {"x": x})[0]
    assert np.square(got - expected).sum() < 1e-3 * np.square(expected).sum()
    assert np.int32 in {array.dtype.type for array in constants(found).values()}
    quantized = {node.input[0] for node in found.graph.node if node.op_type == "QuantizeLinear"}
    assert "m0" not in quantized


@pytest.mark.parametrize("products", ["float", "uint8"])
def test_products_of_activations_are_a_choice(products: str, judge: Judge) -> None:
    rng = np.random.default_rng(1)
    arrays = {name: rng.standard_normal((8, 8)).astype(np.float32) for name in ("wq", "wk", "wv")}
    nodes = [
        *(helper.make_node("MatMul", ["x", f"w{n}"], [n], name=n) for n in "qkv"),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1], name="turn"),
        helper.make_node("MatMul", ["q", "kt"], ["logits"], name="scores"),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1, name="softmax"),
        helper.make_node("MatMul", ["p", "v"], ["y"], name="mix"),
    ]
    model = model_of(nodes, arrays, {"x": ["N", 5, 8]}, ["y"])
    x = rng.standard_normal((16, 5, 8)).astype(np.float32) * 0.3
    recipe = (
        f'version = 1\nproducts = "{products}"\n'
        '[[rules]]\nmatch = {op = "MatMul"}\nweights = "int8"\nactivations = "uint8"\n'
    )
    found = compress(model, recipe=recipe, calibration={"x": x}).model
    assert found is not None
    quantized = {
        node.input[0].removesuffix("_QuantizeLinear_Input")
        for node in found.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert quantized == ({"x", "q", "k", "kt", "v", "logits", "p", "y"} if products == "uint8" else {"x"})
    expected, got = judge(model, {"x": x})[0], judge(found, {"x": x})[0]
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()


def test_what_only_float_operators_read_stays_float(judge: Judge) -> None:
    w = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="matmul"),
        helper.make_node("Add", ["m", "x"], ["residual"], name="add"),
        helper.make_node("Erf", ["residual"], ["y"], name="erf"),
    ]
    found = compress(model_of(nodes, {"w": w}, {"x": ["N", 8]}, ["y"]), calibration="random", samples=4).model
    assert found is not None
    assert [node.input[0] for node in found.graph.node if node.op_type == "QuantizeLinear"] == ["x"]


def test_a_bias_beyond_int32_widens_the_weights_scale() -> None:
    w = np.full((2, 4), 1e-9, np.float32)
    w[1] = 1.0
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm", transB=1)]
    model = model_of(nodes, {"w": w, "b": np.array([5, 5], np.float32)}, {"x": [1, 4]}, ["y"])
    report = compress(model, calibration="random", samples=8)
    assert report.model is not None
    arrays = constants(report.model)
    bias = next(array for array in arrays.values() if array.dtype == np.int32)
    assert 2**29 < bias[0] <= 2**30
    assert report.layers[0].weights == "int8"
    assert "bias" not in report.layers[0].note


def test_a_bias_that_cannot_fit_keeps_its_layer_float() -> None:
    w = np.full((1, 4), 1e-30, np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm", transB=1)]
    model = model_of(nodes, {"w": w, "b": np.array([3e38], np.float32)}, {"x": [1, 4]}, ["y"])
    report = compress(model, calibration=[{"x": np.full((1, 4), 1e-30, np.float32)}])
    assert report.layers[0].note.startswith("its bias does not fit int32")
    assert report.layers[0].weights == "float32"
    assert report.model is not None
    assert {node.op_type for node in report.model.graph.node} == {"Gemm"}


def test_quantize_bias_bounds_the_accumulator() -> None:
    values = np.full((1, 1000), 127, np.int8)
    scale = np.array([1e-3], np.float32)
    room = 2**31 - 1 - 255 * 127 * 1000
    for steps, fits in ((room * 0.99, True), (room * 1.01, False)):
        found = quantize_bias(np.array([steps * 1e-6], np.float32), np.float32(1e-3), scale, values)
        assert (found is not None) == fits


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_methods(method: str, cnn: onnx.ModelProto, images: np.ndarray, judge: Judge) -> None:
    recipe = (
        f'version = 1\ncalibration = {{method = "{method}"}}\n'
        '[[rules]]\nmatch = {op = ["Conv", "Gemm"]}\nweights = "int8"\nactivations = "uint8"\n'
    )
    report = compress(cnn, recipe=recipe, calibration={"x": images})
    assert report.model is not None
    assert report.total.cosine is not None
    assert report.total.cosine > 0.998
    assert all(layer.output_sqnr is not None and layer.output_sqnr > 20 for layer in report.layers)
