"""One model's row: all contestants in one measurement, so that float32 and int8 see the same machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import planish
from bench.table.files import Files
from bench.table.limits import measure_limits
from bench.table.roofline import roofline
from planish.measure import Contestant, ContestantResult, Measurement, measure

PEERS = ("onnxruntime", "openvino")
#: What each peer's own quantizers write, by kinds of Files.
OWN = {"onnxruntime": ("onnxruntime", "onnxruntime-dynamic"), "openvino": ("openvino",)}
#: Least cosine of outputs with planish's float32: of float32 contestants, and of int8 ones.
SAME, ALIKE = 0.9999, 0.9


@dataclass(frozen=True)
class Entry:
    """A contestant: an engine and a kind of file; called `engine kind` in the measurement."""

    engine: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.engine} {self.kind}"


def entries(files: Files, engines: tuple[str, ...]) -> list[Entry]:
    """planish in float32 (the reference of all outputs) and int8; peers on float32, planish's file, and their own."""
    found = [Entry("planish", kind) for kind in ("float32", "int8")]
    for peer in engines:
        found += [Entry(peer, kind) for kind in ("float32", "int8", *OWN[peer])]
    return [entry for entry in found if entry.kind in files.paths]


def race(
    files: Files, engines: tuple[str, ...], threads: int, seconds: float, report: Callable[[str], None]
) -> dict[str, Any]:
    """The row as plain data. A contestant that refuses its file is left out, with a line in `notes`."""
    line_up, notes = entries(files, engines), list(files.notes)
    limits = measure_limits(threads)
    while True:
        try:
            measured = _measure(files, line_up, threads, seconds, report)
            break
        except planish.PlanishError as error:
            culprit = next((e for e in line_up if str(error).startswith(f"contestant '{e.name}'")), None)
            if culprit is None or culprit.engine == "planish":
                raise
            notes.append(" ".join(str(error).split())[:200])
            line_up.remove(culprit)
    return {
        "work": files.work.name,
        "threads": threads,
        "contestants": [_plain(entry, measured[entry.name]) for entry in line_up],
        "notes": [*notes, *_differing(measured, line_up)],
        "limits": limits.to_dict(),
        "roofline": {
            kind: asdict(roofline(files.paths[kind], files.work.shapes, limits))
            for kind in ("float32", "int8")
            if kind in files.paths
        },
    }


def _measure(
    files: Files, line_up: list[Entry], threads: int, seconds: float, report: Callable[[str], None]
) -> Measurement:
    contestants = [Contestant(e.name, files.paths[e.kind], e.engine) for e in line_up]
    return measure(
        contestants,
        shapes=files.work.shapes,
        threads=threads,
        seconds=seconds,
        block_runs=10,
        progress=lambda what, done, total: report(f"{done}/{total} {what}"),
    )


def _plain(entry: Entry, result: ContestantResult) -> dict[str, Any]:
    low, high = np.percentile(result.block_medians, (25, 75))
    return {
        "engine": entry.engine,
        "kind": entry.kind,
        "version": result.version,
        "p50": result.p50,
        "quartiles": [float(low), float(high)],
        "blocks": list(result.block_medians),
        "cosine": 1.0 if result.agreement is None else result.agreement.cosine,
        "load_seconds": result.load_seconds,
        "peak_bytes": result.peak_bytes,
    }


def _differing(measured: Measurement, line_up: list[Entry]) -> list[str]:
    """A line for each contestant whose outputs are further from planish's float32 than its arithmetic explains."""
    lines = []
    for entry in line_up:
        agreed = measured[entry.name].agreement
        if agreed is not None and agreed.cosine < (SAME if entry.kind == "float32" else ALIKE):
            lines.append(f"{entry.name}: outputs differ from planish float32: cosine {agreed.cosine:.4f}")
    return lines
