"""Pruning: which weights become zero. Counts are exact, and ties fall to the lower index first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from planish.compress.graph import Layer, Layout
from planish.compress.recipe import Prune

#: Block patterns: outputs and consecutive inputs (of one tap) that are zero together.
BLOCKS: dict[str, tuple[int, int]] = {"1x4": (1, 4), "16x4": (16, 4)}

Matrix = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A layer that is to be pruned: its weight W[N, K] and what its pruning needs to know."""

    layer: Layer
    prune: Prune
    matrix: Matrix
    #: Root mean square of each input of each output, float64 broadcastable to [N, K]; None without data.
    norm: NDArray[np.float64] | None = None
    #: Factor on the scores where layers are ranked together.
    gain: float = 1.0
    seed: int = 0


def why_not(layer: Layer, pattern: str) -> str | None:
    """Why `pattern` does not fit the layer's shape; None where it does."""
    cin, rows = layer.layout.cin, layer.rows
    if pattern in BLOCKS:
        height, width = BLOCKS[pattern]
        if cin % width:
            return f"{pattern} needs inputs in multiples of {width}, not {cin}"
        if rows % height or (layer.groups > 1 and (rows // layer.groups) % height):
            return f"{pattern} needs outputs in multiples of {height}, not {rows // layer.groups}"
    elif ":" in pattern:
        width = int(pattern.split(":")[1])
        if cin % width:
            return f"{pattern} needs inputs in multiples of {width}, not {cin}"
    return None


def input_norm(layer: Layer, rms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The root mean square of the input that each weight of W[N, K] multiplies, from that of each input channel."""
    layout, groups = layer.layout, layer.groups
    taps = int(np.prod(layout.ordered[1:-1], dtype=np.int64))
    per_group = rms.reshape(groups, layout.cin)
    rows = np.repeat(per_group, layout.rows // groups, axis=0)
    return np.tile(rows, (1, taps))


def prune_layers(candidates: Sequence[Candidate], rate: float | None = None) -> dict[str, NDArray[np.bool_]]:
    """Which weights stay, bool[N, K] by layer name.

    `rate` stands in for `sparsity = "auto"`: one rate over all those layers, ranked by score times gain.
    """
    kept: dict[str, NDArray[np.bool_]] = {}
    together: list[Candidate] = []
    automatic: list[Candidate] = []
    for candidate in candidates:
        prune = candidate.prune
        if prune.n_of_m is not None or prune.threshold is not None:
            kept[candidate.layer.name] = _prune_alone(candidate)
        elif prune.sparsity == "auto":
            automatic.append(candidate)
        elif prune.scope == "global":
            together.append(candidate)
        else:
            kept.update(_prune_together([candidate], float(prune.sparsity or 0.0)))
    for sparsity in sorted({float(candidate.prune.sparsity or 0.0) for candidate in together}):
        members = [candidate for candidate in together if float(candidate.prune.sparsity or 0.0) == sparsity]
        kept.update(_prune_together(members, sparsity))
    if automatic:
        kept.update(_prune_together(automatic, 0.0 if rate is None else rate))
    return kept


def _prune_alone(candidate: Candidate) -> NDArray[np.bool_]:
    """N:M patterns and thresholds, which need no count."""
    scores, layout = _scores(candidate), candidate.layer.layout
    if candidate.prune.n_of_m is None:
        units = _unit_scores(scores, candidate.prune.pattern)
        return _spread(units >= (candidate.prune.threshold or 0.0), candidate.prune.pattern, layout)
    keep, width = candidate.prune.n_of_m
    runs = scores.reshape(-1, width)
    order = np.argsort(runs, axis=1, kind="stable")
    kept = np.ones(runs.shape, bool)
    np.put_along_axis(kept, order[:, : width - keep], False, axis=1)
    return kept.reshape(scores.shape)


def _prune_together(candidates: Sequence[Candidate], sparsity: float) -> dict[str, NDArray[np.bool_]]:
    """Exactly round(sparsity * weights) weights become zero over all `candidates`, in whole units of their patterns.

    With patterns of several sizes the units of least score per weight go first, while they fit.
    """
    units = [_unit_scores(_scores(c), c.prune.pattern).reshape(-1) * c.gain for c in candidates]
    sizes = [c.matrix.size // len(unit) for c, unit in zip(candidates, units, strict=True)]
    scores = np.concatenate(units)
    weight = np.repeat(sizes, [len(unit) for unit in units])
    budget = int(np.floor(sparsity * weight.sum() + 0.5))
    order = np.argsort(scores, kind="stable")
    spent = np.cumsum(weight[order])
    gone = np.zeros(len(scores), bool)
    gone[order[: int(np.searchsorted(spent, budget, side="right"))]] = True
    kept: dict[str, NDArray[np.bool_]] = {}
    start = 0
    for candidate, unit in zip(candidates, units, strict=True):
        alive = ~gone[start : start + len(unit)]
        shape = _unit_shape(candidate.matrix.shape, candidate.prune.pattern)
        kept[candidate.layer.name] = _spread(alive.reshape(shape), candidate.prune.pattern, candidate.layer.layout)
        start += len(unit)
    return kept


def _scores(candidate: Candidate) -> NDArray[np.float64]:
    """The score of each weight, float64[N, K]; the least go first."""
    if candidate.prune.score == "random":
        return np.random.default_rng(candidate.seed).random(candidate.matrix.shape)
    scores = np.abs(candidate.matrix).astype(np.float64)
    if candidate.prune.score == "magnitude*norm" and candidate.norm is not None:
        scores = scores * candidate.norm
    return scores


def _unit_shape(shape: tuple[int, ...], pattern: str) -> tuple[int, int]:
    height, width = BLOCKS.get(pattern, (1, 1))
    return shape[0] // height, shape[1] // width


def _unit_scores(scores: NDArray[np.float64], pattern: str) -> NDArray[np.float64]:
    """Root mean square of the scores in each unit of the pattern."""
    height, width = BLOCKS.get(pattern, (1, 1))
    if height == width == 1:
        return scores
    rows, columns = _unit_shape(scores.shape, pattern)
    split = scores.reshape(rows, height, columns, width)
    return np.asarray(np.sqrt(np.square(split).mean(axis=(1, 3))), np.float64)


def _spread(units: NDArray[np.bool_], pattern: str, layout: Layout) -> NDArray[np.bool_]:
    """A decision a unit as a decision a weight, bool[N, K]."""
    height, width = BLOCKS.get(pattern, (1, 1))
    return np.repeat(np.repeat(units, height, axis=0), width, axis=1).reshape(layout.rows, -1)


def sparsity_of(weights: Mapping[str, Matrix]) -> float:
    """The fraction of zeros over all `weights`."""
    total = sum(matrix.size for matrix in weights.values())
    zeros = sum(int(np.count_nonzero(matrix == 0)) for matrix in weights.values())
    return zeros / max(total, 1)
