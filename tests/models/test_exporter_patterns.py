"""Networks as other exporters write them load and agree with ONNX Runtime at the first try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import planish
from planish.runtime.executor import fallback_steps
from tests.exact_onnxruntime import exact_session
from tests.models.exporter_patterns import NETWORKS

#: What may run through the reference evaluator.
FALLBACK = {
    "sklearn_scaled_forest": {"ai.onnx.ml::Scaler", "ai.onnx.ml::TreeEnsembleClassifier"},
    "sklearn_text_classifier": {
        "Reshape", "StringNormalizer", "com.microsoft::Tokenizer", "Flatten", "TfIdfVectorizer",
        "ai.onnx.ml::Normalizer", "ai.onnx.ml::LinearClassifier",
    },
}  # fmt: skip


def assert_agree(results: list[Any], expected: list[Any]) -> None:
    assert len(results) == len(expected)
    for got, want in zip(results, expected, strict=True):
        if isinstance(want, list):
            assert [set(row) for row in got] == [set(row) for row in want]
            got, want = (np.array([[row[k] for k in sorted(row)] for row in rows]) for rows in (got, want))
        assert got.shape == want.shape
        if want.dtype.kind == "f":
            assert np.abs(got - want).max(initial=0) <= 1e-4 * np.abs(want).max(initial=0) + 1e-6
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_agrees(name: str) -> None:
    pytest.importorskip("onnxruntime")
    model, feeds = NETWORKS[name]()
    onnx.checker.check_model(model)
    session = planish.InferenceSession(model)
    assert {step.attrs["op"] for step in fallback_steps(session.lowered)} <= FALLBACK.get(name, set())
    assert_agree(session.run(None, feeds), exact_session(model, optimize=True).run(None, feeds))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_what_onnxruntime_quantizes_agrees(tmp_path: Path, form: str, per_channel: bool) -> None:
    """Its own quantizer's files, in both forms: at most one step of the output on a thousandth of the elements."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    model, feeds = NETWORKS["tensorflow_mobilenet"]()
    onnx.save(model, tmp_path / "float.onnx")
    samples = iter([feeds] * 2)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Any:
            return next(samples, None)

    quantization.quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", Reader(), per_channel=per_channel,
        quant_format=getattr(quantization.QuantFormat, form), extra_options={"ActivationSymmetric": False},
    )  # fmt: skip
    quantized = onnx.load(tmp_path / "int8.onnx")
    session = planish.InferenceSession(quantized)
    assert not fallback_steps(session.lowered)
    (got,), (want,) = session.run(None, feeds), exact_session(quantized).run(None, feeds)
    assert np.abs(got - want).max() <= 1 / 255
