"""Fusion on steps: clamps and residual adds ride in the epilogue of the convolution or product before them.

An inner value is fused only if it has one consumer and is no output.
"""

from __future__ import annotations

from collections import Counter

from planish.lowering.lowered import ABSENT, Lowered, Step

_ANCHORS = ("conv", "gemm")
_RESIDUAL = 5


def fuse(lowered: Lowered) -> None:
    """Applies both fusions to the graph and to the branches of its control flow."""
    for step in list(lowered.walk()):
        for branch in step.attrs.get("branches", ()):
            _fuse_steps(branch, _uses(lowered))
    _fuse_steps(lowered, _uses(lowered))


def _uses(lowered: Lowered) -> Counter[int]:
    """How often each tensor is read, in all nested graphs; graph outputs count."""
    uses = Counter(p.tensor for p in lowered.outputs)
    for step in lowered.walk():
        uses.update(step.inputs)
        for branch in step.attrs.get("branches", ()):
            uses.update(p.tensor for p in branch.outputs)
    return uses


def _fuse_steps(graph: Lowered, uses: Counter[int]) -> None:
    made: dict[int, Step] = {}
    kept: list[Step] = []
    for step in graph.steps:
        anchor = _fused(step, made, uses)
        if anchor is None:
            kept.append(step)
            anchor = step
        elif step.kind == "binary":  # the residual may be younger than the anchor: the anchor moves here
            kept.remove(anchor)
            kept.append(anchor)
        made.update((t, anchor) for t in anchor.outputs)
    graph.steps[:] = kept


def _fused(step: Step, made: dict[int, Step], uses: Counter[int]) -> Step | None:
    """The anchor that has taken the step over, or None."""
    if step.kind == "unary" and step.attrs["op"] in ("relu", "clip"):
        anchor = _open_anchor(step.inputs[0], made, uses)
        if anchor is None or "lo" in anchor.attrs:
            return None
        anchor.attrs["lo"] = step.attrs.get("lo", 0.0)
        anchor.attrs["hi"] = step.attrs.get("hi", float("inf"))
    elif step.kind == "binary" and step.attrs["op"] == "add":
        anchor = _take_residual(step, made, uses)
        if anchor is None:
            return None
    else:
        return None
    anchor.outputs = step.outputs
    return anchor


def _open_anchor(tensor: int, made: dict[int, Step], uses: Counter[int]) -> Step | None:
    """The float anchor whose only consumer is the step at hand."""
    anchor = made.get(tensor)
    fits = anchor is not None and anchor.kind in _ANCHORS and anchor.attrs["dtype"] == "float32" and uses[tensor] == 1
    return anchor if fits else None


def _take_residual(step: Step, made: dict[int, Step], uses: Counter[int]) -> Step | None:
    for mine, other in (step.inputs, step.inputs[::-1]):
        anchor = _open_anchor(mine, made, uses)
        # Only full tensors ride along; a constant addend is a bias or a broadcast.
        if (
            anchor is None
            or "lo" in anchor.attrs
            or len(anchor.inputs) > _RESIDUAL
            or other not in made
            or mine == other
        ):
            continue
        if "x_zero" in anchor.attrs or anchor.attrs["family"] == "dwconv":
            continue
        padding = (ABSENT,) * (_RESIDUAL - len(anchor.inputs))
        anchor.inputs = (*anchor.inputs, *padding, other)
        return anchor
    return None
