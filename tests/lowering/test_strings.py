"""Texts: kept outside Programs, worked on by the reference evaluator, and as ONNX Runtime has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import planish
from tests.lowering.harness import by_onnxruntime, parse

pytest.importorskip("onnxruntime")
TEXTS = np.array(["a b", "c", "é", "dd e f"], object)
NUMBERS = np.array(["1", "25", "-3"], object)

#: (nodes, inputs, outputs, feeds)
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("y, n = StringSplit <delimiter = ' '> (x)", "string[n] x", "string[n, m] y, int64[n] n", {"x": TEXTS}),
    ("y = RegexFullMatch <pattern = '[a-c].*'> (x)", "string[n] x", "bool[n] y", {"x": TEXTS}),
    ("y = StringConcat (x, z)", "string[n] x, string[n] z", "string[n] y", {"x": TEXTS, "z": TEXTS.astype("U")}),
    ("y = Cast <to = 1> (x)", "string[n] x", "float[n] y", {"x": np.array(["1", "2.5", "-3e2"], object)}),
    ("i = Cast <to = 7> (x) y = Add (i, i)", "string[n] x", "int64[n] y", {"x": NUMBERS}),
    ("y = Gather (x, i)", "string[n] x, int64[m] i", "string[m] y", {"x": TEXTS, "i": np.array([2, 0])}),
    ("k = Constant <value_strings = ['p', 'q']> () y = Gather (k, i)", "int64[m] i", "string[m] y",
     {"i": np.array([1, 0, 1])}),
    ("e = Equal (x, z) y = Where (e, x, z)", "string[n] x, string[n] z", "string[n] y",
     {"x": TEXTS, "z": TEXTS[::-1].copy()}),
    ("c = Concat <axis = 0> (x, x) k = Constant <value_ints = [0]> () y = Unsqueeze (c, k) s = Size (c)", "string[n] x",
     "string[1, m] y, int64 s", {"x": TEXTS}),
    ("k = Constant <value_ints = [2, 2]> () r = Reshape (x, k) y = Transpose (r)", "string[4] x", "string[2, 2] y",
     {"x": TEXTS}),
    ("s = SplitToSequence <keepdims = 0> (x) y = ConcatFromSequence <axis = 0, new_axis = 1> (s)", "string[n] x",
     "string[m] y", {"x": TEXTS}),
    ("y = If (c) <then_branch = a () => (string[n] t) { t = Identity (x) }, "
     "else_branch = b () => (string[n] e) { e = StringConcat (x, x) }>", "bool c, string[n] x", "string[n] y",
     {"c": np.array(False), "x": TEXTS}),
    ("y = Identity (x)", "string[n] x", "string[n] y", {"x": TEXTS[:0]}),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "inputs", "outputs", "feeds"), CASES, ids=[case[0] for case in CASES])
def test_texts(nodes: str, inputs: str, outputs: str, feeds: dict[str, Any]) -> None:
    model = parse(nodes.replace("'", '"'), inputs, outputs, opset=20)
    model.ir_version = 9
    results = planish.InferenceSession(model).run(None, feeds)
    expected = by_onnxruntime(model, {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in feeds.items()})
    for got, want in zip(results, expected, strict=True):
        assert got.shape == want.shape
        assert got.tolist() == want.tolist()
