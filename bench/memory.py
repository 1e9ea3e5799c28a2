"""The most memory a process has resident that loads a model and runs it: planish from .onnx and .plan, and its peers.

    python -m bench.memory MODEL.onnx [--runs N] [--json FILE]

Each has a process of its own (VmHWM: Python, NumPy and the engine included).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import planish
from planish.measure import InputSpec, random_feeds
from planish.measure.process import WorkerProcess

#: The most that planish may take from .plan and from .onnx, against ONNX Runtime.
PLAN_GOAL, ONNX_GOAL = 1.0, 1.6


def measure_memory(path: Path, runs: int = 10, engines: tuple[str, ...] = ("onnxruntime",)) -> dict[str, int]:
    """`planish .onnx`, `planish .plan` and the peers → peak bytes."""
    with tempfile.TemporaryDirectory(prefix="planish-memory-") as folder:
        plan = Path(folder) / "model.plan"
        planish.export(planish.InferenceSession(path), plan)
        found = {
            "planish .onnx": _peak("planish", path, Path(folder), runs),
            "planish .plan": _peak("planish", plan, Path(folder), runs),
        }
        return found | {engine: _peak(engine, path, Path(folder), runs) for engine in engines}


def _peak(engine: str, path: Path, folder: Path, runs: int) -> int:
    with WorkerProcess(engine) as worker:
        cpus = sorted(os.sched_getaffinity(0))[:1]
        loaded = worker.ask("load", engine=engine, path=str(path), threads=1, cpus=cpus)
        feed, _ = random_feeds([InputSpec(name, tuple(shape), kind) for name, shape, kind in loaded["inputs"]])
        np.savez(folder / "feed.npz", allow_pickle=False, **feed)
        worker.ask("feed", feeds=[str(folder / "feed.npz")], outputs=[str(folder / "output.npz")])
        worker.ask("block", seconds=0.0, runs=runs)
        return int(worker.ask("memory")["peak_bytes"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure_memory(args.model, args.runs)
    for name, nbytes in found.items():
        print(f"{name:14s} {nbytes / 1e6:7.1f} MB  {nbytes / found['onnxruntime']:5.2f}× of ONNX Runtime")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
