"""The random layers of the kernel benchmark: repeatable, legal for their kernels, and the same result on each."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from bench.kernels import candidates
from bench.random_layers import MOST_MACS, random_layers, time_layer
from planish import _core


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
        assert all(name.startswith(layer.prefix()) and len(spent) == 1 for name, spent in times.items())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there are one or two NEON kernels, by processor")
def test_an_integer_product_has_three_legal_kernels_an_instruction_set() -> None:
    """So that the dispatcher has something to choose from wherever there is SIMD; all of them give the same bytes."""
    layer = next(x for x in random_layers(200, 3) if x.family == "gemm" and x.prefix() == "u8" and x.y_dtype == "uint8")
    isas = {isa for _, _, isa in _core.kernels()} & set(_core.usable_isas()) - {"scalar"}
    names = [(name, isa) for family, name, isa in _core.kernels() if family == "gemm" and "reference" not in name]
    for isa in sorted(isas):
        _core.set_isa(isa)
        try:
            usable = set(_core.usable_isas())
            kernels = [name for name, needs in names if needs in usable]
            _, times = time_layer(layer, kernels, threads=1, runs=1)
        finally:
            _core.set_isa("")
        assert len(times) >= 3, isa
