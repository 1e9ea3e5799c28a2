"""Element-wise kinds: unary, binary, where, cast. Outputs keep the order of axes of their widest input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from planish.steps.kind import Array, Fact, Facts, Kind, broadcast_shapes, register

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter
    from planish.runtime.view import View

COMPARISONS = frozenset({"equal", "less", "less_equal", "greater", "greater_equal"})

_UNARY: dict[str, Callable[[Array], Any]] = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "not": np.logical_not, "floor": np.floor, "ceil": np.ceil,
    "sqrt": np.sqrt, "reciprocal": lambda x: 1 / x, "exp": np.exp, "relu": lambda x: np.maximum(x, 0),
}  # fmt: skip


def _divide(a: Array, b: Array) -> Any:
    """Integers truncate towards zero, as in ONNX; division by zero gives zero, as in the kernel."""
    if a.dtype.kind not in "iu":
        return a / b
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, 0, np.sign(a) * np.sign(safe) * (np.abs(a) // np.abs(safe))).astype(a.dtype)


_BINARY: dict[str, Callable[[Array, Array], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divide, "pow": np.power, "min": np.minimum,
    "max": np.maximum, "mod": np.mod, "fmod": np.fmod, "equal": np.equal, "less": np.less,
    "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal, "and": np.logical_and,
    "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip


def widest(views: Sequence[View], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The order of axes of the first view that has the full shape, else row-major."""
    for view in views:
        if view.shape == shape:
            return view.order()
    return tuple(range(len(shape)))


@register
class Unary(Kind):
    """y = op(x) for every element; attribute op and its parameters (see csrc/kernels/eltwise)."""

    name = "unary"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        dtype = "bool" if step.attrs["op"] in ("not", "is_nan", "is_inf") else x.dtype
        return [Fact(dtype, x.shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        function, x = _UNARY.get(step.attrs["op"]), values[0]
        return None if function is None or x is None else [function(x).astype(x.dtype)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        e.add("unary", [x], [e.output(0, x.order())], step.attrs)


@register
class Binary(Kind):
    """y = op(a, b) with broadcasting; attribute op."""

    name = "binary"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        a, b = facts[0], facts[1]
        dtype = "bool" if step.attrs["op"] in COMPARISONS else a.dtype
        return [Fact(dtype, broadcast_shapes(step, a.shape, b.shape))]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        function = _BINARY.get(step.attrs["op"])
        a, b = values
        if function is None or a is None or b is None:
            return None
        with np.errstate(all="ignore"):
            result = np.asarray(function(a, b))
        return [result if step.attrs["op"] in COMPARISONS else result.astype(a.dtype)]

    def emit(self, step: Step, e: Emitter) -> None:
        a, b = e.input(0), e.input(1)
        shape = e.fact(step.outputs[0]).shape
        y = e.output(0, widest([a, b], shape))
        e.add("binary", [a.broadcast(shape), b.broadcast(shape)], [y], step.attrs)


@register
class Where(Kind):
    """y = a where the condition holds, else b; all three broadcast."""

    name = "where"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = broadcast_shapes(step, facts[0].shape, facts[1].shape, facts[2].shape)
        return [Fact(facts[1].dtype, shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        condition, a, b = values
        assert condition is not None and a is not None and b is not None
        return [np.where(condition, a, b)]

    def emit(self, step: Step, e: Emitter) -> None:
        views = [e.input(i) for i in range(3)]
        shape = e.fact(step.outputs[0]).shape
        y = e.output(0, widest(views[1:], shape))
        e.add("where", [v.broadcast(shape) for v in views], [y])


#: Element types of at most 8 bits → the type that the kernel casts them from; all are cast to float32.
_SMALL = {
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn"), "float64"),
    "float8_e8m0fnu": "float32", **dict.fromkeys(("int4", "uint4", "int2", "uint2"), "int64"),
}  # fmt: skip


@register
class Cast(Kind):
    """ONNX Cast to attribute to (a dtype's name), with attributes saturate and round_mode for floats of 8 bits."""

    name = "cast"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(step.attrs["to"], facts[0].shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x = values[0]
        assert x is not None
        known = x.dtype.isbuiltin == 1 and step.attrs["to"] != "bfloat16" and step.attrs["to"] not in _SMALL
        return [x.astype(step.attrs["to"])] if known else None

    def emit(self, step: Step, e: Emitter) -> None:
        x, to = e.input(0), step.attrs["to"]
        if x.dtype == to:
            e.alias(x)
            return
        attrs: dict[str, Any] = {k: step.attrs[k] for k in ("saturate", "round_mode") if k in step.attrs}
        for dtype in (*(["float32"] if x.dtype in _SMALL else []), *([_SMALL[to]] if to in _SMALL else [])):
            if dtype not in (x.dtype, to):
                wide = e.temporary(dtype, x.shape, x.order())
                e.add("cast", [x], [wide])
                x = wide
        e.add("cast", [x], [e.output(0, x.order())], attrs)


@register
class BitCast(Kind):
    """ONNX BitCast to attribute to: the same bytes."""

    name = "bit_cast"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(step.attrs["to"], facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        e.alias(e.input(0).cast_bytes(step.attrs["to"]))
