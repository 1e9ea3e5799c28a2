"""`planish.export`: a model, compiled ahead of time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from planish import _core
from planish.errors import PlanError, UsageError
from planish.files import atomic_writer
from planish.lowering.lowered import Port
from planish.plan.writer import serialise

if TYPE_CHECKING:
    from planish.session import InferenceSession


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
    pieces = serialise(lowered, list(isa), dict(shapes or {}))
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
