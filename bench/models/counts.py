"""Parameters and multiply-accumulates of a model, to check the builders against the published figures."""

from __future__ import annotations

import math

import onnx


def count_parameters(model: onnx.ModelProto) -> int:
    """Elements of all floating-point initializers."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return sum(math.prod(t.dims) for t in model.graph.initializer if t.data_type in floats)


def count_macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of Conv, Gemm and MatMul; every shape must be known by shape inference."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {t.name: list(t.dims) for t in model.graph.initializer}
    for value in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]:
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            per_output = math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul"):
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            per_output = shapes[node.input[0]][-2 if transposed else -1]
        else:
            continue
        total += math.prod(shapes[node.output[0]]) * per_output
    return total
