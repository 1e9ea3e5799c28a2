"""What gemm, conv and dwconv mean, in NumPy; shared by their tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planish import _core

Array = NDArray[Any]


def usable_kernels(family: str, lhs: str) -> list[str]:
    """Names of the family's kernels that run on this machine for `lhs` ("f32" or "u8"), the reference included."""
    usable = set(_core.usable_isas())
    names = [k[1] for k in _core.kernels() if k[0] == family and k[2] in usable]
    return [n for n in names if n == "reference" or n.startswith(lhs)]


def weight_limit(kernel: str) -> int:
    """The largest |weight| for which an integer kernel is exact: some take only pairs that cannot saturate 16 bits."""
    return 64 if kernel.endswith("_pairs") else 128


def requantize(v: Array, low: int, high: int, zero: int) -> Array:
    """uint8 of float32 `v`: clamp, round half to even, add the zero point."""
    clamped = np.minimum(np.maximum(np.nan_to_num(v, nan=-np.inf), np.float32(low - zero)), np.float32(high - zero))
    return (np.rint(clamped).astype(np.int64) + zero).astype(np.uint8)


def wrap32(v: Array) -> Array:
    """int64 modulo 2**32, as int32."""
    return (v & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def windows(x: Array, out: tuple[int, ...], attrs: dict[str, Any], fill: float) -> Array:
    """The rows [B, o..., taps, C] that every pixel of a convolution reads, padding replaced by `fill`."""
    spatial = x.ndim - 2
    kernel = tuple(attrs.get("kernel", [1] * spatial))
    strides = attrs.get("strides", [1] * spatial)
    dilations = attrs.get("dilations", [1] * spatial)
    pads = attrs.get("pads", [0] * (2 * spatial))
    index, valid = [], []
    for d in range(spatial):
        o, k = np.arange(out[d])[:, None], np.arange(kernel[d])[None, :]
        if attrs.get("transposed", 0):
            i, rest = np.divmod(o + pads[d] - k * dilations[d], strides[d])
            good = rest == 0
        else:
            i = o * strides[d] - pads[d] + k * dilations[d]
            good = np.ones_like(i, dtype=bool)
        good &= (i >= 0) & (i < x.shape[1 + d])
        index.append(np.where(good, i, 0))
        valid.append(good)
    shape_of = [
        tuple(out[d] if j == d else 1 for j in range(spatial))
        + tuple(kernel[d] if j == d else 1 for j in range(spatial))
        for d in range(spatial)
    ]
    where = [index[d].reshape(shape_of[d]) for d in range(spatial)]
    mask = np.ones(out[:spatial] + kernel, dtype=bool)
    for d in range(spatial):
        mask &= valid[d].reshape(shape_of[d])
    rows = x[(slice(None), *where)]
    rows = np.where(mask[None, ..., None], rows, np.asarray(fill, dtype=x.dtype))
    return rows.reshape(x.shape[0], *out, -1, x.shape[-1])


def sums(rows: Array, w: Array, groups: int) -> Array:
    """Σ rows[..., taps, C] · w[N, taps, C/groups], in float64 or int64."""
    wide = np.float64 if rows.dtype == np.float32 else np.int64
    depth, per_group = w.shape[2], w.shape[0] // groups
    parts = []
    for g in range(groups):
        x = rows[..., g * depth : (g + 1) * depth].astype(wide)
        parts.append(
            np.einsum("...tk,ntk->...n", x, w[g * per_group : (g + 1) * per_group].astype(wide), optimize=True)
        )
    return np.concatenate(parts, axis=-1)
