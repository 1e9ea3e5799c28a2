"""Quantized graphs in all the forms that tools write: integer steps, and ONNX Runtime's results."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import planish
from tests.lowering.harness import by_onnxruntime, fallbacks, native, parse
from tests.lowering.quantized import Net, agrees, float_steps

pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)


def bytes_of(shape, dtype, low: int = 0) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min + low, info.max + 1, shape).astype(dtype)


def reals(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(shape) * scale).astype(np.float32)


ACTIVATIONS = {
    "u8": (0.02017, np.uint8(113)), "u8_zero": (0.01507, np.uint8(0)), "s8": (0.02017, np.int8(-7)), "s8_symmetric": (0.02017, np.int8(0)),
}  # fmt: skip
WEIGHTS = {
    "s8_channel": (np.int8, True, False), "s8_tensor": (np.int8, False, False), "s8_asymmetric": (np.int8, True, True),
    "u8_asymmetric": (np.uint8, False, True), "u8_channel": (np.uint8, True, True),
}  # fmt: skip


def weight_parameters(form: str, n: int):
    dtype, channel, asymmetric = WEIGHTS[form]
    scale = RNG.uniform(0.002, 0.01033, n) if channel else 0.005113
    middle = 128 if dtype == np.uint8 else 0
    zero = (RNG.integers(-9, 10, n) if channel else 5) + middle if asymmetric else np.zeros(n if channel else (), int)
    return dtype, np.float32(scale), np.asarray(zero).astype(dtype)


LAYERS = {
    "conv": {"shape": (8, 5, 3, 3), "axis": 0, "attrs": {"pads": [1, 0, 1, 2], "strides": [2, 1]}},
    "depthwise": {"shape": (6, 1, 3, 3), "axis": 0, "attrs": {"group": 6, "pads": [1, 1, 1, 1]}},
    "grouped": {"shape": (8, 3, 3, 3), "axis": 0, "attrs": {"group": 2, "dilations": [2, 1], "pads": [2, 1, 2, 1]}},
    "few_channels": {"shape": (16, 3, 3, 3), "axis": 0, "attrs": {"auto_pad": "SAME_UPPER", "strides": [2, 2]}},
    "pointwise": {"shape": (24, 16, 1, 1), "axis": 0, "attrs": {}},
}  # fmt: skip


@pytest.mark.parametrize(("layer", "activation", "form"), list(itertools.product(LAYERS, ACTIVATIONS, WEIGHTS)))
def test_convolution(layer, activation, form):
    spec = LAYERS[layer]
    shape = spec["shape"]
    (sx, zx), (sy, zy) = ACTIVATIONS[activation], (0.05231, ACTIVATIONS[activation][1])
    dtype, sw, zw = weight_parameters(form, shape[0])
    net = Net()
    x = net.qdq(net.input("x", ["n", shape[1] * spec["attrs"].get("group", 1), "h", "w"]), sx, zx)
    axis = {"axis": spec["axis"]} if sw.ndim else {}
    w = net.weights(bytes_of(shape, dtype), sw, zw, **axis)
    sb = np.float32(sx) * sw
    b = net.weights(RNG.integers(-500, 500, shape[0]).astype(np.int32), sb, None, **({"axis": 0} if sw.ndim else {}))
    c = net.op("Relu", net.op("Conv", x, w, b, **spec["attrs"]))
    net.output(net.qdq(c, sy, zy))
    agrees(net.model(), {"x": reals(2, shape[1] * spec["attrs"].get("group", 1), 11, 13)}, {net.outputs[0].name: sy})


@pytest.mark.parametrize(
    ("activation", "form", "transposed"), list(itertools.product(ACTIVATIONS, WEIGHTS, (False, True)))
)
def test_products(activation, form, transposed):
    (sx, zx), sy = ACTIVATIONS[activation], 0.05
    dtype, sw, zw = weight_parameters(form, 20)
    for gemm in (True, False):
        if transposed and not gemm:
            continue
        net = Net()
        x = net.qdq(net.input("x", ["n", 33]), sx, zx)
        axis = {"axis": 0 if transposed else 1} if sw.ndim else {}
        w = net.weights(bytes_of((20, 33) if transposed else (33, 20), dtype), sw, zw, **axis)
        if gemm:
            b = net.weights(
                RNG.integers(-500, 500, 20).astype(np.int32),
                np.float32(sx) * sw,
                None,
                **({"axis": 0} if sw.ndim else {}),
            )
            y = net.op("Gemm", x, w, b, transB=int(transposed))
        else:
            y = net.op("MatMul", x, w)
        net.output(net.qdq(y, sy, ACTIVATIONS[activation][1]), rank=2)
        agrees(net.model(), {"x": reals(7, 33)}, {net.outputs[0].name: sy})


def one_step(
    build,
    shape=(2, 6, 7, 5),
    steps: float = 0.03019,
    share: float = 1e-3,
    integer: bool = True,
    rank: int = 4,
    opset: int = 13,
) -> None:
    """Quantize → dequantize → build(net, x) → quantize → dequantize, for u8 and s8."""
    for zero in (np.uint8(120), np.int8(-6)):
        net = Net(opset)
        x = net.qdq(net.input("x", list(shape)), 0.02017, zero)
        net.output(net.qdq(build(net, x), steps, zero), rank=rank)
        agrees(net.model(), {"x": reals(*shape)}, {net.outputs[0].name: steps}, share, integer)


@pytest.mark.parametrize(
    "op",
    ["Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Relu", "Erf", "Exp", "Neg", "Abs", "Gelu"],
)
def test_unary_operators_are_tables(op):
    one_step(lambda net, x: net.op(op, x), opset=20 if op == "Gelu" else 14)


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Div"])
@pytest.mark.parametrize("constant", [1.5, np.float32([[[[0.5]]]])])
def test_a_scalar_operand_is_in_the_table(op, constant):
    one_step(lambda net, x: net.op(op, x, net.constant(np.float32(constant))))
    one_step(
        lambda net, x: (
            net.op(op, net.constant(np.float32(constant)), net.op("Abs", x))
            if op != "Div"
            else net.op(op, x, net.constant(np.float32(2)))
        ),
        integer=False,
    )


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("other", [(2, 6, 7, 5), (1, 6, 1, 1), (7, 5), (1,), (2, 1, 7, 1)])
def test_binary_operators_broadcast_bytes(op, other):
    for first in (True, False):
        net = Net()
        a = net.qdq(net.input("a", [2, 6, 7, 5]), 0.02017, np.uint8(120))
        b = net.qdq(net.input("b", list(other)), 0.03019, np.int8(4))
        net.output(net.qdq(net.op(op, a, b) if first else net.op(op, b, a), 0.04157, np.uint8(99)))
        agrees(net.model(), {"a": reals(2, 6, 7, 5), "b": reals(*other)}, {net.outputs[0].name: 0.04157})


def test_constant_quantized_operand():
    def build(net, x):
        return net.op("Add", x, net.weights(bytes_of((6, 1, 1), np.uint8), 0.01033, np.uint8(100)))

    one_step(build)


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_constant_float_operand_per_channel(op):
    one_step(lambda net, x: net.op(op, x, net.constant(reals(6, 1, 1))), integer=False)


MOVES = {
    "MaxPool": lambda net, x: net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool": lambda net, x: net.op("AveragePool", x, kernel_shape=[2, 3], pads=[1, 1, 0, 1]),
    "AveragePool_count": lambda net, x: net.op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "GlobalAveragePool": lambda net, x: net.op("GlobalAveragePool", x),
    "GlobalMaxPool": lambda net, x: net.op("GlobalMaxPool", x),
    "ReduceMean": lambda net, x: net.op("ReduceMean", x, axes=[2, 3], keepdims=1),
    "Transpose": lambda net, x: net.op("Transpose", x, perm=[0, 2, 3, 1]),
    "Reshape": lambda net, x: net.op("Reshape", x, net.constant(np.int64([0, 3, 2, 35]))),
    "Pad": lambda net, x: net.op("Pad", x, net.constant(np.int64([0, 0, 1, 2, 0, 1, 0, 1]))),
    "Pad_value": lambda net, x: net.op("Pad", x, net.constant(np.int64([0, 0, 1, 2, 0, 1, 0, 1])), net.constant(np.float32(0))),
    "Pad_reflect": lambda net, x: net.op("Pad", x, net.constant(np.int64([0, 0, 1, 2, 0, 0, 0, 1])), mode="reflect"),
    "Resize_nearest": lambda net, x: net.op("Resize", x, "", net.constant(np.float32([1, 1, 2, 2])), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "Slice": lambda net, x: net.op("Slice", x, *(net.constant(np.int64([v])) for v in (1, 6, 1, 2))),
    "Gather": lambda net, x: net.op("Gather", x, net.constant(np.int64([3, 1, 1])), axis=1),
    "Expand": lambda net, x: net.op("Expand", net.op("Slice", x, *(net.constant(np.int64([v])) for v in (0, 1, 1))), net.constant(np.int64([2, 6, 7, 5]))),
    "Clip": lambda net, x: net.op("Clip", x, net.constant(np.float32(-0.6)), net.constant(np.float32(1))),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_operators_on_bytes(name):
    one_step(lambda net, x: MOVES[name](net, x))


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolating_resize_on_bytes(mode):
    def build(net, x):
        return net.op("Resize", x, "", net.constant(np.float32([1, 1, 2, 1.5])), mode=mode)

    one_step(build, steps=0.0203, share=2e-3)


def test_concatenation_with_different_scales():
    net = Net()
    parts = [
        net.qdq(net.input(name, [2, c, 5, 5]), s, z)
        for name, c, s, z in (
            ("a", 3, 0.02017, np.uint8(9)),
            ("b", 4, 0.03019, np.int8(9)),
            ("c", 2, 0.02511, np.uint8(77)),
        )
    ]
    net.output(net.qdq(net.op("Concat", *parts, axis=1), 0.03019, np.uint8(100)))
    agrees(
        net.model(),
        {"a": reals(2, 3, 5, 5), "b": reals(2, 4, 5, 5), "c": reals(2, 2, 5, 5)},
        {net.outputs[0].name: 0.03019},
    )


@pytest.mark.parametrize(("activation", "form"), list(itertools.product(ACTIVATIONS, WEIGHTS)))
def test_transposed_convolution(activation, form):
    (sx, zx), sy = ACTIVATIONS[activation], 0.05
    dtype, sw, zw = weight_parameters(form, 6)
    net = Net()
    x = net.qdq(net.input("x", ["n", 4, "h", "w"]), sx, zx)
    w = net.weights(bytes_of((4, 6, 3, 3), dtype), sw, zw, **({"axis": 1} if sw.ndim else {}))
    y = net.op("ConvTranspose", x, w, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])
    net.output(net.qdq(y, sy, ACTIVATIONS[activation][1]))
    agrees(net.model(), {"x": reals(2, 4, 5, 6)}, {net.outputs[0].name: sy})


def test_product_of_two_activations():
    for za, zb in ((np.uint8(120), np.uint8(3)), (np.int8(-5), np.int8(0)), (np.uint8(120), np.int8(1))):
        net = Net()
        a = net.qdq(net.input("a", [2, 3, 4, 5]), 0.02017, za)
        b = net.qdq(net.input("b", [2, 3, 5, 6]), 0.02017, zb)
        net.output(net.qdq(net.op("MatMul", a, b), 0.04157, np.uint8(127)))
        agrees(net.model(), {"a": reals(2, 3, 4, 5), "b": reals(2, 3, 5, 6)}, {net.outputs[0].name: 0.04157})


def test_raw_byte_inputs_and_outputs():
    for dtype in (np.uint8, np.int8):
        net = Net()
        zero = dtype(7)
        x = net.dq(net.input("x", ["n", 4, 6, 6], dtype), 0.02017, zero)
        y = net.op("Conv", x, net.weights(bytes_of((8, 4, 3, 3), np.int8), 0.01033, np.int8(0)))
        r = net.op("MaxPool", net.op("Relu", y), kernel_shape=[2, 2])
        net.output(net.q(r, 0.03019, zero), dtype)
        name = net.outputs[0].name
        agrees(net.model(), {"x": bytes_of((2, 4, 6, 6), dtype)}, {name: 1.0})


def test_missing_zero_points_mean_u8_zero():
    net = Net()
    x = net.dq(net.q(net.input("x", [2, 4, 6, 6]), 0.02017, None), 0.02017, None)
    y = net.op("Conv", x, net.dq(net.constant(bytes_of((8, 4, 3, 3), np.int8)), 0.01033, None))
    net.output(net.dq(net.q(y, 0.05231, None), 0.05231, None))
    agrees(net.model(), {"x": reals(2, 4, 6, 6)}, {net.outputs[0].name: 0.05231})


def test_a_value_used_in_bytes_and_in_float():
    net = Net()
    x = net.qdq(net.input("x", [2, 4, 6, 6]), 0.02017, np.uint8(128))
    w = net.weights(bytes_of((4, 4, 1, 1), np.int8), 0.01033, np.int8(0))
    c = net.op("Conv", x, w)
    net.output(net.qdq(c, 0.05231, np.uint8(128)))
    net.output(net.op("Exp", c))
    agrees(
        net.model(),
        {"x": reals(2, 4, 6, 6)},
        {o.name: 0.05231 for o in net.outputs[:1]} | {net.outputs[1].name: 1e-3},
        integer=False,
    )


def test_two_quantizations_of_one_value():
    net = Net()
    x = net.qdq(net.input("x", [2, 4, 6, 6]), 0.02017, np.uint8(128))
    c = net.op("Conv", x, net.weights(bytes_of((4, 4, 1, 1), np.int8), 0.01033, np.int8(0)))
    net.output(net.qdq(c, 0.05231, np.uint8(128)))
    net.output(net.qdq(c, 0.0711, np.int8(3)))
    agrees(
        net.model(),
        {"x": reals(2, 4, 6, 6)},
        {net.outputs[0].name: 0.05231, net.outputs[1].name: 0.0711},
        integer=False,
    )


def test_bias_outside_int32_stays_in_float_and_is_listed():
    net = Net()
    x = net.qdq(net.input("x", [2, 4, 6, 6]), 1e-4, np.uint8(128))
    w = net.weights(bytes_of((4, 4, 1, 1), np.int8), 1e-6, np.int8(0))
    net.output(net.qdq(net.op("Conv", x, w, net.constant(np.float32([1e3, 0, 0, 0]))), 5.0, np.uint8(0)))
    session = planish.InferenceSession(net.model())
    assert any("bias does not fit int32" in note for note in session.lowered.notes)
    assert float_steps(session) == ["conv"]
    feeds = {"x": reals(2, 4, 6, 6)}
    np.testing.assert_allclose(session.run(None, feeds)[0], by_onnxruntime(net.model(), feeds)[0], atol=5.0)


# -- operators on integers: equal, bit for bit -------------------------------------------------------------------------


def equals(net: Net, feeds) -> planish.InferenceSession:
    model = net.model()
    session = planish.InferenceSession(model)
    assert not fallbacks(session), [s.attrs["reason"] for s in session.lowered.walk() if s.kind == "onnx"]
    for got, want in zip(session.run(None, feeds), by_onnxruntime(model, feeds), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    return session


@pytest.mark.parametrize(("layer", "activation", "form"), list(itertools.product(LAYERS, ACTIVATIONS, WEIGHTS)))
def test_qlinear_conv(layer, activation, form):
    spec = LAYERS[layer]
    shape, channels = spec["shape"], spec["shape"][1] * spec["attrs"].get("group", 1)
    zx = ACTIVATIONS[activation][1]
    dtype, sw, zw = weight_parameters(form, shape[0])
    if zw.ndim and len(set(zw.tolist())) > 1:
        zw = np.full_like(zw, zw[0])  # ONNX Runtime takes one zero point for all channels
    if zx.dtype == np.int8 and dtype == np.uint8:
        pytest.skip("ONNX Runtime takes no u8 weights with s8 activations")
    net = Net()
    x = net.input("x", ["n", channels, "h", "w"], zx.dtype)
    w = net.constant(bytes_of(shape, dtype))
    bias = net.constant(RNG.integers(-500, 500, shape[0]).astype(np.int32))
    y = net.op(
        "QLinearConv", x, *net.params(0.02017, zx), w, *net.params(sw, zw), *net.params(0.06, zx), bias, **spec["attrs"]
    )
    net.output(y, zx.dtype)
    equals(net, {"x": bytes_of((2, channels, 11, 13), zx.dtype)})


@pytest.mark.parametrize("form", ["s8_tensor", "u8_asymmetric", "s8_channel"])
@pytest.mark.parametrize("activation", ["u8", "s8"])
def test_qlinear_matmul(form, activation):
    zx = ACTIVATIONS[activation][1]
    dtype, sw, zw = weight_parameters(form, 20)
    if zx.dtype == np.int8 and dtype == np.uint8:
        pytest.skip("ONNX Runtime takes no u8 weights with s8 activations")
    net = Net()
    x = net.input("x", ["n", 3, 33], zx.dtype)
    y = net.op(
        "QLinearMatMul",
        x,
        *net.params(0.02017, zx),
        net.constant(bytes_of((33, 20), dtype)),
        *net.params(sw, zw),
        *net.params(0.06, zx),
    )
    net.output(y, zx.dtype, rank=3)
    equals(net, {"x": bytes_of((4, 3, 33), zx.dtype)})


@pytest.mark.parametrize("zx", [np.uint8(119), np.int8(-3), None])
@pytest.mark.parametrize("zw", [np.int8(0), np.uint8(121), None])
def test_integer_products(zx, zw):
    if zx is not None and zx.dtype == np.int8 and zw is not None and zw.dtype == np.uint8:
        pytest.skip("ONNX Runtime takes no u8 weights with s8 activations")
    xt, wt = np.uint8 if zx is None else zx.dtype, np.int8 if zw is None else zw.dtype
    zeros = [zx, zw]
    for conv in (False, True):
        if conv and zw is not None and zw.dtype == np.int8 and xt == np.int8:
            continue
        if conv and wt == np.int8:
            continue  # ONNX Runtime's ConvInteger takes u8 weights only
        net = Net()
        x = net.input("x", ["n", 5, 7, 6] if conv else ["n", 33], xt)
        w = net.constant(bytes_of((8, 5, 3, 3) if conv else (33, 20), wt))
        extra = ["" if z is None else net.constant(z) for z in zeros]
        while extra and not extra[-1]:
            extra.pop()
        y = net.op("ConvInteger", x, w, *extra, pads=[1, 1, 1, 1]) if conv else net.op("MatMulInteger", x, w, *extra)
        net.output(y, np.int32, rank=4 if conv else 2)
        equals(net, {"x": bytes_of((2, 5, 7, 6) if conv else (4, 33), xt)})


@pytest.mark.parametrize(
    "padding", [{}, {"pads": [1, 2, 1, 0]}, {"auto_pad": "SAME_LOWER", "strides": [2, 1]}, {"auto_pad": "VALID"}]
)
@pytest.mark.parametrize("group", [1, 6])
def test_dynamic_convolution(padding, group):
    net = Net()
    q, s, z = net.op("DynamicQuantizeLinear", net.input("x", ["n", 6, "h", "w"]), outputs=3)
    w = net.constant(bytes_of((6, 6 // group, 3, 3), np.uint8))
    c = net.op("ConvInteger", q, w, z, net.constant(np.uint8(124)), group=group, **padding)
    net.output(c, np.int32)
    net.output(net.op("Mul", net.op("Cast", c, to=1), net.op("Mul", s, net.constant(np.float32(0.01)))))
    equals(net, {"x": reals(2, 6, 9, 8)})
    equals(net, {"x": np.zeros((1, 6, 4, 4), np.float32)})


@pytest.mark.parametrize("wt", [np.int8, np.uint8])
def test_dynamic_product(wt):
    net = Net()
    q, s, z = net.op("DynamicQuantizeLinear", net.input("x", ["n", 33]), outputs=3)
    m = net.op("MatMulInteger", q, net.constant(bytes_of((33, 20), wt)), z, net.constant(wt(3)))
    scale = net.op("Mul", s, net.constant(np.float32(0.01)))
    net.output(net.op("Add", net.op("Mul", net.op("Cast", m, to=1), scale), net.constant(reals(20))), rank=2)
    equals(net, {"x": reals(5, 33)})


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_low_bit_blocks_of_onnxruntime(bits, zeros):
    n, k, block = 24, 80, 32
    blocks = -(-k // block)
    net = Net()
    stored = bytes_of((n, blocks, block * bits // 8), np.uint8)
    scales = RNG.uniform(0.01, 0.02, (n, blocks)).astype(np.float32)
    extra = [net.constant(bytes_of((n, -(-blocks * bits // 8)), np.uint8))] if zeros else []
    x = net.input("x", ["n", k])
    y = net.op(
        "MatMulNBits",
        x,
        net.constant(stored),
        net.constant(scales),
        *extra,
        domain="com.microsoft",
        N=n,
        K=k,
        bits=bits,
        block_size=block,
    )
    net.output(y, rank=2)
    feeds = {"x": reals(3, k)}
    for form in ("dense", "codebook"):
        session = planish.InferenceSession(net.model(), planish.SessionOptions(weight_format=form))
        assert not fallbacks(session)
        expected = by_onnxruntime(net.model(), feeds)[0]
        np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("zeros", [False, True])
def test_blocks_of_weights(dtype, zeros):
    net = Net(21)
    scale = RNG.uniform(0.01, 0.02, (3, 20)).astype(np.float32)
    zero = bytes_of((3, 20), dtype) if zeros else None
    w = net.dq(net.constant(bytes_of((48, 20), dtype)), scale, zero, axis=0, block_size=16)
    net.output(net.op("MatMul", net.input("x", ["n", 48]), w), rank=2)
    feeds = {"x": reals(3, 48)}
    for form in ("dense", "codebook"):
        session = planish.InferenceSession(net.model(), planish.SessionOptions(weight_format=form))
        assert not fallbacks(session)
        expected = by_onnxruntime(net.model(), feeds)[0]
        np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("form", ["s8_channel", "u8_asymmetric"])
def test_dynamically_quantized_convolutions_are_integer_steps(layer, form):
    spec = LAYERS[layer]
    shape, channels = spec["shape"], spec["shape"][1] * spec["attrs"].get("group", 1)
    dtype, sw, zw = weight_parameters(form, shape[0])
    net = Net()
    q, s, z = net.op("DynamicQuantizeLinear", net.input("x", ["n", channels, "h", "w"]), outputs=3)
    w = net.weights(bytes_of(shape, dtype), sw, zw, **({"axis": 0} if sw.ndim else {}))
    x = net.op("DequantizeLinear", q, s, z)
    net.output(net.op("Relu", net.op("Conv", x, w, net.constant(reals(shape[0])), **spec["attrs"])))
    follows(net, {"x": reals(2, channels, 11, 13)}, "conv")
    follows(net, {"x": np.abs(reals(1, channels, 9, 9)) + 1}, "conv")


@pytest.mark.parametrize("form", ["s8_channel", "u8_asymmetric", "s8_tensor"])
@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_dynamically_quantized_products_are_integer_steps(op, form):
    dtype, sw, zw = weight_parameters(form, 20)
    net = Net()
    q, s, z = net.op("DynamicQuantizeLinear", net.input("x", ["n", 33]), outputs=3)
    w = net.weights(bytes_of((33, 20), dtype), sw, zw, **({"axis": 1} if sw.ndim else {}))
    x = net.op("DequantizeLinear", q, s, z)
    y = net.op(op, x, w, *([net.constant(reals(20))] if op == "Gemm" else []))
    net.output(y if op == "Gemm" else net.op("Add", y, net.constant(reals(20))), rank=2)
    follows(net, {"x": reals(7, 33)}, "gemm")


def follows(net: Net, feeds, kind: str) -> None:
    """An integer step of this kind, within rounding of ONNX Runtime's float one."""
    session = planish.InferenceSession(net.model())
    assert not fallbacks(session)
    assert all("x_zero" in s.attrs for s in session.lowered.walk() if s.kind == kind)
    expected = by_onnxruntime(net.model(), feeds)[0]
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=2e-6 * np.abs(expected).max(), rtol=1e-5)


