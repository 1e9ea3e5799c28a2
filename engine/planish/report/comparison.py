"""A comparison of two models as tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from planish.report.table import Table
from planish.report.units import format_number

if TYPE_CHECKING:
    from planish.compare import Comparison


def print_comparison(result: Comparison) -> None:
    """Outputs, accuracy, and the layers where they were compared."""
    _outputs(result).print()
    if result.layers:
        print()
        _layers(result).print()


def _outputs(result: Comparison) -> Table:
    table = Table(("output", "max error>", "of greatest>", "mean error>", "cosine>", "equal>", "top-1 agreement>"))
    for output in result.outputs:
        errors = ["", "", "", ""]
        if output.equal is None:
            errors = [
                format_number(output.max_error),
                _percent(output.relative_error, 3),
                format_number(output.mean_error),
                f"{output.cosine:.6f}",
            ]
        table.rows.append([output.name, *errors, _percent(output.equal), _percent(output.top1_agreement)])
    table.footer.append(f"{result.samples} samples")
    if result.accuracy is not None and result.accuracy_reference is not None and result.net_interval is not None:
        low, high = result.net_interval
        table.footer.append(
            f"accuracy {100 * result.accuracy_reference:.2f} % -> {100 * result.accuracy:.2f} %: "
            f"{result.lost} answers lost, {result.won} won, net {100 * (result.net or 0.0):+.2f} points "
            f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f})"
        )
    return table


def _layers(result: Comparison) -> Table:
    table = Table(("tensor", "operator", "SQNR>"), heading="layer by layer, worst first")
    for layer in result.layers:
        table.rows.append([layer.name, layer.op, "exact" if layer.sqnr == math.inf else f"{layer.sqnr:.1f} dB"])
    return table


def _percent(fraction: float | None, digits: int = 2) -> str:
    return "" if fraction is None else f"{100 * fraction:.{digits}f} %"
