"""Chains of Relu, Clip, Min and Max."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.lift_constants import lift_constants
from planish.passes.merge_relu_clips import merge_relu_clips
from planish.passes.patterns import scalar_of
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)
LOW = "l = Constant <value_float = -0.5> ()"
SIX = "s = Constant <value_float = 0.6> ()"


@pytest.mark.parametrize(
    ("body", "expected", "bounds"),
    [
        (f"{LOW} {SIX} h = Relu(x) y = Clip(h, l, s)", "Clip", (0.0, 0.6)),
        (f"{LOW} {SIX} h = Clip(x, l, s) y = Relu(h)", "Clip", (0.0, 0.6)),
        (f"{LOW} {SIX} h = Max(l, x) y = Min(h, s)", "Clip", (-0.5, 0.6)),
        ("z = Constant <value_float = 0.0> () y = Clip(x, z)", "Relu", (None, None)),
        ("z = Constant <value_float = 0.0> () y = Max(x, z)", "Relu", (None, None)),
        ("h = Relu(x) y = Relu(h)", "Relu", (None, None)),
        (f"{SIX} h = Min(x, s) y = Min(h, s)", "Clip", (None, 0.6)),
    ],
)
def test_chain_becomes_one(apply: Any, operators: Any, body: str, expected: str, bounds: Any) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[4,5] x) => (float[4,5] y) {{ {body} }}'
    model = apply(merge_relu_clips, text, first=BEFORE)
    node = model.graph[-1]
    assert node.op_type == expected
    inputs = [*node.inputs, None, None][1:3]
    assert [None if v is None else round(scalar_of(v), 6) for v in inputs] == list(bounds)


def test_shared_and_integer_chains_are_kept(apply: Any, operators: Any) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[4] x, int32[4] n) => (float[4] y, float[4] z, int32[4] m) {
      s = Constant <value_float = 0.6> ()
      i = Constant <value = int32 {3}> ()
      h = Relu(x)
      y = Clip(h, , s)
      z = Neg(h)
      m = Max(n, i)
    }"""
    assert operators(apply(merge_relu_clips, text, first=BEFORE)) == ["Relu", "Clip", "Neg", "Max"]
