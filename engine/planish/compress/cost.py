"""Whether a smaller form of a layer would pay at run time."""

from __future__ import annotations

from planish.compress.graph import Layer


def keeps_float(layer: Layer) -> str | None:
    """Why `layer` is better left in float on a CPU, read from its shape alone; None where compression may pay."""
    return "no inputs" if layer.layout.rows == 0 or layer.layout.cin == 0 else None