@pytest.mark.parametrize("scale", [np.float32(0.01), np.linspace(0.01, 0.02, 20, dtype=np.float32)])
def test_a_scaled_integer_product_is_one_step(scale):
    net = Net()
    q, s, z = net.op("DynamicQuantizeLinear", net.input("x", ["n", 33]), outputs=3)
    m = net.op("MatMulInteger", q, net.constant(bytes_of((33, 20), np.int8)), z)
    factor = net.op("Mul", s, net.constant(scale))
    net.output(net.op("Mul", net.op("Cast", m, to=1), factor), rank=2)
    session = equals(net, {"x": reals(5, 33)})
    (step,) = (s for s in session.lowered.walk() if s.kind == "gemm")
    assert step.attrs["dtype"] == "float32"


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_on_bytes(dtype, opset):
    net = Net()
    low = np.iinfo(dtype).min
    x = net.input("x", [3, 40, 2] if opset == 11 else [3, 40, 1], dtype)
    params = [*net.params(0.0513, dtype(7)), *net.params(1 / 256, dtype(low))]
    net.output(net.op("QLinearSoftmax", x, *params, domain="com.microsoft", axis=1, opset=opset), dtype, rank=3)
    shape = (3, 40, 2 if opset == 11 else 1)
    agrees(net.model(), {"x": bytes_of(shape, dtype)}, {net.outputs[0].name: 1.0}, share=0.03)


