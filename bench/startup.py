"""How long it takes until a session is there: from .onnx and from .plan, against ONNX Runtime.

    python -m bench.startup [MODEL.onnx ...] [--repeats N] [--json FILE]

Without models, those under PLANISH_TEST_MODELS. Each way of loading has a process of its own, which creates the session
once unmeasured (modules are imported then; ONNX Runtime's import brings all it needs) and then `repeats` times; the
processes take turns. Prints the medians in milliseconds, and the ratios to ONNX Runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import planish
from planish.measure.process import WorkerProcess

WAYS = ("onnx", "plan", "onnxruntime")
#: Seconds of planish from .onnx and from .plan, against ONNX Runtime's; a plan may always take PLAN_FLOOR.
ONNX_GOAL, PLAN_GOAL, PLAN_FLOOR = 5.0, 0.1, 1e-3


@dataclass(frozen=True)
class StartUp:
    """Median seconds of creating a session, by way; nan where the way refuses the model."""

    model: str
    onnx: float
    plan: float
    onnxruntime: float

    @property
    def reached(self) -> bool:
        """Whether both goals are; true where ONNX Runtime refuses the model."""
        if np.isnan(self.onnxruntime):
            return True
        plan = np.isnan(self.plan) or self.plan <= max(PLAN_FLOOR, PLAN_GOAL * self.onnxruntime)
        return bool(self.onnx <= ONNX_GOAL * self.onnxruntime and plan)


def measure_startup(path: Path, repeats: int = 5) -> StartUp:
    """Times one model in all ways; a model that needs the fallback has no plan."""
    with tempfile.TemporaryDirectory(prefix="planish-startup-") as folder, contextlib.ExitStack() as stack:
        files = {"onnx": path, "onnxruntime": path}
        with contextlib.suppress(planish.PlanishError):
            files["plan"] = Path(folder) / "model.plan"
            planish.export(planish.InferenceSession(path), files["plan"])
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        workers = {way: stack.enter_context(WorkerProcess(way)) for way in WAYS if files.get(way, path).exists()}
        for _ in range(repeats + 1):
            for way in list(workers):
                try:
                    times[way].append(_load(workers[way], files.get(way, path), way))
                except planish.PlanishError:
                    del workers[way]
    return StartUp(path.stem, *(_median(times[way][1:]) for way in WAYS))


def _load(worker: WorkerProcess, path: Path, way: str) -> float:
    cpus = sorted(os.sched_getaffinity(0))[:1]
    engine = "onnxruntime" if way == "onnxruntime" else "planish"
    return float(worker.ask("load", engine=engine, path=str(path), threads=1, cpus=cpus)["load_seconds"])


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    models = args.models or sorted(Path(os.environ["PLANISH_TEST_MODELS"]).glob("*/*.onnx"))
    print(f"{'model':40s} {'.onnx':>8s} {'.plan':>8s} {'ORT':>8s}  .onnx/ORT  .plan/ORT")
    rows = []
    for path in models:
        row = measure_startup(path, args.repeats)
        rows.append(row)
        times = "".join(f" {seconds * 1e3:8.2f}" for seconds in (row.onnx, row.plan, row.onnxruntime))
        ratios = "".join(f"  {seconds / row.onnxruntime:9.2f}" for seconds in (row.onnx, row.plan))
        print(f"{row.model[:40]:40s}{times}{ratios}{'' if row.reached else '  missed'}", flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
