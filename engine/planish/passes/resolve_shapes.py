"""resolve_shapes: every value gets its element type and, as far as it follows from the inputs, its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
import onnx.shape_inference
import onnx_ir

from planish.passes.inference_proto import inference_proto
from planish.passes.patterns import graphs_of, is_float, nodes_of, subgraphs_of

#: Initializers up to this size are shown to inference: they may be shapes, axes, sizes.
_SHAPE_BYTES = 1024

#: Operators whose inputs, all but the first, say what to do: shapes, axes, positions; and the most numbers that are
#: followed there.
_PARAMETERISED = (
    "ConstantOfShape", "Expand", "Pad", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "Resize", "Slice", "Squeeze",
    "Tile", "Unsqueeze",
)  # fmt: skip
_LONGEST_PARAMETER = 1024

#: Operators that are followed where they work on shapes, of which every input may be one; and the most numbers of it:
#: more for these, since data of one dimension passes through them too.
_ON_SHAPES = ("Add", "Cast", "Concat", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze")
_LONGEST_SHAPE = 1 << 20

_FOLLOWED = ("Add", "Sub", "Mul", "Div")

#: Of operators that inference does not know, those whose results no kernel takes.
_RESULT_TYPES = {"Tokenizer": onnx_ir.DataType.STRING}

#: Key in the model's `meta`: the structure for which inference last ran.
_RESOLVED = "planish.shapes_resolved"


def resolve_shapes(model: onnx_ir.Model) -> bool:
    """Infer types and shapes by onnx's own rules, shape arithmetic included, and record them in the values.

    Symbolic dimensions keep the names of the inputs' or get new ones. What a file states about intermediate values may
    be stale: the first time, it counts only where inference finds nothing (operators of other domains, shapes that
    depend on data). Later runs look at values that are still open, and only ever make them more specific.

    Guarantees: types are known wherever inference knows the operator; shapes wherever they depend on shapes only.
    """
    first = _RESOLVED not in model.meta
    structure = _structure_of(model)
    if model.meta.get(_RESOLVED) == structure:
        return False
    model.meta[_RESOLVED] = structure
    for node in (node for graph in graphs_of(model) for node in graph if node.domain == "com.microsoft"):
        if node.op_type in _RESULT_TYPES:
            node.outputs[0].dtype = _RESULT_TYPES[node.op_type]
    values = [v for graph in graphs_of(model) for node in graph for v in node.outputs if first or _is_open(v)]
    if not values:
        return False
    before = [(value.type, value.shape) for value in values]
    _forget(values)
    proto = inference_proto(model, _SHAPE_BYTES)
    _record(model.graph, _infer(proto, shape_arithmetic=False).graph)
    if any(map(_is_open, values)) and not _is_endless(model):
        floats = {str(value.name) for value in values if is_float(value)}
        _forget(values)
        _hide_float_arithmetic(proto.graph, floats)
        _record(model.graph, _infer(proto, shape_arithmetic=True).graph)
    for value, (value_type, shape) in zip(values, before, strict=True):
        _restore(value, value_type, shape)
    return any(v.type != t or v.shape != shape for v, (t, shape) in zip(values, before, strict=True))


def _structure_of(model: onnx_ir.Model) -> int:
    """A number that changes when nodes are added, removed or connected in another way."""
    return hash(tuple((id(n), tuple(map(id, n.inputs))) for graph in graphs_of(model) for n in graph))


def _forget(values: list[onnx_ir.Value]) -> None:
    """Drop what is stated about results of standard operators, except for graph outputs."""
    for value in values:
        producer = value.producer()
        if producer is not None and producer.domain == "" and not value.is_graph_output():
            value.type, value.shape = None, None


def _infer(proto: onnx.ModelProto, shape_arithmetic: bool) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=shape_arithmetic)
    except onnx.shape_inference.InferenceError:
        return proto


def _hide_float_arithmetic(graph: onnx.GraphProto, floats: set[str]) -> None:
    """Keep inference from following sums and products of floats as if they were shapes.

    Where a rank is unknown, onnx may follow them without end. Max has the same rules for types and shapes, and is not
    followed.
    """
    for node in graph.node:
        if node.op_type in _FOLLOWED and node.domain == "" and node.output[0] in floats:
            node.op_type = "Max"
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _hide_float_arithmetic(attribute.g, floats)


def _parameters(model: onnx_ir.Model) -> Iterator[onnx_ir.Value]:
    """The inputs of operators by which they know a shape, axes or positions."""
    for node in nodes_of(model, *_PARAMETERISED):
        yield from (v for v in node.inputs[0 if node.op_type == "ConstantOfShape" else 1 :] if v is not None)


def _is_endless(model: onnx_ir.Model) -> bool:
    """Whether something that may be a shape has more elements than any tensor has axes, by far: onnx's shape arithmetic
    would go through all of them, and take minutes or all memory."""
    followed = (v for node in nodes_of(model, *_ON_SHAPES) for v in node.inputs if v is not None)
    return any(_is_longer(v, _LONGEST_PARAMETER) for v in _parameters(model)) or any(
        len(v.shape or ()) == 1 and _is_longer(v, _LONGEST_SHAPE) for v in followed
    )


def _is_longer(value: onnx_ir.Value, most: int) -> bool:
    dims = () if value.shape is None else value.shape.dims
    return any(isinstance(d, int) and d > most for d in dims)


def _is_open(value: onnx_ir.Value) -> bool:
    """Whether something about the value is still unknown; optional outputs without a name never matter."""
    if value.name == "":
        return False
    return value.type is None or value.shape is None or not value.shape.is_static()


def _record(graph: onnx_ir.Graph, proto: onnx.GraphProto) -> None:
    infos = {info.name: info.type for info in [*proto.value_info, *proto.output]}
    for node, node_proto in zip(graph, proto.node, strict=True):
        for value in node.outputs:
            if value.name in infos:
                _merge(value, infos[value.name])
        bodies = [a.g for a in node_proto.attribute if a.type == onnx.AttributeProto.GRAPH]
        for subgraph, body in zip(subgraphs_of(node), bodies, strict=False):
            _record(subgraph, body)


def _merge(value: onnx_ir.Value, info: onnx.TypeProto) -> None:
    if not _is_open(value):
        return
    if value.type is None:
        value.type = onnx_ir.serde.deserialize_type_proto_for_type(info)
    shape = _shape_of(info)
    if shape is None:
        return
    if value.shape is None or len(value.shape) != len(shape):
        value.shape = shape
    else:
        value.shape = onnx_ir.Shape([_more_specific(a, b) for a, b in zip(value.shape, shape, strict=True)])


def _shape_of(info: onnx.TypeProto) -> onnx_ir.Shape | None:
    """The shape of a tensor, or of what an optional or a sequence holds; None where nothing is known."""
    if not info.HasField("tensor_type"):
        return onnx_ir.serde.deserialize_type_proto_for_shape(info)
    if not info.tensor_type.HasField("shape"):
        return None
    dims = info.tensor_type.shape.dim
    return onnx_ir.Shape([d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims], frozen=True)


def _restore(value: onnx_ir.Value, stated: onnx_ir.TypeProtocol | None, shape: onnx_ir.Shape | None) -> None:
    """What was stated before, where inference did not find out more."""
    if value.type is None:
        value.type = stated
    if shape is None:
        return
    known = onnx_ir.Shape([_forget_invented(dim) for dim in shape])
    if value.shape is None:
        value.shape = known
    elif len(value.shape) == len(known):
        value.shape = onnx_ir.Shape([_more_specific(a, b) for a, b in zip(value.shape, known, strict=True)])


def _is_invented(dim: Any) -> bool:
    """Whether inference made up the name: such a name means something within one run of inference only."""
    return not isinstance(dim, int) and str(dim.value).startswith("unk__")


def _forget_invented(dim: Any) -> Any:
    return onnx_ir.SymbolicDim(None) if _is_invented(dim) else dim


def _more_specific(a: Any, b: Any) -> Any:
    """Of two statements about a dimension: a number, else a name of the model, else an invented one, else nothing."""
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    return b if (a.value is None or _is_invented(a)) and b.value is not None else a
