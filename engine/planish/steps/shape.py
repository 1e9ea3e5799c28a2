"""Kinds that only change how elements are seen: free wherever strides allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from planish.errors import ModelError
from planish.runtime.view import ITEM_SIZES
from planish.steps.kind import Array, Fact, Facts, Kind, normal_axis, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


class Reshaping(Kind):
    """Base: the output has the input's elements in row-major order under another shape."""

    def target(self, step: Step, facts: Facts) -> tuple[int, ...]:
        raise NotImplementedError

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        shape = self.target(step, facts)
        if int(np.prod(shape, dtype=np.int64)) != int(np.prod(x.shape, dtype=np.int64)) or min(shape, default=0) < 0:
            raise ModelError(
                f"{step.where()}: cannot view {list(x.shape)} as {list(shape)}; check the shapes fed to the model"
            )
        return [Fact(x.dtype, shape, None if x.value is None else x.value.reshape(shape))]

    def emit(self, step: Step, e: Emitter) -> None:
        e.alias(e.reshaped(e.input(0), e.fact(step.outputs[0]).shape))


@register
class Reshape(Reshaping):
    """ONNX Reshape: 0 keeps a dimension (unless attribute allowzero), -1 is what remains."""

    name = "reshape"
    host_inputs = (1,)

    def target(self, step: Step, facts: Facts) -> tuple[int, ...]:
        old, wanted = facts[0].shape, facts.ints(1)
        if not step.attrs.get("allowzero", 0):
            wanted = [old[i] if n == 0 and i < len(old) else n for i, n in enumerate(wanted)]
        if -1 in wanted:
            known = int(np.prod([n for n in wanted if n != -1], dtype=np.int64))
            total = int(np.prod(old, dtype=np.int64))
            wanted[wanted.index(-1)] = total // known if known else 0
        return tuple(wanted)


@register
class Flatten(Reshaping):
    """ONNX Flatten: two dimensions, cut before attribute axis."""

    name = "flatten"

    def target(self, step: Step, facts: Facts) -> tuple[int, ...]:
        shape = facts[0].shape
        axis = step.attrs.get("axis", 1)
        axis = axis + len(shape) if axis < 0 else axis
        return int(np.prod(shape[:axis], dtype=np.int64)), int(np.prod(shape[axis:], dtype=np.int64))


@register
class Squeeze(Reshaping):
    """ONNX Squeeze: axes from input 1, else every axis of size one."""

    name = "squeeze"
    host_inputs = (1,)

    def target(self, step: Step, facts: Facts) -> tuple[int, ...]:
        shape = facts[0].shape
        if facts.get(1) is None:
            return tuple(n for n in shape if n != 1)
        axes = {normal_axis(step, a, len(shape)) for a in facts.ints(1)}
        if any(shape[a] != 1 for a in axes):
            raise ModelError(f"{step.where()}: an axis of {list(shape)} is not of size 1; check the shapes fed")
        return tuple(n for i, n in enumerate(shape) if i not in axes)


@register
class Unsqueeze(Reshaping):
    """ONNX Unsqueeze: axes of the result, from input 1."""

    name = "unsqueeze"
    host_inputs = (1,)

    def target(self, step: Step, facts: Facts) -> tuple[int, ...]:
        old = list(facts[0].shape)
        axes = facts.ints(1)
        rank = len(old) + len(axes)
        at = {normal_axis(step, a, rank) for a in axes}
        return tuple(1 if i in at else old.pop(0) for i in range(rank))


@register
class Identity(Kind):
    """The same tensor under another number."""

    name = "identity"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        return [Fact(x.dtype, x.shape, x.value)]

    def emit(self, step: Step, e: Emitter) -> None:
        e.alias(e.input(0))


