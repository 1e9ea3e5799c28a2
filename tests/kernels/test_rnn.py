"""Families lstm, gru and rnn against a step-by-step evaluation of ONNX's equations in double precision."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planish import _core
from planish.errors import PlanishError

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Layer:
    """Random parameters of one direction of a recurrent layer."""

    def __init__(self, cell: str, t: int, b: int, i: int, h: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        n = GATES[cell] * h
        self.cell, self.units, self.shape = cell, h, (t, b, i)
        self.x, self.w, self.r, self.bias, self.h0, self.c0, self.p = (
            rng.normal(size=s).astype(np.float32) for s in ((t, b, i), (n, i), (n, h), (2, n), (b, h), (b, h), (3 * h,))
        )
        self.w /= np.sqrt(i)
        self.r /= np.sqrt(h)
        self.bias *= 0.5

    def operands(self, lengths: np.ndarray | None, full: bool) -> list[np.ndarray | None]:
        packed = [np.asarray(_core.pack_dense_f32(m[:, None, :], 1)) for m in (self.w, self.r)]
        bias = self.bias.ravel() if self.cell == "gru" else self.bias.sum(0)
        c0, p = (self.c0, self.p) if self.cell == "lstm" else (None, None)
        optional = [bias, self.h0, c0, p] if full else [None] * 4
        return [self.x, *packed, *optional, lengths]

    def reference(self, lengths: np.ndarray | None, full: bool, **attrs: Any) -> list[np.ndarray]:
        t_max, b_max, _ = self.shape
        ys, hs, cs = np.zeros((t_max, b_max, self.units)), [], []
        for b in range(b_max):
            h = self.h0[b].astype("f8") if full else np.zeros(self.units)
            c = self.c0[b].astype("f8") if full else np.zeros(self.units)
            length = t_max if lengths is None else int(lengths[b])
            for t in range(length)[::-1] if attrs.get("reverse") else range(length):
                h, c = self.step(self.x[t, b].astype("f8"), h, c, full, attrs)
                ys[t, b] = h
            hs.append(h)
            cs.append(c)
        return [ys, np.array(hs), np.array(cs)][: 3 if self.cell == "lstm" else 2]

    def step(
        self, x: np.ndarray, h: np.ndarray, c: np.ndarray, full: bool, attrs: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        wb, rb = self.bias.astype("f8") if full else np.zeros_like(self.bias)
        limit = attrs.get("clip") or np.inf

        def clip(v: np.ndarray) -> np.ndarray:
            return np.clip(v, -limit, limit)

        gx = self.w @ x + wb
        if self.cell == "rnn":
            v = clip(gx + self.r @ h + rb)
            return (np.maximum(v, 0) if attrs.get("act") == "relu" else np.tanh(v)), c
        if self.cell == "lstm":
            gi, go, gf, gc = np.split(gx + self.r @ h + rb, 4)
            pi, po, pf = np.split(self.p if full else np.zeros_like(self.p), 3)
            i, f = sigmoid(clip(gi + pi * c)), sigmoid(clip(gf + pf * c))
            c = f * c + i * np.tanh(clip(gc))
            return sigmoid(clip(go + po * c)) * np.tanh(c), c
        xz, xr, xh = np.split(gx, 3)
        rz, rr, rh = np.split(self.r, 3)
        bz, br, bh = np.split(rb, 3)
        z, r = sigmoid(clip(xz + rz @ h + bz)), sigmoid(clip(xr + rr @ h + br))
        if attrs.get("linear_before_reset"):
            n = np.tanh(clip(xh + r * (rh @ h + bh)))
        else:
            n = np.tanh(clip(xh + rh @ (r * h) + bh))
        return (1 - z) * n + z * h, c


def check(layer: Layer, lengths: np.ndarray | None = None, full: bool = True, **attrs: Any) -> None:
    """Every kernel against the reference, and the same bits from one and two threads."""
    expected = layer.reference(lengths, full, **attrs)
    usable = _core.usable_isas()
    for family, kernel, isa in _core.kernels():
        if family != layer.cell or isa not in usable:
            continue
        results = []
        for threads in (1, 2):
            ys = [np.full(r.shape, np.nan, np.float32) for r in expected]
            options = {**attrs, "force": kernel}
            _core.run_op(layer.cell, layer.operands(lengths, full), ys, options, packed=[1, 2], threads=threads)
            results.append(ys)
            for y, r in zip(ys, expected, strict=True):
                np.testing.assert_allclose(y, r, rtol=1e-4, atol=2e-6)
        for one, two in zip(*results, strict=True):
            np.testing.assert_array_equal(one, two)


CELLS = ["lstm", "gru", "rnn"]


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (5, 1, 10, 16), (4, 3, 7, 20), (3, 17, 33, 9), (2, 2, 300, 260)])
@pytest.mark.parametrize("cell", CELLS)
def test_shapes(cell: str, sizes: tuple[int, int, int, int]) -> None:
    layer = Layer(cell, *sizes)
    check(layer)
    check(layer, full=False)


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_sequence_lengths(cell: str, reverse: int) -> None:
    layer = Layer(cell, 6, 4, 5, 18)
    check(layer, reverse=reverse)
    check(layer, np.array([6, 0, 3, 1], np.int32), reverse=reverse)


@pytest.mark.parametrize("units", [3, 8, 16, 24])
def test_gru_resets_after_the_product(units: int) -> None:
    layer = Layer("gru", 5, 2, 4, units)
    check(layer, linear_before_reset=1)
    check(layer, linear_before_reset=1, full=False)


@pytest.mark.parametrize("cell", CELLS)
def test_clip(cell: str) -> None:
    check(Layer(cell, 4, 2, 5, 8), clip=0.25)


def test_rnn_with_relu() -> None:
    check(Layer("rnn", 4, 2, 5, 8), act="relu")


def test_lengths_out_of_range_are_clamped() -> None:
    layer = Layer("gru", 3, 2, 4, 5)
    operands = layer.operands(np.array([-7, 2**31 - 1], np.int32), True)
    y, last = np.empty((3, 2, 5), np.float32), np.empty((2, 5), np.float32)
    _core.run_op("gru", operands, [y, last], packed=[1, 2])
    np.testing.assert_array_equal(last[0], layer.h0[0])
    np.testing.assert_array_equal(last[1], y[2, 1])
    assert not y[:, 0].any()


def damage(change: Callable[[list[Any]], None]) -> None:
    operands: list[Any] = Layer("lstm", 3, 2, 4, 5).operands(None, True)
    change(operands)
    ys = [np.empty(s, np.float32) for s in ((3, 2, 5), (2, 5), (2, 5))]
    with pytest.raises(PlanishError):
        _core.run_op("lstm", operands, ys, packed=[1, 2])


def test_wrong_operands_are_refused() -> None:
    for i, bad in [(0, np.zeros((3, 2, 5), np.float32)), (1, np.zeros(64, np.uint8)), (2, None)]:
        damage(lambda o, i=i, bad=bad: o.__setitem__(i, bad))  # type: ignore[misc]
    for i in (3, 4, 5, 6):
        damage(lambda o, i=i: o.__setitem__(i, np.zeros(3, np.float32)))  # type: ignore[misc]
    damage(lambda o: o.__setitem__(7, np.zeros(2, np.int64)))
    damage(lambda o: o.pop())
