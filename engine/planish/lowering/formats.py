"""Choosing and packing the format of a layer's weights.

`pack_float` and `pack_int` add the packed constant, set the step's native family, and note what was chosen. Candidates
are the forms that the stored weights allow (pruned → csr and blocks, indices → codebook, low bits → affine); the cost
model of the native half says whether one beats the dense kernel, unless the caller forces a form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import UsageError
from planish.lowering.lowered import Packed
from planish.lowering.winograd import transforms_bytes, transforms_floats

if TYPE_CHECKING:
    from planish.lowering.builder import Builder
    from planish.lowering.rules.linear import Anchor

Array = npt.NDArray[Any]

#: What SessionOptions.weight_format may name: auto chooses, the others force a form wherever a layer allows it.
WEIGHT_FORMATS = ("auto", "dense", "csr", "block1x4", "block16x4", "codebook", "winograd")
#: What SessionOptions.precision may name.
PRECISIONS = ("exact", "fast")
#: Outputs and inputs of a block of each sparse form.
BLOCKS = {"csr": (1, 1), "block1x4": (1, 4), "block16x4": (16, 4)}
#: Below this depth a tile of AMX is mostly empty.
LEAST_AMX_DEPTH = 16
#: From this many float weights on, they do not stay in second-level caches.
LEAST_UNCACHED = 1 << 20
#: Below this share of zeros no sparse form is considered.
LEAST_ZEROS = 0.5
#: Up to this many input channels a convolution reads windows of whole rows.
MERGED_CHANNELS = 4


def check_weight_format(name: str) -> None:
    """A UsageError that lists the choices for any other name."""
    if name not in WEIGHT_FORMATS:
        raise UsageError(f"weight_format '{name}': unknown; use one of {', '.join(WEIGHT_FORMATS)}")


def check_precision(name: str) -> None:
    """A UsageError that lists the choices for any other name."""
    if name not in PRECISIONS:
        raise UsageError(f"precision '{name}': unknown; use one of {', '.join(PRECISIONS)}")


def pack_float(b: Builder, anchor: Anchor) -> int:
    """Float weights: depthwise, compressed, or dense panels."""
    dense = anchor.weights.dense()
    if dense.dtype != np.float32:
        dense = dense.astype(np.float32)
    matrix = anchor.matrix(dense)
    if anchor.depthwise:
        anchor.attrs["family"] = "dwconv"
        memory = _core.pack_depthwise_f32(np.ascontiguousarray(matrix[:, :, 0]))
        return _constant(b, anchor, Packed(memory, "depthwise_f32", dense.nbytes))
    packed = _compressed(b, anchor, matrix, "f32", dense.nbytes)
    return _constant(b, anchor, _dense_float(b, anchor, matrix) if packed is None else packed)


def _dense_float(b: Builder, anchor: Anchor, matrix: Array) -> Packed:
    if b.precision == "fast" and _bf16_pays(b.pixels(anchor.node), matrix):
        anchor.attrs["bf16"] = 1
        return Packed(_core.pack_dense_bf16(_merged(anchor, matrix), anchor.groups), "dense_bf16", matrix.nbytes)
    if transforms_floats(anchor, matrix, anchor.node.outputs[0].shape, b.weight_format):
        anchor.attrs["family"] = "winograd"
        return Packed(_core.pack_winograd_f32(np.ascontiguousarray(matrix)), "winograd_f32", matrix.nbytes)
    return Packed(_core.pack_dense_f32(_merged(anchor, matrix), anchor.groups), "dense_f32", matrix.nbytes)


def _bf16_pays(pixels: int, matrix: Array) -> bool:
    """Whether bfloat16 weights W[N, taps, K] make a layer faster here. With AMX products of bfloat16 do; elsewhere, as
    measured, only that fewer bytes are read, where each is used once or twice or all of them exceed the caches."""
    if "amx" in _core.usable_isas():
        return bool(matrix.shape[1] * matrix.shape[2] >= LEAST_AMX_DEPTH)
    return pixels <= 2 or bool(matrix.size >= LEAST_UNCACHED)


def pack_int(b: Builder, anchor: Anchor, matrix: Array, zero: Array | None) -> int:
    """s8 weights W[N, taps, K] with zero points per output (None: symmetric)."""
    packed = _compressed(b, anchor, matrix, "s8", matrix.size * 4) if zero is None else None
    return _constant(b, anchor, _dense_int(b, anchor, matrix, zero) if packed is None else packed)


def _dense_int(b: Builder, anchor: Anchor, matrix: Array, zero: Array | None) -> Packed:
    if zero is None and transforms_bytes(anchor, anchor.node.outputs[0].shape, b.weight_format):
        anchor.attrs["family"] = "winograd"
        return Packed(_core.pack_winograd_s16(np.ascontiguousarray(matrix)), "winograd_s16", matrix.size * 4)
    return Packed(_core.pack_dense_s8(_merged(anchor, matrix), anchor.groups), "dense_s8", matrix.size * 4)


def pack_depthwise_int(b: Builder, anchor: Anchor, wide: Array) -> int:
    """Depthwise integer weights, zero points already subtracted: 16 bits."""
    anchor.attrs["family"] = "dwconv"
    memory = _core.pack_depthwise_s16(np.ascontiguousarray(wide[:, :, 0].astype(np.int16)))
    return _constant(b, anchor, Packed(memory, "depthwise_s16", wide.size * 4))


def _merged(anchor: Anchor, matrix: Array) -> Array:
    """W[N, taps, K] with the kernel's width moved into the channels, where few channels would leave vectors empty: the
    step then reads windows of whole rows (see steps/convolution.py)."""
    attrs = anchor.attrs
    if anchor.kind != "conv" or anchor.transposed or anchor.groups > 1 or attrs["C"] > MERGED_CHANNELS:
        return matrix
    kernel = attrs["kernel"]
    if kernel[-1] == 1 or (attrs.get("dilations") or [1])[-1] != 1 or min(attrs.get("pads") or [0]) < 0:
        return matrix
    attrs["merge_width"] = 1
    return matrix.reshape(matrix.shape[0], matrix.shape[1] // kernel[-1], kernel[-1] * matrix.shape[2])


def _constant(b: Builder, anchor: Anchor, packed: Packed) -> int:
    return b.lowered.constant(f"{anchor.node.name}.weights", packed)


# -- compressed forms --------------------------------------------------------------------------------------------------


def _compressed(b: Builder, anchor: Anchor, matrix: Array, element: str, logical: int) -> Packed | None:
    """The compressed form that pays, or that is forced; None for dense."""
    forced = b.weight_format
    if forced == "dense" or anchor.groups > 1 or not matrix.size:
        return None
    found = _indexed(b, anchor, matrix, element, logical)
    return found if found is not None else _sparse(b, anchor, matrix, element, logical)


def _transforms(anchor: Anchor, matrix: Array, element: str) -> bool:
    """Whether dense weights would take the form of family winograd."""
    shape = anchor.node.outputs[0].shape
    return (
        transforms_bytes(anchor, shape, "auto") if element == "s8" else transforms_floats(anchor, matrix, shape, "auto")
    )


def _sparse(b: Builder, anchor: Anchor, matrix: Array, element: str, logical: int) -> Packed | None:
    zeros = 1.0 - np.count_nonzero(matrix) / matrix.size
    forced = b.weight_format
    if forced not in ("auto", "csr", "block1x4", "block16x4") or (forced == "auto" and zeros < LEAST_ZEROS):
        return None
    names = ("block16x4", "block1x4", "csr") if forced == "auto" else (forced,)
    winograd = _transforms(anchor, matrix, element)
    best, best_ratio = None, 0.0
    for name in names:
        form = f"{name}_{element}"
        n, taps, k = matrix.shape
        rows, width = BLOCKS[name]
        density = _core.count_blocks(matrix, form) / (-(-n // rows) * taps * -(-k // width))
        pays, ratio = _core.sparse_pays(form, b.pixels(anchor.node), n, k, taps, density, winograd)
        if ratio > best_ratio and (pays or forced != "auto"):
            best, best_ratio = form, ratio
    if best is None:
        b.note(anchor.node, f"{zeros:.0%} zeros, but no sparse kernel is predicted to beat the dense one here")
        return None
    anchor.attrs["family"] = f"sparse_{anchor.kind}"
    b.note(anchor.node, f"{best} ({zeros:.0%} zeros), predicted {best_ratio:.2f}× the dense kernel's speed")
    return Packed(_core.pack_sparse(matrix, best), best, logical)


def _indexed(b: Builder, anchor: Anchor, matrix: Array, element: str, logical: int) -> Packed | None:
    """Codebooks and low-bit blocks."""
    if b.weight_format not in ("auto", "codebook"):
        return None
    packed = _codebook(anchor, matrix, element, logical) or _affine(anchor, matrix, element, logical)
    if packed is None:
        return None
    bits, shared = anchor.attrs.pop("_bits"), anchor.attrs.pop("_shared")
    n, taps, k = matrix.shape
    winograd = _transforms(anchor, matrix, element)
    kind = {"codebook_f32": "f32", "codebook_s8": "s8", "affine_f32": "affine"}[packed.format]
    pays, ratio = _core.codebook_pays(kind, bits, b.pixels(anchor.node), n, k, taps, shared, winograd)
    if not pays and b.weight_format == "auto":
        b.note(
            anchor.node, f"stored as {packed.format} with {bits} bits; the dense kernel is predicted to be faster here"
        )
        return None
    anchor.attrs["family"] = f"{'nbit' if packed.format == 'affine_f32' else 'codebook'}_{anchor.kind}"
    b.note(anchor.node, f"{packed.format} with {bits} bits, predicted {ratio:.2f}× the dense kernel's speed")
    return packed


def _codebook(anchor: Anchor, matrix: Array, element: str, logical: int) -> Packed | None:
    w = anchor.weights
    if (
        w.tables is None
        or w.indices is None
        or w.indices.shape != w.values.shape
        or (element == "f32" and w.scale is not None)
    ):
        return None
    entries = w.tables.shape[1]
    bits = next((n for n in (2, 3, 4, 8) if entries <= 1 << n), 0)
    dtype = np.float32 if element == "f32" else np.int8
    if not bits or w.tables.dtype != dtype or (element == "s8" and bits == 8):
        return None
    extent = _table_extent(anchor, matrix.shape)
    if extent is None:
        return None
    outputs, columns = extent
    down, across = -(-matrix.shape[0] // outputs), -(-matrix.shape[1] * matrix.shape[2] // columns)
    tables = np.zeros((down * across, 1 << bits), dtype)
    tables[:, :entries] = w.tables
    indices = np.ascontiguousarray(anchor.matrix(w.indices))
    memory = _core.pack_codebook(indices, tables.reshape(down, across, -1), bits, outputs, columns)
    anchor.attrs.update(_bits=bits, _shared=outputs % 16 == 0 or outputs >= matrix.shape[0])
    return Packed(memory, f"codebook_{element}", logical)


def _table_extent(anchor: Anchor, shape: tuple[int, int, int]) -> tuple[int, int] | None:
    """(outputs, columns) that one table covers, tables numbered row by row; None if groups lie otherwise."""
    n, taps, k = shape
    w = anchor.weights
    assert w.tables is not None
    if w.group is None:
        return (n, taps * k) if len(w.tables) == 1 else None
    group = anchor.matrix(w.group).reshape(n, taps * k)
    outputs = _run_length(group[:, 0])
    columns = _run_length(group[0])
    across = -(-taps * k // columns)
    expected = (np.arange(n)[:, None] // outputs) * across + np.arange(taps * k)[None, :] // columns
    fits = np.array_equal(group, expected) and (columns == taps * k or taps == 1)
    return (outputs, columns) if fits else None


def _run_length(ids: Array) -> int:
    changes = np.flatnonzero(ids != ids[0])
    return int(changes[0]) if changes.size else len(ids)


def _affine(anchor: Anchor, matrix: Array, element: str, logical: int) -> Packed | None:
    """Weights of 2, 4 or 8 bits with a scale a block (or an output), computed with in float."""
    w = anchor.weights
    n, taps, k = matrix.shape
    if (
        element != "f32"
        or w.scale is None
        or w.bits not in (2, 4, 8)
        or taps != 1
        or anchor.kind != "gemm"
        or w.tables is not None
    ):
        return None
    k_axis = 1 if anchor.trans_b else 0
    if w.block and w.axis != k_axis:
        return None
    blocks = -(-k // w.block) if w.block else 1
    scale = _per_block(w.scale, anchor, n, blocks)
    zero = None if w.zero is None else _per_block(w.zero.astype(np.int64), anchor, n, blocks)
    if scale is None or (w.zero is not None and zero is None):
        return None
    middle = 1 << (w.bits - 1)
    signed = w.values.dtype == np.int8
    stored = w.values.astype(np.int64) + (middle if signed else 0)
    zeros = np.zeros((n, blocks), np.int64) if zero is None else zero
    zeros = zeros + (middle if signed else 0)
    packed_zeros = None if (zeros == middle).all() else np.ascontiguousarray(zeros.astype(np.uint8))
    indices = np.ascontiguousarray(anchor.matrix(stored.astype(np.uint8)))
    anchor.attrs.update(_bits=w.bits, _shared=True)
    memory = _core.pack_affine(
        indices, np.ascontiguousarray(scale, np.float32), packed_zeros, w.bits, min(w.block or k, k)
    )
    return Packed(memory, "affine_f32", logical)


def _per_block(parameter: Array, anchor: Anchor, n: int, blocks: int) -> Array | None:
    """A scale or zero point as [N, blocks]."""
    if parameter.size == 1:
        return np.full((n, blocks), parameter.reshape(()))
    if parameter.ndim == 1:
        along_outputs = anchor.weights.axis == (0 if anchor.trans_b else 1)
        return np.broadcast_to(parameter[:, None], (n, blocks)) if along_outputs and parameter.size == n else None
    oriented = parameter if anchor.trans_b else parameter.T
    return oriented if oriented.shape == (n, blocks) else None