def test_selection_on_bytes():
    net = Net()
    condition = net.input("c", [3, 1], np.bool_)
    x, y = net.input("x", [3, 4], np.uint8), net.input("y", [1, 4], np.uint8)
    params = [net.params(s, np.uint8(z)) for s, z in ((0.0213, 9), (0.0331, 120), (0.0317, 99))]
    net.output(
        net.op("QLinearWhere", condition, x, *params[0], y, *params[1], *params[2], domain="com.microsoft"),
        np.uint8,
        rank=2,
    )
    feeds = {"c": np.array([[True], [False], [True]]), "x": bytes_of((3, 4), np.uint8), "y": bytes_of((1, 4), np.uint8)}
    agrees(net.model(), feeds, {net.outputs[0].name: 1.0}, share=0)


def test_signed_bytes_are_rearranged_as_bytes():
    """Behind operators of com.microsoft, whose types ONNX's inference does not know, s8 stays s8."""
    net = Net()
    zero, params = np.int8(-9), lambda: net.params(0.0213, np.int8(-9))
    x = net.input("x", [2, 8, 4, 4], np.int8)
    w = net.constant(bytes_of((8, 8, 1, 1), np.int8))
    a = net.op("QLinearConv", x, *params(), w, *net.params(0.01, np.int8(0)), *params())
    j = net.op("QLinearConcat", *params(), a, *params(), x, *params(), domain="com.microsoft", axis=1)
    shuffled = net.op("Transpose", net.op("Reshape", j, net.constant(np.int64([0, 2, 8, 4, 4]))), perm=[0, 2, 1, 3, 4])
    first, second = net.op(
        "Split", net.op("Reshape", shuffled, net.constant(np.int64([0, 16, 4, 4]))), outputs=2, axis=1
    )
    both = net.op(
        "Concat", net.op("MaxPool", first, kernel_shape=[2, 2]), net.op("MaxPool", second, kernel_shape=[2, 2]), axis=1
    )
    net.output(net.dq(both, 0.0213, zero))
    session = equals(net, {"x": bytes_of((2, 8, 4, 4), np.int8)})
    assert [s.kind for s in session.lowered.walk()].count("table") == 1  # the input's


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_resize_of_raw_bytes_rounds(dtype):
    """As onnx.reference does; ONNX Runtime cuts the fraction off."""
    net = Net()
    x = net.input("x", [1, 2, 4, 5], dtype)
    net.output(net.op("Resize", x, "", net.constant(np.float32([1, 1, 2, 2])), mode="linear"), dtype)
    native(net.model(), {"x": bytes_of((1, 2, 4, 5), dtype)})


