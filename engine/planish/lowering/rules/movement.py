"""Operators that only rearrange elements. They work on quantized bytes as well: the dequantization moves behind
them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from planish import _core
from planish.lowering.builder import Builder, Quantized, Unsupported, require, rule
from planish.lowering.rules.elementwise import quantize_array


def rearrange(
    b: Builder,
    node: ir.Node,
    kind: str,
    attrs: dict[str, Any] | None = None,
    extra: Sequence[int] = (),
) -> None:
    """One step on the first input, in bytes where it has them; the others, and `extra`, are ordinary tensors."""
    source = b.quantized(node.inputs[0])
    raw = b.flipped(node.inputs[0]) if source is None else None
    given = source.tensor if source is not None else b.tensor(node.inputs[0]) if raw is None else raw
    rest = [*(b.tensor(v) for v in node.inputs[1:]), *extra]
    made = b.add(kind, node, [given, *rest], attrs, len(node.outputs))
    for value, tensor in zip(node.outputs, made, strict=True):
        if source is not None:
            b.deferred[value] = Quantized(tensor, source.scale, source.zero)
        elif raw is not None:
            b.define_bytes(value, tensor)
        else:
            b.define(value, tensor)


@rule("Reshape")
def lower_reshape(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, "reshape", {"allowzero": node.attributes.get_int("allowzero", 0)})


@rule("Flatten")
def lower_flatten(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, "flatten", {"axis": node.attributes.get_int("axis", 1)})


@rule("Squeeze", "Unsqueeze")
def lower_squeeze(b: Builder, node: ir.Node) -> None:
    axes = node.attributes.get_ints("axes", None)
    extra = [] if axes is None else [b.lowered.constant("axes", np.array(axes, np.int64))]
    rearrange(b, node, node.op_type.lower(), extra=extra)


@rule("Transpose")
def lower_transpose(b: Builder, node: ir.Node) -> None:
    perm = node.attributes.get_ints("perm", None)
    rearrange(b, node, "transpose", {"perm": list(perm)} if perm else {})


@rule("Slice")
def lower_slice(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, "slice")


@rule("Split")
def lower_split(b: Builder, node: ir.Node) -> None:
    axis = node.attributes.get_int("axis", 0)
    sizes = node.attributes.get_ints("split", None)
    extra = [] if sizes is None else [b.lowered.constant("sizes", np.array(sizes, np.int64))]
    rearrange(b, node, "split", {"axis": axis}, extra)


@rule("Expand", "Tile")
def lower_expand(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, node.op_type.lower())


@rule("Identity", "Dropout")
def lower_identity(b: Builder, node: ir.Node) -> None:
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if training is not None and not _is_zero(b.constant(training)):
        raise Unsupported("Dropout in training mode")
    source = b.quantized(node.inputs[0])
    if source is not None:
        b.deferred[node.outputs[0]] = source
    else:
        b.define(node.outputs[0], b.tensor(node.inputs[0]))
    if len(node.outputs) > 1 and b.used(node.outputs[1]):  # the mask of Dropout keeps everything
        (shape,) = b.add("shape", node, [b.tensor(node.inputs[0])])
        (mask,) = b.add("constant_of_shape", node, [shape], {"value": 1.0, "dtype": "bool"})
        b.define(node.outputs[1], mask)


@rule("Gather")
def lower_gather(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, "gather", {"axis": node.attributes.get_int("axis", 0)})


@rule("GatherElements")
def lower_gather_elements(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, "gather_elements", {"axis": node.attributes.get_int("axis", 0)})


@rule("GatherND")
def lower_gather_nd(b: Builder, node: ir.Node) -> None:
    rearrange(b, node, "gather_nd", {"batch_dims": node.attributes.get_int("batch_dims", 0)})


@rule("Concat")
def lower_concat(b: Builder, node: ir.Node) -> None:
    """Bytes are joined as bytes if one quantization serves all: the consumers' or, where the pieces agree, their
    own."""
    attrs = {"axis": node.attributes["axis"].as_int()}
    raw = [b.flipped(v) for v in node.inputs]
    joined = [r for r in raw if r is not None]
    if len(joined) == len(raw):
        (made,) = b.add("concat", node, joined, attrs)
        b.define_bytes(node.outputs[0], made)
        return
    sources = [b.quantized(v) for v in node.inputs]
    if any(s is None for s in sources):
        b.lower_to("concat", node, node.inputs, attrs)
        return
    pieces = [s for s in sources if s is not None]
    wanted = _wanted_quantization(b, node.outputs[0])
    scale, zero = wanted if wanted is not None else (pieces[0].scale, pieces[0].zero)
    if wanted is None and any((p.scale, p.zero) != (scale, zero) for p in pieces):
        b.lower_to("concat", node, node.inputs, attrs)
        return
    joined = [requantize(b, node, p, scale, zero) for p in pieces]
    (made,) = b.add("concat", node, joined, attrs)
    b.deferred[node.outputs[0]] = Quantized(made, scale, zero)


def _wanted_quantization(b: Builder, value: ir.Value) -> tuple[float, int] | None:
    """The one quantization that everything behind a value wants, looking through operators that only rearrange."""
    found: set[tuple[float, int] | None] = set()
    queue = [value]
    while queue:
        current = queue.pop()
        if current.is_graph_output():
            return None
        for user in current.consumers():
            if user.op_type == "QuantizeLinear" and user.inputs[0] is current:
                found.add(b.quantization(user))
            elif user.op_type in (
                "Reshape",
                "Transpose",
                "Split",
                "Slice",
                "Flatten",
                "Squeeze",
                "Unsqueeze",
                "Identity",
            ):
                queue.extend(user.outputs)
            else:
                return None
    return found.pop() if len(found) == 1 else None


def requantize(b: Builder, node: ir.Node, source: Quantized, scale: float, zero: int) -> int:
    """The byte tensor under another quantization: itself, or through a table."""
    if (source.scale, source.zero) == (scale, zero):
        return source.tensor
    values = (np.arange(256, dtype=np.float32) - np.float32(source.zero)) * np.float32(source.scale)
    table = b.lowered.constant("requantize", quantize_array(values, scale, zero))
    (made,) = b.add("table", node, [source.tensor, table], {"dtype": "uint8"})
    return made


@rule("Pad")
def lower_pad(b: Builder, node: ir.Node) -> None:
    mode = node.attributes.get_string("mode", "constant")
    source = b.quantized(node.inputs[0])
    inputs: list[int] = [b.tensor(v) for v in node.inputs]
    attrs = {"mode": mode}
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    if source is not None and (mode != "constant" or fill is None or _is_zero(b.constant(fill))):
        inputs[0] = source.tensor
        if mode == "constant":
            inputs[2:3] = [b.lowered.constant("zero", np.array(source.zero, np.uint8))]
        (made,) = b.add("pad", node, inputs, attrs)
        b.deferred[node.outputs[0]] = Quantized(made, source.scale, source.zero)
        return
    b.lower_to("pad", node, node.inputs, attrs)


def _is_zero(value: np.ndarray[Any, Any] | None) -> bool:
    return value is not None and not value.any()


@rule("Resize")
def lower_resize(b: Builder, node: ir.Node) -> None:
    get = node.attributes
    mode = get.get_string("mode", "nearest")
    coordinate = get.get_string("coordinate_transformation_mode", "half_pixel")
    attrs: dict[str, Any] = {
        "mode": mode, "coordinate": coordinate, "nearest_mode": get.get_string("nearest_mode", "round_prefer_floor"),
        "cubic_a": float(get.get_float("cubic_coeff_a", -0.75)), "exclude_outside": get.get_int("exclude_outside", 0),
    }  # fmt: skip
    aspect = get.get_string("keep_aspect_ratio_policy", "stretch")
    if aspect not in ("stretch", "not_larger", "not_smaller"):
        raise Unsupported(f"keep_aspect_ratio_policy {aspect}")
    if aspect != "stretch":
        attrs["aspect"] = aspect
    axes = get.get_ints("axes", None)
    if axes is not None:
        attrs["axes"] = list(axes)
    antialias = get.get_int("antialias", 0)
    if antialias or coordinate == "tf_crop_and_resize":
        require(node.inputs[0], "float32")
        more = {"antialias": antialias, "extrapolation": float(get.get_float("extrapolation_value", 0.0))}
        b.lower_to("resample", node, node.inputs, {**attrs, **more})
        return
    if mode == "nearest":
        rearrange(b, node, "resize", attrs)
        return
    value = node.inputs[0]
    if value is not None and value.dtype == ir.DataType.INT8:  # weights sum to one: 128 more in is 128 more out
        (made,) = b.add("resize", node, [b.bytes(value), *(b.tensor(v) for v in node.inputs[1:])], attrs)
        b.define_bytes(node.outputs[0], made)
        return
    require(value, "float32", "uint8")
    source = b.quantized(node.inputs[0])
    target = b.target(node.outputs[0]) if source is not None else None
    if source is None or target is None or (target.lo, target.hi) != (0, 255):
        b.lower_to("resize", node, node.inputs, attrs)
        return
    inputs = [source.tensor, *(b.tensor(v) for v in node.inputs[1:])]
    scales = {"x_scale": source.scale, "x_zero": source.zero, "y_scale": target.scale, "y_zero": target.zero}
    (made,) = b.add("resize", node, inputs, {**attrs, **scales})
    b.define_quantized(target, made)


@rule("Shape")
def lower_shape(b: Builder, node: ir.Node) -> None:
    attrs: dict[str, Any] = {"start": node.attributes.get_int("start", 0)}
    if "end" in node.attributes:
        attrs["end"] = node.attributes["end"].as_int()
    source = b.quantized(node.inputs[0])
    (made,) = b.add("shape", node, [source.tensor if source else b.tensor(node.inputs[0])], attrs)
    b.define(node.outputs[0], made)


@rule("Size")
def lower_size(b: Builder, node: ir.Node) -> None:
    b.lower_to("shape", node, node.inputs, {"size": 1})


@rule("ConstantOfShape")
def lower_constant_of_shape(b: Builder, node: ir.Node) -> None:
    value = node.attributes.get_tensor("value", None)
    fill = np.zeros(1, np.float32) if value is None else value.numpy()
    if fill.dtype.name not in _core.DTYPES:
        raise Unsupported(f"no kernel for {fill.dtype.name}")
    b.lower_to("constant_of_shape", node, node.inputs, {"value": float(fill.ravel()[0]), "dtype": fill.dtype.name})


@rule("Range")
def lower_range(b: Builder, node: ir.Node) -> None:
    b.lower_to("range", node, node.inputs)


@rule("DepthToSpace", "SpaceToDepth")
def lower_blocks(b: Builder, node: ir.Node) -> None:
    attrs = {"blocksize": node.attributes["blocksize"].as_int(), "mode": node.attributes.get_string("mode", "DCR")}
    kind = "depth_to_space" if node.op_type == "DepthToSpace" else "space_to_depth"
    rearrange(b, node, kind, attrs)


@rule("OneHot")
def lower_one_hot(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "int32", "int64", "float32")
    (indices,) = b.add("cast", node, [b.tensor(node.inputs[0])], {"to": "int64"})
    operands = [indices, *(b.tensor(v) for v in node.inputs[1:])]
    (made,) = b.add("one_hot", node, operands, {"axis": node.attributes.get_int("axis", -1)})
    b.define(node.outputs[0], made)


def _reduction(node: ir.Node) -> str:
    """How a scatter combines elements: without a reduction they only move, in any type."""
    reduction = node.attributes.get_string("reduction", "none")
    if reduction != "none":
        require(node.inputs[0], "float32", "float64", "int64", "int32")
    return reduction


@rule("ScatterND")
def lower_scatter_nd(b: Builder, node: ir.Node) -> None:
    reduction = _reduction(node)
    indices = b.constant(node.inputs[1])
    grid = _grid_of(indices) if reduction == "none" and indices is not None else None
    if indices is None or grid is None:
        b.lower_to("scatter_nd", node, node.inputs, {"reduction": reduction})
        return
    attrs = {"grid": grid, "indexed": list(indices.shape[:-1])}
    b.lower_to("assign_slice", node, [node.inputs[0], node.inputs[2]], attrs)


def _grid_of(indices: npt.NDArray[Any]) -> list[list[int]] | None:
    """Where [axes of the updates…, coordinates] name a strided slice, which is what exporters write for x[:, ::2] = y:
    for every coordinate its start, its step, and the axis of the updates along which it grows, or -1. Else None."""
    if indices.ndim < 2 or not indices.size:
        return None
    grid: list[list[int]] = []
    grown: set[int] = set()
    for at in np.moveaxis(indices.astype(np.int64), -1, 0):
        start = int(at.flat[0])
        axes = [a for a in range(at.ndim) if at.shape[a] > 1 and np.any(at.take(1, a) != at.take(0, a))]
        if start < 0 or len(axes) > 1 or not grown.isdisjoint(axes):
            return None
        axis, step = axes[0] if axes else -1, 1
        expected = np.full((1,) * at.ndim, start)
        if axes:
            step = int(at.take(1, axis).flat[0]) - start
            shape = [-1 if a == axis else 1 for a in range(at.ndim)]
            expected = start + step * np.arange(at.shape[axis]).reshape(shape)
        if step < 1 or np.any(at != expected):
            return None
        grid.append([start, step, axis])
        grown.update(axes)
    repeated = any(size > 1 and axis not in grown for axis, size in enumerate(indices.shape[:-1]))
    return None if repeated else grid


@rule("ScatterElements")
def lower_scatter_elements(b: Builder, node: ir.Node) -> None:
    attrs = {"axis": node.attributes.get_int("axis", 0), "reduction": _reduction(node)}
    b.lower_to("scatter_elements", node, node.inputs, attrs)


@rule("CumSum", "CumProd")
def lower_cumulative(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64", "int32", "int64", "uint64")
    attrs: dict[str, Any] = {k: node.attributes.get_int(k, 0) for k in ("exclusive", "reverse")}
    b.lower_to("cumsum", node, node.inputs, {**attrs, "op": node.op_type[3:].lower()})


@rule("TopK")
def lower_topk(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64", "int64", "int32", "uint64", "int8", "uint8")
    b.lower_to(
        "topk",
        node,
        node.inputs,
        {"axis": node.attributes.get_int("axis", -1), "largest": node.attributes.get_int("largest", 1)},
    )
