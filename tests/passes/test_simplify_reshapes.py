"""Constant targets and chains of reshapes."""

from __future__ import annotations

from typing import Any

from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.fold_constants import fold_constants
from planish.passes.lift_constants import lift_constants
from planish.passes.patterns import ints_of
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.simplify_reshapes import simplify_reshapes

BEFORE = (lift_constants, resolve_shapes, fold_constants)


def test_a_computed_target_becomes_constant(apply: Any, operators: Any) -> None:
    model = apply(
        simplify_reshapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[batch,6,4] x) => (float[batch,24] y) {
          s = Shape(x)
          zero = Constant <value_int = 0> ()
          axis = Constant <value_ints = [0]> ()
          n = Gather(s, zero)
          ns = Unsqueeze(n, axis)
          rest = Constant <value_ints = [-1]> ()
          t = Concat <axis = 0> (ns, rest)
          y = Reshape(x, t)
        }""",
        first=BEFORE,
    )
    eliminate_dead_nodes(model)
    assert operators(model) == ["Reshape"]
    assert ints_of(model.graph[0].inputs[1]) == [0, -1]


def test_two_unknown_dimensions_stay_computed(apply: Any, operators: Any) -> None:
    model = apply(
        simplify_reshapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2,3,4] x, int64[2] t) => (float[a,b] y) { y = Reshape(x, t) }""".replace(
            "int64[2] t) => (float[a,b] y) {", "float[4,6] like) => (float[a,b] y) { t = Shape(like)"
        ),
        first=(lift_constants,),
    )
    assert operators(model) == ["Shape", "Reshape"]


def test_chains_become_one(apply: Any, operators: Any) -> None:
    model = apply(
        simplify_reshapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2,3,4] x) => (float[6,4] y) {
          a = Flatten <axis = 1> (x)
          s = Constant <value_ints = [4, 6]> ()
          b = Reshape(a, s)
          t = Constant <value_ints = [1]> ()
          c = Unsqueeze(b, t)
          u = Constant <value_ints = [6, -1]> ()
          y = Reshape(c, u)
        }""",
        first=BEFORE,
    )
    eliminate_dead_nodes(model)
    assert operators(model) == ["Reshape"]


def test_zero_that_means_empty_is_not_confused_with_copy(apply: Any, operators: Any) -> None:
    model = apply(
        simplify_reshapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[0,3] x) => (float[3,0] y) {
          s = Constant <value_ints = [3, 0]> ()
          y = Reshape <allowzero = 1> (x, s)
        }""",
        first=BEFORE,
    )
    assert operators(model) == ["Reshape"]
