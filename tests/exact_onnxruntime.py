"""ONNX Runtime as a reference for integer layers, on every CPU.

Without VNNI its u8×s8 products saturate: pairs of products are summed in 16 bits. Its u8×u8 products are exact, and
w - zw = (w + 128) - (zw + 128): so signed weights are rewritten before it sees them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

#: Operator → positions of (left operand, right operand, the right operand's zero point).
_PRODUCTS = {
    "QLinearConv": (0, 3, 5), "QLinearMatMul": (0, 3, 5), "MatMulInteger": (0, 1, 3), "ConvInteger": (0, 1, 3),
}  # fmt: skip


def exact_session(model: onnx.ModelProto, optimize: bool = False) -> ort.InferenceSession:
    """A session of one thread in which the model's own integer products do not saturate.

    Those that graph optimizations create (`optimize`) still may, on a CPU without VNNI.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(with_unsigned_weights(model).SerializeToString(), options)


def with_unsigned_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, its products of u8 with s8 turned into products of u8 with u8."""
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    types = _element_types(model)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        positions = _PRODUCTS.get(node.op_type)
        if positions and [types.get(node.input[i]) for i in positions[:2]] == [TensorProto.UINT8, TensorProto.INT8]:
            _, weights, zero = positions
            node.input.extend([""] * (zero + 1 - len(node.input)))
            nodes += _add_128(node, weights, node.input[weights])
            nodes += _add_128(node, zero, node.input[zero] or _zero(graph))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return rewritten


def _add_128(node: onnx.NodeProto, position: int, name: str) -> list[onnx.NodeProto]:
    """Nodes that turn the int8 tensor `name` into uint8, which becomes the node's input."""
    offset = numpy_helper.from_array(np.array(128, np.int32))
    prefix = f"{node.output[0]}.{position}"
    node.input[position] = f"{prefix}.u8"
    return [
        helper.make_node("Cast", [name], [f"{prefix}.i32"], to=TensorProto.INT32),
        helper.make_node("Constant", [], [f"{prefix}.128"], value=offset),
        helper.make_node("Add", [f"{prefix}.i32", f"{prefix}.128"], [f"{prefix}.sum"]),
        helper.make_node("Cast", [f"{prefix}.sum"], [node.input[position]], to=TensorProto.UINT8),
    ]


def _zero(graph: onnx.GraphProto) -> str:
    name = "exact.zero"
    if all(t.name != name for t in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), name))
    return name


def _element_types(model: onnx.ModelProto) -> dict[str, Any]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    return {**types, **{t.name: t.data_type for t in graph.initializer}}
