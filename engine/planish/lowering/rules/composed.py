"""Operators that are a few steps of other kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, dtype_name, require, rule

#: Windows of local response normalisation are sums of at most this many slices.
_LARGEST_WINDOW = 256


class Composer:
    """Adds the steps of one node: each method gives the tensor that the step makes."""

    def __init__(self, b: Builder, node: ir.Node) -> None:
        self.b = b
        self.node = node

    def step(self, kind: str, inputs: Sequence[int], **attrs: Any) -> int:
        return self.b.add(kind, self.node, inputs, attrs)[0]

    def unary(self, op: str, x: int, **attrs: Any) -> int:
        return self.step("unary", [x], op=op, **attrs)

    def binary(self, op: str, x: int, y: int) -> int:
        return self.step("binary", [x, y], op=op)

    def constant(self, value: Any, dtype: Any) -> int:
        return self.b.lowered.constant("constant", np.array(value, dtype))

    def ints(self, *values: int) -> int:
        """A vector of int64: a shape, axes, bounds."""
        return self.constant(values, np.int64)

    def size(self, x: int, axis: int) -> int:
        """The size of one axis, as a vector of one element."""
        return self.step("shape", [x], start=axis, **({} if axis == -1 else {"end": axis + 1}))


def rank_of(value: ir.Value | None, what: str) -> int:
    """The rank of a value that a rule must know; raises Unsupported otherwise."""
    if value is None or value.shape is None:
        raise Unsupported(f"{what} of unknown rank")
    return len(value.shape)


@rule("Mean")
def lower_mean(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64")
    c = Composer(b, node)
    result = b.tensor(node.inputs[0])
    for value in node.inputs[1:]:
        result = c.binary("add", result, b.tensor(value))
    dtype = "float32" if node.inputs[0] is None else dtype_name(node.inputs[0].dtype)
    b.define(node.outputs[0], c.binary("div", result, c.constant(len(node.inputs), dtype)))


@rule("IsInf")
def lower_is_inf(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32")
    c = Composer(b, node)
    x = b.tensor(node.inputs[0])
    positive, negative = (node.attributes.get_int(f"detect_{s}", 1) for s in ("positive", "negative"))
    if positive and negative:
        b.define(node.outputs[0], c.unary("is_inf", x))
        return
    infinity = c.constant(np.inf if positive else -np.inf, np.float32)
    b.define(node.outputs[0], c.binary("equal" if positive or negative else "less", x, infinity))


@rule("Hardmax")
def lower_hardmax(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32")
    c = Composer(b, node)
    axis = node.attributes.get_int("axis", -1)
    x = b.tensor(node.inputs[0])
    best = c.step("argminmax", [x], op="max", axis=axis, keepdims=0, select_last=0)
    values = c.constant([0, 1], np.float32)
    b.define(node.outputs[0], c.step("one_hot", [best, c.size(x, axis), values], axis=axis))


@rule("LpNormalization")
def lower_lp_normalization(b: Builder, node: ir.Node) -> None:
    """A norm of zero gives zeros."""
    require(node.inputs[0], "float32")
    c = Composer(b, node)
    x = b.tensor(node.inputs[0])
    order = node.attributes.get_int("p", 2)
    if order not in (1, 2):
        raise Unsupported(f"a norm of order {order}")
    norm = c.step("reduce", [x], op=f"l{order}", axes=[node.attributes.get_int("axis", -1)], keepdims=1, noop=0)
    zero = c.constant(0, np.float32)
    empty = c.binary("equal", norm, zero)
    b.define(node.outputs[0], c.step("where", [empty, zero, c.binary("div", x, norm)]))


@rule("LRN")
def lower_lrn(b: Builder, node: ir.Node) -> None:
    """x / (bias + alpha/size · sum of x² over `size` channels around)^beta."""
    require(node.inputs[0], "float32")
    c = Composer(b, node)
    size = node.attributes["size"].as_int()
    if not 1 <= size <= _LARGEST_WINDOW:
        raise Unsupported(f"a window of {size} channels")
    x = b.tensor(node.inputs[0])
    channels, zero = c.ints(1), c.constant(0, np.float32)
    pads = c.ints((size - 1) // 2, size // 2)
    padded = c.step("pad", [c.binary("mul", x, x), pads, zero, channels], mode="constant")
    total = None
    for i in range(size):
        end = c.ints(i - size + 1) if i < size - 1 else c.ints(np.iinfo(np.int64).max)
        part = c.step("slice", [padded, c.ints(i), end, channels])
        total = part if total is None else c.binary("add", total, part)
    assert total is not None
    get = node.attributes.get_float
    scaled = c.unary("scale_shift", total, alpha=float(get("alpha", 1e-4)) / size, beta=float(get("bias", 1.0)))
    power = c.binary("pow", scaled, c.constant(get("beta", 0.75), np.float32))
    b.define(node.outputs[0], c.binary("div", x, power))


@rule("EyeLike")
def lower_eye_like(b: Builder, node: ir.Node) -> None:
    """Ones below and above the diagonal taken away from a matrix of ones."""
    c = Composer(b, node)
    source = node.inputs[0]
    to = node.attributes.get_int("dtype", 0)
    dtype = dtype_name(ir.DataType(to)) if to else dtype_name(source.dtype if source is not None else None)
    ones = c.step("constant_of_shape", [c.step("shape", [b.tensor(source)])], value=1.0, dtype=dtype)
    diagonal = c.constant(node.attributes.get_int("k", 0), np.int64)
    above = c.step("trilu", [ones, diagonal], upper=1)
    b.define(node.outputs[0], c.step("trilu", [above, diagonal], upper=0))


@rule("Trilu")
def lower_trilu(b: Builder, node: ir.Node) -> None:
    inputs = [b.tensor(v) for v in node.inputs]
    if len(inputs) < 2 or node.inputs[1] is None:
        inputs[1:] = [b.lowered.constant("diagonal", np.array(0, np.int64))]
    (made,) = b.add("trilu", node, inputs, {"upper": node.attributes.get_int("upper", 1)})
    b.define(node.outputs[0], made)


@rule("TensorScatter")
def lower_tensor_scatter(b: Builder, node: ir.Node) -> None:
    """ScatterElements of the update's rows to their places in the cache; rows behind its end are dropped."""
    c = Composer(b, node)
    rank = rank_of(node.inputs[0], "a cache")
    axis = node.attributes.get_int("axis", -2)
    axis = axis + rank if axis < 0 else axis
    if not 1 <= axis < rank:
        raise Unsupported(f"writing along axis {axis} of {rank}")
    cache, update = b.tensor(node.inputs[0]), b.tensor(node.inputs[1])
    none, one = c.constant(0, np.int64), c.constant(1, np.int64)
    count = c.step("reshape", [c.size(update, axis), c.ints()])
    rows = c.step("range", [none, count, one])
    rows = c.step("reshape", [rows, c.ints(-1, *[1] * (rank - axis - 1))])
    start = node.inputs[2] if len(node.inputs) > 2 else None
    if start is not None:
        first = c.step("reshape", [b.tensor(start), c.ints(-1, *[1] * (rank - 1))])
        rows = c.binary("add", rows, first)
    if node.attributes.get_string("mode", "linear") == "circular":
        rows = c.binary("mod", rows, c.size(cache, axis))
    indices = c.step("expand", [rows, c.step("shape", [update])])
    b.define(node.outputs[0], c.step("scatter_elements", [cache, indices, update], axis=axis, reduction="none"))


