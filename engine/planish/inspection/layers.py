"""Instructions of a Program, joined with the steps they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from planish.inspection.macs import count_macs
from planish.inspection.result import LayerFacts
from planish.inspection.weights import weight_facts
from planish.lowering.lowered import ABSENT, Lowered, Packed, Step
from planish.runtime.specialise import OUTSIDE, Segment
from planish.steps.kind import Fact

Facts = Mapping[int, Fact]
#: Families that a step may put in front of its own instruction, to bring operands into place.
_MOVING = ("copy", "fill")


def list_layers(lowered: Lowered, segments: Sequence[Segment]) -> list[LayerFacts]:
    """Every instruction, and every step between Programs, in order of execution."""
    facts: dict[int, Fact] = {}
    for segment in segments:
        facts.update(segment.facts)
    waiting: defaultdict[str, list[Step]] = defaultdict(list)
    for each in lowered.walk():
        waiting[each.name].append(each)
    notes = _notes_by_step(lowered)
    layers = []
    for segment in segments:
        for label, family, kernel, reason in segment.program.steps:
            layer = LayerFacts(label, family, kernel=kernel, reason=reason)
            step = _take(waiting[label], family)
            layers.append(layer if step is None else _of_step(layer, step, lowered, facts, notes))
        if segment.outside is not None:
            layers.append(_outside(segment.outside, facts))
    return layers


def list_steps(lowered: Lowered) -> list[LayerFacts]:
    """Every step as it was lowered, for a model whose shapes or kernels cannot be settled."""
    notes = _notes_by_step(lowered)
    return [
        _outside(step, {})
        if step.kind in OUTSIDE
        else _of_step(LayerFacts(step.name, step.kind), step, lowered, {}, notes)
        for step in lowered.walk()
    ]


def _take(steps: list[Step], family: str) -> Step | None:
    """The step behind an instruction, each once: of the same family, else the first for what computes."""
    for step in steps:
        if step.attrs.get("family", step.attrs.get("cell", step.kind)) == family:
            steps.remove(step)
            return step
    return steps.pop(0) if steps and family not in _MOVING else None


def _of_step(
    layer: LayerFacts, step: Step, lowered: Lowered, facts: Facts, notes: Mapping[str, list[str]]
) -> LayerFacts:
    """The layer with what its step tells; without facts, there are no shapes and no MACs."""
    return replace(
        layer,
        op=layer.op if layer.op not in _MOVING else step.kind,
        inputs=_shapes((t for t in step.inputs if t not in lowered.constants), facts),
        outputs=_shapes(step.outputs, facts),
        macs=count_macs(step, facts) if facts else 0,
        weights=weight_facts(step, lowered.constants),
        notes=tuple(notes.get(layer.name, ())),
        reads=tuple(t for t in step.inputs if t != ABSENT and t not in lowered.constants),
        makes=step.outputs,
    )


def _outside(step: Step, facts: Facts) -> LayerFacts:
    """A step between two Programs: of the fallback, or control flow, which iterates over Programs of its own."""
    native = step.kind != "onnx"
    return LayerFacts(
        name=step.name,
        op=step.kind if native else str(step.attrs["op"]),
        inputs=_shapes(step.inputs, facts),
        outputs=_shapes(step.outputs, facts),
        kernel="executor" if native else "onnx.reference",
        reason=str(step.attrs.get("reason", "")),
        native=native,
        reads=tuple(t for t in step.inputs if t != ABSENT),
        makes=step.outputs,
    )


def _shapes(tensors: Iterable[int], facts: Facts) -> tuple[str, ...]:
    known = (facts.get(t) for t in tensors if t != ABSENT)
    return tuple(f"{f.dtype}[{','.join(map(str, f.shape))}]" for f in known if f is not None)


def _notes_by_step(lowered: Lowered) -> dict[str, list[str]]:
    """Notes of the lowering begin with the layer they speak of."""
    notes: dict[str, list[str]] = {}
    for note in lowered.notes:
        name, colon, text = note.partition(": ")
        if colon:
            notes.setdefault(name, []).append(text)
    return notes


def constant_bytes(lowered: Lowered) -> tuple[int, int]:
    """(all constants, those packed for a kernel), in bytes."""
    packed = sum(len(value.memory) for value in lowered.constants.values() if isinstance(value, Packed))
    plain = sum(value.nbytes for value in lowered.constants.values() if not isinstance(value, Packed))
    return packed + plain, packed
