"""Families copy and fill against NumPy."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
DTYPES = ["u1", "i2", "f4", "i8"]


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 17, 19), (2, 4, 5, 6), (1, 2, 58, 7), (3, 33, 1, 65), (1, 64, 70, 1)])
def test_every_permutation(run: Run, shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(shape, dtype)
    for order in permutations(range(4)):
        view = x.transpose(order)
        np.testing.assert_array_equal(run("copy", [view], [(view.shape, dtype)])[0], view)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 15, 16, 31, 64, 100])
def test_transposes(run: Run, rows: int, dtype: str) -> None:
    for columns in (1, 2, 3, 4, 5, 7, 16, 17, 63, 130):
        x = numbers((3, columns, rows), dtype).transpose(0, 2, 1)
        for view in (x, x[:, : rows // 2 + 1], x[:, :, : columns // 2 + 1], x[::-1, ::-1], x[:, ::2]):
            np.testing.assert_array_equal(run("copy", [view], [(view.shape, dtype)])[0], view)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_second_element(run: Run, dtype: str) -> None:
    for columns in (1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 34, 70):
        for x in (numbers((5, 2 * columns), dtype), numbers((5, 2 * columns - 1), dtype)):
            for view in (x[:, ::2], x[:, 1::2], x[:1, ::2]):
                np.testing.assert_array_equal(run("copy", [view], [(view.shape, dtype)])[0], view)


def test_large_planes_are_shared_among_threads(run: Run) -> None:
    x = numbers((2, 3, 200, 300), "f4")
    for order in [(0, 2, 3, 1), (3, 2, 1, 0), (2, 3, 0, 1)]:
        view = x.transpose(order)
        np.testing.assert_array_equal(run("copy", [view], [(view.shape, "f4")])[0], view)


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_with_a_larger_pitch(dtype: str) -> None:
    """A piece of a concatenation along the last axis, from both memory orders."""
    code = _core.DTYPES.index(np.dtype(dtype).name)
    x = numbers((40, 24), dtype)
    item = x.itemsize
    for source in (x, np.asfortranarray(x)):
        whole = np.zeros((40, 100), dtype)
        program = _core.Program(2)
        a, b = program.input(0, source.nbytes), program.output(0, whole.nbytes)
        to = (b, 7 * item, code, (40, 24), (100 * item, item))
        program.add("copy", "copy", [(a, 0, code, (40, 24), source.strides)], [to], {})
        program.finalize()
        program.run([source.ravel(order="K")], [whole])
        np.testing.assert_array_equal(whole[:, 7:31], x)
        assert not whole[:, :7].any()
        assert not whole[:, 31:].any()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_strides(data: st.DataObject) -> None:
    draw = data.draw
    shape = draw(st.lists(st.integers(0, 9), max_size=5))
    x = numbers(tuple(shape), draw(st.sampled_from(DTYPES))).transpose(draw(st.permutations(range(len(shape)))))
    x = x[
        tuple(
            draw(st.sampled_from([slice(None), slice(None, None, -1), slice(1, None), slice(0, None, 2)]))
            for _ in shape
        )
    ]
    if x.ndim and draw(st.booleans()):
        x = np.broadcast_to(x, (3, *x.shape))
    x = np.asarray(x)
    y = np.empty(x.shape, x.dtype)
    _core.run_op("copy", [x], [y], threads=2)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1000), (0, 3)])
def test_fill(run: Run, shape: tuple[int, ...], dtype: str) -> None:
    for value in (0, 1, 7):
        np.testing.assert_array_equal(run("fill", [], [(shape, dtype)], value=value)[0], np.full(shape, value, dtype))


def test_fill_saturates(run: Run) -> None:
    for dtype in ("u1", "i1", "i4", "i8"):
        info = np.iinfo(dtype)
        assert run("fill", [], [((1,), dtype)], value=1e30)[0] == info.max
        assert run("fill", [], [((1,), dtype)], value=-1e30)[0] == info.min


def test_wrong_operands_are_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    outputs: list[Any] = [np.zeros((3, 2), np.float32), np.zeros((2, 3), np.int32), np.zeros(6, np.float32)]
    for y in outputs:
        with pytest.raises(PlanishError):
            _core.run_op("copy", [x], [y])
