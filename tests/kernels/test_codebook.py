"""Codebook and low-bit GEMM and convolution: every kind, width and kernel against a dense NumPy product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

KINDS = [("f32", b) for b in (2, 3, 4, 8)] + [("s8", b) for b in (2, 3, 4)] + [("affine", b) for b in (2, 4, 8)]
PREFIX = {"f32": "codebook_f32", "s8": "codebook_s8", "affine": "nbit"}


def kernels_of(kind: str) -> list[str]:
    """The kernels usable here for a kind, the reference first."""
    usable = set(_core.usable_isas())
    names = {
        name for family, name, isa in _core.kernels() if family in ("codebook_gemm", "nbit_gemm") and isa in usable
    }
    found = sorted(n for n in names if n.startswith(PREFIX[kind]))
    assert found, f"no kernel is registered for {kind}"
    return ["reference", *found]


CASES = [(kind, bits, kernel) for kind, bits in KINDS for kernel in kernels_of(kind)]


def make_weights(
    rng: np.random.Generator, kind: str, bits: int, shape: tuple[int, int, int], down: int, across: int
) -> tuple[np.ndarray, np.ndarray]:
    """Packed bytes and the dense weights they stand for; `down` outputs and `across` columns share a table."""
    outputs, taps, channels = shape
    columns = taps * channels
    rows, cols = -(-outputs // down), -(-columns // across)
    indices = rng.integers(0, 1 << bits, shape).astype(np.uint8)
    table_of = np.arange(outputs)[:, None] // down, np.arange(columns)[None] // across
    flat = indices.reshape(outputs, columns)
    if kind == "affine":
        scales = rng.uniform(0.01, 1, (rows, cols)).astype(np.float32)
        zeros = rng.integers(0, 1 << bits, (rows, cols)).astype(np.uint8) if outputs % 2 else None
        packed = _core.pack_affine(indices, scales, zeros, bits, across)
        zero = zeros[table_of].astype(np.int32) if zeros is not None else 1 << (bits - 1)
        w = (flat.astype(np.int32) - zero).astype(np.float32) * scales[table_of]
    else:
        entries = (rows, cols, 1 << bits)
        tables = (
            rng.integers(-128, 128, entries).astype(np.int8)
            if kind == "s8"
            else rng.standard_normal(entries).astype(np.float32)
        )
        packed = _core.pack_codebook(indices, tables, bits, down, across)
        w = tables[(*table_of, flat)]
    return np.frombuffer(packed, np.uint8), w.reshape(shape)


def requantize(acc: np.ndarray, scale: np.ndarray, zero: int) -> np.ndarray:
    v = np.clip(acc.astype(np.float32) * scale, np.float32(-zero), np.float32(255 - zero))
    return (np.rint(v).astype(np.int32) + zero).astype(np.uint8)


def check_gemm(
    kind: str,
    bits: int,
    kernel: str,
    rows: int,
    outputs: int,
    channels: int,
    seed: int,
    down: int = 0,
    across: int = 0,
    threads: int = 1,
) -> None:
    rng = np.random.default_rng(seed)
    down = 1 if kind == "affine" else min(down or outputs, outputs)
    across = min(across or channels, channels)
    packed, w = make_weights(rng, kind, bits, (outputs, 1, channels), down, across)
    family = "nbit_gemm" if kind == "affine" else "codebook_gemm"
    attrs = {"N": outputs, "K": channels, "force": kernel}
    if kind == "s8":
        x = rng.integers(0, 256, (rows, channels)).astype(np.uint8)
        bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
        scale = rng.uniform(1e-4, 2e-3, outputs).astype(np.float32)
        y = np.empty((rows, outputs), np.uint8)
        used, _ = _core.run_op(family, [x, packed, bias, scale], [y], {**attrs, "y_zero": 77}, [1], threads)
        acc = x.astype(np.int32) @ w[:, 0].T.astype(np.int32) + bias
        np.testing.assert_array_equal(y, requantize(acc, scale, 77))
    else:
        x = rng.standard_normal((rows, channels)).astype(np.float32)
        bias = rng.standard_normal(outputs).astype(np.float32)
        y = np.empty((rows, outputs), np.float32)
        used, _ = _core.run_op(family, [x, packed, bias], [y], attrs, [1], threads)
        expected = x.astype(np.float64) @ w[:, 0].T.astype(np.float64) + bias
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    assert used == kernel


@pytest.mark.parametrize(("kind", "bits", "kernel"), CASES)
@pytest.mark.parametrize(
    ("rows", "outputs", "channels"), [(1, 1, 1), (1, 40, 200), (3, 17, 31), (31, 48, 64), (70, 33, 130)]
)
def test_gemm(kind: str, bits: int, kernel: str, rows: int, outputs: int, channels: int) -> None:
    check_gemm(kind, bits, kernel, rows, outputs, channels, rows)


@pytest.mark.parametrize(("kind", "bits", "kernel"), CASES)
@pytest.mark.parametrize(("down", "across"), [(1, 0), (16, 0), (5, 0), (48, 32), (48, 12), (1, 64), (32, 96)])
def test_groups(kind: str, bits: int, kernel: str, down: int, across: int) -> None:
    check_gemm(kind, bits, kernel, 5, 48, 192, 3, down, across)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CASES),
    st.integers(1, 70),
    st.integers(1, 50),
    st.integers(1, 150),
    st.integers(1, 50),
    st.integers(1, 150),
    st.integers(0, 99),
)
def test_gemm_of_any_shape(
    case: tuple[str, int, str], rows: int, outputs: int, channels: int, down: int, across: int, seed: int
) -> None:
    check_gemm(*case, rows, outputs, channels, seed, down, across)


@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_threads_do_not_change_results(kind: str, bits: int) -> None:
    check_gemm(kind, bits, kernels_of(kind)[-1], 90, 256, 640, 1, threads=3)


@pytest.mark.parametrize(("kind", "bits", "kernel"), CASES)
def test_conv(kind: str, bits: int, kernel: str) -> None:
    """3x3, stride 2, padded by one, 6 channels: whole words do not fit the taps."""
    rng = np.random.default_rng(2)
    outputs, channels = 20, 6
    packed, w = make_weights(rng, kind, bits, (outputs, 9, channels), 1 if kind == "affine" else outputs, 9 * channels)
    family = "nbit_conv" if kind == "affine" else "codebook_conv"
    attrs = {
        "kernel": [3, 3],
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "x_zero": 5 if kind == "s8" else 0,
        "force": kernel,
    }
    x = rng.integers(0, 256, (2, 7, 9, channels))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=attrs["x_zero"])
    taps = [padded[:, i : i + 7 : 2, j : j + 9 : 2] for i in range(3) for j in range(3)]
    expected = np.einsum("...tc,ntc->...n", np.stack(taps, -2).astype(np.float64), w.astype(np.float64))
    y = np.empty(expected.shape, np.int32 if kind == "s8" else np.float32)
    _core.run_op(family, [x.astype(np.uint8 if kind == "s8" else np.float32), packed], [y], attrs, [1])
    np.testing.assert_allclose(y, expected, rtol=0, atol=0 if kind == "s8" else 1e-5 * float(np.abs(expected).max()))


def test_the_two_families_refuse_each_others_weights() -> None:
    rng = np.random.default_rng(0)
    packed, _ = make_weights(rng, "f32", 4, (4, 1, 8), 4, 8)
    x, y = np.zeros((1, 8), np.float32), np.empty((1, 4), np.float32)
    with pytest.raises(PlanishError, match="nbit"):
        _core.run_op("nbit_gemm", [x, packed], [y], {}, [1])
