"""Small networks written the way that exporters write them: what planish meets outside its own folder of models.

Each is a pair (model, feeds); weights are seeded. The forms were taken from what PyTorch's exporters, tf2onnx,
scikit-learn's converters and TensorFlow Lite's quantizer emit for the architecture that the name tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Network = tuple[onnx.ModelProto, dict[str, Array]]
NETWORKS: dict[str, Callable[[], Network]] = {}


def network(build: Callable[[], Network]) -> Callable[[], Network]:
    NETWORKS[build.__name__] = build
    return build


class Weights:
    """Seeded constants that a text refers to by name."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.tensors: list[onnx.TensorProto] = []

    def random(self, name: str, *shape: int) -> None:
        scale = 1 / np.sqrt(max(1, int(np.prod(shape[1:]))))
        self.put(name, (self.rng.standard_normal(shape) * scale).astype(np.float32))

    def put(self, name: str, value: Any, dtype: Any = None) -> None:
        self.tensors.append(numpy_helper.from_array(np.asarray(value, dtype), name))

    def integers(self, **values: Any) -> None:
        for name, value in values.items():
            self.put(name, value, np.int64)

    def model(self, text: str, opset: int = 17, domains: str = "") -> onnx.ModelProto:
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{domains}]> {text}')
        model.graph.initializer.extend(self.tensors)
        return model

    def feed(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)


@network
def tensorflow_mobilenet() -> Network:
    """Channels-last at the boundary, SAME padding on one side more, Relu6 as Clip, the mean over height and width."""
    w = Weights()
    for name, shape in {"w1": (8, 3, 3, 3), "w2": (8, 1, 3, 3), "w3": (16, 8, 1, 1), "w4": (16, 16, 1, 1)}.items():
        w.random(name, *shape)
    w.random("b1", 8)
    w.random("dense", 16, 10)
    w.random("bias", 10)
    w.put("zero", 0.0, np.float32)
    w.put("six", 6.0, np.float32)
    w.integers(flat=[-1, 16])
    text = """tf (float[n, 33, 31, 3] x) => (float[n, 10] y) {
        t = Transpose <perm = [0, 3, 1, 2]> (x)
        c1 = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]> (t, w1, b1)
        r1 = Clip (c1, zero, six)
        c2 = Conv <kernel_shape = [3, 3], group = 8, auto_pad = "SAME_UPPER", strides = [2, 2]> (r1, w2)
        r2 = Clip (c2, zero, six)
        c3 = Conv (r2, w3)
        c4 = Conv (c3, w4)
        s = Add (c3, c4)
        back = Transpose <perm = [0, 2, 3, 1]> (s)
        m = ReduceMean <axes = [1, 2], keepdims = 1> (back)
        f = Reshape (m, flat)
        d = MatMul (f, dense)
        a = Add (d, bias)
        y = Softmax <axis = -1> (a)
    }"""
    return w.model(text), {"x": w.feed(2, 33, 31, 3)}


