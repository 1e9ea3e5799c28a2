"""A constant added behind MatMul rides in the product's epilogue."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir
import pytest

import planish
from planish.importing import load_model
from planish.lowering.lower import lower
from planish.passes import canonicalise

WEIGHTS = "w = Constant <value = float[2,3] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}> ()"


def model_of(bias: str, body: str) -> onnx_ir.Model:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[n,4,2] x) => (float[n,4,3] y) {{ {WEIGHTS} b = Constant <value = {bias}> () h = MatMul(x, w) {body} }}"""
    return canonicalise(load_model(onnx.parser.parse_model(text)))


@pytest.mark.parametrize("body", ["y = Add(h, b)", "y = Add(b, h)"])
def test_is_one_step(body: str) -> None:
    model = model_of("float[3] {0.5, -1.0, 2.0}", body)
    assert [step.kind for step in lower(model).steps] == ["gemm"]
    x = np.random.default_rng(0).standard_normal((2, 4, 2)).astype(np.float32)
    (y,) = planish.InferenceSession(model).run(None, {"x": x})
    weights = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(y, x @ weights + np.array([0.5, -1.0, 2.0], np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("bias", "body"),
    [
        ("float[4,1] {0.5, -1.0, 2.0, 1.0}", "y = Add(h, b)"),
        ("float[3] {0.5, -1.0, 2.0}", "r = Relu(h) a = Add(h, b) y = Add(a, r)"),
    ],
)
def test_another_addition_stays(bias: str, body: str) -> None:
    assert "binary" in [step.kind for step in lower(model_of(bias, body)).steps]
