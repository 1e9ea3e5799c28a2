"""Operators that read images at computed positions, and those around detection."""

from __future__ import annotations

import onnx_ir as ir

from planish.lowering.builder import Builder, Unsupported, require, rule
from planish.lowering.rules.composed import Composer
from planish.lowering.rules.selection import first

_GRID_MODES = {"bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic", "cubic": "cubic"}


@rule("GridSample")
def lower_grid_sample(b: Builder, node: ir.Node) -> None:
    for value in node.inputs:
        require(value, "float32")
    get = node.attributes
    mode = _GRID_MODES.get(get.get_string("mode", "linear"))
    if mode is None:
        raise Unsupported(f"mode {get.get_string('mode', '')}")
    attrs = {
        "mode": mode, "padding": get.get_string("padding_mode", "zeros"),
        "align_corners": get.get_int("align_corners", 0),
    }  # fmt: skip
    b.lower_to("grid_sample", node, node.inputs, attrs)


@rule("RoiAlign")
def lower_roi_align(b: Builder, node: ir.Node) -> None:
    for value in node.inputs[:2]:
        require(value, "float32")
    get = node.attributes
    attrs = {
        "mode": get.get_string("mode", "avg"),
        "size": [get.get_int("output_height", 1), get.get_int("output_width", 1)],
        "sampling_ratio": get.get_int("sampling_ratio", 0), "spatial_scale": float(get.get_float("spatial_scale", 1.0)),
        "half_pixel": int(get.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"),
    }  # fmt: skip
    b.lower_to("roi_align", node, node.inputs, attrs)


@rule("DeformConv")
def lower_deform_conv(b: Builder, node: ir.Node) -> None:
    """The weights times the columns that the offsets select."""
    for value in node.inputs:
        require(value, "float32")
    c = Composer(b, node)
    x, weights, offsets = (b.tensor(v) for v in node.inputs[:3])
    bias, mask = (node.inputs[i] if len(node.inputs) > i else None for i in (3, 4))
    get = node.attributes
    group = get.get_int("group", 1)
    attrs = {key: list(get.get_ints(key, ()) or [default] * count)
             for key, count, default in (("strides", 2, 1), ("dilations", 2, 1), ("pads", 4, 0))}  # fmt: skip
    if [len(v) for v in attrs.values()] != [2, 2, 4] or min(attrs["strides"] + attrs["dilations"]) < 1:
        raise Unsupported("a deformable convolution of other than two dimensions")
    columns = c.step("deform_columns", [x, offsets, b.tensor(mask), weights], **attrs, group=group,
                     offset_group=get.get_int("offset_group", 1))  # fmt: skip
    count = c.size(weights, 0)
    matrix = c.step("concat", [c.ints(group), c.binary("div", count, c.ints(group)), c.ints(-1)], axis=0)
    product = c.step("matmul", [c.step("reshape", [weights, matrix]), columns])
    batch, size = c.step("shape", [x], start=0, end=1), c.step("shape", [offsets], start=2)
    y = c.step("reshape", [product, c.step("concat", [batch, count, size], axis=0)], allowzero=1)
    if bias is not None:
        y = c.binary("add", y, c.step("reshape", [b.tensor(bias), c.ints(-1, 1, 1)]))
    b.define(node.outputs[0], y)


@rule("NonMaxSuppression")
def lower_nms(b: Builder, node: ir.Node) -> None:
    for value in node.inputs[:2]:
        require(value, "float32")
    attrs = {"center": node.attributes.get_int("center_point_box", 0)}
    rows, count = b.add("nms", node, [b.tensor(v) for v in node.inputs], attrs, outputs=2)
    b.define(node.outputs[0], first(Composer(b, node), rows, count, 0))
