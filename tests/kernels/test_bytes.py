"""Families table and qbinary: bit for bit what the formulas give in float32."""

from collections.abc import Callable

import numpy as np
import pytest

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
SIZES = [1, 15, 16, 31, 63, 64, 65, 127, 129, 1000]


@pytest.mark.parametrize("n", SIZES)
def test_table(run: Run, n: int) -> None:
    rng = np.random.default_rng(n)
    x, table = rng.integers(0, 256, (3, n)).astype("u1"), rng.permutation(256).astype("u1")
    for view in (x, x.T, x[:, ::-1], x[:, ::2]):
        np.testing.assert_array_equal(run("table", [view, table], [(view.shape, "u1")])[0], table[view])


ATTRS = {"a_scale": 0.013, "a_zero": 120, "b_scale": 0.031, "b_zero": 7, "y_scale": 0.02, "y_zero": 100}


def expected(op: str, a: np.ndarray, b: np.ndarray, lo: int, hi: int) -> np.ndarray:
    f = np.float32
    da = (a.astype(f) - f(ATTRS["a_zero"])) * f(ATTRS["a_scale"])
    db = (b.astype(f) - f(ATTRS["b_zero"])) * f(ATTRS["b_scale"])
    v = (da + db if op == "add" else da * db) / f(ATTRS["y_scale"])
    return np.clip(np.rint(v) + ATTRS["y_zero"], lo, hi).astype("u1")


@pytest.mark.parametrize("form", ["vv", "vs", "sv", "ss", "rows", "columns"])
@pytest.mark.parametrize("op", ["add", "mul"])
def test_qbinary_forms(run: Run, op: str, form: str) -> None:
    rng = np.random.default_rng(0)
    shape = (5, 130)
    a, b = (rng.integers(0, 256, shape).astype("u1") for _ in range(2))
    a[0], b[0] = np.arange(130), 255 - np.arange(130)
    if form in ("vs", "ss"):
        b = np.broadcast_to(b[:1, :1], shape)
    if form in ("sv", "ss"):
        a = np.broadcast_to(a[:1, :1], shape)
    if form == "rows":
        a = np.broadcast_to(a[:1], shape)
    if form == "columns":
        a = np.broadcast_to(a[:, :1], shape)
    for lo, hi in [(0, 255), (100, 220)]:
        (y,) = run("qbinary", [a, b], [(shape, "u1")], op=op, lo=lo, hi=hi, **ATTRS)
        np.testing.assert_array_equal(y, expected(op, a, b, lo, hi))


@pytest.mark.parametrize("n", SIZES)
def test_qbinary_sizes(run: Run, n: int) -> None:
    a, b = np.random.default_rng(n).integers(0, 256, (2, n)).astype("u1")
    (y,) = run("qbinary", [a, b], [(a.shape, "u1")], op="add", **ATTRS)
    np.testing.assert_array_equal(y, expected("add", a, b, 0, 255))


@pytest.mark.parametrize("op", ["add", "mul"])
def test_every_pair_of_bytes_is_divided_exactly(run: Run, op: str) -> None:
    rng, f = np.random.default_rng(5), np.float32
    a, b = (np.ascontiguousarray(m).astype("u1") for m in np.meshgrid(np.arange(256), np.arange(256)))
    for power in (*range(-6, 2), -40, -29, 29, 31):
        sa, sb = (f(s) for s in rng.uniform(0.5, 2, 2) * 2.0**power)
        span = f(255) * (sa + sb) if op == "add" else f(65025) * sa * sb
        for sy in (span / f(255), span / f(200 * rng.uniform(0.5, 2)), span / f(256)):  # the last one meets many ties
            scales = {"a_scale": float(sa), "b_scale": float(sb), "y_scale": float(sy)}
            zeros = {"a_zero": int(rng.integers(256)), "b_zero": int(rng.integers(256)), "y_zero": 100}
            da, db = (a.astype(f) - f(zeros["a_zero"])) * sa, (b.astype(f) - f(zeros["b_zero"])) * sb
            v = (da + db if op == "add" else da * db) / f(sy)
            (y,) = run("qbinary", [a, b], [(a.shape, "u1")], op=op, **scales, **zeros)
            np.testing.assert_array_equal(y, np.clip(np.rint(v) + 100, 0, 255).astype("u1"))


def test_wrong_descriptions_are_refused() -> None:
    x = np.zeros(8, np.uint8)
    with pytest.raises(PlanishError):
        _core.run_op("table", [x, np.zeros(255, np.uint8)], [x.copy()], {})
    for bad in ({"op": "sub"}, {"op": "add", "y_scale": 0.0}, {"op": "add", "a_zero": 256}):
        with pytest.raises(PlanishError):
            _core.run_op("qbinary", [x, x], [x.copy()], bad)
