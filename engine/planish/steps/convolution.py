"""Convolution: one kind for float and integer, dense, depthwise and compressed weights; channels-last in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planish.errors import ModelError
from planish.runtime.view import View, channels_last
from planish.steps.kind import Fact, Facts, Kind, register
from planish.steps.packing import packed_dense, packed_depthwise
from planish.steps.pooling import resolve_pads, window_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter

#: Attributes that the native families take as they are: those of the epilogue, and of the weights' format.
NATIVE_ATTRS = ("lo", "hi", "x_zero", "y_zero", "bf16")


@register
class Conv(Kind):
    """ONNX Conv and ConvTranspose (attribute transposed) with fused epilogue.

    Inputs: x [N, C, spatial…], weights (packed), bias, scale, zw, residual; the last four optional.
    Attributes: family (the native family), N and C (output and input channels), kernel, strides, dilations, pads,
    auto_pad, groups, dtype (of the output), lo, hi, x_zero, y_zero; for transposed also output_padding and
    output_shape.
    """

    name = "conv"

    @staticmethod
    def window(step: Step, spatial: Sequence[int]) -> tuple[dict[str, Any], tuple[int, ...]]:
        """The resolved window and the output's spatial extents."""
        n = len(spatial)
        a = step.attrs
        kernel = a["kernel"]
        strides, dilations = a.get("strides") or [1] * n, a.get("dilations") or [1] * n
        if len(kernel) != n:
            raise ModelError(
                f"{step.where()}: a kernel of {len(kernel)} dimensions on an input of {n}; check the input's rank"
            )
        if a.get("transposed"):
            pads, sizes = _transposed(step, spatial, kernel, strides, dilations)
        else:
            pads = resolve_pads(
                a.get("auto_pad", ""), spatial, kernel, strides, dilations, a.get("pads") or [0] * (2 * n)
            )
            sizes = window_output(step, spatial, kernel, strides, dilations, pads)
        return {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}, sizes

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x = facts[0]
        if len(x.shape) < 3 or x.shape[1] != step.attrs["C"]:
            raise ModelError(
                f"{step.where()}: expects {step.attrs['C']} channels on axis 1, got {list(x.shape)}; feed NCHW"
            )
        _, sizes = self.window(step, x.shape[2:])
        return [Fact(step.attrs["dtype"], (x.shape[0], step.attrs["N"], *sizes))]

    def emit(self, step: Step, e: Emitter) -> None:
        self.emit_with(step, e, e.input(1))

    def emit_with(self, step: Step, e: Emitter, weights: View) -> None:
        """The instructions, for weights that lie packed in `weights`."""
        x = e.input(0)
        last = channels_last(len(x.shape))
        attrs, sizes = self.window(step, x.shape[2:])
        if step.attrs.get("merge_width"):
            x = _merge_width(e, x, attrs, sizes[-1], step.attrs.get("x_zero", 0))
        else:
            x = e.innermost(x, 1, last)
        attrs.update({k: step.attrs[k] for k in NATIVE_ATTRS if k in step.attrs})
        attrs["N"], attrs["groups"] = step.attrs["N"], step.attrs.get("groups", 1)
        if step.attrs.get("transposed"):
            attrs["transposed"] = 1
        y = e.output(0, last)
        count = 4 if step.attrs.get("family") == "dwconv" else 5  # depthwise weights hold their zero points
        vectors = [_dense_vector(e, e.optional(i)) for i in range(2, count)]
        add_with_residual(step, e, attrs, [x.permute(last), weights, *vectors], y, last)


