"""The k-means of codebooks is the global optimum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish._core import kmeans1d
from planish.errors import PlanishError


def cost(values: np.ndarray, centroids: np.ndarray, boundaries: np.ndarray) -> float:
    index = np.searchsorted(boundaries, values, side="right")
    return float(np.square(values.astype(np.float64) - centroids[index]).sum())


def brute_force(values: np.ndarray, k: int) -> float:
    """The least cost over every way to cut the sorted values into at most k runs."""
    ordered = np.sort(values.astype(np.float64))
    best = np.inf
    for cuts in itertools.combinations(range(1, len(ordered)), min(k, len(ordered)) - 1):
        edges = [0, *cuts, len(ordered)]
        runs = [ordered[a:b] for a, b in itertools.pairwise(edges)]
        best = min(best, sum(float(np.square(run - run.mean()).sum()) for run in runs))
    return best


def plus_plus(values: np.ndarray, k: int, rng: np.random.Generator) -> float:
    """The cost of one run of Lloyd's algorithm from a k-means++ start."""
    exact = values.astype(np.float64)
    centroids = np.array([rng.choice(exact)])
    while len(centroids) < k:
        distance = np.square(exact[:, None] - centroids).min(axis=1)
        centroids = np.append(centroids, rng.choice(exact, p=distance / distance.sum()))
    for _ in range(50):
        centroids = np.sort(centroids)
        index = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, exact)
        sums, counts = np.bincount(index, exact, k), np.bincount(index, minlength=k)
        centroids = np.where(counts > 0, sums / np.maximum(counts, 1), centroids)
    return float(np.square(exact[:, None] - centroids).min(axis=1).sum())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(-4, 4).map(lambda i: i / 4), st.floats(-100, 100, width=32)), min_size=1, max_size=11
    ),
    st.integers(1, 6),
)
def test_equals_brute_force(entries: list[float], k: int) -> None:
    values = np.array(entries, np.float32)
    centroids, boundaries = kmeans1d(values, k)
    assert centroids.shape == (k,)
    assert boundaries.shape == (k - 1,)
    best = brute_force(values, k)
    assert cost(values, centroids, boundaries) <= best + 1e-9 * max(1.0, float(np.square(values).sum()))


@pytest.mark.parametrize("k", [4, 8, 16])
def test_is_no_worse_than_20_restarts(k: int) -> None:
    rng = np.random.default_rng(k)
    values = rng.laplace(size=5000).astype(np.float32)
    restarts = min(plus_plus(values, k, rng) for _ in range(20))
    assert cost(values, *kmeans1d(values, k)) <= restarts * (1 + 1e-12)


def test_evenly_spaced_values_have_tied_optima() -> None:
    values = np.arange(1000, dtype=np.float32)
    centroids, boundaries = kmeans1d(values, 7)
    sizes = np.bincount(np.searchsorted(boundaries, values, side="right"), minlength=7)
    assert sorted(sizes.tolist()) == [142] + [143] * 6
    assert np.all(np.diff(centroids) > 0)


def test_fewer_distinct_values_than_clusters() -> None:
    centroids, boundaries = kmeans1d(np.array([2.0, 1.0, 2.0], np.float32), 4)
    np.testing.assert_array_equal(centroids, [1, 2, 2, 2])
    np.testing.assert_array_equal(boundaries, [2, np.inf, np.inf])


@pytest.mark.parametrize(("values", "k"), [([], 2), ([1.0], 0), ([np.nan], 1), ([np.inf], 1)])
def test_rejects_what_cannot_be_clustered(values: list[float], k: int) -> None:
    with pytest.raises(PlanishError, match="kmeans1d"):
        kmeans1d(np.array(values, np.float32), k)
