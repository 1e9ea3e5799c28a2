"""Models of opset 7 to 20, rewritten in opset 21."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as onh
import onnx.parser
import onnx.reference
import onnx_ir
import pytest

from planish.errors import ModelError
from planish.importing import load_model
from planish.passes.lift_constants import lift_constants
from planish.passes.resolve_shapes import resolve_shapes
from planish.passes.upgrade_opset import TARGET, upgrade_opset

BEFORE = (lift_constants, resolve_shapes)


def old_model(
    opset: int, op_type: str, x: list[int], y: list[int], constants: dict[str, Any] | None = None, **attributes: Any
) -> onnx.ModelProto:
    """One node of an old opset, from x (and constants) to y."""
    tensors = [onh.from_array(np.asarray(a), n) for n, a in (constants or {}).items()]
    names = ["" if n.startswith("none") else n for n in (constants or {})]
    node = oh.make_node(op_type, ["x", *names], ["y"], name="n", **attributes)
    value = [oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", x), ("y", y))]
    graph = oh.make_graph([node], "g", value[:1], value[1:], [t for t in tensors if not t.name.startswith("none")])
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=7)


ONES = np.ones(3, np.float32)
STATISTICS = {"s": ONES * 2, "b": ONES, "m": ONES / 2, "v": ONES * 4}
SCALES = np.array([1, 1, 2, 2], np.float32)

FORMS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("softmax that flattens", (11, "Softmax", [2, 3, 4], [2, 3, 4]), {"axis": 1}),
    ("softmax of the last axis", (11, "LogSoftmax", [2, 3, 4], [2, 3, 4]), {"axis": 2}),
    ("softmax with trailing ones", (11, "Softmax", [2, 3, 1, 1], [2, 3, 1, 1]), {"axis": 1}),
    ("clip", (9, "Clip", [2, 3], [2, 3]), {"min": -0.5, "max": 0.5}),
    ("clip from below", (9, "Clip", [2, 3], [2, 3]), {"min": 0.0}),
    ("slice", (9, "Slice", [4, 6], [2, 6]), {"axes": [0], "starts": [1], "ends": [3]}),
    ("pad", (9, "Pad", [2, 3], [3, 5]), {"pads": [0, 1, 1, 1], "value": 2.5}),
    ("reflecting pad", (9, "Pad", [2, 3], [2, 5]), {"pads": [0, 1, 0, 1], "mode": "reflect"}),
    ("squeeze", (11, "Squeeze", [2, 1, 3], [2, 3]), {"axes": [1]}),
    ("unsqueeze", (11, "Unsqueeze", [2, 3], [1, 2, 3]), {"axes": [0]}),
    ("sum", (11, "ReduceSum", [2, 3], [2]), {"axes": [1], "keepdims": 0}),
    ("mean", (17, "ReduceMean", [2, 3], [2, 1]), {"axes": [-1]}),
    ("largest", (12, "ReduceMax", [2, 3], [1, 1]), {}),
    ("dropout", (10, "Dropout", [2, 3], [2, 3]), {"ratio": 0.4}),
    ("batch norm", (8, "BatchNormalization", [2, 3, 4], [2, 3, 4], STATISTICS), {"spatial": 1}),
    ("upsample 7", (8, "Upsample", [1, 2, 3, 4], [1, 2, 6, 8]), {"scales": [1.0, 1.0, 2.0, 2.0]}),
    ("upsample 9", (9, "Upsample", [1, 2, 3, 4], [1, 2, 6, 8], {"s": SCALES}), {"mode": "linear"}),
    ("resize 10", (10, "Resize", [1, 2, 3, 4], [1, 2, 6, 8], {"s": SCALES}), {"mode": "nearest"}),
    (
        "resize for tensorflow",
        (11, "Resize", [1, 2, 3, 4], [1, 2, 6, 8], {"roi": np.zeros(0, np.float32), "s": SCALES}),
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
    ),
    (
        "resize with sizes",
        (
            11,
            "Resize",
            [1, 2, 3, 4],
            [1, 2, 5, 7],
            {"roi": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "n": np.array([1, 2, 5, 7])},
        ),
        {"mode": "linear"},
    ),
    ("gemm", (9, "Gemm", [2, 3], [2, 3], {"w": np.eye(3, dtype=np.float32), "c": ONES}), {}),
]


@pytest.mark.parametrize(("arguments", "attributes"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_results_of_old_forms_are_kept(apply: Any, arguments: tuple[Any, ...], attributes: dict[str, Any]) -> None:
    model = apply(upgrade_opset, old_model(*arguments, **attributes), 1e-6, first=BEFORE)
    assert model.opset_imports[""] == TARGET
    assert model.ir_version >= 10


def test_split_and_top_k(apply: Any, operators: Any) -> None:
    text = """<ir_version: 7, opset_import: ["" : 9]>
    g (float[2,6] x) => (float[2,2] a, float[2,4] b, float[2,3] c, float[2,3] d, float[2,2] v, int64[2,2] i) {
      a, b = Split <axis = 1, split = [2, 4]> (x)
      c, d = Split <axis = 1> (x)
      v, i = TopK <k = 2> (x)
    }"""
    model = apply(upgrade_opset, text, first=BEFORE)
    assert operators(model) == ["Split", "Split", "TopK"]


def test_dropout_with_a_mask(operators: Any) -> None:
    text = """<ir_version: 7, opset_import: ["" : 10]>
    g (float[2,3] x) => (float[2,3] y, bool[2,3] m) { y, m = Dropout(x) }"""
    model = load_model(onnx.parser.parse_model(text))
    upgrade_opset(model)
    feeds = {"x": np.ones((2, 3), np.float32)}
    y, mask = onnx.reference.ReferenceEvaluator(onnx_ir.to_proto(model)).run(None, feeds)
    assert "Dropout" not in operators(model)
    assert np.array_equal(y, feeds["x"])
    assert mask.all()


def test_statistics_per_activation(operators: Any) -> None:
    full = np.full((3, 4), 2.0, np.float32)
    statistics = {"s": full * 2, "b": full, "m": full / 2, "v": full * 4}
    model = load_model(old_model(8, "BatchNormalization", [2, 3, 4], [2, 3, 4], statistics, spatial=0))
    upgrade_opset(model)
    assert operators(model) == ["Add", "Sqrt", "Sub", "Div", "Mul", "Add"]


def test_softmax_of_unknown_rank(operators: Any) -> None:
    text = """<ir_version: 7, opset_import: ["" : 11]>
    g (float[2,12] x, int64[n] s) => (float[a,b] y) { h = Reshape(x, s)  y = Softmax <axis = 1> (h) }"""
    model = load_model(onnx.parser.parse_model(text))
    upgrade_opset(model)
    assert operators(model) == ["Reshape", "Flatten", "Softmax", "Shape", "Reshape"]


def test_nodes_inside_branches_are_converted(apply: Any) -> None:
    text = """<ir_version: 7, opset_import: ["" : 11]>
    g (bool k, float[2,1] x) => (float[2] y) {
      y = If (k) <
        then_branch = t () => (float[2] a) { a = Squeeze <axes = [1]> (x) },
        else_branch = e () => (float[2] b) { b = ReduceSum <axes = [1], keepdims = 0> (x) }
      >
    }"""
    model = apply(upgrade_opset, text, first=BEFORE)
    for branch in model.graph[0].attributes.values():
        assert len(branch.as_graph()[0].inputs) == 2


def test_opset_6_goes_through_the_converter_of_onnx() -> None:
    value = [
        oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", [2, 3]), ("w", [3]), ("y", [2, 3]))
    ]
    node = oh.make_node("Add", ["x", "w"], ["y"], broadcast=1, axis=1)
    graph = oh.make_graph([node], "g", value[:2], value[2:])
    model = load_model(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 6)], ir_version=3))
    upgrade_opset(model)
    assert not model.graph[-1].attributes
    assert model.opset_imports[""] == TARGET


def test_forms_without_an_equivalent_are_refused() -> None:
    text = """<ir_version: 7, opset_import: ["" : 8]>
    g (float[2,3,4] x, float[3] p) => (float[2,3,4] y, float[3] m) {
      y, m, v, sm, sv = BatchNormalization(x, p, p, p, p)
    }"""
    with pytest.raises(ModelError, match=r"\(BatchNormalization\): uses its training outputs; export"):
        upgrade_opset(load_model(onnx.parser.parse_model(text)))


def test_newer_models_keep_their_opset() -> None:
    model = load_model(
        onnx.parser.parse_model(
            '<ir_version: 11, opset_import: ["" : 23]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
        )
    )
    assert not upgrade_opset(model)
    assert model.opset_imports[""] == 23
