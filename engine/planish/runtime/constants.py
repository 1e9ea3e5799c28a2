"""The constants of a lowered model, shared by every specialisation: their facts, and one block of memory each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.lowering.lowered import Packed
from planish.runtime.view import dtype_name
from planish.steps.kind import Fact

Array = npt.NDArray[Any]


class Constants:
    """Facts by tensor number; memory is made when a Program first reads the constant."""

    def __init__(self, values: Mapping[int, Array | Packed]) -> None:
        self.values = values
        self.facts = {tensor: _fact(value) for tensor, value in values.items()}
        self._memory: dict[int, _core.Memory] = {}

    def memory(self, tensor: int) -> _core.Memory:
        """The bytes of constant `tensor`: packed weights as they are, arrays in C order."""
        memory = self._memory.get(tensor)
        if memory is None:
            value = self.values[tensor]
            memory = value.memory if isinstance(value, Packed) else memory_of(value)
            self._memory[tensor] = memory
        return memory


def memory_of(value: Array) -> _core.Memory:
    """A copy of an array's elements in C order, whatever their type."""
    return _core.Memory.copy_of(np.ascontiguousarray(value).reshape(-1).view(np.uint8))


def _fact(value: Array | Packed) -> Fact:
    if isinstance(value, Packed):
        return Fact("uint8", (len(value.memory),))
    return Fact(dtype_name(value.dtype), value.shape, value)
