"""The table of a plan: whatever its numbers, it is read where a naive walk in Python reads it, and else refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

import planish
from planish import _core

TENSORS = 12
BLOCK = _core.Memory.copy_of(np.arange(32, dtype=np.float32))
DTYPES = {"float32": np.dtype("float32")}
FORMATS = {"dense_f32": False, "csr_f32": True}
#: Without steps: the columns of names are as long as the table says.
MANIFEST = {
    "tensors": TENSORS,
    "types": [["float32", 2, 2]],
    "attributes": [["axis", 1], ["pads", [0, 1]]],
    "operations": [["if"], ["concat", 0], ["pad", 1, 0]],
}


def native(numbers: list[int], **changes: object) -> tuple:
    steps = numbers[1] if len(numbers) > 1 and 0 <= numbers[1] <= 100_000 else 0
    names = {"names": [f"step {i}" for i in range(steps)], "origins": [""] * steps}
    table = _core.Memory.copy_of(np.array(numbers, "<i4"))
    return _core.read_plan(table, BLOCK, {**MANIFEST, **names, **changes}, DTYPES, FORMATS, made, made)


def made(*fields: object) -> tuple:
    return fields


class Damaged(Exception):
    pass


def require(sound: bool) -> None:
    if not sound:
        raise Damaged


class Naive:
    """The rules of csrc/formats/plan_table.h with a set of tensors for each scope."""

    def __init__(self, numbers: list[int]) -> None:
        require(len(numbers) >= 3 and min(numbers[:3]) >= 0)
        rest = iter(numbers)
        counts = list(islice(rest, 3))
        graphs, steps, constants = (
            [self.row(rest, n) for _ in range(c)] for c, n in zip(counts, (3, 4, 3), strict=True)
        )
        for row in (*graphs, *(s[2:] for s in steps)):
            require(min(row[:2]) >= 0)
        self.ports = iter([self.row(rest, 1)[0] for _ in range(sum(g[0] + g[1] for g in graphs))])
        self.operands = iter([self.row(rest, 1)[0] for _ in range(sum(s[2] + s[3] for s in steps))])
        require(next(rest, None) is None)
        self.graphs, self.steps = iter(graphs), iter(steps)
        exists: set[int] = set()
        for tensor, kind, start in constants:
            require(kind == 0 and 0 <= start * 64 <= len(BLOCK) - 16)
            self.make(tensor, exists)
        self.graph(exists)
        require(next(self.graphs, None) is None and next(self.steps, None) is None)

    @staticmethod
    def row(numbers: Iterator[int], width: int) -> list[int]:
        row = list(islice(numbers, width))
        require(len(row) == width)
        return row

    def make(self, tensor: int, exists: set[int]) -> None:
        require(0 <= tensor < TENSORS and tensor not in exists)
        exists.add(tensor)

    def graph(self, exists: set[int]) -> None:
        row = next(self.graphs, None)
        require(row is not None)
        inputs, outputs = list(islice(self.ports, row[0])), list(islice(self.ports, row[1]))
        for tensor in inputs:
            self.make(tensor, exists)
        require(row[2] >= 0)
        for _ in range(row[2]):
            self.step(exists)
        require(exists.issuperset(outputs))

    def step(self, exists: set[int]) -> None:
        row = next(self.steps, None)
        require(row is not None and min(row) >= 0)
        require(row[0] < len(MANIFEST["operations"]))
        inputs, outputs = list(islice(self.operands, row[2])), list(islice(self.operands, row[3]))
        require((exists | {-1}).issuperset(inputs))
        for _ in range(row[1]):
            self.graph(set(exists))
        for tensor in outputs:
            if tensor != -1:
                self.make(tensor, exists)


#: An If over two branches, and a step on its result: (graphs, steps, constants, ports, operands).
SOUND = [
    *(3, 4, 2),
    *((1, 1, 2), (0, 1, 1), (0, 1, 1)),
    *((0, 2, 1, 1), (1, 0, 2, 1), (1, 0, 2, 1), (2, 0, 2, 2)),
    *((10, 0, 0), (11, 0, 1)),
    *(0, 4, 2, 2),
    *(0, 3, 0, 10, 2, 0, 11, 2, 3, -1, 4, -1),
]
SOUND = [n for item in SOUND for n in (item if isinstance(item, tuple) else (item,))]


def test_rows_become_steps_and_constants():
    graphs, steps, nested, ports, constants = native(SOUND)
    assert graphs == [(1, 1, 2), (0, 1, 1), (0, 1, 1)]
    assert nested == [2, 0, 0, 0]
    assert steps == [
        ("if", "step 0", (0,), (3,), {}, ""),
        ("concat", "step 1", (0, 10), (2,), {"axis": 1}, ""),
        ("concat", "step 2", (0, 11), (2,), {"axis": 1}, ""),
        ("pad", "step 3", (3, -1), (4, -1), {"pads": [0, 1], "axis": 1}, ""),
    ]
    assert steps[1][4] is not steps[2][4]  # what one step remembers is not for others
    assert ports == (0, 4, 2, 2)
    assert list(constants) == [10, 11]
    np.testing.assert_array_equal(constants[11], np.arange(16, 20, dtype=np.float32).reshape(2, 2))
    flags = constants[10].flags
    assert (flags.writeable, flags.c_contiguous, flags.aligned, flags.owndata) == (False, True, True, False)


@pytest.mark.parametrize("seed", range(8))
def test_edited_tables_are_read_or_refused_as_naively(seed):
    rng = np.random.default_rng(seed)
    accepted = 0
    for _ in range(1500):
        numbers = list(SOUND)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(numbers)))
            edit = rng.integers(6)
            if edit == 0 and len(numbers) > 1:
                del numbers[at]
            elif edit == 1:
                numbers.insert(at, int(rng.integers(-1, TENSORS + 1)))
            elif edit == 2:
                numbers[at] = int(rng.choice([-1, 2**31 - 1, -(2**31), TENSORS, 1 << 24]))
            else:
                numbers[at] = int(rng.integers(-1, TENSORS))
        try:
            Naive(numbers)
        except Damaged:
            with pytest.raises(planish.PlanishError) as error:
                native(numbers)
            assert "\n" not in str(error.value)
            assert "export it again" in str(error.value)
        else:
            native(numbers)
            accepted += 1
    assert accepted > 20


def nested(levels: int) -> list[int]:
    """An empty graph in a step in a graph …"""
    steps = [n for _ in range(levels - 1) for n in (0, 1, 0, 0)]
    return [levels, levels - 1, 0, *[n for i in range(levels) for n in (0, 0, int(i < levels - 1))], *steps]


def test_graphs_nest_to_a_limit():
    assert len(native(nested(64))[0]) == 64
    for levels in (65, 100_000):
        with pytest.raises(planish.PlanishError, match="number of graphs"):
            native(nested(levels))


@pytest.mark.parametrize("tensors", [-1, (1 << 24) + 1, 11, 12.0, "12", 1 << 64])
def test_the_number_of_tensors_has_limits(tensors):
    with pytest.raises(planish.PlanishError, match="export it again"):
        native(SOUND, tensors=tensors)


def test_a_table_of_broken_numbers():
    with pytest.raises(planish.PlanishError, match="size"):
        _core.read_plan(_core.Memory.copy_of(bytes(13)), BLOCK, MANIFEST, DTYPES, FORMATS, made, made)


@pytest.mark.parametrize(
    "changes",
    [
        {"types": None},
        {"types": []},
        {"types": [None]},
        {"types": [[]]},
        {"types": [[1, 2]]},
        {"types": [["float31", 2]]},
        {"types": [["float32", 33]]},
        {"types": [["float32", -1]]},
        {"types": [["float32", 1.0]]},
        {"types": [["float32", 1 << 64]]},
        {"types": [["csr_f32"]]},
        {"types": [["csr_f32", 1]]},
        {"types": [["csr_f32", 129, 0]]},
        {"types": [["csr_f32", "1", 0]]},
        {"types": [["csr_f32", 1, None]]},
        {"names": None},
        {"names": []},
        {"names": [1, 2, 3, 4]},
        {"origins": ["", "", ""]},
        {"origins": [None] * 4},
        {"attributes": {}},
        {"attributes": []},
        {"attributes": [["axis", 1]]},
        {"attributes": [["axis"], ["pads"]]},
        {"attributes": [["axis", 1, 2], ["pads", 1]]},
        {"attributes": [[1, 1], [[], 1]]},
        {"operations": None},
        {"operations": [["if"], ["concat", 0]]},
        {"operations": [[], [], []]},
        {"operations": [["if"], [["concat"], 0], ["pad"]]},
        {"operations": [["if"], ["concat", -1], ["pad"]]},
        {"operations": [["if"], ["concat", 2], ["pad"]]},
        {"operations": [["if"], ["concat", "axis"], ["pad"]]},
    ],
    ids=str,
)
def test_a_manifest_that_does_not_belong_to_the_table(changes):
    with pytest.raises(planish.PlanishError, match="export it again"):
        native(SOUND, **changes)


@pytest.mark.parametrize("name", ["tensors", "types", "names", "origins", "attributes", "operations"])
def test_a_manifest_without_an_entry(name):
    manifest = {**MANIFEST, "names": [""] * 4, "origins": [""] * 4}
    del manifest[name]
    with pytest.raises(planish.PlanishError, match=f"{name} is malformed"):
        _core.read_plan(_core.Memory.copy_of(np.array(SOUND, "<i4")), BLOCK, manifest, DTYPES, FORMATS, made, made)


def test_arrays_of_too_many_elements_or_axes():
    with pytest.raises(planish.PlanishError, match="overflows"):
        native(SOUND, types=[["float32", 1 << 62, 1 << 62]])
    with pytest.raises(ValueError, match="dimension"):
        native(SOUND, types=[["float32", *[1] * 100]])


def test_packed_weights_are_slices_or_copies():
    types = [["dense_f32", 64, 7], ["csr_f32", 128, 8]]
    constants = native([1, 0, 2, 0, 0, 0, 5, 0, 1, 4, 1, 0], types=types)[-1]
    addresses = [np.frombuffer(memory, np.uint8).__array_interface__["data"][0] for memory, _, _ in constants.values()]
    start = np.frombuffer(BLOCK, np.uint8).__array_interface__["data"][0]
    assert [fields[1:] for fields in constants.values()] == [("dense_f32", 7), ("csr_f32", 8)]
    assert addresses[0] == start + 64
    assert not start <= addresses[1] < start + 128
    assert bytes(constants[4][0]) == bytes(BLOCK)
