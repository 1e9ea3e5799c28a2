"""`.plan` files: a lowered model compiled ahead of time.

Layout, little-endian. Header (64 bytes): magic, format version, number of sections, file size, CRC-32C of the header
and the table with this field zero. Table: per section 32 bytes: kind, CRC-32C, offset, size, reserved. Sections start
at multiples of 64 bytes, in the table's order, with zeros between them; the weights at a multiple of 4096, so that
those of plans above 16 MiB are mapped and never copied. A mapped plan must not be changed in place: a process that has
it open would read what was written, or end with SIGBUS where it was cut short. Write a new file and rename it, as
`export` does.

Section 1, the manifest, is JSON: ports, steps, and a table of constants (offset, size, dtype and shape, or packed
format). Section 2 holds the constants' bytes. Everything is checked before the first instruction is built, and again by
the kernels' own validation when it is; nothing in a plan is executed.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from planish import _core
from planish.errors import PlanError, UsageError, first_line
from planish.files import atomic_writer
from planish.lowering.lowered import ABSENT, Lowered, Packed, Port, Step, captured_by
from planish.runtime.control import fits_body
from planish.runtime.view import numpy_dtype
from planish.steps import KINDS

if TYPE_CHECKING:
    from planish.session import InferenceSession

MAGIC = b"PLANISH\0"
VERSION = 2
#: Packing versions: a plan whose weights were packed otherwise is refused.
FORMATS = {
    "dense_f32": 1, "dense_bf16": 1, "dense_s8": 1, "depthwise_f32": 1, "depthwise_s16": 1, "csr_f32": 1, "csr_s8": 1,
    "block1x4_f32": 1, "block1x4_s8": 1, "block16x4_f32": 1, "block16x4_s8": 1, "codebook_f32": 1,
    "codebook_s8": 1, "affine_f32": 1,
}  # fmt: skip
_HEADER = struct.Struct("<8sIIQI36x")
_ENTRY = struct.Struct("<IIQQ8x")
_CRC_AT = 24  # where the header's own checksum stands
_MANIFEST, _CONSTANTS = 1, 2
_PAGE, _ALIGN = 4096, 64
_MAX_SECTIONS = 16
_CONTROL = ("if", "loop", "scan", "sequence_map")


def is_plan(source: object) -> bool:
    """Whether the source is a plan: by its first bytes, or by the ending of a path that holds something else."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[:8]) == MAGIC
    if not isinstance(source, (str, os.PathLike)):
        return False
    try:
        with open(source, "rb") as file:
            return file.read(8) == MAGIC or os.fspath(source).endswith(".plan")
    except OSError:
        return os.fspath(source).endswith(".plan")


# -- export ------------------------------------------------------------------------------------------------------------


def export(
    model: Any,
    output: str | os.PathLike[str],
    *,
    isa: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    allow_fallback: bool = False,
    tune: bool = False,
) -> None:
    """Compiles a model (a path, bytes, a ModelProto, or a session) ahead of time into a `.plan`.

    isa: instruction sets the plan is meant for; a machine that has none of them refuses it. Default: any machine.
    shapes: input name → fixed dims; other dimensions stay as the model has them.
    tune: kernels are chosen by timing them here, at these shapes; the plan is then for this machine's best instruction
    set, unless isa says otherwise.
    Raises PlanError where steps need the fallback, naming them, unless allow_fallback; OutputError where `output`
    cannot be written.
    """
    from planish.session import InferenceSession

    if os.fspath(output).endswith(".onnx"):
        raise UsageError(f"{os.fspath(output)}: a plan is not an .onnx file; give a name that ends in .plan")
    known = set(_core.built_isas())
    isa = [isa] if isinstance(isa, str) else isa
    for name in isa:
        if name not in known:
            raise UsageError(f"isa '{name}': unknown; use some of {', '.join(_core.built_isas())}")
    session = model if isinstance(model, InferenceSession) else InferenceSession(model)
    lowered = session.lowered
    _check_shapes(lowered.inputs, shapes or {})
    foreign = sorted({s.attrs["op"] for s in lowered.walk() if s.kind == "onnx"})
    if foreign and not allow_fallback:
        raise PlanError(
            f"{os.fspath(output)}: {', '.join(foreign)} have no native kernel; export with --allow-fallback (the plan "
            "then needs onnx)"
        )
    if tune:
        _tune(session, shapes or {})
        isa = isa or [_core.best_isa()]
    pieces = _serialise(lowered, list(isa), dict(shapes or {}))
    with atomic_writer(output) as file:
        file.writelines(pieces)


