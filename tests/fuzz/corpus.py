"""What is mutated: small models built here, and small real ones where the folder of real models is present."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import planish
from tests.fuzz.case import Rng, rng_of
from tests.fuzz.generate import random_graph
from tests.lowering.harness import parse
from tests.lowering.quantized import Net

_LARGEST_FILE = 150_000
_RANDOM_GRAPHS = 400
#: weight_format → the rule that makes such weights.
_FORMS = {
    "csr": 'prune = {sparsity = 0.7, pattern = "element"}',
    "block1x4": 'prune = {sparsity = 0.7, pattern = "1x4"}',
    "block16x4": 'prune = {sparsity = 0.7, pattern = "16x4"}',
    "codebook": 'weights = {codebook = 4, per = "tensor"}',
    "dense": 'weights = "int4"',
    "winograd": 'prune = {sparsity = 0.1, pattern = "element"}',
}
_INT8 = '\nweights = "int8"\nactivations = "uint8"'


@cache
def models() -> list[onnx.ModelProto]:
    """The seeds, most of them of 1 to 6 nodes."""
    rng = rng_of("corpus", 0, 0)
    graphs = [random_graph(rng, 3)[1] for _ in range(_RANDOM_GRAPHS)]
    others = [loop(), *4 * [branches(), quantized(rng), nbits(rng)], *(m for m, _ in compressed())]
    return [*graphs, *others, *real_models()]


@cache
def plans() -> list[bytes]:
    """The seeds as plans; compressed weights in every packed form."""
    forms = [plan_of(model, form) for model, form in compressed()]
    others = [plan_of(model) for model in models() if model.ByteSize() < 20_000]
    return [p for p in (*3 * forms, *others) if p]


def plan_of(model: onnx.ModelProto, form: str = "auto") -> bytes:
    """A plan of a model, in memory; empty where it cannot be one."""
    from planish.plan.writer import serialise

    try:
        lowered = planish.InferenceSession(model, planish.SessionOptions(weight_format=form)).lowered
    except planish.PlanishError:
        return b""
    return b"".join(serialise(lowered))


def branches() -> onnx.ModelProto:
    """An If on a condition that the model computes, and one on a constant."""
    return parse(
        """s = ReduceSum(x) zero = Constant<value = float {0.0}>() c = Greater(s, zero)
           y = If(c)<then_branch = t () => (float[n,4] a) {a = Relu(x)},
                     else_branch = e () => (float[n,4] b) {n1 = Neg(x) b = Sigmoid(n1)}>
           one = Constant<value = bool {1}>()
           z = If(one)<then_branch = t2 () => (float[n,4] a2) {a2 = Add(x, y)},
                       else_branch = e2 () => (float[n,4] b2) {b2 = Mul(x, y)}>""",
        "float[n, 4] x",
        "float[n, 4] y, float[n, 4] z",
    )


def loop() -> onnx.ModelProto:
    """Three rounds of an accumulation."""
    return parse(
        """m = Constant<value = int64 {3}>() go = Constant<value = bool {1}>()
           y, scan = Loop(m, go, x)<body = b (int64 i, bool c, float[n,4] v) => (bool c2, float[n,4] v2, float[n,4] w)
             {c2 = Identity(c) v2 = Add(v, v) w = Neg(v2)}>""",
        "float[n, 4] x",
        "float[n, 4] y, float[k, n, 4] scan",
    )


def quantized(rng: Rng) -> onnx.ModelProto:
    """QDQ convolution, depthwise convolution, addition, pools, softmax and a product of two activations."""
    n = Net()
    x = n.input("x", ["n", 4, 8, 8])

    def conv(x: str, outputs: int, group: int = 1) -> str:
        values = rng.integers(-90, 90, (outputs, 4 // group, 3, 3)).astype(np.int8)
        y = n.op("Conv", x, n.weights(values, 0.02, np.int8(0)), pads=[1] * 4, group=group, kernel_shape=[3, 3])
        return str(n.op("Relu", y))

    a = n.qdq(x, 0.05, np.uint8(120))
    b = n.qdq(conv(a, 4), 0.1, np.uint8(3))
    c = n.qdq(conv(b, 4, 4), 0.1, np.uint8(3))
    d = n.qdq(n.op("Add", b, c), 0.2, np.uint8(0))
    e = n.qdq(n.op("MaxPool", d, kernel_shape=[2, 2], strides=[2, 2]), 0.2, np.uint8(0))
    f = n.qdq(n.op("AveragePool", e, kernel_shape=[2, 2]), 0.2, np.uint8(0))
    g = n.qdq(n.op("MatMul", f, f), 0.5, np.uint8(0))
    h = n.qdq(n.op("GlobalAveragePool", g), 0.2, np.uint8(0))
    w = n.weights(rng.integers(-90, 90, (4, 6)).astype(np.int8), 0.02, np.int8(0))
    i = n.qdq(n.op("MatMul", n.op("Flatten", h), w), 0.1, np.uint8(9))
    n.outputs.append(onnx.helper.make_tensor_value_info(n.op("Softmax", i), onnx.TensorProto.FLOAT, ["n", 6]))
    return n.model()


def nbits(rng: Rng) -> onnx.ModelProto:
    """Blocked four-bit weights, and a dynamically quantized product."""
    return parse(
        """y = com.microsoft.MatMulNBits<K = 32, N = 5, bits = 4, block_size = 16>(x, w, s)
           q, qs, qz = DynamicQuantizeLinear(x) i = MatMulInteger(q, v, qz) f = Cast<to = 1>(i) z = Mul(f, qs)""",
        "float[n, 32] x",
        "float[n, 5] y, float[n, 5] z",
        constants={
            "w": rng.integers(0, 256, (5, 2, 8)).astype(np.uint8),
            "s": np.abs(rng.standard_normal(10)).astype(np.float32),
            "v": rng.integers(-128, 128, (32, 5)).astype(np.int8),
        },
        ms=True,
    )


@cache
def uncompressed() -> onnx.ModelProto:
    """A convolution and a Gemm."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return (rng.standard_normal(shape) / 8).astype(np.float32)

    return parse(
        """a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1) b = Relu(a) d = GlobalAveragePool(b)
           e = Flatten(d) y = Gemm<transB = 1>(e, w3, b3)""",
        "float[n, 8, h, w] x",
        "float[n, 16] y",
        constants={"w1": weights(16, 8, 3, 3), "w3": weights(16, 16), "b3": weights(16)},
    )


@cache
def compressed() -> list[tuple[onnx.ModelProto, str]]:
    """The same compressed in every form, with the weight format that keeps it."""
    feeds = [{"x": np.random.default_rng(1).standard_normal((2, 8, 6, 6)).astype(np.float32)}]
    results = []
    for form, rule in _FORMS.items():
        for integer in (False, True):
            if integer and "weights" in rule:
                continue
            recipe = f'version = 1\n[[rules]]\nmatch = {{op = ["Conv", "Gemm"]}}\n{rule}{_INT8 if integer else ""}\n'
            report = planish.compress(uncompressed(), recipe=recipe, calibration=feeds if integer else None)
            results.append((report.model, form))
    return results


def real_models() -> list[onnx.ModelProto]:
    """Real ones of at most 150 kB, and the demo's."""
    from planish.demo.data import MODEL_PATH

    folder = os.environ.get("PLANISH_TEST_MODELS", "")
    paths = sorted(Path(folder).rglob("*.onnx")) if folder else []
    found = [onnx.load(p) for p in paths if p.stat().st_size <= _LARGEST_FILE]
    return [m for m in (*found, onnx.load(MODEL_PATH)) if m.ByteSize() <= _LARGEST_FILE]
