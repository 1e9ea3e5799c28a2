"""Families trilu, nonzero, unique, reverse_sequence, cumulative products and operations on bits, against NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1", "?"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (7, 4), (2, 3, 5, 6)])
def test_trilu(run: Run, shape: tuple[int, ...], dtype: str) -> None:
    x = np.arange(1, np.prod(shape) + 1).reshape(shape).astype(dtype)
    for view in (x, x[..., ::-1, :], np.asfortranarray(x)):
        for k in (-9, -3, -1, 0, 1, 2, 9, -(2**63), 2**63 - 1):
            bound = max(-100, min(100, k))
            for upper, reference in ((1, np.triu), (0, np.tril)):
                (y,) = run("trilu", [view], [(shape, dtype)], k=k, upper=upper)
                np.testing.assert_array_equal(y, reference(view, bound))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u1", "?"])
@pytest.mark.parametrize("shape", [(1,), (17,), (0, 3), (3, 4, 5)])
def test_nonzero(run: Run, shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).integers(-1, 2, shape).astype(dtype)
    for view in (x, x[::-1], np.asfortranarray(x)):
        found = np.array(np.nonzero(view)).reshape(x.ndim, -1)
        indices, count = run("nonzero", [view], [((x.ndim, x.size), "i8"), ((), "i8")])
        assert count == found.shape[1]
        np.testing.assert_array_equal(indices[:, :count], found)
        assert not indices[:, int(count) :].any()


def test_nonzero_of_special_floats(run: Run) -> None:
    x = np.array([-0.0, np.nan, 1e-45, -np.inf, 0.0], np.float32)
    indices, count = run("nonzero", [x], [((1, 5), "i8"), ((), "i8")])
    assert indices[0, : int(count)].tolist() == [1, 2, 3]


def _unique(x: np.ndarray, is_sorted: bool) -> list[np.ndarray]:
    _, first, inverse, counts = np.unique(x, True, True, True, axis=0)
    inverse = inverse.reshape(-1)
    if not is_sorted:
        order = np.argsort(first)
        first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
    pad = len(x) - len(first)
    return [np.pad(first, (0, pad)), inverse, np.pad(counts, (0, pad)), np.array(len(first))]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u8", "i2", "u1", "?"])
@pytest.mark.parametrize("is_sorted", [1, 0])
def test_unique(run: Run, is_sorted: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for shape in [(1, 1), (9, 1), (64, 2), (33, 3), (5, 0)]:
        x = rng.integers(0, 3, shape).astype(dtype)
        for view in (x, x[::-1], np.asfortranarray(x)):
            n = len(x)
            outputs = [((n,), "i8")] * 3 + [((), "i8")]
            want = _unique(view, bool(is_sorted)) if shape[1] else _unique(np.zeros((n, 1)), bool(is_sorted))
            for got, expected in zip(run("unique", [view], outputs, sorted=is_sorted), want, strict=True):
                np.testing.assert_array_equal(got, expected)


def test_unique_orders_nan_and_signed_zero(run: Run) -> None:
    x = np.array([np.nan, 1, -0.0, np.nan, 0.0, -np.inf], np.float32).reshape(-1, 1)
    first, inverse, counts, count = run("unique", [x], [((6,), "i8")] * 3 + [((), "i8")])
    assert (count, first[:4].tolist(), counts[:4].tolist()) == (4, [5, 2, 1, 0], [1, 2, 1, 2])
    assert inverse.tolist() == [3, 2, 1, 3, 1, 0]


def test_unique_of_no_rows(run: Run) -> None:
    assert run("unique", [np.zeros((0, 3), "f4")], [((0,), "i8")] * 3 + [((), "i8")])[3] == 0


@pytest.mark.parametrize("dtype", ["f4", "i8", "u1"])
def test_reverse_sequence(run: Run, dtype: str) -> None:
    x = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(dtype)
    for time, batch in [(0, 1), (1, 0), (2, 1), (1, 2)]:
        lengths = np.array([0, 2, 99, -7, 1][: x.shape[batch]])
        r = x.copy()
        moved, source = np.moveaxis(r, (batch, time), (0, 1)), np.moveaxis(x, (batch, time), (0, 1))
        for b, n in enumerate(np.clip(lengths, 0, x.shape[time])):
            moved[b, :n] = source[b, :n][::-1]
        for view in (x, np.asfortranarray(x)):
            attrs = {"time_axis": time, "batch_axis": batch}
            np.testing.assert_array_equal(run("reverse_sequence", [view, lengths], [(x.shape, dtype)], **attrs)[0], r)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
def test_cumulative_products(run: Run, exclusive: int, reverse: int, dtype: str) -> None:
    x = np.random.default_rng(2).integers(1, 4, (3, 6, 2)).astype(dtype)
    for axis in range(3):
        r = np.flip(x, axis) if reverse else x
        r = np.cumprod(r, axis, dtype=dtype)
        if exclusive:
            r = np.roll(r, 1, axis)
            r[(slice(None),) * axis + (0,)] = 1
        r = np.flip(r, axis) if reverse else r
        attrs = {"axis": axis, "reverse": reverse, "exclusive": exclusive, "op": "prod"}
        np.testing.assert_array_equal(run("cumsum", [x], [(x.shape, dtype)], **attrs)[0], r)


INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_bits(run: Run, dtype: str) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 256, 33 * np.dtype(dtype).itemsize).astype("u1").view(dtype) for _ in range(2))
    references: dict[str, Any] = {"bit_and": np.bitwise_and, "bit_or": np.bitwise_or, "bit_xor": np.bitwise_xor}
    for op, reference in references.items():
        np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, dtype)], op=op)[0], reference(a, b))
    np.testing.assert_array_equal(run("binary", [a[::-2], b[::-2]], [((17,), dtype)], op="bit_xor")[0], (a ^ b)[::-2])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts(run: Run, dtype: str) -> None:
    """Python's integers, cut to the type; distances outside [0, width) move everything out."""
    width = np.dtype(dtype).itemsize * 8
    info = np.iinfo(dtype)
    numbers = [0, 1, 5, info.max, info.min, info.max // 3, -1 if info.min < 0 else 1]
    distances = [0, 1, 7, width - 1, width, min(width + 1, info.max), info.max, info.min]
    a = np.repeat(np.array(numbers, dtype), len(distances))
    b = np.tile(np.array(distances, dtype), len(numbers))
    left, right = [], []
    for x, n in zip(a.tolist(), b.tolist(), strict=True):
        outside = not 0 <= n < width
        bits = 0 if outside else (x << n) % (1 << width)
        left.append(bits - (1 << width) if bits > info.max else bits)
        right.append((-1 if x < 0 else 0) if outside else x >> n)
    np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, dtype)], op="shift_left")[0], left)
    np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, dtype)], op="shift_right")[0], right)


