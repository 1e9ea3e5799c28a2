"""An error of a run names the model, the node by name and number, its operator, the shapes at hand and a remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import planish
from tests.lowering.harness import parse

MODEL = parse("a = Relu (x) b = Neg (a) y = Add (b, z)", "float[n] x, float[m] z", "float[k] y")
WHERE = r"node 'Add_2' \(Add, node 2\): shapes \[3\] and \[4\] do not broadcast; check the inputs' shapes"
FEEDS = {"x": np.ones(3, np.float32), "z": np.ones(4, np.float32)}


def test_a_model_in_memory() -> None:
    with pytest.raises(planish.ModelError, match=f"^{WHERE}$"):
        planish.InferenceSession(MODEL).run(None, FEEDS)


def test_a_file_and_its_plan(tmp_path: Path) -> None:
    """The plan knows the nodes of the model that it was made from."""
    model, plan = tmp_path / "model.onnx", tmp_path / "model.plan"
    onnx.save(MODEL, model)
    planish.export(model, plan)
    for path in (model, plan):
        with pytest.raises(planish.ModelError, match=f"^{path}: {WHERE}$"):
            planish.InferenceSession(path).run(None, FEEDS)
