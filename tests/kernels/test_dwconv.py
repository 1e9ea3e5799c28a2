"""Family `dwconv`: every kernel of the registry against NumPy; integers bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gemm_cases import requantize, usable_kernels, windows

from planish import _core
from planish.errors import PlanishError

KERNELS = usable_kernels("dwconv", "f32") + usable_kernels("dwconv", "u8")[1:]
CHANNELS = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65]


def check(
    kernel: str,
    size: tuple[int, ...],
    out: tuple[int, ...],
    channels: int,
    attrs: dict[str, Any],
    output: str = "uint8",
) -> None:
    rng = np.random.default_rng(channels)
    taps = int(np.prod(attrs["kernel"]))
    for threads in (1, 2):
        if kernel.startswith("u8"):
            x = rng.integers(0, 256, (2, *size, channels), dtype=np.uint8)
            low = -128 if kernel == "u8_avx512vnni" else -255
            w = rng.integers(low, -low, (channels, taps)).astype(np.int16)
            bias, scale = (
                rng.integers(-999, 999, channels, dtype=np.int32),
                rng.uniform(1e-4, 1e-2, channels).astype(np.float32),
            )
            acc = np.einsum("...tc,ct->...c", windows(x, out, attrs, 77).astype(np.int64), w.astype(np.int64)) + bias
            y = np.zeros((2, *out, channels), output)
            packed = np.frombuffer(_core.pack_depthwise_s16(w), np.uint8)
            more: dict[str, Any] = {"y_zero": 60, "lo": 60, "hi": 200} if output == "uint8" else {}
            _core.run_op(
                "dwconv",
                [x, packed, bias, None if output == "int32" else scale],
                [y],
                {**attrs, "x_zero": 77, **more, "force": kernel},
                packed=[1],
                threads=threads,
            )
            v = acc.astype(np.float32) * scale
            expected = {"uint8": requantize(v, 60, 200, 60), "int32": acc, "float32": v}[output]
        else:
            x = rng.integers(-8, 9, (2, *size, channels)).astype(np.float32)
            w, bias = (
                rng.integers(-8, 9, (channels, taps)).astype(np.float32),
                rng.integers(-8, 9, channels).astype(np.float32),
            )
            y = np.zeros((2, *out, channels), np.float32)
            packed = np.frombuffer(_core.pack_depthwise_f32(w), np.uint8)
            _core.run_op(
                "dwconv",
                [x, packed, bias],
                [y],
                {**attrs, "lo": 0.0, "hi": 60.0, "force": kernel},
                packed=[1],
                threads=threads,
            )
            expected = np.clip(np.einsum("...tc,ct->...c", windows(x, out, attrs, 0), w) + bias, 0, 60)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_three_by_three(kernel: str, channels: int) -> None:
    check(kernel, (7, 5), (7, 5), channels, {"kernel": [3, 3], "pads": [1, 1, 1, 1]})
    check(kernel, (7, 5), (4, 3), channels, {"kernel": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]})


@pytest.mark.parametrize("kernel", KERNELS)
def test_other_windows(kernel: str) -> None:
    check(kernel, (11,), (11,), 20, {"kernel": [5], "pads": [4, 0]})
    check(kernel, (9, 8), (5, 6), 20, {"kernel": [3, 2], "dilations": [2, 2]})
    check(kernel, (4, 5, 6), (3, 3, 3), 18, {"kernel": [2, 3, 3], "strides": [1, 1, 2], "pads": [0, 0, 0, 0, 0, 1]})
    check(kernel, (4, 3), (9, 7), 18, {"kernel": [3, 3], "strides": [2, 2], "transposed": 1})
    check(kernel, (7, 7), (1, 1), 40, {"kernel": [7, 7]})


# Lines longer than a tile, and windows whose columns interleave, reach into the padding or lie far apart.
@pytest.mark.parametrize("kernel", KERNELS)
def test_long_lines(kernel: str) -> None:
    check(kernel, (2, 70), (2, 70), 17, {"kernel": [3, 3], "pads": [1, 1, 1, 1]})
    check(kernel, (1, 71), (1, 36), 9, {"kernel": [2, 3], "pads": [0, 1, 1, 1], "strides": [1, 2]})
    check(kernel, (5, 70), (3, 70), 9, {"kernel": [2, 3], "dilations": [2, 3], "pads": [0, 3, 0, 3]})
    check(kernel, (3, 9), (3, 9), 9, {"kernel": [1, 3], "dilations": [1, 8], "pads": [0, 8, 0, 8]})
    check(kernel, (5, 41), (5, 41), 25, {"kernel": [5, 5], "pads": [2, 2, 2, 2]})
    check(kernel, (7, 35), (7, 35), 8, {"kernel": [7, 7], "pads": [3, 3, 3, 3]})
    check(kernel, (90,), (29,), 8, {"kernel": [3], "strides": [3], "dilations": [2]})


# One and two lines at a time, every rest of a line, pairs of lines of every parity, more channels than one pass takes.
@pytest.mark.parametrize("kernel", KERNELS)
def test_line_lengths(kernel: str) -> None:
    for width in range(1, 18):
        check(kernel, (3, width), (3, width), 9, {"kernel": [3, 3], "pads": [1, 1, 1, 1]})
        out = (2, (width + 1) // 2)
        check(kernel, (3, width), out, 9, {"kernel": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]})
    for lines in (2, 3, 4, 6):
        attrs = {"kernel": [lines, 5], "pads": [lines // 2, 2, (lines - 1) // 2, 2]}
        check(kernel, (5, 6), (5, 6), 17, attrs)
    check(kernel, (8, 30), (8, 30), 90, {"kernel": [3, 3], "pads": [1, 1, 1, 1]})
    check(kernel, (4, 300), (4, 300), 25, {"kernel": [3, 3], "pads": [1, 1, 1, 1]})
    check(kernel, (4, 3), (6, 9), 8, {"kernel": [3, 3], "pads": [2, 4, 2, 4]})


@pytest.mark.parametrize("kernel", usable_kernels("dwconv", "u8")[1:])
@pytest.mark.parametrize("output", ["int32", "float32"])
def test_other_outputs(kernel: str, output: str) -> None:
    check(kernel, (6, 6), (4, 4), 37, {"kernel": [3, 3]}, output)


def test_the_reference_agrees_for_integers() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 21), dtype=np.uint8)
    w = np.random.default_rng(1).integers(-128, 128, (21, 9)).astype(np.int16)
    results = []
    for kernel in usable_kernels("dwconv", "u8"):
        y = np.zeros((1, 6, 6, 21), np.uint8)
        attrs = {"kernel": [3, 3], "pads": [1, 1, 1, 1], "x_zero": 3, "y_zero": 100, "force": kernel}
        packed = np.frombuffer(_core.pack_depthwise_s16(w), np.uint8)
        _core.run_op("dwconv", [x, packed, None, np.full(21, 1e-3, np.float32)], [y], attrs, packed=[1])
        results.append(y)
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])


def test_weights_beyond_int8_stay_exact() -> None:
    x, w = np.full((1, 3, 3, 70), 255, np.uint8), np.full((70, 9), 255, np.int16)
    y = np.zeros((1, 1, 1, 70), np.int32)
    _core.run_op(
        "dwconv", [x, np.frombuffer(_core.pack_depthwise_s16(w), np.uint8)], [y], {"kernel": [3, 3]}, packed=[1]
    )
    assert np.all(y == 9 * 255 * 255)


@pytest.mark.parametrize(
    "attrs", [{"kernel": [3, 3]}, {"kernel": [1, 1], "force": "u8_scalar"}, {"kernel": [1, 2]}, {"kernel": [1]}]
)
def test_wrong_descriptions_are_refused(attrs: dict[str, Any]) -> None:
    packed = np.frombuffer(_core.pack_depthwise_f32(np.zeros((4, 1), np.float32)), np.uint8)
    x = np.zeros((1, 3, 3, 4), np.float32)
    with pytest.raises(PlanishError):
        _core.run_op("dwconv", [x, packed], [x.copy()], attrs, packed=[1])
