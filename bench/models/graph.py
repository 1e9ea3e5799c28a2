"""A small writer of ONNX graphs: every method appends a node or an initializer and returns the name of its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Dim = int | str
"""A fixed size, or the name of a symbolic dimension."""

_PRODUCER = "planish/bench/models"
_IR_VERSION = 8


class GraphBuilder:
    """Collects nodes, initializers, inputs and outputs; :meth:`model` checks them and makes the ModelProto."""

    def __init__(self, name: str, opset: int) -> None:
        self.name = name
        self.opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[Dim], dtype: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, value: str, name: str, shape: Sequence[Dim]) -> None:
        """Declare `value` a float output of the graph, renamed to `name`."""
        for node in self._nodes:
            node.input[:] = [name if v == value else v for v in node.input]
            node.output[:] = [name if v == value else v for v in node.output]
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        """An initializer; a name that exists already is kept, so that shared constants are stored once."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(
                np.ascontiguousarray(value).reshape(np.shape(value)), name
            )
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._initializers.values())
        )
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION, producer_name=_PRODUCER)
