"""Quantize and dequantize pairs in the combinations that ONNX allows, against onnx.reference.

Weights and activations of every type, per tensor, per channel and in blocks.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish
from tests.lowering.harness import native

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
OPSET = 25
N, K = 12, 32

#: Type → NumPy's, the range.
INTEGERS: dict[int, tuple[Any, int, int]] = {
    TensorProto.INT8: (np.int8, -128, 127), TensorProto.UINT8: (np.uint8, 0, 255),
    TensorProto.INT16: (np.int16, -32768, 32767), TensorProto.UINT16: (np.uint16, 0, 65535),
    TensorProto.INT4: (ml_dtypes.int4, -8, 7), TensorProto.UINT4: (ml_dtypes.uint4, 0, 15),
    TensorProto.INT2: (ml_dtypes.int2, -2, 1), TensorProto.UINT2: (ml_dtypes.uint2, 0, 3),
}  # fmt: skip


def real(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(kind: int, *shape: int) -> Array:
    dtype, low, high = INTEGERS[kind]
    return RNG.integers(low, high + 1, shape).astype(dtype)


def name_of(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()


def model_of(nodes: list[onnx.NodeProto], x: Array, constants: dict[str, Array], opset: int = OPSET) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)]
    results = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "g", ports, results, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    opsets = [helper.make_opsetid("", opset)]
    ir_version = helper.find_min_ir_version_for(opsets)
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version))


def parameters(
    kind: int, shape: tuple[int, ...], granularity: str, axis: int, zeros: bool
) -> tuple[Array, Array | None, dict[str, int]]:
    """Scale, zero point and attributes for weights of this shape."""
    if granularity == "tensor":
        sizes, attrs = (), {}
    elif granularity == "channel":
        sizes, attrs = (shape[axis],), {"axis": axis}
    else:
        block = 16 if shape[axis] % 16 == 0 else shape[axis]
        sizes = tuple(n // block if i == axis else n for i, n in enumerate(shape))
        attrs = {"axis": axis, "block_size": block}
    scale = RNG.uniform(0.01, 0.03, sizes).astype(np.float32)
    return scale, whole(kind, *sizes) if zeros else None, attrs


@pytest.mark.parametrize("granularity", ["tensor", "channel", "blocked"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind", INTEGERS, ids=name_of)
@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv", "Gather"])
def test_constant_weights(op: str, kind: int, granularity: str, zeros: bool) -> None:
    shape = {"MatMul": (K, N), "Gemm": (N, K), "Conv": (N, K, 3, 3), "Gather": (N, K)}[op]
    output, inner = {"MatMul": (1, 0), "Gemm": (0, 1), "Conv": (0, 1), "Gather": (0, 1)}[op]
    axis = inner if granularity == "blocked" else output
    scale, zero, attrs = parameters(kind, shape, granularity, axis, zeros)
    constants = {"w": whole(kind, *shape), "s": scale, **({} if zero is None else {"z": zero})}
    given = ["w", "s"] if zero is None else ["w", "s", "z"]
    x = {"Conv": real(1, K, 5, 6), "Gather": np.array([0, 5, 11])}.get(op, real(7, K))
    operands, extra = (["x", "d"], {"transB": 1} if op == "Gemm" else {}) if op != "Gather" else (["d", "x"], {})
    nodes = [
        helper.make_node("DequantizeLinear", given, ["d"], **attrs),
        helper.make_node(op, operands, ["y"], name="layer", **extra),
    ]
    native(model_of(nodes, x, constants), {"x": x}, scale=2e-5)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize(
    "kind", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16], ids=name_of
)
def test_activations(kind: int, axis: int | None) -> None:
    """Quantized and dequantized around an operator, per tensor and per axis."""
    x = real(2, 6, 5)
    sizes = () if axis is None else (6,)
    scale = RNG.uniform(0.0131, 0.0217, sizes).astype(np.float32)
    attrs = {} if axis is None else {"axis": axis}
    nodes = []
    for before, after in (("x", "a"), ("r", "y")):
        nodes += [
            helper.make_node("QuantizeLinear", [before, "s", "z"], [f"q{after}"], **attrs),
            helper.make_node("DequantizeLinear", [f"q{after}", "s", "z"], [after], **attrs),
        ]
    nodes.insert(2, helper.make_node("Neg", ["a"], ["r"]))
    zero = np.full(sizes, {TensorProto.INT8: -3, TensorProto.UINT8: 120}.get(kind, 100), INTEGERS[kind][0])
    native(model_of(nodes, x, {"s": scale, "z": zero}), {"x": x}, scale=0)


@pytest.mark.parametrize("kind", [TensorProto.INT16, TensorProto.UINT16], ids=name_of)
def test_layers_of_sixteen_bits(kind: int) -> None:
    x, zero = real(5, K), np.array(7, INTEGERS[kind][0])
    constants = {"s": np.float32(0.0003), "z": zero, "w": whole(TensorProto.INT8, K, N), "sw": np.float32(0.01)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["d"]),
        helper.make_node("MatMul", ["a", "d"], ["y"]),
    ]
    native(model_of(nodes, x, {k: np.asarray(v) for k, v in constants.items()}), {"x": x}, scale=1e-5)


FLOAT8 = {
    "e4m3fn": ml_dtypes.float8_e4m3fn, "e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "e5m2": ml_dtypes.float8_e5m2,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
}  # fmt: skip


@pytest.mark.parametrize("kind", FLOAT8)
def test_floats_of_eight_bits(kind: str) -> None:
    """Weights are read where they are used; activations are cast."""
    x = real(5, K)
    constants = {"w": real(K, N).astype(FLOAT8[kind]), "s": np.array(0.5, np.float32), "z": np.array(0, FLOAT8[kind])}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("MatMul", ["a", "d"], ["y"]),
    ]
    native(model_of(nodes, x, constants), {"x": x})


@pytest.mark.parametrize("granularity", ["tensor", "channel", "blocked"])
@pytest.mark.parametrize("kind", INTEGERS, ids=name_of)
def test_activations_of_every_type_run(kind: int, granularity: str) -> None:
    """Types and blocks without a kernel are written out as casts and arithmetic."""
    x = real(4, K)
    scale, zero, attrs = parameters(kind, x.shape, granularity, 1, True)
    constants = {"s": scale * 10, "z": zero, "w": real(K, N)}
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("QuantizeLinear", ["n", "s", "z"], ["q"], **attrs),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["a"], **attrs),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    native(model_of(nodes, x, {k: v for k, v in constants.items() if v is not None}), {"x": x})


def test_a_scale_along_an_axis_that_is_not_there_is_an_error() -> None:
    """Of a constant that is an output, which no later node reads."""
    node = onnx.helper.make_node("DequantizeLinear", ["k", "s"], ["y"], "half")
    tensors = [
        onnx.numpy_helper.from_array(np.array([7, 1], np.int8), "k"),
        onnx.numpy_helper.from_array(np.array([0.5, 2], np.float32), "s"),
    ]
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([node], "g", [], [y], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(planish.ModelError, match=r"node 'half' .*malformed"):
        planish.InferenceSession(model)


@pytest.mark.parametrize("axis", [4, -(2**40)])
def test_an_axis_far_outside_is_an_error(axis: int) -> None:
    x, scale = np.zeros((2, 3), np.float32), np.ones(3, np.float32)
    node = onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], "half", axis=axis)
    ports = [onnx.helper.make_tensor_value_info("x", 1, [2, 3]), onnx.helper.make_tensor_value_info("y", 17, [2, 3])]
    zero = onnx.helper.make_tensor("z", 17, [3], [0.0, 0.0, 0.0])
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:], [onnx.numpy_helper.from_array(scale, "s"), zero])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    with pytest.raises(planish.PlanishError):
        planish.InferenceSession(model).run(None, {"x": x})
