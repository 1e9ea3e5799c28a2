"""The size of a model on disk, external data included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from planish.errors import ModelError

if TYPE_CHECKING:
    import onnx


def model_bytes(path: Path) -> int:
    """Bytes of the file and, for ONNX, of every external data file it names, each counted once.

    Raises ModelError where the file is not ONNX, or a data file is missing or outside the model's folder.
    """
    own = path.stat().st_size
    if path.suffix != ".onnx":
        return own
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # DecodeError, whose module differs between protobuf's implementations
        raise ModelError(f"{path}: is truncated or not an ONNX file; get it again") from None
    return own + sum(_external_bytes(path, name) for name in sorted(set(_external_files(model.graph))))


def _external_bytes(model: Path, location: str) -> int:
    folder = model.parent.resolve()
    data = (folder / location).resolve()
    if not data.is_relative_to(folder):
        raise ModelError(f"{model}: its external data '{location}' lies outside its folder; export the model again")
    if not data.is_file():
        raise ModelError(f"{model}: its external data '{location}' is missing; copy it beside the model")
    return data.stat().st_size


def _external_files(graph: onnx.GraphProto) -> Iterator[str]:
    import onnx

    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _external_files(inner)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")
