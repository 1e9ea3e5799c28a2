"""int8 on trained models and real data: calibrated on one part, judged on the rest, by ONNX Runtime and by planish."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import shared_data

import planish

FOLDER = Path(os.environ.get("PLANISH_TEST_MODELS") or "missing")
DATA = FOLDER.parent / "data"
CASES = {
    "squeezenet": ("imagenet/squeezenet1.1_fp32.onnx", shared_data.imagenet, 30),
    "resnet8": ("mlperf_tiny/pretrainedResnet.fp32.onnx", shared_data.cifar10, 200),
    "keywords": ("mlperf_tiny/kws_ref_model_float32.fp32.onnx", shared_data.keywords, 60),
    "digits": ("mnist/mnist-8.onnx", shared_data.digits, 300),
}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="PLANISH_TEST_MODELS does not name a folder beside the data")


def onnxruntime_session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def scores(session: Any, inputs: np.ndarray) -> np.ndarray:
    """The model's answers, one sample at a time: float32[samples, classes]."""
    name = session.get_inputs()[0].name
    return np.concatenate([np.asarray(session.run(None, {name: x[np.newaxis]})[0]).reshape(1, -1) for x in inputs])


@dataclasses.dataclass
class Case:
    """A compressed model beside what its float source answers on the rest of the data."""

    model: onnx.ModelProto
    inputs: np.ndarray
    labels: np.ndarray
    expected: np.ndarray


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Compressed once, judged by both runtimes."""
    path, read, calibrated = CASES[request.param]
    inputs, labels = read(DATA)
    reference = onnxruntime_session(onnx.load(FOLDER / path))
    name = reference.get_inputs()[0].name
    report = planish.compress(FOLDER / path, calibration=[{name: x[np.newaxis]} for x in inputs[:calibrated]])
    assert report.model is not None
    rest = inputs[calibrated:]
    return Case(report.model, rest, labels[calibrated:], scores(reference, rest))


@pytest.mark.parametrize("make", [onnxruntime_session, planish.InferenceSession], ids=["onnxruntime", "planish"])
def test_int8_keeps_the_accuracy(case: Case, make: Callable[[onnx.ModelProto], Any]) -> None:
    got = scores(make(case.model), case.inputs)
    before, after = case.expected.argmax(1), got.argmax(1)
    lost = int((before == case.labels).sum()) - int((after == case.labels).sum())
    if len(case.labels) >= 200:
        assert lost <= max(0.01 * len(case.labels), 2)
    else:
        power = np.square(case.expected).sum() * np.square(got).sum()
        assert (case.expected * got).sum() / np.sqrt(power) >= 0.99
        assert (before == after).mean() >= 0.93
