"""Family pool against a direct evaluation of its formula."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]


def windows(
    x: np.ndarray, out: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int], pads: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Per output pixel and tap: the value (NaN outside x), and whether the tap lies inside the padded x."""
    k = len(kernel)
    taps = list(product(*(range(n) for n in kernel)))
    values = np.full((x.shape[0], *out, len(taps), x.shape[-1]), np.nan)
    padded = np.zeros((*out, len(taps)), bool)
    for o in product(*(range(n) for n in out)):
        for t, tap in enumerate(taps):
            at = [o[i] * strides[i] - pads[i] + tap[i] * dilations[i] for i in range(k)]
            padded[(*o, t)] = all(at[i] < x.shape[i + 1] + pads[k + i] for i in range(k))
            if all(0 <= at[i] < x.shape[i + 1] for i in range(k)):
                values[(slice(None), *o, t)] = x[(slice(None), *at)]
    return values, padded


CASES = [
    ((2, 12, 11, 20), [3, 3], [2, 2], [1, 1], [1, 1, 1, 1], 0),
    ((1, 9, 9, 3), [2, 2], [2, 2], [1, 1], [0, 0, 0, 0], 1),
    ((1, 10, 8, 67), [3, 2], [1, 3], [2, 1], [1, 0, 2, 1], 0),
    ((2, 25, 130), [5], [3], [2], [2, 4], 1),
    ((1, 5, 6, 7, 17), [2, 3, 2], [2, 1, 2], [1, 2, 1], [0, 1, 0, 1, 1, 1], 0),
    ((1, 7, 7, 600), [7, 7], [1, 1], [1, 1], [0, 0, 0, 0], 0),
]


def sizes(
    shape: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int], pads: list[int], ceil: int
) -> tuple[int, ...]:
    k = len(kernel)
    out = []
    for i in range(k):
        span = shape[i + 1] + pads[i] + pads[k + i] - dilations[i] * (kernel[i] - 1) - 1
        n = (span + strides[i] - 1) // strides[i] + 1 if ceil else span // strides[i] + 1
        if ceil and (n - 1) * strides[i] >= shape[i + 1] + pads[i]:
            n -= 1
        out.append(n)
    return tuple(out)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("op", ["max", "average", "average_padded"])
@pytest.mark.parametrize("dtype", ["f4", "u1"])
def test_pool(run: Run, case: tuple, op: str, dtype: str) -> None:
    shape, kernel, strides, dilations, pads, ceil = case
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype("f4") if dtype == "f4" else rng.integers(0, 256, shape).astype("u1")
    out = sizes(shape, kernel, strides, dilations, pads, ceil)
    y_shape = (shape[0], *out, shape[-1])
    attrs = {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    xs, ys, xz, yz = 0.05, 0.0317, 118, 125
    if dtype == "u1":
        attrs |= {"x_scale": xs, "y_scale": ys, "x_zero": xz, "y_zero": yz, "lo": 10, "hi": 240}
    attrs |= {"op": op.split("_")[0], "count_include_pad": int(op == "average_padded")}
    (y,) = run("pool", [x], [(y_shape, dtype)], **attrs)
    values, padded = windows(x, out, kernel, strides, dilations, pads)
    if op == "max":
        np.testing.assert_array_equal(y, np.nanmax(values, axis=-2).astype(dtype))
        return
    if dtype == "u1":
        values = (values - xz) * xs
    inside = ~np.isnan(values[0, ..., :, 0])
    count = (padded if op == "average_padded" else inside).sum(-1)
    r = np.nansum(values, axis=-2) / count[None, ..., None]
    if dtype == "f4":
        np.testing.assert_allclose(y, r, rtol=1e-5, atol=1e-6)
    else:
        expected = np.clip(np.rint(r / ys) + yz, 10, 240)
        assert np.all(abs(y - expected) <= 1)
        assert np.mean(y != expected) < 0.02


@pytest.mark.parametrize("pixels", [(1, 2), (3, 3), (4, 4), (7, 7), (5, 13)])
def test_global_average_adds_in_four_lanes(run: Run, pixels: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, *pixels, 300)).astype("f4")
    (y,) = run("pool", [x], [((2, 1, 1, 300), "f4")], op="average", kernel=list(pixels))
    flat = x.reshape(2, -1, 300)
    count = flat.shape[1]
    lanes = [np.zeros((2, 300), np.float32) for _ in range(4)]
    for i in range(count // 4 * 4):
        lanes[i % 4] += flat[:, i]
    total = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
    for i in range(count // 4 * 4, count):
        total += flat[:, i]
    np.testing.assert_array_equal(y[:, 0, 0], total / np.float32(count))


def test_pool_of_strided_views(run: Run) -> None:
    x = np.random.default_rng(1).normal(size=(2, 9, 8, 40)).astype("f4")[:, ::-1, 1:, 4:21]
    (y,) = run("pool", [x], [((2, 4, 3, 17), "f4")], op="max", kernel=[2, 2], strides=[2, 2])
    blocks = x[:, :8, :6].reshape(2, 4, 2, 3, 2, 17)
    np.testing.assert_array_equal(y, blocks.max(axis=(2, 4)))


def test_empty_windows_are_defined(run: Run) -> None:
    x = np.ones((1, 2, 3), np.float32)
    attrs = {"kernel": [1], "strides": [5], "pads": [4, 4]}
    assert run("pool", [x], [((1, 2, 3), "f4")], op="max", **attrs)[0][0, 0, 0] == -np.inf
    assert run("pool", [x], [((1, 2, 3), "f4")], op="average", **attrs)[0][0, 0, 0] == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_description_reads_outside(data: st.DataObject) -> None:
    """Guard pages lie behind the operands: any accepted description must stay inside, whatever its output size."""
    draw = data.draw
    k = draw(st.integers(1, 3))
    small = st.lists(st.integers(1, 4), min_size=k, max_size=k)
    x = np.ones((1, *draw(st.lists(st.integers(0, 5), min_size=k, max_size=k)), draw(st.integers(1, 20))), np.uint8)
    y = np.empty((1, *draw(small), x.shape[-1]), np.uint8)
    attrs = {"op": draw(st.sampled_from(["max", "average"])), "kernel": draw(small), "strides": draw(small)}
    attrs |= {"dilations": draw(small), "pads": draw(st.lists(st.integers(0, 9), min_size=2 * k, max_size=2 * k))}
    _core.run_op("pool", [x], [y], attrs)
    assert y.max() <= 1


def test_wrong_descriptions_are_refused() -> None:
    x, y = np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 2, 2, 3), np.float32)
    good = {"op": "max", "kernel": [2, 2], "strides": [2, 2]}
    for bad in ({"op": "lp"}, {"kernel": [2]}, {"strides": [0, 1]}, {"pads": [-1, 0, 0, 0]}, {"dilations": [2**40, 1]}):
        with pytest.raises(PlanishError):
            _core.run_op("pool", [x], [y], {**good, **bad})
    with pytest.raises(PlanishError):
        _core.run_op("pool", [x.transpose(0, 3, 1, 2)], [np.zeros((1, 2, 2, 4), np.float32)], good)
