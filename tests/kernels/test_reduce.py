"""Families reduce, softmax and layer_norm against NumPy in double precision."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]

REDUCTIONS: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "sum": lambda x, a: x.sum(axis=a, keepdims=True),
    "mean": lambda x, a: x.mean(axis=a, keepdims=True),
    "max": lambda x, a: x.max(axis=a, keepdims=True),
    "min": lambda x, a: x.min(axis=a, keepdims=True),
    "prod": lambda x, a: x.prod(axis=a, keepdims=True),
    "sum_square": lambda x, a: (x * x).sum(axis=a, keepdims=True),
    "l1": lambda x, a: abs(x).sum(axis=a, keepdims=True),
    "l2": lambda x, a: np.sqrt((x * x).sum(axis=a, keepdims=True)),
    "log_sum": lambda x, a: np.log(x.sum(axis=a, keepdims=True)),
    "log_sum_exp": lambda x, a: np.log(np.exp(x).sum(axis=a, keepdims=True)),
}
AXES = [a for n in range(4) for a in combinations(range(3), n)]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reduce(run: Run, op: str, axes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, (4, 37, 21)).astype(np.float32)
    if op not in ("prod", "log_sum"):
        x -= 1
    for view in (x, x.transpose(2, 0, 1), x[:, ::-2]):
        r = REDUCTIONS[op](view.astype(np.float64), axes)
        (y,) = run("reduce", [view], [(r.shape, "f4")], op=op, axes=list(axes))
        np.testing.assert_allclose(y, r, rtol=3e-5 if op == "prod" else 2e-6, atol=2e-5)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reduce_float64(run: Run, op: str, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.5, (4, 9, 5))
    for view in (x, x.transpose(2, 0, 1), x[:, ::-2]):
        r = REDUCTIONS[op](view, axes)
        (y,) = run("reduce", [view], [(r.shape, "f8")], op=op, axes=list(axes))
        np.testing.assert_allclose(y, r, rtol=1e-14, atol=1e-14)


def test_reduce_float64_special_values(run: Run) -> None:
    x = np.array([[1, np.nan, 3], [-np.inf, -np.inf, -np.inf], [800, 801, np.inf]])
    outputs = [((3, 1), "f8")]
    assert np.array_equal(run("reduce", [x], outputs, op="max", axes=[1])[0], x.max(1, keepdims=True), equal_nan=True)
    log_sum_exp = np.array([[np.nan], [-np.inf], [np.inf]])
    assert np.array_equal(run("reduce", [x], outputs, op="log_sum_exp", axes=[1])[0], log_sum_exp, equal_nan=True)


@pytest.mark.parametrize(("dtype", "low", "high"), [("f8", -np.inf, np.inf), ("i1", -128, 127), ("?", False, True)])
def test_extrema_of_nothing_are_the_limits_of_the_type(run: Run, dtype: str, low: float, high: float) -> None:
    x = np.zeros((2, 0), dtype)
    assert run("reduce", [x], [((2, 1), dtype)], op="max", axes=[1])[0].tolist() == [[low], [low]]
    assert run("reduce", [x], [((2, 1), dtype)], op="min", axes=[1])[0].tolist() == [[high], [high]]


def test_reduce_bool(run: Run) -> None:
    x = np.random.default_rng(1).random((6, 2, 3)) > 0.5
    for axes in AXES:
        for op in ("max", "min"):
            r = REDUCTIONS[op](x, axes)
            np.testing.assert_array_equal(run("reduce", [x], [(r.shape, "?")], op=op, axes=list(axes))[0], r)
    with pytest.raises(PlanishError, match="no kernel for bool"):
        _core.run_op("reduce", [x], [np.zeros((6, 2, 1), bool)], {"op": "sum", "axes": [2]})


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("op", ["sum", "mean", "max", "min", "prod", "sum_square", "l1"])
def test_reduce_integers(run: Run, op: str, dtype: str) -> None:
    low = 0 if dtype.startswith("u") else -9
    x = np.random.default_rng(1).integers(low, 9, (3, 5, 7)).astype(dtype)
    for axes in [(0,), (2,), (0, 2), (0, 1, 2)]:
        r = REDUCTIONS[op](x, axes)
        (y,) = run("reduce", [x], [(r.shape, dtype)], op=op, axes=list(axes))
        np.testing.assert_array_equal(y, np.trunc(r).astype(dtype) if op == "mean" else r.astype(dtype))


def test_long_sums_stay_accurate(run: Run) -> None:
    x = np.random.default_rng(2).uniform(0, 1, (20000, 24)).astype(np.float32)
    for view, axis in ((x, 0), (x.T.copy(), 1)):
        r = view.astype(np.float64).sum(axis=axis, keepdims=True)
        (y,) = run("reduce", [view], [(r.shape, "f4")], op="sum", axes=[axis])
        np.testing.assert_allclose(y, r, rtol=5e-6)


def test_reduce_of_nothing_gives_the_neutral_element(run: Run) -> None:
    x = np.zeros((3, 0, 4), np.float32)
    for op, r in {"sum": 0, "prod": 1, "max": -np.inf, "min": np.inf, "log_sum": -np.inf}.items():
        (y,) = run("reduce", [x], [((3, 1, 4), "f4")], op=op, axes=[1])
        np.testing.assert_array_equal(y, np.full((3, 1, 4), r, np.float32))
    run("reduce", [x], [((1, 0, 1), "f4")], op="sum", axes=[0, 2])


def test_extremes_propagate_nan(run: Run) -> None:
    x = np.random.default_rng(3).normal(size=(40, 40)).astype(np.float32)
    x[7, 11] = np.nan
    for axis in (0, 1):
        r = x.max(axis=axis, keepdims=True)
        np.testing.assert_array_equal(run("reduce", [x], [(r.shape, "f4")], op="max", axes=[axis])[0], r)


@pytest.mark.parametrize("axes", [(1, 2), (3,)])
def test_reduce_mean_of_bytes(run: Run, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(4).integers(0, 256, (2, 9, 7, 33)).astype(np.uint8)
    xs, ys = np.float32(0.05), np.float32(0.03)
    r = ((x.astype(np.float32) - 120) * xs).astype(np.float64).mean(axis=axes, keepdims=True)
    expected = np.clip(np.rint(r / ys) + 99, 0, 255)
    attrs = {"op": "mean", "axes": list(axes), "x_scale": float(xs), "x_zero": 120, "y_scale": float(ys), "y_zero": 99}
    (y,) = run("reduce", [x], [(r.shape, "u1")], **attrs)
    # Only a tie, or a sum within rounding of one, may fall to the other side.
    assert np.all(abs(y - expected) <= 1)
    assert np.mean(y != expected) < 0.02


@pytest.mark.parametrize("log", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1000), (7, 1), (5, 16, 3), (3, 17, 40), (2, 300, 300)])
def test_softmax(run: Run, shape: tuple[int, ...], log: int) -> None:
    x = (np.random.default_rng(5).normal(size=shape) * 5).astype(np.float32)
    for axis in range(len(shape)):
        for view in (x, x.transpose()):
            d = view.astype(np.float64)
            d = d - d.max(axis=axis, keepdims=True)
            r = np.exp(d) / np.exp(d).sum(axis=axis, keepdims=True)
            (y,) = run("softmax", [view], [(view.shape, "f4")], axis=axis, log=log)
            np.testing.assert_allclose(y, np.log(r) if log else r, rtol=2e-6, atol=2e-6 if log else 1e-9)


@pytest.mark.parametrize("n", [1, 5, 16, 33, 384, 768])
@pytest.mark.parametrize("op", ["layer", "rms"])
def test_layer_norm(run: Run, op: str, n: int) -> None:
    rng = np.random.default_rng(6)
    x = (rng.normal(size=(3, 7, n)) * 3 + 5).astype(np.float32)
    gamma, beta = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    for view in (x, x.transpose(1, 0, 2), x[::-1, ::2]):
        d = view.astype(np.float64)
        d = d - (d.mean(-1, keepdims=True) if op == "layer" else 0)
        r = d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-3)
        for b in (beta, None):
            (y,) = run("layer_norm", [view, gamma, b], [(view.shape, "f4")], op=op, eps=1e-3)
            np.testing.assert_allclose(y, r * gamma + (b if b is not None else 0), rtol=1e-4, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 31), st.randoms(use_true_random=False))
def test_reduce_shapes(shape: list[int], mask: int, random: object) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)  # type: ignore[attr-defined]
    x = np.random.default_rng(7).normal(size=shape).astype(np.float32).transpose(order)
    axes = tuple(i for i in range(len(shape)) if mask >> i & 1)
    r = x.astype(np.float64).sum(axis=axes, keepdims=True)
    y = np.empty(r.shape, np.float32)
    _core.run_op("reduce", [x], [y], {"op": "sum", "axes": list(axes)}, threads=2)
    np.testing.assert_allclose(y, r, rtol=1e-5, atol=1e-3)


def test_wrong_axes_and_shapes_are_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    for shape, axes in [((2, 1), [2]), ((2, 1), [1, 1]), ((2, 1), [1, -1]), ((2, 3), [1]), ((2,), [1])]:
        with pytest.raises(PlanishError):
            _core.run_op("reduce", [x], [np.zeros(shape, np.float32)], {"op": "sum", "axes": axes})
    with pytest.raises(PlanishError):
        _core.run_op("softmax", [x], [x.copy()], {"axis": 2})
    with pytest.raises(PlanishError):
        _core.run_op("layer_norm", [x, np.zeros(4, np.float32), None], [x.copy()], {})
