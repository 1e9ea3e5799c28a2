"""Operators that the fallback evaluates itself: tree ensembles, multi-class SVMs, texts."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import planish
from planish.runtime.evaluators import coupled

ort = pytest.importorskip("onnxruntime")
Array = np.ndarray[Any, Any]
ML = "ai.onnx.ml"
BRANCHES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
FEATURES = 4


def single(op: str, domain: str, x: Array, outputs: dict[str, int], **attributes: Any) -> onnx.ModelProto:
    given = {name: value for name, value in attributes.items() if value is not None}
    node = helper.make_node(op, ["x"], list(outputs), "n", domain=domain, **given)
    kind = TensorProto.STRING if x.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(x.dtype)
    batch = [1] if x.ndim == 2 and op == "StringNormalizer" else [None] * (x.ndim - 1)
    ports = [helper.make_tensor_value_info("x", kind, [*batch, None])]
    results = [helper.make_tensor_value_info(name, code, None) for name, code in outputs.items()]
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 3 if domain == ML else 1))
    return helper.make_model(helper.make_graph([node], "g", ports, results), opset_imports=opsets, ir_version=8)


def agree(model: onnx.ModelProto, *feeds: Array, atol: float = 1e-5) -> None:
    ours, theirs = planish.InferenceSession(model), ort.InferenceSession(model.SerializeToString())
    for x in feeds:
        for got, want in zip(ours.run(None, {"x": x}), theirs.run(None, {"x": x}), strict=True):
            assert got.shape == want.shape
            if want.dtype.kind == "f":
                np.testing.assert_allclose(got, want, rtol=0, atol=atol)
            else:
                assert got.tolist() == want.tolist()


def trees(prefix: str, targets: list[int], signed: bool = True, branches: list[str] = BRANCHES) -> dict[str, Any]:
    """Five full trees of depth 3: the attributes nodes_*, and the leaves' under `prefix`."""
    rng = np.random.default_rng(0)
    nodes = [(tree, node) for tree in range(5) for node in range(15)]
    inner = [node < 7 for _, node in nodes]
    leaves = [(*key, target) for key, branch in zip(nodes, inner, strict=True) if not branch for target in targets]
    weights = rng.standard_normal(len(leaves)) if signed else rng.uniform(0, 0.2, len(leaves))
    return {
        "nodes_treeids": [tree for tree, _ in nodes], "nodes_nodeids": [node for _, node in nodes],
        "nodes_featureids": rng.integers(0, FEATURES, len(nodes)).tolist(),
        "nodes_values": np.where(inner, rng.standard_normal(len(nodes)), 0).tolist(),
        "nodes_modes": [branches[i % len(branches)] if b else "LEAF" for i, b in enumerate(inner)],
        "nodes_truenodeids": [2 * n + 1 if b else 0 for (_, n), b in zip(nodes, inner, strict=True)],
        "nodes_falsenodeids": [2 * n + 2 if b else 0 for (_, n), b in zip(nodes, inner, strict=True)],
        "nodes_missing_value_tracks_true": rng.integers(0, 2, len(nodes)).tolist(),
        f"{prefix}_treeids": [t for t, _, _ in leaves], f"{prefix}_nodeids": [n for _, n, _ in leaves],
        f"{prefix}_ids": [k for _, _, k in leaves], f"{prefix}_weights": weights.tolist(),
    }  # fmt: skip


def rows(*, missing: bool = False) -> Array:
    x = np.random.default_rng(1).standard_normal((50, FEATURES)).astype(np.float32)
    if missing:
        x[::3, 1] = np.nan
    return x


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("base", [False, True])
def test_regressors(aggregate: str, targets: int, base: bool) -> None:
    attributes = trees("target", list(range(targets)))
    model = single(
        "TreeEnsembleRegressor", ML, rows(), {"y": TensorProto.FLOAT}, n_targets=targets,
        aggregate_function=aggregate, base_values=[0.5] * targets if base else None, **attributes,
    )  # fmt: skip
    agree(model, rows(), rows(missing=True), rows()[:1], rows()[:0])


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_classifiers_of_many_classes(transform: str) -> None:
    attributes = trees("class", [0, 1, 2])
    outputs = {"label": TensorProto.STRING, "y": TensorProto.FLOAT}
    labels = ["no", "yes", "perhaps"]
    model = single(
        "TreeEnsembleClassifier", ML, rows(), outputs, classlabels_strings=labels, post_transform=transform,
        base_values=[0.1, 0.2, 0.3], **attributes,
    )  # fmt: skip
    agree(model, rows(), rows(missing=True), rows()[:1])


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("signed", [False, True])
def test_classifiers_of_two_classes(transform: str, signed: bool) -> None:
    """As scikit-learn's converter writes random forests and boosted trees: weights of one class only."""
    attributes = trees("class", [0], signed)
    outputs = {"label": TensorProto.INT64, "y": TensorProto.FLOAT}
    model = single(
        "TreeEnsembleClassifier", ML, rows(), outputs, classlabels_int64s=[4, 7], post_transform=transform, **attributes
    )
    agree(model, rows(), rows(missing=True))


