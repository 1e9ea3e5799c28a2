"""Families unary, binary, where and cast against NumPy in double precision."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
SIZES = [1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 255, 257, 1000]


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x))))


REFERENCES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], dict[str, float]]] = {
    "relu": (lambda x: np.maximum(x, 0), {}),
    "clip": (lambda x: np.clip(x, -0.5, 2.0), {"lo": -0.5, "hi": 2.0}),
    "sigmoid": (_sigmoid, {}),
    "tanh": (np.tanh, {}),
    "exp": (np.exp, {}),
    "log": (np.log, {}),
    "sqrt": (np.sqrt, {}),
    "rsqrt": (lambda x: 1 / np.sqrt(x), {}),
    "reciprocal": (lambda x: 1 / x, {}),
    "erf": (_erf, {}),
    "abs": (np.abs, {}),
    "neg": (np.negative, {}),
    "floor": (np.floor, {}),
    "ceil": (np.ceil, {}),
    "round": (np.rint, {}),
    "sign": (np.sign, {}),
    "sin": (np.sin, {}),
    "cos": (np.cos, {}),
    "hard_sigmoid": (lambda x: np.clip(0.25 * x + 0.5, 0, 1), {"alpha": 0.25, "beta": 0.5}),
    "hard_swish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), {}),
    "leaky_relu": (lambda x: np.where(x >= 0, x, 0.125 * x), {"alpha": 0.125}),
    "elu": (lambda x: np.where(x >= 0, x, 0.5 * np.expm1(x)), {"alpha": 0.5}),
    "selu": (lambda x: np.where(x > 0, 2 * x, 3 * np.expm1(x)), {"alpha": 1.5, "gamma": 2.0}),
    "celu": (lambda x: np.maximum(x, 0) + np.minimum(0, 2 * np.expm1(x / 2)), {"alpha": 2.0}),
    "thresholded_relu": (lambda x: np.where(x > 0.75, x, 0), {"alpha": 0.75}),
    "softplus": (lambda x: np.logaddexp(x, 0), {}),
    "softsign": (lambda x: x / (1 + abs(x)), {}),
    "gelu": (lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), {}),
    "gelu_tanh": (lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), {}),
    "silu": (lambda x: x * _sigmoid(x), {}),
    "mish": (lambda x: x * np.tanh(np.logaddexp(x, 0)), {}),
    "tan": (np.tan, {}),
    "asin": (np.arcsin, {}),
    "acos": (np.arccos, {}),
    "atan": (np.arctan, {}),
    "sinh": (np.sinh, {}),
    "cosh": (np.cosh, {}),
    "asinh": (np.arcsinh, {}),
    "acosh": (np.arccosh, {}),
    "atanh": (np.arctanh, {}),
    "scale_shift": (lambda x: 1.5 * x - 0.25, {"alpha": 1.5, "beta": -0.25}),
}
EXACT = {"relu", "clip", "sqrt", "abs", "neg", "floor", "ceil", "round", "sign", "thresholded_relu", "leaky_relu"}
CANCELLING = {"gelu", "gelu_tanh", "hard_swish", "hard_sigmoid", "scale_shift", "silu", "mish", "elu", "selu", "celu"}
SPECIAL = [0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 88.7, 88.8, -87.5, -103.9, -104.5, 3e38, -3e38, 1.0, -1.0]


@pytest.mark.parametrize("op", REFERENCES)
def test_unary_accuracy(run: Run, op: str) -> None:
    rng = np.random.default_rng(0)
    reference, attrs = REFERENCES[op]
    x = np.concatenate([rng.normal(size=3000) * s for s in (0.01, 1, 10, 60)]).astype(np.float32)
    (y,) = run("unary", [x], [(x.shape, "f4")], op=op, **attrs)
    with np.errstate(all="ignore"):
        r = reference(x.astype(np.float64))
        r32 = r.astype(np.float32)
    finite = np.isfinite(r32)
    np.testing.assert_array_equal(y[~finite], r32[~finite])
    if op in EXACT:
        np.testing.assert_array_equal(y, r32)
        return
    unit = np.spacing(np.abs(r32[finite])).astype(np.float64)
    error = np.abs(y[finite] - r[finite])
    # Where the formula itself cancels, the reference in float32 loses the same digits.
    slack = 1e-6 * np.maximum(1, np.abs(x[finite])) if op in CANCELLING else 0.0
    assert np.all(error <= 3 * unit + slack)


@pytest.mark.parametrize(
    "op",
    [
        "exp",
        "log",
        "tanh",
        "sigmoid",
        "erf",
        "softplus",
        "sin",
        "cos",
        "sqrt",
        "relu",
        "sign",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "acosh",
        "atanh",
    ],
)
def test_unary_special_values(run: Run, op: str) -> None:
    x = np.array(SPECIAL, np.float32)
    (y,) = run("unary", [x], [(x.shape, "f4")], op=op)
    with np.errstate(all="ignore"):
        r = REFERENCES[op][0](x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(y, r, rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("op", ["sin", "cos"])
def test_trigonometry_reduces_huge_arguments(run: Run, op: str) -> None:
    x = np.float32(1.37) * np.float32(2) ** np.arange(15, 128).astype(np.float32)
    x = np.concatenate([x, -x])
    (y,) = run("unary", [x], [(x.shape, "f4")], op=op)
    np.testing.assert_allclose(y, getattr(np, op)(x.astype(np.float64)), rtol=3e-7, atol=1e-12)


@pytest.mark.parametrize("op", REFERENCES)
def test_unary_float64(run: Run, op: str) -> None:
    rng = np.random.default_rng(0)
    reference, attrs = REFERENCES[op]
    x = np.concatenate([*(rng.normal(size=50) * s for s in (1e-9, 1, 10, 60)), [v for v in SPECIAL if v == v]])
    (y,) = run("unary", [x], [(x.shape, "f8")], op=op, **attrs)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y, reference(x), rtol=1e-13, atol=1e-14 if op in CANCELLING else 1e-300)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("op", ["relu", "exp", "gelu"])
def test_unary_sizes(run: Run, op: str, n: int) -> None:
    x = np.random.default_rng(n).normal(size=n).astype(np.float32)
    (y,) = run("unary", [x], [(x.shape, "f4")], op=op)
    np.testing.assert_allclose(y, REFERENCES[op][0](x.astype(np.float64)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_unary_integers(run: Run, dtype: str) -> None:
    low = np.iinfo(dtype).min
    x = np.array([0, 1, -1, 7, -9, low, -low - 1], dtype)
    expected = {"abs": np.abs(x), "neg": -x, "sign": np.sign(x), "relu": np.maximum(x, 0)}
    for op, r in expected.items():
        np.testing.assert_array_equal(run("unary", [x], [(x.shape, dtype)], op=op)[0], r)
    np.testing.assert_array_equal(run("unary", [x], [(x.shape, dtype)], op="clip", lo=-2, hi=5)[0], np.clip(x, -2, 5))
    np.testing.assert_array_equal(run("unary", [x], [(x.shape, dtype)], op="clip", lo=-math.inf)[0], x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_unary_predicates(run: Run, dtype: str) -> None:
    x = np.array(SPECIAL, dtype)
    np.testing.assert_array_equal(run("unary", [x], [(x.shape, bool)], op="is_nan")[0], np.isnan(x))
    np.testing.assert_array_equal(run("unary", [x], [(x.shape, bool)], op="is_inf")[0], np.isinf(x))
    b = x > 0
    np.testing.assert_array_equal(run("unary", [b], [(b.shape, bool)], op="not")[0], ~b)


@st.composite
def strided(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    shape = draw(st.lists(st.integers(0, 5), min_size=0, max_size=4))
    return shape, draw(st.permutations(range(len(shape)))), draw(st.integers(0, 2 ** len(shape) - 1))


def _view(rng: np.random.Generator, shape: list[int], order: list[int], mask: int, kind: int) -> np.ndarray:
    """Axes lie in memory in `order`; masked ones are reversed (kind 0), stepped (1) or broadcast (2)."""
    steps = [2 if mask >> i & 1 and kind == 1 else 1 for i in range(len(shape))]
    full = [1 if mask >> i & 1 and kind == 2 else shape[i] * steps[i] for i in range(len(shape))]
    a = rng.normal(size=[full[i] for i in order]).astype(np.float32).transpose(np.argsort(order))
    flip = mask if kind == 0 else 0
    a = a[tuple(slice(None, None, -1 if flip >> i & 1 else steps[i]) for i in range(len(shape)))]
    return np.broadcast_to(a, shape)


@settings(max_examples=60, deadline=None)
@given(strided(), strided(), st.integers(0, 2), st.integers(0, 2))
def test_binary_strides(left: Any, right: Any, left_kind: int, right_kind: int) -> None:
    rng = np.random.default_rng(1)
    shape = left[0]
    a = _view(rng, shape, left[1], left[2], left_kind)
    order = [i for i in right[1] if i < len(shape)]
    order += [i for i in range(len(shape)) if i not in order]
    b = _view(rng, shape, order, right[2], right_kind)
    y = np.empty(shape, np.float32)
    _core.run_op("binary", [a, b], [y], {"op": "sub"})
    np.testing.assert_array_equal(y, a - b)
    _core.run_op("unary", [a], [y], {"op": "neg"})
    np.testing.assert_array_equal(y, -a)
    c = b > 0
    _core.run_op("where", [np.broadcast_to(c, shape), a, b], [y])
    np.testing.assert_array_equal(y, np.where(c, a, b))


BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum, "max": np.maximum,
    "mod": np.mod, "fmod": np.fmod, "prelu": lambda a, b: np.where(a < 0, a * b, a),
}  # fmt: skip
COMPARE = {
    "equal": np.equal, "less": np.less, "less_equal": np.less_equal,
    "greater": np.greater, "greater_equal": np.greater_equal,
}  # fmt: skip


BITS = {"bit_and": np.bitwise_and, "bit_or": np.bitwise_or, "bit_xor": np.bitwise_xor}
WRAPPING = ["add", "sub", "mul", "min", "max", *BITS]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("form", ["vv", "vs", "sv", "rows", "columns", "ss"])
@pytest.mark.parametrize("op", [*BINARY, *COMPARE])
def test_binary_forms(run: Run, op: str, form: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    shape = (5, 67)
    a, b = (np.round(rng.normal(size=shape) * 4).astype(dtype) / 2 for _ in range(2))
    b[b == 0] = 1.5
    a[0, 3], b[1, 5] = np.nan, np.nan
    if form in ("vs", "ss"):
        b = np.broadcast_to(b[:1, :1], shape)
    if form in ("sv", "ss"):
        a = np.broadcast_to(a[:1, :1], shape)
    if form == "rows":
        b = np.broadcast_to(b[:1], shape)
    if form == "columns":
        b = np.broadcast_to(b[:, :1], shape)
    if op in BINARY:
        np.testing.assert_array_equal(run("binary", [a, b], [(shape, dtype)], op=op)[0], BINARY[op](a, b))
    else:
        np.testing.assert_array_equal(run("binary", [a, b], [(shape, bool)], op=op)[0], COMPARE[op](a, b))


@pytest.mark.parametrize("op", ["tanh", "sin", "tan", "asin", "atan", "sinh", "asinh", "atanh", "erf", "sqrt", "gelu"])
def test_zeros_keep_their_sign(op: str, run: Run) -> None:
    x = np.tile(np.array([0.0, -0.0], np.float32), 20)
    (y,) = run("unary", [x], [(x.shape, "f4")], op=op)
    assert y.tobytes() == x.tobytes()


def test_pow(run: Run) -> None:
    rng = np.random.default_rng(3)
    special = [0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, np.inf, -np.inf, np.nan, 1e-40, 1e10, 8388609.0]
    grid = [g.ravel() for g in np.meshgrid(special, special)]
    a = np.concatenate([abs(rng.normal(size=4000)) * 10, grid[0]]).astype(np.float32)
    b = np.concatenate([rng.normal(size=4000) * 5, grid[1]]).astype(np.float32)
    (y,) = run("binary", [a, b], [(a.shape, "f4")], op="pow")
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y, np.power(a.astype("f8"), b.astype("f8")).astype("f4"), rtol=2e-7, atol=1e-44)
    for exponent in (2.0, 0.5, 3.0):
        e = np.broadcast_to(np.float32(exponent), a.shape)
        (y,) = run("binary", [a, e], [(a.shape, "f4")], op="pow")
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(y, np.power(a.astype("f8"), e.astype("f8")).astype("f4"), rtol=2e-7, atol=1e-44)


def test_pow_in_float64_keeps_its_precision(run: Run) -> None:
    a, b = np.array([3.0, 1 + 1e-12, -2, 0.5, 0]), np.array([33, 1e9, 3, -40, 0])
    np.testing.assert_allclose(run("binary", [a, b], [(a.shape, "f8")], op="pow")[0], a**b, rtol=1e-14)


def test_binary_uint64(run: Run) -> None:
    values = np.array([0, 1, 2, 7, 2**63, 2**64 - 1], np.uint64)
    a, b = (g.ravel() for g in np.meshgrid(values, values))
    nonzero = np.where(b == 0, np.uint64(1), b)
    expected = {op: BINARY[op](a, b) for op in ("add", "sub", "mul", "min", "max")}
    expected |= {op: np.where(b == 0, np.uint64(0), f(a, nonzero)) for op, f in (("mod", np.mod), ("fmod", np.fmod))}
    expected["div"] = np.where(b == 0, np.uint64(0), a // nonzero)
    expected["pow"] = a ** (b % np.uint64(70))
    for op, r in expected.items():
        other = b % np.uint64(70) if op == "pow" else b
        np.testing.assert_array_equal(run("binary", [a, other], [(a.shape, "u8")], op=op)[0], r)
    for op, f in COMPARE.items():
        np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, bool)], op=op)[0], f(a, b))


@pytest.mark.parametrize("dtype", ["i4", "i8"])
def test_binary_integers(run: Run, dtype: str) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = np.array([0, 1, -1, 2, -3, 7, low, high], dtype)
    a, b = (g.ravel() for g in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        for op in WRAPPING:
            f = BITS.get(op) or BINARY[op]
            np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, dtype)], op=op)[0], f(a, b))
        for op, f in {"mod": np.mod, "fmod": np.fmod}.items():
            r = np.where(b == 0, 0, f(a, np.where((b == 0) | (b == -1), 1, b)))
            np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, dtype)], op=op)[0], r)
    for op, f in COMPARE.items():
        np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, bool)], op=op)[0], f(a, b))
    (q,) = run("binary", [a, b], [(a.shape, dtype)], op="div")
    wrap = 1 << 8 * np.dtype(dtype).itemsize
    for x, d, got in zip(a.tolist(), b.tolist(), q.tolist(), strict=True):
        exact = 0 if d == 0 else abs(x) // abs(d) * (1 if (x < 0) == (d < 0) else -1)
        assert (got - exact) % wrap == 0
    e = abs(b) % 5
    np.testing.assert_array_equal(run("binary", [a, e], [(a.shape, dtype)], op="pow")[0], a**e)


def test_binary_logic(run: Run) -> None:
    a, b = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], bool)
    for op, f in {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor, "equal": np.equal}.items():
        np.testing.assert_array_equal(run("binary", [a, b], [(a.shape, bool)], op=op)[0], f(a, b))


DTYPES = ["f4", "f8", "f2", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?"]


@pytest.mark.parametrize("to", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_cast(run: Run, source: str, to: str) -> None:
    values = np.array([0, 1, 2, 3.7, 100.5, 0.25, 120] + ([-1, -1.5, -100] if np.dtype(source).kind in "fi" else []))
    x = values.astype(source)
    if np.dtype(to).kind == "u" and np.dtype(source).kind == "f":
        x = abs(x)
    np.testing.assert_array_equal(run("cast", [x], [(x.shape, to)])[0], x.astype(to))


def test_cast_rounds_16_bit_floats_half_to_even(run: Run) -> None:
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2**32, 20000, dtype=np.uint32)
    x = np.concatenate([bits.view("f4"), np.arange(0, 2**16, dtype="u2").view("f2").astype("f4")])
    x = x[~np.isnan(x)]
    (y,) = run("cast", [x], [(x.shape, "f2")])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y.view("u2"), x.astype("f2").view("u2"))
    np.testing.assert_array_equal(run("cast", [y], [(y.shape, "f4")])[0], y.astype("f4"))


def test_cast_rounds_bfloat16_half_to_even(run: Run) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes", reason="NumPy's bfloat16 comes from ml_dtypes").bfloat16
    bits = np.random.default_rng(5).integers(0, 2**32, 20000, dtype=np.uint32)
    ties = (np.arange(2**16, dtype=np.uint32) << 16) | 0x8000
    x = np.concatenate([bits, ties, ties - 1, ties + 1]).view("f4")
    x = x[~np.isnan(x)]
    (y,) = run("cast", [x], [(x.shape, bfloat16)])
    np.testing.assert_array_equal(y.view("u2"), x.astype(bfloat16).view("u2"))
    np.testing.assert_array_equal(run("cast", [y], [(y.shape, "f4")])[0], y.astype("f4"))


def test_cast_of_floats_out_of_range_is_defined(run: Run) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], np.float32)
    assert run("cast", [x], [(x.shape, "i8")])[0].tolist() == [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63)]
    assert run("cast", [x], [(x.shape, "u8")])[0][[0, 1, 3]].tolist() == [0, 2**64 - 1, 2**64 - 1]


@pytest.mark.parametrize("dtype", ["f4", "i8", "u1", "f2"])
def test_where(run: Run, dtype: str) -> None:
    rng = np.random.default_rng(5)
    c = rng.random((4, 1, 9)) > 0.5
    a, b = (rng.integers(0, 100, s).astype(dtype) for s in ((4, 6, 9), (6, 1)))
    views = [np.broadcast_to(v, (4, 6, 9)) for v in (c, a, b)]
    np.testing.assert_array_equal(run("where", views, [((4, 6, 9), dtype)])[0], np.where(c, a, b))


@pytest.mark.parametrize(
    ("family", "inputs", "attrs"),
    [
        ("unary", [np.zeros(3, np.float32)], {"op": "no_such"}),
        ("unary", [np.zeros(4, np.float32)], {"op": "relu"}),
        ("unary", [np.zeros(3, np.float64)], {"op": "relu"}),
        ("unary", [np.zeros(3, np.float16)], {"op": "relu"}),
        ("binary", [np.zeros(3, np.float32)], {"op": "add"}),
        ("binary", [np.zeros(3, np.float32), np.zeros(3, np.int32)], {"op": "add"}),
        ("binary", [np.zeros(3, np.float32), np.zeros((1, 3), np.float32)], {"op": "add"}),
        ("where", [np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)], {}),
        ("cast", [np.zeros((3, 1), np.float32)], {}),
    ],
)
def test_invalid_descriptions_are_refused(family: str, inputs: list[np.ndarray], attrs: dict[str, Any]) -> None:
    with pytest.raises(PlanishError):
        _core.run_op(family, inputs, [np.zeros(3, np.float32)], attrs)
