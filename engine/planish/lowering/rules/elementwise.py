"""Unary and binary operators, Where, Cast. On quantized bytes a unary operator becomes a table of 256 entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from planish import _core
from planish.lowering.builder import Builder, Quantized, Target, Unsupported, dtype_name, require, rule

_UNARY = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Log": "log", "Sqrt": "sqrt",
    "Reciprocal": "reciprocal", "Erf": "erf", "Abs": "abs", "Neg": "neg", "Floor": "floor", "Ceil": "ceil",
    "Round": "round", "Sign": "sign", "Sin": "sin", "Cos": "cos", "HardSwish": "hard_swish", "Softplus": "softplus",
    "Softsign": "softsign", "Mish": "mish", "Not": "not", "IsNaN": "is_nan", "Tan": "tan",
    "Asin": "asin", "Acos": "acos", "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Asinh": "asinh", "Acosh": "acosh",
    "Atanh": "atanh",
}  # fmt: skip
#: Operators with parameters: native name and (attribute, default) pairs.
_PARAMETRIC: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Celu": ("celu", (("alpha", 1.0),)),
    "Selu": ("selu", (("alpha", 1.6732632), ("gamma", 1.050701))),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "ThresholdedRelu": ("thresholded_relu", (("alpha", 1.0),)),
}
#: The types that the kernels of families `unary` and `binary` compute in; smaller ones are widened.
ARITHMETIC = ("float32", "float64", "int64", "int32", "uint64")
_FLOATS = ("float32", "float64")
_SIGNED = (*_FLOATS, "int64", "int32")
_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "PRelu": "prelu", "Equal": "equal",
    "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater", "GreaterOrEqual": "greater_equal", "And": "and",
    "Or": "or", "Xor": "xor",
}  # fmt: skip


@rule(*_UNARY)
def lower_unary(b: Builder, node: ir.Node) -> None:
    op = _UNARY[node.op_type]
    allowed = ("bool",) if op == "not" else _SIGNED if op in ("abs", "neg", "sign", "relu") else _FLOATS
    unary(b, node, {"op": op}, allowed)


@rule(*_PARAMETRIC)
def lower_parametric(b: Builder, node: ir.Node) -> None:
    op, parameters = _PARAMETRIC[node.op_type]
    unary(
        b, node, {"op": op, **{name: float(node.attributes.get_float(name, default)) for name, default in parameters}}
    )


@rule("Gelu")
def lower_gelu(b: Builder, node: ir.Node) -> None:
    unary(b, node, {"op": "gelu_tanh" if node.attributes.get_string("approximate", "none") == "tanh" else "gelu"})


@rule("Gelu", domain="com.microsoft")
def lower_ms_gelu(b: Builder, node: ir.Node) -> None:
    unary(b, node, {"op": "gelu"})


@rule("Clip")
def lower_clip(b: Builder, node: ir.Node) -> None:
    bounds = [node.inputs[i] if len(node.inputs) > i else None for i in (1, 2)]
    constant = all(v is None or b.constant(v) is not None for v in bounds)
    if constant and node.inputs[0] is not None and node.inputs[0].dtype != ir.DataType.UINT64:
        low, high = b.scalar(bounds[0], -np.inf), b.scalar(bounds[1], np.inf)
        unary(b, node, {"op": "clip", "lo": min(low, high), "hi": high}, _SIGNED)
        return
    require(node.inputs[0], *ARITHMETIC)
    result = b.tensor(node.inputs[0])
    for bound, op in zip(bounds, ("max", "min"), strict=True):
        if bound is not None:
            (result,) = b.add("binary", node, [result, b.tensor(bound)], {"op": op})
    b.define(node.outputs[0], result)


def unary(b: Builder, node: ir.Node, attrs: dict[str, Any], allowed: tuple[str, ...] = _FLOATS) -> None:
    """One unary step, or a table where both sides are quantized."""
    x = node.inputs[0]
    require(x, *allowed)
    source = b.quantized(x)
    target = b.target(node.outputs[0]) if source is not None else None
    if source is None or target is None:
        b.lower_to("unary", node, [x], attrs)
        return
    values = (np.arange(256, dtype=np.float32) - np.float32(source.zero)) * np.float32(source.scale)
    result = np.empty(256, np.float32)
    _core.run_op("unary", [values], [result], attrs)
    emit_table(b, node, source, target, result)


def emit_table(b: Builder, node: ir.Node, source: Quantized, target: Target, results: np.ndarray[Any, Any]) -> None:
    """y = Q(results[x]) for a byte tensor x; `results` are the 256 real values."""
    bytes_ = quantize_array(results, target.scale, target.zero, target.lo, target.hi)
    table = b.lowered.constant("table", bytes_)
    (made,) = b.add("table", node, [source.tensor, table], {"dtype": "uint8"})
    b.define_quantized(target, made)


def quantize_array(
    x: np.ndarray[Any, Any], scale: float, zero: int, lo: int = 0, hi: int = 255
) -> np.ndarray[Any, Any]:
    """QuantizeLinear to u8, tightened to [lo, hi]; NaN becomes lo."""
    with np.errstate(all="ignore"):
        q = np.rint(np.asarray(x, np.float32) / np.float32(scale))
    q = np.where(np.isnan(q), -np.inf, q)
    return (np.clip(q, lo - zero, hi - zero) + zero).astype(np.uint8)


@rule(*_BINARY)
def lower_binary(b: Builder, node: ir.Node) -> None:
    op = _BINARY[node.op_type]
    require(node.inputs[0], *_binary_types(op))
    if op == "pow":
        _lower_pow(b, node)
        return
    if op in ("add", "mul", "sub", "div") and _lower_quantized(b, node, op):
        return
    b.lower_to("binary", node, node.inputs, {"op": op})


def _binary_types(op: str) -> tuple[str, ...]:
    if op in ("and", "or", "xor"):
        return ("bool",)
    return ARITHMETIC if op in ("pow", "prelu") else (*ARITHMETIC, "bool")


def _lower_pow(b: Builder, node: ir.Node) -> None:
    """The result has the base's type. Of two types the wider kind is computed in: float64 for integers to a float."""
    base, exponent = (dtype_name(v.dtype) if v is not None else "float32" for v in node.inputs)
    require(node.inputs[1], *ARITHMETIC, "uint32", "int16", "uint16", "int8", "uint8")
    power = b.constant(node.inputs[1])
    if power is not None and power.ndim == 0 and float(power) == 2.0:
        b.lower_to("binary", node, [node.inputs[0], node.inputs[0]], {"op": "mul"})
        return
    if base == exponent:
        b.lower_to("binary", node, node.inputs, {"op": "pow"})
        return
    integer, whole = "float" not in base, "float" not in exponent
    common = base if not integer else "int64" if whole else "float64"
    operands = [b.add("cast", node, [b.tensor(v)], {"to": common})[0] for v in node.inputs]
    (made,) = b.add("binary", node, operands, {"op": "pow"})
    (made,) = b.add("cast", node, [made], {"to": base})
    b.define(node.outputs[0], made)


