"""Operators made of steps of other kinds, and those whose result's size depends on data, against onnx.reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import planish
from planish.errors import PlanishError
from tests.lowering.harness import by_onnxruntime, fallbacks, native, node_model, parse

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def ints(*shape: int, dtype: Any = np.int64) -> np.ndarray[Any, Any]:
    return RNG.integers(0, 4, shape).astype(dtype)


@pytest.mark.parametrize(
    ("op", "opset", "feeds", "constants", "attrs"),
    [
        ("Mean", 13, [floats(3, 4), floats(4), floats(1, 1)], [], {}),
        ("IsInf", 20, [np.array([1, np.inf, -np.inf, np.nan], np.float32)], [], {}),
        ("IsInf", 20, [np.array([1, np.inf, -np.inf, np.nan], np.float32)], [], {"detect_negative": 0}),
        ("IsInf", 20, [np.array([1, np.inf, -np.inf, np.nan], np.float32)], [], {"detect_positive": 0}),
        ("IsInf", 20, [np.array([1, np.inf, np.nan], np.float32)], [], {"detect_positive": 0, "detect_negative": 0}),
        ("Hardmax", 13, [floats(3, 4, 5)], [], {"axis": 1}),
        ("Hardmax", 13, [np.zeros((3, 4), np.float32)], [], {}),
        ("EyeLike", 9, [floats(3, 5)], [], {"k": -1}),
        ("EyeLike", 9, [ints(5, 3)], [], {"k": 7}),
        ("EyeLike", 9, [floats(4, 4)], [], {"dtype": 7}),
        ("Trilu", 14, [floats(2, 5, 4)], [np.array(-2)], {"upper": 0}),
        ("Trilu", 14, [ints(5, 4)], [], {}),
        ("CumSum", 14, [floats(3, 4).astype(np.float64)], [np.array(1)], {"exclusive": 1}),
        ("CumProd", 26, [ints(3, 4)], [np.array(-1)], {"reverse": 1}),
        ("BitwiseAnd", 18, [ints(3, 4, dtype=np.int8), ints(4, dtype=np.int8)], [], {}),
        ("BitwiseNot", 18, [ints(3, 4, dtype=np.uint16)], [], {}),
        ("BitwiseNot", 18, [ints(3, 4, dtype=np.int64)], [], {}),
        ("BitShift", 11, [ints(3, 4, dtype=np.uint8), ints(4, dtype=np.uint8)], [], {"direction": "LEFT"}),
        ("ReverseSequence", 10, [floats(4, 3, 2), np.array([4, 1, 2])], [], {}),
        ("SpaceToDepth", 13, [floats(2, 3, 4, 6)], [], {"blocksize": 2}),
        ("DepthToSpace", 13, [floats(2, 12, 3, 2)], [], {"blocksize": 2, "mode": "CRD"}),
        ("OneHot", 11, [np.array([1.0, -1.0, 7.0], np.float32)], [np.array(3), np.array([0, 1], np.float32)], {}),
        ("TensorScatter", 24, [floats(2, 3, 8, 5), floats(2, 3, 4, 5)], [np.array([0, 4])], {}),
        ("TensorScatter", 24, [floats(2, 8, 5), floats(2, 4, 5), np.array([6, 3])], [], {"mode": "circular"}),
        ("MaxUnpool", 11, [floats(1, 1, 2, 2), np.array([[[[0, 3], [8, 15]]]])], [],
         {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ],
)  # fmt: skip
def test_native(op: str, opset: int, feeds: list[Any], constants: list[Any], attrs: dict[str, Any]) -> None:
    given = {f"x{i}": v for i, v in enumerate(feeds)}
    model = node_model(op, given, {f"c{i}": v for i, v in enumerate(constants)}, opset, **attrs)
    native(model, given)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 30])
def test_local_response_normalisation(size: int) -> None:
    x = floats(2, 7, 3, 4)
    model = node_model("LRN", {"x": x}, {}, 13, size=size, alpha=0.5, bias=2.0, beta=0.6)
    padded = np.pad(np.square(x, dtype=np.float64), ((0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)))
    total = sum(padded[:, i : i + 7] for i in range(size))
    native(model, {"x": x}, reference=lambda *_: [(x / (2 + 0.5 / size * total) ** 0.6).astype(np.float32)])


def test_bit_cast() -> None:
    x = floats(3, 4)
    for dtype, code in ((np.int32, 6), (np.uint32, 12)):
        session = planish.InferenceSession(node_model("BitCast", {"x": x}, {}, 26, to=code))
        assert not fallbacks(session)
        np.testing.assert_array_equal(session.run(None, {"x": x.T})[0], np.ascontiguousarray(x.T).view(dtype))


def test_lp_normalization_of_zeros_is_zero() -> None:
    x = np.array([[3, -4], [0, 0]], np.float32)
    for order, want in ((1, [[3 / 7, -4 / 7], [0, 0]]), (2, [[0.6, -0.8], [0, 0]])):
        session = planish.InferenceSession(node_model("LpNormalization", {"x": x}, {}, 22, p=order))
        assert not fallbacks(session)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], want, rtol=1e-6)


def test_dropout_masks_keep_everything() -> None:
    x = floats(3, 4)
    session = planish.InferenceSession(node_model("Dropout", {"x": x}, {}, 13, outputs=2))
    assert not fallbacks(session)
    y, mask = session.run(None, {"x": x})
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(mask, np.ones(x.shape, bool), strict=True)


@pytest.mark.parametrize(
    "equation",
    ["ij,jk->ik", "ij,jk", "bij,bjk->bik", "i,i->", "i,j->ij", "ij->ji", "ij->", "ii->i", "ii", "...ij,...jk->...ik",
     "bhqd,bhkd->bhqk", "i,i->i", "ij,k->jk", "abc,cd,de->abe", "a b , b -> a", "iji->j", "...a->a..."],
)  # fmt: skip
def test_einsum(equation: str) -> None:
    sizes = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6, "i": 7, "j": 8, "k": 9, "h": 2, "q": 4}
    feeds = {}
    for n, term in enumerate(equation.replace(" ", "").split("->")[0].split(",")):
        shape = [sizes[letter] for letter in term.replace(".", "")]
        feeds[f"x{n}"] = floats(*([2, 3] if "..." in term else []), *shape)
    native(node_model("Einsum", feeds, {}, 12, equation=equation), feeds)


def test_einsum_broadcasts_an_ellipsis() -> None:
    feeds = {"a": floats(2, 1, 3, 4), "b": floats(5, 4, 6)}
    native(node_model("Einsum", feeds, {}, 12, equation="...ij,...jk->...ik"), feeds)


@pytest.mark.parametrize(
    ("equation", "text"),
    [("ij->ijk", "label of its own|one of its own"), ("i->i", "rank 2"), ("ij,jk->ik", "terms"), ("i1->i", "letters"),
     ("ij->ii", "repeats"), ("i...j...->i", "two ellipses")],
)  # fmt: skip
def test_wrong_equations_are_refused(equation: str, text: str) -> None:
    model = parse(f'y = Einsum <equation = "{equation}"> (x)', "float[a, b] x", "float[c, d] y", 12)
    with pytest.raises(PlanishError, match=text):
        planish.InferenceSession(model).run(None, {"x": floats(3, 3)})


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_compress(axis: int | None) -> None:
    x = floats(3, 4)
    size = x.size if axis is None else x.shape[axis]
    conditions = [RNG.integers(0, 2, size).astype(bool), np.zeros(size, bool), np.ones(size, bool)]
    model = node_model("Compress", {"x": x, "c": conditions[0]}, {}, 11, **({} if axis is None else {"axis": axis}))
    native(model, *({"x": x, "c": c} for c in conditions))


def test_nonzero_then_more() -> None:
    model = parse("i = NonZero(x) t = Transpose(i) y = GatherND(x, t)", "float[a, b] x", "float[n] y")
    for x in (floats(3, 5) * (RNG.random((3, 5)) > 0.5), np.zeros((2, 2), np.float32), floats(30, 40)):
        native(model, {"x": x.astype(np.float32)})


@pytest.mark.parametrize("attrs", [{}, {"sorted": 0}, {"axis": 0}, {"axis": -1}, {"axis": 0, "sorted": 0}])
def test_unique(attrs: dict[str, Any]) -> None:
    feeds = [{"x": ints(6, 2).astype(np.float32)}, {"x": np.zeros((3, 2), np.float32)}]
    native(node_model("Unique", feeds[0], {}, 11, outputs=4, **attrs), *feeds, reference=by_onnxruntime)


def test_scatter_behind_the_cache_is_an_error() -> None:
    cache, update = np.zeros((1, 4, 2), np.float32), np.ones((1, 3, 2), np.float32)
    model = node_model("TensorScatter", {"c": cache, "u": update, "i": np.array([2])}, {}, 24)
    with pytest.raises(PlanishError, match="an index lies outside the axis"):
        planish.InferenceSession(model).run(None, {"c": cache, "u": update, "i": np.array([2])})
