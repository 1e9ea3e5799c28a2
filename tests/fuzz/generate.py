"""A generator of small graphs over the native operators, each node evaluated by onnx.reference as it is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.fuzz.case import Rng, chance, pick
from tests.lowering.quantized import Net

Array = npt.NDArray[Any]
OPSET = 18
FLOAT, INTEGERS = ("float32",), ("int64", "int32")
#: Values beyond are not used further, so that rounding stays rounding.
_LARGEST = 1e3
_MOST_ELEMENTS = 4096
WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")


class Graph(Net):
    """A model under construction that knows what its values are.

    `exact` values went through no rounding: operators with jumps (floor, comparisons, indices) take only these, as a
    last bit's difference before a jump is none of an implementation's errors.
    """

    def __init__(self, rng: Rng) -> None:
        super().__init__(OPSET)
        self.rng = rng
        self.values: dict[str, Array] = {}
        self.feeds: dict[str, Array] = {}
        self.exact: set[str] = set()
        self.results: list[str] = []

    def fed(self, array: Array, symbolic: bool = True) -> str:
        """A graph input with this value; some of its dimensions may be symbolic."""
        name = f"x{len(self.feeds)}"
        shape = [f"{name}d{i}" if symbolic and chance(self.rng, 0.4) else n for i, n in enumerate(array.shape)]
        self.input(name, shape, array.dtype)
        self.feeds[name] = self.values[name] = array
        self.exact.add(name)
        return name

    def constant(self, value: Any) -> str:
        name = super().constant(value)
        self.values[name] = np.asarray(value)
        return name

    def apply(self, op: str, inputs: Sequence[str], outputs: int = 1, exact: bool = False, **attrs: Any) -> None:
        """Adds a node unless the reference evaluator refuses it or its results are too large."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", **attrs)
        results = _evaluate(node, {i: self.values[i] for i in inputs if i})
        if results is None or any(r.size > _MOST_ELEMENTS for r in results):
            return
        if any(r.dtype.kind == "f" and not np.isfinite(r).all() for r in results):
            return  # onnx.reference overflows within Softmax and its like
        if op in WINDOWED and not all(v.size for v in (self.values[inputs[0]], *results)):
            return  # windows larger than what they slide over: refused
        self.nodes.append(node)
        self.values.update(zip(names, results, strict=True))
        self.results += names
        if exact and self.exact.issuperset(i for i in inputs if i in self.feeds or i in self.results):
            self.exact.update(names)

    def value(self, dtypes: Sequence[str] = FLOAT, exact: bool = False, least: int = 0, most: int = 5) -> str:
        """A value of one of these types, of `least` to `most` dimensions: one at hand, or a new input."""
        found = [
            name
            for name in (*self.feeds, *self.results)
            if self.values[name].dtype.name in dtypes
            and least <= self.values[name].ndim <= most
            and (not exact or name in self.exact)
            and _tame(self.values[name])
        ]
        if found and not (len(self.feeds) < 3 and chance(self.rng, 0.15)):
            return found[-1 - min(len(found) - 1, int(self.rng.geometric(0.5)) - 1)]
        return self.fed(array(self.rng, pick(self.rng, dtypes), shape(self.rng, max(least, 1), min(most, 4))))

    def partner(self, name: str) -> str:
        """A value that broadcasts with another: itself, a constant, or a new input."""
        base = self.values[name]
        dims = [1 if chance(self.rng, 0.3) else n for n in base.shape][int(self.rng.integers(base.ndim + 1)) :]
        other = array(self.rng, base.dtype.name, dims)
        kind = self.rng.integers(4)
        return name if kind == 0 else self.fed(other) if kind == 1 and len(self.feeds) < 4 else self.constant(other)

    def finished(self) -> onnx.ModelProto | None:
        """The model; its outputs are the results that no node reads, and now and then others."""
        read = {i for node in self.nodes for i in node.input}
        names = [n for n in self.results if n not in read or chance(self.rng, 0.1)]
        used = [i for i in self.inputs if i.name in read]
        if not names or not used:
            return None
        outputs = []
        for name in names:
            code = helper.np_dtype_to_tensor_dtype(self.values[name].dtype)
            outputs.append(helper.make_tensor_value_info(name, code, [None] * self.values[name].ndim))
        graph = helper.make_graph(self.nodes, "g", used, outputs, self.initializers)
        self.feeds = {i.name: self.feeds[i.name] for i in used}
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def _evaluate(node: onnx.NodeProto, feeds: dict[str, Array]) -> list[Array] | None:
    inputs = [helper.make_value_info(name, helper.make_tensor_type_proto(0, None)) for name in feeds]
    for info, value in zip(inputs, feeds.values(), strict=True):
        info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "node", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    try:
        onnx.checker.check_node(node, onnx.checker.DEFAULT_CONTEXT)
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # whatever it raises, the node is not one to compare
        return None
    return [np.asarray(r) for r in results]


