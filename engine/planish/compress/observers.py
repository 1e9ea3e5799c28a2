"""Streaming statistics of tensors. Their memory does not depend on how many samples they see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planish.errors import CalibrationError

#: Bins of a histogram on each side of zero; a power of two.
HALF_BINS = 8192
#: Values that are counted at a time, so that the temporaries stay in the cache.
_CHUNK = 1 << 16
#: The least exponent of a bin's width; its reciprocal is a float32 number.
_LEAST_EXPONENT = -120


class RangeObserver:
    """The least and greatest value of a stream."""

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf

    def update(self, name: str, values: NDArray[np.floating]) -> None:
        """Take in `values` of tensor `name`. Raises CalibrationError if one is NaN or infinite."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise CalibrationError(f"tensor '{name}': is NaN or infinite on the calibration data; remove those samples")
        self.low = min(self.low, low)
        self.high = max(self.high, high)


class HistogramObserver(RangeObserver):
    """Counts over equal bins around zero whose width is a power of two.

    When a value falls outside, the width doubles and neighbouring bins are merged. Bins nest, so the final counts
    depend neither on the order of the samples nor on how they were batched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: NDArray[np.int64] = np.zeros(2 * HALF_BINS, np.int64)
        self._exponent: int | None = None

    def update(self, name: str, values: NDArray[np.floating]) -> None:
        super().update(name, values)
        if values.size == 0:
            return
        self._widen(max(-self.low, self.high))
        flat = np.asarray(values, np.float32).reshape(-1)
        bins_per_unit = np.float32(np.ldexp(1.0, -(self._exponent or 0)))
        for start in range(0, flat.size, _CHUNK):
            index = np.floor(flat[start : start + _CHUNK] * bins_per_unit).astype(np.int64)
            index += HALF_BINS
            self.counts += np.bincount(index, minlength=2 * HALF_BINS)

    def merge(self, other: HistogramObserver) -> None:
        """Take in everything `other` has seen; `other` may be widened, which loses nothing that counts here."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        peak = max(-self.low, self.high)
        self._widen(peak)
        other._widen(peak)
        self.counts = self.counts + other.counts

    @property
    def width(self) -> float:
        """The width of a bin."""
        return float(np.ldexp(1.0, self._exponent or 0))

    def occupied(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Representative values and counts of the bins that are not empty; the bin from zero up stands for zero."""
        places = np.flatnonzero(self.counts)
        index = places - HALF_BINS
        centres = np.where(index == 0, 0.0, (index + 0.5) * self.width)
        return np.clip(centres, self.low, self.high), self.counts[places]

    def _widen(self, peak: float) -> None:
        """Make the bins wide enough for magnitudes up to `peak`."""
        if not np.isfinite(peak) or peak == 0.0:
            return
        needed = max(int(np.frexp(peak)[1]) - int(np.log2(HALF_BINS)), _LEAST_EXPONENT)
        if self._exponent is None:
            self._exponent = needed
            if self.counts.any():
                zeros = int(self.counts.sum())
                self.counts[:] = 0
                self.counts[HALF_BINS] = zeros
            return
        steps = needed - self._exponent
        while steps > 0 and self._exponent < needed:
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.zeros_like(self.counts)
            self.counts[HALF_BINS // 2 : HALF_BINS // 2 + HALF_BINS] = merged
            self._exponent += 1


class ChannelMoments:
    """Mean and root mean square of each channel of a stream, and how many values each saw."""

    def __init__(self, axis: int) -> None:
        """`axis`: the axis of the channels."""
        self.axis = axis
        self.count = 0
        self._sum: NDArray[np.float64] = np.zeros(0)
        self._squares: NDArray[np.float64] = np.zeros(0)

    def update(self, name: str, values: NDArray[np.floating]) -> None:
        """Take in `values` of tensor `name`. Raises CalibrationError if one is NaN or infinite."""
        axis = self.axis % values.ndim
        others = tuple(other for other in range(values.ndim) if other != axis)
        total = values.sum(others, dtype=np.float64)
        squares = np.square(values, dtype=values.dtype).sum(others, dtype=np.float64)
        if not np.isfinite(squares).all():
            raise CalibrationError(f"tensor '{name}': is NaN or infinite on the calibration data; remove those samples")
        if self.count == 0:
            self._sum, self._squares = np.zeros_like(total), np.zeros_like(squares)
        self._sum += total
        self._squares += squares
        self.count += values.size // values.shape[axis]

    @property
    def mean(self) -> NDArray[np.float64]:
        return self._sum / max(self.count, 1)

    @property
    def rms(self) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(self._squares / max(self.count, 1)), np.float64)


class SignalToNoise:
    """The ratio of a reference's power to the power of the differences from it."""

    def __init__(self) -> None:
        self._signal = 0.0
        self._noise = 0.0

    def update(self, reference: NDArray[np.floating], other: NDArray[np.floating]) -> None:
        exact = reference.astype(np.float64)
        self._signal += float(np.square(exact).sum())
        self._noise += float(np.square(exact - other).sum())

    @property
    def decibels(self) -> float:
        """SQNR in dB; infinite where the two are equal."""
        if self._noise == 0.0:
            return float("inf")
        if self._signal == 0.0:
            return float("-inf")
        return float(10.0 * np.log10(self._signal / self._noise))


def sqnr(reference: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """SQNR in dB of `other` against `reference`."""
    ratio = SignalToNoise()
    ratio.update(reference, other)
    return ratio.decibels
