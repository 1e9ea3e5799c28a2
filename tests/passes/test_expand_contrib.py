"""Operators of com.microsoft against ONNX Runtime: written out, or lowered as they are, never left to a fallback."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planish.importing import load_model
from planish.passes import canonicalise
from tests.lowering.harness import by_onnxruntime, native

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def real(*shape: int, scale: float = 1.0) -> Array:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def u8(*shape: int) -> Array:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def s8(*shape: int) -> Array:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def f(x: float) -> Array:
    return np.array(x, np.float32)


def contrib(
    op: str, inputs: dict[str, Array | None], fed: set[str], outputs: dict[str, int] | None = None, **attrs: Any
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model of one node, and its feeds. Inputs that are None are left out; those not in `fed` are constants."""
    given = {k: v for k, v in inputs.items() if v is not None}
    names = [k if v is not None else "" for k, v in inputs.items()]
    results = outputs or {"y": TensorProto.FLOAT}
    node = helper.make_node(
        op, names, ["" if n.startswith("_") else n for n in results], "n", domain="com.microsoft", **attrs
    )
    ports = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in given.items()
        if k in fed
    ]
    made = [helper.make_tensor_value_info(n, t, None) for n, t in results.items() if not n.startswith("_")]
    constants = [numpy_helper.from_array(v, k) for k, v in given.items() if k not in fed]
    graph = helper.make_graph([node], "g", ports, made, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), {k: given[k] for k in fed}


def check(
    op: str,
    inputs: dict[str, Array | None],
    fed: str,
    outputs: dict[str, int] | None = None,
    scale: float = 1e-5,
    **attrs: Any,
) -> None:
    model, feeds = contrib(op, inputs, set(fed.split()), outputs, **attrs)
    native(model, feeds, reference=by_onnxruntime, scale=scale)


X = real(2, 5, 8, scale=2)


@pytest.mark.parametrize("op", ["Gelu", "FastGelu", "QuickGelu"])
def test_activations(op: str) -> None:
    check(op, {"x": X}, "x", scale=1e-4 if op == "FastGelu" else 1e-5)


@pytest.mark.parametrize("op", ["BiasGelu", "FastGelu"])
def test_activations_with_a_bias(op: str) -> None:
    check(op, {"x": X, "b": real(8)}, "x", scale=1e-4)


def test_quick_gelu_with_another_factor() -> None:
    check("QuickGelu", {"x": X}, "x", alpha=0.7)


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [
        ("Relu", []),
        ("Tanh", []),
        ("Sigmoid", []),
        ("LeakyRelu", [0.2]),
        ("Clip", [-0.5, 1.5]),
        ("HardSigmoid", [0.3, 0.4]),
        ("", []),
    ],
)
@pytest.mark.parametrize("added", [False, True])
def test_fused_conv(activation: str, parameters: list[float], added: bool) -> None:
    inputs = {"x": real(1, 3, 6, 7), "w": real(8, 3, 3, 3), "b": real(8), "z": real(1, 8, 6, 7) if added else None}
    attrs = {"activation": activation, "activation_params": parameters} if activation else {}
    attrs = {k: v for k, v in attrs.items() if v}
    check("FusedConv", inputs, "x z" if added else "x", pads=[1, 1, 1, 1], **attrs)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_fused_matmul(trans_a: int, trans_b: int) -> None:
    a, b = real(2, 6, 5) if trans_a else real(2, 5, 6), real(7, 6) if trans_b else real(6, 7)
    check("FusedMatMul", {"a": a, "b": b}, "a", transA=trans_a, transB=trans_b, alpha=0.5)
    check("FusedMatMul", {"a": a, "b": b}, "a b", transA=trans_a, transB=trans_b)


