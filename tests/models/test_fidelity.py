"""int8 against ONNX Runtime without its optimizations: layer by layer on equal inputs, and from end to end.

Layer by layer a result may differ by one step on one element in a thousand; integer convolutions and products not at
all. From end to end planish is no further from the unoptimized result than ONNX Runtime's optimized one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

ort = pytest.importorskip("onnxruntime")

import shared_data  # noqa: E402

import planish  # noqa: E402
from tests.exact_onnxruntime import exact_session  # noqa: E402
from tests.models.layers import EXACT, Array, byte_tensors, cut  # noqa: E402

FOLDER = Path(os.environ.get("PLANISH_TEST_MODELS") or "missing")
DATA = FOLDER.parent / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="PLANISH_TEST_MODELS does not name a folder beside the data")


def _images(size: int) -> Array:
    """ImageNet's images at another size, in -1…1."""
    images = shared_data.imagenet(DATA)[0][:8, :, 48 : 48 + size, 32 : 32 + size]
    return np.ascontiguousarray(np.clip(images / 2.2, -1, 1))


def _noise(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)


QUANTIZED = {
    "imagenet/mobilenet_v1_0.25_128_quant.qdq": lambda: _images(128),
    "imagenet/mobilenet_v1_0.5_160_quant.qdq": lambda: _images(160),
    "imagenet/shufflenet-v2-12-int8": lambda: shared_data.imagenet(DATA)[0][:8],
    "mlperf_tiny/ad01_int8.qdq": lambda: _noise(640),
    "mlperf_tiny/kws_ref_model.qdq": lambda: shared_data.keywords(DATA)[0][:8],
    "mlperf_tiny/pretrainedResnet_quant.qdq": lambda: shared_data.cifar10(DATA)[0][:8],
    "mlperf_tiny/vww_96_int8.qdq": lambda: (_images(96) + 1) / 2,
}  # fmt: skip
#: Float models that `compress` quantizes: data, and the number of samples to calibrate on.
COMPRESSED = {
    "imagenet/squeezenet1.1_fp32": (shared_data.imagenet, 16),
    "mlperf_tiny/pretrainedResnet.fp32": (shared_data.cifar10, 100),
    "mlperf_tiny/kws_ref_model_float32.fp32": (shared_data.keywords, 60),
    "mnist/mnist-8": (shared_data.digits, 100),
}  # fmt: skip


@pytest.fixture(scope="module", params=[*QUANTIZED, *COMPRESSED])
def case(request: pytest.FixtureRequest) -> tuple[onnx.ModelProto, Array]:
    """A quantized model and inputs [samples, …]."""
    name = request.param
    path = FOLDER / f"{name}.onnx"
    if name in QUANTIZED:
        return onnx.load(path), np.ascontiguousarray(QUANTIZED[name](), np.float32)
    read, count = COMPRESSED[name]
    inputs = read(DATA)[0]
    port = planish.InferenceSession(path).get_inputs()[0].name
    report = planish.compress(path, recipe="int8", calibration=[{port: x[np.newaxis]} for x in inputs[:count]])
    assert report.model is not None
    return report.model, inputs[count : count + 8]


def _feeds(model: onnx.ModelProto, x: Array) -> dict[str, Array]:
    initializers = {t.name for t in model.graph.initializer}
    (name,) = (i.name for i in model.graph.input if i.name not in initializers)
    return {name: x[np.newaxis]}


def _cut_run(model: onnx.ModelProto, x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every layer's bytes, by ONNX Runtime and by planish fed ONNX Runtime's."""
    feeds = _feeds(model, x)
    expected = byte_tensors(model, feeds)
    parts = cut(model, expected)
    fed = {f"{name}.fed": value for name, value in expected.items()}
    session = planish.InferenceSession(parts)
    wanted = {i.name for i in session.get_inputs()}
    results = session.run(list(expected), {k: v for k, v in {**feeds, **fed}.items() if k in wanted})
    return expected, dict(zip(expected, results, strict=True))


def test_layers_differ_by_a_step_at_most(case, record_property):
    model, inputs = case
    producer = {name: node.op_type for node in model.graph.node for name in node.output}
    worst: dict[str, Any] = {"layers": 0, "off": 0.0, "exact": 0}
    for x in inputs[:2]:
        expected, results = _cut_run(model, x)
        for name, want in expected.items():
            steps = np.abs(results[name].astype(np.int32) - want.astype(np.int32))
            share = float((steps > 0).mean()) if steps.size else 0.0
            if producer[name] in EXACT:
                assert share == 0, f"{name} ({producer[name]}): {share:.3%} of the elements differ"
                worst["exact"] += 1
            # One element in a thousand, but a tensor of fewer may have one.
            assert steps.max(initial=0) <= 1, f"{name}: {steps.max()} steps"
            assert (steps > 0).sum() <= max(1, 1e-3 * steps.size), (
                f"{name} ({producer[name]}): {share:.3%} of the elements differ"
            )
            worst["layers"] += 1
            worst["off"] = max(worst["off"], share)
    for key, value in worst.items():
        record_property(key, value)
    assert worst["layers"] > 0


def test_no_further_than_optimized_onnxruntime(case, record_property):
    model, inputs = case
    session = planish.InferenceSession(model)
    plain, optimized = exact_session(model, optimize=False), exact_session(model, optimize=True)
    mine, theirs = [], []
    for x in inputs:
        feeds = _feeds(model, x)
        reference = plain.run(None, feeds)[0].astype(np.float64)
        mine.append(np.linalg.norm(session.run(None, feeds)[0] - reference))
        theirs.append(np.linalg.norm(optimized.run(None, feeds)[0] - reference))
    record_property("planish", float(np.mean(mine)))
    record_property("optimized", float(np.mean(theirs)))
    assert np.mean(mine) <= np.mean(theirs) * 1.0 + 1e-6
