"""What the fallback evaluates otherwise than onnx.reference: what that lacks, gets wrong, or is very slow at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference.op_run import OpRun
from onnx.reference.ops.aionnxml.op_svm_classifier import SVMClassifier as ReferenceSVMClassifier

from planish.runtime.forest import TreeEnsembleClassifier, TreeEnsembleRegressor

Array = npt.NDArray[Any]


class SVMClassifier(ReferenceSVMClassifier):
    """With the pairwise coupling of more than two classes put right."""

    def _probabilities(self, scores: Array, class_count_: int) -> Array:
        """Decision values of the pairs (0, 1), (0, 2), … → the probability of each class."""
        attributes: Any = self._svm.atts
        pairs = np.triu_indices(class_count_, 1)
        wins = np.zeros((class_count_, class_count_))
        value = 1 / (1 + np.exp(np.float64(scores) * attributes.prob_a + attributes.prob_b))
        wins[pairs] = np.clip(value, 1e-7, 1 - 1e-7)
        wins.T[pairs] = 1 - wins[pairs]
        return coupled(wins).astype(scores.dtype)


def coupled(wins: Array) -> Array:
    """wins[i, j]: how probably class i beats j → the probability of each class.

    The second method of Wu, Lin and Weng, Probability Estimates for Multi-class Classification by Pairwise Coupling,
    JMLR 5 (2004): the p of sum 1 that minimises Σ (wins[j, i] p[i] - wins[i, j] p[j])². By its iteration (41), to its
    precision, like LIBSVM and ONNX Runtime.
    """
    count = len(wins)
    q = -wins.T * wins
    np.fill_diagonal(q, (wins**2).sum(axis=0))
    p = np.full(count, 1 / count)
    for _ in range(max(100, count)):
        qp = q @ p
        pqp = p @ qp
        if np.abs(qp - pqp).max() < 0.005 / count:
            break
        for t in range(count):
            change = (pqp - qp[t]) / q[t, t]
            p[t] += change
            pqp = (pqp + change * (change * q[t, t] + 2 * qp[t])) / (1 + change) ** 2
            qp = (qp + change * q[t]) / (1 + change)
            p /= 1 + change
    return p


class StringNormalizer(OpRun):
    """Elements that are stop words are left out, then the case changes, by Unicode's rules whatever the locale:
    [C] → [D] or [1, C] → [1, D]; one empty string where nothing is left.

    onnx.reference sets the locale of the process, removes accents, and looks for stop words inside elements.
    """

    def _run(
        self, x: Array, case_change_action: str = "NONE", is_case_sensitive: int = 0, locale: str | None = None,
        stopwords: list[str] | None = None,
    ) -> tuple[Array]:  # fmt: skip
        if x.ndim not in (1, 2) or (x.ndim == 2 and len(x) != 1):
            raise ValueError("the input is neither [C] nor [1, C]")
        fold: Callable[[str], str] = str if is_case_sensitive else str.lower
        stops = {fold(word) for word in stopwords or ()}
        changes: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}
        change = changes[case_change_action or "NONE"]
        kept = [change(word) for word in map(str, x.ravel()) if fold(word) not in stops]
        made = np.array(kept or [""], object)
        return (made.reshape(1, -1) if x.ndim == 2 else made,)


class Tokenizer(OpRun):
    """ONNX Runtime's: each text cut into tokens, [C] → [C, D] or [N, C] → [N, C, D], padded to the longest."""

    op_domain = "com.microsoft"

    def _run(
        self, texts: Array, mark: int = 0, mincharnum: int = 1, pad_value: str = "", separators: Any = None,
        tokenexp: str | None = None,
    ) -> tuple[Array]:  # fmt: skip
        cut = _cutter(separators or [], tokenexp)
        rows = [[token for token in cut(str(text)) if len(token) >= max(1, mincharnum)] for text in texts.ravel()]
        if mark:
            rows = [["\x02", *row, "\x03"] for row in rows]
        table = np.full((len(rows), max(map(len, rows), default=0)), pad_value, object)
        for place, row in zip(table, rows, strict=True):
            place[: len(row)] = row
        return (table.reshape(*texts.shape, table.shape[1]),)


def _cutter(separators: list[str], expression: str | None) -> Callable[[str], Iterator[str]]:
    """A text → its tokens: what matches the expression, what lies between separators, or single characters."""
    if expression:
        pattern = re.compile(expression)
        return lambda text: (match.group() for match in pattern.finditer(text))
    if not any(separators):
        return iter
    between = re.compile("|".join(f"(?:{s})" for s in separators if s))
    return lambda text: iter(between.split(text))


OPERATORS: list[type[OpRun]] = [
    SVMClassifier, StringNormalizer, TreeEnsembleClassifier, TreeEnsembleRegressor, Tokenizer,
]  # fmt: skip
