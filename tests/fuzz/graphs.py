"""Random small graphs over the native operators: planish must compute what onnx.reference computes."""

from __future__ import annotations

import numpy as np

import planish
from tests.fuzz.case import Case, Reach, Rng, WrongResult, options
from tests.fuzz.generate import Array, random_graph


class Graphs:
    """Sessions' results against those of the reference evaluator, twice, so that the second run reuses the arena."""

    name = "graphs"
    stages = ("loaded", "native", "compared")

    def make(self, rng: Rng) -> Case:
        graph, model = random_graph(rng)
        expected = [graph.values[o.name] for o in model.graph.output]
        ops = " ".join(node.op_type for node in model.graph.node)
        return Case(model.SerializeToString(), ".onnx", ops, {"feeds": graph.feeds, "expected": expected})

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        session = planish.InferenceSession(case.data, options())
        reach("loaded")
        if not any(step.kind == "onnx" for step in session.lowered.walk()):
            reach("native")
        try:
            for _ in range(2):
                results = session.run(None, case.extra["feeds"])
                for port, got, want in zip(session.get_outputs(), results, case.extra["expected"], strict=True):
                    compare(port.name, got, want)
        except planish.PlanishError as error:  # a valid model with valid inputs runs
            raise WrongResult(f"refused: {error}") from error
        reach("compared")


def compare(name: str, got: Array, want: Array) -> None:
    """Floats to 1e-4 of the largest finite magnitude, the rest exactly; NaN and infinities where they are expected."""
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        raise WrongResult(f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}")
    if want.dtype.kind != "f":
        if not np.array_equal(got, want):
            raise WrongResult(f"{want.dtype} results differ")
        return
    finite = np.isfinite(want)
    if not np.array_equal(np.isnan(got), np.isnan(want)) or not np.array_equal(np.isinf(got), np.isinf(want)):
        raise WrongResult("NaN or infinity in other places")
    largest = float(np.abs(want[finite]).max(initial=1.0))
    with np.errstate(all="ignore"):
        off = float(np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0.0))
    if off > 1e-4 * largest * (100 if want.dtype == np.float16 else 1):
        raise WrongResult("float results differ")
