"""Pooling and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from planish.lowering.builder import Builder, Quantized, Target, Unsupported, require, rule
from planish.lowering.rules.composed import Composer
from planish.lowering.rules.movement import rearrange


def _window(node: ir.Node) -> dict[str, Any]:
    get = node.attributes
    attrs: dict[str, Any] = {"kernel": list(get["kernel_shape"].as_ints())}
    for key in ("strides", "dilations", "pads"):
        if get.get_ints(key, None) is not None:
            attrs[key] = list(get[key].as_ints())
    attrs["auto_pad"] = get.get_string("auto_pad", "NOTSET")
    attrs["ceil_mode"] = get.get_int("ceil_mode", 0)
    return attrs


@rule("MaxPool")
def lower_max_pool(b: Builder, node: ir.Node) -> None:
    if len(node.outputs) > 1 and b.used(node.outputs[1]):
        require(node.inputs[0], "float32", "int8", "uint8")
        order = {"column_major": node.attributes.get_int("storage_order", 0)}
        b.lower_to("pool_indices", node, node.inputs, {**_window(node), **order})
        return
    if node.inputs[0] is not None and node.inputs[0].dtype in (ir.DataType.INT8, ir.DataType.UINT8):
        _max_pool_bytes(b, node)
        return
    require(node.inputs[0], "float32")
    source = b.quantized(node.inputs[0])
    given = source.tensor if source else b.tensor(node.inputs[0])
    (made,) = b.add("pool", node, [given], {**_window(node), "op": "max"})
    if source is not None:
        b.deferred[node.outputs[0]] = Quantized(made, source.scale, source.zero)
    else:
        b.define(node.outputs[0], made)


def _max_pool_bytes(b: Builder, node: ir.Node) -> None:
    """On raw bytes; adding 128 keeps the order of s8 values."""
    value = node.inputs[0]
    assert value is not None
    (made,) = b.add("pool", node, [b.bytes(value)], {**_window(node), "op": "max"})
    b.define_bytes(node.outputs[0], made)


@rule("AveragePool")
def lower_average_pool(b: Builder, node: ir.Node) -> None:
    average(
        b,
        node,
        {**_window(node), "op": "average", "count_include_pad": node.attributes.get_int("count_include_pad", 0)},
    )


@rule("GlobalAveragePool")
def lower_global_average_pool(b: Builder, node: ir.Node) -> None:
    average(b, node, {"op": "average"})


@rule("GlobalMaxPool")
def lower_global_max_pool(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32")
    rearrange(b, node, "pool", {"op": "max"})


@rule("LpPool", "GlobalLpPool")
def lower_lp_pool(b: Builder, node: ir.Node) -> None:
    """The root of a window's sum of powers."""
    require(node.inputs[0], "float32")
    c = Composer(b, node)
    order = node.attributes.get_int("p", 2)
    if order < 1:
        raise Unsupported(f"a norm of order {order}")
    x = c.unary("abs", b.tensor(node.inputs[0]))
    if order != 1:
        x = c.binary("mul", x, x) if order == 2 else c.binary("pow", x, c.constant(order, np.float32))
    x = c.step("pool", [x], **(_window(node) if node.op_type == "LpPool" else {}), op="sum")
    if order != 1:
        x = c.unary("sqrt", x) if order == 2 else c.binary("pow", x, c.constant(1 / order, np.float32))
    b.define(node.outputs[0], x)


@rule("Col2Im")
def lower_col2im(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64", "int32", "int64")
    attrs = {k: list(node.attributes.get_ints(k, ())) for k in ("strides", "dilations", "pads")}
    b.lower_to("col2im", node, node.inputs, attrs)


def average(b: Builder, node: ir.Node, attrs: dict[str, Any]) -> None:
    """Average pooling, on bytes where both sides are quantized."""
    require(node.inputs[0], "float32")
    source = b.quantized(node.inputs[0])
    target = b.target(node.outputs[0]) if source is not None else None
    if source is None or target is None:
        b.lower_to("pool", node, node.inputs[:1], attrs)
        return
    (made,) = b.add("pool", node, [source.tensor], {**attrs, **quantized_attrs(source, target)})
    b.define_quantized(target, made)


def quantized_attrs(source: Quantized, target: Target) -> dict[str, Any]:
    """Scales and zero points of an operator from bytes to bytes."""
    return {
        "x_scale": source.scale, "x_zero": source.zero, "y_scale": target.scale, "y_zero": target.zero,
        "lo": float(target.lo), "hi": float(target.hi),
    }  # fmt: skip


_REDUCE = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod",
    "ReduceSumSquare": "sum_square", "ReduceL1": "l1", "ReduceL2": "l2", "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}  # fmt: skip


_INTEGERS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")


@rule(*_REDUCE)
def lower_reduce(b: Builder, node: ir.Node) -> None:
    op = _REDUCE[node.op_type]
    value = node.inputs[0]
    integers = () if op in ("l2", "log_sum", "log_sum_exp") else _INTEGERS
    require(value, "float32", "float64", *integers, *(("bool",) if op in ("max", "min") else ()))
    attrs: dict[str, Any] = {
        "op": op, "keepdims": node.attributes.get_int("keepdims", 1),
        "noop": node.attributes.get_int("noop_with_empty_axes", 0),
    }  # fmt: skip
    axes = node.attributes.get_ints("axes", None)
    if axes is not None:
        attrs["axes"] = list(axes)
    source = b.quantized(value)
    target = b.target(node.outputs[0]) if source is not None and op == "mean" else None
    if source is None or target is None:
        b.lower_to("reduce", node, node.inputs, attrs)
        return
    inputs = [source.tensor, *(b.tensor(v) for v in node.inputs[1:])]
    (made,) = b.add("reduce", node, inputs, {**attrs, **quantized_attrs(source, target)})
    b.define_quantized(target, made)


@rule("ArgMax", "ArgMin")
def lower_arg(b: Builder, node: ir.Node) -> None:
    require(node.inputs[0], "float32", "float64", "int64", "int32", "uint64", "uint8", "int8")
    attrs = {
        "op": node.op_type[3:].lower(), "axis": node.attributes.get_int("axis", 0),
        "keepdims": node.attributes.get_int("keepdims", 1),
        "select_last": node.attributes.get_int("select_last_index", 0),
    }  # fmt: skip
    b.lower_to("argminmax", node, node.inputs, attrs)
