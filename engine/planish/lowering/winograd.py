"""The form of weights that family winograd multiplies by (csrc/kernels/winograd/winograd.h), and where it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from planish import _core

if TYPE_CHECKING:
    from planish.lowering.rules.linear import Anchor

Array = npt.NDArray[Any]

#: Elements of a tile: as many matrices replace the nine of a window.
ELEMENTS = 16
#: Outputs of a panel of packed weights.
PANEL = 16
#: kMostIntegerChannels of the native half.
MOST_INTEGER_CHANNELS = 1820
#: Instruction sets that multiply bytes at twice the rate of 16-bit numbers, or more.
QUICK_BYTES = frozenset(("avxvnni", "avx512vnni", "amx"))
#: Fewer channels or outputs leave too little to multiply between the transforms.
LEAST_CHANNELS, LEAST_OUTPUTS = 16, 8
#: The same for bytes, of channels and outputs together.
LEAST_BYTE_WIDTH = 32
#: Fewer pixels leave tiles half empty, and read each of the larger weights too seldom: floats take 16/9 of the memory,
#: bytes, as 16-bit numbers, 32/9.
LEAST_PIXELS, LEAST_BYTE_PIXELS = 32, 64


def transforms_floats(anchor: Anchor, pixels: int, forced: str) -> bool:
    """Whether a float convolution takes this form: where it can, and it is forced or, by measurements, the faster one.

    pixels: of the output; forced: SessionOptions.weight_format.
    """
    return _takes_form(anchor) and (forced == "winograd" or (forced == "auto" and _pays(anchor, pixels)))


def transforms_bytes(anchor: Anchor, pixels: int, forced: str) -> bool:
    """The same for a convolution of bytes, multiplied here as 16-bit numbers: where the processor has no quicker
    product of bytes."""
    if not _takes_form(anchor) or anchor.attrs["C"] > MOST_INTEGER_CHANNELS:
        return False
    usable = _core.usable_isas()
    slow = "avx2" in usable and not QUICK_BYTES.intersection(usable)
    enough = anchor.attrs["C"] + anchor.attrs["N"] >= LEAST_BYTE_WIDTH and pixels >= LEAST_BYTE_PIXELS
    return forced == "winograd" or (forced == "auto" and slow and enough and _pays(anchor, pixels))


def _takes_form(anchor: Anchor) -> bool:
    """Windows of 3 × 3 at stride 1, all in one group."""
    a = anchor.attrs
    return (
        anchor.kind == "conv"
        and not anchor.transposed
        and anchor.groups == 1
        and a["kernel"] == [3, 3]
        and all(d == 1 for key in ("strides", "dilations") for d in a.get(key) or [])
    )


def _pays(anchor: Anchor, pixels: int) -> bool:
    a = anchor.attrs
    return bool(a["C"] >= LEAST_CHANNELS and a["N"] >= LEAST_OUTPUTS and pixels >= LEAST_PIXELS)


def restored_floats(memory: _core.Memory, n: int, c: int) -> Array:
    """W[N, 9, C] of winograd_f32, up to rounding; what is but rounding becomes zero again."""
    w = _windows(_core.unpack_dense_f32(memory, ELEMENTS * n, 1, c, ELEMENTS))
    w[np.abs(w) < 4 * np.finfo(w.dtype).eps * np.abs(w).max(axis=1, keepdims=True)] = 0
    return w


def restored_integers(memory: _core.Memory, n: int, c: int) -> Array:
    """int8 W[N, 9, C] of winograd_s16."""
    panels = np.frombuffer(memoryview(memory), np.int16).reshape(ELEMENTS, -1, (c + 1) // 2, PANEL, 2)
    quadrupled = panels.transpose(0, 1, 3, 2, 4).reshape(ELEMENTS, -1, c + c % 2)[:, :n, :c]
    return (_windows(quadrupled.reshape(ELEMENTS * n, 1, c).astype(np.float32)) / 4).astype(np.int8)


def _windows(u: Array) -> Array:
    """The windows g [N, 9, C] of which u [16 · N, 1, C] holds the elements of G g Gᵀ."""
    n, _, c = u.shape
    rows = _gathered(u.reshape(4, 4, n // ELEMENTS * c)).swapaxes(0, 1)
    return np.ascontiguousarray(_gathered(rows).swapaxes(0, 1).reshape(9, n // ELEMENTS, c).swapaxes(0, 1))


def _gathered(spread: Array) -> Array:
    """[4, A, K] as [3, A, K]."""
    return np.stack([spread[0], spread[1] - spread[2], spread[3]])