def test_regressors_of_doubles_give_floats() -> None:
    attributes = trees("target", [0, 1], branches=["BRANCH_LEQ"])
    for name in ("nodes_values", "target_weights"):
        numbers = np.array(attributes.pop(name))
        attributes[f"{name}_as_tensor"] = onnx.numpy_helper.from_array(numbers)
    x = rows(missing=True).astype(np.float64)
    model = single("TreeEnsembleRegressor", ML, x, {"y": TensorProto.FLOAT}, n_targets=2, **attributes)
    agree(model, x)
    assert planish.InferenceSession(model).run(None, {"x": x})[0].dtype == np.float32


def test_probit_is_the_inverse_of_the_normal_distribution() -> None:
    attributes = trees("target", [0, 1], signed=False)
    plain, probit = (
        planish.InferenceSession(
            single(
                "TreeEnsembleRegressor", ML, rows(), {"y": TensorProto.FLOAT}, n_targets=2, post_transform=transform,
                **attributes,
            )
        ).run(None, {"x": rows()})[0]
        for transform in ("NONE", "PROBIT")
    )  # fmt: skip
    assert ((plain > 0) & (plain < 1)).any()
    inside = np.isfinite(probit)
    np.testing.assert_array_equal(inside, (plain > 0) & (plain < 1))
    back = [NormalDist().cdf(y) for y in probit[inside].tolist()]
    np.testing.assert_allclose(back, plain[inside], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["nodes_featureids", "target_ids"])
def test_negative_features_and_targets_are_an_error(name: str) -> None:
    attributes = trees("target", [0])
    attributes[name] = [-1] * len(attributes[name])
    model = single("TreeEnsembleRegressor", ML, rows(), {"y": TensorProto.FLOAT}, n_targets=1, **attributes)
    with pytest.raises(planish.ModelError, match=r"node 'n' .*: a negative feature or target; check"):
        planish.InferenceSession(model).run(None, {"x": rows()})


def test_trees_with_a_cycle_are_an_error() -> None:
    attributes = trees("target", [0])
    attributes["nodes_truenodeids"] = [0] * 75
    attributes["nodes_falsenodeids"] = [0] * 75
    model = single("TreeEnsembleRegressor", ML, rows(), {"y": TensorProto.FLOAT}, n_targets=1, **attributes)
    with pytest.raises(planish.ModelError, match=r"node 'n' .*: the trees have a cycle; check"):
        planish.InferenceSession(model).run(None, {"x": rows()})


@pytest.mark.parametrize("kernel", ["RBF", "LINEAR", "POLY", "SIGMOID"])
def test_probabilities_of_a_support_vector_machine(kernel: str) -> None:
    rng = np.random.default_rng(0)
    support = rng.standard_normal((9, FEATURES))
    outputs = {"label": TensorProto.INT64, "y": TensorProto.FLOAT}
    model = single(
        "SVMClassifier", ML, rows(), outputs, classlabels_ints=[1, 2, 5], kernel_type=kernel,
        kernel_params=[0.3, 0.1, 3.0], prob_a=[-1.5, -1.0, -2.0], prob_b=[0.1, -0.2, 0.0], rho=[0.1, -0.1, 0.2],
        coefficients=rng.standard_normal(18).tolist(), support_vectors=support.ravel().tolist(),
        vectors_per_class=[4, 3, 2], post_transform="NONE",
    )  # fmt: skip
    agree(model, rows(), rows()[:1])


def test_coupling_finds_the_probabilities_that_made_the_pairs() -> None:
    p = np.array([0.5, 0.2, 0.2, 0.1])
    wins = p[:, None] / (p[:, None] + p)
    np.fill_diagonal(wins, 0)
    np.testing.assert_allclose(coupled(wins), p, atol=1e-3)


@pytest.mark.parametrize(
    "attributes",
    [
        {"separators": [" ", ","], "mincharnum": 1},
        {"separators": ["[^a-z]+"], "mincharnum": 2, "mark": 1},
        {"tokenexp": "[a-zA-Z]+", "mincharnum": 1},
        {"separators": [""], "mincharnum": 1},
    ],
)
def test_tokens(attributes: dict[str, Any]) -> None:
    texts = np.array(["the cat sat", "a, b and cat", "", "one"], object)
    for x in (texts, texts.reshape(2, 2)):
        attributes = {"mark": 0, "pad_value": "#", **attributes}
        agree(single("Tokenizer", "com.microsoft", x, {"y": TensorProto.STRING}, **attributes), x)


@pytest.mark.parametrize("case", ["LOWER", "UPPER", "NONE"])
@pytest.mark.parametrize("sensitive", [0, 1])
@pytest.mark.parametrize("words", [[], ["The", "cat"], ["the", "", "CAT", "a b"]])
def test_normalized_strings(case: str, sensitive: int, words: list[str]) -> None:
    """Empty texts stay; the locale C is the only one that ONNX Runtime finds everywhere."""
    attributes = {"case_change_action": case, "is_case_sensitive": sensitive, "stopwords": words or None}
    for texts in (["The", "the", "", "Cat x", "a b", "CAT"], ["the", "The"]):
        for x in (np.array(texts, object), np.array([texts], object)):
            agree(single("StringNormalizer", "", x, {"y": TensorProto.STRING}, locale="C", **attributes), x)
