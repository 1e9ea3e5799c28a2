"""Views against NumPy, which computes the same strides."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planish.runtime.view import View, ordered, row_major

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def view_of(array: np.ndarray) -> View:
    return View(0, 0, array.dtype.name, array.shape, array.strides)


@given(shapes, st.randoms(use_true_random=False))
def test_row_major_and_ordered_are_numpys(shape, random):
    assert row_major(shape, 4) == np.empty(shape, np.float32).strides
    order = list(range(len(shape)))
    random.shuffle(order)
    dense = np.empty([shape[a] for a in order], np.float32)
    inverse = np.argsort(order)
    assert ordered(shape, order, 4) == dense.transpose(inverse).strides


@given(shapes, st.randoms(use_true_random=False))
def test_a_free_reshape_reads_the_same_elements(shape, random):
    base = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    order = list(range(len(shape)))
    random.shuffle(order)
    array = base.transpose(order)
    flat = [n for n in array.shape for n in factors(n, random)] or [1]
    random.shuffle(flat)
    new = tuple(flat)
    found = view_of(array).reshape(new)
    if found is not None:
        strided = np.lib.stride_tricks.as_strided(base, new, found.strides)
        np.testing.assert_array_equal(strided, array.reshape(new))
    elif array.flags.c_contiguous:
        raise AssertionError("a contiguous tensor always reshapes freely")


def factors(n: int, random) -> list[int]:
    return [2, n // 2] if n % 2 == 0 and random.random() < 0.5 else [n]


def test_order_of_channels_last():
    view = View(0, 0, "float32", (2, 8, 5, 7), ordered((2, 8, 5, 7), (0, 2, 3, 1), 4))
    assert view.order() == (0, 2, 3, 1)
    assert View(0, 0, "float32", (1, 8, 1, 1), ordered((1, 8, 1, 1), (0, 2, 3, 1), 4)).is_row_major()


def test_part_and_broadcast():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    part = view_of(array).part(2, 3, 2, -2)
    assert part.offset == 12
    assert part.shape == (2, 3, 2)
    assert part.strides[2] == -8
    assert view_of(array[:, :1]).broadcast((5, 2, 3, 4)).strides == (0, *array[:, :1].strides[:1], 0, 4)
