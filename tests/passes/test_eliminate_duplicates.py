"""Common subexpressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh

from planish.importing import load_model
from planish.passes.eliminate_duplicates import eliminate_duplicates
from planish.passes.lift_constants import lift_constants


def test_equal_nodes_and_constants_are_merged(apply: Any, operators: Any) -> None:
    model = apply(
        eliminate_duplicates,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x) => (float[2] y) {
          a = Constant <value_float = 2.0> ()
          b = Constant <value_float = 2.0> ()
          p = Mul(x, a)
          q = Mul(x, b)
          r = Relu(p)
          s = Relu(q)
          y = Add(r, s)
        }""",
        first=(lift_constants,),
    )
    assert operators(model) == ["Mul", "Relu", "Add"]
    assert list(model.graph.initializers) == ["a"]


def test_different_attributes_outputs_and_dequantizers_are_kept(apply: Any, operators: Any) -> None:
    model = apply(
        eliminate_duplicates,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x, uint8[2] q) => (float[2] a, float[2] b, float[2] c, float[2] d) {
          s = Constant <value_float = 0.5> ()
          a = LeakyRelu <alpha = 0.1> (x)
          b = LeakyRelu <alpha = 0.2> (x)
          u = DequantizeLinear(q, s)
          v = DequantizeLinear(q, s)
          c = Neg(u)
          d = Neg(v)
        }""",
        first=(lift_constants,),
    )
    assert operators(model) == ["LeakyRelu", "LeakyRelu", "DequantizeLinear", "DequantizeLinear", "Neg", "Neg"]


def test_two_equal_outputs_stay_two(apply: Any, operators: Any) -> None:
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] a, float[2] b) { a = Neg(x) b = Neg(x) }'
    )
    assert operators(apply(eliminate_duplicates, text)) == ["Neg", "Neg"]


def test_strings_are_left_alone(operators: Any) -> None:
    values = onh.from_array(np.array(["a", "b"], object), "s")
    nodes = [oh.make_node("StringConcat", ["s", "s"], ["y"])]
    graph = oh.make_graph(nodes, "g", [], [oh.make_tensor_value_info("y", onnx.TensorProto.STRING, [2])], [values])
    model = load_model(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10))
    assert not eliminate_duplicates(model)
    assert operators(model) == ["StringConcat"]
