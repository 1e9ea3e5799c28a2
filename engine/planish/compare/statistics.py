"""Statistics of paired answers."""

from __future__ import annotations

import math

#: Standard normal quantile of a two-sided 95 % interval.
_Z95 = 1.959963984540054


def net_flips_interval(lost: int, won: int, samples: int) -> tuple[float, float]:
    """A 95 % interval for the change of accuracy, in [-1, 1], when `lost` answers turned wrong and `won` turned right.

    Wald's interval for the difference of paired proportions after half an observation is added to each cell
    (Agresti and Min, 2005).
    """
    n = samples + 2.0
    b, c = won + 0.5, lost + 0.5
    difference = (b - c) / n
    spread = _Z95 * math.sqrt(max(b + c - (b - c) ** 2 / n, 0.0)) / n
    return max(difference - spread, -1.0), min(difference + spread, 1.0)
