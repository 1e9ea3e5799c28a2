"""Family `winograd`: every kernel of the registry against NumPy's convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemm_cases import requantize, sums, usable_kernels, windows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planish import _core
from planish.errors import PlanishError

Array = NDArray[Any]
KERNELS = usable_kernels("winograd", "f32")
BYTES = usable_kernels("winograd", "u8")
CASES = [  # x, outputs, pads
    ((1, 4, 4, 1), 1, (1, 1, 1, 1)),
    ((1, 7, 9, 3), 20, (1, 1, 1, 1)),
    ((2, 6, 5, 16), 17, (0, 0, 0, 0)),
    ((1, 9, 9, 33), 48, (2, 0, 1, 3)),
    ((3, 5, 2, 7), 31, (1, 1, 1, 1)),
    ((1, 3, 3, 40), 65, (0, 0, 0, 0)),
    ((1, 30, 31, 8), 9, (1, 1, 1, 1)),
    ((1, 6, 7, 8), 20, (-1, 0, 1, -1)),
]


def convolve(x: Array, w: Array, pads: tuple[int, ...], fill: int = 0) -> Array:
    """w: [N, 9, C]."""
    out = (x.shape[1] + pads[0] + pads[2] - 2, x.shape[2] + pads[1] + pads[3] - 2)
    return sums(windows(x, out, {"kernel": [3, 3], "pads": list(pads)}, fill), w, 1)


def pack(w: Array) -> Array:
    return np.frombuffer(_core.pack_winograd_f32(np.ascontiguousarray(w)), np.uint8)


def run(force: str, x: Array, w: Array, bias: Array | None, residual: Array | None, y: Array, **attrs: Any) -> None:
    inputs = [x, pack(w), bias, None, None, residual]
    threads = attrs.pop("threads", 1)
    _core.run_op("winograd", inputs, [y], {**attrs, "force": force}, packed=[1], threads=threads)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_whole_numbers_are_exact(kernel: str, case: int) -> None:
    """Of small whole numbers all parts, quarters of weights included, are exact: so are the results."""
    shape, n, pads = CASES[case]
    rng = np.random.default_rng(case)
    x = rng.integers(-8, 9, shape).astype(np.float32)
    w = rng.integers(-8, 9, (n, 9, shape[-1])).astype(np.float32)
    bias = rng.integers(-8, 9, n).astype(np.float32)
    plain = convolve(x, w, pads)
    residual = rng.integers(-8, 9, plain.shape).astype(np.float32)
    for threads in (1, 2, 5):
        y = np.zeros(plain.shape, np.float32)
        run(kernel, x, w, bias, residual, y, pads=list(pads), lo=-100.0, hi=300.0, threads=threads)
        np.testing.assert_array_equal(y, np.clip(plain + bias + residual, -100, 300))
        run(kernel, x, w, None, None, y, pads=list(pads), threads=threads)
        np.testing.assert_array_equal(y, plain)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 12), st.integers(1, 40)),
    st.integers(1, 70),
    st.tuples(*[st.integers(0, 3)] * 4),
)
def test_random_shapes(shape: tuple[int, ...], n: int, pads: tuple[int, ...]) -> None:
    if shape[1] + pads[0] + pads[2] < 3 or shape[2] + pads[1] + pads[3] < 3:
        return
    rng = np.random.default_rng(n)
    x = rng.integers(-8, 9, shape).astype(np.float32)
    w = rng.integers(-8, 9, (n, 9, shape[-1])).astype(np.float32)
    expected = convolve(x, w, pads)
    for kernel in KERNELS[1:]:
        y = np.zeros(expected.shape, np.float32)
        run(kernel, x, w, None, None, y, pads=list(pads))
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_its_errors_are_those_of_the_plain_sum_for_inputs_of_one_magnitude(kernel: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 20, 20, 64)).astype(np.float32)
    w = rng.standard_normal((32, 9, 64)).astype(np.float32)
    same = {"pads": [1, 1, 1, 1]}
    expected = convolve(x, w, (1, 1, 1, 1))
    y, plain = np.zeros(expected.shape, np.float32), np.zeros(expected.shape, np.float32)
    run(kernel, x, w, None, None, y, **same)
    packed = np.frombuffer(_core.pack_dense_f32(w, 1), np.uint8)
    _core.run_op("conv", [x, packed, None], [plain], {**same, "kernel": [3, 3], "force": kernel}, packed=[1])
    assert np.std(y - expected) < 1.5 * np.std(plain - expected)
    assert np.abs(y - expected).max() < 1.5 * np.abs(plain - expected).max()


@pytest.mark.parametrize("kernel", KERNELS)
def test_nan_and_infinity_reach_the_outputs_that_read_them(kernel: str) -> None:
    """And no others; but what would be infinite may be NaN."""
    for row in range(3, 7):
        for value in (np.nan, np.inf, -np.inf):
            x = np.ones((1, 8, 8, 4), np.float32)
            x[0, row, 9 - row, 1] = value
            w = np.ones((5, 9, 4), np.float32)
            expected = convolve(x, w, (1, 1, 1, 1))
            y = np.zeros(expected.shape, np.float32)
            run(kernel, x, w, None, None, y, pads=[1, 1, 1, 1])
            finite = np.isfinite(expected)
            np.testing.assert_array_equal(np.isfinite(y), finite)
            np.testing.assert_array_equal(y[finite], expected[finite])


@pytest.mark.parametrize("kernel", KERNELS)
def test_negative_zeros_are_bounds_too(kernel: str) -> None:
    x, w, y = (np.ones(s, np.float32) for s in ((1, 4, 4, 9), (17, 9, 9), (1, 4, 4, 17)))
    run(kernel, x, -w, None, None, y, pads=[1, 1, 1, 1], lo=-0.0)
    assert np.signbit(y).all()


def test_what_does_not_fit_is_refused() -> None:
    x, w, y = np.ones((1, 5, 5, 4), np.float32), np.ones((6, 9, 4), np.float32), np.zeros((1, 5, 5, 6), np.float32)
    same = {"pads": [1, 1, 1, 1]}
    for attrs in (
        {"pads": [1, 1, 1, 0]}, {"pads": [1, 1]}, {}, {**same, "kernel": [3, 5]}, {**same, "strides": [2, 1]},
        {**same, "dilations": [1, 2]}, {**same, "groups": 2}, {**same, "N": 7}, {"pads": [-(2**62), 1, 1, 1]},
    ):  # fmt: skip
        with pytest.raises(PlanishError):
            run("f32_scalar", x, w, None, None, y, **attrs)
    with pytest.raises(PlanishError, match="size does not belong"):
        run("f32_scalar", x, w[:, :, :3], None, None, y, **same)
    with pytest.raises(PlanishError, match="residual"):
        run("f32_scalar", x, w, None, np.ones((1, 4, 5, 6), np.float32), y, **same)


def check_bytes(kernel: str, shape: tuple[int, ...], n: int, pads: tuple[int, ...], output: str, extreme: bool) -> None:
    """`extreme`: inputs and weights as large as can be, for the greatest sums."""
    rng = np.random.default_rng(n)
    x = rng.choice([0, 255], shape).astype(np.uint8) if extreme else rng.integers(0, 256, shape, dtype=np.uint8)
    w = rng.integers(-128, 128, (n, 9, shape[-1]), dtype=np.int8)
    if extreme:
        w[:] = np.where(rng.integers(0, 2, (n, 1, 1)), 127, -128)
    bias = rng.integers(-9999, 9999, n, dtype=np.int32)
    scale = rng.uniform(1e-6, 1e-3, n).astype(np.float32)
    acc = convolve(x, w, pads, 119) + bias
    v = acc.astype(np.float32) * scale
    expected = {"uint8": requantize(v, 3, 250, 130), "int32": acc, "float32": np.clip(v, -40, 50)}[output]
    bounds = {"uint8": {"lo": 3, "hi": 250, "y_zero": 130}, "int32": {}, "float32": {"lo": -40.0, "hi": 50.0}}[output]
    inputs = [x, np.frombuffer(_core.pack_winograd_s16(w), np.uint8), bias, None if output == "int32" else scale]
    for threads in (1, 3):
        y = np.zeros(expected.shape, output)
        attrs = {**bounds, "x_zero": 119, "pads": list(pads), "force": kernel}
        _core.run_op("winograd", inputs, [y], attrs, packed=[1], threads=threads)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kernel", BYTES)
@pytest.mark.parametrize("output", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_bytes_are_bit_exact(kernel: str, output: str, case: int) -> None:
    shape, n, pads = CASES[case]
    for extreme in (False, True):
        check_bytes(kernel, shape, n, pads, output, extreme)


@pytest.mark.parametrize("kernel", BYTES[1:])
def test_the_greatest_sums_fit(kernel: str) -> None:
    check_bytes(kernel, (1, 4, 4, _core.WINOGRAD_MOST_INTEGER_CHANNELS), 3, (1, 1, 1, 1), "int32", extreme=True)


def test_more_channels_than_fit_are_refused() -> None:
    x = np.zeros((1, 4, 4, _core.WINOGRAD_MOST_INTEGER_CHANNELS + 1), np.uint8)
    w = np.frombuffer(_core.pack_winograd_s16(np.zeros((1, 9, x.shape[-1]), np.int8)), np.uint8)
    with pytest.raises(PlanishError, match="too many channels"):
        _core.run_op("winograd", [x, w], [np.zeros((1, 4, 4, 1), np.int32)], {"pads": [1, 1, 1, 1]}, packed=[1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_empty_batches(kernel: str) -> None:
    y = np.zeros((0, 5, 5, 6), np.float32)
    run(kernel, np.ones((0, 5, 5, 4), np.float32), np.ones((6, 9, 4), np.float32), None, None, y, pads=[1, 1, 1, 1])
