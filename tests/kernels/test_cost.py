"""The rule that decides whether compressed weights pay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from planish import _core
from planish.errors import PlanishError

FORMATS = ("csr_f32", "block1x4_f32", "block16x4_f32", "csr_s8", "block1x4_s8", "block16x4_s8")


@pytest.fixture(params=["scalar", "avx2", ""], autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param and request.param not in _core.cpu_isas():
        pytest.skip(f"this CPU has no {request.param}")
    before = _core.best_isa()
    _core.set_isa(request.param)
    yield
    _core.set_isa(before)


@pytest.mark.parametrize("fmt", FORMATS)
def test_more_zeros_never_pay_less(fmt: str) -> None:
    ratios = [_core.sparse_pays(fmt, 196, 256, 256, 9, density)[1] for density in (1.0, 0.5, 0.2, 0.1, 0.05, 0.01)]
    assert ratios == sorted(ratios)


@pytest.mark.parametrize("fmt", FORMATS)
def test_dense_weights_are_declined_and_nearly_empty_ones_taken(fmt: str) -> None:
    assert not _core.sparse_pays(fmt, 128, 768, 3072, 1, 1.0)[0]
    assert _core.sparse_pays(fmt, 128, 768, 3072, 1, 0.01)[0]


def test_the_verdict_is_deterministic_and_follows_the_ratio() -> None:
    for m in (1, 16, 49, 3136):
        for density in (0.05, 0.3, 1.0):
            first = _core.sparse_pays("csr_f32", m, 64, 64, 9, density)
            assert first == _core.sparse_pays("csr_f32", m, 64, 64, 9, density)
            assert first[0] == (first[1] >= 1.1)


def test_less_pays_against_a_faster_dense_kernel() -> None:
    for n in (16, 64, 512):
        plain, winograd = (_core.sparse_pays("csr_f32", 196, n, n, 9, 0.2, winograd=w)[1] for w in (False, True))
        assert 1.05 < plain / winograd < 2.25
        plain, winograd = (_core.codebook_pays("s8", 4, 196, n, n, 9, winograd=w)[1] for w in (False, True))
        assert 1.05 < plain / winograd < 2.25


def test_codebooks_do_not_pay_where_products_dominate() -> None:
    assert not _core.codebook_pays("f32", 4, 784, 128, 128)[0]
    assert not _core.codebook_pays("f32", 8, 1, 512, 512)[0]
    assert not _core.codebook_pays("s8", 4, 784, 128, 128, shared=False)[0]


def test_codebooks_pay_where_reading_weights_dominates() -> None:
    if "avx2" not in _core.usable_isas():
        pytest.skip("needs kernels that decode in registers")
    assert _core.codebook_pays("s8", 4, 1, 8192, 8192)[0]


def test_float_codebooks_pay_where_reading_weights_dominates() -> None:
    if "avx512" not in _core.usable_isas():
        pytest.skip("needs the AVX-512 kernel")
    assert _core.codebook_pays("f32", 4, 1, 8192, 8192)[0]


def test_nonsense_is_refused() -> None:
    with pytest.raises(PlanishError):
        _core.sparse_pays("csr_f32", 1, 0, 4, 1, 0.5)
    with pytest.raises(PlanishError):
        _core.codebook_pays("f16", 4, 1, 4, 4)
