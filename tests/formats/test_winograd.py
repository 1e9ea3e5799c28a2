"""Packed weights of family winograd: the documented transform and index equation, sizes, refusals, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from planish import _core
from planish.errors import PlanishError
from planish.lowering.winograd import restored_floats, restored_integers

Array = NDArray[Any]
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
SHAPES = [(5, 9, 7), (16, 9, 8), (33, 9, 1), (1, 9, 2)]


def transformed(w: Array) -> Array:
    """G g Gᵀ of windows [N, 9, C], as [16, N, C]."""
    windows = w.astype(np.float64).reshape(len(w), 3, 3, -1)
    return np.einsum("ia,nabc,jb->ijnc", G, windows, G).reshape(16, len(w), -1)


@pytest.mark.parametrize("shape", SHAPES)
def test_floats(shape: tuple[int, ...]) -> None:
    n, _, c = shape
    w = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    packed = _core.pack_winograd_f32(w)
    panels = np.frombuffer(packed, np.float32).reshape(16, -(-n // 16), c, 16)
    flat = panels.transpose(0, 1, 3, 2).reshape(16, -1, c)
    np.testing.assert_allclose(flat[:, :n], transformed(w), rtol=0, atol=1e-6)
    assert not flat[:, n:].any()
    np.testing.assert_allclose(restored_floats(packed, n, c), w, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_integers(shape: tuple[int, ...]) -> None:
    n, _, c = shape
    w = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    packed = _core.pack_winograd_s16(w)
    panels = np.frombuffer(packed, np.int16).reshape(16, -(-n // 16), -(-c // 2), 16, 2)
    flat = panels.transpose(0, 1, 3, 2, 4).reshape(16, -1, c + c % 2)
    np.testing.assert_array_equal(flat[:, :n, :c], 4 * transformed(w))
    assert not flat[:, n:].any()
    assert not flat[:, :, c:].any()
    np.testing.assert_array_equal(restored_integers(packed, n, c), w)


@pytest.mark.parametrize("shape", [(4, 9), (4, 8, 3), (0, 9, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PlanishError):
        _core.pack_winograd_f32(np.zeros(shape, np.float32))
    with pytest.raises(PlanishError):
        _core.pack_winograd_s16(np.zeros(shape, np.int8))