@network
def torch_vision_transformer() -> Network:
    """Patches by a strided convolution, a class token by Expand and Concat, LayerNorm and GELU written out, heads by
    Reshape of sizes that are computed from Shape."""
    w = Weights()
    for name, shape in {"patch": (16, 3, 8, 8), "position": (1, 17, 16), "qkv": (16, 48), "out": (16, 16)}.items():
        w.random(name, *shape)
    for name, shape in {"up": (16, 32), "down": (32, 16), "head": (16, 5), "gain": (16,), "shift": (16,)}.items():
        w.random(name, *shape)
    w.random("token", 1, 1, 16)
    w.put("two", 2.0, np.float32)
    w.put("epsilon", 1e-5, np.float32)
    w.put("root2", np.sqrt(2.0), np.float32)
    w.put("half", 0.5, np.float32)
    w.put("one", 1.0, np.float32)
    w.put("scale", 0.5, np.float32)
    w.integers(i0=0, i1=1, i2=2, axis0=[0], rest=[16, -1], token_rest=[1, 16], heads=[17, 3, 4, 4], merged=[17, 16])
    text = """vit (float[n, 3, 32, 32] x) => (float[n, 5] y) {
        p = Conv <kernel_shape = [8, 8], strides = [8, 8]> (x, patch)
        shape = Shape (p)
        n0 = Gather (shape, i0)
        n = Unsqueeze (n0, axis0)
        flat = Concat <axis = 0> (n, rest)
        pf = Reshape (p, flat)
        pt = Transpose <perm = [0, 2, 1]> (pf)
        ts = Concat <axis = 0> (n, token_rest)
        cls = Expand (token, ts)
        tokens = Concat <axis = 1> (cls, pt)
        h = Add (tokens, position)
        mean = ReduceMean <axes = [-1]> (h)
        d = Sub (h, mean)
        d2 = Pow (d, two)
        v = ReduceMean <axes = [-1]> (d2)
        ve = Add (v, epsilon)
        sd = Sqrt (ve)
        z = Div (d, sd)
        zg = Mul (z, gain)
        ln = Add (zg, shift)
        q3 = MatMul (ln, qkv)
        hs = Concat <axis = 0> (n, heads)
        q4 = Reshape (q3, hs)
        q5 = Transpose <perm = [2, 0, 3, 1, 4]> (q4)
        q = Gather (q5, i0)
        k = Gather (q5, i1)
        value = Gather (q5, i2)
        kt = Transpose <perm = [0, 1, 3, 2]> (k)
        qk = MatMul (q, kt)
        qs = Mul (qk, scale)
        at = Softmax <axis = -1> (qs)
        av = MatMul (at, value)
        avt = Transpose <perm = [0, 2, 1, 3]> (av)
        ms = Concat <axis = 0> (n, merged)
        am = Reshape (avt, ms)
        ao = MatMul (am, out)
        h2 = Add (h, ao)
        u = MatMul (h2, up)
        us = Div (u, root2)
        e = Erf (us)
        e1 = Add (e, one)
        ue = Mul (u, e1)
        g = Mul (ue, half)
        dn = MatMul (g, down)
        h3 = Add (h2, dn)
        c0 = Gather <axis = 1> (h3, i0)
        y = MatMul (c0, head)
    }"""
    return w.model(text), {"x": w.feed(2, 3, 32, 32)}


@network
def torch_voice_activity() -> Network:
    """A scripted model: If chooses the window by the sample rate, a recurrent state goes in and out."""
    w = Weights()
    for name, shape in {"low": (8, 1, 16), "high": (8, 1, 32), "w": (1, 64, 8), "r": (1, 64, 16)}.items():
        w.random(name, *shape)
    w.random("b", 1, 128)
    w.random("o", 1, 16, 1)
    w.integers(rate=16000, axis1=[1])
    text = """vad (float[n, t] x, int64 sr, float[1, n, 16] h, float[1, n, 16] c)
        => (float[n, 1] y, float[1, n, 16] hn, float[1, n, 16] cn) {
        wide = Equal (sr, rate)
        x1 = Unsqueeze (x, axis1)
        f = If (wide) <
            then_branch = g1 () => (float[n, 8, m] a) { a = Conv <strides = [16], pads = [8, 8]> (x1, high) },
            else_branch = g2 () => (float[n, 8, m] z) { z = Conv <strides = [8], pads = [4, 4]> (x1, low) }
        >
        s = Abs (f)
        st = Transpose <perm = [2, 0, 1]> (s)
        seq, hn, cn = LSTM <hidden_size = 16> (st, w, r, b, , h, c)
        sq = Squeeze (seq, axis1)
        rl = Relu (sq)
        d = MatMul (rl, o)
        m0 = ReduceMean <axes = [0], keepdims = 0> (d)
        y = Sigmoid (m0)
    }"""
    zero = np.zeros((1, 2, 16), np.float32)
    return w.model(text), {"x": w.feed(2, 256), "sr": np.array(16000), "h": zero, "c": zero + 0.1}


@network
def torch_detector_with_suppression() -> Network:
    """Boxes decoded from a grid, the best of them by NonMaxSuppression, gathered by indices that depend on data."""
    w = Weights()
    w.random("w", 21, 3, 3, 3)
    w.put("grid", np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(1, 1, 64, 2), np.float32)
    w.put("eight", 8.0, np.float32)
    w.put("iou", [0.4], np.float32)
    w.put("score", [0.3], np.float32)
    w.integers(split=[2, 2, 3], shape=[1, 3, 7, 64], flat4=[1, -1, 4], flat3=[1, -1, 3], most=[5], column=[2], i0=0)
    w.integers(axis1=[1], b0=[0])
    text = """yolo (float[1, 3, 16, 16] x) => (float[k, 4] boxes, float[k, 3] scores, int64[k] labels) {
        c = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)
        r = Reshape (c, shape)
        t = Transpose <perm = [0, 1, 3, 2]> (r)
        s = Sigmoid (t)
        xy, wh, cls = Split <axis = -1> (s, split)
        xyg = Add (xy, grid)
        centre = Mul (xyg, eight)
        size = Mul (wh, eight)
        low = Sub (centre, size)
        top = Add (centre, size)
        corners = Concat <axis = -1> (low, top)
        b = Reshape (corners, flat4)
        p = Reshape (cls, flat3)
        pt = Transpose <perm = [0, 2, 1]> (p)
        kept = NonMaxSuppression (b, pt, most, iou, score)
        picked = Gather <axis = 1> (kept, column)
        index = Squeeze (picked, axis1)
        b0_ = Gather <axis = 0> (b, i0)
        p0 = Gather <axis = 0> (p, i0)
        boxes = Gather <axis = 0> (b0_, index)
        scores = Gather <axis = 0> (p0, index)
        labels = ArgMax <axis = -1, keepdims = 0> (scores)
    }"""
    return w.model(text), {"x": w.feed(1, 3, 16, 16) * 2}