@register
class BitCast(Kind):
    """ONNX BitCast: the same bits as attribute to, a dtype of the same size."""

    name = "bit_cast"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(step.attrs["to"], facts[0].shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        if ITEM_SIZES[step.attrs["to"]] != x.itemsize:
            raise ModelError(f"node '{step.name}' (bit_cast): {x.dtype} is not of the size of {step.attrs['to']}")
        e.alias(x.cast_bytes(step.attrs["to"]))


@register
class Transpose(Kind):
    """ONNX Transpose: attribute perm, default reversed."""

    name = "transpose"

    def perm(self, step: Step, rank: int) -> list[int]:
        perm = step.attrs.get("perm") or list(range(rank))[::-1]
        if sorted(perm) != list(range(rank)):
            raise ModelError(f"{step.where()}: perm {perm} does not fit a tensor of rank {rank}; repair the model")
        return list(perm)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        return [Fact(x.dtype, tuple(x.shape[a] for a in self.perm(step, len(x.shape))))]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x = values[0]
        assert x is not None
        return [x.transpose(self.perm(step, x.ndim))]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        e.alias(x.permute(self.perm(step, len(x.shape))))


@register
class Expand(Kind):
    """ONNX Expand: broadcasts to the shape of input 1 (two-sided)."""

    name = "expand"
    host_inputs = (1,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        shape = np.broadcast_shapes(x.shape, tuple(facts.ints(1)))
        return [Fact(x.dtype, shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x, shape = values
        assert x is not None and shape is not None
        return [np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in shape)))]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        shape = e.fact(step.outputs[0]).shape
        lead = len(shape) - len(x.shape)
        if lead:
            view = e.reshaped(x, (1,) * lead + x.shape)
            x = view
        e.alias(x.broadcast(shape))


class Blocks(Kind):
    """Base: an image [N, C, H, W] whose axes are split, reordered and joined; attributes blocksize, mode (DCR, CRD)."""

    def axes(self, step: Step, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """The shape with split axes, and their new order; pairs of them are joined from axis 1 on."""
        raise NotImplementedError

    def plan(self, step: Step, shape: tuple[int, ...]) -> tuple[list[int], list[int], tuple[int, ...]]:
        if len(shape) != 4 or step.attrs["blocksize"] < 1:
            raise ModelError(
                f"node '{step.name}' ({self.name}): takes [N, C, H, W], not {list(shape)}; repair the model"
            )
        split, order = self.axes(step, shape)
        n, *rest = (split[a] for a in order)
        if self.name == "depth_to_space":
            joined = (n, rest[0], rest[1] * rest[2], rest[3] * rest[4])
        else:
            joined = (n, rest[0] * rest[1] * rest[2], rest[3], rest[4])
        if np.prod(joined, dtype=np.int64) != np.prod(shape, dtype=np.int64):
            raise ModelError(
                f"node '{step.name}' ({self.name}): blocks of {step.attrs['blocksize']} do not fit {list(shape)}; feed "
                "another size"
            )
        return split, order, joined

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(facts[0].dtype, self.plan(step, facts[0].shape)[2])]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        split, order, joined = self.plan(step, x.shape)
        e.alias(e.reshaped(e.reshaped(x, tuple(split)).permute(order), joined))


@register
class DepthToSpace(Blocks):
    """ONNX DepthToSpace: channels become blocks of pixels."""

    name = "depth_to_space"

    def axes(self, step: Step, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
        (n, c, h, w), size = shape, step.attrs["blocksize"]
        if step.attrs["mode"] == "CRD":
            return [n, c // size**2, size, size, h, w], [0, 1, 4, 2, 5, 3]
        return [n, size, size, c // size**2, h, w], [0, 3, 4, 1, 5, 2]


@register
class SpaceToDepth(Blocks):
    """ONNX SpaceToDepth: blocks of pixels become channels."""

    name = "space_to_depth"

    def axes(self, step: Step, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
        (n, c, h, w), size = shape, step.attrs["blocksize"]
        split = [n, c, h // size, size, w // size, size]
        return split, [0, 1, 3, 5, 2, 4] if step.attrs["mode"] == "CRD" else [0, 3, 5, 1, 2, 4]


def slice_bounds(size: int, start: int, end: int, step: int) -> tuple[int, int]:
    """ONNX Slice's clamped start and number of elements along an axis of `size`."""
    indices = range(size)[slice(start, None if end < -size and step < 0 else end, step)]
    return (indices.start if len(indices) else 0), len(indices)


@register
class Slice(Kind):
    """ONNX Slice: starts, ends, axes, steps are inputs 1–4."""

    name = "slice"
    host_inputs = (1, 2, 3, 4)

    @staticmethod
    def cuts(step: Step, facts: Facts) -> list[tuple[int, int, int, int]]:
        """(axis, start, size, step) per sliced axis."""
        shape = facts[0].shape
        starts, ends = facts.ints(1), facts.ints(2)
        axes = facts.ints(3) if facts.get(3) is not None else list(range(len(starts)))
        steps = facts.ints(4) if facts.get(4) is not None else [1] * len(starts)
        if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
            raise ModelError(f"{step.where()}: starts, ends, axes and steps do not fit together; repair the model")
        cuts = []
        for start, end, axis, by in zip(starts, ends, axes, steps, strict=True):
            a = normal_axis(step, axis, len(shape))
            first, count = slice_bounds(shape[a], start, end, by)
            cuts.append((a, first, count, by))
        return cuts

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        shape = list(x.shape)
        value = x.value
        for axis, start, count, by in self.cuts(step, facts):
            shape[axis] = count
            if value is not None:
                value = value.take(range(start, start + count * by, by), axis)
        return [Fact(x.dtype, tuple(shape), value)]

    def emit(self, step: Step, e: Emitter) -> None:
        view = e.input(0)
        given = Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs])
        for axis, start, count, by in self.cuts(step, given):
            view = view.part(axis, start, count, by)
        e.alias(view)


@register
class Split(Kind):
    """ONNX Split: sizes from input 1, else equal parts (the last smaller)."""

    name = "split"
    host_inputs = (1,)

    @staticmethod
    def sizes(step: Step, facts: Facts) -> tuple[int, list[int]]:
        shape = facts[0].shape
        axis = normal_axis(step, step.attrs.get("axis", 0), len(shape))
        count = len(step.outputs)
        if facts.get(1) is not None:
            sizes = facts.ints(1)
        else:
            chunk = -(-shape[axis] // count)
            sizes = [max(0, min(chunk, shape[axis] - i * chunk)) for i in range(count)]
        if len(sizes) != count or sum(sizes) != shape[axis] or min(sizes, default=0) < 0:
            raise ModelError(
                f"{step.where()}: parts {sizes} do not fill axis {axis} of {list(shape)}; check the shapes"
            )
        return axis, sizes

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        axis, sizes = self.sizes(step, facts)
        return [Fact(x.dtype, (*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in sizes]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        x = values[0]
        assert x is not None
        axis, sizes = self.sizes(step, Facts(step, [None if v is None else Fact.of(v) for v in values]))
        return np.split(x, np.cumsum(sizes)[:-1], axis)

    def emit(self, step: Step, e: Emitter) -> None:
        view = e.input(0)
        axis, sizes = self.sizes(step, Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs]))
        start = 0
        for i, size in enumerate(sizes):
            if step.outputs[i] >= 0:
                e.alias(view.part(axis, start, size), i)
            start += size


@register
class Shape(Kind):
    """ONNX Shape (attributes start, end) and Size: always known before the run."""

    name = "shape"
    host_inputs = (0,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        shape = facts[0].shape
        if step.attrs.get("size"):
            return [Fact.of(np.array(int(np.prod(shape, dtype=np.int64)), np.int64))]
        return [Fact.of(np.array(shape[slice(step.attrs.get("start", 0), step.attrs.get("end"))], np.int64))]

    def emit(self, step: Step, e: Emitter) -> None:
        raise AssertionError("a shape is always a known value")
