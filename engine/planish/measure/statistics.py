"""Statistics of a measurement: percentiles, a median with its interval, agreement of outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median and the order statistics that bracket the true median with the probability `coverage`."""

    median: float
    low: float
    high: float
    coverage: float


def median_interval(values: Sequence[float]) -> Interval:
    """The median of independent values with its distribution-free interval, at 95 % or more from 6 values on.

    The true median lies between the k-th smallest and the k-th largest of n values with probability
    1 - 2·P(Binomial(n, 1/2) < k); the largest k with at least 95 % is taken, or k = 1 where none has.
    """
    ordered = sorted(values)
    n = len(ordered)
    tail, k = 0.5**n, 1
    while k < n // 2 and 1 - 2 * (wider := tail + math.comb(n, k) * 0.5**n) >= _CONFIDENCE:
        tail, k = wider, k + 1
    return Interval(float(np.median(ordered)), ordered[k - 1], ordered[n - k], max(0.0, 1 - 2 * tail))


@dataclass(frozen=True)
class Agreement:
    """How near outputs are to a reference's, at worst over all outputs and feeds.

    `error` is max|y−r| / max|r|; `cosine` the cosine of the flattened outputs; `top1` the share of rows whose largest
    element has the same place, over the outputs of two or more dimensions; None without such outputs.
    """

    identical: bool
    error: float
    cosine: float
    top1: float | None


def agreement(outputs: Sequence[Sequence[Array]], reference: Sequence[Sequence[Array]]) -> Agreement:
    """Compare outputs[feed][output] with a reference of the same shapes; error and cosine over finite elements."""
    identical, error, cosine, same, rows = True, 0.0, 1.0, 0, 0
    for ours, theirs in zip(outputs, reference, strict=True):
        for y, r in zip(ours, theirs, strict=True):
            identical &= y.tobytes() == r.tobytes()
            if not y.size:
                continue
            finite = np.isfinite(y) & np.isfinite(r)
            a, b = y[finite].astype(np.float64), r[finite].astype(np.float64)
            error = max(error, _relative_error(a, b))
            cosine = min(cosine, _cosine(a, b))
            if y.ndim >= 2 and y.shape[-1] > 1:
                same += int(np.sum(y.argmax(-1) == r.argmax(-1)))
                rows += y.size // y.shape[-1]
    return Agreement(identical, error, cosine, same / rows if rows else None)


def _relative_error(a: Array, b: Array) -> float:
    if not a.size:
        return 0.0
    return float(np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny))


def _cosine(a: Array, b: Array) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if lengths == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(np.clip(a @ b / lengths, -1.0, 1.0))
