"""How the operators of older opsets are written in opset 21.

A rule rewrites one node of an older opset into nodes of opset 21 with the same meaning. Operators without a rule kept
their meaning; their newer versions only accept more types or have new optional attributes. Each entry of `RULES` gives
the first opset that no longer needs the rule.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir

from planish.errors import ModelError
from planish.passes.patterns import (
    Array,
    constant_of,
    dims_of,
    input_at,
    int_attribute,
    normal_axis,
    output_at,
)
from planish.passes.rewrite import (
    add_constant,
    insert_before,
    make_node,
    remove_nodes,
    replace_node,
    set_input,
    take_over,
)

Rule = Callable[[onnx_ir.Node, int], None]


def _graph(node: onnx_ir.Node) -> onnx_ir.Graph:
    assert isinstance(node.graph, onnx_ir.Graph)
    return node.graph


def _refuse(node: onnx_ir.Node, why: str) -> ModelError:
    return ModelError(f"node '{node.name}' ({node.op_type}): {why}; export the model for opset 13 or newer")


def _move_to_input(node: onnx_ir.Node, attribute: str, index: int, dtype: type | np.dtype[np.generic]) -> None:
    """Turn an attribute into constant input `index`; nothing where it is left out."""
    given = node.attributes.pop(attribute, None)
    if given is not None:
        array = np.array(given.value, dtype)
        set_input(node, index, add_constant(_graph(node), array, f"{node.name}.{attribute}"))


def _element_type(node: onnx_ir.Node) -> np.dtype[np.generic]:
    x = node.inputs[0]
    return np.dtype(np.float32) if x is None or x.dtype is None else x.dtype.numpy()


def _axes_to_input(node: onnx_ir.Node, opset: int) -> None:
    _move_to_input(node, "axes", 1, np.int64)


def _softmax(node: onnx_ir.Node, opset: int) -> None:
    """Before opset 13 the axes from `axis` on were flattened into one."""
    axis = int_attribute(node, "axis", 1)
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    dims = dims_of(x)
    if dims is not None:
        axis = normal_axis(axis, len(dims))
        if all(d == 1 for d in dims[axis + 1 :]):
            node.attributes["axis"] = onnx_ir.AttrInt64("axis", axis)
            return
    flat = make_node("Flatten", [x], {"axis": axis}, dtype=x.dtype)
    rows = make_node(node.op_type, [flat.outputs[0]], {"axis": -1}, dtype=x.dtype)
    shape = make_node("Shape", [x], dtype=onnx_ir.DataType.INT64)
    back = make_node("Reshape", [rows.outputs[0], shape.outputs[0]], {"allowzero": 1}, like=y)
    replace_node(node, flat, rows, shape, back)


def _clip(node: onnx_ir.Node, opset: int) -> None:
    dtype = _element_type(node)
    _move_to_input(node, "min", 1, dtype)
    _move_to_input(node, "max", 2, dtype)


def _slice(node: onnx_ir.Node, opset: int) -> None:
    for index, name in enumerate(("starts", "ends", "axes"), 1):
        _move_to_input(node, name, index, np.int64)


def _pad(node: onnx_ir.Node, opset: int) -> None:
    _move_to_input(node, "pads", 1, np.int64)
    _move_to_input(node, "value", 2, _element_type(node))


def _top_k(node: onnx_ir.Node, opset: int) -> None:
    given = node.attributes.pop("k")
    set_input(node, 1, add_constant(_graph(node), np.array([given.as_int()], np.int64), f"{node.name}.k"))


def _dropout(node: onnx_ir.Node, opset: int) -> None:
    """Inference: the identity, and a mask that keeps everything."""
    x, mask = node.inputs[0], output_at(node, 1)
    assert x is not None
    if mask is not None:
        shape = insert_before(node, make_node("Shape", [x], dtype=onnx_ir.DataType.INT64))
        dtype = onnx_ir.DataType.BOOL if opset >= 10 else (x.dtype or onnx_ir.DataType.FLOAT)
        ones = onnx_ir.Tensor(np.ones(1, dtype.numpy()), dtype)
        filled = make_node("ConstantOfShape", [shape], {"value": ones}, like=mask)
        insert_before(node, filled)
        kept = make_node("Identity", [filled.outputs[0]])
        insert_before(node, kept)
        take_over(mask, kept.outputs[0])
    node.resize_outputs(1)
    replace_node(node, make_node("Identity", [x], like=node.outputs[0]))


def _batch_normalization(node: onnx_ir.Node, opset: int) -> None:
    if any(output_at(node, i) is not None for i in range(1, len(node.outputs))):
        raise _refuse(node, "uses its training outputs")
    node.resize_outputs(1)
    spatial = node.attributes.pop("spatial", None)
    if spatial is not None and not spatial.as_int():
        _normalise_per_activation(node)


def _normalise_per_activation(node: onnx_ir.Node) -> None:
    """Statistics for every activation instead of every channel, written out."""
    x, scale, bias, mean, variance = node.inputs[:5]
    y = node.outputs[0]
    epsilon = np.array(node.attributes.get_float("epsilon", 1e-5), _element_type(node))
    safe = make_node("Add", [variance, add_constant(_graph(node), epsilon, f"{node.name}.epsilon")], like=variance)
    deviation = make_node("Sqrt", [safe.outputs[0]], like=variance)
    centred = make_node("Sub", [x, mean], like=y)
    scaled = make_node("Div", [centred.outputs[0], deviation.outputs[0]], like=y)
    product = make_node("Mul", [scaled.outputs[0], scale], like=y)
    replace_node(node, safe, deviation, centred, scaled, product, make_node("Add", [product.outputs[0], bias], like=y))


def _upsample(node: onnx_ir.Node, opset: int) -> None:
    if "scales" in node.attributes:
        _move_to_input(node, "scales", 1, np.float32)
    attributes = {
        "mode": _resize_mode(node),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    x, scales = node.inputs[0], input_at(node, 1)
    replace_node(node, make_node("Resize", [x, None, scales], attributes, like=node.outputs[0]))


def _resize_mode(node: onnx_ir.Node) -> str:
    mode = node.attributes.get_string("mode", "nearest")
    return "linear" if mode == "bilinear" else mode


def _resize(node: onnx_ir.Node, opset: int) -> None:
    if opset < 11:
        _upsample(node, opset)
        return
    for index in (1, 2):  # an empty tensor used to stand for "left out"
        array = constant_of(input_at(node, index))
        if array is not None and array.size == 0:
            node.replace_input_with(index, None)
    coordinates = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_half_pixel_for_nn":
        # floor((i + 0.5) / s) is half_pixel's (i + 0.5) / s - 0.5, rounded with ties upwards.
        if (
            node.attributes.get_string("nearest_mode", "round_prefer_floor") != "floor"
            or _resize_mode(node) != "nearest"
        ):
            raise _refuse(node, "uses tf_half_pixel_for_nn other than for nearest with floor")
        _set_strings(node, coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil")


def _set_strings(node: onnx_ir.Node, **values: str) -> None:
    for name, value in values.items():
        node.attributes[name] = onnx_ir.AttrString(name, value)


def _split(node: onnx_ir.Node, opset: int) -> None:
    _move_to_input(node, "split", 1, np.int64)
    if input_at(node, 1) is None:
        node.attributes["num_outputs"] = onnx_ir.AttrInt64("num_outputs", len(node.outputs))


def _scatter(node: onnx_ir.Node, opset: int) -> None:
    node.op_type = "ScatterElements"


def _prelu(node: onnx_ir.Node, opset: int) -> None:
    """Before opset 7 a vector of slopes belonged to the channels instead of the last axis."""
    dims, slopes = dims_of(node.inputs[0]), dims_of(node.inputs[1])
    if dims is None or slopes is None or len(slopes) != 1 or slopes[0] == 1 or len(dims) < 3:
        return
    axes = add_constant(_graph(node), np.arange(1, len(dims) - 1), f"{node.name}.axes")
    slope = make_node("Unsqueeze", [node.inputs[1], axes], dtype=node.inputs[1].dtype if node.inputs[1] else None)
    node.replace_input_with(1, insert_before(node, slope))


def _scan(node: onnx_ir.Node, opset: int) -> None:
    """Opset 8 scanned a batch of sequences; a batch of one is squeezed away in front and put back behind."""
    batches = [(dims_of(value) or (None,))[0] for value in node.inputs[1:]]
    if node.inputs[0] is not None or any(batch != 1 for batch in batches):
        raise _refuse(node, "scans a batch, or sequences of given lengths")
    graph = _graph(node)
    axes = add_constant(graph, np.zeros(1, np.int64), f"{node.name}.batch")
    inputs = [insert_before(node, make_node("Squeeze", [value, axes])) for value in node.inputs[1:]]
    attributes = [node.attributes["body"], node.attributes["num_scan_inputs"]]
    if "directions" in node.attributes:
        attributes.append(onnx_ir.AttrInt64s("scan_input_directions", node.attributes["directions"].as_ints()))
    scan = onnx_ir.Node("", "Scan", inputs, attributes, num_outputs=len(node.outputs), name=node.name)
    insert_before(node, scan)
    for before, after in zip(node.outputs, scan.outputs, strict=True):
        batched = make_node("Unsqueeze", [after, axes])
        insert_before(node, batched)
        take_over(before, batched.outputs[0])
    remove_nodes(node)


def _grid_sample(node: onnx_ir.Node, opset: int) -> None:
    mode = node.attributes.get_string("mode", "bilinear")
    _set_strings(node, mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


def _roi_align(node: onnx_ir.Node, opset: int) -> None:
    _set_strings(node, coordinate_transformation_mode="output_half_pixel")


def _dft(node: onnx_ir.Node, opset: int) -> None:
    axis = node.attributes.pop("axis", None)
    array = np.array(1 if axis is None else axis.as_int(), np.int64)
    set_input(node, 2, add_constant(_graph(node), array, f"{node.name}.axis"))


def _group_normalization(node: onnx_ir.Node, opset: int) -> None:
    """Opset 18 had one scale and bias for each group, opset 21 has one for each channel."""
    dims, groups = dims_of(node.inputs[0]), node.attributes["num_groups"].as_int()
    channels = None if dims is None else dims[1]
    if channels is None or groups < 1:
        raise _refuse(node, "has an unknown number of channels")
    for index in (1, 2):
        value = node.inputs[index]
        array = constant_of(value)
        if array is None or value is None:
            raise _refuse(node, "has computed scale or bias")
        repeated: Array = np.repeat(array, channels // groups)
        node.replace_input_with(index, add_constant(_graph(node), repeated, str(value.name), value.dtype))


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")

RULES: dict[str, tuple[int, Rule]] = {
    "BatchNormalization": (14, _batch_normalization),
    "Clip": (11, _clip),
    "DFT": (20, _dft),
    "Dropout": (12, _dropout),
    "GridSample": (20, _grid_sample),
    "GroupNormalization": (21, _group_normalization),
    "Hardmax": (13, _softmax),
    "LogSoftmax": (13, _softmax),
    "PRelu": (7, _prelu),
    "Pad": (11, _pad),
    "ReduceSum": (13, _axes_to_input),
    "Resize": (13, _resize),
    "RoiAlign": (16, _roi_align),
    "Scan": (9, _scan),
    "Scatter": (11, _scatter),
    "Slice": (10, _slice),
    "Softmax": (13, _softmax),
    "Split": (18, _split),
    "Squeeze": (13, _axes_to_input),
    "TopK": (10, _top_k),
    "Unsqueeze": (13, _axes_to_input),
    "Upsample": (10, _upsample),
    **{f"Reduce{name}": (18, _axes_to_input) for name in _REDUCTIONS},
}