@register
class ComputedConv(Conv):
    """As conv, with weights of the run: input 1 is what ONNX calls W, float32 or int8, packed in every run.

    Attributes as conv's without family, N, C and kernel, which follow from W's shape; no residual.
    """

    name = "computed_conv"

    @staticmethod
    def resolved(step: Step, w: Fact | View) -> Step:
        """The step with the attributes that follow from W."""
        shape, groups = w.shape, step.attrs["groups"]
        transposed = bool(step.attrs.get("transposed"))
        if not 3 <= len(shape) <= 5 or groups < 1 or shape[0] % groups or 0 in shape[:2]:
            raise ModelError(f"{step.where()}: weights of shape {list(shape)} in {groups} groups; check their shape")
        n, c = (shape[1] * groups, shape[0]) if transposed else (shape[0], shape[1] * groups)
        attrs = {**step.attrs, "N": n, "C": c, "kernel": list(shape[2:])}
        if not transposed and groups == n == c and groups > 1 and w.dtype == "float32":
            attrs["family"] = "dwconv"
        return replace(step, attrs=attrs)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        return super().infer(self.resolved(step, facts[1]), facts)

    def emit(self, step: Step, e: Emitter) -> None:
        w = e.input(1)
        resolved = self.resolved(step, w)
        if resolved.attrs.get("family") == "dwconv":
            self.emit_with(resolved, e, packed_depthwise(e, e.reshaped(w, (w.shape[0], *w.shape[2:]))))
            return
        groups, axes = step.attrs["groups"], range(3, len(w.shape) + 1)
        split = e.reshaped(w, (groups, w.shape[0] // groups, *w.shape[1:]))
        order = (0, 2, *axes, 1) if step.attrs.get("transposed") else (0, 1, *axes, 2)
        self.emit_with(resolved, e, packed_dense(e, split.permute(order)))


def _dense_vector(e: Emitter, view: View | None) -> View | None:
    return None if view is None or not view.shape else e.innermost(view, 0, (0,))


def _merge_width(e: Emitter, x: View, attrs: dict[str, Any], width: int, fill: int) -> View:
    """Few channels: the kernel's width becomes channels. In a row-padded channels-last copy, the kw·C values under the
    kernel are adjacent, so a view with overlapping pixels is a convolution of kernel width 1 over kw·C channels.
    Changes `attrs`."""
    kw, stride = attrs["kernel"][-1], attrs["strides"][-1]
    rank, last = len(x.shape), channels_last(len(x.shape))
    before = attrs["pads"][rank - 3]
    padded = (width - 1) * stride + kw
    copy = e.temporary(x.dtype, (*x.shape[:-1], padded), last)
    inside = min(x.shape[-1], padded - before)
    axis = rank - 1
    if before:
        e.add("fill", [], [copy.part(axis, 0, before)], {"value": fill})
    if before + inside < padded:
        e.add("fill", [], [copy.part(axis, before + inside, padded - before - inside)], {"value": fill})
    e.add("copy", [x.part(axis, 0, inside)], [copy.part(axis, before, inside)])
    for key, value in (("kernel", 1), ("strides", 1)):
        attrs[key] = [*attrs[key][:-1], value]
    attrs["pads"] = [*attrs["pads"]]
    attrs["pads"][rank - 3] = attrs["pads"][-1] = 0
    shape, strides = list(copy.shape), list(copy.strides)
    shape[1], shape[axis] = kw * shape[1], width
    strides[axis] *= stride
    return View(copy.buffer, copy.offset, copy.dtype, tuple(shape), tuple(strides))


def add_with_residual(
    step: Step, e: Emitter, attrs: dict[str, Any], operands: list[View | None], y: View, order: tuple[int, ...]
) -> None:
    """Emits the anchor; a residual (input 5) rides in its epilogue where it has y's shape and layout, else it is added
    after."""
    family = step.attrs.get("family", "conv")
    residual = e.optional(5)
    target = y.permute(order)
    if residual is None:
        e.add(family, operands, [target], attrs)
        return
    fits = residual.shape == y.shape and residual.permute(order).strides[-1] == y.itemsize
    if fits and family != "dwconv":
        e.add(family, [*operands, residual.permute(order)], [target], attrs)
        return
    plain = {k: v for k, v in attrs.items() if k not in ("lo", "hi")}
    middle = e.temporary(y.dtype, y.shape, order)
    e.add(family, operands, [middle.permute(order)], plain)
    e.add("binary", [middle, residual.broadcast(y.shape)], [y], {"op": "add"})
    if "lo" in attrs or "hi" in attrs:
        bounds = {"lo": attrs.get("lo", float("-inf")), "hi": attrs.get("hi", float("inf"))}
        e.add("unary", [y], [y], {"op": "clip", **bounds})


def _transposed(
    step: Step, spatial: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], tuple[int, ...]]:
    """Pads and output extents of ONNX ConvTranspose."""
    n, a = len(spatial), step.attrs
    extra = a.get("output_padding") or [0] * n
    full = [(spatial[i] - 1) * strides[i] + extra[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(n)]
    auto = a.get("auto_pad", "")
    wanted = a.get("output_shape")
    if not wanted and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [spatial[i] * strides[i] for i in range(n)]
    if wanted:
        total = [max(0, full[i] - wanted[i]) for i in range(n)]
        begins = [t - t // 2 if auto == "SAME_LOWER" else t // 2 for t in total]
        if auto not in ("SAME_UPPER", "SAME_LOWER"):  # ONNX: the smaller half first only for SAME_UPPER
            begins = [t - t // 2 for t in total]
        pads = begins + [t - b for t, b in zip(total, begins, strict=True)]
        sizes = list(wanted)
    else:
        pads = [0] * (2 * n) if auto == "VALID" else list(a.get("pads") or [0] * (2 * n))
        sizes = [full[i] - pads[i] - pads[i + n] for i in range(n)]
    if len(pads) != 2 * n or min(sizes, default=0) < 0:
        raise ModelError(f"{step.where()}: attributes do not fit the input {list(spatial)}; repair the model")
    return pads, tuple(sizes)
