"""Writes a lowered model as the sections of a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.lowering.lowered import Lowered, Packed, Port, Step
from planish.plan.sections import ALIGN, CONSTANTS, MANIFEST, TABLE, assemble

Array = npt.NDArray[Any]
#: Packing versions: a plan whose weights were packed otherwise is refused.
FORMATS = {
    "dense_f32": 1, "dense_bf16": 1, "dense_s8": 1, "depthwise_f32": 1, "depthwise_s16": 1, "csr_f32": 1, "csr_s8": 1,
    "block1x4_f32": 1, "block1x4_s8": 1, "block16x4_f32": 1, "block16x4_s8": 1, "codebook_f32": 1,
    "codebook_s8": 1, "affine_f32": 1, "winograd_f32": 1, "winograd_s16": 1,
}  # fmt: skip


def serialise(
    lowered: Lowered, isas: Sequence[str] = (), shapes: Mapping[str, Sequence[int]] | None = None
) -> list[bytes | bytearray]:
    """The file's pieces in order. shapes: input name → dims, in the place of the model's own."""
    writer = _Writer()
    writer.add_graph(lowered, shapes or {})
    constants = writer.add_constants(lowered.constants)
    manifest = {
        "isas": list(isas),
        "tensors": len(lowered.names),
        "graphs": writer.graphs,
        "attributes": writer.attributes.values,
        "operations": writer.operations.values,
        "names": writer.names,
        "origins": writer.origins,
        "formats": writer.formats,
        "types": writer.types.values,
        "defaults": [_port(p) for p in lowered.defaults],
        "notes": lowered.notes,
    }
    return assemble({MANIFEST: _text(manifest).encode(), TABLE: writer.table(), CONSTANTS: constants})


class _Distinct:
    """JSON values in the order in which they first appear, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: Any) -> int:
        """The value's place."""
        number = self._numbers.setdefault(_text(value), len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class _Writer:
    """Takes a lowered model apart into the lists of the manifest and the rows of the table."""

    def __init__(self) -> None:
        self.graphs: list[list[Any]] = []
        self.attributes = _Distinct()
        self.operations = _Distinct()
        self.formats: dict[str, int] = {}
        self.types = _Distinct()
        self.names: list[str] = []
        self.origins: list[str] = []
        self.graph_rows: list[tuple[int, int, int]] = []  # inputs, outputs, steps
        self.step_rows: list[tuple[int, int, int, int]] = []  # operation, nested graphs, inputs, outputs
        self.constant_rows: list[tuple[int, int, int]] = []  # tensor, type, start
        self.ports: list[int] = []
        self.operands: list[int] = []

    def add_graph(self, graph: Lowered, shapes: Mapping[str, Sequence[int]]) -> None:
        self.graphs.append([[_port(p, shapes) for p in graph.inputs], [_port(p) for p in graph.outputs]])
        self.graph_rows.append((len(graph.inputs), len(graph.outputs), len(graph.steps)))
        self.ports += [p.tensor for p in (*graph.inputs, *graph.outputs)]
        for step in graph.steps:
            self.add_step(step)

    def add_step(self, step: Step) -> None:
        branches = step.attrs.get("branches", ())
        attrs = {k: v for k, v in step.attrs.items() if not k.startswith("_") and k != "branches"}
        operation = self.operations.number([step.kind, *map(self.attributes.number, map(list, attrs.items()))])
        self.step_rows.append((operation, len(branches), len(step.inputs), len(step.outputs)))
        self.operands += [*step.inputs, *step.outputs]
        self.names.append(step.name)
        self.origins.append(step.origin)
        for branch in branches:
            self.add_graph(branch, {})

    def add_constants(self, constants: Mapping[int, Array | Packed]) -> bytearray:
        """Their bytes, each padded to a whole number of units."""
        blocks = bytearray()
        for tensor, value in constants.items():
            if isinstance(value, Packed):
                data = bytes(value.memory)
                self.formats[value.format] = FORMATS[value.format]
                kind = self.types.number([value.format, len(data), value.logical])
            else:
                data = value.tobytes()
                kind = self.types.number([value.dtype.name, *value.shape])
            self.constant_rows.append((tensor, kind, len(blocks) // ALIGN))
            blocks += data
            blocks += bytes(-len(data) % ALIGN)
        return blocks

    def table(self) -> bytes:
        rows: tuple[list[Any], ...] = (self.graph_rows, self.step_rows, self.constant_rows)
        numbers = chain(map(len, rows), *chain(*rows), self.ports, self.operands)
        return np.fromiter(numbers, "<i4").tobytes()


def _port(port: Port, shapes: Mapping[str, Sequence[int]] | None = None) -> list[Any]:
    shape = (shapes or {}).get(port.name, port.shape)
    return [port.name, port.dtype, None if shape is None else list(shape), list(port.labels)]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
