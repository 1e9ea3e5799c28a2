"""From statistics to scales: the range a quantized tensor covers, and its parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from planish.compress.observers import HistogramObserver, RangeObserver

METHODS = ("minmax", "percentile", "entropy", "mse")

#: Levels of an 8-bit type.
LEVELS = 256
#: The least scale: its reciprocal and its products with other scales stay normal float32 numbers.
_LEAST_SCALE = np.float32(2.0**-60)


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Per-tensor parameters of an activation: real = (q - zero_point) * scale; q is uint8 or int8."""

    scale: np.float32
    zero_point: int
    dtype: str

    @property
    def limits(self) -> tuple[int, int]:
        return (0, 255) if self.dtype == "uint8" else (-128, 127)

    @property
    def range(self) -> tuple[float, float]:
        """The least and greatest real value that can be represented."""
        low, high = self.limits
        return (low - self.zero_point) * float(self.scale), (high - self.zero_point) * float(self.scale)

    def clipped(self, observer: RangeObserver) -> float:
        """The fraction of observed values outside the range by more than half a step; 0 without a histogram."""
        if not isinstance(observer, HistogramObserver):
            return 0.0
        values, counts = observer.occupied()
        low, high = self.range
        half = 0.5 * float(self.scale)
        outside = (values < low - half) | (values > high + half)
        return float(counts[outside].sum() / max(counts.sum(), 1))


def asymmetric(low: float, high: float, dtype: str = "uint8") -> Quantization:
    """Parameters whose range covers [low, high] and zero, zero being exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(np.float32((high - low) / (LEVELS - 1)), _LEAST_SCALE) if high > low else np.float32(1.0)
    least = 0 if dtype == "uint8" else -128
    zero_point = int(np.clip(np.rint(least - low / float(scale)), least, least + LEVELS - 1))
    return Quantization(np.float32(scale), zero_point, dtype)


def choose_range(observer: RangeObserver, method: str, percentile: float = 99.99) -> tuple[float, float]:
    """The range [low, high] that `method` picks for what `observer` has seen; it contains zero.

    `percentile` is in per cent of all values; the rest is cut off in equal parts at both ends.
    """
    low, high = min(observer.low, 0.0), max(observer.high, 0.0)
    if method == "minmax" or not isinstance(observer, HistogramObserver) or high == low:
        return low, high
    values, counts = observer.occupied()
    if method == "percentile":
        return _percentile(values, counts, percentile)
    if method == "mse":
        return _least_error(values, counts, low, high)
    return _least_divergence(values, counts, low, high)


def _percentile(values: NDArray[np.float64], counts: NDArray[np.int64], percentile: float) -> tuple[float, float]:
    cumulative = np.cumsum(counts)
    tail = (1.0 - percentile / 100.0) / 2.0 * cumulative[-1]
    low = values[np.searchsorted(cumulative, tail, side="right")]
    high = values[min(np.searchsorted(cumulative, cumulative[-1] - tail), len(values) - 1)]
    return min(float(low), 0.0), max(float(high), 0.0)


def _least_error(
    values: NDArray[np.float64], counts: NDArray[np.int64], low: float, high: float
) -> tuple[float, float]:
    """The range of least mean squared error, by shrinking one end at a time."""

    def error(low: float, high: float) -> float:
        quantization = asymmetric(low, high)
        least, greatest = quantization.limits
        scale = float(quantization.scale)
        steps = np.clip(np.rint(values / scale) + quantization.zero_point, least, greatest)
        return float(counts @ np.square((steps - quantization.zero_point) * scale - values))

    factors = np.linspace(1.0, 0.2, 81)
    for _ in range(2 if low < 0.0 < high else 1):
        if high > 0.0:
            high = high * factors[int(np.argmin([error(low, high * factor) for factor in factors]))]
        if low < 0.0:
            low = low * factors[int(np.argmin([error(low * factor, high) for factor in factors]))]
    return low, high


def _least_divergence(
    values: NDArray[np.float64], counts: NDArray[np.int64], low: float, high: float
) -> tuple[float, float]:
    """The range whose quantized distribution diverges least (Kullback-Leibler) from the observed one.

    Zeros are left out: they are represented exactly whatever the range.
    """
    values, counts = values[values != 0.0], counts[values != 0.0]

    def divergence(factor: float) -> float:
        quantization = asymmetric(low * factor, high * factor)
        least, greatest = quantization.limits
        scale = float(quantization.scale)
        inside = np.clip(values, *quantization.range)
        level = (np.clip(np.rint(inside / scale) + quantization.zero_point, least, greatest) - least).astype(np.int64)
        kept = (values >= low * factor) & (values <= high * factor)
        mass = np.bincount(level[kept], counts[kept], minlength=LEVELS)
        bins = np.bincount(level[kept], minlength=LEVELS)
        spread = np.divide(mass, bins, out=np.zeros(LEVELS), where=bins > 0)[level]
        observed = np.where(kept, counts, 0).astype(np.float64)
        for edge, outside in ((0, values < low * factor), (-1, values > high * factor)):
            observed[np.flatnonzero(kept)[edge]] += counts[outside].sum()
        p, q = observed[kept] / observed.sum(), spread[kept] / max(spread[kept].sum(), 1e-300)
        return float((p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-12))).sum())

    factors = np.linspace(1.0, 0.2, 81)
    best = factors[int(np.argmin([divergence(factor) for factor in factors]))]
    return low * float(best), high * float(best)
