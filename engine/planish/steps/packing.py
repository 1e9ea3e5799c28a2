"""Packing weights in the run, for layers whose weights are not constant.

A packed format (csrc/formats/dense.h) is the weights with their axes rearranged and filled up with zeros. So a `fill`
and ordinary copies into strided views of the packed bytes make it, and any kernel that reads packed constants reads the
result.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from planish.errors import ModelError
from planish.runtime.view import View, row_major
from planish.steps.kind import Fact, Facts, Kind, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter

_PANEL, _QUAD = 16, 4


def packed_dense(e: Emitter, w: View) -> View:
    """The bytes of `dense_f32` or `dense_s8` (by w's dtype) made from w [groups, outputs, taps…, depth]."""
    groups, outputs, *taps, depth = w.shape
    quad = 1 if w.dtype == "float32" else _QUAD
    panels, quads = -(-outputs // _PANEL), -(-depth // quad)
    lanes = (groups, panels, *taps, quads, _PANEL, quad)
    whole = e.temporary("uint8", (prod(lanes) * w.itemsize,))
    if outputs % _PANEL or depth % quad:
        e.add("fill", [], [whole], {"value": 0})
    group, panel, *tap, four, lane, one = row_major(lanes, w.itemsize)
    for n, many, wide in _pieces(outputs, _PANEL):
        for k, deep, few in _pieces(depth, quad):
            shape = (groups, many, wide, *taps, deep, few)
            to = View(whole.buffer, n // _PANEL * panel + k // quad * four, w.dtype, shape, ())
            to.strides = (group, panel, lane, *tap, four, one)
            piece = w.part(1, n, many * wide).part(-1 % len(w.shape), k, deep * few)
            from_group, from_output, *from_tap, from_depth = piece.strides
            source = View(piece.buffer, piece.offset, piece.dtype, shape, ())
            source.strides = (from_group, wide * from_output, from_output, *from_tap, few * from_depth, from_depth)
            e.add("copy", [source], [to])
    return whole


def packed_depthwise(e: Emitter, w: View) -> View:
    """The bytes of `depthwise` float32 made from w [channels, taps…]."""
    channels, *taps = w.shape
    pitch = -(-channels // _PANEL) * _PANEL
    whole = e.temporary("uint8", (prod(taps) * pitch * w.itemsize,))
    if channels % _PANEL:
        e.add("fill", [], [whole], {"value": 0})
    *tap, one = row_major((*taps, pitch), w.itemsize)
    e.add("copy", [w], [View(whole.buffer, 0, w.dtype, w.shape, (one, *tap))])
    return whole


def _pieces(size: int, unit: int) -> Iterator[tuple[int, int, int]]:
    """(start, count, length) of the whole units in `size`, and of the rest."""
    whole = size // unit
    if whole:
        yield 0, whole, unit
    if size % unit:
        yield whole * unit, 1, size % unit


@register
class Pack(Kind):
    """A matrix [N, K] of float32, computed in the run, as the bytes of format `dense_f32`."""

    name = "pack"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        if len(facts[0].shape) != 2 or facts[0].dtype != "float32":
            raise ModelError(
                f"{step.where()}: weights {facts[0].dtype}{list(facts[0].shape)}, not a float32 matrix; "
                "check the model with onnx.checker"
            )
        n, k = facts[0].shape
        return [Fact("uint8", (-(-n // _PANEL) * _PANEL * k * 4,))]

    def emit(self, step: Step, e: Emitter) -> None:
        e.alias(packed_dense(e, e.input(0).unsqueezed()))
