"""Kernels chosen by timing: they are what runs, they live in the plan, and integers do not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import planish
from planish import _core
from planish.demo.data import MODEL_PATH, load
from planish.errors import PlanishError
from planish.inspection import inspect_model
from planish.runtime.executor import Timing
from planish.runtime.specialise import Settings
from planish.tuning import survey, tune

pytestmark = pytest.mark.skipif(len(_core.usable_isas()) < 2, reason="one instruction set leaves nothing to choose")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuning") / "int8.onnx"
    planish.compress(MODEL_PATH, path, recipe="int8", calibration=[{"image": load().calibration[:16]}])
    return path


def test_the_faster_kernel_is_fixed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With times made up so that scalar kernels win, they are chosen; with the truth, they are not."""
    session = planish.InferenceSession(small)
    image = load().images[:1]
    feeds = {session.lowered.inputs[0].tensor: image}
    expected = session.run(None, {"image": image})[0]
    run = planish.tuning.Executor.run  # type: ignore[attr-defined]

    def backwards(self: object, feeds: object, timings: list[Timing] | None = None) -> object:
        results = run(self, feeds, timings)
        for timing in timings or ():
            timing.nanoseconds = 10 if timing.kernel.endswith("scalar") else 1000
        return results

    monkeypatch.setattr("planish.tuning._TRIAL_SECONDS", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr("planish.tuning.Executor.run", backwards)
        assert tune(session.lowered, feeds, Settings(1)) > 10
    scalar = planish.tuning.Executor(session.lowered, Settings(1))  # type: ignore[attr-defined]
    kernels = {kernel for _, family, kernel, _ in scalar.first_segment(feeds).program.steps if family == "conv"}
    assert kernels == {"u8s8_scalar"}
    np.testing.assert_array_equal(scalar.run(feeds)[0], expected)
    tune(session.lowered, feeds, Settings(1))
    tuned = planish.tuning.Executor(session.lowered, Settings(1))  # type: ignore[attr-defined]
    kernels = {kernel for _, family, kernel, _ in tuned.first_segment(feeds).program.steps if family == "conv"}
    assert "u8s8_scalar" not in kernels


def test_a_tuned_plan_keeps_the_choice_and_the_bits(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.tuning._TRIAL_SECONDS", 0.01)
    plan = small.with_suffix(".plan")
    session = planish.InferenceSession(small, planish.SessionOptions(intra_op_num_threads=1))
    planish.export(session, plan, tune=True, shapes={"image": (1, 1, 32, 32)})
    image = load().images[:1]
    np.testing.assert_array_equal(
        planish.InferenceSession(plan).run(None, {"image": image})[0],
        planish.InferenceSession(small).run(None, {"image": image})[0],
    )
    fixed = {s.name: s.attrs["kernels"] for s in session.lowered.walk() if "kernels" in s.attrs}
    for layer in inspect_model(plan, threads=1).layers:
        assert layer.kernel == fixed.get(layer.name, {}).get(layer.op, layer.kernel)


def test_a_survey_names_what_is_legal_and_leaves_the_model_as_it_was(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a kernel is legal for some of the steps only."""
    monkeypatch.setattr("planish.tuning._TRIAL_SECONDS", 0.01)
    session = planish.InferenceSession(small)
    feeds = {session.lowered.inputs[0].tensor: load().images[:1]}
    before = next(step for step in session.lowered.walk() if step.kind == "conv")
    before.attrs["kernels"] = {"conv": "u8s8_scalar"}
    build, refused = planish.tuning.Executor.segments, before.name  # type: ignore[attr-defined]

    def picky(self: Any, feeds: Any) -> Any:
        """The best kernel is not legal for one layer."""
        forced = {s.name: s.attrs.get("kernels", {}).get("conv") for s in self.lowered.walk()}
        if forced[refused] == "u8s8_avx2":
            raise PlanishError("not legal")
        return build(self, feeds)

    monkeypatch.setattr("planish.tuning.Executor.segments", picky)
    found = survey(session.lowered, feeds, Settings(1))
    assert {s.name: s.attrs["kernels"] for s in session.lowered.walk() if "kernels" in s.attrs} == {
        before.name: {"conv": "u8s8_scalar"}
    }
    assert found.chosen[(before.name, "conv")] == "u8s8_scalar"
    assert "u8s8_avx2" not in found.times[(before.name, "conv")]
    others = [times for (name, family), times in found.times.items() if family == "conv" and name != before.name]
    assert others
    assert all({found.chosen[place]} <= set(times) for place, times in found.times.items())
    if "avx2" in _core.usable_isas():
        assert any("u8s8_avx2" in times and "u8s8_scalar" in times for times in others)


def test_a_forced_kernel_of_a_convolution_runs() -> None:
    options = planish.SessionOptions(kernels={"conv": "f32_scalar"})
    session = planish.InferenceSession(MODEL_PATH, options)
    image = load().images[:1]
    segment = session.executor.first_segment({session.lowered.inputs[0].tensor: image})
    assert {k for _, family, k, _ in segment.program.steps if family == "conv"} == {"f32_scalar"}
    np.testing.assert_allclose(
        session.run(None, {"image": image})[0],
        planish.InferenceSession(MODEL_PATH).run(None, {"image": image})[0],
        rtol=1e-4,
        atol=1e-4,
    )
