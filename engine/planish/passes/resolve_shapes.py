"""resolve_shapes: every value gets its element type and, as far as it follows from the inputs, its shape."""

from __future__ import annotations

import functools
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Any

import onnx
import onnx.shape_inference
import onnx_ir

from planish.passes.inference_proto import inference_proto, reads_of
from planish.passes.patterns import is_float, nodes_of, subgraphs_of

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

_INTEGERS = frozenset({onnx_ir.DataType.INT32, onnx_ir.DataType.INT64})

#: Key in the model's `meta`: what inference last knew of the values that it left open.
_RESOLVED = "planish.shapes_resolved"


def resolve_shapes(model: onnx_ir.Model) -> bool:
    """Infer types and shapes by onnx's own rules, shape arithmetic included, and record them in the values.

    Symbolic dimensions keep the names of the inputs' or get new ones. What a file states about intermediate values may
    be stale: the first time, it counts only where inference finds nothing (operators of other domains, shapes that
    depend on data). Later runs look at values that are still open, and only ever make them more specific. A value is
    open until each of its dimensions is a number or the name of an input's.

    Guarantees: types are known wherever inference knows the operator; shapes wherever they depend on shapes only.
    """
    symbols = {d.value for v in model.graph.inputs for d in v.shape or () if not isinstance(d, int) and d.value}
    for node in nodes_of(model, *_RESULT_TYPES, domain="com.microsoft"):
        node.outputs[0].dtype = _RESULT_TYPES[node.op_type]
    if _RESOLVED not in model.meta:
        nodes = list(model.graph)
        news = _infer_nodes(model, nodes, list(_made_by(nodes)), symbols)
    else:
        nodes = _unresolved(model.graph, symbols)
        known = model.meta[_RESOLVED]
        changed = {node for node in nodes if _evidence(node) not in known}
        if not changed:
            return False
        news = _infer_again(model, nodes, changed, symbols)
    opens = any(_leaves_open(node, symbols) for node in nodes)
    model.meta[_RESOLVED] = frozenset(map(_evidence, nodes)) if opens else frozenset()
    return news


def _infer_again(
    model: onnx_ir.Model, nodes: list[onnx_ir.Node], changed: set[onnx_ir.Node], symbols: Collection[str]
) -> bool:
    """Infer what is still open about `nodes`, of which some have changed: first those alone, if they are few, since
    without news of them there is none of the rest."""
    part = _with_sources(model.graph, _with_shape_readers(nodes, changed))
    news = False
    for some in (part, nodes) if len(part) * 2 < len(nodes) else (nodes,):
        values = [value for value in _made_by(some) if _is_open(value, symbols)]
        before = [(value.type, value.shape) for value in values]
        found = _infer_nodes(model, some, values, symbols)
        if not found and not news:  # keep the names that the rest knows
            for value, (value_type, shape) in zip(values, before, strict=True):
                value.type, value.shape = value_type, shape
            return False
        news = True
    return news


def _infer_nodes(
    model: onnx_ir.Model, nodes: list[onnx_ir.Node], values: list[onnx_ir.Value], symbols: Collection[str]
) -> bool:
    """Infer the values, which the nodes or those inside them give; whether that brought news."""
    before = [(value.type, value.shape) for value in values]
    _forget(values)
    proto = inference_proto(model, nodes, _SHAPE_BYTES)
    _record(nodes, _infer(proto, shape_arithmetic=False).graph)
    if any(_is_open(v, symbols) for v in values) and _has_shape_arithmetic(nodes) and not _is_endless(model):
        floats = {str(value.name) for value in values if is_float(value)}
        _forget(values)
        _hide_float_arithmetic(proto.graph, floats)
        _record(nodes, _infer(proto, shape_arithmetic=True).graph)
    for value, (value_type, shape) in zip(values, before, strict=True):
        _restore(value, value_type, shape, symbols)
    return _is_news(before, values, symbols)


def _made_by(nodes: Iterable[onnx_ir.Node]) -> Iterator[onnx_ir.Value]:
    """What nodes, and those inside them, give."""
    for node in nodes:
        yield from node.outputs
        for body in subgraphs_of(node):
            yield from _made_by(body)


def _unresolved(graph: onnx_ir.Graph, symbols: Collection[str]) -> list[onnx_ir.Node]:
    """What inference must see to find out more: the nodes, in order, that give or hold open values, and those from
    which integers come to them that may be shapes."""
    return _with_sources(graph, {node for node in graph if _leaves_open(node, symbols)})


def _with_sources(graph: onnx_ir.Graph, nodes: set[onnx_ir.Node]) -> list[onnx_ir.Node]:
    """The nodes, and those from which integers come to them that may be shapes, in order."""
    pending = list(nodes)
    while pending:
        for _, value in reads_of(pending.pop()):
            source = value.producer()
            if source is not None and source.graph is graph and source not in nodes and _may_be_shape(value):
                nodes.add(source)
                pending.append(source)
    return [node for node in graph if node in nodes] if nodes else []


def _with_shape_readers(nodes: list[onnx_ir.Node], changed: set[onnx_ir.Node]) -> set[onnx_ir.Node]:
    """The changed nodes, and those to which what may be a shape comes from them."""
    found = set(changed)
    for node in nodes:
        if any(value.producer() in found and _may_be_shape(value) for _, value in reads_of(node)):
            found.add(node)
    return found


def _leaves_open(node: onnx_ir.Node, symbols: Collection[str]) -> bool:
    """Whether a node gives or holds an open value; what a loop feeds its body counts, although nothing resolves it: the
    names of its dimensions must stay known."""
    if any(_is_open(value, symbols) for value in node.outputs):
        return True
    return any(
        any(_is_open(value, symbols) for value in body.inputs) or any(_leaves_open(inner, symbols) for inner in body)
        for body in subgraphs_of(node)
    )


