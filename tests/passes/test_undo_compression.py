"""The float form behind a compressed model computes what the model approximates, and quantizes nothing."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir
import pytest
from onnx import numpy_helper

import planish
from planish.errors import ModelError
from planish.importing import load_model
from planish.passes import canonicalise
from planish.passes.undo_compression import undo_compression

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
network (float[N, 8, 8, 8] x) => (float[N, 10] y) {
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    r = Relu(c)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, w2)
}
"""
RECIPES = ("int8", "int8-dynamic", "int8-weights", "int4-weights", "codebook")


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    proto = onnx.parser.parse_model(TEXT)
    for name, shape in (("w", (64, 8, 3, 3)), ("w2", (10, 64))):
        proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    return proto


@pytest.mark.parametrize("recipe", RECIPES)
def test_undone_model_approximates_its_source(model: onnx.ModelProto, recipe: str) -> None:
    x = np.random.default_rng(0).standard_normal((4, 8, 8, 8)).astype(np.float32)
    compressed = planish.compress(model, recipe=recipe, calibration=[{"x": x}]).model
    undone = canonicalise(load_model(compressed))
    assert undo_compression(undone)
    assert not [node.op_type for node in undone.graph if "Quantize" in node.op_type or node.op_type == "Gather"]
    expected = planish.InferenceSession(model).run(None, {"x": x})[0]
    got = planish.InferenceSession(onnx_ir.to_proto(undone)).run(None, {"x": x})[0]
    allowed = 0.01 if recipe.startswith("int8") else 0.2
    assert np.abs(got - expected).max() <= allowed * np.abs(expected).max()


def test_a_float_model_stays_as_it_is(model: onnx.ModelProto) -> None:
    clean = canonicalise(load_model(model))
    before = onnx_ir.to_proto(clean).SerializeToString(deterministic=True)
    assert not undo_compression(clean)
    assert onnx_ir.to_proto(clean).SerializeToString(deterministic=True) == before


def test_integer_operators_have_no_float_form() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> integer (uint8[2, 3] x, uint8[3, 2] w) => (int32[2, 2] y) '
        "{ y = MatMulInteger(x, w) }"
    )
    with pytest.raises(ModelError, match=r"\(MatMulInteger\): has no float form; measure against"):
        undo_compression(load_model(onnx.parser.parse_model(text)))


def test_bytes_that_are_rearranged_between_quantization_and_dequantization_become_float():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]>
        agraph (float[1, 4, 3] x) => (float[12] y)
        <float scale = {0.5}, uint8 zero = {128}, int64[1] shape = {-1}>
        {
            q = QuantizeLinear(x, scale, zero)
            t = Transpose <perm = [0, 2, 1]> (q)
            r = Reshape(t, shape)
            y = DequantizeLinear(r, scale, zero)
        }"""
    )
    loaded = canonicalise(load_model(model))
    assert undo_compression(loaded)
    x = np.random.default_rng(0).standard_normal((1, 4, 3)).astype(np.float32)
    (y,) = planish.InferenceSession(onnx_ir.to_proto(loaded)).run(None, {"x": x})
    np.testing.assert_array_equal(y, x.transpose(0, 2, 1).ravel())
