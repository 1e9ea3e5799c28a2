"""Reads the sections of a plan into a lowered model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import PlanError, PlanishError
from planish.lowering.lowered import ABSENT, Lowered, Packed, Port, Step, captured_by
from planish.plan.sections import CONSTANTS, MANIFEST, TABLE
from planish.plan.writer import FORMATS
from planish.runtime.control import fits_body
from planish.runtime.view import numpy_dtype
from planish.steps import KINDS

Array = npt.NDArray[Any]
_CONTROL = ("if", "loop", "scan", "sequence_map")


def read(where: str, sections: Mapping[int, _core.Memory]) -> Lowered:
    """The lowered model; constants share their section's memory.

    Raises PlanError where a number is out of range, and for contents of wrong types or lengths whatever they lead to.
    """
    manifest = json.loads(str(sections[MANIFEST], "utf-8"))
    reader = _Reader(where, manifest)
    reader.check_isa()
    table = _core.Memory.copy_of(sections[TABLE])  # what was checked must not change
    dtypes, formats = reader.dtypes(), reader.formats()
    try:
        parts = _core.read_plan(table, sections[CONSTANTS], manifest, dtypes, formats, Step, Packed)
    except PlanishError as error:
        raise PlanError(f"{where}: {error}") from None
    return reader.read(*parts)


class _Reader:
    """Turns a manifest, and the columns of a table that were checked, into a Lowered."""

    def __init__(self, where: str, manifest: dict[str, Any]) -> None:
        self.where = where
        self.manifest = manifest
        self.lowered = Lowered(notes=[str(n) for n in manifest["notes"]])

    def damaged(self, what: str) -> PlanError:
        return PlanError(f"{self.where}: {what} is out of range; the plan is damaged, export it again")

    def read(
        self,
        graphs: list[tuple[int, int, int]],
        steps: list[Step],
        nested: list[int],
        ports: tuple[int, ...],
        constants: dict[int, Array | Packed],
    ) -> Lowered:
        """Takes what _core.read_plan gives."""
        lowered = self.lowered
        lowered.names, lowered.constants = [""] * self.manifest["tensors"], constants
        lowered.defaults = [self.port(entry, 0) for entry in self.manifest["defaults"]]
        self.check_operations(steps)
        self.steps = zip(steps, nested, strict=True)
        self.graphs = zip(graphs, self.manifest["graphs"], strict=True)
        self.ports = iter(ports)
        self.fill(lowered)
        if len({p.name for p in lowered.inputs}) < len(lowered.inputs):
            raise self.damaged("an input's name")
        if any(isinstance(constants.get(p.tensor), Packed) for p in lowered.outputs):
            raise self.damaged("an output")
        return lowered

    def check_isa(self) -> None:
        isas = [str(n) for n in self.manifest["isas"]]
        usable = _core.usable_isas()
        if isas and not set(isas) & set(usable):
            raise PlanError(
                f"{self.where}: made for {', '.join(isas)}, which this machine lacks (it has {', '.join(usable)}); "
                f"export with --isa {usable[-1]}"
            )

    def formats(self) -> dict[str, bool]:
        """Those of packed weights, and whether the weights are copied: what becomes an address must not change once it
        was validated."""
        for form, version in self.manifest["formats"].items():
            if FORMATS.get(form) != version:
                raise PlanError(
                    f"{self.where}: weights packed as {form} version {version}, which this planish does not read; "
                    "export it again"
                )
        return {form: form.startswith(("csr", "block")) for form in self.manifest["formats"]}

    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """Those of arrays, by name."""
        names = {name for name, *_ in self.manifest["types"]}
        return {name: numpy_dtype(name) for name in names.intersection(_core.DTYPES)}

    def check_operations(self, steps: list[Step]) -> None:
        """Refuses kinds that there are not, attributes that are not of the file, and what the fallback would trust."""
        if any(name.startswith("_") or name == "branches" for name, _ in self.manifest["attributes"]):
            raise self.damaged("an attribute's name")
        unknown = {kind for kind, *_ in self.manifest["operations"]} - KINDS.keys()
        if "onnx" in unknown:
            unknown.remove("onnx")
            for step in steps:
                if step.kind == "onnx":
                    self.check_fallback(step)
        if unknown:
            raise PlanError(
                f"{self.where}: steps of unknown kind '{min(unknown)}'; the plan is of another version, export it again"
            )

    def check_fallback(self, step: Step) -> None:
        attrs = step.attrs
        texts = [attrs["node"], attrs["op"], *attrs["captured"]]
        if not isinstance(attrs["opset"], int) or not all(isinstance(text, str) for text in texts):
            raise self.damaged(f"an attribute of step '{step.name}'")
        if any(isinstance(self.lowered.constants.get(tensor), Packed) for tensor in step.inputs):
            raise self.damaged(f"an input of step '{step.name}'")

    # -- graphs --------------------------------------------------------------------------------------------------------

    def fill(self, graph: Lowered) -> None:
        """Gives a graph its ports and steps: those that come next."""
        (inputs, outputs, count), (taken, given) = next(self.graphs)
        graph.inputs = [self.port(*port) for port in zip(taken, islice(self.ports, inputs), strict=True)]
        graph.outputs = [self.port(*port) for port in zip(given, islice(self.ports, outputs), strict=True)]
        for step, nested in islice(self.steps, count):
            if nested or step.kind in _CONTROL:
                step.attrs["branches"] = [self.nested_graph() for _ in range(nested)]
                if not self.is_sound(step):
                    raise self.damaged(f"step '{step.name}'")
            graph.steps.append(step)

    def nested_graph(self) -> Lowered:
        inner = Lowered(constants=self.lowered.constants, names=self.lowered.names)
        self.fill(inner)
        return inner

    def port(self, entry: list[Any], tensor: int) -> Port:
        name, dtype, shape, labels = entry
        if shape is not None and not _are_dims(shape):
            raise self.damaged("a shape")
        if labels and not (all(type(v) is int for v in labels) or all(isinstance(v, str) for v in labels)):
            raise self.damaged("an output's labels")
        return Port(str(name), str(dtype), None if shape is None else tuple(shape), tensor, tuple(labels))

    def is_sound(self, step: Step) -> bool:
        """Whether the graphs inside control flow have the inputs and outputs that its kind demands, and a loop's body
        reads nothing from outside that is no input of the loop."""
        branches = step.attrs["branches"]
        if step.kind == "if":
            return len(branches) == 2 and all(len(b.outputs) == len(step.outputs) and not b.inputs for b in branches)
        if step.kind not in _CONTROL or len(branches) != 1:
            return False
        captured = set(captured_by(branches[0], self.lowered.constants))
        return captured <= set(step.inputs) - {ABSENT} and fits_body(step)


def _are_dims(shape: list[Any]) -> bool:
    """Whether each is a size, the name of one, or nothing."""
    for d in shape:
        if type(d) is int:
            if d < 0:
                return False
        elif type(d) is not str and d is not None:
            return False
    return True
