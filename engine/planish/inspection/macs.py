"""Multiply-accumulates of a step at known shapes; zeros in pruned weights are counted like other weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from planish.lowering.lowered import Step
from planish.steps.kind import Fact

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def count_macs(step: Step, facts: Mapping[int, Fact]) -> int:
    """Zero for steps that do not multiply matrices."""
    if step.kind == "conv":
        return _conv(step, facts)
    if step.kind == "gemm":
        return math.prod(facts[step.outputs[0]].shape) * int(step.attrs["K"])
    if step.kind == "matmul":
        depth = facts[step.inputs[0]].shape[-2 if step.attrs.get("trans_a") else -1]
        return math.prod(facts[step.outputs[0]].shape) * depth
    if step.kind == "recurrent":
        time, batch, width = facts[step.inputs[0]].shape
        hidden = int(step.attrs["hidden"])
        return time * batch * _GATES[step.attrs["cell"]] * hidden * (width + hidden)
    return 0


def _conv(step: Step, facts: Mapping[int, Fact]) -> int:
    """A window's products at every output pixel; for a transposed convolution, at every input pixel."""
    a = step.attrs
    shape = facts[step.inputs[0] if a.get("transposed") else step.outputs[0]].shape
    pixels = shape[0] * math.prod(shape[2:])
    return pixels * int(a["N"]) * (int(a["C"]) // int(a.get("groups", 1))) * math.prod(a["kernel"])
