"""Every operator whose form changed, in every opset from 7 to the newest, against ONNX Runtime at that opset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import planish
from tests.lowering.harness import assert_close, by_onnxruntime

ort = pytest.importorskip("onnxruntime")
Array = np.ndarray[Any, Any]
#: The newest that ONNX Runtime guarantees to run.
NEWEST = 24
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4, 6)).astype(np.float32)
ROWS = X[0, 0]


class Form:
    """One node in the form that an opset gives it: what it is fed, its constants, its attributes."""

    def __init__(
        self, feeds: dict[str, Array], constants: dict[str, Array | None] | None = None, outputs: int = 1, **attrs: Any
    ) -> None:
        self.feeds, self.constants, self.outputs, self.attrs = feeds, constants or {}, outputs, attrs


def moved(since: int, x: Array, name: str, value: Any, dtype: Any = np.int64, **attrs: Any) -> Callable[[int], Form]:
    """An attribute that became input 1 in opset `since`."""

    def form(opset: int) -> Form:
        if opset < since:
            return Form({"x": x}, **{name: value}, **attrs)
        return Form({"x": x}, {name: np.array(value, dtype)}, **attrs)

    return form


def clip(opset: int) -> Form:
    if opset < 11:
        return Form({"x": X}, min=-0.5, max=0.25)
    return Form({"x": X}, {"min": np.float32(-0.5), "max": np.float32(0.25)})


def pad(opset: int) -> Form:
    pads = [0, 0, 1, 2, 0, 0, 0, 1]
    if opset < 11:
        return Form({"x": X}, pads=pads, value=1.5)
    return Form({"x": X}, {"pads": np.array(pads), "value": np.float32(1.5)})


def slices(opset: int) -> Form:
    if opset < 10:
        return Form({"x": X}, axes=[1, 3], starts=[0, -4], ends=[2, 100])
    parts = {"starts": [0, -4], "ends": [2, 100], "axes": [1, 3]}
    return Form({"x": X}, {k: np.array(v) for k, v in parts.items()})


def split(opset: int) -> Form:
    if opset < 13:
        return Form({"x": X}, axis=3, split=[1, 5], outputs=2)
    return Form({"x": X}, {"split": np.array([1, 5])}, axis=3, outputs=2)


def even_split(opset: int) -> Form:
    return Form({"x": X}, axis=3, outputs=2, **({"num_outputs": 2} if opset >= 18 else {}))


def top_k(opset: int) -> Form:
    if opset < 10:
        return Form({"x": X}, k=2, axis=2, outputs=2)
    return Form({"x": X}, {"k": np.array([2])}, axis=2, outputs=2)


def dropout(opset: int) -> Form:
    if opset < 12:
        return Form({"x": X}, ratio=0.3)
    return Form({"x": X}, {"ratio": np.float32(0.3)})


def masked_dropout(opset: int) -> Form:
    form = dropout(opset)
    form.outputs = 2
    return form


def batch_norm(opset: int) -> Form:
    values = {"s": X[0, :, 0, 0], "b": X[0, :, 1, 0], "m": X[1, :, 0, 0], "v": np.abs(X[1, :, 1, 1])}
    return Form({"x": X}, values, epsilon=1e-3, **({"spatial": 1} if opset < 9 else {}))


def upsample(opset: int) -> Form:
    scales = [1.0, 1.0, 2.0, 3.0]
    if opset < 9:
        return Form({"x": X}, scales=scales)
    return Form({"x": X}, {"scales": np.float32(scales)})


def resize(opset: int) -> Form:
    scales = np.float32([1, 1, 2, 1.5])
    if opset < 11:
        return Form({"x": X}, {"scales": scales}, mode="linear")
    roi = np.zeros(0, np.float32) if opset < 13 else None
    mode = "asymmetric"
    return Form({"x": X}, {"roi": roi, "scales": scales}, mode="linear", coordinate_transformation_mode=mode)


def gemm(opset: int) -> Form:
    return Form({"x": ROWS}, {"w": X[0, 1].T.copy(), "c": ROWS[:, 0].copy()}, alpha=0.5, transB=0)


def gather(opset: int) -> Form:
    return Form({"x": X}, {"i": np.array([0, 2])}, axis=1)


def scatter(opset: int) -> Form:
    return Form({"x": ROWS}, {"i": np.array([[1, 0]]), "u": np.float32([[5, 6]])}, axis=0)


def quantize(opset: int) -> Form:
    return Form({"x": X}, {"s": np.float32(0.02), "z": np.uint8(120)})


def pool(opset: int) -> Form:
    return Form({"x": X}, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])


def cast(opset: int) -> Form:
    return Form({"x": X * 5}, to=int(onnx.TensorProto.INT32))


def one_hot(opset: int) -> Form:
    return Form({"x": np.array([0, 2, 1])}, {"depth": np.array(4), "values": np.float32([-1, 1])}, axis=0)


def group_norm(opset: int) -> Form:
    n = 2 if opset < 21 else 4
    values = np.float32([0.5, 2, 0.5, 2])[:n]
    x = X.reshape(3, 4, 2, 6)
    if opset >= 21:
        values = np.repeat(np.float32([0.5, 2]), 2)
    return Form({"x": x}, {"s": values, "b": values - 1}, num_groups=2)


def like(**attrs: Any) -> Callable[[int], Form]:
    return lambda _: Form({"x": X}, **attrs)


def pair(x: Array, y: Any, **attrs: Any) -> Callable[[int], Form]:
    return lambda _: Form({"x": x}, {"y": np.asarray(y)}, **attrs)


#: Name → (operator, its first opset, the last with it, the form).
FORMS: dict[str, tuple[str, int, int, Callable[[int], Form]]] = {
    "add": ("Add", 7, NEWEST, pair(X, X[:1, :, :1])),
    "and": ("And", 7, NEWEST, pair(X > 0, X[:1] > 0)),
    "average_pool": ("AveragePool", 7, NEWEST, pool),
    "batch_norm": ("BatchNormalization", 7, NEWEST, batch_norm),
    "cast": ("Cast", 7, NEWEST, cast),
    "ceil": ("Ceil", 7, NEWEST, like()),
    "clip": ("Clip", 7, NEWEST, clip),
    "concat": ("Concat", 7, NEWEST, pair(X, X[:, :1].copy(), axis=1)),
    "depth_to_space": ("DepthToSpace", 7, NEWEST, lambda _: Form({"x": X.reshape(1, 8, 3, 6)}, blocksize=2)),
    "dequantize": ("DequantizeLinear", 10, NEWEST, pair(np.uint8(np.abs(X) * 50), np.float32(0.1))),
    "div": ("Div", 7, NEWEST, pair(X, np.float32(3))),
    "dropout": ("Dropout", 7, NEWEST, dropout),
    "dropout_mask": ("Dropout", 12, NEWEST, masked_dropout),
    "equal": ("Equal", 7, NEWEST, pair(np.arange(6), np.array([0, 1, 0, 3, 0, 5]))),
    "even_split": ("Split", 7, NEWEST, even_split),
    "flatten": ("Flatten", 7, NEWEST, like(axis=2)),
    "gather": ("Gather", 7, NEWEST, gather),
    "gelu": ("Gelu", 20, NEWEST, like()),
    "gemm": ("Gemm", 7, NEWEST, gemm),
    "group_norm": ("GroupNormalization", 18, NEWEST, group_norm),
    "hard_swish": ("HardSwish", 14, NEWEST, like()),
    "hardmax": ("Hardmax", 7, NEWEST, like(axis=1)),
    "instance_norm": ("InstanceNormalization", 7, NEWEST, lambda _: Form({"x": X}, {"s": X[0, :, 0, 0], "b": X[1, :, 0, 0]})),
    "layer_norm": ("LayerNormalization", 17, NEWEST, lambda _: Form({"x": X}, {"s": X[0, 0, 0], "b": X[0, 0, 1]}, axis=-1)),
    "leaky_relu": ("LeakyRelu", 7, NEWEST, like(alpha=0.3)),
    "log_softmax": ("LogSoftmax", 7, NEWEST, like(axis=2)),
    "matmul": ("MatMul", 7, NEWEST, pair(X, X[0, 0].T.copy())),
    "max": ("Max", 8, NEWEST, pair(X, X[:1, :1])),
    "max_pool": ("MaxPool", 8, NEWEST, pool),
    "mod": ("Mod", 10, NEWEST, pair(np.arange(-6, 6), np.int64(4))),
    "neg": ("Neg", 7, NEWEST, like()),
    "one_hot": ("OneHot", 9, NEWEST, one_hot),
    "pad": ("Pad", 7, NEWEST, pad),
    "pow": ("Pow", 7, NEWEST, pair(np.abs(X), np.float32(1.5))),
    "prelu": ("PRelu", 7, NEWEST, pair(X, np.float32([0.1, 0.2, 0.3]).reshape(3, 1, 1))),
    "quantize": ("QuantizeLinear", 10, NEWEST, quantize),
    "reduce_l2": ("ReduceL2", 7, NEWEST, moved(18, X, "axes", [1, 3], keepdims=0)),
    "reduce_max": ("ReduceMax", 7, NEWEST, moved(18, X, "axes", [-1])),
    "reduce_mean": ("ReduceMean", 7, NEWEST, moved(18, X, "axes", [2, 3])),
    "reduce_sum": ("ReduceSum", 7, NEWEST, moved(13, X, "axes", [0, 2], keepdims=0)),
    "reduce_sum_all": ("ReduceSum", 7, NEWEST, like(keepdims=0)),
    "relu": ("Relu", 7, NEWEST, like()),
    "reshape": ("Reshape", 7, NEWEST, pair(X, np.array([0, -1, 2]))),
    "resize": ("Resize", 10, NEWEST, resize),
    "scatter": ("Scatter", 9, 10, scatter),
    "scatter_elements": ("ScatterElements", 11, NEWEST, scatter),
    "shape": ("Shape", 7, NEWEST, like()),
    "slice": ("Slice", 7, NEWEST, slices),
    "softmax": ("Softmax", 7, NEWEST, like(axis=1)),
    "softmax_default": ("Softmax", 7, NEWEST, like()),
    "split": ("Split", 7, NEWEST, split),
    "squeeze": ("Squeeze", 7, NEWEST, moved(13, X[:, :1], "axes", [1])),
    "squeeze_all": ("Squeeze", 7, NEWEST, lambda _: Form({"x": X[:1, :1]})),
    "sum": ("Sum", 8, NEWEST, pair(X, X[:1, :1])),
    "tile": ("Tile", 7, NEWEST, pair(ROWS, np.array([2, 3]))),
    "top_k": ("TopK", 7, NEWEST, top_k),
    "transpose": ("Transpose", 7, NEWEST, like(perm=[0, 2, 3, 1])),
    "unsqueeze": ("Unsqueeze", 7, NEWEST, moved(13, X, "axes", [0, 3])),
    "upsample": ("Upsample", 7, 9, upsample),
    "where": ("Where", 9, NEWEST, lambda _: Form({"c": X > 0}, {"a": X, "b": np.float32(0.5)})),
}  # fmt: skip


def model_of(op: str, form: Form, opset: int) -> onnx.ModelProto:
    names = [*form.feeds, *("" if v is None else k for k, v in form.constants.items())]
    outputs = [f"y{i}" for i in range(form.outputs)]
    node = helper.make_node(op, names, outputs, name="node", **form.attrs)
    ports = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for k, v in form.feeds.items()
    ]
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in form.constants.items() if v is not None]
    graph = helper.make_graph([node], "g", ports, [helper.make_empty_tensor_value_info(n) for n in outputs], constants)
    opsets = [helper.make_opsetid("", opset)]
    ir_version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=opsets, ir_version=max(4, ir_version))
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMS)
def test_every_opset(name: str) -> None:
    op, first, last, form_of = FORMS[name]
    for opset in range(first, last + 1):
        form = form_of(opset)
        model = model_of(op, form, opset)
        results = planish.InferenceSession(model).run(None, form.feeds)
        assert_close(results, by_onnxruntime(model, form.feeds))
