"""Plans as documents that tests can edit: what manifest and table say, written out step by step.

A document is {isas, tensors, notes, formats, inputs, outputs, defaults, steps, constants}. A port is {name, dtype,
shape, labels, tensor}, a step is [kind, name, inputs, outputs, attributes, origin]; of control flow, the attribute
`branches` is a list of {inputs, outputs, steps}. A constant is {tensor, offset, type}, with a type of the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from planish import _core
from planish.plan import sections

Document = dict[str, Any]
_MOST = (1 << 31) - 1
_FIELDS = ("name", "dtype", "shape", "labels")


def decode(data: bytes) -> tuple[Document, bytes]:
    """A sound plan as a document and its section of constants."""
    parts = sections.split("plan", _core.Memory.copy_of(data))
    return _Decoder(json.loads(bytes(parts[sections.MANIFEST])), bytes(parts[sections.TABLE])).document(), bytes(
        parts[sections.CONSTANTS]
    )


def encode(document: Document, constants: bytes) -> bytes:
    """The plan of a document, sound or not, under sound checksums. Numbers that no table can hold become others."""
    encoder = _Encoder()
    manifest = encoder.manifest(document)
    return assemble(json.dumps(manifest).encode(), encoder.table(), constants)


def assemble(manifest: bytes, table: bytes, constants: bytes) -> bytes:
    """The plan of these sections, under sound checksums."""
    parts = {sections.MANIFEST: manifest, sections.TABLE: table, sections.CONSTANTS: constants}
    return b"".join(sections.assemble(parts))


class _Decoder:
    def __init__(self, manifest: dict[str, Any], table: bytes) -> None:
        numbers = iter(np.frombuffer(table, "<i4").tolist())
        graphs, steps, constants = islice(numbers, 3)
        self.manifest = manifest
        self.graph_rows = iter([tuple(islice(numbers, 3)) for _ in range(graphs)])
        step_rows = [tuple(islice(numbers, 4)) for _ in range(steps)]
        self.step_rows = zip(step_rows, manifest["names"], manifest["origins"], strict=True)
        self.constant_rows = [tuple(islice(numbers, 3)) for _ in range(constants)]
        self.graphs = iter(manifest["graphs"])
        rest = list(numbers)
        operands = sum(row[2] + row[3] for row in step_rows)
        self.ports, self.operands = iter(rest[: len(rest) - operands]), iter(rest[len(rest) - operands :])

    def document(self) -> Document:
        types = self.manifest["types"]
        constants = [
            {"tensor": t, "offset": start * 64, "type": list(types[kind])} for t, kind, start in self.constant_rows
        ]
        kept = {key: self.manifest[key] for key in ("isas", "tensors", "notes", "formats")}
        defaults = [_port_of(port, 0) for port in self.manifest["defaults"]]
        return {**kept, "defaults": defaults, "constants": constants, **self.graph()}

    def graph(self) -> dict[str, Any]:
        inputs, outputs, steps = next(self.graph_rows)
        taken, made = ([_port_of(port, next(self.ports)) for port in ports] for ports in next(self.graphs))
        assert (len(taken), len(made)) == (inputs, outputs)
        return {"inputs": taken, "outputs": made, "steps": [self.step() for _ in range(steps)]}

    def step(self) -> list[Any]:
        (operation, graphs, inputs, outputs), name, origin = next(self.step_rows)
        kind, *numbers = self.manifest["operations"][operation]
        attrs = {
            key: json.loads(json.dumps(value)) for key, value in map(self.manifest["attributes"].__getitem__, numbers)
        }
        taken, made = list(islice(self.operands, inputs)), list(islice(self.operands, outputs))
        if graphs:
            attrs["branches"] = [self.graph() for _ in range(graphs)]
        return [kind, name, taken, made, attrs, origin]


class _Encoder:
    """Writes every operation, attribute and type of constants anew, where the engine's own writer has each once."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []
        self.attributes: list[Any] = []
        self.operations: list[Any] = []
        self.names: list[Any] = []
        self.origins: list[Any] = []
        self.types: list[Any] = []
        self.rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])  # of graphs, steps, constants
        self.ports: list[Any] = []
        self.operands: list[Any] = []

    def manifest(self, document: Document) -> dict[str, Any]:
        self.graph(document)
        for constant in document["constants"]:
            offset = constant["offset"]
            start = offset // 64 if type(offset) is int else offset
            self.rows[2].append((constant["tensor"], len(self.types), start))
            self.types.append(constant["type"])
        rest = {key: document[key] for key in ("isas", "tensors", "notes", "formats")}
        rest["defaults"] = list(map(_fields, document["defaults"]))
        lists = {"graphs": self.graphs, "attributes": self.attributes, "operations": self.operations}
        return {**rest, **lists, "names": self.names, "origins": self.origins, "types": self.types}

    def graph(self, graph: Document) -> None:
        inputs, outputs = graph["inputs"], graph["outputs"]
        self.graphs.append([list(map(_fields, inputs)), list(map(_fields, outputs))])
        self.rows[0].append((len(inputs), len(outputs), len(graph["steps"])))
        self.ports += [port["tensor"] for port in (*inputs, *outputs)]
        for step in graph["steps"]:
            self.step(*step)

    def step(self, kind: Any, name: Any, inputs: list[Any], outputs: list[Any], attrs: Any, origin: Any) -> None:
        branches = attrs.get("branches", [])
        plain = [[key, value] for key, value in attrs.items() if key != "branches"]
        self.rows[1].append((len(self.operations), len(branches), len(inputs), len(outputs)))
        self.operations.append([kind, *range(len(self.attributes), len(self.attributes) + len(plain))])
        self.attributes += plain
        self.operands += [*inputs, *outputs]
        self.names.append(name)
        self.origins.append(origin)
        for branch in branches:
            self.graph(branch)

    def table(self) -> bytes:
        return np.array(list(self.numbers()), "<i4").tobytes()

    def numbers(self) -> Iterator[int]:
        yield from map(len, self.rows)
        for rows in self.rows:
            for row in rows:
                yield from map(_number, row)
        yield from map(_number, (*self.ports, *self.operands))


def _port_of(fields: list[Any], tensor: int) -> dict[str, Any]:
    return {**dict(zip(_FIELDS, fields, strict=True)), "tensor": tensor}


def _fields(port: dict[str, Any]) -> list[Any]:
    return [port[field] for field in _FIELDS]


def _number(value: Any) -> int:
    """The nearest number of 32 bits; -2, which is never right, for what is no whole number."""
    return max(-_MOST, min(value, _MOST)) if isinstance(value, int) else -2
