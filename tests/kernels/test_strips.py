"""Integer layers whose pixels lie at equal steps through x, which kernels may take strip by strip: bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemm_cases import requantize, sums, usable_kernels, weight_limit, windows
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from planish import _core

KERNELS = usable_kernels("conv", "u8")[1:]


def check(
    kernel: str, x: NDArray[np.uint8], n: int, attrs: dict[str, Any], output: str = "uint8", threads: int = 1
) -> None:
    """A convolution of x [B, H, W, C]; of an even number of outputs, with zero points of the weights."""
    rng, limit = np.random.default_rng(n), weight_limit(kernel)
    taps, (high, wide), (down, right) = attrs["kernel"][0], x.shape[1:3], attrs.get("strides", (1, 1))
    pads = attrs.get("pads", [0] * 4)
    reach = (taps - 1) * attrs.get("dilations", (1, 1))[0] + 1
    out = ((high + pads[0] + pads[2] - reach) // down + 1, (wide - 1) // right + 1)
    w = rng.integers(-limit, limit, (n, taps, x.shape[-1]), dtype=np.int8)
    bias, scale = rng.integers(-9999, 9999, n, dtype=np.int32), rng.uniform(1e-4, 1e-2, n).astype(np.float32)
    y = np.zeros((x.shape[0], *out, n), output)
    epilogue = {"y_zero": 60, "lo": 60, "hi": 200} if output == "uint8" else {}
    packed = np.frombuffer(_core.pack_dense_s8(w, 1), np.uint8)
    zero = rng.integers(-255, 256, n, dtype=np.int32) if n % 2 == 0 else None
    operands = [x, packed, bias, None if output == "int32" else scale, zero]
    _core.run_op("conv", operands, [y], {**attrs, **epilogue, "x_zero": 77, "force": kernel}, [1, 4], threads)
    rows = windows(x, out, attrs, 77)
    acc = sums(rows, w, 1) + bias - (0 if zero is None else sums(rows, np.ones_like(w), 1) * zero)
    v = acc.astype(np.float32) * scale
    expected = {"uint8": requantize(v, 60, 200, 60), "int32": acc, "float32": v}[output]
    np.testing.assert_array_equal(y, expected)


def image(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(shape[-1]).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [1, 7, 8, 9, 15, 16, 17, 24, 31, 40])
def test_outputs_and_depths(kernel: str, n: int) -> None:
    for depth in (1, 2, 3, 4, 6, 7, 8, 9, 16, 31):
        check(kernel, image(1, 2, 19, depth), n, {"kernel": [1, 1]})


@pytest.mark.parametrize("kernel", KERNELS)
def test_lengths_and_windows(kernel: str) -> None:
    for width in (16, 17, 22, 23, 24, 25, 500):
        for n in (8, 16):
            check(kernel, image(2, 3, width, 5), n, {"kernel": [3, 1], "pads": [1, 0, 1, 0]})
    check(kernel, image(1, 9, 40, 9), 12, {"kernel": [3, 1], "strides": [2, 1], "pads": [0, 0, 1, 0]}, threads=2)
    check(kernel, image(1, 4, 40, 9), 12, {"kernel": [3, 1], "dilations": [3, 1], "pads": [4, 0, 4, 0]})
    check(kernel, image(1, 3, 40, 9), 12, {"kernel": [1, 1], "strides": [1, 2]})
    check(kernel, image(1, 60, 60, 9)[:, :, :, :5], 12, {"kernel": [1, 1]}, threads=2)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("output", ["float32", "int32"])
def test_other_outputs(kernel: str, output: str) -> None:
    for n in (5, 8, 13, 16, 20):
        check(kernel, image(1, 2, 21, 9), n, {"kernel": [2, 1]}, output)


@pytest.mark.parametrize("kernel", KERNELS)
def test_pixels_that_overlap(kernel: str) -> None:
    lines = image(1, 7, 41, 3)
    shape, strides = (1, 7, 20, 9), (lines.strides[0], lines.strides[1], 6, 1)
    overlapping = as_strided(lines, shape, strides)
    check(kernel, overlapping, 8, {"kernel": [3, 1], "strides": [2, 1], "pads": [1, 0, 1, 0]})
    check(kernel, overlapping, 24, {"kernel": [3, 1], "pads": [1, 0, 0, 0]})