def _tame(value: Array) -> bool:
    return value.dtype.kind != "f" or not value.size or bool((np.abs(value) < _LARGEST).all())


def shape(rng: Rng, least: int, most: int) -> tuple[int, ...]:
    """Small dimensions around the widths of vectors; now and then a zero."""
    rank = int(rng.integers(least, most + 1))
    sizes = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33) if rank < 3 else (1, 2, 3, 4, 5, 8)
    return tuple(0 if chance(rng, 0.01) else int(pick(rng, sizes)) for _ in range(rank))


def array(rng: Rng, dtype: str, dims: Sequence[int]) -> Array:
    """Numbers of moderate size: quarters between -4 and 4, small integers, either bool."""
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, dims), np.bool_)
    if np.dtype(dtype).kind == "f":
        return np.asarray(rng.integers(-16, 17, dims) / 4, dtype)
    low, high = (0, 256) if dtype == "uint8" else (-128, 128) if dtype == "int8" else (-9, 10)
    return np.asarray(rng.integers(low, high, dims), dtype)


# -- nodes: one function a group of operators --------------------------------------------------------------------------

Adder = Callable[[Graph, Rng], None]
ADDERS: list[Adder] = []


def adder(weight: int) -> Callable[[Adder], Adder]:
    """Registers a function that adds a random node of its group; `weight` is how many operators it stands for."""

    def register(function: Adder) -> Adder:
        ADDERS.extend([function] * weight)
        return function

    return register


def axis_of(rng: Rng, rank: int) -> int:
    return int(rng.integers(-rank, rank))


@adder(5)
def add_unary(g: Graph, rng: Rng) -> None:
    op = pick(rng, ("Neg", "Abs", "Relu", "Sigmoid", "Tanh", "Exp", "Sin", "Cos", "Erf", "Softplus", "Softsign",
                    "HardSwish", "HardSigmoid", "Elu", "Selu", "LeakyRelu", "Atan", "Identity"))  # fmt: skip
    attrs = {"alpha": float(rng.integers(1, 8)) / 8} if op in ("Elu", "LeakyRelu", "HardSigmoid") else {}
    g.apply(op, [g.value()], exact=op in ("Neg", "Abs", "Relu", "Identity"), **attrs)


@adder(2)
def add_jump(g: Graph, rng: Rng) -> None:
    op = pick(rng, ("Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf", "Not"))
    g.apply(op, [g.value(("bool",) if op == "Not" else FLOAT, exact=True)], exact=True)


@adder(5)
def add_binary(g: Graph, rng: Rng) -> None:
    op = pick(rng, ("Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Min", "Max", "Mean", "Sum"))
    integers = op in ("Add", "Sub", "Mul", "Min", "Max")
    a = g.value((*FLOAT, *INTEGERS) if integers else FLOAT)
    g.apply(op, [a, g.partner(a)], exact=op in ("Add", "Sub", "Min", "Max"))


