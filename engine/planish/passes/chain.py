"""Writing a node out as several: each call inserts one node of the standard domain before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir

from planish.passes.rewrite import add_constant, insert_before, make_node, remove_nodes, take_over

Value = onnx_ir.Value


class Chain:
    """Inserts nodes before `node`, and lets their results take its outputs over."""

    def __init__(self, node: onnx_ir.Node) -> None:
        assert isinstance(node.graph, onnx_ir.Graph)
        self.node = node
        self.graph = node.graph

    def op(
        self, op_type: str, *inputs: Value | None, dtype: onnx_ir.DataType | None = None, **attributes: Any
    ) -> Value:
        """The result of a new node; of its first input's element type, unless `dtype` says otherwise."""
        kept = inputs[0].dtype if inputs and inputs[0] is not None else None
        node = make_node(op_type, inputs, attributes, dtype=dtype or kept)
        return insert_before(self.node, node)

    def split(self, value: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """Parts of the given sizes along an axis."""
        lengths = self.constant(np.array(sizes, np.int64), "split")
        node = make_node("Split", [value, lengths], {"axis": axis}, outputs=len(sizes))
        insert_before(self.node, node)
        for part in node.outputs:
            part.type = value.type
        return list(node.outputs)

    def constant(self, array: Any, name: str) -> Value:
        return add_constant(self.graph, np.asarray(array), f"{self.node.name}.{name}")

    def ints(self, *numbers: int) -> Value:
        return self.constant(np.array(numbers, np.int64), "ints")

    def like(self, number: float, value: Value) -> Value:
        """A scalar constant of a value's element type."""
        dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
        return self.constant(np.array(number, dtype), "number")

    def finish(self, *results: Value | None) -> bool:
        """The results, in order, take over the node's outputs (None: nothing uses that one). Always True."""
        for before, after in zip(self.node.outputs, results, strict=False):
            if after is not None:
                if after.is_graph_output() or after.producer() is None:
                    after = self.op("Identity", after)
                take_over(before, after)
        remove_nodes(self.node)
        return True
