"""A quantized model cut at every 8-bit tensor, so that each layer can be fed what another runtime computed before
it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tests.exact_onnxruntime import exact_session

Array = np.ndarray[Any, Any]
_BYTES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)
#: Operators of which the result must equal ONNX Runtime's bit for bit.
EXACT = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"})


def byte_tensors(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """The contents of every computed 8-bit tensor, by unoptimized ONNX Runtime."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name and node.op_type not in _FLOAT_RESULTS]
    known = {o.name for o in model.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = exact_session(exposed)
    results = session.run([o.name for o in session.get_outputs()], feeds)
    found = dict(zip([o.name for o in session.get_outputs()], results, strict=True))
    return {name: value for name, value in found.items() if value.dtype in (np.uint8, np.int8)}


#: Results that are never bytes, and need not be exposed.
_FLOAT_RESULTS = frozenset({"DequantizeLinear", "Softmax", "Shape", "Constant"})


def cut(model: onnx.ModelProto, tensors: dict[str, Array]) -> onnx.ModelProto:
    """The same nodes; each tensor is an output, and its consumers read an input named `<tensor>.fed` instead."""
    parts = onnx.ModelProto()
    parts.CopyFrom(model)
    graph = parts.graph
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in tensors:
                node.input[i] = f"{name}.fed"
    del graph.output[:]
    read = {name for node in graph.node for name in node.input}
    for name, value in tensors.items():
        code = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        graph.output.append(onnx.helper.make_tensor_value_info(name, code, None))
        if f"{name}.fed" in read:
            graph.input.append(onnx.helper.make_tensor_value_info(f"{name}.fed", code, value.shape))
    del graph.value_info[:]
    return parts
