"""QuantizeLinear past rearrangement."""

from __future__ import annotations

from typing import Any

from planish.passes.hoist_quantization import hoist_quantization
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)
SCALE = (
    "s = Constant <value_float = 0.05> () z = Constant <value = uint8 {128}> () t = Constant <value_ints = [6, 4]> ()"
)


def text_of(body: str) -> str:
    return f'<ir_version: 10, opset_import: ["" : 21]> g (float[2,3,4] x) => (uint8[a,b] y) {{ {SCALE} {body} }}'


def test_moves_to_the_computing_node(apply: Any, operators: Any) -> None:
    body = "h = Sigmoid(x) p = Transpose <perm = [0, 2, 1]> (h) r = Reshape(p, t) y = QuantizeLinear(r, s, z)"
    model = apply(hoist_quantization, text_of(body), first=BEFORE)
    assert operators(model) == ["Sigmoid", "QuantizeLinear", "Transpose", "Reshape"]
    assert model.graph.outputs[0].name == "y"


def test_stays_behind_a_dequantized_value(apply: Any, operators: Any) -> None:
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) r = Reshape(d, t) y = QuantizeLinear(r, s, z)"
    model = apply(hoist_quantization, text_of(body), first=BEFORE)
    assert operators(model) == ["QuantizeLinear", "DequantizeLinear", "Reshape", "QuantizeLinear"]


def test_stays_where_the_value_is_shared_or_scales_differ(apply: Any, operators: Any) -> None:
    body = "h = Sigmoid(x) r = Reshape(h, t) f = Relu(r) q = QuantizeLinear(f, s, z) y = QuantizeLinear(r, s, z)"
    assert operators(apply(hoist_quantization, text_of(body), first=BEFORE))[-1] == "QuantizeLinear"
    axis = """v = Constant <value = float[4] {0.1, 0.2, 0.1, 0.2}> () h = Sigmoid(x) r = Reshape(h, t)
    y = QuantizeLinear <axis = 1> (r, v)"""
    assert operators(apply(hoist_quantization, text_of(axis), first=BEFORE)) == ["Sigmoid", "Reshape", "QuantizeLinear"]
