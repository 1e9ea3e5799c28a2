"""Operators in every element type ONNX gives them, against onnx.reference: 16-bit floats, float64, small and unsigned
integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import planish
from tests.lowering.harness import Array, by_reference, fallbacks, native, node_model

HALVES = [np.float16, ml_dtypes.bfloat16]
#: Numbers of the last place of a 16-bit float by which results may differ: the reference rounds inner results too.
PLACES = 3


def run_natively(model: Any, feeds: dict[str, Array]) -> list[Array]:
    session = planish.InferenceSession(model)
    assert not fallbacks(session)
    return session.run(None, feeds)


def assert_rounded(results: list[Array], expected: list[Array]) -> None:
    """Equal shapes and types, and 16-bit floats within PLACES of the largest magnitude."""
    for got, want in zip(results, expected, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if want.dtype in HALVES:
            exact = want.astype(np.float64)
            unit = float(ml_dtypes.finfo(want.dtype).eps) * max(1.0, np.abs(exact).max(initial=0))
            np.testing.assert_allclose(got.astype(np.float64), exact, rtol=0, atol=PLACES * unit)
        else:
            np.testing.assert_array_equal(got, want)


def in_float32(model_of: Any, feeds: dict[str, Array], dtype: Any) -> list[Array]:
    """What the float32 model gives on the same numbers, rounded once."""
    wide = {k: v.astype(np.float32) if v.dtype == dtype else v for k, v in feeds.items()}
    return [y.astype(dtype) if y.dtype == np.float32 else y for y in by_reference(model_of(wide), wide)]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


ELEMENTWISE = [
    ("Relu", 1, {}), ("Exp", 1, {}), ("Sigmoid", 1, {}), ("Erf", 1, {}), ("Gelu", 1, {}), ("Elu", 1, {"alpha": 0.5}),
    ("Add", 2, {}), ("Sub", 2, {}), ("Mul", 2, {}), ("Div", 2, {}), ("Max", 3, {}), ("Less", 2, {}), ("Equal", 2, {}),
    ("PRelu", 2, {}), ("Sum", 3, {}), ("IsNaN", 1, {}), ("Mod", 2, {"fmod": 1}),
]  # fmt: skip
LAYERS = [
    ("Softmax", [(2, 9)], {}), ("LogSoftmax", [(2, 9)], {"axis": 0}), ("MatMul", [(2, 3, 4), (2, 4, 5)], {}),
    ("Gemm", [(3, 4), (5, 4), (5,)], {"transB": 1, "alpha": 0.5}), ("Conv", [(1, 2, 7, 7), (3, 2, 3, 3), (3,)], {}),
    ("LayerNormalization", [(2, 9), (9,), (9,)], {}), ("InstanceNormalization", [(2, 3, 9), (3,), (3,)], {}),
    ("AveragePool", [(1, 2, 7, 7)], {"kernel_shape": [3, 3]}), ("MaxPool", [(1, 2, 7, 7)], {"kernel_shape": [2, 2]}),
    ("GlobalAveragePool", [(1, 2, 7, 7)], {}), ("ReduceMean", [(2, 3, 4)], {}), ("ReduceLogSumExp", [(2, 3)], {}),
    ("ReduceMax", [(2, 3)], {}), ("ArgMax", [(3, 5)], {"axis": 1}),
]  # fmt: skip
MOVEMENT = [
    ("Transpose", [], {"perm": [1, 0]}), ("Concat", ["again"], {"axis": 0}), ("Slice", [[1], [3]], {}),
    ("Gather", [[2, 0]], {"axis": 1}), ("Pad", [[1, 0, 0, 2]], {}), ("Pad", [[1, 0, 0, 2]], {"mode": "reflect"}),
    ("Tile", [[2, 3]], {}), ("Reshape", [[-1]], {}), ("Expand", [[2, 4, 5]], {}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("op", "count", "attrs"), ELEMENTWISE)
def test_elementwise_in_16_bits(op: str, count: int, attrs: dict[str, Any], dtype: Any) -> None:
    feeds = {f"x{i}": numbers((5, 7), dtype, i) for i in range(count)}
    model = node_model(op, feeds, {}, 20, **attrs)
    expected = in_float32(lambda wide: node_model(op, wide, {}, 20, **attrs), feeds, dtype)
    assert_rounded(run_natively(model, feeds), expected)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("op", "shapes", "attrs"), LAYERS)
def test_layers_in_16_bits(op: str, shapes: list[tuple[int, ...]], attrs: dict[str, Any], dtype: Any) -> None:
    """The first input is fed, the others are constants, widened when the model is lowered."""
    x = {"x": numbers(shapes[0], dtype)}
    rest = {f"w{i}": numbers(shape, dtype, i) for i, shape in enumerate(shapes[1:], 1)}
    wide_rest = {k: v.astype(np.float32) for k, v in rest.items()}
    expected = in_float32(lambda wide: node_model(op, wide, wide_rest, 18, **attrs), x, dtype)
    assert_rounded(run_natively(node_model(op, x, rest, 18, **attrs), x), expected)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("op", "others", "attrs"), MOVEMENT)
def test_16_bit_elements_move_without_casts(op: str, others: list[Any], attrs: dict[str, Any], dtype: Any) -> None:
    x = numbers((4, 5), dtype)
    constants = {f"c{i}": x if v == "again" else np.array(v, np.int64) for i, v in enumerate(others)}
    model = node_model(op, {"x": x}, constants, 18, **attrs)
    session = planish.InferenceSession(model)
    assert not {"onnx", "cast"} & {s.kind for s in session.lowered.walk()}
    assert_rounded(session.run(None, {"x": x}), by_reference(model, {"x": x}))


def test_a_value_read_twice_is_widened_once() -> None:
    model = planish.InferenceSession(
        _chain("float16[3] x", "float16[3] y", "a = Exp(x) b = Sigmoid(x) y = Add(a, b)")
    ).lowered
    casts = [s for s in model.steps if s.kind == "cast"]
    assert [s.attrs["to"] for s in casts].count("float32") == 3  # x once, a, b
    assert [s.attrs["to"] for s in casts].count("float16") == 3


def test_every_result_is_rounded_to_its_own_type() -> None:
    """65504 + 65504 is infinite in float16, although the sum that follows could hold it in float32."""
    session = planish.InferenceSession(_chain("float16[1] x", "float16[1] y", "a = Add(x, x) y = Sub(a, x)"))
    assert session.run(None, {"x": np.array([65504], np.float16)})[0].tolist() == [np.inf]


def _chain(inputs: str, outputs: str, body: str) -> Any:
    from tests.lowering.harness import parse

    return parse(body, inputs, outputs, 18)


FLOAT64 = [
    ("Exp", [(3, 5)], {}), ("Tanh", [(3, 5)], {}), ("LeakyRelu", [(3, 5)], {"alpha": 0.25}), ("Clip", [(3, 5)], {}),
    ("Div", [(3, 5), (5,)], {}), ("Pow", [(3, 5), (3, 5)], {}), ("Mod", [(3, 5), (5,)], {"fmod": 1}),
    ("Min", [(3, 5), (5,)], {}), ("GreaterOrEqual", [(3, 5), (5,)], {}), ("Softmax", [(3, 5)], {"axis": 0}),
    ("LogSoftmax", [(3, 5)], {}), ("ReduceSum", [(3, 5)], {}), ("ReduceL2", [(3, 5)], {}),
    ("MatMul", [(2, 3, 5), (5, 4)], {}), ("MatMul", [(5,), (5, 4)], {}),
    ("Gemm", [(3, 5), (3, 4), (4,)], {"transA": 1, "alpha": 0.5, "beta": 0.25}), ("ArgMin", [(3, 5)], {}),
]  # fmt: skip


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("op", "shapes", "attrs"), FLOAT64)
def test_float64_keeps_its_precision(op: str, shapes: list[Any], attrs: dict[str, Any], constant: bool) -> None:
    values = {f"x{i}": np.abs(numbers(shape, np.float64, i)) + 0.5 for i, shape in enumerate(shapes)}
    feeds = {"x0": values["x0"]} if constant else values
    rest = {k: v for k, v in values.items() if k not in feeds}
    native(node_model(op, feeds, rest, 18, **attrs), feeds, scale=1e-14)


INTEGERS = ["int8", "int16", "uint8", "uint16", "uint32", "uint64"]
ON_INTEGERS = ["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
               "Equal"]  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ON_INTEGERS)
def test_small_and_unsigned_integers(op: str, dtype: str) -> None:
    """Over the whole range, so that results wrap."""
    info, rng = np.iinfo(dtype), np.random.default_rng(0)
    a, b = (rng.integers(info.min, info.max, 200, dtype, endpoint=True) for _ in range(2))
    feeds = {"a": a, "b": np.where(b == 0, np.array(1, dtype), b)}
    native(node_model(op, feeds, {}, 18), feeds)
    native(node_model(op, {"a": a}, {"b": feeds["b"][:1]}, 18), {"a": a})


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "TopK", "ArgMax"])
def test_integers_along_an_axis(op: str, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (4, 30)).astype(dtype)
    constants = {"k": np.array([3])} if op == "TopK" else {}
    native(node_model(op, {"x": x}, constants, 18, outputs=1 + len(constants)), {"x": x})


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_products_of_integers(dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**31, s).astype(dtype) for s in ((3, 5), (5, 4)))
    native(node_model("MatMul", {"a": a, "b": b}, {}, 18), {"a": a, "b": b})
    native(node_model("MatMul", {"a": a}, {"b": b}, 18), {"a": a})


@pytest.mark.parametrize("exponent", ["float32", "float64", "int32", "int64", "uint8", "uint32"])
@pytest.mark.parametrize("base", ["float32", "float64", "float16", "int32", "int64"])
def test_pow_of_mixed_types(base: str, exponent: str) -> None:
    a, b = np.array([1, 2, 3, 5], base), np.array([0, 5, 3, 2], exponent)
    expected = (a.astype(np.float64) ** b.astype(np.float64)).astype(base)
    for model, feeds in (
        (node_model("Pow", {"a": a, "b": b}, {}, 18), {"a": a, "b": b}),
        (node_model("Pow", {"a": a}, {"b": b}, 18), {"a": a}),
    ):
        (y,) = run_natively(model, feeds)
        assert y.dtype == a.dtype
        np.testing.assert_allclose(y, expected, rtol=1e-3 if base == "float16" else 1e-6)


def test_reductions_of_bool() -> None:
    x = np.random.default_rng(0).random((4, 3)) > 0.5
    for op in ("ReduceMax", "ReduceMin"):
        native(node_model(op, {"x": x}, {"axes": np.array([1])}, 20, keepdims=0), {"x": x})


def test_one_hot_of_float_indices() -> None:
    feeds = {"x": np.array([[1.0, 9.0], [2.0, 4.0]], np.float32)}
    constants = {"depth": np.array(10.0, np.float32), "values": np.array([1.0, 3.0], np.float32)}
    native(node_model("OneHot", feeds, constants, 18, axis=1), feeds)
