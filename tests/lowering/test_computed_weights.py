"""Layers of which the weights, scales or zero points are known only in the run, packed there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.lowering.harness import by_onnxruntime, native, node_model

Array = np.ndarray[Any, Any]
NOTHING: dict[str, Array] = {}


def real(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def whole(dtype: Any, *shape: int, seed: int = 0) -> Array:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 33])
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (3, 1), (8, 2), (5, 5)])
def test_conv_of_computed_weights(outputs: int, channels: int, groups: int) -> None:
    feeds = {"x": real(2, channels, 9, 7), "w": real(outputs * groups, channels // groups, 3, 2, seed=1)}
    feeds["b"] = real(outputs * groups, seed=2)
    native(node_model("Conv", feeds, {}, 17, pads=[1, 0, 1, 1], group=groups), feeds)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_of_every_rank_and_changing_weights(rank: int) -> None:
    feeds = [{"x": real(1, 4, *[6] * rank, seed=k), "w": real(k, 4, *[k] * rank, seed=3)} for k in (1, 2, 3)]
    native(node_model("Conv", feeds[0], {}, 17), *feeds)


@pytest.mark.parametrize("channels", [1, 16, 19, 32])
def test_depthwise_conv_of_computed_weights(channels: int) -> None:
    feeds = {"x": real(1, channels, 8, 8), "w": real(channels, 1, 3, 3, seed=1)}
    native(node_model("Conv", feeds, {}, 17, group=channels, auto_pad="SAME_UPPER"), feeds)


def test_a_computed_bias_of_constant_weights() -> None:
    x, w, b = {"x": real(1, 3, 8, 8)}, {"w": real(8, 3, 3, 3, seed=1)}, {"b": real(8, seed=2)}
    model = node_model("Conv", {**x, **b}, w, 17)
    del model.graph.node[0].input[:]
    model.graph.node[0].input.extend(["x", "w", "b"])
    native(model, {**x, **b})


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_conv_of_computed_weights(groups: int) -> None:
    feeds = {"x": real(1, 6, 5, 4), "w": real(6, 17, 3, 3, seed=1), "b": real(17 * groups, seed=2)}
    model = node_model("ConvTranspose", feeds, {}, 17, strides=[2, 1], pads=[1, 0, 1, 1], group=groups)
    native(model, feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("w_type", [np.uint8, np.int8])
@pytest.mark.parametrize("channels", [1, 4, 7])
def test_conv_integer_of_computed_weights(channels: int, w_type: Any) -> None:
    feeds = {"x": whole(np.uint8, 1, channels, 9, 8), "w": whole(w_type, 18, channels, 3, 3, seed=1)}
    feeds |= {"x_zero": np.array(131, np.uint8), "w_zero": np.array(3, w_type)}
    native(node_model("ConvInteger", feeds, {}, 17, pads=[1, 2, 0, 1]), feeds)


@pytest.mark.parametrize("x_type", [np.uint8, np.int8])
@pytest.mark.parametrize("w_type", [np.uint8, np.int8])
def test_matmul_integer_of_computed_weights(x_type: Any, w_type: Any) -> None:
    feeds = {"x": whole(x_type, 2, 5, 19), "w": whole(w_type, 2, 19, 17, seed=1)}
    feeds |= {"x_zero": np.array(7, x_type), "w_zero": np.array(9, w_type)}
    native(node_model("MatMulInteger", feeds, {}, 17), feeds)


def quantized_feeds(x: Array, w: Array, w_scale: Array, w_zero: Array, y_type: Any, y_scale: float) -> dict[str, Array]:
    return {
        "x": x, "x_scale": np.array(0.02, np.float32), "x_zero": np.array(5, x.dtype),
        "w": w, "w_scale": w_scale, "w_zero": w_zero,
        "y_scale": np.array(y_scale, np.float32), "y_zero": np.array(3, y_type),
    }  # fmt: skip


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("padding", [{"pads": [1, 0, 2, 1]}, {"auto_pad": "SAME_LOWER", "kernel_shape": [3, 3]}])
def test_qlinear_conv_all_of_it_computed(dtype: Any, per_channel: bool, padding: dict[str, Any]) -> None:
    n = 18
    w_scale = np.linspace(0.01, 0.03, n, dtype=np.float32) if per_channel else np.array(0.02, np.float32)
    w_zero = np.full(n if per_channel else (), 0 if dtype == np.int8 else 128, dtype)
    w = whole(dtype, n, 6, 3, 3, seed=1)
    feeds = quantized_feeds(whole(dtype, 1, 6, 8, 9), w, w_scale, w_zero, dtype, 0.9)
    feeds["b"] = whole(np.int16, n, seed=4).astype(np.int32)
    native(node_model("QLinearConv", feeds, {}, 17, **padding), feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("x_type", [np.uint8, np.int8])
@pytest.mark.parametrize("shape", [(19, 17), (3, 19, 17)])
def test_qlinear_matmul_all_of_it_computed(x_type: Any, shape: tuple[int, ...]) -> None:
    scale, zero = np.array(0.03, np.float32), np.array(-4 if x_type == np.int8 else 100, x_type)
    feeds = quantized_feeds(whole(x_type, 5, 19), whole(x_type, *shape, seed=1), scale, zero, x_type, 0.5)
    native(node_model("QLinearMatMul", feeds, {}, 17), feeds, reference=by_onnxruntime)


def test_qlinear_matmul_with_parameters_per_column() -> None:
    scale, zero = np.linspace(0.01, 0.05, 17, dtype=np.float32), np.zeros(17, np.int8)
    feeds = quantized_feeds(whole(np.uint8, 5, 19), whole(np.int8, 19, 17, seed=1), scale, zero, np.uint8, 0.5)
    native(node_model("QLinearMatMul", feeds, {}, 17), feeds, reference=by_onnxruntime)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_of_computed_weights(op: str, gates: int, direction: str) -> None:
    d, hidden = 2 if direction == "bidirectional" else 1, 5
    feeds = {"x": real(6, 3, 7), "w": real(d, gates * hidden, 7, seed=1), "r": real(d, gates * hidden, hidden, seed=2)}
    feeds["b"] = real(d, 2 * gates * hidden, seed=3)
    outputs = 3 if op == "LSTM" else 2
    model = node_model(op, feeds, {}, 17, outputs, hidden_size=hidden, direction=direction)
    native(model, feeds, reference=by_onnxruntime)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_batch_first_recurrent_layers(op: str, gates: int) -> None:
    w, r = real(1, gates * 5, 7, seed=1), real(1, gates * 5, 5, seed=2)
    feeds = {"x": real(3, 6, 7)}
    outputs = 3 if op == "LSTM" else 2
    native(node_model(op, feeds, {"w": w, "r": r}, 17, outputs, hidden_size=5, layout=1), feeds)


def test_batch_norm_of_computed_parameters() -> None:
    feeds = {"x": real(2, 5, 4, 3), "scale": real(5, seed=1), "b": real(5, seed=2), "mean": real(5, seed=3)}
    feeds["var"] = np.abs(real(5, seed=4))
    native(node_model("BatchNormalization", feeds, {}, 17, epsilon=1e-3), feeds)


def test_batch_norm_in_training_mode() -> None:
    feeds = {"x": real(4, 5, 4, 3), "scale": real(5, seed=1), "b": real(5, seed=2), "mean": real(5, seed=3)}
    feeds["var"] = np.abs(real(5, seed=4))
    native(node_model("BatchNormalization", feeds, {}, 17, 3, training_mode=1, momentum=0.7), feeds)
