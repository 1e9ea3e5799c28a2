"""Inputs for a session of unknown intentions: arrays that its ports accept, small."""

from __future__ import annotations

import numpy as np

import planish
from tests.fuzz.case import Rng, chance, pick
from tests.fuzz.generate import Array

_MOST_ELEMENTS = 1 << 14
_SPECIAL = (float("nan"), float("inf"), float("-inf"), 3e38, 1e-45, -0.0)


def feeds_for(session: planish.InferenceSession, rng: Rng) -> dict[str, Array] | None:
    """One array an input, of its declared shape with small numbers for unknown dimensions; None for large or strange
    ones."""
    symbols: dict[str, int] = {}
    feeds = {}
    for port in session.lowered.inputs:
        dims = []
        for d in port.shape if port.shape is not None else (2,) * int(rng.integers(0, 5)):
            size = int(pick(rng, (1, 2, 3, 4, 5, 8)))
            dims.append(d if isinstance(d, int) else symbols.setdefault(d, size) if isinstance(d, str) else size)
        if any(d < 0 or d > _MOST_ELEMENTS for d in dims) or np.prod(dims, dtype=float) > _MOST_ELEMENTS:
            return None
        array = numbers(rng, port.dtype, dims)
        if array is None:
            return None
        feeds[port.name] = array
    return feeds


def numbers(rng: Rng, dtype: str, dims: list[int]) -> Array | None:
    """Random elements; now and then what makes trouble. None for types that are not numbers."""
    if dtype == "bool":
        return np.asarray(rng.random(dims) < 0.5)
    if dtype not in np.sctypeDict or np.dtype(dtype).kind not in "iuf":
        return None
    kind = np.dtype(dtype).kind
    if chance(rng, 0.1):
        info = np.finfo(dtype) if kind == "f" else np.iinfo(dtype)
        special = (*_SPECIAL, 0.0) if kind == "f" else (info.min, info.max, 0, 1)
        with np.errstate(all="ignore"):
            return np.asarray(rng.choice(np.asarray(special, dtype), dims), dtype)
    if kind == "f":
        return np.asarray(rng.standard_normal(dims), dtype)
    return np.asarray(rng.integers(0 if kind == "u" else -3, 6, dims), dtype)
