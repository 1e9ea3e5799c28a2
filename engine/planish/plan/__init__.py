"""`.plan` files: a lowered model compiled ahead of time.

Layout, little-endian. Header (64 bytes): magic, format version, number of sections, file size, CRC-32C of the header
and the list of sections with this field zero. List: per section 32 bytes: kind, CRC-32C, offset, size, reserved.
Sections start at multiples of 64 bytes, in the list's order, with zeros between them; the constants at a multiple of
4096, so that those of plans above 128 KiB are mapped and never copied. A mapped plan must not be changed in place: a
process that has it open would read what was written, or end with SIGBUS where it was cut short. Write a new file and
rename it, as `export` does.

Section 1, the manifest, is JSON: what is text, or rare.

    isas        instruction sets, one of which the machine must have; none: any machine
    tensors     how many there are; they have numbers from 0 on
    graphs      the model, and the graphs of control flow behind the one that has their step: [inputs, outputs]; each
                is [name, dtype, shape, labels]
    attributes  distinct [name, value] of steps
    operations  distinct [kind, number of attribute, …] of steps
    names, origins
                of every step, those of nested graphs behind the step that has them
    formats     of packed weights, and the version of each
    types       distinct types of constants: [dtype, size of axis, …], or of packed weights [format, bytes, bytes as a
                dense array]
    defaults    inputs that were left at their default values
    notes       decisions made at lowering, for `planish inspect`

Section 2 holds the constants' bytes. Section 3, the table, is int32 numbers: what there is much of. How many graphs,
steps and constants there are; per graph how many inputs, outputs and steps; per step its operation, and how many nested
graphs, inputs and outputs; per constant its tensor, its type, and where it starts in section 2, in units of 64 bytes;
the tensors of every graph's inputs and outputs; those of every step's inputs and outputs, -1 for an absent one.
`csrc/formats/plan_table.h` tells what of it is checked.

Everything is checked before the first instruction is built, and again by the kernels' own validation when it is;
nothing in a plan is executed.
"""

from __future__ import annotations

import os

from planish import _core
from planish.errors import PlanError, first_line
from planish.lowering.lowered import Lowered
from planish.plan.exporting import export
from planish.plan.reader import read
from planish.plan.sections import MAGIC, split

__all__ = ["export", "is_plan", "load"]


def is_plan(source: object) -> bool:
    """Whether the source is a plan: by its first bytes, or by the ending of a path that holds something else."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[:8]) == MAGIC
    if not isinstance(source, (str, os.PathLike)):
        return False
    if os.fspath(source).endswith(".plan"):
        return True
    try:
        with open(source, "rb") as file:
            return file.read(8) == MAGIC
    except OSError:
        return False


def load(source: str | os.PathLike[str] | bytes) -> Lowered:
    """The lowered model of a plan; weights stay in the mapped file. Raises PlanError with the reason and the remedy."""
    if isinstance(source, (str, os.PathLike)):
        where = os.fspath(source)
        memory = _core.Memory.map_file(where)
    else:
        where, memory = "plan", _core.Memory.copy_of(source)
    try:
        return read(where, split(where, memory))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise PlanError(f"{where}: the plan's contents are malformed ({first_line(error)}); export it again") from error
