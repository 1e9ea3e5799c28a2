"""Types and shapes of every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser

from planish.importing import load_model
from planish.importing.names import make_names_unique
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.rewrite import add_constant, insert_before, make_node


def test_symbolic_dimensions_keep_their_names(apply: Any) -> None:
    model = apply(
        resolve_shapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[batch,3,8,8] x, float[4,3,3,3] w) => (float[batch,4,6,6] y) { h = Conv(x, w)  y = Relu(h) }""",
    )
    assert str(model.graph[0].outputs[0].shape) == "[batch,4,6,6]"


def test_stale_statements_of_the_file_are_replaced(apply: Any) -> None:
    model = apply(
        resolve_shapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[5] x) => (float[5] y) <float[7] h> { h = Abs(x)  y = Relu(h) }""",
    )
    assert list(model.graph[0].outputs[0].shape) == [5]


def test_statements_about_other_domains_are_kept(apply: Any) -> None:

    text = """<ir_version: 10, opset_import: ["" : 21, "com.example" : 1]>
    g (float[5] x) => (float[5] y) <float[5] h> { h = com.example.Op(x)  y = Relu(h) }"""
    model = load_model(onnx.parser.parse_model(text))
    resolve_shapes(model)
    assert list(model.graph[0].outputs[0].shape) == [5]


def test_shapes_inside_branches(apply: Any) -> None:
    model = apply(
        resolve_shapes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (bool k, float[2,3] x) => (float[2,3] y) {
          y = If (k) <
            then_branch = t () => (float[2,3] a) { h = Abs(x)  a = Neg(h) },
            else_branch = e () => (float[2,3] b) { b = Abs(x) }
          >
        }""",
        first=(lift_constants,),
    )
    branch = model.graph[0].attributes["then_branch"].as_graph()
    assert list(branch[0].outputs[0].shape) == [2, 3]


def test_a_second_run_has_nothing_to_do(apply: Any) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[5] x) => (float[5] y) { h = Abs(x)  y = Relu(h) }"""
    model = apply(resolve_shapes, text)
    assert not resolve_shapes(model)


def test_what_a_pass_finds_out_is_passed_on() -> None:
    """A parameter that becomes constant says more than its computed form, also about what follows in branches."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,6] x, int64[2] s, bool k) => (float[a,b] y) { h = Reshape(x, s)  r = Relu(h)
      y = If (k) <then_branch = t () => (float[c,d] p) { p = Abs(r) },
                  else_branch = e () => (float[c,d] q) { q = Neg(r) }> }"""
    model = load_model(onnx.parser.parse_model(text))
    assert resolve_shapes(model)
    reshape, relu, branching = model.graph
    assert not resolve_shapes(model)
    reshape.replace_input_with(1, add_constant(model.graph, np.array([-1, 3], np.int64), "target"))
    assert resolve_shapes(model)
    assert [list(node.outputs[0].shape)[1] for node in (reshape, relu, branching)] == [3, 3, 3]
    assert list(branching.attributes["then_branch"].as_graph()[0].outputs[0].shape)[1] == 3
    assert not resolve_shapes(model)


def test_new_names_of_unknown_sizes_are_no_news() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N] x) => (int64[a,b] y) { h = NonZero(x)  y = Neg(h) }"""
    model = load_model(onnx.parser.parse_model(text))
    assert resolve_shapes(model)
    first, last = model.graph
    found = first.outputs[0].shape
    insert_before(first, make_node("NonZero", [first.inputs[0]], like=first.outputs[0]))
    last.replace_input_with(0, insert_before(last, make_node("Abs", [last.inputs[0]], like=last.inputs[0])))
    make_names_unique(model)
    assert not resolve_shapes(model)
    assert first.outputs[0].shape == found


def test_without_news_of_what_changed_everything_else_stays() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N] x) => (int64[a,b] y) { h = NonZero(x)  i = Neg(h)  j = Neg(i)  k = Neg(j)  y = Neg(k) }"""
    model = load_model(onnx.parser.parse_model(text))
    assert resolve_shapes(model)
    last = model.graph[-1]
    shapes = [node.outputs[0].shape for node in model.graph]
    last.replace_input_with(0, insert_before(last, make_node("Abs", [last.inputs[0]], like=last.inputs[0])))
    make_names_unique(model)
    assert not resolve_shapes(model)
    assert [node.outputs[0].shape for node in model.graph if node.op_type != "Abs"] == shapes


def test_shapes_computed_from_known_ones_stay_in_sight() -> None:
    """A value left open is looked at again with the arithmetic that leads to it, though that is known itself."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,8] x, float[M,4] z, int64[2] s) => (float[a,b] y, float[c,d] w) <int64[1] i = {1}, int64[1] one = {-1}> {
      t = Reshape(x, s)  u = Shape(t)  v = Gather(u, i)  target = Concat <axis = 0> (one, v)  y = Reshape(z, target)
      w = Relu(z) }"""
    model = load_model(onnx.parser.parse_model(text))
    assert resolve_shapes(model)
    reshape = model.graph[0]
    reshape.replace_input_with(1, add_constant(model.graph, np.array([-1, 2], np.int64), "target_of_t"))
    assert resolve_shapes(model)
    assert list(model.graph.outputs[0].shape)[1] == 2


def test_endless_parameters_are_not_followed() -> None:
    """onnx's shape arithmetic would take minutes over the positions, or more memory than there is."""
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[4] x, int64[50000000] s) => (float[n] y, float[k] z) { y = Slice(x, s, s)  z = Squeeze(x, s) }"""
    model = load_model(onnx.parser.parse_model(text))
    resolve_shapes(model)
    assert [str(v.shape) for v in model.graph.outputs] == ["[n]", "[k]"]


def test_endless_data_is_not_taken_for_a_shape() -> None:
    """onnx's shape arithmetic would note down every one of the 2^32 elements."""
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[2147483648] x, float[n] w) => (float[a] y, float[b] z) { t = Concat <axis=0> (x, x)
      y = Concat <axis=0> (t, x)  z = Concat <axis=0> (y, w) }"""
    model = load_model(onnx.parser.parse_model(text))
    resolve_shapes(model)
    assert str(model.graph.outputs[0].shape) == "[6442450944]"
