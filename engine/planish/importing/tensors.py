"""Tensors in memory: inline data copied out of the protobuf once, external data mapped."""

from __future__ import annotations

import functools
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir

from planish.errors import ModelError
from planish.importing.check_tensor import byte_size, check_size
from planish.importing.graphs import nested_graphs


class ExternalFiles:
    """The external data files of one model, each mapped once, confined to the model's folder.

    A tensor's location must be a relative path without `..` whose target, symbolic links resolved, is a regular file
    inside the folder. `folder` None means that there is none, so that every external tensor is an error.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._maps: dict[str, memoryview] = {}

    def read(self, tensor: onnx_ir.ExternalTensor, where: str) -> memoryview:
        """The bytes of `tensor`: a view of the mapping, valid as long as it is referenced."""
        where = f"{where}: tensor '{tensor.name}'"
        size = byte_size(int(tensor.dtype), math.prod(tensor.shape.numpy()))
        offset = tensor.offset or 0
        if tensor.length is not None and tensor.length != size:
            raise ModelError(
                f"{where}: external data of {tensor.length} bytes at {offset}, but {tensor.dtype.name}"
                f"{list(tensor.shape)} needs {size}; export the model again"
            )
        data = self._map(str(tensor.location), where)
        if offset + size > len(data):
            raise ModelError(
                f"{where}: external data file '{tensor.location}' has {len(data)} bytes, {offset + size} are needed; "
                "copy the file again"
            )
        return data[offset : offset + size]

    def _map(self, location: str, where: str) -> memoryview:
        if location not in self._maps:
            path = self._confine(location, where)
            try:
                with path.open("rb") as file:
                    empty = path.stat().st_size == 0
                    data = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise ModelError(
                    f"{where}: external data file '{location}' cannot be read: {error.strerror}; "
                    "put it beside the model"
                ) from None
            self._maps[location] = memoryview(data)
        return self._maps[location]

    def _confine(self, location: str, where: str) -> Path:
        if self._folder is None:
            raise ModelError(
                f"{where}: has external data, which only a model given by its path can have; give the path"
            )
        relative = Path(location)
        folder = self._folder.resolve()
        if not location or "\0" in location or relative.is_absolute() or ".." in relative.parts:
            raise ModelError(f"{where}: external data location {location!r} leaves the model's folder; move it there")
        path = (folder / relative).resolve()
        if not path.is_relative_to(folder):
            raise ModelError(f"{where}: external data '{location}' links out of the model's folder; copy it there")
        if path.exists() and not path.is_file():
            raise ModelError(f"{where}: external data '{location}' is not a regular file; copy the data there")
        return path


def materialise_tensors(model: onnx_ir.Model, files: ExternalFiles, where: str) -> None:
    """Replace every tensor that refers to a protobuf or to an external file by one that owns or maps its data.

    Afterwards the protobuf can be freed, `numpy()` costs nothing, and renaming a value changes no caller's object.
    Types of less than a byte stay packed.
    """
    roots = [model.graph, *(function.graph for function in model.functions.values())]
    for graph in (inner for root in roots for inner in nested_graphs(root)):
        for value in graph.initializers.data.values():
            if value.const_value is not None:
                value.const_value = _materialise(value.const_value, files, where)
        for node in graph:
            for name, tensor in list(_tensor_attributes(node)) if node.attributes.data else ():
                node.attributes[name] = onnx_ir.AttrTensor(name, _materialise(tensor, files, where))


def _tensor_attributes(node: onnx_ir.Node) -> Iterator[tuple[str, onnx_ir.TensorProtocol]]:
    for name, attribute in node.attributes.data.items():
        if attribute.type == onnx_ir.AttributeType.TENSOR and not attribute.is_ref():
            yield name, attribute.value  # as_tensor() checks a run-time protocol, which takes longer than all the rest


def _materialise(tensor: onnx_ir.TensorProtocol, files: ExternalFiles, where: str) -> onnx_ir.TensorProtocol:
    if isinstance(tensor, onnx_ir.serde.TensorProtoTensor):
        shape = tuple(tensor.raw.dims)
        if tensor.raw.HasField("raw_data"):
            data = memoryview(tensor.raw.raw_data)
            check_size(int(tensor.dtype), shape, len(data), f"{where}: tensor '{tensor.name}'")
            return _from_buffer(tensor, shape, data)
        if tensor.dtype.bitwidth < 8:
            return _from_buffer(tensor, shape, memoryview(tensor.tobytes()))
        # onnx_ir gives an empty array for a typed field without entries, whatever the shape.
        array = tensor.numpy() if math.prod(shape) else np.empty(shape, tensor.dtype.numpy())
        return onnx_ir.Tensor(array, tensor.dtype, shape=_frozen_shape(shape), name=tensor.name)
    if isinstance(tensor, onnx_ir.ExternalTensor):
        return _from_buffer(tensor, tuple(tensor.shape.numpy()), files.read(tensor, where))
    return tensor


def _from_buffer(tensor: onnx_ir.TensorProtocol, shape: tuple[int, ...], data: memoryview) -> onnx_ir.TensorProtocol:
    """A tensor of the type and name of `tensor` over `data`, which is not copied."""
    dtype = tensor.dtype
    if dtype == onnx_ir.DataType.STRING:
        raise ModelError(f"tensor '{tensor.name}': strings cannot be external data; store them in the model")
    if dtype.bitwidth < 8:
        packed: Any = np.frombuffer(data, np.uint8)
        return onnx_ir.PackedTensor(packed, dtype, shape=_frozen_shape(shape), name=tensor.name)
    array = np.frombuffer(data, dtype.numpy().newbyteorder("<")).reshape(shape)
    return onnx_ir.Tensor(array, dtype, shape=_frozen_shape(shape), name=tensor.name)


@functools.lru_cache(maxsize=1024)
def _frozen_shape(dims: tuple[int, ...]) -> onnx_ir.Shape:
    """The shape of these sizes, which tensors share: making one takes longer than making an array."""
    return onnx_ir.Shape(dims, frozen=True)
