"""Whole models in every engine: one table, as Markdown and JSON.

    python -m bench.compare_models [MODEL.onnx ...] [--engines planish,onnxruntime,openvino]
                                   [--threads N] [--seconds S] [--json FILE] [--markdown FILE]

Without models, those under PLANISH_TEST_MODELS. Each contestant runs in a process of its own, in alternating blocks,
outputs verified (see planish.measure). An engine that refuses a model is shown as such. The ratio is the fastest peer's
latency over planish's, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import planish
from planish.measure import Contestant, Measurement, measure

ENGINES = ("planish", "onnxruntime", "openvino")


def race(path: Path, engines: list[str], threads: int, seconds: float) -> tuple[Measurement | None, list[str]]:
    """The measurement among the engines that take the model, and what the others said."""
    refused: list[str] = []
    while len(engines) > len(refused):
        names = [e for e in engines if not any(r.startswith(e) for r in refused)]
        try:
            return measure([Contestant(e, path, e) for e in names], threads=threads, seconds=seconds), refused
        except planish.PlanishError as error:
            culprit = next((e for e in names if e in str(error).split(":")[0]), names[-1])
            refused.append(f"{culprit}: {error}")
    return None, refused


def row(path: Path, measurement: Measurement | None, refused: list[str]) -> dict[str, object]:
    """A model's line: latencies in milliseconds and the ratio to the fastest peer."""
    line: dict[str, object] = {"model": path.stem, "refused": refused}
    if measurement is None:
        return line
    for c in measurement.contestants:
        line[c.engine] = c.p50 * 1e3
    peers = [c for c in measurement.contestants if c.engine != "planish"]
    mine = next((c for c in measurement.contestants if c.engine == "planish"), None)
    if peers and mine:
        best = min(peers, key=lambda c: c.p50)
        ratios = sorted(b / m for b, m in zip(best.block_medians, mine.block_medians, strict=False))
        line["ratio"] = ratios[len(ratios) // 2]
        line["low"], line["high"] = ratios[0], ratios[-1]
        line["agreement"] = None if peers[0].agreement is None else str(peers[0].agreement)
    return line


def markdown(rows: list[dict[str, object]], engines: list[str]) -> str:
    """The table."""

    def number(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else "–"

    lines = [
        "| model | " + " | ".join(f"{e}, ms" for e in engines) + " | best peer / planish |",
        "| --- |" + " --- |" * (len(engines) + 1),
    ]
    for r in rows:
        spread = f"{r['ratio']:.2f} ({r['low']:.2f}–{r['high']:.2f})" if "ratio" in r else "–"
        lines.append(f"| {r['model']} | " + " | ".join(number(r.get(e)) for e in engines) + f" | {spread} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    models = args.models or sorted(Path(os.environ["PLANISH_TEST_MODELS"]).glob("*/*.onnx"))
    engines = args.engines.split(",")
    rows = []
    for path in models:
        rows.append(row(path, *race(path, engines, args.threads, args.seconds)))
        print(markdown(rows[-1:], engines).splitlines()[-1], *rows[-1]["refused"], sep="\n", flush=True)  # type: ignore[misc]
    if args.markdown:
        args.markdown.write_text(markdown(rows, engines))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
