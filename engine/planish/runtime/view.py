"""Views: how a tensor lies in a buffer of a Program. Strides are in bytes; many shape operators are free on them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from planish import _core
from planish.errors import ModelError

CODES: dict[str, int] = {name: i for i, name in enumerate(_core.DTYPES)}
ITEM_SIZES: dict[str, int] = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2,
    "uint32": 4, "int32": 4, "uint64": 8, "int64": 8, "bool": 1,
    "float8_e4m3fn": 1, "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "float4_e2m1fn": 1, "int4": 1, "uint4": 1, "int2": 1, "uint2": 1,
}  # fmt: skip


@functools.cache
def dtype_name(dtype: np.dtype[Any]) -> str:
    """`dtype.name`, which NumPy puts together anew each time."""
    return dtype.name


@functools.cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The dtype of arrays of a native element type; those that NumPy lacks are ml_dtypes', imported when first met."""
    try:
        return np.dtype(name)
    except TypeError:
        pass
    try:
        import ml_dtypes
    except ImportError:
        raise ModelError(f"arrays of {name}: NumPy has no such type; install ml_dtypes, which has") from None
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype


class View:
    """`shape` elements of `dtype` in buffer number `buffer`, from byte `offset` on, `strides` bytes apart."""

    __slots__ = ("buffer", "dtype", "offset", "shape", "strides")

    def __init__(self, buffer: int, offset: int, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.buffer = buffer
        self.offset = offset
        self.dtype = dtype
        self.shape = shape
        self.strides = strides

    def pack(self) -> tuple[int, int, int, tuple[int, ...], tuple[int, ...]]:
        """The form that `_core.Program.add` takes."""
        return self.buffer, self.offset, CODES[self.dtype], self.shape, self.strides

    @property
    def itemsize(self) -> int:
        return ITEM_SIZES[self.dtype]

    def permute(self, axes: Sequence[int]) -> View:
        return View(
            self.buffer,
            self.offset,
            self.dtype,
            tuple(self.shape[a] for a in axes),
            tuple(self.strides[a] for a in axes),
        )

    def cast_bytes(self, dtype: str) -> View:
        """The same bytes under another dtype of the same size."""
        return View(self.buffer, self.offset, dtype, self.shape, self.strides)

    def unsqueezed(self) -> View:
        """With a first axis of size one."""
        return View(self.buffer, self.offset, self.dtype, (1, *self.shape), (self.itemsize, *self.strides))

    def part(self, axis: int, start: int, size: int, step: int = 1) -> View:
        """Elements start, start+step, … (`size` of them) along one axis."""
        shape, strides = list(self.shape), list(self.strides)
        offset = self.offset + (start * strides[axis] if size and 0 not in shape else 0)
        shape[axis] = size
        strides[axis] *= step if size > 1 else 1  # a step from one element to none may be of any length
        return View(self.buffer, offset, self.dtype, tuple(shape), tuple(strides))

    def broadcast(self, shape: tuple[int, ...]) -> View:
        """Under NumPy's broadcasting rules, by zero strides."""
        if shape == self.shape:
            return self
        lead = len(shape) - len(self.shape)
        strides = (0,) * lead + tuple(
            0 if have == 1 and want != 1 else stride
            for have, want, stride in zip(self.shape, shape[lead:], self.strides, strict=True)
        )
        return View(self.buffer, self.offset, self.dtype, shape, strides)

    def reshape(self, shape: tuple[int, ...]) -> View | None:
        """The same elements in row-major order under another shape, or None where that needs a copy."""
        strides = reshaped_strides(self.shape, self.strides, shape, self.itemsize)
        return None if strides is None else View(self.buffer, self.offset, self.dtype, shape, strides)

    def order(self) -> tuple[int, ...]:
        """Axes from the outermost in memory to the innermost; ties and axes of size one keep their place."""
        strides = list(self.strides)
        for i in range(len(strides) - 1, -1, -1):  # an axis of size one sits where row-major order would have it
            if self.shape[i] == 1:
                strides[i] = strides[i + 1] * max(1, self.shape[i + 1]) if i + 1 < len(strides) else self.itemsize
        return tuple(sorted(range(len(strides)), key=lambda a: -abs(strides[a])))

    def is_row_major(self) -> bool:
        return all(
            size == 1 or have == want
            for size, have, want in zip(self.shape, self.strides, row_major(self.shape, self.itemsize), strict=True)
        )


def row_major(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Byte strides of a C-contiguous tensor."""
    strides, pitch = [], itemsize
    for size in reversed(shape):
        strides.append(pitch)
        pitch *= max(1, size)
    return tuple(reversed(strides))


def ordered(shape: Sequence[int], order: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Byte strides of a dense tensor whose axes lie in memory in the given order, outermost first."""
    strides, pitch = [0] * len(shape), itemsize
    for axis in reversed(order):
        strides[axis] = pitch
        pitch *= max(1, shape[axis])
    return tuple(strides)


def channels_last(rank: int) -> tuple[int, ...]:
    """The axis order N, spatial…, C of a tensor with logical axes N, C, spatial…"""
    return (0, *range(2, rank), 1)


def reshaped_strides(
    old: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...], itemsize: int
) -> tuple[int, ...] | None:
    """Strides of a reshape without a copy, or None. Groups of old axes that are mutually contiguous are re-cut."""
    if prod(old) == 0:
        return row_major(new, itemsize)
    kept = [(n, s) for n, s in zip(old, strides, strict=True) if n != 1]
    result: list[int] = []
    i, available, pitch = 0, 1, itemsize
    # Walk from the innermost axis: `available` elements, `pitch` bytes apart, are left of the current contiguous group.
    kept.reverse()
    for size in reversed(new):
        if size == 1:
            result.append(pitch)
            continue
        if available == 1:
            if i == len(kept):
                return None
            available, pitch = kept[i]
            i += 1
        while available % size:
            if i == len(kept) or kept[i][1] != pitch * available:
                return None
            available *= kept[i][0]
            i += 1
        result.append(pitch)
        pitch *= size
        available //= size
    return tuple(reversed(result)) if available == 1 and i == len(kept) else None


def elements(shape: Sequence[int]) -> int:
    return prod(shape)
