"""Whether a smaller form of a layer would pay at run time."""

from __future__ import annotations

from planish.compress.graph import Layer


def keeps_float(layer: Layer) -> str | None:
    """Why `layer` is better left in float on a CPU, read from its shape alone; None where compression may pay.

    A file runs on many CPUs, so this knows none. Where integers lose, on AVX2 in depthwise layers of many channels,
    they lose less than the conversions to and from a float layer among integer ones take: see docs/performance.md.
    """
    return "no inputs" if layer.layout.rows == 0 or layer.layout.cin == 0 else None
