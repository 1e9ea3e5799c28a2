"""The ONNX forms of coded weights: standard operators that give the float weight, and that planish runs packed.

From the stored elements to the weight: elements (`Gather` in a codebook where there is one), placement of blocks
(`ScatterND`), order of axes, scale (`DequantizeLinear`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from planish.compress.coding import CodedWeight
from planish.compress.editor import PACKED, GraphEditor
from planish.compress.graph import Layout
from planish.compress.prune import BLOCKS

INT64 = ir.DataType.INT64


def write_weight(editor: GraphEditor, before: ir.Node, name: str, coded: CodedWeight) -> ir.Value:
    """Add the constants and nodes of `coded` in front of `before`; returns the float weight in its stored layout."""
    if coded.pattern != "element":
        return _write_blocks(editor, before, name, coded)
    if coded.codebook is not None:
        return _write_codebook(editor, before, name, coded)
    if scatters_elements(coded):
        return _write_elements(editor, before, name, coded)
    assert coded.values is not None
    if coded.scale is None:
        return editor.constant(name, coded.layout.stored(coded.values))
    return _write_integer(editor, before, name, coded)


def scatters_elements(coded: CodedWeight) -> bool:
    """Whether single non-zeros with their ids are smaller than the dense weight."""
    if coded.pattern != "element" or coded.values is None or coded.weights.block or coded.weights.bits < 8:
        return False
    size, count = coded.values.size, int(np.count_nonzero(coded.values))
    width = coded.values.itemsize
    return count * (width + id_bytes(size)) + 64 < size * width


def id_bytes(count: int) -> int:
    """Bytes of the id of one of `count` blocks."""
    return 2 if count <= 65536 else 4


def _write_integer(editor: GraphEditor, before: ir.Node, name: str, coded: CodedWeight) -> ir.Value:
    assert coded.values is not None
    assert coded.scale is not None
    signed, _ = PACKED[coded.weights.bits]
    layout = coded.layout
    if coded.scale.ndim == 1:
        raw = editor.constant(f"{name}_quantized", layout.stored(coded.values).astype(signed))
        return _dequantize(editor, before, name, raw, coded.scale, layout.channel_axis)
    if len(layout.shape) == 2:
        raw = editor.constant(f"{name}_quantized", layout.stored(coded.values).astype(signed))
        scale = coded.scale if layout.channel_axis == 0 else coded.scale.T
        return _dequantize(editor, before, name, raw, scale, 1 - layout.channel_axis, coded.weights.block)
    raw = editor.constant(f"{name}_quantized", coded.values.astype(signed))
    real = _dequantize(editor, before, name, raw, coded.scale, 1, coded.weights.block)
    return _order_axes(editor, before, name, real, layout, ir.DataType.FLOAT)


def _dequantize(
    editor: GraphEditor,
    before: ir.Node,
    name: str,
    raw: ir.Value,
    scale: NDArray[np.float32],
    axis: int,
    block: int = 0,
) -> ir.Value:
    """DequantizeLinear; one scale for the tensor is written as a scalar."""
    attributes: dict[str, Any] = {"axis": axis}
    if scale.ndim == 1 and (scale == scale[0]).all():
        scale, attributes = scale[0].reshape(()), {}
    elif block:
        attributes["block_size"] = block
    factor = editor.constant(f"{name}_scale", scale)
    return editor.node(before, "DequantizeLinear", [raw, factor], attributes, name=f"{name}_dequantized")


def _write_codebook(editor: GraphEditor, before: ir.Node, name: str, coded: CodedWeight) -> ir.Value:
    assert coded.index is not None
    assert coded.codebook is not None
    layout = coded.layout
    if len(coded.codebook) == 1:
        value = _look_up(editor, before, name, coded, layout.stored(coded.index))
    else:
        natural = layout.channel_axis == 0
        order = layout.stored(coded.index) if natural else coded.index
        value = _look_up(editor, before, name, coded, order.reshape(len(coded.codebook), -1))
        if natural:
            value = _reshape(editor, before, name, value, layout.shape)
        else:
            value = _order_axes(editor, before, name, value, layout, _element_type(coded))
    return value if coded.scale is None else _scaled(editor, before, name, value, coded)


def _look_up(editor: GraphEditor, before: ir.Node, name: str, coded: CodedWeight, index: NDArray[np.uint8]) -> ir.Value:
    """Gather(codebook, Cast(index)), or GatherElements with a codebook for each row of `index`."""
    assert coded.codebook is not None
    _, unsigned = PACKED[coded.weights.stored_bits]
    stored = editor.constant(f"{name}_index", index.astype(unsigned))
    wide = editor.node(before, "Cast", [stored], {"to": int(INT64)}, name=f"{name}_index_int64", dtype=INT64)
    if len(coded.codebook) == 1:
        codebook = editor.constant(f"{name}_codebook", coded.codebook[0])
        return editor.node(before, "Gather", [codebook, wide], name=f"{name}_values", dtype=_element_type(coded))
    codebook = editor.constant(f"{name}_codebook", coded.codebook)
    return editor.node(
        before, "GatherElements", [codebook, wide], {"axis": 1}, name=f"{name}_values", dtype=_element_type(coded)
    )


def _write_blocks(editor: GraphEditor, before: ir.Node, name: str, coded: CodedWeight) -> ir.Value:
    """ScatterND of the kept blocks into zeros, then the axes into their places.

    Blocks are [kept, 4] for 1x4 and [kept, 16, 4] for 16x4.
    """
    height, width = BLOCKS[coded.pattern]
    raw = coded.index if coded.index is not None else coded.values
    assert raw is not None
    blocks = to_blocks(raw, height, width)
    ids = np.flatnonzero(np.any(to_blocks(coded.decoded_matrix(), height, width) != 0, axis=(1, 2)))
    shape = (len(blocks), *((height,) if height > 1 else ()), width)
    kept = blocks[ids].reshape(-1, *shape[1:])
    if coded.index is not None:
        updates = _look_up(editor, before, name, coded, kept)
    else:
        updates = editor.constant(f"{name}_blocks", kept)
    value = _scatter(editor, before, name, shape, ids, updates, _element_type(coded))
    value = _order_blocks(editor, before, name, value, coded.layout, height, width, _element_type(coded))
    return value if coded.scale is None else _scaled(editor, before, name, value, coded)


def _write_elements(editor: GraphEditor, before: ir.Node, name: str, coded: CodedWeight) -> ir.Value:
    """ScatterND of single non-zeros, in the order of the stored layout."""
    assert coded.values is not None
    flat = coded.layout.stored(coded.values).reshape(-1)
    ids = np.flatnonzero(flat)
    updates = editor.constant(f"{name}_elements", flat[ids])
    value = _scatter(editor, before, name, flat.shape, ids, updates, _element_type(coded))
    value = _reshape(editor, before, name, value, coded.layout.shape)
    return value if coded.scale is None else _scaled(editor, before, name, value, coded)


def _scatter(
    editor: GraphEditor,
    before: ir.Node,
    name: str,
    shape: tuple[int, ...],
    ids: NDArray[np.int64],
    updates: ir.Value,
    dtype: ir.DataType,
) -> ir.Value:
    """`updates` at the places `ids` of the first axis of zeros of `shape`."""
    stored_ids = ids.astype(np.uint16 if id_bytes(shape[0]) == 2 else np.uint32)[:, np.newaxis]
    size = editor.constant(f"{name}_blocks_shape", np.array(shape, np.int64))
    fill = {"value": ir.tensor(np.zeros(1, dtype.numpy()))}
    zeros = editor.node(before, "ConstantOfShape", [size], fill, name=f"{name}_zeros", dtype=dtype)
    narrow = editor.constant(f"{name}_block_ids", stored_ids)
    wide = editor.node(before, "Cast", [narrow], {"to": int(INT64)}, name=f"{name}_block_ids_int64", dtype=INT64)
    return editor.node(before, "ScatterND", [zeros, wide, updates], name=f"{name}_scattered", dtype=dtype)


def to_blocks(matrix: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """[N, K] as [blocks, height, width]; block ids run along K first."""
    rows, columns = matrix.shape
    split = matrix.reshape(rows // height, height, columns // width, width)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3).reshape(-1, height, width))


def _order_blocks(
    editor: GraphEditor,
    before: ir.Node,
    name: str,
    value: ir.Value,
    layout: Layout,
    height: int,
    width: int,
    dtype: ir.DataType,
) -> ir.Value:
    """Blocks into the stored layout: Reshape, Transpose, Reshape."""
    rows, *taps, cin = layout.ordered
    tail = [height, width] if height > 1 else [width]
    apart = [rows // height, *taps, cin // width, *tail]
    last = len(layout.perm) - 1
    places = {0: [0, last + 1] if height > 1 else [0], last: [last, len(apart) - 1]}
    order: list[int] = []
    for position in np.argsort(layout.perm):
        order.extend(places.get(int(position), [int(position)]))
    value = _reshape(editor, before, name, value, apart)
    value = editor.node(before, "Transpose", [value], {"perm": order}, name=f"{name}_ordered", dtype=dtype)
    return _reshape(editor, before, name, value, layout.shape)


def _order_axes(
    editor: GraphEditor, before: ir.Node, name: str, value: ir.Value, layout: Layout, dtype: ir.DataType
) -> ir.Value:
    """[N, K] (or [groups, n]) into the stored layout: Reshape, and Transpose where long axes move."""
    inverse = [int(position) for position in np.argsort(layout.perm)]
    long = [position for position in inverse if layout.ordered[position] > 1]
    if long == sorted(long):
        return _reshape(editor, before, name, value, layout.shape)
    value = _reshape(editor, before, name, value, layout.ordered)
    return editor.node(before, "Transpose", [value], {"perm": inverse}, name=f"{name}_ordered", dtype=dtype)


def _reshape(
    editor: GraphEditor, before: ir.Node, name: str, value: ir.Value, shape: tuple[int, ...] | list[int]
) -> ir.Value:
    target = editor.constant(f"{name}_shape", np.array(shape, np.int64))
    made = editor.node(before, "Reshape", [value, target], name=f"{name}_reshaped")
    made.type = value.type
    return made


def _scaled(editor: GraphEditor, before: ir.Node, name: str, value: ir.Value, coded: CodedWeight) -> ir.Value:
    assert coded.scale is not None
    return _dequantize(editor, before, name, value, coded.scale, coded.layout.channel_axis)


def _element_type(coded: CodedWeight) -> ir.DataType:
    """The type of one stored element before its scale."""
    return ir.DataType.FLOAT if coded.scale is None else ir.DataType.INT8
