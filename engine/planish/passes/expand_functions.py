"""expand_functions: operators that ONNX defines by others are replaced by their definitions."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from typing import Any

import onnx
import onnx.defs
import onnx_ir
import onnx_ir.passes.common

from planish.passes.node_index import drop_index
from planish.passes.patterns import nodes_of, output_at

#: (domain, operator) → what is written out. Everything else that ONNX defines as a function has kernels of its own.
EXPANDED = frozenset({
    ("", "AffineGrid"), ("", "Attention"), ("", "BlackmanWindow"), ("", "CausalConvWithState"), ("", "CenterCropPad"),
    ("", "HammingWindow"), ("", "HannWindow"), ("", "LinearAttention"), ("", "MeanVarianceNormalization"),
    ("", "NegativeLogLikelihoodLoss"), ("", "RotaryEmbedding"), ("", "Shrink"), ("", "SoftmaxCrossEntropyLoss"),
    ("", "SwiGLU"), ("", "Swish"), ("ai.onnx.preview", "FlexAttention"),
})  # fmt: skip

#: The domain in which a definition stands between being found and being put in the operator's place.
_PASSING = "planish.definitions"


def expand_functions(model: onnx_ir.Model) -> bool:
    """Replace the operators of `EXPANDED`, and layer normalisations of which the mean or deviation is used, by the
    bodies that the ONNX standard gives them at the model's opset.

    A node stays where the types of its inputs are unknown or the standard has no body for its form. Functions inside a
    body follow in the next round, when their types are known.

    Guarantees: no operator of `EXPANDED` is left where the standard can write it out.
    """
    functions: dict[onnx_ir.OperatorIdentifier, onnx_ir.Function] = {}
    for node in _expandable(model):
        proto = _definition(node, model)
        if proto is None:
            continue
        proto.domain, proto.name, proto.overload = _PASSING, node.op_type, str(len(functions))
        del proto.opset_import[:]
        proto.opset_import.extend(onnx.helper.make_opsetid(*item) for item in model.opset_imports.items())
        function = onnx_ir.serde.deserialize_function(proto)
        functions[function.identifier()] = function
        _call(node, function)
    if not functions:
        return False
    model.functions.update(functions)
    drop_index()
    onnx_ir.passes.common.InlinePass(lambda function: function.domain == _PASSING)(model)
    return True


def _expandable(model: onnx_ir.Model) -> Iterator[onnx_ir.Node]:
    for domain in sorted({domain for domain, _ in EXPANDED}):
        yield from nodes_of(model, *(op_type for its, op_type in EXPANDED if its == domain), domain=domain)
    yield from filter(_gives_statistics, nodes_of(model, "LayerNormalization"))


def _gives_statistics(layer_norm: onnx_ir.Node) -> bool:
    return output_at(layer_norm, 1) is not None or output_at(layer_norm, 2) is not None


def _definition(node: onnx_ir.Node, model: onnx_ir.Model) -> onnx.FunctionProto | None:
    """The body of the node's operator; None where there is none for it, or none that can be put in its place."""
    opset = model.opset_imports.get(node.domain)
    if opset is None or any(v is not None and v.type is None for v in node.inputs):
        return None
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        body = _body(schema, node)
    except (onnx.defs.SchemaError, RuntimeError, ValueError):
        return None
    if body is None or len(node.inputs) > len(body.input) or len(node.outputs) > len(body.output):
        return None
    direct = set(body.output) & set(body.input) or len(set(body.output)) < len(body.output)
    return body if not direct and _complete(body, node) else None


def _body(schema: Any, node: onnx_ir.Node) -> onnx.FunctionProto | None:
    if schema.has_function:
        text = schema.get_function_with_opset_version(max(schema.function_opset_versions))
    elif schema.has_context_dependent_function:
        types = [b"" if v is None else onnx_ir.serde.serialize_value(v).type.SerializeToString() for v in node.inputs]
        version = max(schema.context_dependent_function_opset_versions)
        proto = onnx_ir.serde.serialize_node(node).SerializeToString()
        text = schema.get_context_dependent_function_with_opset_version(version, proto, types)
    else:
        return None
    body = onnx.FunctionProto.FromString(text)
    stated = {a.name for a in body.attribute_proto}
    for name in list(body.attribute):
        default = schema.attributes[name].default_value if name in schema.attributes else None
        if default is not None and default.type != onnx.AttributeProto.UNDEFINED and name not in stated:
            body.attribute.remove(name)
            body.attribute_proto.append(default)
    if node.op_type == "LayerNormalization":
        _take_shapes_literally(body)
    if node.op_type == "AffineGrid":
        _squeeze_axis_one(body.node)
    return body if body.node else None


def _take_shapes_literally(body: onnx.FunctionProto) -> None:
    """Let every Reshape take a size of zero as it is: the body of LayerNormalization, of computed sizes, means that."""
    for inner in body.node:
        if inner.op_type == "Reshape" and not inner.attribute:
            inner.attribute.append(onnx.helper.make_attribute("allowzero", 1))


def _squeeze_axis_one(nodes: MutableSequence[onnx.NodeProto]) -> None:
    """Let every Squeeze that names no axes take away axis 1: AffineGrid's body means that, but loses a batch of one."""
    for at in reversed(range(len(nodes))):
        for attribute in nodes[at].attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _squeeze_axis_one(attribute.g.node)
        if nodes[at].op_type == "Squeeze" and len(nodes[at].input) == 1:
            axes = f"{nodes[at].output[0]}_axes"
            nodes[at].input.append(axes)
            nodes.insert(at, onnx.helper.make_node("Constant", [], [axes], value_ints=[1]))


def _complete(body: onnx.FunctionProto, node: onnx_ir.Node) -> bool:
    """Give outputs that the body leaves out, since the node does not use them, some value; False if it does use one."""
    made = {name for inner in body.node for name in inner.output}
    for i, name in enumerate(body.output):
        if name not in made:
            if output_at(node, i) is not None:
                return False
            body.node.append(onnx.helper.make_node("Constant", [], [name], value_int=0))
    return True


def _call(node: onnx_ir.Node, function: onnx_ir.Function) -> None:
    """Make the node a call of the function: outputs to the last, none with the name of an absent one, no graphs."""
    node.domain, node.op_type, node.overload = function.identifier()
    node.resize_outputs(len(function.outputs))
    for value in node.outputs:
        value.name = value.name or None
    for name, attribute in list(node.attributes.items()):
        if attribute.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS):
            del node.attributes[name]