@network
def paddle_text_recogniser() -> Network:
    """A width that changes, height pooled away, two directions of LSTM, hard swish written out."""
    w = Weights()
    for name, shape in {"w1": (8, 1, 3, 3), "w2": (16, 8, 4, 1), "w": (2, 48, 16), "r": (2, 48, 12)}.items():
        w.random(name, *shape)
    w.random("b", 2, 96)
    w.random("o", 24, 7)
    w.put("three", 3.0, np.float32)
    w.put("six", 6.0, np.float32)
    w.put("zero", 0.0, np.float32)
    w.integers(axis2=[2], merged=[0, 0, -1])
    text = """crnn (float[n, 1, 8, width] x) => (float[t, n, 7] y) {
        c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 1]> (x, w1)
        c3 = Add (c, three)
        cc = Clip (c3, zero, six)
        cm = Mul (c, cc)
        hs = Div (cm, six)
        d = Conv <kernel_shape = [4, 1]> (hs, w2)
        sq = Squeeze (d, axis2)
        t = Transpose <perm = [2, 0, 1]> (sq)
        l = LSTM <hidden_size = 12, direction = "bidirectional"> (t, w, r, b)
        lt = Transpose <perm = [0, 2, 1, 3]> (l)
        lm = Reshape (lt, merged)
        p = MatMul (lm, o)
        y = LogSoftmax <axis = -1> (p)
    }"""
    return w.model(text), {"x": w.feed(2, 1, 8, 21)}


@network
def torch_super_resolution() -> Network:
    """PReLU with a slope for each channel, pixel shuffle, and the input enlarged beside it."""
    w = Weights()
    for name, shape in {"w1": (8, 3, 5, 5), "w2": (12, 8, 3, 3), "slope": (8, 1, 1)}.items():
        w.random(name, *shape)
    w.put("scales", [1, 1, 2, 2], np.float32)
    w.put("none", [], np.float32)
    text = """espcn (float[n, 3, h, w] x) => (float[n, 3, h2, w2] y) {
        a = Conv <pads = [2, 2, 2, 2]> (x, w1)
        p = PRelu (a, slope)
        b = Conv <pads = [1, 1, 1, 1]> (p, w2)
        s = DepthToSpace <blocksize = 2, mode = "CRD"> (b)
        u = Resize <mode = "cubic", coordinate_transformation_mode = "half_pixel"> (x, none, scales)
        y = Add (s, u)
    }"""
    return w.model(text), {"x": w.feed(1, 3, 9, 7)}


@network
def torch_segmentation() -> Network:
    """An atrous branch and an image-wide one, enlarged to the size that Shape, Slice and Concat compute; classes by
    ArgMax."""
    w = Weights()
    for name, shape in {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 1, 1), "w4": (4, 16, 1, 1)}.items():
        w.random(name, *shape)
    w.integers(zero=[0], two=[2], four=[4])
    text = """deeplab (float[n, 3, h, w] x) => (int64[n, h, w] y) {
        a = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1)
        r = Relu (a)
        d = Conv <dilations = [2, 2], pads = [2, 2, 2, 2]> (r, w2)
        g = GlobalAveragePool (r)
        gc = Conv (g, w3)
        gr = Relu (gc)
        rs = Shape (d)
        nc = Slice (rs, zero, two)
        hw = Slice (rs, two, four)
        gs = Shape (gr)
        gnc = Slice (gs, zero, two)
        size = Concat <axis = 0> (gnc, hw)
        ge = Resize <mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"> (gr, , , size)
        c = Concat <axis = 1> (d, ge)
        o = Conv (c, w4)
        xs = Shape (x)
        xhw = Slice (xs, two, four)
        os = Shape (o)
        onc = Slice (os, zero, two)
        full = Concat <axis = 0> (onc, xhw)
        up = Resize <mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"> (o, , , full)
        y = ArgMax <axis = 1, keepdims = 0> (up)
    }"""
    return w.model(text), {"x": w.feed(1, 3, 20, 26)}


