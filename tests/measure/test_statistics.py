"""The interval of a median against published ranks and by simulation; agreement of outputs."""

from __future__ import annotations

import numpy as np
import pytest

from planish.measure import agreement, median_interval


def test_interval_uses_the_published_order_statistics() -> None:
    # Ranks of the 95 % interval of a median, from the tables of the sign test.
    for n, rank in ((6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8)):
        interval = median_interval([float(value) for value in range(1, n + 1)])
        assert (interval.low, interval.high) == (rank, n + 1 - rank)
        assert interval.coverage >= 0.95


def test_few_values_give_their_range_and_its_true_coverage() -> None:
    interval = median_interval([3.0, 1.0, 2.0])
    assert (interval.median, interval.low, interval.high) == (2.0, 1.0, 3.0)
    assert interval.coverage == pytest.approx(0.75)
    assert median_interval([1.5]).coverage == 0.0


def test_coverage_holds_on_skewed_data() -> None:
    rng = np.random.default_rng(0)
    intervals = [median_interval(rng.exponential(size=11).tolist()) for _ in range(2000)]
    covered = np.mean([i.low <= np.log(2) <= i.high for i in intervals])
    assert covered == pytest.approx(intervals[0].coverage, abs=0.015)


def test_agreement_measures_the_worst_output() -> None:
    r = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 0.0]], np.float32)
    same = agreement([[r, r]], [[r, r]])
    assert same.identical
    assert same.cosine == pytest.approx(1.0)
    assert (same.error, same.top1) == (0.0, 1.0)
    y = r.copy()
    y[0, 1] = 5.0
    worse = agreement([[r, y]], [[r, r]])
    assert not worse.identical
    assert worse.error == pytest.approx(3 / 4)
    assert worse.cosine == pytest.approx(float(y.ravel() @ r.ravel() / np.linalg.norm(y) / np.linalg.norm(r)))
    assert worse.top1 == 3 / 4


def test_agreement_of_degenerate_outputs() -> None:
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    assert agreement([[zeros]], [[zeros]]).cosine == 1.0
    assert agreement([[zeros]], [[ones]]).cosine == 0.0
    assert agreement([[ones]], [[ones]]).top1 is None
    infinite = np.array([1.0, np.inf], np.float32)
    assert agreement([[infinite * 2]], [[infinite]]).error == 1.0
    assert agreement([[np.zeros((0, 3))]], [[np.zeros((0, 3))]]).identical
