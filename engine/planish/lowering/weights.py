"""Constant weights in the forms ONNX stores them in: dense, int8 with scales, codebook, pruned blocks, low-bit
blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]
_KEY = "planish.weights"
_LOW_BIT = frozenset({ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2, ir.DataType.UINT2})


@dataclass(slots=True)
class Weights:
    """A constant tensor. `values` is what is stored per element; real numbers are (values - zero) * scale.

    `scale` and `zero` are None for plain tensors; otherwise scalars, vectors along `axis`, or, with `block` > 0,
    tensors with `axis` divided into blocks. `bits` is the width in which integers are stored.
    Where the model stores indices, values = tables[group, indices]: tables [G, entries], float or int8; indices and
    group have the shape of values (group is None for one table).
    """

    values: Array
    scale: Array | None = None
    zero: Array | None = None
    axis: int = 0
    block: int = 0
    bits: int = 0
    tables: Array | None = None
    indices: Array | None = None
    group: Array | None = None

    def rearranged(self, change: Callable[[Array], Array]) -> Weights:
        """The same weights with their elements rearranged, stored indices too; scales are applied first."""
        if self.scale is not None:
            return Weights(change(self.dense()))
        moved = [None if part is None else change(part) for part in (self.indices, self.group)]
        return Weights(change(self.values), bits=self.bits, tables=self.tables, indices=moved[0], group=moved[1])

    def astype(self, dtype: npt.DTypeLike) -> Weights:
        """The same numbers in another type: of the scales, where there are some."""
        if self.scale is not None:
            return replace(self, scale=self.scale.astype(dtype))
        tables = None if self.tables is None else self.tables.astype(dtype)
        return replace(self, values=self.values.astype(dtype), bits=0, tables=tables)

    def dense(self) -> Array:
        """The real numbers."""
        if self.scale is None:
            return self.values
        values = self.values.astype(np.float32)
        if self.zero is not None:
            values = values - self._spread(self.zero).astype(np.float32)
        return np.asarray(values * self._spread(self.scale), np.float32)

    def _spread(self, parameter: Array) -> Array:
        """A scale or zero point, broadcastable to the values."""
        if parameter.size == 1:
            return parameter.reshape(())
        if self.block:
            repeated = np.repeat(parameter, self.block, self.axis)
            return repeated.take(range(self.values.shape[self.axis]), self.axis)
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        return parameter.reshape(shape)


def weights_of(value: ir.Value) -> Weights | None:
    """The constant behind a value, through the weight forms; None if it depends on an input. Cached on the value."""
    if _KEY not in value.meta:
        value.meta[_KEY] = _find(value)
    found: Weights | None = value.meta[_KEY]
    return found


def remember(value: ir.Value, weights: Weights) -> None:
    """Makes a value that has no contents of its own stand for a constant."""
    value.meta[_KEY] = weights


def _find(value: ir.Value) -> Weights | None:
    if value.const_value is not None and (value.is_initializer() or value.producer() is not None):
        return _stored(value.const_value)
    node = value.producer()
    if node is None:
        return None
    function = _FORMS.get(node.op_type) if node.domain == "" else None
    return None if function is None else function(node)


def _stored(tensor: ir.TensorProtocol) -> Weights:
    array = tensor.numpy()
    if tensor.dtype in _LOW_BIT:
        return Weights(array.astype(np.int8 if tensor.dtype.is_signed() else np.uint8), bits=tensor.dtype.bitwidth)
    return Weights(array, bits=8 if array.dtype in (np.int8, np.uint8) else 0)


def _inputs(node: ir.Node) -> list[Weights | None] | None:
    """The constants behind a node's inputs (None for absent ones); None if any is computed."""
    found: list[Weights | None] = []
    for v in node.inputs:
        weights = None if v is None else weights_of(v)
        if v is not None and weights is None:
            return None
        found.append(weights)
    return found


def _arrays(node: ir.Node, count: int) -> list[Array] | None:
    """The first `count` inputs, dense; None if any is absent or computed."""
    found = _inputs(node)
    if found is None or len(found) < count or any(w is None for w in found[:count]):
        return None
    return [w.dense() for w in found[:count] if w is not None]


def _dequantized(node: ir.Node) -> Weights | None:
    found = _inputs(node)
    if found is None or len(found) < 2 or found[0] is None or found[1] is None or found[0].scale is not None:
        return None
    stored = found[0]
    zero = found[2].values if len(found) > 2 and found[2] is not None else None
    axis = node.attributes.get_int("axis", 1)
    axis = axis + stored.values.ndim if axis < 0 else axis
    block = node.attributes.get_int("block_size", 0)
    return Weights(
        stored.values, found[1].values, zero, axis, block, stored.bits, stored.tables, stored.indices, stored.group
    )