@network
def sklearn_scaled_forest() -> Network:
    """A scaler and a small forest of ai.onnx.ml, labels and a dictionary of scores."""
    w = Weights()
    scaling = {"offset": [0.1, -0.2, 0.3], "scale": [1.0, 2.0, 0.5]}
    scaler = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", **scaling)
    trees = helper.make_node(
        "TreeEnsembleClassifier", ["s"], ["label", "scores"], domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 0, 1, 2], nodes_featureids=[0, 0, 0, 2, 0, 0],
        nodes_values=[0.2, 0.0, 0.0, -0.1, 0.0, 0.0], nodes_hitrates=[1.0] * 6,
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2, nodes_truenodeids=[1, 0, 0] * 2,
        nodes_falsenodeids=[2, 0, 0] * 2, nodes_missing_value_tracks_true=[0] * 6, class_treeids=[0, 0, 1, 1],
        class_nodeids=[1, 2, 1, 2], class_ids=[0, 1, 2, 1], class_weights=[0.4, 0.6, 0.3, 0.2],
        classlabels_strings=["no", "yes", "perhaps"], post_transform="NONE",
    )  # fmt: skip
    zipped = helper.make_node(
        "ZipMap", ["scores"], ["rows"], domain="ai.onnx.ml", classlabels_strings=["no", "yes", "perhaps"]
    )
    row = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
        helper.make_value_info("rows", helper.make_sequence_type_proto(row)),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])]
    graph = helper.make_graph([scaler, trees, zipped], "forest", inputs, outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), {"x": w.feed(7, 3)}


@network
def sklearn_text_classifier() -> Network:
    """A TfidfVectorizer and a logistic regression as skl2onnx writes them: the Tokenizer is ONNX Runtime's own."""
    words = ["and", "cat", "dog", "end", "on", "sat", "the"]
    text = """text (string[n, 1] x) => (int64[n] label, float[n, 2] scores) {
        flat = Constant <value = int64[1] {-1}> ()
        texts = Reshape (x, flat)
        lower = StringNormalizer <case_change_action = "LOWER", is_case_sensitive = 0, locale = "C"> (texts)
        tokens = com.microsoft.Tokenizer <mark = 0, mincharnum = 1, pad_value = "#", tokenexp = "[a-zA-Z0-9_]+"> (lower)
        rows = Flatten (tokens)
        counts = TfIdfVectorizer (rows)
        weighted = Mul (counts, idf)
        normal = ai.onnx.ml.Normalizer <norm = "L2"> (weighted)
        label, scores = ai.onnx.ml.LinearClassifier (normal)
    }"""
    w = Weights()
    w.put("idf", np.linspace(1, 2, len(words)), np.float32)
    model = w.model(text, domains=', "com.microsoft" : 1, "ai.onnx.ml" : 1')
    settings: dict[str, dict[str, Any]] = {
        "TfIdfVectorizer": {
            "mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "ngram_counts": [0],
            "ngram_indexes": list(range(len(words))), "pool_strings": words,
        },
        "LinearClassifier": {
            "coefficients": w.rng.standard_normal(2 * len(words)).tolist(), "intercepts": [0.1, -0.1],
            "classlabels_ints": [0, 1], "multi_class": 0, "post_transform": "SOFTMAX",
        },
    }  # fmt: skip
    for node in model.graph.node:
        node.attribute.extend(helper.make_attribute(k, v) for k, v in settings.get(node.op_type, {}).items())
    return model, {"x": np.array([["The cat sat on"], [""], ["dog and DOG: the end"]], object)}


@network
def torch_spatial_transformer() -> Network:
    """A small network moves the image: AffineGrid of a batch of one, and GridSample."""
    w = Weights()
    w.random("move", 12, 6)
    w.integers(size=[1, 3, 6, 4], shape=[1, 2, 3], flat=[1, -1])
    text = """stn (float[1, 3, 6, 4] x) => (float[1, 3, 6, 4] y) {
        p = MaxPool <kernel_shape = [3, 2], strides = [3, 2]> (x)
        f = Reshape (p, flat)
        t = MatMul (f, move)
        theta = Reshape (t, shape)
        grid = AffineGrid (theta, size)
        y = GridSample <mode = "linear", padding_mode = "border"> (x, grid)
    }"""
    return w.model(text, opset=20), {"x": w.feed(1, 3, 6, 4)}
