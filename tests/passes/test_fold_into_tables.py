"""Element-wise operators behind a look-up."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.fold_into_tables import fold_into_tables
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

TABLE = "t = Constant <value = float[3,2] {1.0, -2.0, 3.0, -0.5, 0.0, 6.0}> () m = Constant <value_int = 3> ()"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("b = Constant <value = float[2] {1.0, -1.0}> () a = Add(b, h) y = Relu(a)", []),
        ("k = Constant <value_float = 2.0> () a = Div(h, k) y = Gelu(a)", []),
        ("a = Abs(h) y = Add(a, h)", ["Abs", "Add"]),
        ("b = Constant <value = float[4,1] {1.0, 2.0, 3.0, 4.0}> () y = Mul(h, b)", ["Mul"]),
        ('y = Gelu <approximate = "tanh"> (h)', ["Gelu"]),
    ],
)
def test_table_takes_it_in(apply: Any, operators: Any, body: str, expected: list[str]) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (int64[4] n) => (float[4,2] y) {{ {TABLE} i = Mod(n, m) h = Gather(t, i) {body} }}"""
    model = apply(fold_into_tables, text, 1e-6, first=(lift_constants, resolve_shapes))
    eliminate_dead_nodes(model)
    assert operators(model) == ["Mod", "Gather", *expected]
    assert model.graph.outputs[0].name == "y"