def _tune(session: InferenceSession, shapes: Mapping[str, Sequence[int]]) -> None:
    """Fix the fastest kernels for made-up inputs of these shapes."""
    from planish.measure.contestant import InputSpec
    from planish.measure.inputs import random_feeds
    from planish.tuning import tune

    ports = session.lowered.inputs
    feeds, _ = random_feeds([InputSpec(p.name, p.shape or (), f"tensor({p.dtype})") for p in ports], shapes=shapes)
    tune(session.lowered, {p.tensor: np.ascontiguousarray(feeds[p.name]) for p in ports}, session.executor.settings)


def _check_shapes(inputs: Sequence[Port], shapes: Mapping[str, Sequence[int]]) -> None:
    """UsageError for shapes of inputs that are not there, or that contradict the declared ones."""
    declared = {port.name: port.shape for port in inputs}
    for name, dims in shapes.items():
        if name not in declared:
            raise UsageError(f"shape of '{name}': the model has no such input; it takes {', '.join(declared)}")
        wanted = declared[name]
        fits = wanted is None or len(wanted) == len(dims)
        if not fits or any(isinstance(d, int) and d != n for d, n in zip(wanted or (), dims, strict=False)):
            given, known = "x".join(map(str, dims)), ",".join("?" if d is None else str(d) for d in wanted or ())
            raise UsageError(f"shape of '{name}': {given} does not fit the declared [{known}]; change it")


def _serialise(lowered: Lowered, isas: list[str], shapes: dict[str, Sequence[int]]) -> list[bytes | memoryview]:
    """The file's pieces in order."""
    constants, blobs, used = [], [], 0
    for tensor, value in lowered.constants.items():
        data = (
            memoryview(value.memory) if isinstance(value, Packed) else memoryview(np.ascontiguousarray(value).tobytes())
        )
        entry: dict[str, Any] = {"tensor": tensor, "offset": used, "size": len(data)}
        if isinstance(value, Packed):
            entry.update(format=value.format, version=FORMATS[value.format], logical=value.logical)
        else:
            entry.update(dtype=value.dtype.name, shape=list(value.shape))
        constants.append(entry)
        padding = -len(data) % _ALIGN
        blobs.extend([data, bytes(padding)])
        used += len(data) + padding
    manifest = {
        "isas": isas,
        "tensors": len(lowered.names),
        "inputs": [_port(p, shapes) for p in lowered.inputs],
        "outputs": [_port(p, {}) for p in lowered.outputs],
        "steps": [_step(s) for s in lowered.steps],
        "constants": constants,
        "notes": lowered.notes,
        "defaults": [_port(p, {}) for p in lowered.defaults],
    }
    text = json.dumps(manifest, separators=(",", ":")).encode()
    return _assemble(text, blobs, used)


def _assemble(manifest: bytes, blobs: list[Any], size: int) -> list[bytes | memoryview]:
    first = _HEADER.size + 2 * _ENTRY.size
    start = first + (-first % _ALIGN)
    weights = start + len(manifest)
    weights += -weights % _PAGE
    body = b"".join(bytes(b) for b in blobs)
    table = _ENTRY.pack(_MANIFEST, _crc(manifest), start, len(manifest)) + _ENTRY.pack(
        _CONSTANTS, _crc(body), weights, size
    )
    total = weights + size
    crc = _crc(_HEADER.pack(MAGIC, VERSION, 2, total, 0) + table)
    header = _HEADER.pack(MAGIC, VERSION, 2, total, crc)
    return [header, table, bytes(start - first), manifest, bytes(weights - start - len(manifest)), body]


def _crc(data: bytes) -> int:
    return _core.Memory.copy_of(data).crc32c()


def _port(port: Port, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    shape = shapes.get(port.name, port.shape)
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": None if shape is None else list(shape),
        "tensor": port.tensor,
        "labels": list(port.labels),
    }


def _step(step: Step) -> list[Any]:
    attrs = {k: v for k, v in step.attrs.items() if not k.startswith("_")}
    if "branches" in attrs:
        attrs["branches"] = [
            {
                "inputs": [_port(p, {}) for p in b.inputs],
                "steps": [_step(s) for s in b.steps],
                "outputs": [_port(p, {}) for p in b.outputs],
            }
            for b in attrs["branches"]
        ]
    return [step.kind, step.name, list(step.inputs), list(step.outputs), attrs, step.origin]


# -- load --------------------------------------------------------------------------------------------------------------


