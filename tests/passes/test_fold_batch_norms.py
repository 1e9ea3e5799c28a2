"""BatchNormalization into the layer before it, or into Mul and Add."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import pytest

from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.fold_batch_norms import fold_batch_norms
from planish.passes.resolve_shapes import resolve_shapes

RNG = np.random.default_rng(1)


def statistics(channels: int) -> dict[str, np.ndarray]:
    gamma, beta, mean = (RNG.standard_normal(channels).astype(np.float32) for _ in range(3))
    return {"gamma": gamma, "beta": beta, "mean": mean, "var": RNG.random(channels).astype(np.float32) + 0.1}


def model_of(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], x: list[int], y: list[int]
) -> onnx.ModelProto:
    """`nodes` followed by BatchNormalization of `h`."""
    norm = oh.make_node("BatchNormalization", ["h", "gamma", "beta", "mean", "var"], ["y"], epsilon=1e-3)
    constants = constants | statistics(y[1])
    value = [oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", x), ("y", y))]
    tensors = [onh.from_array(a, n) for n, a in constants.items()]
    graph = oh.make_graph([*nodes, norm], "g", value[:1], value[1:], tensors)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


LAYERS: dict[str, tuple[Any, ...]] = {
    "Conv": ({"w": weights(6, 3, 3, 3)}, {}, [2, 3, 8, 8], [2, 6, 6, 6]),
    "Conv with bias in groups": ({"w": weights(6, 2, 3), "b": weights(6)}, {"group": 3}, [2, 6, 9], [2, 6, 7]),
    "ConvTranspose": ({"w": weights(4, 3, 2, 2), "b": weights(6)}, {"group": 2}, [1, 4, 5, 5], [1, 6, 6, 6]),
    "Gemm": ({"w": weights(5, 6), "b": weights(6)}, {"alpha": 0.5, "beta": 2.0}, [4, 5], [4, 6]),
    "Gemm transposed": ({"w": weights(6, 5), "b": weights(1, 6)}, {"transB": 1}, [4, 5], [4, 6]),
    "MatMul": ({"w": weights(5, 6)}, {}, [4, 5], [4, 6]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_absorb_it(apply: Any, operators: Any, name: str) -> None:
    constants, attributes, x, y = LAYERS[name]
    layer = oh.make_node(name.split()[0], ["x", *constants], ["h"], name="layer", **attributes)
    model = apply(fold_batch_norms, model_of([layer], constants, x, y), 2e-6, first=(resolve_shapes,))
    assert operators(model) == ["Gemm" if name == "MatMul" else name.split()[0]]
    assert model.graph[0].name == "layer"


def test_a_shared_layer_is_kept(apply: Any, operators: Any) -> None:
    nodes = [
        oh.make_node("Conv", ["x", "w"], ["c"]),
        oh.make_node("Relu", ["c"], ["r"]),
        oh.make_node("Add", ["c", "r"], ["h"]),
    ]
    proto = model_of(nodes, {"w": weights(6, 3, 1, 1)}, [1, 3, 4, 4], [1, 6, 4, 4])
    model = apply(fold_batch_norms, proto, 1e-6, first=(resolve_shapes,))
    assert operators(model) == ["Conv", "Relu", "Add", "Mul", "Add"]


def test_quantized_weights_are_kept(apply: Any, operators: Any) -> None:
    constants = {"q": RNG.integers(-128, 127, (6, 3, 1, 1)).astype(np.int8), "s": np.array(0.02, np.float32)}
    nodes = [oh.make_node("DequantizeLinear", ["q", "s"], ["w"]), oh.make_node("Conv", ["x", "w"], ["h"])]
    model = apply(
        fold_batch_norms, model_of(nodes, constants, [1, 3, 4, 4], [1, 6, 4, 4]), 1e-6, first=(resolve_shapes,)
    )
    assert operators(model) == ["DequantizeLinear", "Conv", "Mul", "Add"]


def test_computed_statistics_are_written_out(apply: Any, operators: Any) -> None:
    model = apply(
        fold_batch_norms,
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[2,3,4] x, float[3] g0, float[3] b, float[3] m, float[3] v0) => (float[2,3,4] y) {
          v = Abs(v0)
          y = BatchNormalization(x, g0, b, m, v)
        }""",
        1e-6,
        first=(resolve_shapes,),
    )
    assert "BatchNormalization" not in operators(model)


def test_weights_that_would_overflow_are_kept(apply: Any, operators: Any) -> None:
    proto = model_of([oh.make_node("Conv", ["x", "w"], ["h"])], {"w": weights(2, 1, 1) * 1e30}, [1, 1, 3], [1, 2, 3])
    for tensor in proto.graph.initializer:
        if tensor.name == "gamma":
            tensor.CopyFrom(onh.from_array(np.full(2, 1e12, np.float32), "gamma"))
    from planish.importing import load_model

    model = load_model(proto)
    resolve_shapes(model)
    fold_batch_norms(model)
    eliminate_dead_nodes(model)
    assert operators(model) == ["Conv", "Mul", "Add"]