def _may_be_shape(value: onnx_ir.Value) -> bool:
    return value.dtype in _INTEGERS and (value.shape is None or len(value.shape) <= 1)


def _has_shape_arithmetic(nodes: Iterable[onnx_ir.Node]) -> bool:
    """Whether any of the nodes reads a computed value that may be a shape."""
    return any(_may_be_shape(v) and v.producer() is not None for node in nodes for _, v in reads_of(node))


def _evidence(node: onnx_ir.Node) -> Hashable:
    """What inference of the node's results depends on: itself, the opset, which constants it reads, the shapes of the
    rest."""
    opset = node.graph.opset_imports.get("") if isinstance(node.graph, onnx_ir.Graph) else None
    return id(node), opset, tuple((id(reader), _statement(value)) for reader, value in reads_of(node))


def _statement(value: onnx_ir.Value) -> Hashable:
    if value.is_initializer():
        return value.name, id(value)
    return None if value.shape is None else value.shape.dims


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


def _is_open(value: onnx_ir.Value, symbols: Collection[str] = ()) -> bool:
    """Whether something about the value is still unknown: a dimension that is neither a number nor among `symbols`.
    Optional outputs without a name never matter."""
    if value.name == "":
        return False
    if value.type is None or value.shape is None:
        return True
    for dim in value.shape:  # noqa: SIM110 - asked more often than anything else here; any() takes twice as long
        if not isinstance(dim, int) and dim.value not in symbols:
            return True
    return False


def _record(nodes: Iterable[onnx_ir.Node], proto: onnx.GraphProto) -> None:
    infos = {info.name: info.type for info in [*proto.value_info, *proto.output]}
    for index, node in enumerate(nodes):
        for value in node.outputs:
            if (info := infos.get(value.name)) is not None and _is_open(value):
                _merge(value, info)
        if bodies := subgraphs_of(node):
            inner = [a.g for a in proto.node[index].attribute if a.type == onnx.AttributeProto.GRAPH]
            for subgraph, body in zip(bodies, inner, strict=False):
                _record(subgraph, body)


def _merge(value: onnx_ir.Value, info: onnx.TypeProto) -> None:
    dtype, shape = _tensor_of(info.SerializeToString())
    if value.type is None:
        other = onnx_ir.serde.deserialize_type_proto_for_type
        value.type = other(info) if dtype is None else onnx_ir.TensorType(dtype)
    if shape is None:
        return
    if value.shape is None or len(value.shape) != len(shape):
        value.shape = shape
    else:
        value.shape = onnx_ir.Shape([_more_specific(a, b) for a, b in zip(value.shape, shape, strict=True)])


@functools.lru_cache(maxsize=1024)
def _tensor_of(text: bytes) -> tuple[onnx_ir.DataType | None, onnx_ir.Shape | None]:
    """(element type, shape) of a tensor, or (None, shape) of what an optional or a sequence holds; no shape where
    nothing is known.

    text: a serialised type; most of a model's values share theirs with others.
    """
    info = onnx.TypeProto.FromString(text)
    if not info.HasField("tensor_type"):
        return None, onnx_ir.serde.deserialize_type_proto_for_shape(info)
    dtype = onnx_ir.DataType(info.tensor_type.elem_type)
    if not info.tensor_type.HasField("shape"):
        return dtype, None
    dims = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in info.tensor_type.shape.dim]
    return dtype, onnx_ir.Shape(dims, frozen=True)


def _restore(
    value: onnx_ir.Value, stated: onnx_ir.TypeProtocol | None, shape: onnx_ir.Shape | None, symbols: Collection[str]
) -> None:
    """What was stated before, where inference did not find out more."""
    if value.type is None:
        value.type = stated
    if shape is None or not _is_open(value):
        return
    known = [onnx_ir.SymbolicDim(None) if _is_invented(dim, symbols) else dim for dim in shape]
    if value.shape is None:
        value.shape = onnx_ir.Shape(known)
    elif len(value.shape) == len(known):
        merged = [_more_specific(a, b, symbols) for a, b in zip(value.shape, known, strict=True)]
        if any(a is not b for a, b in zip(merged, value.shape, strict=True)):
            value.shape = onnx_ir.Shape(merged)


def _is_news(
    before: list[tuple[onnx_ir.TypeProtocol | None, onnx_ir.Shape | None]],
    values: list[onnx_ir.Value],
    symbols: Collection[str],
) -> bool:
    """Whether any type or shape tells more than before. Other invented names are no news, unless one stands where there
    were two."""
    names: dict[Any, Any] = {}  # invented now → invented before
    for (value_type, shape), value in zip(before, values, strict=True):
        found = value.shape
        if value.type is not value_type and value.type != value_type:
            return True
        if shape is None or found is None or len(shape) != len(found):
            if shape is not found:
                return True
            continue
        for old, new in zip(shape, found, strict=True):
            if old != new and not (_is_invented(old, symbols) and _is_invented(new, symbols)):
                return True
            if not isinstance(new, int) and names.setdefault(new, old) != old:
                return True
    return False


def _is_invented(dim: Any, symbols: Collection[str]) -> bool:
    """Whether inference made up the name: such a name means something within one run of inference only."""
    return not isinstance(dim, int) and str(dim.value).startswith("unk__") and dim.value not in symbols


def _more_specific(a: Any, b: Any, symbols: Collection[str] = ()) -> Any:
    """Of two statements about a dimension: a number, else a name of the model, else an invented one, else nothing."""
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    return b if (a.value is None or _is_invented(a, symbols)) and b.value is not None else a
