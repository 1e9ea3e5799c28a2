"""Control flow and sequences. These steps never become instructions: specialisation inlines an If, the executor runs
the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planish.steps.kind import Fact, Facts, Kind, register

if TYPE_CHECKING:
    from planish.lowering.lowered import Step
    from planish.runtime.emitter import Emitter


class Control(Kind):
    """Attribute branches holds the lowered graphs."""

    def infer(self, step: Step, facts: Facts) -> list[Fact]:
        raise AssertionError("control flow is no part of a Program")

    def emit(self, step: Step, e: Emitter) -> None:
        raise AssertionError("control flow is no part of a Program")


@register
class If(Control):
    """ONNX If: the then and else graphs, of which one is inlined once the condition is known."""

    name = "if"


@register
class Loop(Control):
    """ONNX Loop: inputs are the trip count and the condition (each may be ABSENT), the states, what the body captures.

    The body takes the iteration number, the condition and the states, and gives the condition, the states and a piece
    of every scan output.
    """

    name = "loop"


@register
class Scan(Control):
    """ONNX Scan, opset 9: inputs are the states, the scan inputs (attribute scans: how many), what the body captures.

    Attributes input_axes, input_directions, output_axes, output_directions: as scan_… of ONNX, or empty.
    """

    name = "scan"


@register
class SequenceMap(Control):
    """ONNX SequenceMap: inputs are a sequence, further sequences or tensors, and what the body captures."""

    name = "sequence_map"


@register
class Sequence(Control):
    """An operator on sequences and optionals, attribute op: its name in ONNX; see runtime/sequences.py."""

    name = "sequence"
