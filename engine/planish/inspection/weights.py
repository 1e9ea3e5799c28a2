"""Statistics of packed weights, from the bytes that run: so a plan tells as much as a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.inspection.result import WeightFacts
from planish.lowering.lowered import Packed, Step
from planish.lowering.winograd import restored_floats, restored_integers

Array = npt.NDArray[Any]

#: Different values are counted up to this many.
_MANY = 4096
_SAMPLE = 1 << 16
_UNPACK: dict[str, Callable[..., Array]] = {
    "dense_f32": _core.unpack_dense_f32,
    "dense_bf16": _core.unpack_dense_bf16,
    "dense_s8": _core.unpack_dense_s8,
    "depthwise_f32": _core.unpack_depthwise_f32,
    "depthwise_s16": _core.unpack_depthwise_s16,
}
_RESTORE: dict[str, Callable[..., Array]] = {"winograd_f32": restored_floats, "winograd_s16": restored_integers}


def weight_facts(step: Step, constants: Mapping[int, Any]) -> WeightFacts | None:
    """The packed weights of a step; those of a recurrent layer are taken together. None where it has none."""
    packed = [constants[t] for t in step.inputs if isinstance(constants.get(t), Packed)]
    if not packed:
        return None
    values = _values(step, packed[0]) if len(packed) == 1 else None
    return WeightFacts(
        format=packed[0].format,
        shape=_shape(step),
        packed=sum(len(p.memory) for p in packed),
        dense=sum(p.logical for p in packed),
        zeros=None if values is None or not values.size else float(np.count_nonzero(values == 0) / values.size),
        unique=None if values is None else _count_unique(values),
    )


def _shape(step: Step) -> tuple[int, ...]:
    """(outputs, window…, inputs of a group)."""
    a = step.attrs
    if step.kind == "conv":
        return int(a["N"]), *map(int, a["kernel"]), int(a["C"]) // int(a.get("groups", 1))
    if step.kind == "gemm":
        return int(a["N"]), int(a["K"])
    return ()


def _values(step: Step, packed: Packed) -> Array | None:
    """The weights one by one; None where only their packing knows which value is which."""
    memory, form = packed.memory, packed.format
    if form.startswith(("csr_", "block")):
        return np.asarray(_core.unpack_sparse(memory))
    if form.startswith("codebook_"):
        indices, tables, _ = _core.unpack_codebook(memory)
        return np.asarray(tables.ravel()[indices]) if tables.shape[:2] == (1, 1) else None
    shape = _shape(step)
    if form in _RESTORE:
        return _RESTORE[form](memory, shape[0], shape[-1]) if shape[1:-1] == (3, 3) else None
    if not shape or form not in _UNPACK:
        return None
    taps, depth = math.prod(shape[1:-1]), shape[-1]
    if form.startswith("depthwise"):
        return np.asarray(_UNPACK[form](memory, shape[0], taps))
    if step.attrs.get("merge_width"):  # the kernel's width is packed as channels
        taps, depth = taps // shape[-2], depth * shape[-2]
    return np.asarray(_UNPACK[form](memory, shape[0], taps, depth, int(step.attrs.get("groups", 1))))


def _count_unique(values: Array) -> int | None:
    """Exact up to `_MANY`; a sample decides first whether counting is worth the sorting."""
    flat = values.ravel()
    if len(np.unique(flat[:_SAMPLE])) > _MANY:
        return None
    count = len(np.unique(flat))
    return count if count <= _MANY else None