def _lower_quantized(b: Builder, node: ir.Node, op: str) -> bool:
    """Both operands quantized, or one and a constant scalar, and the result quantized."""
    left, right = (b.quantized(v) or _quantized_constant(b, v) for v in node.inputs)
    if left is None and right is None:
        return False
    target = b.target(node.outputs[0])
    if target is None:
        return False
    if left is not None and right is not None and op in ("add", "mul"):
        emit_qbinary(b, node, op, left, right, target)
        return True
    source = left if left is not None else right
    other = b.constant(node.inputs[1] if left is not None else node.inputs[0])
    if (
        source is None
        or other is None
        or other.size != 1
        or other.ndim > _rank(node.inputs[0 if left is not None else 1])
    ):
        return False
    values = (np.arange(256, dtype=np.float32) - np.float32(source.zero)) * np.float32(source.scale)
    constant = np.full(256, other.ravel()[0], np.float32)
    result = np.empty(256, np.float32)
    _core.run_op("binary", [values, constant] if left is not None else [constant, values], [result], {"op": op})
    emit_table(b, node, source, target, result)
    return True


def _rank(value: ir.Value | None) -> int:
    """The rank of a value; 0 where it is unknown."""
    return len(value.shape) if value is not None and value.shape is not None else 0


def _quantized_constant(b: Builder, value: ir.Value | None) -> Quantized | None:
    """A constant that is stored as bytes with one scale."""
    w = b.weights(value)
    if w is None or w.scale is None or w.scale.size != 1 or w.bits != 8 or w.tables is not None:
        return None
    zero = 0 if w.zero is None else int(w.zero.ravel()[0])
    stored = w.values if w.values.dtype == np.uint8 else w.values.view(np.uint8) ^ np.uint8(0x80)
    tensor = b.lowered.constant(value.name or "" if value else "", stored)
    return Quantized(tensor, float(w.scale.ravel()[0]), zero + (0 if w.values.dtype == np.uint8 else 128))


