"""Mutated plans: bytes flipped with stale checksums, and what they say, manifests, tables and weights edited with sound
ones."""

from __future__ import annotations

import contextlib
import json
import struct
from functools import cache
from typing import Any

import numpy as np

import planish
from planish import _core
from planish.plan import sections as plan_sections
from planish.plan.writer import FORMATS
from planish.steps import KINDS
from tests.fuzz import corpus
from tests.fuzz.case import Case, Reach, Rng, chance, options, pick
from tests.fuzz.feeds import feeds_for
from tests.plan_document import assemble, decode, encode

#: What is put in the place of a number.
NUMBERS = (0, 1, -1, 2, 3, 7, 8, 16, 63, 64, 255, 256, 4096, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 40,
           (1 << 63) - 1, -(1 << 63), 1 << 64, -2, 0.0, -1.0, 0.5, 1e-30, 1e30, 1e300,
           float("nan"), float("inf"))  # fmt: skip


class Plans:
    """Loads what a stranger made of a plan, and runs it where it loads."""

    name = "plans"
    stages = ("sound checksums", "loaded", "fed", "ran")

    def make(self, rng: Rng) -> Case:
        data = pick(rng, corpus.plans())
        if chance(rng, 0.1):
            return Case(flipped(rng, data), ".plan", "bytes", {"sound": False})
        made, note = mutated_sections(rng, data) if chance(rng, 0.2) else mutated_document(rng, data)
        if chance(rng, 0.03):
            made = mutate_list(rng, made)
        return Case(made, ".plan", note[:2000], {"sound": True})

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        if case.extra["sound"]:
            reach("sound checksums")
        session = planish.InferenceSession(case.data, options())
        reach("loaded")
        feeds = feeds_for(session, rng)
        if feeds is None:
            return
        reach("fed")
        session.run(None, feeds)
        reach("ran")


def mutated_document(rng: Rng, data: bytes) -> tuple[bytes, str]:
    """A plan whose steps, ports, attributes or constants are edited, and its document."""
    while True:
        document, constants = explicit(data)
        if chance(rng, 0.15):
            constants = flipped(rng, constants, cut=False)
        with contextlib.suppress(
            TypeError, IndexError, KeyError, AttributeError, ValueError
        ):  # mutated beyond mutating
            for _ in range(int(rng.geometric(0.5))):
                mutate_document(rng, document)
            return encode(document, constants), json.dumps(document)


def mutated_sections(rng: Rng, data: bytes) -> tuple[bytes, str]:
    """A plan whose manifest or table is edited as it is stored, and a word on it."""
    manifest, table, constants = sections(data)
    kind = rng.integers(3)
    if kind == 0:
        return assemble(flipped(rng, manifest, cut=False), table, constants), "bytes of the manifest"
    if kind == 1:
        tree = json.loads(manifest)
        for _ in range(int(rng.geometric(0.5))):
            mutate_leaf(rng, tree)
        return assemble(json.dumps(tree).encode(), table, constants), "leaves of the manifest"
    if chance(rng, 0.2):
        return assemble(manifest, flipped(rng, table), constants), "bytes of the table"
    return assemble(manifest, mutated_table(rng, table), constants), "numbers of the table"


def mutated_table(rng: Rng, table: bytes) -> bytes:
    """Numbers changed, mostly a little; or one inserted, or dropped."""
    numbers = np.frombuffer(table, "<i4").tolist()
    for _ in range(int(rng.geometric(0.5))):
        at = int(rng.integers(len(numbers)))
        edit = rng.integers(8)
        if edit == 0:
            del numbers[at]
        elif edit == 1:
            numbers.insert(at, int(rng.integers(-1, 64)))
        elif edit == 2:
            numbers[at] = int(pick(rng, (-1, 0, 1 << 24, (1 << 31) - 1, -(1 << 31), 1 << 30)))
        elif edit == 3:
            other = int(rng.integers(len(numbers)))
            numbers[at], numbers[other] = numbers[other], numbers[at]
        else:
            numbers[at] = max(-(1 << 31), min(numbers[at] + int(pick(rng, (-2, -1, 1, 2))), (1 << 31) - 1))
    return np.array(numbers, "<i4").tobytes()


