"""Small edits of an ONNX graph: constants with names of their own, nodes in front of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

#: numpy types of the small integers ONNX stores packed, by bits: (signed, unsigned).
PACKED: dict[int, tuple[Any, Any]] = {
    8: (np.int8, np.uint8),
    4: (ml_dtypes.int4, ml_dtypes.uint4),
    2: (ml_dtypes.int2, ml_dtypes.uint2),
}


class GraphEditor:
    """Adds constants and nodes to the main graph of a model."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        self.nodes = {str(node.name): node for node in self.graph}
        self.values: dict[str, ir.Value] = {}
        for value in [*self.graph.inputs, *self.graph.initializers.values()]:
            self.values[str(value.name)] = value
        for node in self.graph:
            for value in node.outputs:
                if value.name:
                    self.values[value.name] = value
        self._names = set(self.values)

    def fresh(self, name: str) -> str:
        """`name`, or `name` with a number, whichever no value carries yet."""
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """A new initializer."""
        name = self.fresh(name)
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        self.values[name] = value
        return value

    def node(
        self,
        before: ir.Node,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        name: str,
        dtype: ir.DataType = ir.DataType.FLOAT,
    ) -> ir.Value:
        """A new node in front of `before`; returns its output, called `name`."""
        made = self._make(op, inputs, attributes or {}, [name], dtype)
        self.graph.insert_before(before, made)
        return made.outputs[0]

    def node_behind(
        self,
        value: ir.Value,
        op: str,
        inputs: Sequence[ir.Value | None],
        names: Sequence[str],
        dtype: ir.DataType = ir.DataType.FLOAT,
    ) -> tuple[ir.Value, ...]:
        """A new node right behind the one that writes `value` (first of all for an input of the graph)."""
        made = self._make(op, inputs, {}, names, dtype)
        producer = value.producer()
        if producer is None:
            self.graph.insert_before(self.graph[0], made)
        else:
            self.graph.insert_after(producer, made)
        return tuple(made.outputs)

    def _make(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        names: Sequence[str],
        dtype: ir.DataType,
    ) -> ir.Node:
        made = ir.node(op, inputs, attributes, num_outputs=len(names))
        for value, name in zip(made.outputs, names, strict=True):
            value.name = self.fresh(name)
            self.values[value.name] = value
        made.name = made.outputs[0].name
        while made.name in self.nodes:
            made.name = f"{made.name}_{op}"
        made.outputs[0].type = ir.TensorType(dtype)
        self.nodes[str(made.name)] = made
        return made

    def drop_unused(self) -> None:
        """Remove initializers that nothing reads any more."""
        outputs = {value.name for value in self.graph.outputs}
        for name, value in list(self.graph.initializers.items()):
            if name not in outputs and not value.uses():
                del self.graph.initializers[name]
