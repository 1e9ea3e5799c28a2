"""Sparse GEMM and convolution: every format and kernel against a dense NumPy product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

FORMATS = ("csr_f32", "block1x4_f32", "block16x4_f32", "csr_s8", "block1x4_s8", "block16x4_s8")


def kernels_of(fmt: str) -> list[str]:
    """The kernels usable here for a format, the reference first."""
    usable = set(_core.usable_isas())
    named = [
        name
        for family, name, isa in _core.kernels()
        if family == "sparse_gemm" and name.startswith(fmt) and isa in usable
    ]
    assert named, f"no kernel is registered for {fmt}"
    return ["reference", *named]


CASES = [(fmt, kernel) for fmt in FORMATS for kernel in kernels_of(fmt)]


def sparse_weights(
    rng: np.random.Generator, fmt: str, outputs: int, taps: int, channels: int, density: float
) -> np.ndarray:
    """w[outputs, taps, channels] with about `density` of the format's blocks nonzero."""
    rows, width = (16, 4) if "16x4" in fmt else (1, 4) if "1x4" in fmt else (1, 1)
    groups, words = -(-outputs // rows), -(-channels // width)
    keep = rng.random((groups, taps, words)) < density
    keep = keep.repeat(rows, 0)[:outputs].repeat(width, 2)[:, :, :channels]
    if fmt.endswith("s8"):
        return np.where(keep, rng.integers(-128, 128, (outputs, taps, channels)), 0).astype(np.int8)
    return np.where(keep, rng.standard_normal((outputs, taps, channels)), 0).astype(np.float32)


def requantize(acc: np.ndarray, scale: np.ndarray, zero: int, lo: int, hi: int) -> np.ndarray:
    """The design's rule: clamp in float, round half to even, add the zero point."""
    v = acc.astype(np.int32).astype(np.float32) * scale
    v = np.fmin(np.fmax(v, np.float32(lo - zero)), np.float32(hi - zero))
    return (np.rint(v).astype(np.int32) + zero).astype(np.uint8)


def patches(
    x: np.ndarray, kernel: list[int], strides: list[int], dilations: list[int], pads: list[int], fill: int
) -> np.ndarray:
    """x[N, spatial..., C] as [N, out..., taps, C]."""
    spatial = len(kernel)
    width = [(0, 0), *((pads[d], pads[d + spatial]) for d in range(spatial)), (0, 0)]
    padded = np.pad(x, width, constant_values=fill)
    out = [(padded.shape[d + 1] - (kernel[d] - 1) * dilations[d] - 1) // strides[d] + 1 for d in range(spatial)]
    taps = []
    for tap in np.ndindex(*kernel):
        index = tuple(
            slice(t * dilations[d], t * dilations[d] + (out[d] - 1) * strides[d] + 1, strides[d])
            for d, t in enumerate(tap)
        )
        taps.append(padded[(slice(None), *index)])
    return np.stack(taps, -2)


def check_gemm(
    fmt: str, kernel: str, rows: int, outputs: int, channels: int, density: float, seed: int, threads: int = 1
) -> None:
    rng = np.random.default_rng(seed)
    w = sparse_weights(rng, fmt, outputs, 1, channels, density)
    packed = np.frombuffer(_core.pack_sparse(w, fmt), np.uint8)
    attrs = {"N": outputs, "K": channels, "force": kernel}
    if fmt.endswith("f32"):
        x = rng.standard_normal((rows, channels)).astype(np.float32)
        bias = rng.standard_normal(outputs).astype(np.float32)
        y = np.empty((rows, outputs), np.float32)
        used, _ = _core.run_op("sparse_gemm", [x, packed, bias], [y], {**attrs, "lo": -1.0, "hi": 2.0}, [1], threads)
        expected = np.clip(x.astype(np.float64) @ w[:, 0].T.astype(np.float64) + bias, -1, 2)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    else:
        x = rng.integers(0, 256, (rows, channels)).astype(np.uint8)
        bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
        scale = rng.uniform(1e-4, 2e-3, outputs).astype(np.float32)
        y = np.empty((rows, outputs), np.uint8)
        quantized = {**attrs, "y_zero": 7, "lo": 3.0, "hi": 250.0}
        used, _ = _core.run_op("sparse_gemm", [x, packed, bias, scale], [y], quantized, [1], threads)
        acc = x.astype(np.int32) @ w[:, 0].T.astype(np.int32) + bias
        np.testing.assert_array_equal(y, requantize(acc, scale, 7, 3, 250))
        raw = np.empty((rows, outputs), np.int32)
        _core.run_op("sparse_gemm", [x, packed, bias], [raw], attrs, [1], threads)
        np.testing.assert_array_equal(raw, acc)
        real = np.empty((rows, outputs), np.float32)
        _core.run_op("sparse_gemm", [x, packed, bias, scale], [real], attrs, [1], threads)
        np.testing.assert_array_equal(real, acc.astype(np.float32) * scale)
    assert used == kernel


@pytest.mark.parametrize(("fmt", "kernel"), CASES)
@pytest.mark.parametrize(
    ("rows", "outputs", "channels"), [(1, 1, 1), (1, 40, 64), (5, 17, 7), (64, 48, 33), (77, 16, 130), (130, 33, 20)]
)
def test_gemm(fmt: str, kernel: str, rows: int, outputs: int, channels: int) -> None:
    check_gemm(fmt, kernel, rows, outputs, channels, 0.3, rows + outputs)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CASES),
    st.integers(1, 70),
    st.integers(1, 50),
    st.integers(1, 90),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_gemm_of_any_shape(
    case: tuple[str, str], rows: int, outputs: int, channels: int, density: float, seed: int
) -> None:
    check_gemm(*case, rows, outputs, channels, density, seed)


@pytest.mark.parametrize("fmt", FORMATS)
def test_threads_do_not_change_results(fmt: str) -> None:
    check_gemm(fmt, kernels_of(fmt)[-1], 200, 96, 512, 0.3, 1, threads=3)


@pytest.mark.parametrize(("fmt", "kernel"), CASES)
@pytest.mark.parametrize(
    ("shape", "kernel_shape", "strides", "dilations", "pads"),
    [
        ((1, 9, 3), [3], [2], [1], [1, 1]),
        ((2, 7, 6, 5), [3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
        ((1, 9, 8, 20), [3, 2], [2, 1], [1, 2], [0, 2, 1, 0]),
        ((1, 4, 5, 4, 4), [2, 3, 1], [1, 2, 1], [1, 1, 1], [1, 0, 0, 0, 1, 0]),
    ],
)
def test_conv(
    fmt: str,
    kernel: str,
    shape: tuple[int, ...],
    kernel_shape: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[int],
) -> None:
    rng = np.random.default_rng(5)
    outputs, channels, taps = 19, shape[-1], int(np.prod(kernel_shape))
    w = sparse_weights(rng, fmt, outputs, taps, channels, 0.4)
    packed = np.frombuffer(_core.pack_sparse(w, fmt), np.uint8)
    attrs = {
        "kernel": kernel_shape,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "x_zero": 9,
        "force": kernel,
    }
    if fmt.endswith("f32"):
        x = rng.standard_normal(shape).astype(np.float32)
        columns = patches(x, kernel_shape, strides, dilations, pads, 0)
        expected = np.einsum("...tc,ntc->...n", columns.astype(np.float64), w.astype(np.float64))
        residual = rng.standard_normal(expected.shape).astype(np.float32)
        y = np.empty(expected.shape, np.float32)
        _core.run_op("sparse_conv", [x, packed, None, None, None, residual], [y], attrs, [1])
        np.testing.assert_allclose(y, expected + residual, rtol=1e-4, atol=1e-4)
    else:
        x = rng.integers(0, 256, shape).astype(np.uint8)
        columns = patches(x, kernel_shape, strides, dilations, pads, 9)
        acc = np.einsum("...tc,ntc->...n", columns.astype(np.int32), w.astype(np.int32))
        scale = rng.uniform(1e-3, 1e-2, outputs).astype(np.float32)
        y = np.empty(acc.shape, np.uint8)
        _core.run_op("sparse_conv", [x, packed, None, scale], [y], {**attrs, "y_zero": 100}, [1])
        np.testing.assert_array_equal(y, requantize(acc, scale, 100, 0, 255))


def test_nan_scale_gives_the_lower_bound() -> None:
    x, w = np.full((1, 4), 255, np.uint8), np.ones((1, 1, 4), np.int8)
    packed = np.frombuffer(_core.pack_sparse(w, "block1x4_s8"), np.uint8)
    for kernel in kernels_of("block1x4_s8"):
        y = np.empty((1, 1), np.uint8)
        attrs = {"lo": 5.0, "y_zero": 3, "force": kernel}
        _core.run_op("sparse_gemm", [x, packed, None, np.array([np.nan], np.float32)], [y], attrs, [1])
        assert y[0, 0] == 5


def test_operands_are_validated() -> None:
    w = np.ones((4, 1, 8), np.float32)
    packed = np.frombuffer(_core.pack_sparse(w, "csr_f32"), np.uint8)
    x, y = np.zeros((2, 8), np.float32), np.empty((2, 4), np.float32)
    _core.run_op("sparse_gemm", [x, packed], [y], {}, [1])
    for bad_x, bad_y, bias in [
        (np.zeros((2, 7), np.float32), y, None),
        (x.astype(np.float64), y, None),
        (x, np.empty((2, 5), np.float32), None),
        (x, np.empty((3, 4), np.float32), None),
        (x, y, np.zeros(3, np.float32)),
        (x, y, np.zeros(4, np.int32)),
    ]:
        with pytest.raises(PlanishError):
            _core.run_op("sparse_gemm", [bad_x, packed, bias], [bad_y], {}, [1])
    with pytest.raises(PlanishError, match="not available"):
        _core.run_op("sparse_gemm", [x, packed], [y], {"force": "csr_s8_scalar"}, [1])
