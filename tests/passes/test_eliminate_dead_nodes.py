"""What no output depends on."""

from __future__ import annotations

from typing import Any

from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.lift_constants import lift_constants


def test_unused_chains_and_constants_go(apply: Any, operators: Any) -> None:
    model = apply(
        eliminate_dead_nodes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x, float[2] unused) => (float[2] y) {
          c = Constant <value_float = 2.0> ()
          a = Mul(x, c)
          b = Relu(a)
          y = Neg(x)
        }""",
        first=(lift_constants,),
    )
    assert operators(model) == ["Neg"]
    assert not model.graph.initializers
    assert [v.name for v in model.graph.inputs] == ["x", "unused"]


def test_what_a_branch_uses_stays(apply: Any, operators: Any) -> None:
    model = apply(
        eliminate_dead_nodes,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (bool k, float[2] x) => (float[2] y) {
          used = Relu(x)
          dead = Abs(x)
          gone = If (k) <
            then_branch = t () => (float[2] a) { a = Neg(dead) },
            else_branch = e () => (float[2] b) { b = Neg(dead) }
          >
          y = If (k) <
            then_branch = t () => (float[2] a) { a = Neg(used) },
            else_branch = e () => (float[2] b) { z = Neg(x)  b = Abs(x) }
          >
        }""",
    )
    assert operators(model) == ["Relu", "If"]
    assert [n.op_type for n in model.graph[1].attributes["else_branch"].as_graph()] == ["Abs"]


def test_unwanted_states_of_a_recurrent_layer_are_dropped(apply: Any) -> None:
    import numpy as np
    import onnx
    import onnx.helper as oh
    import onnx.numpy_helper as onh

    rng = np.random.default_rng(0)
    tensors = [
        onh.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w", (1, 8, 3)), ("r", (1, 8, 2)))
    ]
    node = oh.make_node("LSTM", ["x", "w", "r"], ["y", "h", "c"], hidden_size=2)
    value = [
        oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", [5, 1, 3]), ("y", [5, 1, 1, 2]))
    ]
    graph = oh.make_graph([node], "g", value[:1], value[1:], tensors)
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    assert len(apply(eliminate_dead_nodes, proto).graph[0].outputs) == 1