@rule("MaxUnpool")
def lower_max_unpool(b: Builder, node: ir.Node) -> None:
    """Values put at flat positions of a tensor of zeros: of the shape given, or of the one that the window implies."""
    require(node.inputs[0], "float32")
    c = Composer(b, node)
    x, places = b.tensor(node.inputs[0]), b.tensor(node.inputs[1])
    kernel = node.attributes["kernel_shape"].as_ints()
    count = len(kernel)
    strides = node.attributes.get_ints("strides", None) or [1] * count
    pads = node.attributes.get_ints("pads", None) or [0] * (2 * count)
    if len(strides) != count or len(pads) != 2 * count:
        raise Unsupported("window attributes of different lengths")
    rest = [k - pads[i] - pads[i + count] for i, k in enumerate(kernel)]
    shape = c.binary("sub", c.step("shape", [x]), c.ints(0, 0, *[1] * count))
    shape = c.binary("add", c.binary("mul", shape, c.ints(1, 1, *strides)), c.ints(0, 0, *rest))
    flat, zero = c.ints(-1), c.constant(0, np.float32)
    zeros = c.step("reshape", [c.step("constant_of_shape", [shape], value=0.0, dtype="float32"), flat])
    operands = [zeros, c.step("reshape", [places, flat]), c.step("reshape", [x, flat])]
    made = c.step("reshape", [c.step("scatter_elements", operands, axis=0, reduction="none"), shape])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None:
        behind = c.binary("sub", b.tensor(given), shape)
        behind = c.step("concat", [c.ints(*[0] * (count + 2)), behind], axis=0)
        made = c.step("pad", [made, behind, zero], mode="constant")
    b.define(node.outputs[0], made)
