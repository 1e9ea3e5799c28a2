"""A small language for quantized graphs, and their comparison with ONNX Runtime without its optimizations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import planish
from planish.lowering.lowered import Step
from tests.lowering.harness import Array, by_onnxruntime, fallbacks

#: Step kinds that compute in float32 unless their attributes say otherwise.
FLOAT = frozenset({"unary", "binary", "cast", "layer_norm", "matmul", "reduce", "pool", "resize"})


class Net:
    """Builds a model node by node; values are names. Quantizations are (scale, zero point) with a NumPy integer zero."""

    def __init__(self, opset: int = 13) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.domains = {""}

    def input(self, name: str, shape: list[Any], dtype: Any = np.float32) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
        return name

    def constant(self, value: Any) -> str:
        name = f"k{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attrs: Any) -> Any:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", domain=domain, **attrs)
        )
        self.domains.add(domain)
        return names[0] if outputs == 1 else names

    def params(self, scale: Any, zero: Any) -> list[str]:
        return [self.constant(np.float32(scale)), *([] if zero is None else [self.constant(zero)])]

    def q(self, x: str, scale: Any, zero: Any, **attrs: Any) -> str:
        return self.op("QuantizeLinear", x, *self.params(scale, zero), **attrs)

    def dq(self, x: str, scale: Any, zero: Any, **attrs: Any) -> str:
        return self.op("DequantizeLinear", x, *self.params(scale, zero), **attrs)

    def qdq(self, x: str, scale: Any, zero: Any) -> str:
        return self.dq(self.q(x, scale, zero), scale, zero)

    def weights(self, values: Array, scale: Any, zero: Any = None, **attrs: Any) -> str:
        return self.dq(self.constant(values), scale, zero, **attrs)

    def output(self, name: str, dtype: Any = np.float32, rank: int = 4) -> str:
        shape = [f"{name}_{i}" for i in range(rank)]
        self.outputs.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        )
        return name

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid(d, 1 if d else self.opset) for d in sorted(self.domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def float_steps(session: planish.InferenceSession) -> list[str]:
    """Kinds of the lowered steps that compute in float32."""
    return [step.kind for step in session.lowered.walk() if _in_float(step)]


def _in_float(step: Step) -> bool:
    if step.kind in ("conv", "gemm"):
        return "x_zero" not in step.attrs
    if "x_scale" in step.attrs or "scale" in step.attrs or step.attrs.get("mode") == "nearest":
        return False
    return step.kind in FLOAT and not (step.kind == "pool" and step.attrs["op"] == "max")


def agrees(
    model: onnx.ModelProto, feeds: dict[str, Array], steps: dict[str, float], share: float = 1e-3, integer: bool = True
) -> None:
    """Asserts a native plan (integer throughout) and, per output, at most one step (`steps`: a step's size) of difference from
    unoptimized ONNX Runtime on at most `share` of the elements."""
    session = planish.InferenceSession(model)
    assert not fallbacks(session), [s.attrs["reason"] for s in session.lowered.walk() if s.kind == "onnx"]
    if integer:
        assert not float_steps(session)
    names = [p.name for p in session.lowered.outputs]
    for name, got, want in zip(names, session.run(None, feeds), by_onnxruntime(model, feeds), strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        off = np.abs(got.astype(np.float64) - want.astype(np.float64)) / steps[name]
        assert off.max(initial=0) <= 1.01, f"{name}: {off.max()} steps"
        assert (off > 0.01).mean() <= share, f"{name}: {(off > 0.01).mean():.2%} of the elements differ"