def load(source: str | os.PathLike[str] | bytes) -> Lowered:
    """The lowered model of a plan; weights stay in the mapped file. Raises PlanError with the reason and the remedy."""
    if isinstance(source, (str, os.PathLike)):
        where = os.fspath(source)
        memory = _core.Memory.map_file(where)
    else:
        where, memory = "plan", _core.Memory.copy_of(source)
    try:
        sections = _sections(where, memory)
        manifest = json.loads(bytes(sections[_MANIFEST]))
        return _Reader(where, manifest, sections[_CONSTANTS]).read()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise PlanError(f"{where}: the plan's contents are malformed ({first_line(error)}); export it again") from error


def _sections(where: str, memory: _core.Memory) -> dict[int, _core.Memory]:
    data = memoryview(memory)
    if len(data) < 8 or bytes(data[:8]) != MAGIC:
        raise PlanError(f"{where}: not a plan; make one with `planish export MODEL -o {os.path.basename(where)}`")
    if len(data) < _HEADER.size:
        raise PlanError(f"{where}: truncated ({len(data)} bytes); copy or export it again")
    _, version, count, size, crc = _HEADER.unpack_from(data)
    if version != VERSION:
        raise PlanError(
            f"{where}: plan format {version}, this planish reads {VERSION}; export it again with this version"
        )
    if size != len(data):
        raise PlanError(
            f"{where}: {len(data)} bytes, {size} expected; the file is truncated or was appended to: copy or export "
            "it again"
        )
    end = _HEADER.size + count * _ENTRY.size
    if not 0 < count <= _MAX_SECTIONS or end > len(data):
        raise PlanError(f"{where}: the section table is damaged; export it again")
    if _crc(bytes(data[:_CRC_AT]) + bytes(4) + bytes(data[_CRC_AT + 4 : end])) != crc:
        raise PlanError(f"{where}: the header was altered (checksum); export it again")
    sections: dict[int, _core.Memory] = {}
    for i in range(count):
        kind, expected, offset, length = _ENTRY.unpack_from(data, _HEADER.size + i * _ENTRY.size)
        if offset < end or bytes(data[end:offset]).strip(b"\0"):
            raise PlanError(f"{where}: the space between sections was altered; copy or export it again")
        end = offset + length
        part = memory.slice(offset, length)
        if part.crc32c() != expected:
            raise PlanError(f"{where}: section {kind} was altered (checksum); copy or export it again")
        sections[kind] = part
    if _MANIFEST not in sections or _CONSTANTS not in sections:
        raise PlanError(f"{where}: a section is missing; export it again")
    return sections


