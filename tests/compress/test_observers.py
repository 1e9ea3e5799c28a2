"""Streaming statistics, and the ranges chosen from them."""

from __future__ import annotations

import numpy as np
import pytest

from planish.compress.observers import ChannelMoments, HistogramObserver, RangeObserver, sqnr
from planish.compress.ranges import METHODS, asymmetric, choose_range
from planish.errors import CalibrationError


def observed(values: np.ndarray, chunks: int = 1) -> HistogramObserver:
    observer = HistogramObserver()
    for part in np.array_split(values, chunks):
        observer.update("t", part)
    return observer


def test_histogram_does_not_depend_on_order_or_batches() -> None:
    values = (np.random.default_rng(0).standard_normal(10_000) ** 3).astype(np.float32)
    one, many = observed(values), observed(np.sort(values), 97)
    np.testing.assert_array_equal(one.counts, many.counts)
    assert (one.low, one.high, one.width) == (many.low, many.high, many.width)


def test_histogram_memory_is_constant() -> None:
    observer = observed(np.linspace(-1, 1, 100, dtype=np.float32))
    size = observer.counts.nbytes
    observer.update("t", np.linspace(-1e6, 1e6, 100_000, dtype=np.float32))
    assert observer.counts.nbytes == size
    assert observer.counts.sum() == 100_100


def test_zeros_first_then_values() -> None:
    observer = observed(np.zeros(5, np.float32))
    observer.update("t", np.array([0.25, 3.0], np.float32))
    values, counts = observer.occupied()
    assert counts[values == 0.0] == 5
    assert counts.sum() == 7


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [RangeObserver, HistogramObserver, lambda: ChannelMoments(0)])
def test_not_finite_is_an_error(make: type, bad: float) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(CalibrationError, match="NaN or infinite"):
        make().update("t", np.array([1.0, bad], np.float32))


def test_moments_by_channel() -> None:
    values = np.random.default_rng(1).standard_normal((6, 3, 5)).astype(np.float32)
    moments = ChannelMoments(1)
    moments.update("t", values[:2])
    moments.update("t", values[2:])
    np.testing.assert_allclose(moments.mean, values.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(moments.rms, np.sqrt(np.square(values).mean((0, 2))), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 3.0), (0.0, 6.0), (2.0, 5.0), (-4.0, -1.0), (0.0, 0.0), (-1e-30, 1e-30)]
)
def test_parameters_cover_the_range_and_zero(low: float, high: float, dtype: str) -> None:
    quantization = asymmetric(low, high, dtype)
    least, greatest = quantization.range
    slack = float(quantization.scale)
    assert quantization.scale > 0
    assert np.isfinite(quantization.scale)
    assert least <= min(low, 0.0) + slack
    assert greatest >= max(high, 0.0) - slack
    assert quantization.limits[0] <= quantization.zero_point <= quantization.limits[1]


def quantization_error(values: np.ndarray, bounds: tuple[float, float]) -> float:
    q = asymmetric(*bounds)
    steps = np.clip(np.rint(values / float(q.scale)) + q.zero_point, 0, 255)
    return float(np.square((steps - q.zero_point) * float(q.scale) - values).mean())


def test_mse_beats_the_other_methods_where_there_is_an_outlier() -> None:
    values = np.random.default_rng(2).standard_normal(500_000).astype(np.float32)
    values[0] = 9.0
    observer = observed(values)
    errors = {method: quantization_error(values, choose_range(observer, method)) for method in METHODS}
    assert min(errors, key=lambda method: errors[method]) == "mse"
    assert errors["mse"] < 0.8 * errors["minmax"]


def test_minmax_keeps_everything_and_percentile_cuts_the_tails() -> None:
    values = np.linspace(-1, 1, 10_001, dtype=np.float32)
    observer = observed(values)
    assert choose_range(observer, "minmax") == (-1.0, 1.0)
    low, high = choose_range(observer, "percentile", 90.0)
    assert low == pytest.approx(-0.9, abs=1e-3)
    assert high == pytest.approx(0.9, abs=1e-3)


def test_entropy_keeps_a_relu_tensor_useful() -> None:
    values = np.maximum(np.random.default_rng(3).standard_normal(50_000), 0).astype(np.float32)
    low, high = choose_range(observed(values), "entropy")
    assert low == 0.0
    assert 2.0 < high <= float(values.max())


def test_clipped_counts_what_lies_outside() -> None:
    observer = observed(np.array([0.5] * 99 + [10.0], np.float32))
    assert asymmetric(0.0, 1.0).clipped(observer) == pytest.approx(0.01)
    assert asymmetric(0.0, 10.0).clipped(observer) == 0.0


def test_sqnr() -> None:
    reference = np.array([1.0, -1.0], np.float32)
    assert sqnr(reference, reference) == np.inf
    assert sqnr(reference, np.float32(0.9) * reference) == pytest.approx(20.0, abs=1e-4)
    assert sqnr(np.zeros(2, np.float32), reference) == -np.inf
