"""Constant nodes and initializers listed as inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh

from planish.passes.lift_constants import lift_constants


def test_every_kind_of_constant_becomes_an_initializer(apply: Any, operators: Any) -> None:
    model = apply(
        lift_constants,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x) => (float[2] y) {
          a = Constant <value = float[2] {1.0, 2.0}> ()
          b = Constant <value_float = 3.0> ()
          c = Constant <value_floats = [4.0, 5.0]> ()
          i = Constant <value_int = 1> ()
          j = Constant <value_ints = [2]> ()
          xa = Add(x, a)
          xb = Mul(xa, b)
          xc = Sub(xb, c)
          xd = Reshape(xc, j)
          s = Unsqueeze(i, i0)
          y = Identity(xd)
        }""".replace("s = Unsqueeze(i, i0)", "s = Cast <to = 1> (i)"),
    )
    assert "Constant" not in operators(model)
    assert {"a", "b", "c", "j"} <= set(model.graph.initializers)
    assert model.graph.initializers["a"].const_value.numpy().tolist() == [1.0, 2.0]


def test_a_constant_output_stays_computed(apply: Any, operators: Any) -> None:
    model = apply(
        lift_constants,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2] x) => (float[2] y, float[1] c) {
          c = Constant <value = float[1] {7.0}> ()
          y = Relu(x)
        }""",
    )
    assert operators(model) == ["Identity", "Relu"]


def test_initializers_stop_being_inputs(apply: Any) -> None:
    values = [oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in ("x", "w", "y")]
    weights = onh.from_array(np.array([1, 2], np.float32), "w")
    graph = oh.make_graph([oh.make_node("Add", ["x", "w"], ["y"])], "g", values[:2], values[2:], [weights])
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 8)], ir_version=3)
    model = apply(lift_constants, proto)
    assert [v.name for v in model.graph.inputs] == ["x"]
    assert model.ir_version == 4


def test_constants_inside_branches(apply: Any) -> None:
    model = apply(
        lift_constants,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (bool k, float[2] x) => (float[2] y) {
          y = If (k) <
            then_branch = t () => (float[2] a) { c = Constant <value_float = 3.0> ()  a = Add(x, c) },
            else_branch = e () => (float[2] b) { b = Constant <value = float[2] {1.0, 1.0}> () }
          >
        }""",
    )
    branches = [a.as_graph() for a in model.graph[0].attributes.values()]
    assert [[n.op_type for n in b] for b in branches] == [["Add"], ["Identity"]]
