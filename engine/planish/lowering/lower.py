"""Lowering: the canonical ONNX model → steps with fused operators and packed weights, once a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx_ir as ir

from planish import _core
from planish.errors import ModelError, first_line
from planish.importing.zip_maps import ZIP_MAPS
from planish.lowering import rules  # noqa: F401  (fills RULES)
from planish.lowering.builder import (
    RULES,
    Builder,
    Unsupported,
    UnsupportedType,
    dtype_name,
    origin_of,
    port,
    require,
)
from planish.lowering.fuse import fuse
from planish.lowering.lowered import Lowered
from planish.lowering.widen import lower_widened


def lower(model: ir.Model, weight_format: str = "auto", precision: str = "exact") -> Lowered:
    """Lowers a canonical model. Operators without a rule become steps of kind `onnx` (the fallback), listed in `notes`.

    weight_format: one of formats.WEIGHT_FORMATS; anything but "auto" forces a form on the layers that allow it.
    precision: one of formats.PRECISIONS; "fast" packs the weights of float layers as bfloat16.
    """
    graph = model.graph
    lowered = Lowered()
    opset = graph.opset_imports.get("", 1)
    builder = Builder(lowered, opset, weight_format=weight_format, precision=precision)
    for value in graph.inputs:
        if value.is_initializer():
            continue
        number = lowered.tensor(value.name or "")
        lowered.inputs.append(port(value, number))
        builder.define(value, number)
    lower_nodes(builder, graph)
    labels = model.meta.get(ZIP_MAPS, {})
    for value in graph.outputs:
        with _malformed(value.producer()):
            lowered.outputs.append(port(value, builder.tensor(value), labels.get(value.name, ())))
    fuse(lowered)
    return lowered


def lower_nodes(builder: Builder, graph: ir.Graph) -> None:
    """Lowers a graph's nodes in order."""
    for node in graph:
        if node in builder.done:
            continue
        with _malformed(node):
            if _is_constant(builder, node):
                continue
            _complete_types(node)
            if node in builder.late:
                builder.late.pop(node)()
            else:
                _lower_or_fall_back(builder, node)


#: What the contents of a node can raise.
_MALFORMED = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, ZeroDivisionError, ir.serde.SerdeError,
)  # fmt: skip


@contextlib.contextmanager
def _malformed(node: ir.Node | None) -> Iterator[None]:
    """Turns what contradictory attributes and shapes raise into a ModelError that names the node."""
    try:
        yield
    except _MALFORMED as error:
        where = "graph" if node is None else f"node '{node.name}' ({origin_of(node)})"
        raise ModelError(f"{where}: malformed ({first_line(error)}); check the model with onnx.checker") from error


def _lower_or_fall_back(builder: Builder, node: ir.Node) -> None:
    try:
        _lower_node(builder, node)
    except Unsupported as reason:
        _discard_partial(builder, node)
        builder.fall_back(node, str(reason))


def _lower_node(builder: Builder, node: ir.Node) -> None:
    """By the node's rule; in a wider type where the rule declines only the type. Raises Unsupported."""
    apply = RULES.get((node.domain, node.op_type))
    if apply is None:
        raise Unsupported("no native kernel")
    _require_native_types(builder, node)
    try:
        apply(builder, node)
    except UnsupportedType:
        _discard_partial(builder, node)
        if not lower_widened(builder, node):
            raise


#: Operators of which the result has the type of the first input.
_KEEPS_TYPE = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "MaxPool", "Pad", "Relu",
    "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
#: Position of the result's zero point among the inputs of operators that make bytes.
_RESULT_ZERO = {
    "QLinearConv": 7, "QLinearMatMul": 7, "QuantizeLinear": 2,
    "QGemm": 8, "QLinearAdd": 7, "QLinearAveragePool": 4, "QLinearConcat": 1, "QLinearGlobalAveragePool": 4,
    "QLinearLeakyRelu": 4, "QLinearMul": 7, "QLinearSigmoid": 4, "QLinearSoftmax": 4, "QLinearWhere": 8,
}  # fmt: skip


#: Operators whose steps the executor runs where no Program can.
_ANY_TYPE = frozenset({
    "ConcatFromSequence", "Identity", "If", "Loop", "Optional", "OptionalGetElement", "OptionalHasElement", "Scan",
    "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
    "SequenceMap", "SplitToSequence",
})  # fmt: skip


def _complete_types(node: ir.Node) -> None:
    """Fills in element types that ONNX's inference leaves open: behind operators of other domains, where s8 must not
    pass for u8, and of the inputs of loops' bodies."""
    body = node.attributes.get("body") if node.domain == "" and node.op_type in ("Loop", "Scan") else None
    if body is not None and body.type == ir.AttributeType.GRAPH:
        for outer, inner in zip(node.inputs, body.as_graph().inputs, strict=False):
            if inner.type is None and outer is not None:
                inner.type = outer.type
    source = None
    if node.domain in ("", "com.microsoft") and node.op_type in _RESULT_ZERO:
        at = _RESULT_ZERO[node.op_type]
        source = node.inputs[at] if len(node.inputs) > at else None
    elif node.domain == "" and node.op_type in _KEEPS_TYPE:
        source = node.inputs[0]
    if source is not None and source.dtype is not None:
        for value in node.outputs[:1] if node.op_type == "MaxPool" else node.outputs:
            value.dtype = source.dtype if value.dtype is None else value.dtype


def _require_native_types(builder: Builder, node: ir.Node) -> None:
    """Strings, complex numbers, sequences and optionals never enter a Program; control flow passes
    them on."""
    if node.domain == "" and node.op_type in _ANY_TYPE:
        return
    for value in (*node.inputs, *node.outputs):
        if value is None or value.type is None:
            continue
        if type(value.type) in (ir.SequenceType, ir.OptionalType):
            raise Unsupported("a sequence or an optional value")
        if value.dtype is not None and dtype_name(value.dtype) not in _core.DTYPES and builder.weights(value) is None:
            require(value, *_core.DTYPES)


def _is_constant(builder: Builder, node: ir.Node) -> bool:
    """Whether all outputs are constants: weight forms, which are read where they are used."""
    return bool(node.outputs) and all(builder.weights(v) is not None for v in node.outputs)


def _discard_partial(builder: Builder, node: ir.Node) -> None:
    """Forgets what a rule defined before it declined."""
    for value in node.outputs:
        builder.tensors.pop(value, None)
        builder.deferred.pop(value, None)
