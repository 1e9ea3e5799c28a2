"""Tiny models for the measurement's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def _write_linear(path: Path, *, scale: float = 1.0, outputs: int = 3, input_name: str = "x") -> Path:
    weight = np.random.default_rng(3).standard_normal((8, outputs)).astype(np.float32) * np.float32(scale)
    graph = helper.make_graph(
        [helper.make_node("MatMul", [input_name, "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def write_linear() -> Callable[..., Path]:
    """Writes y = x @ w with x float32[N,8] to a path; `scale` multiplies the weights."""
    return _write_linear


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    return _write_linear(tmp_path / "linear.onnx")
