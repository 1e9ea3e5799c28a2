"""Products with one-hot vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import onnx_ir
import pytest

from planish.importing import load_model
from planish.passes.lift_constants import lift_constants
from planish.passes.look_up_one_hots import look_up_one_hots
from planish.passes.resolve_shapes import resolve_shapes

DEPTH = 5


def model_of(reshaped: bool, values: tuple[float, float] = (0, 1), axis: int = -1) -> onnx.ModelProto:
    constants = {
        "depth": np.array([DEPTH], np.int32),
        "values": np.array(values, np.float32),
        "w": np.random.default_rng(0).standard_normal((DEPTH, 3)).astype(np.float32),
        "matrix": np.array([-1, DEPTH], np.int64),
    }
    nodes = [oh.make_node("OneHot", ["i", "depth", "values"], ["h"], axis=axis)]
    if reshaped:
        nodes.append(oh.make_node("Reshape", ["h", "matrix"], ["m"]))
    nodes.append(oh.make_node("MatMul", [nodes[-1].output[0], "w"], ["y"]))
    given = oh.make_tensor_value_info("i", onnx.TensorProto.INT32, ["n", 5])
    result = oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", 3] if reshaped else ["n", 5, 3])
    tensors = [onh.from_array(a, n) for n, a in constants.items()]
    graph = oh.make_graph(nodes, "g", [given], [result], tensors)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("reshaped", [True, False])
def test_rows_are_looked_up(run_model: Any, operators: Any, reshaped: bool) -> None:
    proto = model_of(reshaped)
    model = load_model(proto)
    for run_pass in (lift_constants, resolve_shapes, look_up_one_hots):
        run_pass(model)
    expected_tail = ["Clip", "Add", "Gather"] + ["Reshape"] * reshaped
    assert operators(model)[-len(expected_tail) :] == expected_tail
    feeds = {"i": np.array([[0, 4, 5, 99, -1], [-5, -6, -99, 2, 3]], np.int32)}
    (expected,), (found,) = run_model(proto, feeds), run_model(onnx_ir.to_proto(model), feeds)
    assert np.array_equal(expected, found)


@pytest.mark.parametrize("proto", [model_of(False, values=(0, 2)), model_of(False, axis=1)])
def test_other_one_hots_stay(apply: Any, operators: Any, proto: onnx.ModelProto) -> None:
    assert operators(apply(look_up_one_hots, proto, 1e-6, first=(resolve_shapes,)))[-1] == "MatMul"
