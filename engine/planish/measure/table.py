"""A measurement as a table on the terminal."""

from __future__ import annotations

from planish.measure.result import ContestantResult, Measurement
from planish.measure.statistics import Agreement, Interval
from planish.report.table import Table
from planish.report.units import format_bytes, format_seconds

_COLUMNS = ("contestant", "file>", "load>", "first run>", "p50>", "p90>", "p99>", "inferences/s>", "RSS>", "agreement>")


def to_table(measurement: Measurement) -> Table:
    """One row a contestant; the lines below say under which conditions."""
    rows = [_cells(row) for row in measurement.contestants]
    return Table((*_COLUMNS, f"speed against {measurement.baseline}>"), [*rows], footer=_conditions(measurement))


def _cells(row: ContestantResult) -> list[str]:
    return [
        row.name,
        format_bytes(row.file_bytes),
        *(format_seconds(value) for value in (row.load_seconds, row.first_seconds, row.p50, row.p90, row.p99)),
        f"{row.per_second:,.0f}" if row.per_second >= 100 else f"{row.per_second:.3g}",
        format_bytes(row.peak_bytes),
        format_agreement(row.agreement),
        format_speedup(row.speedup),
    ]


def _conditions(measurement: Measurement) -> list[str]:
    threads = "1 thread" if measurement.threads == 1 else f"{measurement.threads} threads"
    engines = ", ".join(sorted({f"{row.engine} {row.version}" for row in measurement.contestants}))
    return [f"{measurement.machine}, {threads}; {engines}", *measurement.notes]


def format_agreement(agreement: Agreement | None) -> str:
    """`same bits`, else the share of equal top-1 places and the cosine."""
    if agreement is None:
        return "reference"
    if agreement.identical:
        return "same bits"
    cosine = f"cos {agreement.cosine:.5f}"
    return cosine if agreement.top1 is None else f"{100 * agreement.top1:.1f} %, {cosine}"


def format_speedup(speedup: Interval | None) -> str:
    return "1" if speedup is None else f"{speedup.median:.2f}× ({speedup.low:.2f}–{speedup.high:.2f})"
