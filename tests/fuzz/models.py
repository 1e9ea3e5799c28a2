"""Mutated models: the structure of real ones changed node by node, and raw bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

import planish
from planish.importing import load_model
from planish.lowering.lower import lower
from planish.passes import canonicalise
from tests.fuzz import corpus
from tests.fuzz.case import Case, Reach, Rng, chance, options, pick
from tests.fuzz.feeds import feeds_for
from tests.fuzz.plans import NUMBERS, flipped

_ATTEMPTS = 4
_INTS = tuple(n for n in NUMBERS if isinstance(n, int) and -(1 << 63) <= n < 1 << 63)
_FLOATS = tuple(float(n) for n in NUMBERS if abs(n) < 1e38 or n != n or n == float("inf"))
_TEXTS = ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "linear", "nearest", "cubic", "reflect", "edge", "wrap",
          "constant", "align_corners", "half_pixel", "round_prefer_floor", "forward", "reverse", "bidirectional", "add",
          "mul", "none", "tanh", "Sigmoid", "Tanh", "Affine", "DCR", "CRD", "", "é")  # fmt: skip
_OPS = ("Add", "Mul", "Relu", "Sigmoid", "Conv", "MatMul", "Gemm", "Reshape", "Transpose", "Concat", "Slice", "Gather",
        "Softmax", "ReduceMean", "MaxPool", "Pad", "Resize", "Cast", "Where", "Expand", "Tile", "Split", "Squeeze",
        "Unsqueeze", "ScatterND", "GatherND", "TopK", "CumSum", "OneHot", "QuantizeLinear", "DequantizeLinear", "Clip",
        "LSTM", "GRU", "RNN", "ConvTranspose", "ConstantOfShape", "Range", "NonZero", "Identity", "Einsum",
        "DepthToSpace", "LayerNormalization", "BatchNormalization", "ArgMax", "Shape", "Compress")  # fmt: skip
_TYPES = (1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 16, 21, 22)


class Models:
    """Loads what a stranger made of a model, and runs it where it loads."""

    name = "models"
    stages = ("checker passed", "reached lowering", "lowered", "ran")

    def make(self, rng: Rng) -> Case:
        seed = pick(rng, corpus.models())
        if chance(rng, 0.05):
            return Case(flipped(rng, seed.SerializeToString()), ".onnx", "bytes")
        valid, model, notes = chance(rng, 0.85), onnx.ModelProto(), ""
        for _ in range(_ATTEMPTS if valid else 1):
            model.CopyFrom(seed)
            mutators = [pick(rng, MUTATORS) for _ in range(int(rng.geometric(0.6)))]
            notes = " ".join(m.__name__ for m in mutators)
            for mutate in mutators:
                mutate(rng, model)
            if valid and passes_checker(model):
                break
        return Case(model.SerializeToString(), ".onnx", notes)

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        if passes_checker(case.data):
            reach("checker passed")
        canonical = canonicalise(load_model(case.data))
        reach("reached lowering")
        lower(canonical, "auto")
        reach("lowered")
        session = planish.InferenceSession(case.data, options()) if chance(rng, 0.02) else _session(canonical)
        feeds = feeds_for(session, rng)
        if feeds is None:
            return
        session.run(None, feeds)
        reach("ran")


def _session(canonical: object) -> planish.InferenceSession:
    """A session of a model that is canonical already, without doing all of it twice."""
    import unittest.mock

    with (
        unittest.mock.patch("planish.importing.load_model", lambda source: source),
        unittest.mock.patch("planish.passes.canonicalise", lambda model: model),
    ):
        return planish.InferenceSession(canonical, options())


def passes_checker(model: onnx.ModelProto | bytes) -> bool:
    try:
        onnx.checker.check_model(model)
    except Exception:  # it raises errors of several kinds
        return False
    return True


# -- mutators: each changes a model in place, or leaves it where there is nothing to change ----------------------------

Mutator = Callable[[Rng, onnx.ModelProto], None]
MUTATORS: list[Mutator] = []


def mutator(weight: int) -> Callable[[Mutator], Mutator]:
    def register(function: Mutator) -> Mutator:
        MUTATORS.extend([function] * weight)
        return function

    return register


def graph_of(rng: Rng, model: onnx.ModelProto) -> onnx.GraphProto:
    """The main graph, or now and then one inside."""
    inner = [a.g for node in model.graph.node for a in node.attribute if a.type == AttributeProto.GRAPH]
    return pick(rng, inner) if inner and chance(rng, 0.4) else model.graph


def node_of(rng: Rng, model: onnx.ModelProto) -> onnx.NodeProto | None:
    nodes = graph_of(rng, model).node
    return pick(rng, nodes) if len(nodes) else None


def names_in(graph: onnx.GraphProto) -> list[str]:
    found = [i.name for i in graph.input] + [t.name for t in graph.initializer]
    return found + [o for node in graph.node for o in node.output]


@mutator(8)
def change_attribute(rng: Rng, model: onnx.ModelProto) -> None:
    node = node_of(rng, model)
    if node is None or not node.attribute:
        return
    a = pick(rng, node.attribute)
    if chance(rng, 0.05):
        a.type = int(rng.integers(0, 12))
    elif a.type == AttributeProto.INT:
        a.i = changed_int(rng, a.i)
    elif a.type == AttributeProto.FLOAT:
        a.f = pick(rng, _FLOATS)
    elif a.type == AttributeProto.STRING:
        a.s = pick(rng, _TEXTS).encode()
    elif a.type == AttributeProto.INTS:
        change_dims(rng, a.ints)
    elif a.type == AttributeProto.TENSOR:
        change_tensor(rng, a.t)


@mutator(1)
def remove_attribute(rng: Rng, model: onnx.ModelProto) -> None:
    node = node_of(rng, model)
    if node is not None and node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


@mutator(2)
def remove_node(rng: Rng, model: onnx.ModelProto) -> None:
    """Its consumers read its first input instead, mostly."""
    graph = graph_of(rng, model)
    if not graph.node:
        return
    at = int(rng.integers(len(graph.node)))
    gone = graph.node[at]
    if gone.input and gone.output and chance(rng, 0.8):
        for node in graph.node:
            for i, name in enumerate(node.input):
                if name == gone.output[0]:
                    node.input[i] = gone.input[0]
    del graph.node[at]


@mutator(3)
def duplicate_node(rng: Rng, model: onnx.ModelProto) -> None:
    """A second node behind the first, which reads its result; the graph's output then comes from the second."""
    graph = graph_of(rng, model)
    if not graph.node:
        return
    at = int(rng.integers(len(graph.node)))
    copy = onnx.NodeProto()
    copy.CopyFrom(graph.node[at])
    if not copy.output or not copy.input:
        return
    copy.name += "_again"
    first = graph.node[at]
    for i, name in enumerate(first.output):
        first.output[i] = name + "_first" if name else ""
    copy.input[0] = first.output[0]
    rest = list(graph.node)[at + 1 :]
    del graph.node[at + 1 :]
    graph.node.extend([copy, *rest])


