"""Every shared model agrees with ONNX Runtime: float by max|y-r| <= 1e-4 max|r| + 1e-6, integers exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import planish

pytest.importorskip("onnxruntime")

from tests.exact_onnxruntime import exact_session

FLOAT = [
    "audio/DTLN_model_1", "audio/gtcrn_simple", "audio/silero_vad_16k_op15", "detect/FastestDet",
    "face/face_detection_yunet_120x160", "face/version-RFB-320", "food101/ml_fastvit_food101_192",
    "imagenet/mobilenet_v1_0.25_128_quant.fp32", "imagenet/squeezenet1.1_fp32", "mlperf_tiny/ad01_fp32.fp32",
    "mlperf_tiny/kws_ref_model_float32.fp32", "mlperf_tiny/pretrainedResnet.fp32", "mlperf_tiny/vww_96_float.fp32",
    "mnist/mnist-8", "nlp/magika_fast_v2_1", "ocr/ch_ppocr_mobile_v2.0_cls", "ocr/en_number_mobile_v2.0_rec",
    "segment/deeplab_v3_mnv2_1_default_1", "superres/super_resolution_zoo",
]  # fmt: skip
QUANTIZED = [
    "imagenet/mobilenet_v1_0.25_128_quant.qdq", "imagenet/mobilenet_v1_0.5_160_quant.qdq",
    "imagenet/shufflenet-v2-12-int8", "mlperf_tiny/ad01_int8.qdq", "mlperf_tiny/kws_ref_model.qdq",
    "mlperf_tiny/pretrainedResnet_quant.qdq", "mlperf_tiny/vww_96_int8.qdq",
]  # fmt: skip
DIMENSIONS = {"batch": 2, "batch_size": 1, "sequence": 512, "unk__132": 2}


def feeds_of(session, seed: int = 0, **dimensions: int) -> dict[str, np.ndarray]:
    """Random inputs; `dimensions` give sizes to symbolic ones."""
    rng = np.random.default_rng(seed)
    sizes = {**DIMENSIONS, **dimensions}
    feeds = {}
    for arg in session.get_inputs():
        position = {0: 1, 2: 48, 3: 192}
        shape = [d if isinstance(d, int) else sizes.get(d, position.get(i, 1)) for i, d in enumerate(arg.shape)]
        if arg.type == "tensor(float)":
            scale = 60.0 if shape[1:] == [3, 32, 32] else 1.0  # the CIFAR network takes raw pixels
            feeds[arg.name] = (rng.standard_normal(shape) * scale).astype(np.float32)
        elif arg.name == "sr":
            feeds[arg.name] = np.array(16000, np.int64)
        else:
            feeds[arg.name] = rng.integers(0, 256, shape).astype(np.int32)
    return feeds


def reference(path: Path, feeds, optimize: bool = True):
    return exact_session(onnx.load(path), optimize).run(None, feeds)


@pytest.mark.parametrize("name", FLOAT)
def test_float_model(shared_models, name):
    path = shared_models / f"{name}.onnx"
    session = planish.InferenceSession(path)
    feeds = feeds_of(session)
    results = session.run(None, feeds)
    for y, r in zip(results, reference(path, feeds), strict=True):
        assert y.shape == r.shape
        if r.dtype.kind == "f":
            assert np.abs(y - r).max() <= 1e-4 * np.abs(r).max() + 1e-6
        else:
            np.testing.assert_array_equal(y, r)


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [
        ("superres/super_resolution_zoo", [{"batch_size": 2}, {"batch_size": 1}]),
        ("audio/silero_vad_16k_op15", [{"batch": 1, "sequence": 576}, {"batch": 3, "sequence": 512}]),
        ("nlp/magika_fast_v2_1", [{"unk__132": 1}, {"unk__132": 5}]),
        ("ocr/en_number_mobile_v2.0_rec", [{"p2o.DynamicDimension.1": 96}, {"p2o.DynamicDimension.1": 160}]),
        ("ocr/ch_ppocr_mobile_v2.0_cls", [{"p2o.DynamicDimension.1": 64}, {"p2o.DynamicDimension.0": 2}]),
    ],
)
def test_dynamic_dimensions_change_between_runs(shared_models, name, dimensions):
    path = shared_models / f"{name}.onnx"
    session = planish.InferenceSession(path)
    for sizes in (*dimensions, dimensions[0]):
        feeds = feeds_of(session, **sizes)
        for y, r in zip(session.run(None, feeds), reference(path, feeds), strict=True):
            assert y.shape == r.shape
            assert np.abs(y - r).max() <= 1e-4 * np.abs(r).max() + 1e-6


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_model_is_close_to_unoptimized_onnxruntime(shared_models, name):
    """Engines round differently in deep models: most outputs equal, none far off in units of the last quantization."""
    path = shared_models / f"{name}.onnx"
    session = planish.InferenceSession(path)
    feeds = feeds_of(session)
    (y,), (r,) = session.run(None, feeds), reference(path, feeds, optimize=False)
    norm = np.linalg.norm(y) * np.linalg.norm(r)
    assert y.shape == r.shape
    assert float((y * r).sum()) / norm >= 0.99


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_plans_are_integer_from_end_to_end(shared_models, name):
    """One quantize a float input, one dequantize a float output, no other float step but a final softmax."""
    session = planish.InferenceSession(shared_models / f"{name}.onnx")
    segment = session.executor.first_segment(
        {p.tensor: a for p, a in zip(session.lowered.inputs, feeds_of(session).values(), strict=True)}
    )
    kinds = [step.kind for step in session.lowered.walk()]
    floats = {s.kind for s in session.lowered.walk() for t in s.outputs if segment.facts[t].dtype == "float32"}
    assert segment.last
    assert kinds.count("quantize") == 1
    assert kinds.count("dequantize") == 1
    assert floats <= {"dequantize", "softmax"}


@pytest.mark.parametrize("name", QUANTIZED)
def test_integer_models_give_the_same_bits_on_every_isa_and_thread_count(shared_models, name, usable_isas):
    from planish import _core

    path = shared_models / f"{name}.onnx"
    results = []
    for isa in usable_isas:
        for threads in (1, 2):
            _core.set_isa(isa)
            session = planish.InferenceSession(path, planish.SessionOptions(intra_op_num_threads=threads))
            results.append(session.run(None, feeds_of(session))[0])
    _core.set_isa("")
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.fixture
def usable_isas():
    from planish import _core

    yield _core.usable_isas()
    _core.set_isa("")