@pytest.mark.parametrize("batches", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("lasts", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_fused_matmul_with_the_batch_inside(batches: tuple[int, int], lasts: tuple[int, int]) -> None:
    """[M, batch, K] stands for [batch, M, K]."""
    sides = []
    for rows, columns, batch, last in zip((5, 6), (6, 7), batches, lasts, strict=True):
        x = real(2, columns, rows) if last else real(2, rows, columns)
        sides.append(np.ascontiguousarray(np.moveaxis(x, 0, 1)) if batch else x)
    attrs = {"transA": lasts[0], "transB": lasts[1], "transBatchA": batches[0], "transBatchB": batches[1]}
    check("FusedMatMul", dict(zip("ab", sides, strict=True)), "a b", **attrs)


def test_fused_gemm() -> None:
    inputs = {"a": real(5, 6), "b": real(7, 6), "c": real(7)}
    check("FusedGemm", inputs, "a", transB=1, activation="LeakyRelu", activation_alpha=0.3)


@pytest.mark.parametrize("op", ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("total", [False, True])
def test_skip_normalisations(op: str, biased: bool, total: bool) -> None:
    inputs: dict[str, Array | None] = {"x": X, "skip": real(2, 5, 8), "gamma": real(8)}
    if op == "SkipLayerNormalization":
        inputs["beta"] = real(8)
    if biased:
        inputs["bias"] = real(8)
    outputs = {"y": TensorProto.FLOAT, **({"_1": 1, "_2": 1, "sum": TensorProto.FLOAT} if total else {})}
    check(op, inputs, "x skip", outputs, epsilon=1e-5)


@pytest.mark.parametrize("shape", [(5, 8), (1, 5, 8), (2, 5, 8)])
@pytest.mark.parametrize("affine", [False, True])
def test_skip_normalisation_of_other_shapes(shape: tuple[int, ...], affine: bool) -> None:
    inputs: dict[str, Array | None] = {"x": X, "skip": real(*shape), "gamma": real(8)}
    if affine:
        inputs["beta"] = real(8)
    check("SkipLayerNormalization", inputs, "x skip")


def test_skip_normalisation_with_statistics() -> None:
    """ONNX Runtime leaves them unset on CPUs."""
    inputs = {"x": X, "skip": real(2, 5, 8), "gamma": real(8), "beta": real(8)}
    outputs = dict.fromkeys(("y", "mean", "inverse", "sum"), TensorProto.FLOAT)
    model, feeds = contrib("SkipLayerNormalization", inputs, {"x", "skip"}, outputs, epsilon=1e-5)
    total = X + inputs["skip"]
    mean, inverse = total.mean(-1, keepdims=True), 1 / np.sqrt(total.var(-1, keepdims=True) + 1e-5)
    expected = [(total - mean) * inverse * inputs["gamma"] + inputs["beta"], mean, inverse, total]
    native(model, feeds, reference=lambda *_: expected)


@pytest.mark.parametrize("positions", [[[5, 4, 3, 2, 1, 0]], [[5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 9]]])
def test_embed_layer_normalisation_with_positions(positions: list[list[int]]) -> None:
    ids = RNG.integers(0, 30, (2, 6)).astype(np.int32)
    inputs: dict[str, Array | None] = {
        "ids": ids, "segments": ids % 2, "words": real(30, 8), "positions": real(10, 8), "rows": real(2, 8),
        "gamma": real(8), "beta": real(8), "mask": None, "position_ids": np.int32(positions),
    }  # fmt: skip
    outputs = {"y": TensorProto.FLOAT, "count": TensorProto.INT32}
    check("EmbedLayerNormalization", inputs, "ids segments position_ids", outputs)


def test_simplified_layer_normalisation() -> None:
    model, feeds = contrib("SimplifiedLayerNormalization", {"x": X, "gamma": real(8)}, {"x"}, axis=-1, epsilon=1e-5)
    model.graph.node[0].domain = ""
    native(model, feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_embed_layer_normalisation(segments: bool, masked: bool) -> None:
    ids = RNG.integers(0, 30, (2, 6)).astype(np.int32)
    inputs = {
        "ids": ids, "segments": (ids % 2).astype(np.int32) if segments else None, "words": real(30, 8),
        "positions": real(10, 8), "rows": real(2, 8) if segments else None, "gamma": real(8), "beta": real(8),
        "mask": np.int32([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]]) if masked else None,
    }  # fmt: skip
    while inputs and list(inputs.values())[-1] is None:
        inputs.popitem()
    fed = " ".join(k for k in ("ids", "segments", "mask") if inputs.get(k) is not None)
    outputs = {"y": TensorProto.FLOAT, "count": TensorProto.INT32, "sum": TensorProto.FLOAT}
    check("EmbedLayerNormalization", inputs, fed, outputs, epsilon=1e-5)


MASKS: dict[str, Array | None] = {
    "none": None, "flags": np.int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]), "lengths": np.int32([3, 5]),
    "none kept": np.int32([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]),
    "square": (RNG.random((2, 5, 5)) < 0.7).astype(np.int32) | np.eye(5, dtype=np.int32),
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [0, 1])
def test_attention(mask: str, causal: int) -> None:
    inputs = {"x": X, "w": real(8, 24, scale=0.5), "b": real(24), "mask": MASKS[mask]}
    inputs = {k: v for k, v in inputs.items() if v is not None}
    check("Attention", inputs, "x mask" if mask != "none" else "x", num_heads=2, unidirectional=causal)


def test_attention_with_a_past() -> None:
    inputs = {"x": X, "w": real(8, 24), "b": real(24), "mask": None, "past": real(2, 2, 2, 3, 4)}
    outputs = {"y": TensorProto.FLOAT, "present": TensorProto.FLOAT}
    check("Attention", inputs, "x past", outputs, num_heads=2, unidirectional=1)


def test_attention_with_an_added_bias() -> None:
    inputs = {"x": X, "w": real(8, 24), "b": real(24), "mask": None, "past": None, "addend": real(2, 2, 5, 5)}
    check("Attention", inputs, "x addend", num_heads=2)


def test_attention_between_starts_and_ends() -> None:
    inputs = {"x": X, "w": real(8, 24, scale=0.5), "b": real(24), "mask": np.int32([3, 5, 0, 1])}
    check("Attention", inputs, "x mask", num_heads=2)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_a_past_and_a_mask(causal: int) -> None:
    mask = np.int32([[1] * 6 + [0] * 2, [1] * 8])
    inputs = {"x": X, "w": real(8, 24), "b": real(24), "mask": mask, "past": real(2, 2, 2, 3, 4)}
    outputs = {"y": TensorProto.FLOAT, "present": TensorProto.FLOAT}
    attrs = {"num_heads": 2, "unidirectional": causal, "mask_filter_value": -1e9}
    check("Attention", inputs, "x mask past", outputs, **attrs)


@pytest.mark.parametrize("shape", [(1, 2, 5, 5), (2, 1, 5, 5)])
def test_attention_with_a_bias_that_broadcasts(shape: tuple[int, ...]) -> None:
    inputs = {"x": X, "w": real(8, 24), "b": real(24), "mask": None, "past": None, "addend": real(*shape)}
    check("Attention", inputs, "x addend", num_heads=2)


def test_attention_of_other_sizes() -> None:
    inputs = {"x": X, "w": real(8, 12 + 12 + 6), "b": real(30)}
    check("Attention", inputs, "x", num_heads=3, qkv_hidden_sizes=[12, 12, 6], scale=0.3)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention(biased: bool, masked: bool) -> None:
    inputs = {"q": X, "k": real(2, 7, 8), "v": real(2, 7, 8), "b": real(24) if biased else None}
    inputs["mask"] = np.int32([[1] * 4 + [0] * 3, [1] * 7]) if masked else None
    inputs = {k: v for k, v in inputs.items() if v is not None or k == "b"}
    if not masked and not biased:
        inputs.pop("b")
    outputs = {"y": TensorProto.FLOAT, "pk": TensorProto.FLOAT, "pv": TensorProto.FLOAT}
    check("MultiHeadAttention", inputs, "q k v mask" if masked else "q k v", outputs, num_heads=2)


@pytest.mark.parametrize("mask", [np.int32([3, 7]), np.tril(np.ones((2, 5, 7), np.int32))], ids=["lengths", "square"])
def test_multi_head_attention_with_other_masks(mask: Array) -> None:
    inputs = {"q": X, "k": real(2, 7, 8), "v": real(2, 7, 12), "b": None, "mask": mask}
    check("MultiHeadAttention", inputs, "q k v mask", num_heads=2, scale=0.3)


def test_causal_multi_head_attention() -> None:
    check(
        "MultiHeadAttention", {"q": X, "k": real(2, 5, 8), "v": real(2, 5, 8)}, "q k v", num_heads=2, unidirectional=1
    )


def test_multi_head_attention_of_an_encoder_and_of_a_past() -> None:
    crossed = {"q": X, "k": real(2, 2, 7, 4), "v": real(2, 2, 7, 4)}
    check("MultiHeadAttention", crossed, "q k v", num_heads=2)
    inputs = {"q": X, "k": real(2, 5, 8), "v": real(2, 5, 8), "b": None, "m": None, "a": real(1, 2, 5, 8)}
    inputs |= {"past_k": real(2, 2, 3, 4), "past_v": real(2, 2, 3, 4)}
    outputs = {"y": TensorProto.FLOAT, "pk": TensorProto.FLOAT, "pv": TensorProto.FLOAT}
    check("MultiHeadAttention", inputs, "q k v a past_k past_v", outputs, num_heads=2)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_dynamic_quantize_matmul(per_channel: bool, biased: bool) -> None:
    n = 9
    scale = np.linspace(0.01, 0.02, n, dtype=np.float32) if per_channel else f(0.01)
    zero = np.full(n if per_channel else (), 128, np.uint8)
    inputs = {"a": X, "b": u8(8, n), "scale": scale, "zero": zero, "bias": real(n) if biased else None}
    inputs = {k: v for k, v in inputs.items() if v is not None}
    check("DynamicQuantizeMatMul", inputs, "a")


@pytest.mark.parametrize("fed", ["a", "a b a_scale a_zero"])
def test_matmul_integer_to_float(fed: str) -> None:
    inputs = {
        "a": u8(2, 5, 8),
        "b": u8(8, 9),
        "a_scale": f(0.02),
        "b_scale": f(0.03),
        "a_zero": np.uint8(120),
        "b_zero": np.uint8(131),
    }
    check("MatMulIntegerToFloat", {k: np.asarray(v) for k, v in inputs.items()} | {"bias": real(9)}, fed)


U8, S8 = TensorProto.UINT8, TensorProto.INT8
COMPUTED = ["x", "x y_scale y_zero"]


def quantized(x: Array, zero: int = 100, **more: Array) -> dict[str, Array | None]:
    return {"x": x, "x_scale": f(0.02017), "x_zero": np.array(zero, x.dtype), **more}


def result(scale: float, zero: int = 90, dtype: Any = np.uint8) -> dict[str, Array]:
    return {"y_scale": f(scale), "y_zero": np.array(zero, dtype)}


@pytest.mark.parametrize("fed", COMPUTED)
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_quantized_binary_operators(op: str, fed: str) -> None:
    other = {"b": u8(8), "b_scale": f(0.01507), "b_zero": np.array(7, np.uint8)}
    check(op, quantized(u8(2, 5, 8), **other, **result(0.04173)), fed, {"y": U8})


@pytest.mark.parametrize("fed", COMPUTED)
@pytest.mark.parametrize(("op", "attrs"), [("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.2})])
def test_quantized_unary_operators(op: str, attrs: dict[str, Any], fed: str) -> None:
    check(op, quantized(u8(2, 5, 8), **result(0.01, 10)), fed, {"y": U8}, **attrs)


@pytest.mark.parametrize("fed", COMPUTED)
@pytest.mark.parametrize("last", [0, 1])
def test_quantized_pools(fed: str, last: int) -> None:
    x = u8(2, 6, 7, 5)
    check("QLinearGlobalAveragePool", quantized(x, **result(0.015, 88)), fed, {"y": U8}, channels_last=last)
    attrs = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    check("QLinearAveragePool", quantized(x, **result(0.021, 88)), fed, {"y": U8}, channels_last=last, **attrs)


@pytest.mark.parametrize("fed", ["a b", "a b y_scale y_zero a_scale"])
def test_quantized_concat(fed: str) -> None:
    inputs = {**result(0.02), "a": u8(2, 3), "a_scale": f(0.03), "a_zero": np.array(9, np.uint8)}
    inputs |= {"b": u8(2, 4), "b_scale": f(0.02), "b_zero": np.array(90, np.uint8)}
    check("QLinearConcat", inputs, fed, {"y": U8}, axis=1)


@pytest.mark.parametrize("attrs", [{}, {"transA": 1}, {"alpha": 0.5}, {"transB": 1, "transA": 1}])
@pytest.mark.parametrize("quantized_result", [False, True])
@pytest.mark.parametrize("fed", ["a", "a b a_scale"])
def test_quantized_gemm(attrs: dict[str, Any], quantized_result: bool, fed: str) -> None:
    a, b = u8(6, 5) if attrs.get("transA") else u8(5, 6), u8(7, 6) if attrs.get("transB") else u8(6, 7)
    inputs = {"a": a, "a_scale": f(0.02), "a_zero": np.array(120, np.uint8), "b": b, "b_scale": f(0.03)}
    inputs |= {"b_zero": np.array(125, np.uint8), "c": RNG.integers(-9999, 9999, 7).astype(np.int32)}
    if quantized_result:
        inputs |= result(0.31, 120)
    check("QGemm", inputs, fed, {"y": U8 if quantized_result else TensorProto.FLOAT}, **attrs)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("block", [16, 32, 128])
def test_matmul_of_low_bits(bits: int, zeros: bool, block: int) -> None:
    n, k = 9, 72
    blocks = -(-k // block)
    inputs: dict[str, Array | None] = {
        "a": real(3, k),
        "b": u8(n, blocks, block * bits // 8),
        "scales": real(n, blocks, scale=0.1),
    }
    if zeros:
        inputs["zeros"] = u8(n, -(-blocks * bits // 8))
    check("MatMulNBits", inputs, "a", scale=1e-4, N=n, K=k, bits=bits, block_size=block)


def test_expanded_models_are_valid_onnx() -> None:
    inputs = {"x": X, "w": real(8, 24), "b": real(24), "mask": MASKS["lengths"]}
    model, _ = contrib("Attention", inputs, {"x", "mask"}, num_heads=2, unidirectional=1)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5, 8]))
    canonical = canonicalise(load_model(model), verify=True)
    assert {node.domain for node in canonical.graph} == {""}


@pytest.mark.parametrize("fed", COMPUTED)
def test_signed_bytes(fed: str) -> None:
    """The u8 representation of s8 tensors, with parameters constant and computed."""
    given = {**quantized(s8(2, 5, 8), -3), "b": s8(8), "b_scale": f(0.01507), "b_zero": np.array(2, np.int8)}
    check("QLinearAdd", {**given, **result(0.04173, 5, np.int8)}, fed, {"y": S8})
    check("QLinearLeakyRelu", {**quantized(s8(2, 5), 3), **result(0.0213, 5, np.int8)}, fed, {"y": S8}, alpha=0.2)


def test_dynamic_quantize_matmul_of_signed_weights() -> None:
    """Small weights: ONNX Runtime's products of u8 and s8 saturate on CPUs without VNNI."""
    weights = RNG.integers(-60, 61, (8, 9)).astype(np.int8)
    check("DynamicQuantizeMatMul", {"a": X, "b": weights, "scale": f(0.01), "zero": np.array(0, np.int8)}, "a")


def test_forms_without_a_rule_are_left() -> None:
    model, _ = contrib("Attention", {"x": X, "w": real(8, 24), "b": real(24)}, {"x"}, num_heads=2, do_rotary=1)
    assert [node.op_type for node in canonicalise(load_model(model)).graph] == ["Attention"]
