"""The float model behind a compressed one: the baseline that a compressed model is measured against."""

from __future__ import annotations

import numpy as np
import onnx_ir

from planish.errors import ModelError
from planish.lowering.weights import weights_of
from planish.passes.eliminate_dead_nodes import eliminate_dead_nodes
from planish.passes.rewrite import add_constant, bypass, insert_before, make_node

_QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear")
_INTEGER_OPS = ("ConvInteger", "MatMulInteger", "DequantizeLinear", *_QUANTIZERS)
_BYTES = (onnx_ir.DataType.UINT8, onnx_ir.DataType.INT8)

#: Operators whose clamp compression folds into the quantization behind them.
_CLAMPED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add")
_SIX_TOLERANCE = 1e-4


def undo_compression(model: onnx_ir.Model) -> bool:
    """Turn stored weight forms into plain float tensors and drop the quantization of activations, in place.

    Returns whether anything was compressed. Raises ModelError where an operator computes on integers by definition
    (QLinearConv and the like), which no float model is hidden in.
    """
    changed = _undo_weights(model.graph)
    changed |= _undo_activations(model.graph)
    eliminate_dead_nodes(model)
    for node in model.graph.all_nodes():
        if node.op_type in _INTEGER_OPS or "QLinear" in node.op_type or node.op_type == "MatMulNBits":
            raise ModelError(
                f"node '{node.name}' ({node.op_type}): has no float form; measure against the float model's own file"
            )
    return changed


def _undo_weights(graph: onnx_ir.Graph) -> bool:
    """Replace computed constants by initializers, where something else than another such constant reads them."""
    changed = False
    for node in list(graph):
        if not node.outputs or not _is_stored_form(node.outputs[0]):
            continue
        value = node.outputs[0]
        if all(user.outputs and _is_stored_form(user.outputs[0]) for user, _ in value.uses()):
            continue
        weights = weights_of(value)
        assert weights is not None
        dense = np.ascontiguousarray(weights.dense(), np.float32)
        changed |= bypass(value, add_constant(graph, dense, f"{value.name}_float"))
    return changed


def _is_stored_form(value: onnx_ir.Value) -> bool:
    """Whether a float value is computed from constants alone."""
    computed = value.producer() is not None and value.const_value is None
    return computed and value.dtype == onnx_ir.DataType.FLOAT and weights_of(value) is not None


def _undo_activations(graph: onnx_ir.Graph) -> bool:
    """Let what was quantized flow on as it is, through operators that rearrange bytes too, and drop the dequantization;
    a clamp that saturation stood for is put back."""
    changed = False
    for node in list(graph):
        first = node.inputs[0] if node.inputs else None
        if first is None:
            continue
        if node.op_type == "QuantizeLinear":
            clamp = _clamp(graph, node)
            changed |= bypass(node.outputs[0], first if clamp is None else insert_before(node, clamp))
        elif node.op_type == "DequantizeLinear" and weights_of(node.outputs[0]) is None:
            producer = first.producer()
            dynamic = producer is not None and producer.op_type == "DynamicQuantizeLinear"
            source = producer.inputs[0] if dynamic and producer is not None else first
            if source is not None and source.dtype == onnx_ir.DataType.FLOAT:
                changed |= bypass(node.outputs[0], source)
        elif first.dtype == onnx_ir.DataType.FLOAT:
            for value in node.outputs:
                if value.dtype in _BYTES and node.op_type not in _QUANTIZERS:
                    value.type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    return changed


def _clamp(graph: onnx_ir.Graph, quantizer: onnx_ir.Node) -> onnx_ir.Node | None:
    """The Relu or Relu6 that saturation stands for behind a layer: the type's least value means zero."""
    source = quantizer.inputs[0]
    layer = source.producer() if source is not None else None
    scale, zero = (weights_of(v) if v is not None else None for v in [*quantizer.inputs, None, None][1:3])
    if source is None or layer is None or layer.op_type not in _CLAMPED or scale is None or scale.values.size != 1:
        return None
    kind = np.iinfo(np.uint8 if zero is None else zero.values.dtype)
    least = 0 if zero is None else int(zero.values.ravel()[0])
    if least != kind.min:
        return None
    greatest = (kind.max - kind.min) * float(scale.values.ravel()[0])
    if abs(greatest - 6.0) > _SIX_TOLERANCE:
        return make_node("Relu", [source], like=source)
    bounds = [add_constant(graph, np.array(bound, np.float32), "relu6") for bound in (0.0, 6.0)]
    return make_node("Clip", [source, *bounds], like=source)
