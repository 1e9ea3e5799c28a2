"""Tree ensembles of ai.onnx.ml in NumPy: all rows walk down all trees together, a level a step.

onnx.reference walks row by row in Python, thousands of times slower, and lacks transforms of regressors.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference.op_run import OpRun

Array = npt.NDArray[Any]
#: Rows times trees that walk together: bounds the memory.
_TOGETHER = 1 << 22
_COMPARE = {
    "BRANCH_LEQ": np.less_equal, "BRANCH_LT": np.less, "BRANCH_GTE": np.greater_equal, "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal, "BRANCH_NEQ": np.not_equal,
}  # fmt: skip


class Forest:
    """The trees that attributes `nodes_*` describe, and the weights of their leaves.

    tree, node, target, weight: one entry for each weight of a leaf. Raises ValueError or KeyError for attributes that
    describe no trees.
    """

    def __init__(self, attributes: dict[str, Any], leaves: tuple[list[int], list[int], list[int], Array], targets: int):
        def of(name: str, dtype: Any) -> Array:
            return np.asarray(attributes.get(name) or [], dtype)

        trees, nodes = of("nodes_treeids", np.int64), of("nodes_nodeids", np.int64)
        position = {key: i for i, key in enumerate(zip(trees.tolist(), nodes.tolist(), strict=True))}
        modes = attributes["nodes_modes"]
        self.inner = np.array([mode != "LEAF" for mode in modes], bool)
        self.features = of("nodes_featureids", np.int64)
        tensor = attributes.get("nodes_values_as_tensor")
        self.thresholds = of("nodes_values", np.float32) if tensor is None else np.asarray(tensor)
        self.missing = np.zeros(len(trees), bool)
        if attributes.get("nodes_missing_value_tracks_true"):
            self.missing = of("nodes_missing_value_tracks_true", bool)
        self.children = np.zeros((2, len(trees)), np.int64)  # where the comparison is false, true
        for row, name in enumerate(("nodes_falsenodeids", "nodes_truenodeids")):
            ids = attributes[name]
            self.children[row, self.inner] = [position[int(trees[i]), ids[i]] for i in np.flatnonzero(self.inner)]
        self.modes = sorted({mode for mode in modes if mode != "LEAF"})
        self.mode = np.array([self.modes.index(mode) if mode != "LEAF" else 0 for mode in modes], np.int64)
        self.roots = np.sort(np.unique(trees, return_index=True)[1])
        tree, node, target, weight = leaves
        if (self.features < 0).any() or min(target, default=0) < 0:
            raise ValueError("a negative feature or target")
        at = [position[key] for key in zip(tree, node, strict=True)]
        self.weights = np.zeros((len(trees), targets), weight.dtype)
        self.counted = np.zeros(self.weights.shape, bool)
        np.add.at(self.weights, (at, target), weight)
        self.counted[at, target] = True

    def leaves(self, x: Array) -> Array:
        """[rows, features] → the node where each row ends, [rows, trees]."""
        at = np.repeat(self.roots[None], len(x), 0).ravel()
        rows = np.repeat(np.arange(len(x)), len(self.roots))
        walking = np.flatnonzero(self.inner[at])
        for _ in range(len(self.inner)):
            if not walking.size:
                return at.reshape(len(x), -1)
            node = at[walking]
            value, threshold = x[rows[walking], self.features[node]], self.thresholds[node]
            true = np.zeros(len(node), bool)
            for i, mode in enumerate(self.modes):
                true |= _COMPARE[mode](value, threshold) & (self.mode[node] == i)
            true |= np.isnan(value) & self.missing[node]
            at[walking] = self.children[true.astype(np.int64), node]
            walking = walking[self.inner[at[walking]]]
        raise ValueError("the trees have a cycle")

    def scores(self, x: Array, aggregate: str = "SUM") -> Array:
        """[rows, features] → the aggregated weights of the leaves, [rows, targets], tree after tree."""
        step = max(1, _TOGETHER // max(1, len(self.roots)))
        parts = [self._scores(x[i : i + step], aggregate) for i in range(0, len(x), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self.weights.shape[1]), self.weights.dtype)

    def _scores(self, x: Array, aggregate: str) -> Array:
        leaves = self.leaves(x)
        total = np.zeros((len(x), self.weights.shape[1]), self.weights.dtype)
        if aggregate in ("SUM", "AVERAGE"):
            for column in leaves.T:
                total += self.weights[column]
            return total / total.dtype.type(len(self.roots)) if aggregate == "AVERAGE" else total
        join, nothing = {"MIN": (np.minimum, np.inf), "MAX": (np.maximum, -np.inf)}[aggregate]
        total[:] = nothing
        for column in leaves.T:
            total = join(total, np.where(self.counted[column], self.weights[column], nothing)).astype(total.dtype)
        return np.where(np.isinf(total), 0, total).astype(total.dtype)


def _weights(attributes: dict[str, Any], name: str) -> Array:
    tensor = attributes.get(f"{name}_as_tensor")
    return np.asarray(attributes.get(name) or [], np.float32) if tensor is None else np.asarray(tensor)


def _logistic(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-x))).astype(x.dtype)


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _softmax_zero(x: Array) -> Array:
    """Softmax of the scores that are not zero; zeros stay."""
    powers = np.where(x == 0, 0, np.exp(x - x.max(axis=1, keepdims=True)))
    total = powers.sum(axis=1, keepdims=True)
    return np.where(total == 0, 0.5, powers / np.where(total == 0, 1, total)).astype(x.dtype)


def _probit(x: Array) -> Array:
    """The quantile of the normal distribution: infinite at 0 and 1, NaN beyond."""
    ends = np.where(x == 0, -np.inf, np.where(x == 1, np.inf, np.nan))
    inside = (x > 0) & (x < 1)
    ends[inside] = [NormalDist().inv_cdf(p) for p in x[inside].tolist()]
    return ends


_TRANSFORMS = {"LOGISTIC": _logistic, "SOFTMAX": _softmax, "SOFTMAX_ZERO": _softmax_zero, "PROBIT": _probit}


def _transformed(scores: Array, transform: str | None) -> Array:
    """The scores as an operator gives them, float32 whatever the type of the weights. Raises KeyError for transforms
    that the standard does not know."""
    made = scores if transform in (None, "NONE") else _TRANSFORMS[transform](scores)
    return made.astype(np.float32)


class TreeEnsembleRegressor(OpRun):
    op_domain = "ai.onnx.ml"
    _forest: Forest | None = None

    def _run(self, x: Array, n_targets: int = 1, **attributes: Any) -> tuple[Array]:
        if self._forest is None:
            names = ("target_treeids", "target_nodeids", "target_ids")
            tree, node, target = (attributes[name] for name in names)
            leaves = (tree, node, target, _weights(attributes, "target_weights"))
            self._forest = Forest(attributes, leaves, n_targets)
        scores = self._forest.scores(x, attributes.get("aggregate_function") or "SUM")
        base = _weights(attributes, "base_values")
        scores = scores + base if base.size else scores
        return (_transformed(scores, attributes.get("post_transform")),)


class TreeEnsembleClassifier(OpRun):
    """Two classes of which only one has weights are told apart by the sign of its score, or, where all weights are
    positive, by 0.5, as in ONNX Runtime, which of the transforms applies LOGISTIC alone to them."""

    op_domain = "ai.onnx.ml"
    _forest: Forest | None = None

    def _run(self, x: Array, **attributes: Any) -> tuple[Array, Array]:
        labels = np.array(attributes.get("classlabels_int64s") or attributes["classlabels_strings"])
        tree, node, target = (attributes[name] for name in ("class_treeids", "class_nodeids", "class_ids"))
        weights = _weights(attributes, "class_weights")
        if self._forest is None:
            self._forest = Forest(attributes, (tree, node, target, weights), max(2, len(labels)))
        scores = self._forest.scores(x)
        base, transform = _weights(attributes, "base_values"), attributes.get("post_transform")
        if len(labels) > 2 or len(set(target)) > 1:
            scores = scores + base if base.size else scores
            return labels[scores.argmax(axis=1)], _transformed(scores, transform)
        score = scores[:, target[0]] + (base[-1] if base.size else 0)
        positive = bool((weights >= 0).all())
        chosen = (score > (0.5 if positive else 0)).astype(np.int64)
        label = labels[chosen] if len(labels) == 2 else np.where(chosen == 1, labels[0], 0)
        if positive and transform != "LOGISTIC":
            return label, np.stack([1 - score, score], 1).astype(np.float32)
        return label, _transformed(np.stack([-score, score], 1), transform if transform == "LOGISTIC" else None)
