"""Resizing in the forms that the kernel family `resize` does not have: a product with a matrix of weights per axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from planish.errors import ModelError
from planish.steps.kind import Fact, Facts, Kind, register
from planish.steps.movement import Resize

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter
    from planish.runtime.view import View

Weights = npt.NDArray[np.float64]

#: Elements of one axis's matrix of weights.
_LARGEST = 1 << 24


@register
class Resample(Kind):
    """ONNX Resize with antialiasing or tf_crop_and_resize: inputs and attributes as of kind `resize`, and attributes
    antialias, extrapolation."""

    name = "resample"
    host_inputs = (1, 2, 3)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape, _ = Resize.plan(step, facts)
        if step.attrs["coordinate"] == "tf_crop_and_resize":
            regions(step, facts)
        if any(n and (n * m > _LARGEST or not m) for n, m in zip(shape, facts[0].shape, strict=True)):
            raise ModelError(f"node '{step.name}' (resize): {list(facts[0].shape)} to {list(shape)}; feed another size")
        return [Fact(facts[0].dtype, shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        facts = Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs])
        shape, scales = Resize.plan(step, facts)
        crops = step.attrs["coordinate"] == "tf_crop_and_resize"
        region = regions(step, facts) if crops else [(0.0, 1.0)] * len(shape)
        y = e.output(0)
        view = e.input(0)
        outside: list[tuple[int, int, int]] = []
        for axis, (out, scale) in enumerate(zip(shape, scales, strict=True)):
            size = view.shape[axis]
            if 0 in shape or (out == size and scale == 1.0 and region[axis] == (0.0, 1.0)):
                continue
            at = positions(step.attrs["coordinate"], size, out, scale, region[axis])
            if crops:
                inside = np.flatnonzero((at >= 0) & (at <= size - 1))
                first, last = (int(inside[0]), int(inside[-1]) + 1) if inside.size else (out, out)
                outside += [(axis, 0, first), (axis, last, out - last)]
            view = _product(e, weights(step.attrs, at, size, scale), view, axis)
        e.add("copy", [view], [y])
        for axis, start, count in outside:
            if count:
                e.add("fill", [], [y.part(axis, start, count)], {"value": step.attrs["extrapolation"]})


def regions(step: Step, facts: Facts) -> list[tuple[float, float]]:
    """The part of each axis that is read, from input 1: starts, then ends, of all axes or of attribute axes."""
    rank = len(facts[0].shape)
    axes = [a % rank for a in step.attrs.get("axes") or range(rank)]
    given = facts.value(1).ravel()
    if given.size != 2 * len(axes) or not np.isfinite(given).all():
        raise ModelError(
            f"node '{step.name}' (resize): a region of {given.size} numbers for {len(axes)} axes; repair it"
        )
    found = [(0.0, 1.0)] * rank
    for i, axis in enumerate(axes):
        found[axis] = (float(given[i]), float(given[i + len(axes)]))
    return found


def positions(coordinate: str, size: int, out: int, scale: float, region: tuple[float, float]) -> Weights:
    """Where each of `out` results lies among `size` pixels (ONNX Resize, coordinate_transformation_mode)."""
    o = np.arange(out, dtype=np.float64)
    length = scale * size
    if coordinate == "tf_crop_and_resize":
        start, end = region
        span = (end - start) * (size - 1)
        return start * (size - 1) + (o * span / (length - 1) if length != 1 else np.full(out, span / 2))
    if coordinate == "align_corners":
        return o * (size - 1) / (length - 1) if length != 1 else o * 0
    if coordinate == "asymmetric":
        return o / scale
    half = (o + 0.5) / scale - 0.5
    if coordinate == "pytorch_half_pixel":
        return half if length != 1 else np.full(out, -0.5)
    return half + (size / 2 * (1 - out / length) if coordinate == "half_pixel_symmetric" else 0)


def weights(attrs: dict[str, Any], at: Weights, size: int, scale: float) -> npt.NDArray[np.float32]:
    """The matrix [results, pixels] whose rows weigh the pixels around each position; those outside count as the edge,
    or with attribute exclude_outside not at all."""
    shrink = min(scale, 1.0) if attrs["antialias"] else 1.0
    reach = {"nearest": 1.0, "linear": 1.0, "cubic": 2.0}[attrs["mode"]] / shrink
    at = np.clip(at, -reach - 1, size + reach)
    result = np.zeros((len(at), size))
    for row, x in zip(result, at, strict=True):
        if attrs["mode"] == "nearest":
            row[int(np.clip(_nearest(attrs["nearest_mode"], x), 0, size - 1))] = 1
            continue
        pixels = np.arange(int(np.floor(x - reach)), int(np.ceil(x + reach)) + 1)
        distance = np.abs(pixels - x) * shrink
        near = np.maximum(1 - distance, 0) if attrs["mode"] == "linear" else _cubic(distance, attrs["cubic_a"])
        if attrs["exclude_outside"]:
            near = np.where((pixels >= 0) & (pixels < size), near, 0)
        np.add.at(row, np.clip(pixels, 0, size - 1), near / (near.sum() or 1.0))
    return result.astype(np.float32)


def _nearest(mode: str, x: float) -> float:
    if mode == "floor":
        return float(np.floor(x))
    if mode == "ceil":
        return float(np.ceil(x))
    return float(np.ceil(x - 0.5) if mode == "round_prefer_floor" else np.floor(x + 0.5))


def _cubic(d: Weights, a: float) -> Weights:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _product(e: Emitter, matrix: npt.NDArray[np.float32], x: View, axis: int) -> View:
    """The matrix times x along one axis."""
    view = x.unsqueezed() if len(x.shape) == 1 else x
    at = axis + len(view.shape) - len(x.shape)
    rest = [a for a in range(len(view.shape)) if a != at]
    order = (*rest[:-1], at, rest[-1])
    columns = view.permute(order)
    batch, rows = columns.shape[:-2], matrix.shape[0]
    y = e.temporary(x.dtype, (*batch, rows, columns.shape[-1]))
    e.add("batch_matmul", [e.literal(matrix).broadcast((*batch, *matrix.shape)), columns], [y])
    back = y.permute([order.index(a) for a in range(len(order))])
    return back if len(x.shape) > 1 else e.reshaped(back, (rows,))