def test_float16_scales_run_in_the_fallback():
    model = parse(
        "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)",
        "float16[n] x",
        "uint8[n] q, float16[n] d",
        opset=21,
        constants={"s": np.float16(0.25), "z": np.uint8(7)},
    )
    q, d = planish.InferenceSession(model).run(None, {"x": np.array([-1, 0.5, 3], np.float16)})
    np.testing.assert_array_equal(q, np.array([3, 9, 19], np.uint8))
    assert d.dtype == np.float16
    np.testing.assert_array_equal(d, np.array([-1, 0.5, 3], np.float16))


def test_weights_that_their_scales_do_not_fit_are_an_error() -> None:
    """A convolution that no rule takes, and whose weights cannot be computed for the fallback either."""
    net = Net()
    x = net.input("x", ["n", 2, 8, 8])
    w = net.weights(np.ones(18, np.int8), np.ones(4, np.float32), np.zeros(4, np.int8), axis=0)
    net.output(net.op("Conv", x, w))
    with pytest.raises(planish.ModelError, match="malformed"):
        planish.InferenceSession(net.model())


@pytest.mark.parametrize(("anchor", "copies"), [("MatMul", 0), ("Conv", 1)])
def test_bytes_lie_in_memory_as_their_reader_wants(anchor: str, copies: int) -> None:
    """Rows for a product, channels last for a convolution, of which only the result is copied, to channels first."""
    net = Net()
    x = net.op("Relu", net.input("x", [2, 20, 12]))
    made = net.qdq(x, 0.02, np.uint8(3))
    shape = (12, 8) if anchor == "MatMul" else (8, 20, 3)
    w = net.weights(np.random.default_rng(1).integers(-99, 99, shape, dtype=np.int8), 0.01)
    net.output(net.op(anchor, made, w), rank=3)
    model = net.model()
    session = planish.InferenceSession(model, planish.SessionOptions(enable_profiling=True))
    feeds = {"x": np.random.default_rng(2).standard_normal((2, 20, 12)).astype(np.float32)}
    got = session.run(None, feeds)[0]
    np.testing.assert_allclose(got, by_onnxruntime(model, feeds)[0], rtol=1e-5, atol=1e-5)
    families = [timing.family for timing in session.profile()[0]]
    assert families.count("copy") == copies, families
