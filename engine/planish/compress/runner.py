"""Running models during compression: the one place that touches planish's own session."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from planish.errors import PlanishError

Feeds = Mapping[str, NDArray[Any]]


def new_session(model: ir.Model | onnx.ModelProto) -> Any:
    """A planish.InferenceSession of an in-memory model, which stays as it is."""
    import planish

    return planish.InferenceSession(model if isinstance(model, onnx.ModelProto) else model.clone())


class Runner:
    """Runs a model and hands out chosen inner tensors beside its outputs."""

    def __init__(self, model: ir.Model, tensors: Iterable[str] = ()) -> None:
        """`tensors`: names of inner values (or inputs, or outputs) that `run` returns too."""
        extended = model.clone()
        graph = extended.graph
        self.outputs: list[str] = [str(value.name) for value in graph.outputs]
        inputs = {str(value.name) for value in graph.inputs}
        wanted = list(dict.fromkeys(tensors))
        self._wanted_inputs = [name for name in wanted if name in inputs]
        self._names = list(dict.fromkeys([*self.outputs, *(name for name in wanted if name not in inputs)]))
        made = {str(value.name): value for node in graph for value in node.outputs}
        for name in self._names[len(self.outputs) :]:
            made[name].type = made[name].type or ir.TensorType(ir.DataType.FLOAT)
            graph.outputs.append(made[name])
        self._session = new_session(extended)

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """The model's outputs and the chosen tensors, by name."""
        found: dict[str, NDArray[Any]] = self._session.run_arrays(dict(feeds))
        for name in self._wanted_inputs:
            found[name] = np.asarray(feeds[name])
        return found


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What runs a layer on this machine: the kernel, the bytes of its packed weights, and why it was chosen."""

    kernel: str
    packed: int | None
    notes: tuple[str, ...]


def kernels_here(model: onnx.ModelProto, feeds: Feeds) -> dict[str, Chosen]:
    """The kernel of each layer of `model` on this machine, by node name, at the shapes of `feeds`.

    Empty where the model cannot be specialised for them.
    """
    from planish.inspection.layers import list_layers

    try:
        session = new_session(model)
        arrays = {port.tensor: np.ascontiguousarray(feeds[port.name]) for port in session.lowered.inputs}
        layers = list_layers(session.lowered, session.executor.segments(arrays))
    except PlanishError:
        return {}
    return {
        layer.name: Chosen(layer.kernel, None if layer.weights is None else layer.weights.packed, layer.notes)
        for layer in layers
        if layer.weights is not None
    }
