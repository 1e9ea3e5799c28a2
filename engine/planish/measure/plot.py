"""A measurement as a figure: latency and file size, one bar a contestant."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

from planish.errors import UsageError
from planish.files import check_writable, write_atomic
from planish.measure.result import Measurement
from planish.measure.table import format_speedup
from planish.report.units import format_bytes, format_seconds

_FORMATS = ("png", "svg", "pdf")


def check_plot(path: str | Path) -> str:
    """The figure's format by its suffix. Raises now what `save_plot` would raise after the measurement."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise UsageError(f"{path}: no such figure format; end the name in {', '.join('.' + name for name in _FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot: matplotlib is not installed; pip install 'planish[plot]'")
    check_writable(path)
    return kind


def save_plot(measurement: Measurement, path: str | Path) -> None:
    """Write the figure to a .png, .svg or .pdf file, whole or not at all.

    Bars reach the median latency, their whiskers the 90th percentile. Raises UsageError for another suffix or where
    matplotlib is not installed, OutputError where the file cannot be written.
    """
    kind = check_plot(path)
    from matplotlib.figure import Figure

    rows = measurement.contestants[::-1]
    names = [row.name for row in rows]
    medians = [1e3 * row.p50 for row in rows]
    tails = [1e3 * (row.p90 - row.p50) for row in rows]
    figure = Figure(figsize=(10, 1.2 + 0.5 * len(rows)), layout="constrained")
    latency, size = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    bars = latency.barh(names, medians, xerr=[[0.0] * len(rows), tails], capsize=3)
    labels = [
        format_seconds(row.p50) + ("" if row.speedup is None else f", {format_speedup(row.speedup)}") for row in rows
    ]
    latency.bar_label(bars, labels, padding=6, fontsize=8)
    latency.set_xlabel(f"latency, ms (median, whisker to p90); speed against {measurement.baseline}")
    latency.margins(x=0.45)
    bars = size.barh(names, [row.file_bytes / 1e6 for row in rows], color="tab:gray")
    size.bar_label(bars, [format_bytes(row.file_bytes) for row in rows], padding=3, fontsize=8)
    size.set_xlabel("file, MB")
    size.margins(x=0.35)
    figure.suptitle(f"{measurement.machine}, threads: {measurement.threads}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    write_atomic(path, buffer.getvalue())