@mutator(1)
def swap_nodes(rng: Rng, model: onnx.ModelProto) -> None:
    graph = graph_of(rng, model)
    if len(graph.node) < 2:
        return
    i, j = (int(n) for n in rng.integers(len(graph.node), size=2))
    saved = onnx.NodeProto()
    saved.CopyFrom(graph.node[i])
    graph.node[i].CopyFrom(graph.node[j])
    graph.node[j].CopyFrom(saved)


@mutator(3)
def change_operator(rng: Rng, model: onnx.ModelProto) -> None:
    """Another operator on the same operands."""
    node = node_of(rng, model)
    if node is None:
        return
    node.op_type = pick(rng, _OPS)
    known = onnx.defs.get_schema(node.op_type).attributes
    for i in reversed(range(len(node.attribute))):
        if node.attribute[i].name not in known:
            del node.attribute[i]


@mutator(5)
def rewire_input(rng: Rng, model: onnx.ModelProto) -> None:
    """An input of a node is another value that exists before it."""
    graph = graph_of(rng, model)
    if not graph.node:
        return
    at = int(rng.integers(len(graph.node)))
    node = graph.node[at]
    names = [i.name for i in graph.input] + [t.name for t in graph.initializer]
    names += [o for n in list(graph.node)[:at] for o in n.output]
    if chance(rng, 0.1):
        names = [*names_in(model.graph), "", "no such value"]
    if names and node.input:
        node.input[int(rng.integers(len(node.input)))] = pick(rng, names)


@mutator(1)
def change_arity(rng: Rng, model: onnx.ModelProto) -> None:
    """An operand more or less."""
    node = node_of(rng, model)
    if node is None:
        return
    operands = node.input if chance(rng, 0.7) else node.output
    if operands and chance(rng, 0.5):
        del operands[int(rng.integers(len(operands)))]
    else:
        operands.append(pick(rng, [*names_in(model.graph), "", "new"]))


@mutator(7)
def change_initializer(rng: Rng, model: onnx.ModelProto) -> None:
    graph = graph_of(rng, model)
    if graph.initializer:
        change_tensor(rng, pick(rng, graph.initializer))


