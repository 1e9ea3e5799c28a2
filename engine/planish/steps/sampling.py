"""Kinds that read images at positions given as data, and the selection of boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planish.errors import ModelError
from planish.steps.kind import Fact, Facts, Kind, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


def misfit(step: Step, facts: Facts) -> ModelError:
    """The error for inputs whose shapes do not fit together."""
    shapes = ", ".join("absent" if f is None else str(list(f.shape)) for f in facts.facts)
    return ModelError(f"node '{step.name}' ({step.kind}): {shapes} do not fit together; check the shapes")


@register
class GridSample(Kind):
    """ONNX GridSample: x, grid; attributes mode (nearest, linear, cubic), padding, align_corners."""

    name = "grid_sample"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, grid = facts[0].shape, facts[1].shape
        if len(x) < 3 or len(grid) != len(x) or grid[0] != x[0] or grid[-1] != len(x) - 2:
            raise misfit(step, facts)
        return [Fact(facts[0].dtype, (*x[:2], *grid[1:-1]))]

    def emit(self, step: Step, e: Emitter) -> None:
        e.add("grid_sample", [e.input(0), e.input(1)], [e.output(0)], step.attrs)


@register
class RoiAlign(Kind):
    """ONNX RoiAlign: x, regions, batch indices; attributes size (height and width) and those of the kernel family."""

    name = "roi_align"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, rois = facts[0].shape, facts[1].shape
        if len(x) != 4 or len(rois) != 2 or min(step.attrs["size"]) < 0:
            raise misfit(step, facts)
        return [Fact(facts[0].dtype, (rois[0], x[1], *step.attrs["size"]))]

    def emit(self, step: Step, e: Emitter) -> None:
        attrs = {k: v for k, v in step.attrs.items() if k != "size"}
        e.add("roi_align", [e.input(i) for i in range(3)], [e.output(0)], attrs)


@register
class DeformColumns(Kind):
    """The columns of ONNX DeformConv for the product with its weights, [N, group, C / group * taps, pixels].

    Inputs: x, offsets, mask (optional), weights (for their shape); attributes strides, dilations, pads (begins, ends),
    group, offset_group.
    """

    name = "deform_columns"
    host_inputs = (3,)

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        x, offsets, weights, group = facts[0].shape, facts[1].shape, facts[3].shape, step.attrs["group"]
        if not len(x) == len(offsets) == len(weights) == 4 or group < 1 or x[1] != weights[1] * group:
            raise misfit(step, facts)
        for i, size in enumerate(offsets[2:]):
            reach = (weights[i + 2] - 1) * step.attrs["dilations"][i] + 1
            room = x[i + 2] + step.attrs["pads"][i] + step.attrs["pads"][i + 2] - reach
            if room < 0 or size != room // step.attrs["strides"][i] + 1:
                raise misfit(step, facts)
        return [Fact(facts[0].dtype, (x[0], group, weights[1] * weights[2] * weights[3], offsets[2] * offsets[3]))]

    def emit(self, step: Step, e: Emitter) -> None:
        x, offsets = e.input(0), e.input(1)
        kernel = e.fact(step.inputs[3]).shape[2:]
        attrs = {"kernel": list(kernel), "groups": step.attrs["offset_group"], "size": list(offsets.shape[2:])}
        attrs |= {key: step.attrs[key][:2] for key in ("strides", "dilations", "pads")}
        y = e.output(0)
        columns = y.reshape((x.shape[0], x.shape[1], kernel[0] * kernel[1], y.shape[3]))
        assert columns is not None
        e.add("deform_columns", [x, offsets, e.optional(2)], [columns], attrs)


@register
class Nms(Kind):
    """ONNX NonMaxSuppression: boxes, scores, most boxes a class, threshold of overlap, threshold of scores (the last
    three known, optional); attribute center. Gives rows for as many as there can be, and how many there are."""

    name = "nms"
    host_inputs = (2, 3, 4)

    @staticmethod
    def most(facts: Facts) -> int:
        given = facts.get(2)
        return 0 if given is None else max(0, min(int(facts.value(2).ravel()[0]), facts[0].shape[1]))

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        boxes, scores = facts[0].shape, facts[1].shape
        if len(boxes) != 3 or len(scores) != 3:
            raise misfit(step, facts)
        for i in (3, 4):
            if facts.get(i) is not None:
                facts.value(i)
        return [Fact("int64", (scores[0] * scores[1] * self.most(facts), 3)), Fact("int64", ())]

    def emit(self, step: Step, e: Emitter) -> None:
        facts = Facts(step, [None if t < 0 else e.fact(t) for t in step.inputs])
        attrs = {"center": step.attrs["center"], "most": self.most(facts)}
        for i, name in ((3, "iou_threshold"), (4, "score_threshold")):
            if facts.get(i) is not None:
                attrs[name] = float(facts.value(i).ravel()[0])
        e.add("nms", [e.input(0), e.input(1)], [e.output(0), e.output(1)], attrs)
