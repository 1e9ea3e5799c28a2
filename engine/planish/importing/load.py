"""`load_model`: the one way into planish for an ONNX model."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_ir

from planish.errors import ModelError, UsageError
from planish.importing.check_proto import check_model_proto
from planish.importing.graphs import bodies_of, nested_graphs
from planish.importing.messages import first_cause
from planish.importing.names import make_names_unique, number_nodes
from planish.importing.sparse import densify_sparse_tensors
from planish.importing.tensors import ExternalFiles, materialise_tensors
from planish.importing.zip_maps import ZIP_MAPS, detach_zip_maps

#: protobuf cannot represent a message of this size; larger models keep their weights in external files.
_PROTOBUF_LIMIT = 2**31 - 1


def load_model(source: str | os.PathLike[str] | bytes | onnx.ModelProto | onnx_ir.Model) -> onnx_ir.Model:
    """Read an ONNX model and check everything that later stages rely on.

    `source` is a path, the bytes of a file, a `ModelProto` (left unchanged) or an `onnx_ir.Model` (sorted and named in
    place, otherwise returned as it is). Inline weights are copied once; external data are mapped read-only, once per
    file, and must lie in the model's folder: for bytes and objects, which have no folder, external data are an error.
    Sparse initializers become dense ones; the maps that classifiers give are taken off (see `zip_maps`).

    Raises ModelError: not ONNX, truncated, unknown IR version or opset, duplicate or missing names, cycles, attributes
    that contradict the operator's schema, tensors whose bytes do not fit their shape, external data outside the folder.
    """
    if isinstance(source, onnx_ir.Model):
        return _normalise(source, "model")
    if isinstance(source, onnx.ModelProto):
        return _from_proto(source, "model", None)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_proto(_parse(bytes(source), "model"), "model", None)
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        given = f"got {type(source).__name__}" if not isinstance(source, str) else "the path is empty"
        raise UsageError(f"model: {given}; give a path, the bytes of a file, an onnx.ModelProto or an onnx_ir.Model")
    path = Path(source)
    return _from_proto(_parse(_read(path), str(path)), str(path), path.parent)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _PROTOBUF_LIMIT:
            raise ModelError(f"{path}: larger than the 2 GiB of a protobuf message; save its weights as external data")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}; check the path") from None


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{where}: is empty; export or download the model again")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception as error:
        # google.protobuf raises its own DecodeError, whose module differs between protobuf's implementations.
        raise ModelError(f"{where}: {_suspicion(data) or _DAMAGED.format(type(error).__name__)}") from None
    return proto


#: What files that are often taken for ONNX begin with, at which byte → what they are, and what to do.
_OTHERS = {
    (0, b"PLANISH\0"): "is a compiled plan, not a model; give the .onnx file that it was exported from",
    (0, b"PK\x03\x04"): "is a zip archive, as PyTorch and Keras write, not an ONNX file; export it (torch.onnx.export)",
    (4, b"TFL3"): "is a TensorFlow Lite file, not an ONNX file; convert it (tf2onnx)",
    (0, b"\x89HDF"): "is an HDF5 file, as Keras writes, not an ONNX file; convert it (tf2onnx)",
}
_DAMAGED = "is truncated or not an ONNX file ({}); get it again"


def _suspicion(data: bytes) -> str:
    return next((what for (at, start), what in _OTHERS.items() if data[at : at + len(start)] == start), "")


def _from_proto(proto: onnx.ModelProto, where: str, folder: Path | None) -> onnx_ir.Model:
    try:
        check_model_proto(proto, where)
    except (TypeError, ValueError) as error:  # texts that are not UTF-8 are bytes to protobuf
        raise ModelError(f"{where}: malformed: {first_cause(error)}; export the model again") from None
    proto = densify_sparse_tensors(proto, where)
    proto, labels = detach_zip_maps(proto, where)
    try:
        model = onnx_ir.from_proto(proto)
    except (onnx_ir.serde.SerdeError, NotImplementedError, ValueError, TypeError) as error:
        raise ModelError(f"{where}: malformed: {first_cause(error)}; export the model again") from None
    model.meta[ZIP_MAPS] = labels
    materialise_tensors(model, ExternalFiles(folder), where)
    return _normalise(model, where)


def _normalise(model: onnx_ir.Model, where: str) -> onnx_ir.Model:
    """Numbered nodes, unique names, topological order in every graph, and no negative dimensions."""
    number_nodes(model)
    make_names_unique(model)
    functions = [function.graph for function in model.functions.values()]
    for inner in [*nested_graphs(model.graph), *functions]:
        for value in [*inner.inputs, *inner.outputs, *(v for node in inner for v in node.outputs)]:
            _forget_negative_dimensions(value)
    try:
        for graph in [model.graph, *functions]:
            if not _is_sorted(graph, set()):
                graph.sort()
    except ValueError:
        raise ModelError(f"{where}: the graph contains a cycle; export the model again") from None
    return model


def _is_sorted(graph: onnx_ir.Graph, before: set[onnx_ir.Node]) -> bool:
    """Whether every node of the graph, and of those inside it, reads only what earlier nodes make; `before` are those
    that ran before the graph, and grows."""
    for node in graph:
        if not all(value is None or (made := value.producer()) is None or made in before for value in node.inputs):
            return False
        if not all(_is_sorted(body, before) for body in bodies_of(node)):
            return False
        before.add(node)
    return True


def _forget_negative_dimensions(value: onnx_ir.Value) -> None:
    """Some exporters write -1 for a dimension that is not known; onnx's shape inference takes it for a size, and aborts
    the process."""
    shape = value.shape
    if shape is not None and any(isinstance(d, int) and d < 0 for d in shape):
        value.shape = onnx_ir.Shape([None if isinstance(d, int) and d < 0 else d for d in shape])