@mutator(5)
def change_input(rng: Rng, model: onnx.ModelProto) -> None:
    """A dimension or the type of a graph input, an output or a value."""
    graph = model.graph
    info = pick(rng, [*graph.input, *graph.input, *graph.output, *graph.value_info])
    tensor = info.type.tensor_type
    if chance(rng, 0.2):
        tensor.elem_type = pick(rng, _TYPES)
    elif chance(rng, 0.1):
        tensor.ClearField("shape")
    elif len(tensor.shape.dim) and chance(rng, 0.8):
        dim = pick(rng, tensor.shape.dim)
        if chance(rng, 0.4):
            dim.dim_param = pick(rng, ("n", "m", "x0d0", ""))
        else:
            dim.dim_value = changed_int(rng, dim.dim_value) if chance(rng, 0.3) else int(rng.integers(0, 9))
    elif chance(rng, 0.5):
        tensor.shape.dim.add().dim_value = int(rng.integers(1, 5))
    elif len(tensor.shape.dim):
        del tensor.shape.dim[0]


@mutator(1)
def change_version(rng: Rng, model: onnx.ModelProto) -> None:
    if chance(rng, 0.3):
        model.ir_version = int(rng.integers(3, 14))
    elif model.opset_import:
        opset = pick(rng, model.opset_import)
        opset.version = int(rng.integers(7, 24)) if chance(rng, 0.8) else changed_int(rng, opset.version)


@mutator(2)
def expose_value(rng: Rng, model: onnx.ModelProto) -> None:
    """An inner value becomes an output; or one of the outputs another value."""
    graph = model.graph
    name = pick(rng, names_in(graph)) if names_in(graph) else ""
    if chance(rng, 0.5) and graph.output:
        pick(rng, graph.output).name = name
    elif name not in [o.name for o in graph.output] or chance(rng, 0.1):
        graph.output.add().name = name


@mutator(1)
def feed_initializer(rng: Rng, model: onnx.ModelProto) -> None:
    """A constant becomes an input, or an input a constant."""
    graph = model.graph
    if not graph.initializer:
        return
    at = int(rng.integers(len(graph.initializer)))
    tensor = graph.initializer[at]
    if tensor.name not in [i.name for i in graph.input]:
        graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    if chance(rng, 0.7):
        del graph.initializer[at]


def change_tensor(rng: Rng, tensor: TensorProto) -> None:
    """Contents, dimensions or type; sound mostly."""
    kind = int(rng.integers(10))
    if kind == 0:
        change_dims(rng, tensor.dims)
    elif kind == 1:
        tensor.data_type = pick(rng, _TYPES)
    elif kind == 2:
        tensor.raw_data = flipped(rng, tensor.raw_data)
    elif tensor.raw_data and kind < 6:
        tensor.raw_data = flipped(rng, tensor.raw_data, cut=False)
    else:
        _change_contents(rng, tensor)


def _change_contents(rng: Rng, tensor: TensorProto) -> None:
    """Numbers that make trouble, or other dimensions of the same number of elements."""
    try:
        array = onnx.numpy_helper.to_array(tensor).copy()
    except Exception:  # already mutated
        return
    if chance(rng, 0.3) and array.ndim:
        sizes = (int(np.prod(array.shape)), 1) if chance(rng, 0.5) else array.shape[::-1]
        array = array.reshape(sizes)
    elif array.size and array.dtype.kind in "iuf":
        value = pick(rng, _FLOATS if array.dtype.kind == "f" else _INTS)
        if array.dtype.kind != "f":
            info = np.iinfo(array.dtype)
            value = min(max(int(value), int(info.min)), int(info.max))
        with np.errstate(all="ignore"):
            array.reshape(-1)[int(rng.integers(array.size))] = value
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def change_dims(rng: Rng, dims: object) -> None:
    """An element of a repeated field of integers changed, added or removed."""
    values: list[int] = list(dims)  # type: ignore[call-overload]
    kind = int(rng.integers(6))
    if kind == 0 or not values:
        values.insert(int(rng.integers(len(values) + 1)), pick(rng, _INTS))
    elif kind == 1:
        del values[int(rng.integers(len(values)))]
    else:
        at = int(rng.integers(len(values)))
        values[at] = changed_int(rng, values[at])
    del dims[:]  # type: ignore[attr-defined]
    dims.extend(values)  # type: ignore[attr-defined]


def changed_int(rng: Rng, value: int) -> int:
    if chance(rng, 0.6):
        return min(max(value + int(pick(rng, (-2, -1, 1, 2))), -(1 << 63)), (1 << 63) - 1)
    return int(pick(rng, _INTS))
