"""Coding of weights: from float32 to what is stored (integers with scales, or indices into codebooks), and back."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from planish.compress.graph import Layout
from planish.compress.recipe import Weights

#: Largest magnitude of a symmetric integer weight. -128, -8 are left out so that the range is symmetric; int2 uses all.
_MOST = {8: 127, 4: 7, 2: 1}
_LEAST = {8: -127, 4: -8, 2: -2}
#: Scales that are tried for low-bit weights, as fractions of the one that clips nothing.
_SHRINKS = np.linspace(1.0, 0.5, 26)
#: The scale of weights that are all zero: with it any usual bias fits int32.
_IDLE_SCALE = np.float32(2.0**-7)
_LEAST_SCALE = np.float32(2.0**-60)


@dataclasses.dataclass
class CodedWeight:
    """A weight as stored, seen as W[N, K] (see `graph.Layout`).

    Exactly one of three: float `values`; int8-typed `values` with `scale`; `index` into `codebook`.
    """

    layout: Layout
    weights: Weights
    #: "element", or "1x4"/"16x4" where only whole blocks are non-zero and only those are stored.
    pattern: str = "element"
    #: float32[N, K], or int8[N, K] of which `weights.bits` are used.
    values: NDArray[np.float32] | NDArray[np.int8] | None = None
    #: uint8[N, K].
    index: NDArray[np.uint8] | None = None
    #: float32[G, 2^bits], or int8 where `scale` is given; G = 1 a tensor.
    codebook: NDArray[np.float32] | NDArray[np.int8] | None = None
    #: float32[N], or float32[N, blocks of K], positive and finite.
    scale: NDArray[np.float32] | None = None

    def decoded_matrix(self) -> NDArray[np.float32]:
        """float32[N, K]: the weights every runtime computes with."""
        if self.index is not None and self.codebook is not None:
            groups = self.codebook.shape[0]
            rows = np.repeat(np.arange(groups), self.layout.rows // groups)[:, np.newaxis]
            raw: NDArray[np.float32] | NDArray[np.int8] = self.codebook[rows, self.index]
        else:
            assert self.values is not None
            raw = self.values
        if self.scale is None:
            return raw.astype(np.float32)
        return (raw.astype(np.float32) * _spread(self.scale, self.weights.block, raw.shape[1])).astype(np.float32)

    def decoded(self) -> NDArray[np.float32]:
        """The weights in their stored layout."""
        return self.layout.stored(self.decoded_matrix())


def _spread(scale: NDArray[np.float32], block: int, columns: int) -> NDArray[np.float32]:
    """`scale` as something that broadcasts against [N, K]."""
    if scale.ndim == 1:
        return scale[:, np.newaxis]
    return np.repeat(scale, block, axis=1)[:, :columns]


def code_float(layout: Layout, matrix: NDArray[np.float32], pattern: str = "element") -> CodedWeight:
    """The weights as they are."""
    return CodedWeight(layout, Weights(), pattern, values=np.asarray(matrix, np.float32))


def code_integer(
    layout: Layout, matrix: NDArray[np.float32], weights: Weights, pattern: str = "element"
) -> CodedWeight:
    """Symmetric integers with a scale an output channel, or for every `weights.block` inputs of one.

    8 bits clip nothing; fewer bits take the scale of least squared error. A block as long as K is an output channel.
    """
    if not weights.block or weights.block >= matrix.shape[1]:
        weights = dataclasses.replace(weights, block=0)
        values, scale = _round_to_scale(matrix, weights.bits)
        return CodedWeight(layout, weights, pattern, values=values, scale=scale)
    rows, columns = matrix.shape
    blocks = -(-columns // weights.block)
    padded = np.zeros((rows, blocks * weights.block), np.float32)
    padded[:, :columns] = matrix
    flat, flat_scale = _round_to_scale(padded.reshape(-1, weights.block), weights.bits)
    values = np.ascontiguousarray(flat.reshape(rows, -1)[:, :columns])
    return CodedWeight(layout, weights, pattern, values=values, scale=flat_scale.reshape(rows, blocks))


def _round_to_scale(rows: NDArray[np.float32], bits: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Each row as integers times a scale of its own."""
    most, least = _MOST[bits], _LEAST[bits]
    peak = np.abs(rows).max(axis=1)
    full = np.where(peak > 0, np.maximum((peak / np.float32(most)).astype(np.float32), _LEAST_SCALE), _IDLE_SCALE)
    best_scale = full.astype(np.float32)
    best = _clip_round(rows, best_scale, least, most)
    if bits == 8:
        return best, best_scale
    best_error = _row_error(rows, best, best_scale)
    for shrink in _SHRINKS[1:]:
        scale = np.maximum((full * shrink).astype(np.float32), _LEAST_SCALE)
        values = _clip_round(rows, scale, least, most)
        error = _row_error(rows, values, scale)
        better = error < best_error
        best[better], best_scale[better], best_error[better] = values[better], scale[better], error[better]
    return best, best_scale


