"""Small float models for the tests of compression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Judge = Callable[[onnx.ModelProto, Mapping[str, np.ndarray]], list[np.ndarray]]


def model_of(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, list[Any]],
    outputs: list[str],
    opset: int = 13,
) -> onnx.ModelProto:
    """A checked float model."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    return model
