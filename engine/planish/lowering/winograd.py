"""The form of weights that family winograd multiplies by (csrc/kernels/winograd/winograd.h), and where it pays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import ModelError

if TYPE_CHECKING:
    from planish.lowering.rules.linear import Anchor

Array = npt.NDArray[Any]

#: Elements of a tile: as many matrices replace the nine of a window.
ELEMENTS = 16
#: Outputs of a panel of packed weights.
PANEL = 16
#: Instruction sets that multiply bytes at twice the rate of 16-bit numbers, or more.
QUICK_BYTES = frozenset(("avxvnni", "avx512vnni", "amx"))
#: Fewer channels or outputs (of floats, of bytes) leave too little to multiply between the transforms.
LEAST_CHANNELS, LEAST_OUTPUTS, LEAST_BYTE_OUTPUTS = 16, 8, 16
#: How many products each of those that remain must replace: tiles at the edge of small maps are partly empty.
LEAST_SAVING = 1.7
#: Fewer pixels read each of the larger weights too seldom: floats take 16/9 of the memory, bytes, as 16-bit numbers,
#: 32/9.
LEAST_PIXELS, LEAST_BYTE_PIXELS = 16, 64
#: Greater weights may not fit float32 any more once they are added up with others.
LARGEST_WEIGHT = 2.0**100

Shape = Iterable[object] | None


def transforms_floats(anchor: Anchor, matrix: Array, shape: Shape, forced: str) -> bool:
    """Whether a float convolution takes this form: where it can, and it is forced or, by measurements, the faster one.

    matrix: W[N, 9, C]; shape: of the output, whose sizes may be unknown; forced: SessionOptions.weight_format. Windows
    of which an element is zero for all channels stay as they are: a masked (causal) convolution must not depend, not
    even by rounding, on what it does not see.
    """
    if not _takes_form(anchor) or not matrix.any(axis=(0, 2)).all() or not np.abs(matrix).max() < LARGEST_WEIGHT:
        return False
    pays = anchor.attrs["N"] >= LEAST_OUTPUTS and _pays(anchor, shape, LEAST_PIXELS)
    return forced == "winograd" or (forced == "auto" and pays)


def transforms_bytes(anchor: Anchor, shape: Shape, forced: str) -> bool:
    """The same for a convolution of bytes, multiplied here as 16-bit numbers: where the processor has no quicker
    product of bytes. Its results are exact."""
    if not _takes_form(anchor) or anchor.attrs["C"] > _core.WINOGRAD_MOST_INTEGER_CHANNELS:
        return False
    usable = _core.usable_isas()
    slow = "avx2" in usable and not QUICK_BYTES.intersection(usable)
    pays = slow and anchor.attrs["N"] >= LEAST_BYTE_OUTPUTS and _pays(anchor, shape, LEAST_BYTE_PIXELS)
    return forced == "winograd" or (forced == "auto" and pays)


def _takes_form(anchor: Anchor) -> bool:
    """Windows of 3 × 3 at stride 1, all in one group."""
    a = anchor.attrs
    return (
        anchor.kind == "conv"
        and not anchor.transposed
        and anchor.groups == 1
        and a["kernel"] == [3, 3]
        and all(d == 1 for key in ("strides", "dilations") for d in a.get(key) or [])
        and min(a["C"], a["N"]) > 0
    )


def _pays(anchor: Anchor, shape: Shape, least_pixels: int) -> bool:
    """Whether there are channels and pixels enough; sizes that are not known are taken for large, the batch for 1."""
    if anchor.attrs["C"] < LEAST_CHANNELS:
        return False
    sizes = list(shape or ())
    if len(sizes) != 4 or not isinstance(sizes[2], int) or not isinstance(sizes[3], int):
        return True
    batch, height, width = sizes[0], sizes[2], sizes[3]
    tiles = -(-height // 2) * -(-width // 2)
    pixels = height * width * (batch if isinstance(batch, int) else 1)
    return 9 * height * width >= LEAST_SAVING * ELEMENTS * tiles and pixels >= least_pixels


def restored_floats(memory: _core.Memory, n: int, c: int) -> Array:
    """W[N, 9, C] of winograd_f32, up to rounding; what is but rounding becomes zero again."""
    _check_size(memory, n, ELEMENTS * -(-n // PANEL) * PANEL * c * 4)
    w = _windows(_core.unpack_dense_f32(memory, ELEMENTS * n, 1, c, ELEMENTS))
    w[np.abs(w) < 4 * np.finfo(w.dtype).eps * np.abs(w).max(axis=1, keepdims=True)] = 0
    return w


def restored_integers(memory: _core.Memory, n: int, c: int) -> Array:
    """int8 W[N, 9, C] of winograd_s16."""
    _check_size(memory, n, ELEMENTS * -(-n // PANEL) * PANEL * -(-c // 2) * 4)
    panels = np.frombuffer(memoryview(memory), np.int16).reshape(ELEMENTS, -1, (c + 1) // 2, PANEL, 2)
    quadrupled = panels.transpose(0, 1, 3, 2, 4).reshape(ELEMENTS, -1, c + c % 2)[:, :n, :c]
    return (_windows(quadrupled.reshape(ELEMENTS * n, 1, c).astype(np.float32)) / 4).astype(np.int8)


def _check_size(memory: _core.Memory, n: int, nbytes: int) -> None:
    if n < 1 or nbytes < 1 or len(memory) != nbytes:
        raise ModelError("packed weights: their size does not belong to this shape; pack them again")


def _windows(u: Array) -> Array:
    """The windows g [N, 9, C] of which u [16 · N, 1, C] holds the elements of G g Gᵀ."""
    n, _, c = u.shape
    rows = _gathered(u.reshape(4, 4, n // ELEMENTS * c)).swapaxes(0, 1)
    return np.ascontiguousarray(_gathered(rows).swapaxes(0, 1).reshape(9, n // ELEMENTS, c).swapaxes(0, 1))


def _gathered(spread: Array) -> Array:
    """[4, A, K] as [3, A, K]."""
    return np.stack([spread[0], spread[1] - spread[2], spread[3]])
