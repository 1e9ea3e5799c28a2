"""Convolutions and pools of every kind against ONNX Runtime: ranks, groups, dilations, padding rules, extreme sizes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import planish
from tests.lowering.harness import assert_close, by_onnxruntime, native, node_model

pytest.importorskip("onnxruntime")
SPATIAL = {1: (11,), 2: (9, 7), 3: (5, 6, 7)}


def reals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(op: str, x: np.ndarray, constants: dict[str, np.ndarray], opset: int = 13, **attrs) -> None:
    """At the given shape, at another, and at an empty batch, in one session of dynamic shape."""
    model = node_model(op, {"x": x}, constants, opset, **attrs)
    larger = reals(x.shape[0] + 1, x.shape[1], *(n + 3 for n in x.shape[2:]), seed=1)
    session = native(model, {"x": x}, {"x": larger}, reference=by_onnxruntime, scale=2e-5)
    (empty,) = session.run(None, {"x": x[:0]})
    assert empty.shape == (0, *session.run(None, {"x": x})[0].shape[1:])


WINDOWS = {
    "plain": {},
    "padded": {"pads": 1},
    "uneven": {"pads": (2, 0)},
    "strided": {"strides": 2, "pads": 1},
    "dilated": {"dilations": 2, "pads": 2},
    "same_upper": {"auto_pad": "SAME_UPPER", "strides": 2},
    "same_lower": {"auto_pad": "SAME_LOWER", "strides": 2},
    "valid": {"auto_pad": "VALID"},
}


def window(name: str, rank: int) -> dict:
    attrs = {}
    for key, value in WINDOWS[name].items():
        if key == "pads":
            begin, end = value if isinstance(value, tuple) else (value, value)
            attrs[key] = [begin] * rank + [end] * rank
        else:
            attrs[key] = value if isinstance(value, str) else [value] * rank
    return attrs


@pytest.mark.parametrize(("rank", "name"), list(itertools.product(SPATIAL, WINDOWS)))
@pytest.mark.parametrize(
    ("channels", "outputs", "group"), [(5, 7, 1), (6, 6, 6), (4, 8, 4), (6, 4, 2), (3, 16, 1), (1, 1, 1)]
)
def test_convolution(rank, name, channels, outputs, group):
    kernel = (3, 2, 3)[:rank]
    constants = {"w": reals(outputs, channels // group, *kernel), "b": reals(outputs)}
    check("Conv", reals(2, channels, *SPATIAL[rank]), constants, group=group, **window(name, rank))


@pytest.mark.parametrize("kernel", [(1, 1), (1, 5), (7, 1), (9, 7)])
def test_kernels_of_extreme_shapes(kernel):
    check("Conv", reals(1, 4, 9, 7), {"w": reals(5, 4, *kernel)})
    check("Conv", reals(1, 4, 9, 7), {"w": reals(4, 1, *kernel)}, group=4)


TRANSPOSED = {
    "plain": {},
    "strided": {"strides": 2},
    "padded": {"strides": 2, "pads": [1] * 6},
    "output_padding": {"strides": 3, "output_padding": 2},
    "dilated": {"dilations": 2, "pads": [1] * 6},
    "same_upper": {"auto_pad": "SAME_UPPER", "strides": 2},
    "same_lower": {"auto_pad": "SAME_LOWER", "strides": 2},
    "same_upper_3": {"auto_pad": "SAME_UPPER", "strides": 3},
    "valid": {"auto_pad": "VALID", "strides": 2},
}


@pytest.mark.parametrize(("rank", "name"), list(itertools.product(SPATIAL, TRANSPOSED)))
@pytest.mark.parametrize(("channels", "outputs", "group"), [(5, 7, 1), (6, 6, 6), (6, 4, 2)])
def test_transposed_convolution(rank, name, channels, outputs, group):
    attrs = {
        k: v if isinstance(v, str) else v[: 2 * rank] if isinstance(v, list) else [v] * rank
        for k, v in TRANSPOSED[name].items()
    }
    constants = {"w": reals(channels, outputs // group, *(3, 4, 3)[:rank]), "b": reals(outputs)}
    check("ConvTranspose", reals(2, channels, *SPATIAL[rank]), constants, group=group, **attrs)


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("size", [[17, 13], [18, 14], [19, 15]])
def test_transposed_convolution_of_a_wanted_size(auto_pad, size):
    x, w = reals(1, 3, 9, 7), reals(3, 2, 3, 3)
    model = node_model("ConvTranspose", {"x": x}, {"w": w}, 13, strides=[2, 2], output_shape=size, auto_pad=auto_pad)
    native(model, {"x": x}, reference=by_onnxruntime)


POOLS = {
    "plain": {"kernel_shape": 2},
    "strided": {"kernel_shape": 3, "strides": 2},
    "padded": {"kernel_shape": 3, "strides": 2, "pads": 1},
    "uneven": {"kernel_shape": 3, "pads": (2, 0)},
    "ceil": {"kernel_shape": 3, "strides": 2, "ceil_mode": 1},
    "ceil_padded": {"kernel_shape": 2, "strides": 3, "pads": 1, "ceil_mode": 1},
    "same_upper": {"kernel_shape": 3, "strides": 2, "auto_pad": "SAME_UPPER"},
    "same_lower": {"kernel_shape": 3, "strides": 2, "auto_pad": "SAME_LOWER"},
    "dilated": {"kernel_shape": 2, "dilations": 2},
}


@pytest.mark.parametrize(("rank", "name"), list(itertools.product(SPATIAL, POOLS)))
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "AveragePool_counted"])
def test_pool(rank, name, op):
    attrs = {}
    for key, value in POOLS[name].items():
        if key == "pads":
            begin, end = value if isinstance(value, tuple) else (value, value)
            attrs[key] = [begin] * rank + [end] * rank
        else:
            attrs[key] = value if key in ("ceil_mode", "auto_pad") else [value] * rank
    if op == "AveragePool_counted":
        attrs["count_include_pad"] = 1
    opset = 19 if op != "MaxPool" else 13
    check(op.removesuffix("_counted"), reals(2, 5, *SPATIAL[rank]), {}, opset, **attrs)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("rank", SPATIAL)
def test_global_pool(op, rank):
    check(op, reals(2, 5, *SPATIAL[rank]), {})


def test_a_window_larger_than_the_input_is_an_error():
    session = planish.InferenceSession(node_model("Conv", {"x": reals(1, 3, 5, 5)}, {"w": reals(4, 3, 3, 3)}, 13))
    with pytest.raises(planish.PlanishError, match="feed a larger input"):
        session.run(None, {"x": reals(1, 3, 2, 5)})


RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("op", RECURRENT)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("extras", ["none", "bias", "lengths", "states", "all"])
def test_recurrent_layers(op, direction, extras):
    gates, hidden, inputs, time, batch = RECURRENT[op], 5, 3, 7, 4
    d = 2 if direction == "bidirectional" else 1
    x = reals(time, batch, inputs)
    optional = {
        "b": reals(d, 2 * gates * hidden, seed=2) if extras in ("bias", "all") else None,
        "lengths": np.array([7, 3, 5, 1], np.int32) if extras in ("lengths", "all") else None,
        "h0": reals(d, batch, hidden, seed=3) if extras in ("states", "all") else None,
    }
    if op == "LSTM":
        optional["c0"] = reals(d, batch, hidden, seed=4) if extras in ("states", "all") else None
    given = {"w": reals(d, gates * hidden, inputs), "r": reals(d, gates * hidden, hidden, seed=1)}
    given |= {k: v for k, v in optional.items() if v is not None}
    outputs = 3 if op == "LSTM" else 2
    for attrs in [{}, {"linear_before_reset": 1}] if op == "GRU" else [{}]:
        model = node_model(op, {"x": x}, given, 14, outputs, hidden_size=hidden, direction=direction, **attrs)
        node = model.graph.node[0]
        del node.input[3:]
        node.input.extend(k if v is not None else "" for k, v in optional.items())
        native(model, {"x": x}, reference=by_onnxruntime, scale=1e-4)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Less", "Equal", "Max", "Mod"])
@pytest.mark.parametrize(
    "shapes", [((2, 3, 4), (4,)), ((3, 1), (1, 5)), ((), (2, 2)), ((2, 0, 3), (1, 3)), ((1, 1, 1, 1, 2), (3, 1))]
)
def test_broadcasting(op, shapes):
    a, b = reals(*shapes[0]), np.abs(reals(*shapes[1], seed=1)) + np.float32(0.5)
    if op == "PRelu" and len(np.broadcast_shapes(*shapes)) != len(shapes[0]):
        pytest.skip("the slope broadcasts to x only")
    if op == "PRelu" and np.broadcast_shapes(*shapes) != shapes[0]:
        pytest.skip("the slope broadcasts to x only")
    a = np.abs(a) if op == "Pow" else a
    feeds = {"a": np.asarray(a, np.float32), "b": np.asarray(b, np.float32)}
    attrs = {"fmod": 1} if op == "Mod" else {}
    native(node_model(op, feeds, {}, 13, **attrs), feeds)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 21])
def test_softmax_over_axes(opset):
    for axis in (0, 1, 2, -1):
        x = reals(3, 4, 5)
        for op in ("Softmax", "LogSoftmax"):
            model = node_model(op, {"x": x}, {}, opset, axis=axis)
            for feeds in ({"x": x}, {"x": reals(1, 4, 7)}, {"x": reals(0, 4, 7)}):
                assert_close(planish.InferenceSession(model).run(None, feeds), by_onnxruntime(model, feeds))


@pytest.mark.parametrize(
    "op", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceLogSumExp"]
)
@pytest.mark.parametrize("axes", [None, [0], [-1], [1, 3], [0, 2], [0, 1, 2, 3]])
def test_reductions(op, axes):
    x = reals(2, 3, 4, 5)
    for keepdims in (0, 1):
        attrs = {"keepdims": keepdims} | ({} if axes is None else {"axes": axes})
        opset = 12 if op == "ReduceSum" else 13
        native(node_model(op, {"x": x}, {}, opset, **attrs), {"x": x}, {"x": reals(1, 3, 2, 9)})


@pytest.mark.parametrize("channels", [3, 20])
@pytest.mark.parametrize("pads", [(0, -1, 0, 0), (-2, 1, 1, -3), (0, -20, 0, 25)])
def test_negative_padding_cuts(channels: int, pads: tuple[int, ...]) -> None:
    x, w = reals(1, channels, 9, 8), reals(4, channels, 3, 3)
    model = node_model("Conv", {"x": x}, {"w": w}, 13, pads=list(pads))
    cut = np.pad(x, ((0, 0), (0, 0), *((max(pads[i], 0), max(pads[i + 2], 0)) for i in (0, 1))))
    top, left, bottom, right = (max(-p, 0) for p in pads)
    cut = cut[:, :, top : cut.shape[2] - bottom, left : cut.shape[3] - right]
    plain = node_model("Conv", {"x": cut}, {"w": w}, 13)
    expected = planish.InferenceSession(plain).run(None, {"x": cut})[0]
    assert_close(planish.InferenceSession(model).run(None, {"x": x})[0], expected)


def test_no_channels_give_the_bias() -> None:
    x, bias = np.ones((1, 0, 6, 7), np.float32), reals(5)
    model = node_model("Conv", {"x": x}, {"w": np.ones((5, 0, 3, 3), np.float32), "b": bias}, 13)
    (y,) = planish.InferenceSession(model).run(None, {"x": x})
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (1, 5, 4, 5)))
