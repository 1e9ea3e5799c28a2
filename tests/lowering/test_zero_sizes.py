"""Tensors without elements, in every family of operators: batches of none, and axes of none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lowering.harness import by_onnxruntime, by_reference, native, node_model

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


#: (operator, feeds, constants, attributes)
CASES: list[tuple[str, list[Array], list[Array], dict[str, Any]]] = [
    *((op, [real(0, 3)], [], {}) for op in ("Relu", "Exp", "Erf", "Sigmoid", "Softmax", "LogSoftmax", "Neg", "Gelu")),
    *((op, [real(0, 3), real(1, 3)], [], {}) for op in ("Add", "Mul", "Div", "Pow", "Max", "Less", "Equal")),
    ("Where", [np.ones((0, 1), bool), real(0, 3), real(1, 3)], [], {}),
    ("Cast", [real(2, 0)], [], {"to": 7}),
    ("Clip", [real(2, 0)], [np.float32(0), np.float32(1)], {}),
    ("MatMul", [real(0, 4), real(4, 3)], [], {}),
    ("MatMul", [real(2, 0), real(0, 3)], [], {}),
    ("MatMul", [real(0, 2, 4), real(0, 4, 3)], [], {}),
    ("MatMul", [real(0, 4)], [real(4, 3)], {}),
    ("Gemm", [real(0, 4)], [real(3, 4), real(3)], {"transB": 1}),
    ("Einsum", [real(2, 0), real(0, 3)], [], {"equation": "ij,jk->ik"}),
    ("Conv", [real(0, 3, 6, 6)], [real(4, 3, 3, 3), real(4)], {}),
    ("Conv", [real(0, 4, 6, 6)], [real(4, 1, 3, 3)], {"group": 4}),
    ("ConvTranspose", [real(0, 3, 4, 4)], [real(3, 2, 2, 2)], {"strides": [2, 2]}),
    ("MaxPool", [real(0, 3, 6, 6)], [], {"kernel_shape": [2, 2]}),
    ("AveragePool", [real(0, 3, 6, 6)], [], {"kernel_shape": [2, 2]}),
    ("GlobalAveragePool", [real(0, 3, 6, 6)], [], {}),
    ("BatchNormalization", [real(0, 3, 2)], [real(3), real(3), real(3), abs(real(3))], {}),
    ("LayerNormalization", [real(0, 5)], [real(5), real(5)], {}),
    ("InstanceNormalization", [real(0, 3, 4)], [real(3), real(3)], {}),
    *((op, [real(2, 0)], [ints(1)], {}) for op in ("ReduceSum", "ReduceProd", "ReduceL2", "ReduceSumSquare")),
    *((op, [real(0, 3)], [ints(1)], {}) for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceLogSumExp")),
    ("ArgMax", [real(0, 3)], [], {"axis": 1}),
    ("CumSum", [real(2, 0)], [np.array(1)], {}),
    ("TopK", [real(0, 3)], [ints(2)], {}),
    ("Concat", [real(0, 3), real(2, 3)], [], {"axis": 0}),
    ("Split", [real(0, 4)], [], {"axis": 1, "num_outputs": 2}),
    ("Slice", [real(4, 3)], [ints(2), ints(2), ints(0)], {}),
    ("Gather", [real(4, 3), np.zeros((0,), np.int64)], [], {}),
    ("GatherElements", [real(4, 3), np.zeros((0, 3), np.int64)], [], {}),
    ("GatherND", [real(4, 3), np.zeros((0, 1), np.int64)], [], {}),
    ("ScatterElements", [real(4, 3), np.zeros((0, 3), np.int64), real(0, 3)], [], {}),
    ("ScatterND", [real(4, 3), np.zeros((0, 1), np.int64), real(0, 3)], [], {}),
    ("Transpose", [real(0, 2, 3)], [], {"perm": [2, 0, 1]}),
    ("Reshape", [real(0, 4)], [ints(2, 0)], {"allowzero": 1}),
    ("Expand", [real(1, 3)], [ints(0, 3)], {}),
    ("Tile", [real(2, 3)], [ints(0, 1)], {}),
    ("Pad", [real(0, 3)], [ints(1, 0, 1, 0)], {}),
    ("NonZero", [np.zeros((2, 3), np.float32)], [], {}),
    ("Compress", [real(4), np.zeros(4, bool)], [], {}),
    ("Unique", [real(0)], [], {}),
    ("OneHot", [np.zeros((0,), np.int64)], [np.array(3), np.float32([0, 1])], {}),
    ("Resize", [real(0, 3, 4, 4)], [np.float32([]), np.float32([1, 1, 2, 2])], {"mode": "linear"}),
    ("DepthToSpace", [real(0, 4, 2, 2)], [], {"blocksize": 2}),
    ("GridSample", [real(0, 2, 4, 4), real(0, 3, 3, 2)], [], {}),
    ("QuantizeLinear", [real(0, 3)], [np.float32(0.1), np.uint8(3)], {}),
    ("DequantizeLinear", [np.zeros((2, 0), np.uint8)], [np.float32(0.1), np.uint8(3)], {}),
    ("LSTM", [real(3, 0, 4)], [real(1, 12, 4), real(1, 12, 3)], {"hidden_size": 3}),
    ("GRU", [real(3, 0, 4)], [real(1, 9, 4), real(1, 9, 3)], {"hidden_size": 3}),
    ("Trilu", [real(0, 3, 3)], [], {}),
    ("Det", [real(0, 3, 3)], [], {}),
]


@pytest.mark.parametrize(("op", "feeds", "constants", "attrs"), CASES)
def test_no_elements(op: str, feeds: list[Array], constants: list[Array], attrs: dict[str, Any]) -> None:
    given = {f"x{i}": x for i, x in enumerate(feeds)}
    outputs = {"Split": 2, "TopK": 2, "LSTM": 3, "GRU": 2, "Unique": 4}.get(op, 1)
    model = node_model(op, given, {f"c{i}": np.asarray(c) for i, c in enumerate(constants)}, 21, outputs, **attrs)
    lacking = op in ("ConvTranspose", "GlobalAveragePool", "GridSample")  # onnx.reference fails on no elements
    native(model, given, reference=by_onnxruntime if lacking else by_reference)


def test_statistics_of_none() -> None:
    """The standard's body of LayerNormalization takes a size of zero for "as before"."""
    given = {"x": real(2, 0, 5)}
    native(node_model("LayerNormalization", given, {"g": real(5)}, 21, 3, axis=2), given)
