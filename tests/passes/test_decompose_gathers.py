"""Gather at constant, evenly spaced positions."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.decompose_gathers import decompose_gathers
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)


@pytest.mark.parametrize(
    ("indices", "axis", "expected"),
    [
        ("int64 {2}", 1, ["Slice", "Squeeze"]),
        ("int64 {-1}", 1, ["Slice", "Squeeze"]),
        ("int64[2] {1, 3}", 1, ["Slice"]),
        ("int32[3] {0, 1, 2}", -2, ["Slice"]),
        ("int64[1,1] {1}", 0, ["Slice", "Reshape"]),
        ("int64[3] {0, 1, 3}", 1, ["Gather"]),
        ("int64[2] {3, 1}", 1, ["Gather"]),
    ],
)
def test_becomes_a_slice(apply: Any, operators: Any, indices: str, axis: int, expected: list[str]) -> None:
    model = apply(
        decompose_gathers,
        f"""<ir_version: 10, opset_import: ["" : 21]>
        g (float[2,4,3] x) => (float[a] y) {{
          i = Constant <value = {indices}> ()
          h = Gather <axis = {axis}> (x, i)
          s = Constant <value_ints = [-1]> ()
          y = Reshape(h, s)
        }}""",
        first=BEFORE,
    )
    assert operators(model)[:-1] == expected


def test_an_axis_of_unknown_size_is_not_touched(apply: Any, operators: Any) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[n,4] x) => (float[4] y) { i = Constant <value_int = 0> ()  y = Gather(x, i) }"""
    assert operators(apply(decompose_gathers, text, first=BEFORE)) == ["Gather"]
