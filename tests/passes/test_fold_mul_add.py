"""Constants per channel behind a layer."""

from __future__ import annotations

from typing import Any

import onnx.parser
import pytest

from planish.importing import load_model
from planish.passes.fold_mul_add import fold_mul_add
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)
CONV = "w = Constant <value = float[2,1,1,1] {2.0, -3.0}> () c = Conv(x, w)"


def text_of(body: str, x: str = "1,1,3,3", y: str = "1,2,3,3") -> str:
    return f'<ir_version: 10, opset_import: ["" : 21]> g (float[{x}] x) => (float[{y}] y) {{ {body} }}'


@pytest.mark.parametrize(
    "rest",
    [
        "k = Constant <value = float[2,1,1] {2.0, 0.5}> () y = Mul(c, k)",
        "k = Constant <value_float = 0.25> () y = Mul(k, c)",
        "k = Constant <value = float[1,2,1,1] {2.0, 4.0}> () y = Div(c, k)",
        "k = Constant <value = float[1,2,1,1] {1.0, -4.0}> () y = Add(k, c)",
        "k = Constant <value_float = 3.0> () y = Sub(c, k)",
    ],
)
def test_the_convolution_absorbs_it(apply: Any, operators: Any, rest: str) -> None:
    assert operators(apply(fold_mul_add, text_of(f"{CONV} {rest}"), 1e-6, first=BEFORE)) == ["Conv"]


@pytest.mark.parametrize(
    "rest",
    [
        "k = Constant <value = float[3] {2.0, 0.5, 1.0}> () y = Mul(c, k)",
        "k = Constant <value_float = 3.0> () y = Sub(k, c)",
        "k = Constant <value_float = 3.0> () y = Div(k, c)",
        "k = Constant <value_floats = [1.0, 2.0, 3.0]> () m = Add(c, k) y = Relu(m)",
        "k = Constant <value_float = 3.0> () m = Mul(c, k) y = Add(m, c)",
    ],
)
def test_other_constants_are_kept(apply: Any, operators: Any, rest: str) -> None:
    assert len(operators(apply(fold_mul_add, text_of(f"{CONV} {rest}"), 1e-6, first=BEFORE))) > 1


def test_division_by_zero_is_kept() -> None:
    text = text_of(f"{CONV} k = Constant <value = float[2,1,1] {{0.0, 1.0}}> () y = Div(c, k)")
    model = load_model(onnx.parser.parse_model(text))
    lift_constants(model)
    resolve_shapes(model)
    assert not fold_mul_add(model)


def test_a_product_with_an_addend_becomes_gemm(apply: Any, operators: Any) -> None:
    body = "w = Constant <value = float[2,2] {1.0, 2.0, 3.0, 4.0}> () b = Constant <value = float[2] {1.0, -1.0}> () "
    model = apply(fold_mul_add, text_of(body + "h = MatMul(x, w) y = Add(b, h)", "3,2", "3,2"), 1e-6, first=BEFORE)
    assert operators(model) == ["Gemm"]
    model = apply(fold_mul_add, text_of(body + "h = MatMul(x, w) y = Add(b, h)", "5,3,2", "5,3,2"), 1e-6, first=BEFORE)
    assert operators(model) == ["MatMul", "Add"]


def test_a_bias_behind_the_squeeze_of_a_one_dimensional_convolution(apply: Any, operators: Any) -> None:
    body = f"""{CONV} a = Constant <value_ints = [2]> () s = Squeeze(c, a)
    k = Constant <value = float[1,2,1] {{1.0, -4.0}}> () y = Add(s, k)"""
    model = apply(fold_mul_add, text_of(body, "1,1,1,5", "1,2,5"), 1e-6, first=BEFORE)
    assert operators(model) == ["Conv", "Squeeze"]