@cache
def sections(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Manifest, table and constants of a sound plan."""
    parts = plan_sections.split("seed", _core.Memory.copy_of(data))
    return tuple(bytes(parts[kind]) for kind in (plan_sections.MANIFEST, plan_sections.TABLE, plan_sections.CONSTANTS))


def explicit(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A sound plan's document, the caller's own, and constants."""
    text, constants = _explicit(data)
    return json.loads(text), constants


@cache
def _explicit(data: bytes) -> tuple[str, bytes]:
    document, constants = decode(data)
    return json.dumps(document), constants


def flipped(rng: Rng, data: bytes, cut: bool = True) -> bytes:
    """One to four bytes changed, or the end cut off or doubled."""
    changed = bytearray(data)
    if cut and chance(rng, 0.2):
        return bytes(changed[: int(rng.integers(len(changed) + 1))])
    for _ in range(int(rng.integers(1, 5)) if changed else 0):
        at = int(rng.integers(len(changed)))
        changed[at] = int(pick(rng, (0, 255, 127, 128, 1, changed[at] ^ (1 << int(rng.integers(8))))))
    return bytes(changed)


def mutate_list(rng: Rng, data: bytes) -> bytes:
    """A field of the header or of the list of sections changed, and the header's checksum made to fit."""
    changed = bytearray(data)
    start, size = plan_sections.HEADER.size, plan_sections.HEADER.size + 3 * plan_sections.ENTRY.size
    at = int(rng.integers(12, size - 8))
    value = pick(rng, [n for n in NUMBERS if isinstance(n, int)]) & (1 << 64) - 1
    struct.pack_into("<Q", changed, at, value)
    count = struct.unpack_from("<I", changed, 12)[0]
    end = min(len(changed), start + min(count, 64) * plan_sections.ENTRY.size)
    crc = plan_sections.crc32c(
        bytes(changed[: plan_sections.CRC_AT]) + bytes(4) + bytes(changed[plan_sections.CRC_AT + 4 : end])
    )
    struct.pack_into("<I", changed, plan_sections.CRC_AT, crc)
    return bytes(changed)


# -- documents ---------------------------------------------------------------------------------------------------------


def mutate_document(rng: Rng, document: dict[str, Any]) -> None:
    """One edit in place."""
    steps = all_steps(document["steps"])
    if not steps or chance(rng, 0.25):
        mutate_leaf(rng, document[pick(rng, ("constants", "inputs", "outputs", "constants"))])
        return
    step = pick(rng, steps)
    edit = pick(
        rng, (_kind, _attribute, _attribute, _attribute, _attribute, _new_attribute, _operand, _operand, _order)
    )
    edit(rng, document, step)


def all_steps(steps: list[Any]) -> list[Any]:
    """The steps of a document, those of branches included."""
    found = list(steps)
    for step in steps:
        for branch in step[4].get("branches", ()):
            found += all_steps(branch["steps"])
    return found


def _kind(rng: Rng, document: dict[str, Any], step: list[Any]) -> None:
    other = pick(rng, _every_step())
    step[0] = pick(rng, [*KINDS, "onnx"]) if chance(rng, 0.3) else other[0]
    if chance(rng, 0.7):
        step[4] = {**step[4], **other[4]}


def _attribute(rng: Rng, document: dict[str, Any], step: list[Any]) -> None:
    if step[4] and chance(rng, 0.15):
        del step[4][pick(rng, sorted(step[4]))]
    else:
        mutate_leaf(rng, step[4])


def _new_attribute(rng: Rng, document: dict[str, Any], step: list[Any]) -> None:
    key, value = pick(rng, _every_attribute())
    step[4][key] = json.loads(value)


def _operand(rng: Rng, document: dict[str, Any], step: list[Any]) -> None:
    operands = step[2 + int(rng.integers(2))]
    tensor = int(rng.integers(-1, document["tensors"])) if chance(rng, 0.9) else pick(rng, NUMBERS)
    if operands and chance(rng, 0.7):
        operands[int(rng.integers(len(operands)))] = tensor
    elif operands and chance(rng, 0.5):
        del operands[int(rng.integers(len(operands)))]
    else:
        operands.insert(int(rng.integers(len(operands) + 1)), tensor)


def _order(rng: Rng, document: dict[str, Any], step: list[Any]) -> None:
    steps = document["steps"]
    i, j = (int(n) for n in rng.integers(len(steps), size=2))
    kind = rng.integers(3)
    if kind == 0:
        steps[i], steps[j] = steps[j], steps[i]
    elif kind == 1:
        del steps[i]
    else:  # a copy that makes new tensors, of another input
        copy = json.loads(json.dumps(steps[i]))
        copy[3] = list(range(document["tensors"], document["tensors"] + len(copy[3])))
        document["tensors"] += len(copy[3])
        document["outputs"][0]["tensor"] = copy[3][0] if copy[3] else 0
        steps.append(copy)


def mutate_leaf(rng: Rng, tree: Any) -> None:
    """Changes a random leaf of nested dicts and lists, or the length of a list, in place."""
    while isinstance(tree, (dict, list)) and tree:
        keys = sorted(tree) if isinstance(tree, dict) else range(len(tree))
        key = pick(rng, keys)
        value = tree[key]
        if isinstance(value, (dict, list)) and value and chance(rng, 0.9):
            tree = value
            continue
        if isinstance(tree, list) and chance(rng, 0.2):
            tree.insert(key, pick(rng, NUMBERS)) if chance(rng, 0.5) else tree.pop(key)
            return
        tree[key] = mutated_leaf(rng, value)
        return


def mutated_leaf(rng: Rng, value: Any) -> Any:
    """Something of the same type, mostly."""
    if chance(rng, 0.05):
        return pick(rng, (None, "", [], {}, [1], "x", True, -1, 1.5, [[1]], {"a": 1}))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(pick(rng, (-1, 1, 2, -64, 64))) if chance(rng, 0.5) else pick(rng, NUMBERS)
    if isinstance(value, float):
        return value * 2 if chance(rng, 0.3) else pick(rng, NUMBERS)
    if isinstance(value, str):
        return pick(rng, _every_text())
    return pick(rng, NUMBERS)


# -- what the corpus has to offer --------------------------------------------------------------------------------------

_pool: dict[str, list[Any]] = {}


def _every_step() -> list[Any]:
    if "steps" not in _pool:
        _pool["steps"] = [s for data in corpus.plans() for s in all_steps(explicit(data)[0]["steps"])]
    return _pool["steps"]


def _every_attribute() -> list[Any]:
    if "attrs" not in _pool:
        pairs = {(k, json.dumps(v)) for s in _every_step() for k, v in s[4].items() if k != "branches"}
        pairs.add(("kernels", json.dumps(dict.fromkeys(("gemm", "conv", "pool", "reduce", "copy"), "reference"))))
        pairs.update(("kernels", json.dumps({f: k})) for f, k in _kernels())
        _pool["attrs"] = sorted(pairs)
    return _pool["attrs"]


def _kernels() -> list[tuple[str, str]]:
    return [(k[0], k[1]) for k in _core.kernels()]


def _every_text() -> list[str]:
    if "texts" not in _pool:
        texts: set[str] = {"", "float64", "bfloat16", "uint16", "int16", "str", "SAME_UPPER", "reference"}
        texts.update(FORMATS)

        def collect(value: Any) -> None:
            if isinstance(value, str) and len(value) < 40:
                texts.add(value)
            for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
                collect(inner)

        for data in corpus.plans():
            collect(explicit(data)[0])
        _pool["texts"] = sorted(texts)
    return _pool["texts"]