def emit_qbinary(b: Builder, node: ir.Node, op: str, left: Quantized, right: Quantized, target: Target) -> None:
    """Add or mul on bytes."""
    attrs = {
        "op": op, "a_scale": left.scale, "a_zero": left.zero, "b_scale": right.scale, "b_zero": right.zero,
        "y_scale": target.scale, "y_zero": target.zero, "lo": float(target.lo), "hi": float(target.hi),
    }  # fmt: skip
    (made,) = b.add("qbinary", node, [left.tensor, right.tensor], attrs)
    b.define_quantized(target, made)


@rule("Min", "Max")
def lower_extremum(b: Builder, node: ir.Node) -> None:
    fold_pairwise(b, node, node.op_type.lower())


@rule("Sum")
def lower_sum(b: Builder, node: ir.Node) -> None:
    fold_pairwise(b, node, "add")


def fold_pairwise(b: Builder, node: ir.Node, op: str) -> None:
    """A variadic operator as a chain of binary steps."""
    require(node.inputs[0], *ARITHMETIC)
    result = b.tensor(node.inputs[0])
    for value in node.inputs[1:]:
        (result,) = b.add("binary", node, [result, b.tensor(value)], {"op": op})
    b.define(node.outputs[0], result)


@rule("Mod")
def lower_mod(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], *ARITHMETIC)
    b.lower_to("binary", node, node.inputs, {"op": "fmod" if node.attributes.get_int("fmod", 0) else "mod"})


@rule("Where")
def lower_where(b: Builder, node: ir.Node) -> None:
    b.lower_to("where", node, node.inputs)


@rule("Cast", "CastLike", "BitCast")
def lower_cast(b: Builder, node: ir.Node) -> None:
    like = node.inputs[1] if node.op_type == "CastLike" else None
    dtype = like.dtype if like is not None else ir.DataType(node.attributes["to"].as_int())
    source = node.inputs[0].dtype if node.inputs[0] is not None else None
    if dtype is None or dtype_name(dtype) not in _core.DTYPES:
        raise Unsupported(f"cast to {dtype_name(dtype) if dtype else 'an unknown type'}")
    attrs: dict[str, Any] = {"to": dtype_name(dtype)}
    if node.op_type == "BitCast":
        if source is None or source.bitwidth != dtype.bitwidth:
            raise Unsupported("BitCast between types of different widths")
        b.lower_to("bit_cast", node, node.inputs[:1], attrs)
        return
    if dtype.bitwidth <= 8 and dtype.is_floating_point():
        attrs["saturate"] = node.attributes.get_int("saturate", 1)
        attrs["round_mode"] = node.attributes.get_string("round_mode", "up")
    b.lower_to("cast", node, node.inputs[:1], attrs)