def _clip_round(rows: NDArray[np.float32], scale: NDArray[np.float32], least: int, most: int) -> NDArray[np.int8]:
    values: NDArray[np.int8] = np.clip(np.rint(rows / scale[:, np.newaxis]), least, most).astype(np.int8)
    return values


def _row_error(rows: NDArray[np.float32], values: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.floating]:
    return np.asarray(np.square(values * scale[:, np.newaxis] - rows).sum(axis=1))


def widen_scales(coded: CodedWeight, matrix: NDArray[np.float32], least: NDArray[np.floating]) -> CodedWeight:
    """`coded`, 8-bit integers with a scale an output channel, with scales of at least `least`, float[N]."""
    assert coded.scale is not None
    scale = np.minimum(np.maximum(coded.scale, least), np.finfo(np.float32).max / 256).astype(np.float32)
    values = _clip_round(matrix, scale, _LEAST[8], _MOST[8])
    return dataclasses.replace(coded, values=values, scale=scale)


def code_codebook(
    layout: Layout, matrix: NDArray[np.float32], weights: Weights, pattern: str = "element", integer: bool = False
) -> CodedWeight:
    """Indices into codebooks at the global one-dimensional k-means optimum, one codebook a group of output channels.

    Where `matrix` has zeros made by pruning, entry 0 of each codebook is exactly 0 and every zero maps to it.
    `integer`: the codebooks hold int8, with one scale a group, for integer arithmetic.
    """
    rows, columns = matrix.shape
    groups = _group_count(rows, weights.group)
    entries = 2**weights.bits
    pruned = bool((matrix == 0.0).mean() > 0.05) or pattern != "element"
    codebook = np.zeros((groups, entries), np.float32)
    index = np.zeros((groups, rows // groups * columns), np.uint8)
    for group, values in enumerate(matrix.reshape(groups, -1)):
        codebook[group], index[group] = _cluster(values, entries, pruned)
    coded = CodedWeight(layout, weights, pattern, index=index.reshape(rows, columns), codebook=codebook)
    return _with_integer_codebook(coded) if integer else coded


def _group_count(rows: int, group: int) -> int:
    """How many groups of at most `group` rows, all alike, `rows` fall into."""
    if not group:
        return 1
    size = max(size for size in range(1, min(group, rows) + 1) if rows % size == 0)
    return rows // size


def _cluster(values: NDArray[np.float32], entries: int, pruned: bool) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A codebook of `entries` and each value's index; with `pruned`, entry 0 is 0 and holds exactly the zeros."""
    from planish._core import kmeans1d

    kept = values != 0.0 if pruned else np.ones(values.shape, bool)
    codebook, index = np.zeros(entries, np.float32), np.zeros(values.shape, np.uint8)
    if kept.any():
        first = int(pruned)
        centroids, boundaries = kmeans1d(np.ascontiguousarray(values[kept]), entries - first)
        codebook[first:] = centroids
        index[kept] = np.searchsorted(boundaries, values[kept], side="right") + first
    return codebook, index


def _with_integer_codebook(coded: CodedWeight) -> CodedWeight:
    """The same with int8 entries and a scale an output channel, equal within a group."""
    assert coded.codebook is not None
    values, scale = _round_to_scale(np.asarray(coded.codebook, np.float32), 8)
    per_row = np.repeat(scale, coded.layout.rows // len(scale))
    return dataclasses.replace(coded, codebook=values, scale=per_row)
