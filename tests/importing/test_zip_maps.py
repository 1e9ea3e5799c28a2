"""Classifiers whose scores are dictionaries: imported, run, compared with ONNX Runtime, written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import planish

FEEDS = {"x": np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)}
LABELS = {"classlabels_int64s": [3, 5, 9]}, {"classlabels_strings": ["setosa", "versicolor", "virginica"]}


def classifier(**labels: list[int] | list[str]) -> onnx.ModelProto:
    """Products, softmax, the best row and a dictionary of scores."""
    rng = np.random.default_rng(1)
    weights = onnx.numpy_helper.from_array(rng.standard_normal((4, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"], name="product"),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", **labels),
    ]
    key = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
    row = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_value_info("probabilities", helper.make_sequence_type_proto(row)),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, [weights])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def assert_same_rows(got: list[dict[int | str, float]], want: list[dict[int | str, float]]) -> None:
    assert [list(row) for row in got] == [list(row) for row in want]
    np.testing.assert_allclose([list(r.values()) for r in got], [list(r.values()) for r in want], rtol=1e-6)


@pytest.mark.parametrize("labels", LABELS, ids=("numbers", "strings"))
def test_rows_are_dictionaries(labels, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = classifier(**labels)
    want = ort.InferenceSession(model.SerializeToString()).run(None, FEEDS)
    planish.export(model, tmp_path / "model.plan")
    for source in (model, tmp_path / "model.plan"):
        session = planish.InferenceSession(source)
        label, rows = session.run(None, FEEDS)
        np.testing.assert_array_equal(label, want[0])
        assert_same_rows(rows, want[1])
        assert_same_rows(session.run(["probabilities"], FEEDS)[0], want[1])
        assert session.run_arrays(FEEDS)["probabilities"].shape == (5, 3)


def test_compression_keeps_the_dictionaries() -> None:
    pytest.importorskip("onnxruntime")
    from tests.exact_onnxruntime import exact_session

    report = planish.compress(classifier(**LABELS[1]), recipe="int8", calibration=[FEEDS])
    assert report.model is not None
    onnx.checker.check_model(report.model)
    (rows,) = exact_session(report.model).run(["probabilities"], FEEDS)
    assert set(rows[0]) == set(LABELS[1]["classlabels_strings"])
    (ours,) = planish.InferenceSession(report.model).run(["probabilities"], FEEDS)
    assert [max(row, key=row.__getitem__) for row in ours] == [max(row, key=row.__getitem__) for row in rows]


def test_other_maps_are_refused() -> None:
    row = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
    model = classifier(**LABELS[0])
    model.graph.input[0].type.CopyFrom(row)
    with pytest.raises(planish.ModelError, match=r"^model: input 'x': is a map; export the model with tensors"):
        planish.InferenceSession(model)
    model = classifier(**LABELS[0])
    del model.graph.node[3].attribute[:]
    with pytest.raises(planish.ModelError, match=r"ZipMap.*has no class labels"):
        planish.InferenceSession(model)
    model = classifier(**LABELS[0])
    model.graph.node[3].op_type = "Cast"
    model.graph.node[3].domain = ""
    model.graph.node[3].attribute[0].CopyFrom(helper.make_attribute("to", TensorProto.FLOAT))
    with pytest.raises(planish.ModelError, match="output 'probabilities': is a map that no ZipMap makes"):
        planish.InferenceSession(model)


def test_labels_that_do_not_fit_the_scores() -> None:
    model = classifier(classlabels_int64s=[1, 2])
    with pytest.raises(planish.ModelError, match=r"output 'probabilities': \[5, 3\] scores for 2 labels"):
        planish.InferenceSession(model).run(None, FEEDS)


def test_a_map_of_a_sequence_is_refused() -> None:
    model = classifier(**LABELS[0])
    del model.graph.node[:3], model.graph.output[0]
    model.graph.node[0].input[0] = "x"
    matrix = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(matrix))
    with pytest.raises(planish.ModelError, match=r"output 'probabilities': a map of a sequence; repair the model"):
        planish.InferenceSession(model).run(None, {"x": [np.ones((2, 3), np.float32)]})
