"""The operators on sequences (lists of arrays) and optionals (what they hold, or None) of ONNX, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.errors import ModelError
from planish.lowering.lowered import Step

Array = npt.NDArray[Any]
Value = Any


def evaluate(step: Step, values: Sequence[Value]) -> list[Value]:
    """The outputs of a step of kind `sequence`. Raises ModelError, with the node, for positions outside a sequence."""
    operator = _OPERATORS.get(step.attrs["op"])
    if operator is None:
        raise ModelError(
            f"{step.where()}: no operator on sequences is called {step.attrs['op']}; export the plan again"
        )
    if step.attrs["op"] in _ON_SEQUENCES and not isinstance(values[0], list):
        raise ModelError(f"{step.where()}: no sequence is given; check the model with onnx.checker")
    return [operator(step, list(values))]


#: Of memory that an array takes besides its data: what collects arrays without end is stopped though they be empty.
ARRAY_BYTES = 128


def check_bytes(step: Step, values: Sequence[Value], byte_budget: int) -> None:
    """Raises ModelError, with the node, where one of the values is a sequence that takes more than `byte_budget`."""
    for sequence in values:
        if not isinstance(sequence, list):
            continue
        taken = sum(getattr(element, "nbytes", 0) + ARRAY_BYTES for element in sequence)
        if taken > byte_budget:
            raise ModelError(
                f"{step.where()}: a sequence of {taken} bytes: exceeds the budget of {byte_budget} bytes; raise "
                "SessionOptions.byte_budget if this is intended"
            )


def _position(step: Step, sequence: list[Array], index: Array | None, last: int) -> int:
    """A position in the sequence, counted from its end if negative; `last` is the largest, and the default."""
    position = last if index is None else int(index.ravel()[0])
    if not -len(sequence) <= position <= last:
        raise ModelError(f"{step.where()}: position {position} of a sequence of {len(sequence)}; check the position")
    return position


def _at(step: Step, values: list[Value]) -> Value:
    sequence, index = values
    return sequence[_position(step, sequence, index, len(sequence) - 1)]


def _insert(step: Step, values: list[Value]) -> Value:
    sequence, element, index = (*values, None)[:3]
    position = _position(step, sequence, index, len(sequence))
    return [*sequence[:position], element, *sequence[position:]]


def _erase(step: Step, values: list[Value]) -> Value:
    sequence, index = (*values, None)[:2]
    position = _position(step, sequence, index, len(sequence) - 1) % max(1, len(sequence))
    return [*sequence[:position], *sequence[position + 1 :]]


def _split(step: Step, values: list[Value]) -> Value:
    """Into equal lengths (the last may be shorter), the given ones, or, without a split, single indices."""
    x, split = (*values, None)[:2]
    axis = step.attrs["axis"]
    size = x.shape[axis]
    length = 1 if split is None else int(split.ravel()[0])
    if split is not None and split.ndim:
        ends = np.cumsum(split)
        inside = ((split >= 0) & (split <= size)).all()  # so that their sum does not overflow
        if not inside or (int(ends[-1]) if ends.size else 0) != size:
            raise ModelError(f"{step.where()}: {split.tolist()} of {size}; make the parts add up")
    elif length < 1:
        raise ModelError(f"{step.where()}: parts of {length}; use a positive length")
    else:
        ends = np.minimum(np.arange(length, size + length, length), size)
    parts = np.split(x, ends[:-1], axis) if len(ends) else []
    if split is None and not step.attrs["keepdims"]:
        parts = [part.squeeze(axis) for part in parts]
    return [np.ascontiguousarray(part).reshape(part.shape) for part in parts]


def _concatenate(step: Step, values: list[Value]) -> Value:
    join = np.stack if step.attrs["new_axis"] else np.concatenate
    return join(values[0], axis=step.attrs["axis"])


def _get(step: Step, values: list[Value]) -> Value:
    if values[0] is None:
        raise ModelError(f"{step.where()}: the optional is empty; test it with OptionalHasElement")
    return values[0]


_ON_SEQUENCES = {"SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength", "ConcatFromSequence"}
_OPERATORS: dict[str, Callable[[Step, list[Value]], Value]] = {
    "SequenceConstruct": lambda _, values: values,
    "SequenceEmpty": lambda _, values: [],
    "SequenceAt": _at,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SequenceLength": lambda _, values: np.array(len(values[0]), np.int64),
    "SplitToSequence": _split,
    "ConcatFromSequence": _concatenate,
    "Optional": lambda _, values: None,
    "OptionalHasElement": lambda _, values: np.array(bool(values) and values[0] is not None),
    "OptionalGetElement": _get,
}
