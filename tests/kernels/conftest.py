"""Running one kernel family on arrays, on every kernel this machine can run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from planish import _core

Array = np.ndarray[Any, Any]
Outputs = Sequence[tuple[Sequence[int], Any]]


def _bits(a: Array) -> bytes:
    """The array's bytes, with every NaN made the same: their payload is not specified."""
    if a.dtype.kind == "f":
        a = np.where(np.isnan(a), np.array(np.nan, a.dtype), a)
    return a.tobytes()


def _run(family: str, inputs: Sequence[Array | None], outputs: Outputs, **attrs: Any) -> list[Array]:
    usable = _core.usable_isas()
    names = [name for f, name, isa in _core.kernels() if f == family and isa in usable]
    assert names, f"no kernels registered for family {family}"
    results = []
    for name in names:
        for threads in (1, 2):
            ys = [np.full(shape, 1, dtype) for shape, dtype in outputs]
            _core.run_op(family, list(inputs), ys, {**attrs, "force": name}, threads=threads)
            results.append(ys)
            for y, first in zip(ys, results[0], strict=True):
                assert _bits(y) == _bits(first), f"{family}: {name} on {threads} threads differs from {names[0]}"
    return results[0]


@pytest.fixture
def run() -> Callable[..., list[Array]]:
    """run(family, inputs, [(shape, dtype), ...], **attrs) -> outputs; every kernel and thread count must agree."""
    return _run
