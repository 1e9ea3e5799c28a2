"""What the tests of compression share: small seeded models and ONNX Runtime as the judge of what is written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from small_models import Judge, model_of


@pytest.fixture(scope="session")
def cnn() -> onnx.ModelProto:
    """[N,4,8,8] -> conv, relu, two branches joined by concat, max pool, residual add, mean, gemm -> [N,10]."""
    rng = np.random.default_rng(7)

    def weight(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w0": weight(16, 4, 3, 3), "b0": weight(16, 1).reshape(-1),
        "w1": weight(16, 16, 1, 1), "b1": weight(16, 1).reshape(-1),
        "w2": weight(16, 16, 3, 3), "b2": weight(16, 1).reshape(-1),
        "w3": weight(32, 32, 3, 3),
        "w4": weight(10, 32), "b4": weight(10, 1).reshape(-1),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], name="first", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"], name="relu0"),
        node("Conv", ["r0", "w1", "b1"], ["c1"], name="left"),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r0", "w2", "b2"], ["c2"], name="right", pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"], name="relu2"),
        node("Concat", ["r1", "r2"], ["joined"], name="concat", axis=1),
        node("MaxPool", ["joined"], ["pooled"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pooled", "w3"], ["c3"], name="deep", pads=[1, 1, 1, 1]),
        node("Add", ["c3", "pooled"], ["sum"], name="add"),
        node("Relu", ["sum"], ["r3"], name="relu3"),
        node("GlobalAveragePool", ["r3"], ["mean"], name="mean"),
        node("Flatten", ["mean"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "w4", "b4"], ["scores"], name="last", transB=1),
    ]
    return model_of(nodes, constants, {"x": ["N", 4, 8, 8]}, ["scores"])


@pytest.fixture(scope="session")
def mlp() -> onnx.ModelProto:
    """[N,32] -> MatMul + bias, Relu, MatMul -> [N,8]."""
    rng = np.random.default_rng(3)
    constants = {
        "w0": rng.standard_normal((32, 64)).astype(np.float32),
        "b0": rng.standard_normal(64).astype(np.float32),
        "w1": rng.standard_normal((64, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m0"], name="up"),
        helper.make_node("Add", ["m0", "b0"], ["a0"], name="bias"),
        helper.make_node("Relu", ["a0"], ["r0"], name="relu"),
        helper.make_node("MatMul", ["r0", "w1"], ["y"], name="down"),
    ]
    return model_of(nodes, constants, {"x": ["N", 32]}, ["y"])


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """float32[48,4,8,8] with some structure, so that classes differ."""
    rng = np.random.default_rng(11)
    return (rng.standard_normal((48, 4, 8, 8)) + rng.standard_normal((48, 4, 1, 1))).astype(np.float32)


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Runs a model in ONNX Runtime as it is written, without its optimizations."""

    def run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        onnx.checker.check_model(model, full_check=True)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(array) for array in session.run(None, dict(feeds))]

    return run