@adder(3)
def add_comparison(g: Graph, rng: Rng) -> None:
    op = pick(rng, ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Mod"))
    kinds = ("bool",) if op in ("And", "Or", "Xor") else INTEGERS if op == "Mod" else (*FLOAT, *INTEGERS)
    a = g.value(kinds, exact=True)
    g.apply(op, [a, g.partner(a)], exact=True)


@adder(2)
def add_where(g: Graph, rng: Rng) -> None:
    a = g.value()
    condition = g.constant(array(rng, "bool", [1 if chance(rng, 0.3) else n for n in g.values[a].shape]))
    g.apply("Where", [condition, a, g.partner(a)])


@adder(2)
def add_clip(g: Graph, rng: Rng) -> None:
    low, high = sorted(float(v) / 4 for v in rng.integers(-8, 9, 2))
    bounds = [g.constant(np.float32(v)) if chance(rng, 0.8) else "" for v in (low, high)]
    g.apply("Clip", [g.value(), *bounds], exact=True)


@adder(2)
def add_cast(g: Graph, rng: Rng) -> None:
    x = g.value(("float32", "int64", "int32", "uint8", "int8", "bool", "float16", "float64"), exact=True)
    to = pick(rng, ("float32", "int64", "int32", "bool", "float16", "float64"))
    g.apply("Cast", [x], exact=True, to=helper.np_dtype_to_tensor_dtype(np.dtype(to)))


@adder(4)
def add_matmul(g: Graph, rng: Rng) -> None:
    a = g.value(least=1)
    k, n = g.values[a].shape[-1], int(pick(rng, (1, 2, 5, 8, 16, 17)))
    if g.values[a].ndim == 2 and chance(rng, 0.5):
        bias = [g.constant(array(rng, "float32", (n,)))] if chance(rng, 0.6) else []
        w = g.constant(array(rng, "float32", (n, k)))
        g.apply("Gemm", [a, w, *bias], transB=1, alpha=0.5 if chance(rng, 0.2) else 1.0)
        return
    b = array(rng, "float32", (*(() if chance(rng, 0.7) else g.values[a].shape[:-2]), k, n))
    g.apply("MatMul", [a, g.constant(b) if chance(rng, 0.7) else g.fed(b)])


@adder(5)
def add_conv(g: Graph, rng: Rng) -> None:
    x = g.value(least=3, most=4)
    channels, spatial = g.values[x].shape[1], g.values[x].shape[2:]
    groups = channels if chance(rng, 0.3) else 1
    out = max(1, groups * int(pick(rng, (1, 2)) if groups > 1 else pick(rng, (1, 3, 8, 16, 17))))
    kernel = [int(rng.integers(1, 4)) for _ in spatial]
    attrs: dict[str, Any] = {"group": groups, "kernel_shape": kernel}
    attrs["strides"] = [int(rng.integers(1, 4)) for _ in spatial]
    attrs["dilations"] = [int(rng.integers(1, 3)) for _ in spatial]
    attrs["pads"] = [int(n) for n in rng.integers(0, 3, 2 * len(spatial))]
    transposed = groups == 1 and chance(rng, 0.2)  # onnx.reference is wrong about transposed groups
    if transposed:
        w = array(rng, "float32", (channels, out // groups, *kernel))
    else:
        w = array(rng, "float32", (out, channels // max(1, groups), *kernel))
    bias = [g.constant(array(rng, "float32", (out,)))] if chance(rng, 0.5) else []
    g.apply("ConvTranspose" if transposed else "Conv", [x, g.constant(w), *bias], **attrs)


@adder(3)
def add_pool(g: Graph, rng: Rng) -> None:
    x = g.value(least=3, most=4)
    spatial = g.values[x].ndim - 2
    op = pick(rng, ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
    if op == "GlobalMaxPool" and spatial != 2:
        return  # onnx.reference drops a dimension
    if op.startswith("Global"):
        g.apply(op, [x])
        return
    kernel = [int(rng.integers(1, 4)) for _ in range(spatial)]
    pads = 2 * [int(rng.integers(0, k)) for k in kernel]  # onnx.reference is wrong about uneven ones
    strides = [int(rng.integers(1, 4)) for _ in range(spatial)]
    if op == "MaxPool" and set(strides) == {1}:
        pads = [min(pads)] * len(pads)  # onnx.reference mixes up the axes'
    more = {"count_include_pad": int(rng.integers(2))} if op == "AveragePool" else {}
    g.apply(op, [x], kernel_shape=kernel, pads=pads, strides=strides, **more)


@adder(3)
def add_reduction(g: Graph, rng: Rng) -> None:
    x = g.value(least=1)
    rank = g.values[x].ndim
    op = pick(rng, ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                    "ReduceSumSquare", "ReduceLogSumExp"))  # fmt: skip
    axes = [g.constant(np.array([axis_of(rng, rank)]))] if chance(rng, 0.8) else []
    g.apply(op, [x, *axes], keepdims=int(rng.integers(2)), exact=op in ("ReduceMax", "ReduceMin"))


@adder(3)
def add_normalisation(g: Graph, rng: Rng) -> None:
    x = g.value(least=1)
    last = g.values[x].shape[-1]
    op = pick(rng, ("Softmax", "LogSoftmax", "LayerNormalization", "BatchNormalization", "InstanceNormalization"))
    if op.endswith("oftmax"):
        g.apply(op, [x], axis=axis_of(rng, g.values[x].ndim))
    elif op == "LayerNormalization":
        g.apply(op, [x, *(g.constant(array(rng, "float32", (last,))) for _ in range(2))], axis=-1)
    elif g.values[x].ndim >= 3:
        count = 4 if op == "BatchNormalization" else 2
        parameters = [np.abs(array(rng, "float32", (g.values[x].shape[1],))) + 1 for _ in range(count)]
        g.apply(op, [x, *map(g.constant, parameters)])


@adder(5)
def add_reshape(g: Graph, rng: Rng) -> None:
    x = g.value((*FLOAT, *INTEGERS, "uint8", "bool"), least=1)
    dims = g.values[x].shape
    op = pick(rng, ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile"))
    if op == "Reshape":
        target = list(rng.permutation(dims)) if chance(rng, 0.6) else [dims[0], -1]
        g.apply(op, [x, g.constant(np.array(target, np.int64))], exact=True)
    elif op in ("Squeeze", "Unsqueeze"):
        axes = [i for i, n in enumerate(dims) if n == 1] if op == "Squeeze" else [int(rng.integers(len(dims) + 1))]
        g.apply(op, [x, g.constant(np.array(axes, np.int64))], exact=True)
    elif op in ("Expand", "Tile"):
        counts = [2 if n == 1 or (op == "Tile" and chance(rng, 0.3)) else 1 for n in dims]
        g.apply(op, [x, g.constant(np.array(counts, np.int64))], exact=True)
    elif op == "Transpose":
        g.apply(op, [x], exact=True, perm=[int(a) for a in rng.permutation(len(dims))])
    else:
        g.apply(op, [x], exact=True, axis=int(rng.integers(len(dims) + 1)))


@adder(4)
def add_slice(g: Graph, rng: Rng) -> None:
    x = g.value((*FLOAT, *INTEGERS), least=1)
    dims = g.values[x].shape
    axis = axis_of(rng, len(dims))
    if chance(rng, 0.6):
        step = int(pick(rng, (1, 1, 2, 3, -1, -2)))
        ends = [int(v) for v in rng.integers(-dims[axis] - 1, dims[axis] + 2, 2)]
        parameters = [[ends[0]], [ends[1]], [axis], [step]]
        g.apply("Slice", [x, *(g.constant(np.array(p, np.int64)) for p in parameters)], exact=True)
    elif dims[axis] > 1:
        cut = int(rng.integers(1, dims[axis]))
        sizes = g.constant(np.array([cut, dims[axis] - cut], np.int64))
        g.apply("Split", [x, sizes], outputs=2, exact=True, axis=axis)


@adder(3)
def add_concat(g: Graph, rng: Rng) -> None:
    a = g.value((*FLOAT, *INTEGERS), least=1)
    axis = axis_of(rng, g.values[a].ndim)
    same = [n for n in g.results if g.values[n].dtype == g.values[a].dtype and g.values[n].shape == g.values[a].shape]
    pieces = [a, pick(rng, same) if same else a]
    if chance(rng, 0.4):
        pieces.append(g.constant(array(rng, g.values[a].dtype.name, g.values[a].shape)))
    g.apply("Concat", pieces, exact=True, axis=axis)


@adder(3)
def add_pad(g: Graph, rng: Rng) -> None:
    x = g.value(least=1)
    dims = g.values[x].shape
    mode = pick(rng, ("constant", "constant", "edge", "reflect"))
    low = -1 if mode == "constant" else 0
    pads = [int(rng.integers(low, 3)) if n > 3 else 0 for n in (*dims, *dims)]
    fill = [g.constant(np.float32(0.5))] if mode == "constant" and chance(rng, 0.5) else []
    g.apply("Pad", [x, g.constant(np.array(pads, np.int64)), *fill], exact=True, mode=mode)


@adder(4)
def add_indexing(g: Graph, rng: Rng) -> None:
    x = g.value((*FLOAT, *INTEGERS), least=1)
    value = g.values[x]
    axis = axis_of(rng, value.ndim)
    size = value.shape[axis]
    if not value.size:
        return
    op = pick(rng, ("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"))
    if op == "Gather":
        indices = rng.integers(-size, size, shape(rng, 0, 2))
        fed = chance(rng, 0.5) and len(g.feeds) < 4
        g.apply(op, [x, g.fed(np.asarray(indices)) if fed else g.constant(indices)], exact=True, axis=axis)
    elif op == "GatherElements":
        g.apply(op, [x, g.constant(rng.integers(0, size, value.shape))], exact=True, axis=axis)
    elif op == "ScatterElements":
        indices = np.broadcast_to(np.arange(size).reshape([-1 if i == axis % value.ndim else 1
                                                           for i in range(value.ndim)]), value.shape)  # fmt: skip
        updates = array(rng, value.dtype.name, value.shape)
        g.apply(op, [x, g.constant(indices.astype(np.int64)), g.constant(updates)], exact=True, axis=axis)
    else:
        depth = int(rng.integers(1, value.ndim + 1))
        count = min(3, int(np.prod(value.shape[:depth])))
        rows = rng.choice(int(np.prod(value.shape[:depth])), count, replace=False)
        indices = np.stack(np.unravel_index(rows, value.shape[:depth]), -1).astype(np.int64)
        updates = [] if op == "GatherND" else [array(rng, value.dtype.name, (count, *value.shape[depth:]))]
        g.apply(op, [x, g.constant(indices), *map(g.constant, updates)], exact=True)


@adder(2)
def add_ranking(g: Graph, rng: Rng) -> None:
    dims = shape(rng, 1, 3)
    distinct = rng.permutation(int(np.prod(dims))).reshape(dims).astype(np.float32)
    x, axis = g.fed(distinct), axis_of(rng, len(dims))
    op = pick(rng, ("TopK", "ArgMax", "ArgMin", "CumSum", "OneHot"))
    if op == "TopK":
        k = g.constant(np.array([int(rng.integers(0, dims[axis] + 1))]))
        g.apply(op, [x, k], outputs=2, exact=True, axis=axis, largest=int(rng.integers(2)))
    elif op == "CumSum":
        g.apply(op, [x, g.constant(np.array(axis))], reverse=int(rng.integers(2)), exclusive=int(rng.integers(2)))
    elif op == "OneHot":
        indices = g.fed(rng.integers(-4, 4, dims))
        parameters = g.constant(np.array(5)), g.constant(np.array([0, 1], np.float32))
        g.apply(op, [indices, *parameters], exact=True, axis=axis)
    else:
        g.apply(op, [x], exact=True, axis=axis, keepdims=int(rng.integers(2)))


@adder(2)
def add_resize(g: Graph, rng: Rng) -> None:
    x = g.value(least=3, most=4)
    rank = g.values[x].ndim
    mode = pick(rng, ("nearest", "linear"))
    smallest = 0.5 if mode == "nearest" else 1.0  # onnx.reference is wrong about some smaller ones
    scales = [1.0, 1.0, *(float(pick(rng, (smallest, 1.0, 2.0, 3.0))) for _ in range(rank - 2))]
    more = {"nearest_mode": "floor"} if mode == "nearest" else {}
    where = "asymmetric" if mode == "nearest" else pick(rng, ("half_pixel", "align_corners", "asymmetric"))
    names = [x, "", g.constant(np.array(scales, np.float32))]
    g.apply("Resize", names, mode=mode, coordinate_transformation_mode=where, **more)


@adder(3)
def add_quantization(g: Graph, rng: Rng) -> None:
    x = g.value(exact=True)
    scale = g.constant(np.float32(pick(rng, (0.25, 0.5))))
    zero = g.constant(pick(rng, (np.uint8(128), np.int8(0), np.int8(-3), np.uint8(0))))
    before = len(g.results)
    g.apply("QuantizeLinear", [x, scale, zero], exact=True)
    if len(g.results) > before and chance(rng, 0.7):
        g.apply("DequantizeLinear", [g.results[-1], scale, zero], exact=True)


@adder(1)
def add_recurrent(g: Graph, rng: Rng) -> None:
    x = g.value(least=3, most=3)
    hidden, inputs = int(pick(rng, (1, 3, 8))), g.values[x].shape[2]
    op, gates = pick(rng, (("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    shapes = (1, gates * hidden, inputs), (1, gates * hidden, hidden), (1, 2 * gates * hidden)
    weights = [g.constant(array(rng, "float32", s) / 4) for s in shapes]
    g.apply(op, [x, *weights], outputs=2, hidden_size=hidden)


@adder(1)
def add_shape_arithmetic(g: Graph, rng: Rng) -> None:
    """A reshape to what Shape, Gather and Concat compute."""
    x = g.value(least=2)
    g.apply("Shape", [x], exact=True)
    g.apply("Gather", [g.results[-1], g.constant(np.array([0]))], exact=True)
    g.apply("Concat", [g.results[-1], g.constant(np.array([-1]))], exact=True, axis=0)
    g.apply("Reshape", [x, g.results[-1]], exact=True)


def random_graph(rng: Rng, most_nodes: int = 6) -> tuple[Graph, onnx.ModelProto]:
    """A graph of 1 to `most_nodes` nodes (a few more where a group adds several), and its model."""
    while True:
        g = Graph(rng)
        wanted = int(rng.integers(1, most_nodes + 1))
        for _ in range(4 * wanted):
            pick(rng, ADDERS)(g, rng)
            if len(g.nodes) >= wanted:
                break
        model = g.finished()
        if model is not None:
            return g, model


def initializers(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
