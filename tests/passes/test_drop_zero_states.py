"""Initial states of recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import pytest

from planish.passes.drop_zero_states import drop_zero_states
from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes


@pytest.mark.parametrize(("state", "expected"), [(0.0, ["GRU"]), (0.5, ["Tile", "Transpose", "GRU"])])
def test_spread_zeros_are_left_out(apply: Any, operators: Any, state: float, expected: list[str]) -> None:
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((1, 6, 3)).astype(np.float32),
        "r": rng.standard_normal((1, 6, 2)).astype(np.float32),
        "state": np.full((1, 1, 2), state, np.float32),
        "repeats": np.array([4, 1, 1], np.int64),
    }
    nodes = [
        oh.make_node("Tile", ["state", "repeats"], ["tiled"]),
        oh.make_node("Transpose", ["tiled"], ["h0"], perm=[1, 0, 2]),
        oh.make_node("GRU", ["x", "w", "r", "", "", "h0"], ["y"], hidden_size=2),
    ]
    value = [
        oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", [5, 4, 3]), ("y", [5, 1, 4, 2]))
    ]
    tensors = [onh.from_array(a, n) for n, a in constants.items()]
    graph = oh.make_graph(nodes, "g", value[:1], value[1:], tensors)
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    model = apply(drop_zero_states, proto)
    eliminate_dead_nodes(model)
    assert operators(model) == expected
