"""ONNX Einsum: operands are folded one by one, a pair at a time, into batched matrix products or broadcast products."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from planish.errors import ModelError
from planish.runtime.view import View
from planish.steps.kind import Fact, Facts, Kind, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


class Term(NamedTuple):
    """A tensor whose axes have labels, each label once."""

    labels: tuple[str, ...]
    view: View


def parse(step: Step, shapes: list[tuple[int, ...]]) -> tuple[list[tuple[str, ...]], tuple[str, ...], dict[str, int]]:
    """Labels per operand, labels of the result, and the size of each label. Axes of an ellipsis are labelled "0", "1" …
    from the last on."""
    left, arrow, right = step.attrs["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise _wrong(step, f"{len(terms)} terms for {len(shapes)} inputs")
    operands = [_labels(step, term, len(shape)) for term, shape in zip(terms, shapes, strict=True)]
    sizes: dict[str, int] = {}
    for labels, shape in zip(operands, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                raise _wrong(step, f"label {label} stands for {known} and {size}")
    dots = sorted((label for label in sizes if label.isdigit()), key=int, reverse=True)
    if arrow:
        result = _labels(step, right, len(right.replace("...", "")) + (len(dots) if "..." in right else 0))
    else:
        used = [label for labels in operands for label in labels]
        result = (*dots, *sorted(label for label in sizes if label.isalpha() and used.count(label) == 1))
    if len(set(result)) < len(result) or not set(result) <= set(sizes):
        raise _wrong(step, "the result repeats a label or has one of its own")
    return operands, result, sizes


def _labels(step: Step, term: str, rank: int) -> tuple[str, ...]:
    front, dots, back = term.partition("...")
    named = len(front) + len(back)
    if not (front + back).isascii() or (front + back and not (front + back).isalpha()):
        raise _wrong(step, f"term '{term}' is not made of letters")
    if named > rank or (not dots and named != rank):
        raise _wrong(step, f"term '{term}' for a tensor of rank {rank}")
    return (*front, *(str(i) for i in reversed(range(rank - named))), *back)


def _wrong(step: Step, what: str) -> ModelError:
    return ModelError(f"node '{step.name}' (einsum '{step.attrs['equation']}'): {what}; repair the model")


@register
class Einsum(Kind):
    """ONNX Einsum: attribute equation."""

    name = "einsum"

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        _, result, sizes = parse(step, [facts[i].shape for i in range(len(facts))])
        return [Fact(facts[0].dtype, tuple(sizes[label] for label in result))]

    def emit(self, step: Step, e: Emitter) -> None:
        views = [e.input(i) for i in range(len(step.inputs))]
        operands, result, sizes = parse(step, [v.shape for v in views])
        terms = [_whole(labels, view, sizes) for labels, view in zip(operands, views, strict=True)]
        folded = terms[0]
        for i, term in enumerate(terms[1:], 1):
            needed = {label for later in terms[i + 1 :] for label in later.labels} | set(result)
            folded = _product(e, _summed(e, folded, needed | set(term.labels)),
                              _summed(e, term, needed | set(folded.labels)), needed)  # fmt: skip
        folded = _summed(e, folded, set(result))
        e.alias(folded.view.permute([folded.labels.index(label) for label in result]))


def _whole(labels: tuple[str, ...], view: View, sizes: dict[str, int]) -> Term:
    """Axes of size one broadcast to their label's size; axes of one label joined to its diagonal, by added strides."""
    view = view.broadcast(tuple(sizes[label] for label in labels))
    kept = tuple(dict.fromkeys(labels))
    strides = tuple(sum(s for other, s in zip(labels, view.strides, strict=True) if other == label) for label in kept)
    return Term(kept, View(view.buffer, view.offset, view.dtype, tuple(sizes[label] for label in kept), strides))


def _summed(e: Emitter, term: Term, needed: set[str]) -> Term:
    """The sum over labels that are not needed any more."""
    axes = [i for i, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    shape = term.view.shape
    whole = e.temporary(term.view.dtype, tuple(1 if i in axes else n for i, n in enumerate(shape)))
    e.add("reduce", [term.view], [whole], {"op": "sum", "axes": axes})
    kept = [i for i in range(len(shape)) if i not in axes]
    return Term(tuple(term.labels[i] for i in kept), e.reshaped(whole, tuple(shape[i] for i in kept)))


def _product(e: Emitter, a: Term, b: Term, needed: set[str]) -> Term:
    """The product of two terms, summed over the labels that both have and nothing needs."""
    shared = [label for label in a.labels if label in b.labels]
    inner = [label for label in shared if label not in needed]
    if inner and a.view.dtype == "float32":
        return _matrix_product(e, a, b, [label for label in shared if label in needed], inner)
    labels = (*a.labels, *(label for label in b.labels if label not in shared))
    sizes = {**dict(zip(a.labels, a.view.shape, strict=True)), **dict(zip(b.labels, b.view.shape, strict=True))}
    shape = tuple(sizes[label] for label in labels)
    y = e.temporary(a.view.dtype, shape)
    e.add("binary", [_aligned(term, labels).broadcast(shape) for term in (a, b)], [y], {"op": "mul"})
    return _summed(e, Term(labels, y), needed)


def _aligned(term: Term, labels: tuple[str, ...]) -> View:
    """The term's view with the axes `labels`, of size one where it has none."""
    at = {label: i for i, label in enumerate(term.labels)}
    view = term.view
    shape = tuple(view.shape[at[label]] if label in at else 1 for label in labels)
    strides = tuple(view.strides[at[label]] if label in at else 0 for label in labels)
    return View(view.buffer, view.offset, view.dtype, shape, strides)


def _matrix_product(e: Emitter, a: Term, b: Term, batch: list[str], inner: list[str]) -> Term:
    rows = [label for label in a.labels if label not in b.labels]
    columns = [label for label in b.labels if label not in a.labels]
    left, right = _matrices(e, a, batch, rows, inner), _matrices(e, b, batch, inner, columns)
    y = e.temporary("float32", (left.shape[0], left.shape[1], right.shape[2]))
    e.add("batch_matmul", [left, right], [y])
    sizes = {**dict(zip(a.labels, a.view.shape, strict=True)), **dict(zip(b.labels, b.view.shape, strict=True))}
    labels = (*batch, *rows, *columns)
    return Term(labels, e.reshaped(y, tuple(sizes[label] for label in labels)))


def _matrices(e: Emitter, term: Term, *groups: list[str]) -> View:
    """A view of rank 3, the labels of a group joined to one axis."""
    at = {label: i for i, label in enumerate(term.labels)}
    view = term.view.permute([at[label] for group in groups for label in group])
    return e.reshaped(view, tuple(prod(term.view.shape[at[label]] for label in group) for group in groups))
