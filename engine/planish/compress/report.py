"""The report of a compression: what became of each layer, and what it cost."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import onnx


@dataclasses.dataclass
class LayerReport:
    """One layer. Sizes are in bytes, ratios of signal to noise in dB, zeros and clipped values in per cent."""

    layer: str
    op: str
    shape: tuple[int, ...]
    weights: str
    activations: str
    pattern: str
    zeros: float
    bytes_float: int
    bytes_file: int
    bytes_plan: int | None = None
    weight_sqnr: float | None = None
    output_sqnr: float | None = None
    clipped: float | None = None
    kernel: str | None = None
    note: str = ""


@dataclasses.dataclass
class Total:
    """The whole model. `agreement` and `cosine` compare the outputs with the float model's on the calibration data."""

    recipe: str
    calibration: str
    samples: int
    bytes_float: int
    bytes_file: int
    layers: int
    compressed: int
    zeros: float
    agreement: float | None = None
    cosine: float | None = None
    #: Feeds of the calibration data on which the two were measured.
    compared: int = 0
    score_float: float | None = None
    score: float | None = None
    rate: float | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Report:
    """What `planish.compress` returns. `model` is the compressed ONNX model (None after a dry run)."""

    layers: list[LayerReport]
    total: Total
    model: onnx.ModelProto | None = dataclasses.field(default=None, repr=False)

    def to_json(self) -> str:
        """The report without the model, as JSON; infinite ratios become null."""
        table = {
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
            "total": dataclasses.asdict(self.total),
        }
        return json.dumps(_finite(table), indent=2, allow_nan=False)

    def __str__(self) -> str:
        rows = [_HEADER, *(_row(layer) for layer in self.layers)]
        return "\n".join([*_aligned(rows), "", *_footer(self)])

    def worst(self, count: int = 3) -> list[LayerReport]:
        """The layers to look at first: least output SQNR, or least weight SQNR where outputs were not measured."""

        def ratio(layer: LayerReport) -> float | None:
            return layer.output_sqnr if layer.output_sqnr is not None else layer.weight_sqnr

        measured = [layer for layer in self.layers if ratio(layer) not in (None, math.inf)]
        return sorted(measured, key=lambda layer: ratio(layer) or 0.0)[:count]


_HEADER = (
    "layer", "op", "shape", "weights", "act", "pattern", "zeros %", "float B", "file B", "plan B", "w dB", "out dB",
    "clip %", "kernel here", "note",
)  # fmt: skip
#: Columns that are aligned to the right.
_NUMBERS = range(6, 13)


def _row(layer: LayerReport) -> tuple[str, ...]:
    return (
        layer.layer,
        layer.op,
        "x".join(map(str, layer.shape)),
        layer.weights,
        layer.activations,
        layer.pattern,
        f"{layer.zeros:.1f}",
        f"{layer.bytes_float:,}",
        f"{layer.bytes_file:,}",
        "-" if layer.bytes_plan is None else f"{layer.bytes_plan:,}",
        _decibels(layer.weight_sqnr),
        _decibels(layer.output_sqnr),
        "-" if layer.clipped is None else f"{layer.clipped:.3f}",
        layer.kernel or "-",
        layer.note,
    )


def _decibels(value: float | None) -> str:
    if value is None:
        return "-"
    return "exact" if value == math.inf else f"{value:.1f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _footer(report: Report) -> list[str]:
    total = report.total
    ratio = total.bytes_float / max(total.bytes_file, 1)
    lines = [
        f"recipe {total.recipe}: {total.compressed} of {total.layers} layers compressed, "
        f"{total.bytes_float:,} -> {total.bytes_file:,} bytes ({ratio:.2f}x smaller), {total.zeros:.1f} % zeros",
        f"calibration: {total.calibration}, {total.samples} samples",
    ]
    if total.agreement is not None:
        share = f"{100 * total.agreement:.1f} %"
        lines.append(f"agreement with float on {total.compared} feeds of the calibration data: {share}")
    if total.cosine is not None:
        lines.append(f"least cosine of an output with float: {total.cosine:.5f}")
    if total.score is not None and total.score_float is not None:
        lines.append(f"score: {total.score_float:g} float, {total.score:g} compressed")
    lines += total.notes
    worst = report.worst()
    if worst:
        lines.append("look at first: " + ", ".join(layer.layer for layer in worst))
    return lines


def _finite(value: Any) -> Any:
    """`value` with infinite and undefined numbers as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
