"""Operators in every element type ONNX gives them, against onnx.reference: 16-bit floats, float64, small and unsigned
integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper, numpy_helper

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


@pytest.mark.parametrize("reduction", ["none", "add", "max"])
@pytest.mark.parametrize("dtype", [*HALVES, np.int8])
def test_scatter(reduction: str, dtype: Any) -> None:
    x, updates = np.array([[1, 2, 3]]).astype(dtype), np.array([[5, -2]]).astype(dtype)
    model = node_model(
        "ScatterElements", {"x": x}, {"i": np.array([[0, 2]]), "u": updates}, 18, axis=1, reduction=reduction
    )
    expected = {"none": [5, 2, -2], "add": [6, 2, 1], "max": [5, 2, 3]}[reduction]
    np.testing.assert_array_equal(run_natively(model, {"x": x})[0], np.array([expected]).astype(dtype))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_recurrent_layers_in_16_bits(op: str, dtype: Any) -> None:
    gates = {"LSTM": 4, "GRU": 3}[op]
    x, w, r = (numbers(s, dtype) for s in ((3, 2, 4), (1, gates * 5, 4), (1, gates * 5, 5)))
    model = node_model(op, {"x": x}, {"w": w, "r": r}, 14, outputs=2, hidden_size=5)
    wide = {k: v.astype(np.float32) for k, v in {"x": x, "w": w, "r": r}.items()}
    expected = by_reference(node_model(op, wide, {}, 14, outputs=2, hidden_size=5), wide)
    assert_rounded(run_natively(model, {"x": x}), [y.astype(dtype) for y in expected])


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


SMALL = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn", "int4",
         "uint4", "int2", "uint2"]  # fmt: skip


def _small(name: str) -> Any:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def _code(dtype: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


@pytest.mark.parametrize("to", [*SMALL, "float16", "float64", "bfloat16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("source", [*SMALL, "float32", "float16", "int32"])
def test_casts_of_small_types(source: str, to: str) -> None:
    """By the way of float32, which holds every one of them."""
    integers = np.array([1, 2, 4, 1, 1, 4]) if "8" in source else np.array([1, 0, 1, 1, 0, 0])
    feeds = {"x": integers.astype(np.float32).astype(_small(source))}
    (y,) = run_natively(node_model("Cast", feeds, {}, 25, to=_code(_small(to))), feeds)
    expected = feeds["x"].astype(np.float32).astype(_small(to))
    assert y.dtype == expected.dtype
    if to == "float8_e8m0fnu":  # ONNX rounds up, and knows no zero
        expected = numpy_helper.to_float8e8m0(feeds["x"].astype(np.float32))
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("saturate", [0, 1])
def test_cast_like_saturates(saturate: int) -> None:
    feeds = {"x": np.array([1e9, -500, 3, np.inf], np.float32), "like": np.zeros(1, ml_dtypes.float8_e4m3fn)}
    model = node_model("CastLike", feeds, {}, 19, saturate=saturate)
    (y,), (expected,) = run_natively(model, feeds), by_reference(model, feeds)
    np.testing.assert_array_equal(y.astype(np.float32), expected.astype(np.float32))


@pytest.mark.parametrize(("source", "to"), [("float32", "int32"), ("uint8", "int8"), ("float64", "uint64")])
def test_bit_cast(source: str, to: str) -> None:
    feeds = {"x": np.array([[1, 2, 250]]).astype(source)}
    (y,) = run_natively(node_model("BitCast", feeds, {}, 26, to=_code(to)), feeds)
    np.testing.assert_array_equal(y, feeds["x"].view(to))


#: (shape of the scale, axis, block size) for x [3, 4, 6].
GRANULARITIES = [((), 1, 0), ((4,), 1, 0), ((6,), -1, 0), ((3, 2, 6), 1, 2), ((3, 4, 2), 2, 4)]


@pytest.mark.parametrize("scale_type", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("shape", "axis", "block"), GRANULARITIES)
@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2", "int8", "uint8", "int16", "uint16"])
def test_dequantize(dtype: str, shape: tuple[int, ...], axis: int, block: int, scale_type: str) -> None:
    """Of a tensor of the run, with and without a zero point."""
    rng, info = np.random.default_rng(0), ml_dtypes.iinfo(_small(dtype))
    x, zero = (rng.integers(info.min, info.max + 1, s).astype(_small(dtype)) for s in ((3, 4, 6), shape))
    scale = rng.uniform(0.01, 1, shape).astype(_small(scale_type))
    attrs = {"axis": axis, **({"block_size": block} if block else {})}
    repeated = [np.asarray(p.astype(np.float64)) for p in (scale, zero)]
    if block:
        repeated = [np.repeat(p, block, axis).take(range(x.shape[axis]), axis) for p in repeated]
    elif shape:
        repeated = [p.reshape([-1 if i == axis % 3 else 1 for i in range(3)]) for p in repeated]
    for constants in ({"scale": scale}, {"scale": scale, "zero": zero}):
        (y,) = run_natively(node_model("DequantizeLinear", {"x": x}, constants, 25, **attrs), {"x": x})
        expected = (x.astype(np.float64) - (repeated[1] if "zero" in constants else 0)) * repeated[0]
        assert y.dtype == scale.dtype
        tolerance = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[scale_type]
        np.testing.assert_allclose(y.astype(np.float64), expected, rtol=tolerance)


@pytest.mark.parametrize(("shape", "axis", "block"), GRANULARITIES)
@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2", "int8", "int16", *SMALL[:4], "float4_e2m1fn"])
def test_quantize(dtype: str, shape: tuple[int, ...], axis: int, block: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 6)).astype(np.float32)
    constants = {"scale": rng.uniform(0.1, 1, shape).astype(np.float32), "zero": np.zeros(shape).astype(_small(dtype))}
    attrs = {"axis": axis, **({"block_size": block} if block else {})}
    model = node_model("QuantizeLinear", {"x": x}, constants, 25, **attrs)
    (y,) = run_natively(model, {"x": x})
    (expected,) = by_reference(model, {"x": x})
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


def test_constants_of_low_bits_keep_their_type() -> None:
    """Weight forms hold them as bytes; what leaves the model is what the model says."""
    constants = {"table": np.arange(-8, 8).astype(ml_dtypes.int4), "i": np.array([3, 15])}
    model = _chain("int64[2] x", "int4[2] y", "y = Gather(table, x)")
    model.graph.initializer.append(numpy_helper.from_array(constants["table"], "table"))
    (y,) = run_natively(model, {"x": constants["i"]})
    assert y.dtype == ml_dtypes.int4
    assert y.astype(np.int8).tolist() == [-5, 7]


def test_plans_carry_small_types(tmp_path: Any) -> None:
    table = np.linspace(-2, 2, 9).astype(ml_dtypes.float8_e4m3fn)
    model = _chain("int64[2] x", "float8e4m3fn[2] y", "y = Gather(table, x)")
    model.graph.initializer.append(numpy_helper.from_array(table, "table"))
    planish.export(model, tmp_path / "small.plan")
    (y,) = planish.InferenceSession(tmp_path / "small.plan").run(None, {"x": np.array([0, 8])})
    assert y.dtype == table.dtype
    assert y.astype(np.float32).tolist() == [-2, 2]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_long_softmax_in_float16_rounds_once(op: str) -> None:
    """Its sum, of more than float16's greatest number, is no tensor."""
    x = np.zeros((1, 100_000), np.float16)
    model = node_model(op, {"x": x}, {}, 17, axis=-1)
    expected = np.float16(1e-5 if op == "Softmax" else np.log(1e-5))
    np.testing.assert_array_equal(planish.InferenceSession(model).run(None, {"x": x})[0], np.full_like(x, expected))