@pytest.mark.parametrize(
    ("family", "inputs", "outputs", "attrs"),
    [
        ("trilu", [((3,), "f4")], [((3,), "f4")], {}),
        ("trilu", [((3, 2), "f4")], [((3, 2), "i4")], {}),
        ("nonzero", [((3, 2), "f4")], [((2, 5), "i8"), ((), "i8")], {}),
        ("nonzero", [((3, 2), "f4")], [((2, 6), "i4"), ((), "i8")], {}),
        ("unique", [((3,), "f4")], [((3,), "i8")] * 3 + [((), "i8")], {}),
        ("unique", [((3, 1), "f2")], [((3,), "i8")] * 3 + [((), "i8")], {}),
        ("unique", [((3, 1), "f4")], [((2,), "i8"), ((3,), "i8"), ((3,), "i8"), ((), "i8")], {}),
        ("reverse_sequence", [((3, 2), "f4"), ((3,), "i8")], [((3, 2), "f4")], {}),
        ("reverse_sequence", [((3, 2), "f4"), ((2,), "i4")], [((3, 2), "f4")], {}),
        ("reverse_sequence", [((3, 2), "f4"), ((2,), "i8")], [((3, 2), "f4")], {"time_axis": 1}),
        ("cumsum", [((3,), "f4")], [((3,), "f4")], {"op": "max"}),
        ("binary", [((3,), "f4"), ((3,), "f4")], [((3,), "f4")], {"op": "shift_left"}),
        ("binary", [((3,), "i4"), ((3,), "i4")], [((3,), "u4")], {"op": "bit_and"}),
    ],
)
def test_what_does_not_fit_is_refused(family: str, inputs: Any, outputs: Any, attrs: Any) -> None:
    xs = [np.zeros(shape, dtype) for shape, dtype in inputs]
    ys = [np.zeros(shape, dtype) for shape, dtype in outputs]
    with pytest.raises(PlanishError):
        _core.run_op(family, xs, ys, attrs)
