"""Convolution, ConvTranspose, Gemm and MatMul with constant weights, float or integer.

Both operators are one thing here: an anchor with weights W[N, taps, K] in a packed format, a bias, and for integers a
scale per output and the zero points. `Anchor` collects it; `emit_float` and `emit_integer` turn it into a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from planish.errors import ModelError
from planish.lowering import formats
from planish.lowering.builder import Builder, Quantized, Target, Unsupported, dtype_name, origin_of, require, rule
from planish.lowering.lowered import ABSENT, Packed
from planish.lowering.weights import Weights
from planish.passes.patterns import rank_of, single_consumer

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Anchor:
    """A layer as kernels see it. `matrix` brings a dense weight tensor into W[N, taps, K] (channels last)."""

    node: ir.Node
    kind: str  # "conv" or "gemm"
    weights: Weights
    attrs: dict[str, Any] = field(default_factory=dict)
    groups: int = 1
    transposed: bool = False
    trans_b: bool = False  # gemm: the tensor is already [N, K]
    result: ir.Value | None = None  # what is computed, where an addition behind the node is taken in

    def matrix(self, tensor: Array) -> Array:
        """W[N, taps, K] of a tensor that has the weights' shape."""
        if self.kind == "gemm":
            return np.ascontiguousarray(tensor if self.trans_b else tensor.T)[:, None, :]
        if self.transposed:  # [C, N/groups, k…] → [N, k…, C/groups]
            g = self.groups
            split = tensor.reshape(g, tensor.shape[0] // g, *tensor.shape[1:])
            tensor = np.moveaxis(split, 1, 2).reshape(g * tensor.shape[1], tensor.shape[0] // g, *tensor.shape[2:])
        n, k = tensor.shape[:2]
        return np.ascontiguousarray(np.moveaxis(tensor.reshape(n, k, math.prod(tensor.shape[2:])), 1, 2))

    def per_output(self, parameter: Array | None, n: int) -> Array | None:
        """A scale or zero point as a vector over outputs; None if it varies otherwise."""
        if parameter is None or parameter.size == 1:
            return None if parameter is None else np.repeat(parameter.reshape(1), n)
        if self.transposed:
            return parameter if self.groups == 1 and self.weights.axis == 1 and parameter.size == n else None
        axis = 0 if self.kind == "conv" or self.trans_b else 1
        return parameter if not self.weights.block and self.weights.axis == axis and parameter.size == n else None

    @property
    def output(self) -> ir.Value:
        """The value that the step defines."""
        return self.node.outputs[0] if self.result is None else self.result

    @property
    def depthwise(self) -> bool:
        return (
            self.kind == "conv"
            and not self.transposed
            and self.groups > 1
            and self.groups == self.attrs["C"] == self.attrs["N"]
        )


def conv_anchor(b: Builder, node: ir.Node, value: ir.Value | None) -> Anchor:
    """The anchor of a node with Conv's attributes and weights at `value`."""
    weights = b.weights(value)
    if weights is None:
        raise Unsupported("convolution weights that are computed")
    shape = weights.values.shape
    stated = node.attributes.get_ints("kernel_shape", None)
    if stated is not None and list(stated) != list(shape[2:]):
        raise ModelError(
            f"node '{node.name}' ({origin_of(node)}): kernel_shape {list(stated)} with weights of shape {list(shape)}; "
            "repair the model"
        )
    attrs = conv_attrs(node)
    groups, transposed = attrs["groups"], node.op_type == "ConvTranspose"
    if len(shape) < 3 or len(shape) > 5 or groups < 1 or shape[0] % groups:
        raise Unsupported(f"convolution weights of shape {list(shape)} in {groups} groups")
    attrs.update({
        "family": "conv", "kernel": list(shape[2:]),
        "N": shape[1] * groups if transposed else shape[0], "C": shape[0] if transposed else shape[1] * groups,
    })  # fmt: skip
    return Anchor(node, "conv", weights, attrs, groups, transposed)


def conv_attrs(node: ir.Node) -> dict[str, Any]:
    """The attributes of a convolution that do not depend on its weights."""
    get = node.attributes
    attrs: dict[str, Any] = {"groups": get.get_int("group", 1), "auto_pad": get.get_string("auto_pad", "NOTSET")}
    for key in ("strides", "dilations", "pads", "output_padding", "output_shape"):
        if get.get_ints(key, None) is not None:
            attrs[key] = list(get[key].as_ints())
    if node.op_type == "ConvTranspose":
        attrs["transposed"] = 1
    return attrs


def gemm_anchor(b: Builder, node: ir.Node, value: ir.Value | None, trans_b: bool) -> Anchor:
    """The anchor of a product with a constant matrix."""
    weights = b.weights(value)
    if weights is None or weights.values.ndim != 2:
        raise Unsupported("a right side that is not a constant matrix")
    n, k = weights.values.shape if trans_b else weights.values.shape[::-1]
    return Anchor(node, "gemm", weights, {"family": "gemm", "N": n, "K": k}, trans_b=trans_b)


@rule("Conv", "ConvTranspose")
def lower_conv(b: Builder, node: ir.Node) -> None:
    for value in node.inputs:
        require(value, "float32")
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if b.weights(node.inputs[1]) is None:
        b.lower_to("computed_conv", node, [*node.inputs[:2], bias], {**conv_attrs(node), "dtype": "float32"})
        return
    lower_anchor(b, conv_anchor(b, node, node.inputs[1]), bias)


#: Types in which products run as plain loops over two tensors, not against packed weights.
_PLAIN = ("float64", "int32", "int64", "uint32", "uint64")


def _is_plain(node: ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and dtype_name(x.dtype) in _PLAIN


@rule("MatMul")
def lower_matmul(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", *_PLAIN)
    weights = b.weights(node.inputs[1])
    if _is_plain(node) or weights is None or weights.values.ndim != 2:
        _lower_product(b, node)
        return
    anchor = gemm_anchor(b, node, node.inputs[1], False)
    addition = _bias_behind(b, node, anchor.attrs["N"])
    if addition is None:
        lower_anchor(b, anchor, None)
        return
    add, bias = addition
    anchor.result = add.outputs[0]
    lower_anchor(b, anchor, bias)
    b.done.add(add)


def _bias_behind(b: Builder, node: ir.Node, n: int) -> tuple[ir.Node, ir.Value] | None:
    """The Add of a constant per output that alone reads the product of `node`: MatMul has no bias of its own."""
    add, rank = single_consumer(node.outputs[0], "Add"), rank_of(node.outputs[0])
    if add is None or rank is None:
        return None
    for value in add.inputs:
        constant = b.constant(value)
        if value is not None and constant is not None and 1 <= constant.ndim <= rank:
            return (add, value) if constant.size == n == constant.shape[-1] else None
    return None


def _lower_product(b: Builder, node: ir.Node) -> None:
    """Two tensors of the run."""
    left, right = (b.quantized(v) for v in node.inputs)
    target = b.target(node.outputs[0]) if left is not None and right is not None else None
    if left is not None and right is not None and target is not None and (target.lo, target.hi) == (0, 255):
        scale = float(np.float32(np.float32(left.scale) * np.float32(right.scale)) / np.float32(target.scale))
        attrs = {"dtype": "uint8", "lhs_zero": left.zero, "rhs_zero": right.zero, "scale": scale, "y_zero": target.zero}
        (made,) = b.add("matmul", node, [left.tensor, right.tensor], attrs)
        b.define_quantized(target, made)
        return
    b.lower_to("matmul", node, node.inputs)


@rule("Gemm")
def lower_gemm(b: Builder, node: ir.Node) -> None:
    get = node.attributes
    alpha, beta = get.get_float("alpha", 1.0), get.get_float("beta", 1.0)
    require(node.inputs[0], "float32", *(_PLAIN if alpha == beta == 1.0 else ("float64",)))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    weights = b.weights(node.inputs[1])
    constant_bias = b.constant(bias)
    packed = weights is not None and weights.values.ndim == 2 and (bias is None or constant_bias is not None)
    if (
        _is_plain(node)
        or not packed
        or (constant_bias is not None and constant_bias.ndim > 1 and constant_bias.shape[0] != 1)
    ):
        _lower_general_gemm(b, node, bias, float(alpha), float(beta))
        return
    anchor = gemm_anchor(b, node, node.inputs[1], bool(get.get_int("transB", 0)))
    if get.get_int("transA", 0):
        anchor.attrs["trans_x"] = 1
    if alpha != 1.0 or beta != 1.0:
        anchor.weights = Weights(np.asarray(anchor.weights.dense() * np.float32(alpha), np.float32))
        lower_anchor(b, anchor, bias, None if constant_bias is None else constant_bias * np.float32(beta))
        return
    lower_anchor(b, anchor, bias)


def _lower_general_gemm(b: Builder, node: ir.Node, bias: ir.Value | None, alpha: float, beta: float) -> None:
    get = node.attributes
    attrs = {"trans_a": get.get_int("transA", 0), "trans_b": get.get_int("transB", 0), "alpha": alpha}
    (y,) = b.add("matmul", node, [b.tensor(v) for v in node.inputs[:2]], attrs)
    if bias is not None:
        addend = b.tensor(bias)
        if beta != 1.0:
            factor = b.lowered.constant("beta", np.array(beta, np.float64 if _is_plain(node) else np.float32))
            (addend,) = b.add("binary", node, [addend, factor], {"op": "mul"})
        (y,) = b.add("binary", node, [y, addend], {"op": "add"})
    b.define(node.outputs[0], y)


# -- emission ----------------------------------------------------------------------------------------------------------


def lower_anchor(b: Builder, anchor: Anchor, bias: ir.Value | None, bias_value: Array | None = None) -> None:
    """Integer if the input is bytes and the weights are 8-bit per output; float otherwise."""
    from planish.lowering.rules.dynamic import lower_dynamic_anchor

    node = anchor.node
    constant_bias = bias_value if bias_value is not None else b.constant(bias)
    if bias is not None and constant_bias is None:
        b.define(anchor.output, emit_float(b, anchor, b.tensor(node.inputs[0]), b.tensor(bias)))
        return
    source = b.quantized(node.inputs[0])
    if source is not None and lower_integer(b, anchor, source, bias, constant_bias):
        return
    dynamic = b.dynamically_quantized(node.inputs[0])
    if dynamic is not None and lower_dynamic_anchor(b, anchor, dynamic, constant_bias):
        return
    flat = (
        None
        if constant_bias is None
        else np.ascontiguousarray(np.broadcast_to(constant_bias.ravel(), (anchor.attrs["N"],)), np.float32)
    )
    made = emit_float(b, anchor, b.tensor(node.inputs[0]), flat)
    b.define(anchor.output, made)


def emit_float(b: Builder, anchor: Anchor, x: int, bias: Array | int | None) -> int:
    """A float step; its weights in the format that lowering chooses. The bias [N] may be a tensor of the run."""
    anchor.attrs["dtype"] = "float32"
    packed = formats.pack_float(b, anchor)
    if bias is None:
        bias_tensor = ABSENT
    else:
        bias_tensor = bias if isinstance(bias, int) else b.lowered.constant(f"{anchor.node.name}.bias", bias)
    (made,) = b.add(anchor.kind, anchor.node, [x, packed, bias_tensor], anchor.attrs)
    return made


def lower_integer(
    b: Builder, anchor: Anchor, source: Quantized, bias: ir.Value | None, bias_value: Array | None
) -> bool:
    """The QDQ form: bytes in; bytes out if the consumers quantize, else float. False where it is not representable."""
    w, n = anchor.weights, anchor.attrs["N"]
    if w.scale is None or w.values.dtype not in (np.int8, np.uint8):
        return False
    scale, zero = anchor.per_output(w.scale, n), anchor.per_output(w.zero, n)
    if scale is None or (w.zero is not None and zero is None):
        return False
    products = np.float32(source.scale) * scale.astype(np.float32)
    bias_ints = integer_bias(b, bias, bias_value, products, n)
    if bias_ints is None:
        b.note(anchor.node, "the bias does not fit int32 at this scale; the layer runs in float")
        return False
    if not fits_int32(anchor, zero, bias_ints):
        b.note(anchor.node, "sums may exceed int32; the layer runs in float")
        return False
    target = b.target(anchor.output)
    if target is None:
        made = emit_integer(b, anchor, source.tensor, source.zero, zero, bias_ints, products, None)
        b.define(anchor.output, made)
        return True
    multiplier = products / np.float32(target.scale)
    made = emit_integer(b, anchor, source.tensor, source.zero, zero, bias_ints, multiplier, target)
    b.define_quantized(target, made)
    return True


def integer_bias(b: Builder, bias: ir.Value | None, value: Array | None, products: Array, n: int) -> Array | None:
    """The bias in units of the accumulator, or None if it does not fit int32."""
    if value is None:
        return np.zeros(n, np.int64)
    stored = b.weights(bias)
    if (
        stored is not None
        and stored.scale is not None
        and stored.values.dtype == np.int32
        and np.allclose(np.broadcast_to(stored.scale, products.shape), products, rtol=1e-5)
    ):
        return np.broadcast_to(stored.values.astype(np.int64).ravel(), (n,))
    ints = np.rint(np.broadcast_to(value.ravel(), (n,)).astype(np.float64) / products)
    return ints.astype(np.int64) if np.isfinite(ints).all() and (np.abs(ints) < 2**31).all() else None


def fits_int32(anchor: Anchor, zero: Array | None, bias: Array) -> bool:
    """Whether no sum of u8·(w - zero) plus bias can leave int32."""
    values = anchor.weights.values
    if zero is None or zero.dtype.itemsize == 1:  # each difference is below 512; for few of them that is enough
        bound = values.size // max(anchor.attrs["N"], 1) * 512 * 255
        if bound + int(np.abs(bias).max(initial=0)) < 2**31:
            return True
    matrix = anchor.matrix(values.astype(np.int64))
    shifted = matrix if zero is None else matrix - zero.astype(np.int64)[:, None, None]
    return bool((np.abs(shifted).sum((1, 2)) * 255 + np.abs(bias) < 2**31).all())


def emit_integer(
    b: Builder,
    anchor: Anchor,
    x: int,
    x_zero: int,
    w_zero: Array | None,
    bias: Array,
    scale: Array | None,
    target: Target | None,
) -> int:
    """An integer step on bytes x. `scale` [N] multiplies the accumulator (None: the raw s32 sums); bytes out with
    `target`."""
    stored, attrs = stored_weights(anchor, w_zero), anchor.attrs
    folded = wrap_int32(bias - x_zero * stored.sums())
    attrs["x_zero"] = x_zero
    attrs["dtype"] = "uint8" if target is not None else ("float32" if scale is not None else "int32")
    if target is not None:
        attrs.update(y_zero=target.zero, lo=float(target.lo), hi=float(target.hi))
    name = anchor.node.name
    bias_tensor = b.lowered.constant(f"{name}.bias", folded)
    scales = ABSENT if scale is None else b.lowered.constant(f"{name}.scale", np.ascontiguousarray(scale, np.float32))
    return add_integer_step(b, anchor, x, stored, bias_tensor, scales)


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """Integer weights as kernels take them: s8 `matrix` [N, taps, K] and `zero` per output (None: all zero)."""

    matrix: Array
    zero: Array | None

    def differences(self) -> Array:
        """w - zero: int64 [N, taps, K]."""
        wide = self.matrix.astype(np.int64)
        return wide if self.zero is None else wide - self.zero[:, None, None]

    def sums(self) -> Array:
        """Σ(w - zero) per output: int64 [N]."""
        total = self.matrix.sum((1, 2), np.int64)
        _, taps, depth = self.matrix.shape
        return np.asarray(total if self.zero is None else total - self.zero * (taps * depth))


def stored_weights(anchor: Anchor, w_zero: Array | None) -> StoredWeights:
    values, zero = signed_weights(anchor.weights.values, w_zero)
    return StoredWeights(anchor.matrix(values), zero)


def add_integer_step(b: Builder, anchor: Anchor, x: int, weights: StoredWeights, bias: int, scale: int) -> int:
    """The step with its weights in the format that lowering chooses; bias and scale are tensors [N], or ABSENT."""
    zero = ABSENT
    if anchor.depthwise:
        packed = formats.pack_depthwise_int(b, anchor, weights.differences())
    else:
        packed = formats.pack_int(b, anchor, weights.matrix, weights.zero)
        if weights.zero is not None:
            zero = b.lowered.constant(f"{anchor.node.name}.zw", weights.zero.astype(np.int32))
    (made,) = b.add(anchor.kind, anchor.node, [x, packed, bias, scale, zero], anchor.attrs)
    return made


def signed_weights(values: Array, zero: Array | None) -> tuple[Array, Array | None]:
    """u8 weights as s8 by subtracting 128 from both sides (exact); zero points that are all zero disappear."""
    wide = None if zero is None else zero.astype(np.int64)
    if values.dtype == np.uint8:
        values = (values ^ 0x80).view(np.int8)
        wide = (np.zeros(1, np.int64) if wide is None else wide) - 128
    return values, None if wide is None or not wide.any() else wide


def wrap_int32(x: Array) -> Array:
    """Modulo 2^32, as the accumulator."""
    return x.astype(np.int64).astype(np.uint32).view(np.int32)


__all__ = ["Anchor", "Packed", "conv_anchor", "emit_integer", "gemm_anchor", "lower_integer", "wrap_int32"]


@rule("Einsum")
def lower_einsum(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64", "int32", "int64")
    b.lower_to("einsum", node, node.inputs, {"equation": node.attributes["equation"].as_string()})
