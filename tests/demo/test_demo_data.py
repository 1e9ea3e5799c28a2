"""The embedded demo: its files agree with each other, with what is promised of them, and with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from planish.demo import data


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(data.MODEL_PATH)


def test_enlarge_interpolates_exactly_between_pixel_centres() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8) % 17
    image = data.enlarge(digit)[0, 0]
    grid = image * 16
    assert grid[0, 0] == digit[0, 0]
    assert grid[-1, -1] == digit[-1, -1]
    # Row 1 of 8 has its centre between rows 5 and 6 of 32; both are 1/8 off it, one on either side.
    assert grid[5, 0] == digit[1, 0] * 7 / 8 + digit[0, 0] / 8
    assert grid[6, 0] == digit[1, 0] * 7 / 8 + digit[2, 0] / 8
    assert image.shape == (32, 32)


def test_load_gives_network_inputs_and_labels() -> None:
    demo = data.load()
    assert demo.calibration.shape == (300, 1, 32, 32)
    assert demo.images.shape == (597, 1, 32, 32)
    assert demo.labels.shape == (597,)
    assert demo.images.dtype == demo.calibration.dtype == np.float32
    assert demo.labels.dtype == np.int64
    assert set(demo.labels) == set(range(10))
    for images in (demo.calibration, demo.images):
        assert images.min() == 0.0
        assert images.max() == 1.0


def test_calibration_and_held_back_images_are_disjoint() -> None:
    demo = data.load()
    calibration = {image.tobytes() for image in demo.calibration}
    assert not any(image.tobytes() in calibration for image in demo.images)


def test_model_form_and_size(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param == "N"
    operators = {node.op_type for node in model.graph.node}
    assert operators == {"Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm"}
    parameters = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    assert 400_000 < parameters < 600_000
    assert data.MODEL_PATH.stat().st_size + data.DATA_PATH.stat().st_size < 3_000_000


def test_held_back_accuracy() -> None:
    demo = data.load()
    session = onnxruntime.InferenceSession(data.MODEL_PATH, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": demo.images})
    assert logits.shape == (597, 10)
    assert np.mean(logits.argmax(1) == demo.labels) >= 0.98