class _Reader:
    """Turns a manifest into a Lowered, checking every number that will be used as an index."""

    def __init__(self, where: str, manifest: dict[str, Any], constants: _core.Memory) -> None:
        self.where = where
        self.manifest = manifest
        self.data = constants
        self.packed: set[int] = set()  # constants that only kernels can read
        self.count = int(manifest["tensors"])
        if not 0 <= self.count <= 1 << 24:
            raise self.damaged("the number of tensors")
        self.lowered = Lowered(names=[""] * self.count, notes=[str(n) for n in manifest["notes"]])

    def damaged(self, what: str) -> PlanError:
        return PlanError(f"{self.where}: {what} is out of range; the plan is damaged, export it again")

    def read(self) -> Lowered:
        self.check_isa()
        for entry in self.manifest["constants"]:
            self.lowered.constants[self.tensor(entry["tensor"])] = self.constant(entry)
        known = set(self.lowered.constants)
        self.lowered.defaults = [self.port(p) for p in self.manifest["defaults"]]
        self.packed = {t for t, value in self.lowered.constants.items() if isinstance(value, Packed)}
        self.lowered.inputs = [self.port(p) for p in self.manifest["inputs"]]
        fed = {p.tensor for p in self.lowered.inputs}
        names = {p.name for p in self.lowered.inputs}
        if not len(fed - known) == len(names) == len(self.lowered.inputs):
            raise self.damaged("an input")
        known.update(fed)
        self.lowered.steps = self.steps(self.manifest["steps"], known)
        self.lowered.outputs = [self.port(p) for p in self.manifest["outputs"]]
        if any(p.tensor not in known - self.packed for p in self.lowered.outputs):
            raise self.damaged("an output")
        return self.lowered

    def check_isa(self) -> None:
        isas = [str(n) for n in self.manifest["isas"]]
        usable = _core.usable_isas()
        if isas and not set(isas) & set(usable):
            raise PlanError(
                f"{self.where}: made for {', '.join(isas)}, which this machine lacks (it has {', '.join(usable)}); "
                f"export with --isa {usable[-1]}"
            )

    def tensor(self, number: Any) -> int:
        if not isinstance(number, int) or not 0 <= number < self.count:
            raise self.damaged("a tensor number")
        return number

    def constant(self, entry: dict[str, Any]) -> Any:
        memory = self.data.slice(entry["offset"], entry["size"])
        if "format" in entry:
            if FORMATS.get(entry["format"]) != entry["version"]:
                raise PlanError(
                    f"{self.where}: weights packed as {entry['format']} version {entry['version']}, which this "
                    "planish does not read; export it again"
                )
            if entry["format"].startswith(("csr", "block")):  # what becomes an address must not change once validated
                memory = _core.Memory.copy_of(memory)
            return Packed(memory, entry["format"], int(entry["logical"]))
        shape = tuple(int(n) for n in entry["shape"])
        if entry["dtype"] not in _core.DTYPES or min(shape, default=0) < 0:
            raise self.damaged("a constant's type or shape")
        return np.frombuffer(memoryview(memory), numpy_dtype(entry["dtype"])).reshape(shape)

    def port(self, entry: dict[str, Any]) -> Port:
        shape = entry["shape"]
        if shape is not None and not all(map(_is_dim, shape)):
            raise self.damaged("a shape")
        labels = entry["labels"]
        if labels and not (all(type(v) is int for v in labels) or all(isinstance(v, str) for v in labels)):
            raise self.damaged("an output's labels")
        return Port(
            str(entry["name"]),
            str(entry["dtype"]),
            None if shape is None else tuple(shape),
            self.tensor(entry["tensor"]),
            tuple(labels),
        )

    def steps(self, entries: list[Any], known: set[int]) -> list[Step]:
        """Steps in order; each reads only what is known before it, and makes new tensors."""
        steps = []
        for kind, name, inputs, outputs, attrs, origin in entries:
            if kind not in KINDS and kind != "onnx":
                raise PlanError(
                    f"{self.where}: step '{name}' of unknown kind '{kind}'; the plan is of another version, export it "
                    "again"
                )
            for t in inputs:
                if t != ABSENT and self.tensor(t) not in known:
                    raise self.damaged(f"an input of step '{name}'")
            if kind == "onnx" and not self.packed.isdisjoint(inputs):
                raise self.damaged(f"an input of step '{name}'")
            made = [self.tensor(t) for t in outputs if t != ABSENT]
            if not _has_sound_attrs(kind, attrs) or len(set(made)) < len(made) or not known.isdisjoint(made):
                raise self.damaged(f"step '{name}'")
            if kind in _CONTROL:
                attrs = {**attrs, "branches": [self.branch(b, set(known)) for b in attrs["branches"]]}
            known.update(made)
            step = Step(str(kind), str(name), tuple(inputs), tuple(outputs), attrs, str(origin))
            if kind in _CONTROL and not self.is_sound(step):
                raise self.damaged(f"step '{name}'")
            steps.append(step)
        return steps

    def branch(self, entry: dict[str, Any], known: set[int]) -> Lowered:
        inner = Lowered(constants=self.lowered.constants, names=self.lowered.names)
        inner.inputs = [self.port(p) for p in entry["inputs"]]
        made = [p.tensor for p in inner.inputs]
        if len(set(made)) < len(made) or not known.isdisjoint(made):
            raise self.damaged("a branch's input")
        known.update(made)
        inner.steps = self.steps(entry["steps"], known)
        inner.outputs = [self.port(p) for p in entry["outputs"]]
        if any(p.tensor not in known for p in inner.outputs):
            raise self.damaged("a branch's output")
        return inner

    def is_sound(self, step: Step) -> bool:
        """Whether the graphs inside control flow have the inputs and outputs that its kind demands, and a loop's body
        reads nothing from outside that is no input of the loop."""
        branches = step.attrs["branches"]
        if step.kind == "if":
            return len(branches) == 2 and all(len(b.outputs) == len(step.outputs) and not b.inputs for b in branches)
        captured = set(captured_by(branches[0], self.lowered.constants)) if len(branches) == 1 else {ABSENT}
        return captured <= set(step.inputs) - {ABSENT} and fits_body(step)


def _is_dim(d: Any) -> bool:
    """Whether it is a size, the name of one, or nothing."""
    return d is None or type(d) is str or (type(d) is int and d >= 0)


def _has_sound_attrs(kind: str, attrs: Any) -> bool:
    """Whether what is read before a kernel validates it has the right types: nested graphs, and the fallback's node."""
    if (
        not isinstance(attrs, dict)
        or any(k.startswith("_") for k in attrs)
        or ("branches" in attrs) != (kind in _CONTROL)
    ):
        return False
    if kind != "onnx":
        return True
    texts = [attrs["node"], attrs["op"], *attrs["captured"]]
    return isinstance(attrs["opset"], int) and all(isinstance(text, str) for text in texts)
