"""Time per step as a table."""

from __future__ import annotations

from collections.abc import Sequence

from planish.measure.profile import StepTime
from planish.report.table import Table
from planish.report.units import format_seconds


def profile_table(name: str, steps: Sequence[StepTime]) -> Table:
    """Steps in order of execution, with the kernels chosen and the reasons; the sum below."""
    table = Table(("step", "family", "kernel", "median>", "share>", "why"), heading=f"{name}, step by step")
    for step in steps:
        share = f"{100 * step.share:.1f} %"
        table.rows.append([step.label, step.family, step.kernel, format_seconds(step.seconds), share, step.reason])
    table.footer.append(f"{len(steps)} steps, {format_seconds(sum(step.seconds for step in steps))} in all")
    return table
