"""How fast a model could be at most: each layer takes the longer of its arithmetic and its reading and writing.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore architectures",
CACM 52 (4), 2009.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.table.limits import EXACT, SAFE_PAIRS, Limits
from planish.inspection import inspect_model
from planish.inspection.result import LayerFacts

_VALUE = re.compile(r"([a-z0-9]+)\[([\d,]*)\]")
#: Products of F(2×2, 3×3) by those of the sum that it replaces.
_WINOGRAD = 16 / 36
_INTEGER_KERNEL = re.compile(r"u8|s8|s16")


@dataclass(frozen=True)
class Roofline:
    """seconds: the least time at the measured limits. macs: multiply-accumulates, of which `safe` ran on pairs that
    packing proved safe and `integer` on integers. nbytes: what the layers read and write, weights included."""

    seconds: float
    macs: int
    integer: int
    safe: int
    nbytes: int


def roofline(path: Path, shapes: Mapping[str, Sequence[int]], limits: Limits) -> Roofline:
    """The roofline of a model as planish runs it: its kernels decide which arithmetic a layer is held to."""
    found = inspect_model(path, shapes, limits.threads)
    rate = limits.reading(found.packed + found.arena)
    seconds, macs, integer, safe, nbytes = 0.0, 0, 0, 0, 0
    for layer in found.layers:
        moved = sum(map(_bytes_of, (*layer.inputs, *layer.outputs))) + (layer.weights.packed if layer.weights else 0)
        arithmetic = _arithmetic(layer)
        products = layer.macs * (_WINOGRAD if layer.op == "winograd" else 1)
        seconds += max(2 * products / limits.operations[arithmetic], moved / rate)
        macs += layer.macs
        integer += layer.macs * (arithmetic != "f32")
        safe += layer.macs * (arithmetic == SAFE_PAIRS)
        nbytes += moved
    return Roofline(seconds, macs, integer, safe, nbytes)


def _arithmetic(layer: LayerFacts) -> str:
    if not _INTEGER_KERNEL.search(layer.kernel):
        return "f32"
    return SAFE_PAIRS if "pairs" in layer.kernel else EXACT


def _bytes_of(value: str) -> int:
    """Bytes of a tensor as inspection writes it: float32[1,64,56,56]."""
    match = _VALUE.fullmatch(value)
    if match is None:
        return 0
    bits = int("".join(filter(str.isdigit, match[1])) or 8)
    return bits * math.prod(int(size) for size in match[2].split(",") if size) // 8
