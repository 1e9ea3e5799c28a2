"""Families grid_sample, roi_align, deform_columns, nms, dft, det and pool_indices against plain NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planish import _core
from planish.errors import PlanishError

Run = Callable[..., list[np.ndarray]]
RNG = np.random.default_rng(0)
NOWHERE = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9], np.float32)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def identity_grid(*size: int) -> np.ndarray:
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in size]
    return np.stack(np.meshgrid(*axes, indexing="ij")[::-1], -1)[None]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("size", [(7,), (4, 5), (3, 4, 2)])
def test_an_identity_grid_gives_the_image(run: Run, size: tuple[int, ...], mode: str) -> None:
    x = floats(1, 3, *size)
    for view in (x, np.asfortranarray(x)):
        (y,) = run("grid_sample", [view, identity_grid(*size)], [(x.shape, "f4")], mode=mode, align_corners=1)
        np.testing.assert_allclose(y, x, atol=2e-6)


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_positions_that_are_nowhere(run: Run, mode: str, padding: str, align_corners: int) -> None:
    x = floats(2, 2, 2, 3)
    grid = np.zeros((2, 1, len(NOWHERE), 2), np.float32)
    grid[0, 0, :, 0] = grid[1, 0, :, 1] = NOWHERE
    attrs = {"mode": mode, "padding": padding, "align_corners": align_corners}
    (y,) = run("grid_sample", [x, grid], [((2, 2, 1, len(NOWHERE)), "f4")], **attrs)
    assert np.isfinite(y).all()
    if padding == "zeros":
        assert not y.any()


def test_roi_align_of_a_plain_image(run: Run) -> None:
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2, 1, 1) * np.ones((1, 1, 8, 9), np.float32)
    rois = np.array([[1, 2, 5, 6], [0, 0, 8, 7], [2, 2, 2, 2]], np.float32)
    which = np.array([2, 0, 1])
    for mode in ("avg", "max"):
        (y,) = run("roi_align", [x, rois, which], [((3, 2, 3, 2), "f4")], mode=mode, sampling_ratio=1, half_pixel=0)
        if mode == "avg":
            np.testing.assert_allclose(y, x[which, :, :3, :2], rtol=1e-6)
        assert (y <= x[which, :, :3, :2] * (1 + 1e-6)).all()


def test_regions_that_are_nowhere_give_zeros(run: Run) -> None:
    x = np.ones((2, 1, 4, 4), np.float32)
    rois = np.array([[0, 0, 3, 3]] * 3 + [[v, 0, 3, 3] for v in NOWHERE] + [[3, 3, -1e6, -1e6]], np.float32)
    which = np.zeros(len(rois), np.int64)
    which[1:3] = [2, -1]
    (y,) = run("roi_align", [x, rois, which], [((len(rois), 1, 2, 2), "f4")])
    assert y[0].all()
    assert not y[1:6].any()
    assert np.isfinite(y).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_columns_without_offsets_are_those_of_a_convolution(run: Run, groups: int) -> None:
    x = floats(2, 4, 6, 7)
    attrs = {"kernel": [3, 2], "strides": [2, 1], "dilations": [1, 2], "pads": [1, 1], "size": [3, 6], "groups": groups}
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [padded[:, :, i : i + 5 : 2, 2 * j : 2 * j + 6] for i in range(3) for j in range(2)]
    r = np.stack(taps, 2).reshape(2, 4, 6, 18)
    offsets = np.zeros((2, groups * 12, 3, 6), np.float32)
    mask = floats(2, groups * 6, 3, 6)
    for view in (x, np.asfortranarray(x)):
        (y,) = run("deform_columns", [view, offsets, None], [(r.shape, "f4")], **attrs)
        np.testing.assert_array_equal(y, r)
        (y,) = run("deform_columns", [view, offsets, mask], [(r.shape, "f4")], **attrs)
        factor = np.repeat(mask.reshape(2, groups, 6, 18), 4 // groups, 1)
        np.testing.assert_array_equal(y, r * factor)
    offsets[:] = np.resize(NOWHERE, offsets.shape)
    assert not run("deform_columns", [x, offsets, None], [(r.shape, "f4")], **attrs)[0].any()


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = (
        np.maximum(np.minimum(a[:2], a[2:]), np.minimum(b[:2], b[2:])),
        np.minimum(np.maximum(a[:2], a[2:]), np.maximum(b[:2], b[2:])),
    )
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / float(np.prod(abs(a[2:] - a[:2])) + np.prod(abs(b[2:] - b[:2])) - common)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_nms(run: Run, threshold: float | None) -> None:
    boxes = RNG.random((2, 33, 4)).astype(np.float32)
    scores = np.round(RNG.random((2, 3, 33)), 1).astype(np.float32)  # many are equal
    scores[0, 0, 3] = np.nan
    rows = []
    for n, c in np.ndindex(2, 3):
        kept: list[int] = []
        for i in sorted(
            np.flatnonzero(scores[n, c] > (-1 if threshold is None else threshold)), key=lambda i: -scores[n, c, i]
        ):
            if len(kept) < 5 and all(overlap(boxes[n, i], boxes[n, j]) <= 0.2 for j in kept):
                kept.append(int(i))
        rows += [[n, c, i] for i in kept]
    attrs = {"most": 5, "iou_threshold": 0.2, **({} if threshold is None else {"score_threshold": threshold})}
    y, count = run("nms", [boxes, scores], [((30, 3), "i8"), ((), "i8")], **attrs)
    assert y[: int(count)].tolist() == rows
    assert not y[int(count) :].any()


def test_nms_of_boxes_that_are_no_numbers(run: Run) -> None:
    boxes = np.resize(NOWHERE, (1, 12, 4))
    y, count = run("nms", [boxes, floats(1, 1, 12)], [((12, 3), "i8"), ((), "i8")], most=2**62, iou_threshold=0.0)
    assert 0 < count <= 12
    assert sorted(set(y[: int(count), 2].tolist())) == sorted(y[: int(count), 2].tolist())


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 7, 8, 15, 16, 17, 61, 64, 66, 100, 134, 257, 400])
def test_dft(run: Run, n: int, dtype: str) -> None:
    x = RNG.normal(size=(3, n, 2, 2)).astype(dtype)
    signal = x[..., 0].astype(np.complex128) + 1j * x[..., 1]
    tolerance = {"rtol": 0, "atol": (1e-5 if dtype == "f4" else 1e-12) * n}

    def parts(z: np.ndarray) -> np.ndarray:
        return np.stack([z.real, z.imag], -1)

    for length in (n, n + 3, max(1, n - 2)):
        shape = (3, length, 2, 2)
        (y,) = run("dft", [x], [(shape, dtype)], axis=1, length=length)
        np.testing.assert_allclose(y, parts(np.fft.fft(signal, length, axis=1)), **tolerance)
        (y,) = run("dft", [x[::-1]], [(shape, dtype)], axis=1, length=length, inverse=1)
        np.testing.assert_allclose(y, parts(np.fft.ifft(signal[::-1], length, axis=1)), **tolerance)
        (y,) = run("dft", [x[..., :1]], [((3, length // 2 + 1, 2, 2), dtype)], axis=1, length=length)
        np.testing.assert_allclose(y, parts(np.fft.rfft(x[..., 0].astype("f8"), length, axis=1)), **tolerance)
        (y,) = run("dft", [x], [((3, length, 2, 1), dtype)], axis=1, length=length, inverse=1, half=1)
        np.testing.assert_allclose(y[..., 0], np.fft.irfft(signal, length, axis=1), **tolerance)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 9])
def test_det(run: Run, n: int, dtype: str) -> None:
    x = RNG.normal(size=(4, 5, n, n)).astype(dtype)
    x[0, 0] = 0
    for view in (x, np.swapaxes(x, 2, 3), x[::-1]):
        np.testing.assert_allclose(
            run("det", [view], [((4, 5), dtype)])[0], np.linalg.det(view.astype("f8")), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("dtype", ["f4", "i1", "u1"])
def test_pool_indices(run: Run, dtype: str) -> None:
    x = (RNG.integers(0, 9, (2, 3, 5, 6))).astype(dtype)
    kernel, strides, dilations, pads = [2, 3], [1, 2], [2, 1], [1, 0, 1, 1]
    shape = (2, 3, 5, 3)
    numbers = np.arange(x.size).reshape(x.shape)
    for column_major in (0, 1):
        places = numbers
        if column_major:
            places = np.swapaxes(np.arange(x.size).reshape(2, 3, 6, 5), 2, 3)
        values, indices = np.zeros(shape, dtype), np.zeros(shape, np.int64)
        for n, c, i, j in np.ndindex(*shape):
            taps = [(i - 1 + 2 * a, 2 * j + b) for a in range(2) for b in range(3)]
            taps = [t for t in taps if 0 <= t[0] < 5 and 0 <= t[1] < 6]
            best = max(taps, key=lambda t: x[n, c, t[0], t[1]])
            values[n, c, i, j], indices[n, c, i, j] = x[n, c][best], places[n, c][best]
        attrs = {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}
        for view in (x, np.asfortranarray(x)):
            outputs = [(shape, dtype), (shape, "i8")]
            y, at = run("pool_indices", [view], outputs, **attrs, column_major=column_major)
            np.testing.assert_array_equal(y, values)
            np.testing.assert_array_equal(at, indices)


def test_windows_larger_than_the_image_end(run: Run) -> None:
    big = 2**31 - 1
    x = floats(1, 1, 3, 3)
    attrs = {"kernel": [big, big], "pads": [big, big, big, big], "dilations": [1, 1]}
    y, at = run("pool_indices", [x], [((1, 1, 2, 2), "f4"), ((1, 1, 2, 2), "i8")], **attrs)
    assert np.isneginf(y[0, 0, 0, 0])
    assert y[0, 0, 1, 1] == x[0, 0, 0, 0]
    assert not at.any()


@pytest.mark.parametrize(
    ("family", "inputs", "outputs", "attrs"),
    [
        ("grid_sample", [(1, 1, 3, 3), (1, 2, 2, 3)], [(1, 1, 2, 2)], {}),
        ("grid_sample", [(1, 1, 3, 3), (2, 2, 2, 2)], [(1, 1, 2, 2)], {}),
        ("grid_sample", [(1, 1, 0, 3), (1, 2, 2, 2)], [(1, 1, 2, 2)], {}),
        ("grid_sample", [(1, 1, 3, 3), (1, 2, 2, 2)], [(1, 1, 2, 2)], {"mode": "area"}),
        ("grid_sample", [(1, 1, 3, 3), (1, 2, 2, 2)], [(1, 1, 2, 3)], {}),
        ("roi_align", [(1, 1, 3, 3), (2, 4), (2,)], [(2, 1, 2, 2)], {}),  # float indices
        ("deform_columns", [(1, 2, 3, 3), (1, 2, 3, 3), None], [(1, 2, 1, 8)], {"size": [3, 3]}),
        ("deform_columns", [(1, 2, 3, 3), (1, 2, 3, 3), None], [(1, 2, 1, 9)], {"size": [3, 3], "groups": 0}),
        ("deform_columns", [(1, 2, 3, 3), (1, 2, 3, 3), None], [(1, 2, 1, 9)], {"size": [3, 3], "kernel": [2**40, 1]}),
        ("dft", [(4, 2)], [(4, 2)], {"axis": 1}),
        ("dft", [(4, 3)], [(4, 2)], {"axis": 0}),
        ("dft", [(4, 2)], [(5, 2)], {"axis": 0}),
        ("dft", [(4, 2)], [(4, 2)], {"axis": 0, "length": 0}),
        ("dft", [(4, 2)], [(4, 2)], {"axis": 0, "length": 2**40}),
        ("dft", [(4, 2)], [(4, 1)], {"axis": 0, "half": 1}),
        ("det", [(3, 2)], [()], {}),
        ("det", [(2, 3, 3)], [(3,)], {}),
    ],
)
def test_what_does_not_fit_is_refused(family: str, inputs: Any, outputs: Any, attrs: Any) -> None:
    xs = [None if shape is None else np.zeros(shape, np.float32) for shape in inputs]
    with pytest.raises(PlanishError):
        _core.run_op(family, xs, [np.zeros(shape, np.float32) for shape in outputs], attrs)


def test_nms_of_many_images_without_boxes(run: Run) -> None:
    shapes = (1 << 40, 0, 4), (1 << 40, 1 << 20, 0)
    rows, count = run("nms", [np.empty(s, np.float32) for s in shapes], [((0, 3), "i8"), ((), "i8")], most=10)
    assert rows.shape == (0, 3)
    assert count == 0
