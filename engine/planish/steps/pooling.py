"""Kinds over spatial windows: max and average pooling, global pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from planish.errors import ModelError
from planish.lowering.lowered import Step
from planish.runtime.view import channels_last
from planish.steps.kind import KINDS, Fact, Facts, Kind, register

if TYPE_CHECKING:
    from planish.runtime.emitter import Emitter

Array = npt.NDArray[Any]


def window_output(
    step: Step,
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """Output extents of a sliding window (ONNX Conv, MaxPool, AveragePool); pads are begins, then ends."""
    n = len(spatial)
    if not len(kernel) == len(strides) == len(dilations) == n or len(pads) != 2 * n:
        raise ModelError(f"node '{step.name}': window attributes do not fit {n} spatial dimensions; repair the model")
    sizes = []
    for i in range(n):
        reach = (kernel[i] - 1) * dilations[i] + 1
        room = spatial[i] + pads[i] + pads[i + n] - reach
        size = (-(-room // strides[i]) if ceil_mode else room // strides[i]) + 1
        if ceil_mode and (size - 1) * strides[i] >= spatial[i] + pads[i]:
            size -= 1  # a window may not start in the end padding
        if room < 0 or size < 0:
            raise ModelError(
                f"node '{step.name}': the window ({reach}) is larger than the padded input "
                f"({spatial[i] + pads[i] + pads[i + n]}) along spatial axis {i}; feed a larger input"
            )
        sizes.append(size)
    return tuple(sizes)


def resolve_pads(
    auto_pad: str,
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> list[int]:
    """Explicit pads for ONNX's auto_pad (NOTSET, VALID, SAME_UPPER, SAME_LOWER)."""
    if auto_pad in ("", "NOTSET"):
        return list(pads)
    if auto_pad == "VALID":
        return [0] * (2 * len(spatial))
    begins, ends = [], []
    for i, size in enumerate(spatial):
        out = -(-size // strides[i])
        total = max(0, (out - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(small if auto_pad == "SAME_UPPER" else large)
        ends.append(large if auto_pad == "SAME_UPPER" else small)
    return begins + ends


def window_attrs(step: Step, spatial: Sequence[int]) -> dict[str, Any]:
    """The step's window with defaults filled in and auto_pad resolved."""
    n = len(spatial)
    a = step.attrs
    kernel = a["kernel"] if a.get("kernel") else list(spatial)
    strides = a.get("strides") or [1] * n
    dilations = a.get("dilations") or [1] * n
    pads = resolve_pads(a.get("auto_pad", ""), spatial, kernel, strides, dilations, a.get("pads") or [0] * (2 * n))
    return {"kernel": list(kernel), "strides": list(strides), "dilations": list(dilations), "pads": pads}


@register
class Pool(Kind):
    """ONNX MaxPool and AveragePool (attribute op), and the global ones (no attribute kernel: the whole map).

    On quantized bytes, average pooling carries x_scale, x_zero, y_scale, y_zero.
    """

    name = "pool"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        w = window_attrs(step, x.shape[2:])
        sizes = window_output(
            step, x.shape[2:], w["kernel"], w["strides"], w["dilations"], w["pads"], bool(step.attrs.get("ceil_mode"))
        )
        return [Fact(x.dtype, (*x.shape[:2], *sizes))]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        last = channels_last(len(x.shape))
        x = e.innermost(x, 1, last)
        attrs = window_attrs(step, x.shape[2:])
        attrs["op"] = step.attrs["op"]
        for key in ("count_include_pad", "x_scale", "x_zero", "y_scale", "y_zero", "lo", "hi"):
            if key in step.attrs:
                attrs[key] = step.attrs[key]
        y = e.output(0, last)
        e.add("pool", [x.permute(last)], [y.permute(last)], attrs)


@register
class PoolIndices(Kind):
    """ONNX MaxPool with the positions of the largest values; attributes of the window, column_major."""

    name = "pool_indices"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        (y,) = KINDS["pool"].infer(step, facts)
        return [y, Fact("int64", y.shape)]

    def emit(self, step: Step, e: Emitter) -> None:
        x = e.input(0)
        attrs = {**window_attrs(step, x.shape[2:]), "column_major": step.attrs.get("column_major", 0)}
        values, indices = (e.output(i) for i in range(2))
        e.add("pool_indices", [x], [values, indices], attrs)


@register
class Col2Im(Kind):
    """ONNX Col2Im: columns [N, C · taps, places], image shape, block shape; attributes strides, dilations, pads.

    Each tap adds its places to a strided part of the image.
    """

    name = "col2im"
    host_inputs = (1, 2)
    #: Taps of a block are an instruction each.
    _MOST_TAPS = 4096

    @staticmethod
    def plan(step: Step, facts: Facts) -> tuple[tuple[int, ...], list[int], tuple[int, ...], dict[str, Any]]:
        """(shape of the image, block, places along each axis, window)"""
        image, block = facts.ints(1), facts.ints(2)
        taps = prod(block)
        if len(facts[0].shape) != 3 or min([*image, *block], default=0) < 1 or taps > Col2Im._MOST_TAPS:
            raise ModelError(f"node '{step.name}' (col2im): blocks {block} of an image {image}; check the model")
        n, channels, places = facts[0].shape
        kind = Step(step.kind, step.name, (), (), {k: v for k, v in step.attrs.items() if v} | {"kernel": block})
        w = window_attrs(kind, image)
        counts = window_output(step, image, block, w["strides"], w["dilations"], w["pads"])
        if channels % taps or places != prod(counts):
            raise ModelError(
                f"node '{step.name}' (col2im): columns {list(facts[0].shape)} do not hold blocks {block} of an image "
                f"{image}; check the shapes"
            )
        return (n, channels // taps, *image), block, counts, w

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return [Fact(facts[0].dtype, self.plan(step, facts)[0])]

    def emit(self, step: Step, e: Emitter) -> None:
        shape, block, counts, w = self.plan(step, Facts(step, [e.fact(t) for t in step.inputs]))
        y = e.output(0)
        e.add("fill", [], [y], {"value": 0.0})
        columns = e.reshaped(e.input(0), (*shape[:2], prod(block), *counts))
        for number, tap in enumerate(np.ndindex(*block)):
            part, place = y, e.reshaped(columns.part(2, number, 1), (*shape[:2], *counts))
            for d, t in enumerate(tap):
                start, step_ = t * w["dilations"][d] - w["pads"][d], w["strides"][d]
                skipped = max(0, -(start // step_))
                count = max(0, min(counts[d], -(-(shape[d + 2] - start) // step_)) - skipped)
                part = part.part(d + 2, start + skipped * step_, count, step_)
                place = place.part(d + 2, skipped, count)
            if 0 not in part.shape:
                e.add("binary", [part, place], [part], {"op": "add"})


@register
class Reduce(Kind):
    """ONNX Reduce* (attribute op): axes from input 1 (none: all, or nothing with noop_with_empty_axes), attribute
    keepdims."""

    name = "reduce"
    host_inputs = (1,)

    @staticmethod
    def axes(step: Step, facts: Facts) -> list[int]:
        rank = len(facts[0].shape)
        given = facts.ints(1) if facts.get(1) is not None else step.attrs.get("axes") or []
        if not given:
            return [] if step.attrs.get("noop") else list(range(rank))
        axes = sorted({a + rank if a < 0 else a for a in given})
        if axes[0] < 0 or axes[-1] >= rank:
            raise ModelError(f"{step.where()}: axes {given} do not fit a tensor of rank {rank}; repair the model")
        return axes

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        axes = self.axes(step, facts)
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        shape = kept if step.attrs.get("keepdims", 1) else tuple(n for i, n in enumerate(x.shape) if i not in axes)
        return [Fact(x.dtype, shape)]

    def evaluate(self, step: Step, values: list[Array | None]) -> list[Array] | None:
        functions: dict[str, Callable[..., Any]] = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}
        x = values[0]
        function = functions.get(step.attrs["op"])
        if x is None or function is None or not x.size:
            return None
        axes = tuple(self.axes(step, Facts(step, [None if v is None else Fact.of(v) for v in values])))
        return [np.asarray(function(x, axis=axes, keepdims=bool(step.attrs.get("keepdims", 1)))).astype(x.dtype)]

    def emit(self, step: Step, e: Emitter) -> None:
        axes = self.axes(step, Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs]))
        x = e.input(0)
        if not axes:
            e.alias(x)
            return
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        attrs = {k: v for k, v in step.attrs.items() if k not in ("keepdims", "noop", "axes")}
        attrs["axes"] = axes
        if step.attrs.get("keepdims", 1):
            y = e.output(0, x.order())
            e.add("reduce", [x], [y], attrs)
            return
        y = e.output(0)
        view = y.reshape(kept)
        if view is None:
            full = e.temporary(y.dtype, kept)
            e.add("reduce", [x], [full], attrs)
            squeezed = full.reshape(y.shape)
            assert squeezed is not None
            e.add("copy", [squeezed], [y])
        else:
            e.add("reduce", [x], [view], attrs)
