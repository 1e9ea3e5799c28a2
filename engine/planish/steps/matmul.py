"""Matrix products: against packed constant weights (gemm), and of two tensors of the run (matmul); recurrent layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from planish.errors import ModelError
from planish.steps.convolution import NATIVE_ATTRS, add_with_residual
from planish.steps.kind import Array, Fact, Facts, Kind, broadcast_shapes, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


@register
class Gemm(Kind):
    """y[…, N] = x[…, K] · W + bias with fused epilogue; x is first transposed for attribute trans_x.

    Inputs: x, weights (packed), bias, scale, zw, residual; attributes family, N, K, dtype, lo, hi, x_zero, y_zero.
    """

    name = "gemm"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = facts[0].shape[::-1] if step.attrs.get("trans_x") else facts[0].shape
        if not shape or shape[-1] != step.attrs["K"]:
            raise ModelError(
                f"{step.where()}: expects rows of {step.attrs['K']}, got {list(shape)}; check the input's shape"
            )
        return [Fact(step.attrs["dtype"], (*shape[:-1], step.attrs["N"]))]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        if step.attrs.get("trans_x"):
            x = x.permute((1, 0))
        order = tuple(range(len(x.shape)))
        x = e.innermost(x, len(x.shape) - 1, order)
        attrs = {k: step.attrs[k] for k in (*NATIVE_ATTRS, "N", "K") if k in step.attrs}
        y = e.output(0, order)
        operands = [x, *(e.optional(i) for i in range(1, 5))]
        add_with_residual(step, e, attrs, operands, y, order)


@register
class MatMul(Kind):
    """ONNX MatMul of two tensors of the run, float32, or u8·u8 with zero points; attributes alpha, trans_a, trans_b."""

    name = "matmul"

    @staticmethod
    def product_shape(step: Step, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        left = (1, *a) if len(a) == 1 else a
        right = (*b, 1) if len(b) == 1 else b
        if not a or not b or left[-1] != right[-2]:
            raise ModelError(f"{step.where()}: {list(a)} and {list(b)} do not multiply; check the shapes")
        shape = (*broadcast_shapes(step, left[:-2], right[:-2]), left[-2], right[-1])
        if len(a) == 1:
            shape = (*shape[:-2], shape[-1])
        return shape[:-1] if len(b) == 1 else shape

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        a, b = self._shapes(step, facts[0].shape, facts[1].shape)
        return [Fact(step.attrs.get("dtype", facts[0].dtype), self.product_shape(step, a, b))]

    @staticmethod
    def _shapes(step: Step, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if step.attrs.get("trans_a"):
            a = (*a[:-2], a[-1], a[-2])
        if step.attrs.get("trans_b"):
            b = (*b[:-2], b[-1], b[-2])
        return a, b

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        a, b = values[:2]
        plain = not any(k in step.attrs for k in ("alpha", "trans_a", "trans_b", "dtype"))
        return [np.matmul(a, b)] if plain and a is not None and b is not None else None

    def emit(self, step: Step, e: Emitter) -> None:
        a, b, y = e.input(0), e.input(1), e.output(0)
        rank = max(2, len(y.shape))
        if step.attrs.get("trans_a"):
            a = a.permute((*range(len(a.shape) - 2), len(a.shape) - 1, len(a.shape) - 2))
        if step.attrs.get("trans_b"):
            b = b.permute((*range(len(b.shape) - 2), len(b.shape) - 1, len(b.shape) - 2))
        left = e.reshaped(a, (1, a.shape[0])) if len(a.shape) == 1 else a
        right = e.reshaped(b, (b.shape[0], 1)) if len(b.shape) == 1 else b
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        full = (*batch, left.shape[-2], right.shape[-1])
        target = y.reshape(full)
        assert target is not None and rank >= 2
        attrs: dict[str, Any] = {
            k: step.attrs[k] for k in ("alpha", "lhs_zero", "rhs_zero", "scale", "y_zero") if k in step.attrs
        }
        operands = [left.broadcast((*batch, *left.shape[-2:])), right.broadcast((*batch, *right.shape[-2:]))]
        e.add("batch_matmul", operands, [target], attrs)


@register
class Recurrent(Kind):
    """One direction of ONNX LSTM, GRU or RNN (attribute cell) on x [T, B, I].

    Inputs: x, W (packed), R (packed), bias, sequence lengths, h0, c0, peepholes; outputs Y [T, B, H], Y_h [B, H] and,
    for LSTM, Y_c [B, H]. Attributes hidden, reverse, linear_before_reset, clip, activations.
    """

    name = "recurrent"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        t, b, _ = facts[0].shape
        h = step.attrs["hidden"]
        state = Fact("float32", (b, h))
        states = [state, Fact("float32", (b, h))] if step.attrs["cell"] == "lstm" else [state]
        return [Fact("float32", (t, b, h)), *states]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        x = e.innermost(x, 2, (0, 1, 2))
        states = []
        for i in (5, 6):
            state = e.optional(i)
            states.append(None if state is None else e.innermost(state, 1, (0, 1)))
        attrs = {k: v for k, v in step.attrs.items() if k != "cell"}
        outputs = [e.output(i, tuple(range(len(e.fact(t).shape)))) for i, t in enumerate(step.outputs)]
        operands = [x, e.input(1), e.input(2), e.optional(3), *states, e.optional(7), e.optional(4)]
        e.add(step.attrs["cell"], operands, outputs, attrs)
