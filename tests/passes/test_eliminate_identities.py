"""Nodes that return their input."""

from __future__ import annotations

from typing import Any

import pytest

from planish.passes.eliminate_identities import eliminate_identities
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes

BEFORE = (lift_constants, resolve_shapes)


@pytest.mark.parametrize(
    "body",
    [
        "h = Identity(x)",
        "h = Dropout(x)",
        "h = Cast <to = 1> (x)",
        "h = Transpose <perm = [0, 1, 2]> (x)",
        "s = Constant <value_ints = [2, 3, 4]> () h = Reshape(x, s)",
        "s = Constant <value_ints = [0, 0, -1]> () h = Reshape(x, s)",
        "s = Constant <value_ints = [1, 3, 1]> () h = Expand(x, s)",
        "s = Constant <value_ints = [1, 1, 1]> () h = Tile(x, s)",
        "p = Constant <value_ints = [0, 0, 0, 0, 0, 0]> () h = Pad(x, p)",
        "a = Constant <value_ints = [0]> () b = Constant <value_ints = [9]> () h = Slice(x, a, b)",
        "h = Concat <axis = 1> (x)",
        "h = Sum(x)",
        "z = Constant <value_float = 0.0> () h = Add(z, x)",
        "z = Constant <value = float[4] {0.0, 0.0, 0.0, 0.0}> () h = Sub(x, z)",
        "o = Constant <value_float = 1.0> () h = Mul(x, o)",
        "o = Constant <value_float = 1.0> () h = Div(x, o)",
        "o = Constant <value_float = 1.0> () h = Pow(x, o)",
    ],
)
def test_is_removed(apply: Any, operators: Any, body: str) -> None:
    text = f'<ir_version: 10, opset_import: ["" : 21]> g (float[2,3,4] x) => (float[2,3,4] y) {{ {body} y = Relu(h) }}'
    assert operators(apply(eliminate_identities, text, first=BEFORE)) == ["Relu"]


@pytest.mark.parametrize(
    "body",
    [
        "h = Cast <to = 11> (x)",
        "h = Transpose <perm = [0, 2, 1]> (x)",
        "a = Constant <value_ints = [1]> () b = Constant <value_ints = [9]> () h = Slice(x, a, b)",
        "z = Constant <value = float[2,1,1,1] {0.0, 0.0}> () h = Add(x, z)",
        "o = Constant <value_float = 1.0> () h = Sub(o, x)",
        "o = Constant <value_float = 1.0> () h = Div(o, x)",
        "s = Constant <value_ints = [2, 1, 1, 1]> () h = Expand(x, s)",
    ],
)
def test_is_kept(apply: Any, operators: Any, body: str) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[1,3,3] x) => (float[flat] y) {{
      {body}
      f = Cast <to = 1> (h)
      t = Constant <value_ints = [-1]> ()
      y = Reshape(f, t)
    }}"""
    model = apply(eliminate_identities, text, first=BEFORE)
    assert len(operators(model)) >= 2


def test_graph_outputs_keep_their_names(apply: Any, operators: Any) -> None:
    model = apply(
        eliminate_identities,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x) => (float[2] a, float[2] b, float[2] c) {
          h = Relu(x)
          a = Identity(h)
          b = Identity(h)
          c = Identity(x)
        }""",
    )
    assert [v.name for v in model.graph.outputs] == ["a", "b", "c"]
    assert operators(model) == ["Relu", "Identity", "Identity"]


def test_branches_that_return_outer_values_keep_their_identity(apply: Any) -> None:
    model = apply(
        eliminate_identities,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (bool k, float[2] x) => (float[2] y) {
          h = Relu(x)
          y = If (k) <
            then_branch = t () => (float[2] a) { a = Identity(h) },
            else_branch = e () => (float[2] b) { n = Neg(h)  b = Identity(n) }
          >
        }""",
    )
    branches = [[n.op_type for n in a.as_graph()] for a in model.graph[1].attributes.values()]
    assert branches == [["Identity"], ["Neg"]]
