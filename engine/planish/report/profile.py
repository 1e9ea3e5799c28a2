"""Time per step as a table."""

from __future__ import annotations

from collections.abc import Sequence

from planish.measure.profile import StepTime
from planish.report.table import Table
from planish.report.units import format_seconds

#: Declined kernels that a row names, the fastest ones; JSON has all.
_MOST_DECLINED = 3


def profile_table(name: str, steps: Sequence[StepTime]) -> Table:
    """Steps in order of execution, with the kernels chosen and declined, and the reasons; the sum below."""
    table = Table(("step", "family", "kernel", "median>", "share>", "declined", "why"), heading=f"{name}, step by step")
    for step in steps:
        share = f"{100 * step.share:.1f} %"
        declined = ", ".join(f"{kernel} {ratio:.2f}×" for kernel, ratio in step.declined[:_MOST_DECLINED])
        row = [step.label, step.family, step.kernel, format_seconds(step.seconds), share, declined, step.reason]
        table.rows.append(row)
    table.footer.append(f"{len(steps)} steps, {format_seconds(sum(step.seconds for step in steps))} in all")
    if any(step.declined for step in steps):
        table.footer.append("declined: the next best kernels here, and their times as multiples of the chosen one's")
    return table
