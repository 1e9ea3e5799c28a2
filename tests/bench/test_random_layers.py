"""The random layers of the kernel benchmark: repeatable, legal for their kernels, and the same result on each."""

from __future__ import annotations

import numpy as np

from bench.kernels import candidates
from bench.random_layers import MOST_MACS, random_layers, time_layer


def test_a_seed_gives_the_same_layers() -> None:
    first, second = list(random_layers(20, 7)), list(random_layers(20, 7))
    assert [layer.label for layer in first] == [layer.label for layer in second]
    assert len({layer.family for layer in first}) == 3
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        assert bytes(memoryview(a.packed)) == bytes(memoryview(b.packed))
        assert 0 < a.macs <= MOST_MACS


def test_the_pick_is_among_the_timed_kernels() -> None:
    kernels = candidates()
    for layer in random_layers(6, 11):
        pick, times = time_layer(layer, kernels[layer.family], threads=1, runs=1)
        assert pick in times
        assert all(name.startswith(layer.prefix()) and spent >= 0 for name, spent in times.items())
