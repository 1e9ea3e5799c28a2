"""A model as a protobuf without its weights, for the parts of onnx written in C++."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx_ir

from planish.passes.node_index import drop_index


def weightless_proto(model: onnx_ir.Model, largest: int) -> onnx.ModelProto:
    """The model with every initializer of the main graph above `largest` bytes turned into a graph input.

    Type, shape and name of each stay, so inference and checking see the same graph without copying the weights, which
    might not even fit a protobuf. The model itself is unchanged.
    """
    with _large_as_inputs(model.graph, largest):
        return onnx_ir.to_proto(model)


@contextmanager
def _large_as_inputs(graph: onnx_ir.Graph, largest: int) -> Iterator[None]:
    large = [v for v in graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > largest]
    tensors = [v.const_value for v in large]
    order = list(graph.initializers)
    inputs = len(graph.inputs)
    for value in large:
        del graph.initializers[str(value.name)]
        value.const_value = None
        graph.inputs.append(value)
    try:
        yield
    finally:
        while len(graph.inputs) > inputs:
            graph.inputs.pop()
        kept = {str(v.name): v for v in large} | dict(graph.initializers)
        for value, tensor in zip(large, tensors, strict=True):
            value.const_value = tensor
        for name in list(graph.initializers):
            del graph.initializers[name]
        for name in order:
            graph.initializers[name] = kept[name]


def replace_by_proto(model: onnx_ir.Model, proto: onnx.ModelProto) -> None:
    """Make `model` hold the graph, opsets and IR version of `proto`."""
    drop_index()
    fresh = onnx_ir.from_proto(proto)
    model.graph = fresh.graph
    model.ir_version = fresh.ir_version