def _gather(node: ir.Node) -> Weights | None:
    """Gather(codebook, Cast(indices)): a codebook per tensor. Any other constant gather is just folded."""
    arrays = _arrays(node, 2)
    if arrays is None:
        return None
    table, indices = arrays[0], arrays[1].astype(np.int64)
    values = np.take(table, indices, node.attributes.get_int("axis", 0))
    if table.ndim == 1 and table.size <= _MOST_ENTRIES:
        return Weights(values, tables=table[None, :], indices=indices.astype(np.uint8))
    return Weights(values)


def _gather_elements(node: ir.Node) -> Weights | None:
    """GatherElements(codebook[G, 2^b], Cast(indices[G, n]), axis=1): a codebook per group."""
    arrays = _arrays(node, 2)
    if arrays is None:
        return None
    table, indices = arrays[0], arrays[1].astype(np.int64)
    axis = node.attributes.get_int("axis", 0)
    values = np.take_along_axis(table, indices, axis)
    if table.ndim == 2 and axis in (1, -1) and table.shape[1] <= _MOST_ENTRIES:
        group = np.broadcast_to(np.arange(table.shape[0], dtype=np.int32)[:, None], indices.shape)
        return Weights(values, tables=table, indices=indices.astype(np.uint8), group=group)
    return Weights(values)


def _reshape(node: ir.Node) -> Weights | None:
    found = _inputs(node)
    if found is None or len(found) < 2 or found[0] is None or found[1] is None:
        return None
    old = found[0].values.shape
    shape = [old[i] if n == 0 and i < len(old) else int(n) for i, n in enumerate(found[1].values)]
    return found[0].rearranged(lambda a: a.reshape(shape))


def _transpose(node: ir.Node) -> Weights | None:
    found = _inputs(node)
    if found is None or found[0] is None:
        return None
    perm = node.attributes.get_ints("perm", None)
    return found[0].rearranged(lambda a: a.transpose(perm))


def _scatter(node: ir.Node) -> Weights | None:
    """ScatterND(zeros, block ids, blocks): the blocks that pruning has kept."""
    arrays = _arrays(node, 3)
    if arrays is None or node.attributes.get_string("reduction", "none") != "none":
        return None
    data, indices, updates = arrays
    result = data.copy()
    result[tuple(np.moveaxis(indices.astype(np.int64), -1, 0))] = updates
    return Weights(result, bits=8 if result.dtype.itemsize == 1 else 0)


def _slice(node: ir.Node) -> Weights | None:
    """Slice of a constant: cuts the padding off a blocked form."""
    arrays = _arrays(node, len(node.inputs))
    if arrays is None or len(arrays) < 3:
        return None
    starts, ends = (np.atleast_1d(a).astype(np.int64) for a in arrays[1:3])
    axes = np.atleast_1d(arrays[3]).astype(np.int64) if len(arrays) > 3 else np.arange(len(starts))
    steps = np.atleast_1d(arrays[4]).astype(np.int64) if len(arrays) > 4 else np.ones(len(starts), np.int64)
    if (steps != 1).any():
        return None
    cut: list[slice] = [slice(None)] * arrays[0].ndim
    for axis, start, end in zip(axes, starts, ends, strict=True):
        cut[int(axis)] = slice(int(start), int(end))
    found = _inputs(node)
    assert found is not None and found[0] is not None
    return found[0].rearranged(lambda a: a[tuple(cut)])


def _cast(node: ir.Node) -> Weights | None:
    arrays = _arrays(node, 1)
    if arrays is None:
        return None
    return Weights(arrays[0].astype(ir.DataType(node.attributes["to"].as_int()).numpy()))


def _constant_of_shape(node: ir.Node) -> Weights | None:
    arrays = _arrays(node, 1)
    if arrays is None:
        return None
    value = node.attributes.get_tensor("value", None)
    fill = np.zeros(1, np.float32) if value is None else value.numpy()
    shape = tuple(int(n) for n in arrays[0])
    if int(np.prod(shape, dtype=np.float64)) > _MOST_ELEMENTS:
        return None
    return Weights(np.full(shape, fill.ravel()[0], fill.dtype))


_MOST_ENTRIES = 256
_MOST_ELEMENTS = 1 << 28
_FORMS = {
    "DequantizeLinear": _dequantized, "Gather": _gather, "GatherElements": _gather_elements, "Reshape": _reshape,
    "Transpose": _transpose, "ScatterND": _scatter, "Cast": _cast, "ConstantOfShape": _constant_of_shape,
    "Slice": _slice,
}  # fmt: skip
