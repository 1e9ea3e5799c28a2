"""Families gather*, scatter*, one_hot, cumsum, topk, argminmax and pad against NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
DTYPES = ["f4", "i8", "u1", "i2"]


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("index_dtype", ["i4", "i8"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gather(run: Run, dtype: str, index_dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = numbers(rng, (4, 6, 5), dtype)
    for shape in [(), (3,), (2, 4), (0,)]:
        for axis in (0, 1, -1):
            indices = np.asarray(rng.integers(-x.shape[axis], x.shape[axis], shape), index_dtype)
            for view in (x, x[::-1, :, ::-1], np.asfortranarray(x)):
                r = np.take(view, indices, axis)
                np.testing.assert_array_equal(run("gather", [view, indices], [(r.shape, dtype)], axis=axis)[0], r)


@pytest.mark.parametrize("index", [3, -4, 2**62, -(2**63)])
def test_an_index_out_of_range_is_an_error(run: Run, index: int) -> None:
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    bad = np.array([1, index])
    pairs, wide = np.stack([bad, np.zeros_like(bad)], 1), np.repeat(bad[:, None], 2, 1)
    cases = [
        ("gather", [x, bad], (2, 2), {}),
        ("gather_nd", [x, pairs], (2,), {}),
        ("gather_elements", [x, wide], (2, 2), {"axis": 0}),
        ("scatter_nd", [x, pairs, np.ones(2, np.float32)], x.shape, {}),
        ("scatter_elements", [x, wide, np.ones((2, 2), np.float32)], x.shape, {"axis": 0}),
    ]
    for family, operands, shape, attrs in cases:
        with pytest.raises(PlanishError, match=rf"\({family}\): an index lies outside the axis"):
            run(family, operands, [(shape, "f4")], **attrs)
    one = run("one_hot", [bad, np.array([0, 1], "u1")], [((2, 3), "u1")], axis=-1)[0]
    assert one.tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_elements(run: Run, dtype: str) -> None:
    rng = np.random.default_rng(1)
    x = numbers(rng, (4, 6, 5), dtype)
    for axis in range(3):
        shape = [4, 6, 5]
        shape[axis] = 7
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        r = np.take_along_axis(x, indices, axis)
        np.testing.assert_array_equal(run("gather_elements", [x, indices], [(r.shape, dtype)], axis=axis)[0], r)


def test_gather_nd(run: Run) -> None:
    rng = np.random.default_rng(2)
    x = numbers(rng, (3, 4, 5, 2), "f4")
    one = rng.integers(0, 3, (6, 1))
    np.testing.assert_array_equal(run("gather_nd", [x, one], [((6, 4, 5, 2), "f4")])[0], x[one[:, 0]])
    three = np.stack([rng.integers(-n, n, (2, 6)) for n in (3, 4, 5)], -1)
    r = x[three[..., 0], three[..., 1], three[..., 2]]
    np.testing.assert_array_equal(run("gather_nd", [x, three], [((2, 6, 2), "f4")])[0], r)
    batch = rng.integers(0, 4, (3, 7, 1))
    r = np.stack([x[i][batch[i, :, 0]] for i in range(3)])
    np.testing.assert_array_equal(run("gather_nd", [x, batch], [(r.shape, "f4")], batch_dims=1)[0], r)


REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda a, b: b,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "min": min,
    "max": max,
}


@pytest.mark.parametrize("dtype", ["f4", "i4", "i8"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_scatter_with_duplicates(run: Run, reduction: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    x = numbers(rng, (4, 5, 3), dtype)
    combine = REDUCTIONS[reduction]
    for axis in range(3):
        indices = rng.integers(-x.shape[axis], x.shape[axis], (3, 4, 2))
        updates = numbers(rng, (3, 4, 2), dtype)
        r = x.copy()
        for at in np.ndindex(3, 4, 2):
            to = (*at[:axis], indices[at], *at[axis + 1 :])
            r[to] = combine(r[to], updates[at])
        attrs = {"axis": axis, "reduction": reduction}
        for u in (updates, np.asfortranarray(updates)):
            np.testing.assert_array_equal(run("scatter_elements", [x, indices, u], [(x.shape, dtype)], **attrs)[0], r)
    indices = np.stack([rng.integers(-n, n, (6, 2)) for n in (4, 5)], -1)
    updates = numbers(rng, (6, 2, 3), dtype)
    r = x.copy()
    for at in np.ndindex(6, 2):
        for s in range(3):
            r[(*indices[at], s)] = combine(r[(*indices[at], s)], updates[(*at, s)])
    np.testing.assert_array_equal(
        run("scatter_nd", [x, indices, updates], [(x.shape, dtype)], reduction=reduction)[0], r
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(run: Run, axis: int) -> None:
    indices = np.array([[0, 2, -1], [4, 3, -5]])
    values = np.array([2.5, -1], np.float32)
    r = np.where(np.moveaxis(np.eye(5)[indices] > 0, -1, axis), values[1], values[0])
    np.testing.assert_array_equal(run("one_hot", [indices, values], [(r.shape, "f4")], axis=axis)[0], r)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u8"])
def test_cumsum(run: Run, dtype: str) -> None:
    x = numbers(np.random.default_rng(4), (3, 5, 4), dtype)
    for axis in range(3):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                v = np.flip(x, axis) if reverse else x
                r = np.cumsum(v, axis, dtype=dtype) - (v if exclusive else 0)
                r = np.flip(r, axis) if reverse else r
                attrs = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
                np.testing.assert_array_equal(run("cumsum", [x], [(x.shape, dtype)], **attrs)[0], r)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u8", "u1", "i1"])
def test_topk(run: Run, dtype: str, largest: int) -> None:
    x = np.random.default_rng(5).integers(0, 20, (4, 30, 3)).astype(dtype)
    if not dtype.startswith("u"):
        x -= 10
    for axis in range(3):
        k = min(7, x.shape[axis])
        shape = [k if i == axis else n for i, n in enumerate(x.shape)]
        values, indices = run("topk", [x], [(shape, dtype), (shape, "i8")], axis=axis, largest=largest)
        order = np.argsort(-x.astype("i8") if largest else x.astype("i8"), axis, kind="stable")
        order = np.take(order, range(k), axis)
        np.testing.assert_array_equal(indices, order)
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, axis))


def test_topk_orders_special_values(run: Run) -> None:
    x = np.array([1, np.nan, -np.inf, np.inf, -0.0, 0.0, -1], np.float32)
    assert run("topk", [x], [((7,), "f4"), ((7,), "i8")])[1].tolist() == [1, 3, 0, 4, 5, 6, 2]
    assert run("topk", [x], [((7,), "f4"), ((7,), "i8")], largest=0)[1].tolist() == [2, 6, 4, 5, 0, 3, 1]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u8", "u1"])
@pytest.mark.parametrize("op", ["max", "min"])
def test_argminmax(run: Run, op: str, dtype: str) -> None:
    x = np.random.default_rng(6).integers(0, 9, (4, 30, 3)).astype(dtype)
    find = np.argmax if op == "max" else np.argmin
    for axis in range(3):
        r = find(x, axis, keepdims=True)
        last = x.shape[axis] - 1 - find(np.flip(x, axis), axis, keepdims=True)
        outputs = [(r.shape, "i8")]
        np.testing.assert_array_equal(run("argminmax", [x], outputs, op=op, axis=axis)[0], r)
        np.testing.assert_array_equal(run("argminmax", [x], outputs, op=op, axis=axis, select_last=1)[0], last)


def test_argminmax_finds_nan(run: Run) -> None:
    x = np.array([1, np.nan, 5, np.nan, -2], np.float32)
    for op in ("max", "min"):
        assert run("argminmax", [x], [((1,), "i8")], op=op, axis=0)[0] == 1


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_pad(run: Run, mode: str, dtype: str) -> None:
    x = numbers(np.random.default_rng(7), (3, 4, 6), dtype)
    for begin, end in [((0, 0, 0), (0, 0, 0)), ((2, 1, 3), (1, 3, 5)), ((5, 9, 0), (8, 4, 20))]:
        r = np.pad(x, list(zip(begin, end, strict=True)), mode)
        for view, inverse in ((x, (0, 1, 2)), (x.transpose(2, 0, 1), (2, 0, 1))):
            pads = [begin[i] for i in inverse] + [end[i] for i in inverse]
            expected = r.transpose(inverse)
            np.testing.assert_array_equal(
                run("pad", [view], [(expected.shape, dtype)], mode=mode, pads=pads)[0], expected
            )
    crop = run("pad", [x], [((3, 2, 6), dtype)], mode=mode, pads=[0, -1, 0, 0, -1, 0])[0]
    np.testing.assert_array_equal(crop, x[:, 1:3])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_indices_reach_outside(data: st.DataObject) -> None:
    """Guard pages lie behind the operands: any indices must be survived."""
    draw = data.draw
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    count = draw(st.integers(0, 5))
    anything = st.one_of(st.integers(-6, 6), st.integers(-(2**63), 2**63 - 1))
    indices = np.array(draw(st.lists(anything, min_size=count, max_size=count)), np.int64)
    x = np.ones(shape, np.float32)
    y = np.empty((count, *shape[1:]), np.float32)
    z = np.empty_like(x)
    outside = bool(np.any((indices < -shape[0]) | (indices >= shape[0])))
    updates = np.full_like(y, 2)
    for family, inputs, output, attrs in (
        ("gather", [x, indices], y, {"axis": 0}),
        ("scatter_nd", [x, indices[:, None], updates], z, {"reduction": "mul"}),
    ):
        if outside and output.size:
            with pytest.raises(PlanishError, match="an index lies outside"):
                _core.run_op(family, inputs, [output], attrs)
        else:
            _core.run_op(family, inputs, [output], attrs)
            assert np.all(output >= 1)


@pytest.mark.parametrize(
    ("family", "inputs", "attrs"),
    [
        ("gather", [np.zeros((3, 3), np.float32), np.zeros(2, np.int64)], {"axis": 2}),
        ("gather", [np.zeros((3, 3), np.float32), np.zeros(2, np.float32)], {}),
        ("gather", [np.zeros((2, 4), np.float32), np.zeros(3, np.int64)], {}),
        ("gather_elements", [np.zeros((2, 3), np.float32), np.zeros((3, 3), np.int64)], {"axis": 1}),
        ("gather_nd", [np.zeros((3, 3), np.float32), np.zeros((3, 3), np.int64)], {}),
        ("scatter_nd", [np.zeros((3, 3), np.float32), np.zeros((2, 1), np.int64), np.zeros((2, 2), np.float32)], {}),
        ("scatter_elements", [np.zeros((3, 3), np.float32), *2 * [np.zeros((4, 4), np.float32)]], {}),
        ("one_hot", [np.zeros(3, np.int64), np.zeros(3, np.float32)], {}),
        ("cumsum", [np.zeros((3, 3), np.float32)], {"axis": 5}),
        ("pad", [np.zeros((3, 3), np.float32)], {"mode": "edge", "pads": [1, 0, 0, 0]}),
        ("pad", [np.zeros((0, 3), np.float32)], {"mode": "edge", "pads": [3, 0, 0, 0]}),
    ],
)
def test_wrong_descriptions_are_refused(family: str, inputs: list[np.ndarray], attrs: dict[str, Any]) -> None:
    with pytest.raises(PlanishError):
        _core.run_op(family, inputs, [np.zeros((3, 3), np.float32)], attrs)
