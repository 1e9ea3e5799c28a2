"""`inspect_model`: load a model, specialise it for one set of shapes, and tell what would happen."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planish import _core
from planish.errors import PlanishError, UsageError
from planish.inspection.layers import constant_bytes, list_layers, list_steps
from planish.inspection.result import Inspection, Operator, Source, TensorFacts
from planish.lowering.lowered import Lowered, Port
from planish.measure.contestant import InputSpec
from planish.measure.inputs import random_feeds
from planish.plan import is_plan
from planish.runtime.executor import fallback_steps, unknown_operators
from planish.session import InferenceSession, SessionOptions


class _Session(InferenceSession):
    """Loads a model that cannot run, too."""

    def _refuse_unknown_operators(self) -> None:
        pass


def inspect_model(
    path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]] | None = None, threads: int = 0
) -> Inspection:
    """Inspect an `.onnx` or `.plan` file. `shapes` gives input shapes by name; other sizes are assumed.

    A model whose operators are all native is not run. Otherwise it runs once on made-up inputs, because the shapes
    behind a fallback are known only then. `problems` lists every node that cannot run, or why the run failed.
    Raises what loading the model raises, and UsageError for shapes that do not fit.
    """
    where = os.fspath(path)
    source, loadable = (None, where) if is_plan(path) else _load_source(where)
    session = _Session(loadable, SessionOptions(intra_op_num_threads=threads))
    lowered = session.lowered
    resident, packed = constant_bytes(lowered)
    found = Inspection(
        path=where,
        file_bytes=os.path.getsize(where),
        isa=_core.best_isa(),
        threads=threads or _core.default_threads(),
        inputs=[_tensor(p) for p in lowered.inputs],
        outputs=[_tensor(p) for p in lowered.outputs],
        source=source,
        operators=_operators(source, lowered),
        resident=resident,
        packed=packed,
        notes=list(lowered.notes),
    )
    _specialise(found, session, shapes or {})
    return found


def _load_source(where: str) -> tuple[Source, Any]:
    """The model's own facts, and the loaded model, which a session takes over."""
    from planish.importing import load_model
    from planish.inspection.source import read_source

    model = load_model(where)
    return read_source(model), model


def _tensor(port: Port) -> TensorFacts:
    return TensorFacts(port.name, port.dtype, port.shape)


def _operators(source: Source | None, lowered: Lowered) -> list[Operator]:
    """Operators of the file, or for a plan those that fall back, with the reasons."""
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for step in fallback_steps(lowered):
        reasons[step.attrs["op"]][str(step.attrs.get("reason", ""))] += 1
    counts = Counter(source.operators if source is not None else ())
    for op, why in reasons.items():
        counts[op] = max(counts[op], why.total())
    return [Operator(op, count, reasons[op].total(), tuple(reasons[op])) for op, count in counts.most_common()]


def _specialise(found: Inspection, session: InferenceSession, shapes: Mapping[str, Sequence[int]]) -> None:
    """Fill in what depends on shapes, or the steps alone where there are problems."""
    lowered = session.lowered
    found.problems = list(unknown_operators(lowered))
    if found.problems:
        found.layers = list_steps(lowered)
        return
    specs = [InputSpec(p.name, p.shape or (), f"tensor({p.dtype})") for p in lowered.inputs]
    try:
        feeds, assumed = random_feeds(specs, shapes=shapes)
        found.notes += assumed
        arrays = {port.tensor: np.ascontiguousarray(feeds[port.name]) for port in lowered.inputs}
        segments = session.executor.segments(arrays)
    except UsageError:
        raise
    except PlanishError as error:
        found.problems = [str(error)]
        found.layers = list_steps(lowered)
        return
    found.layers = list_layers(lowered, segments)
    busy = {layer.makes for layer in found.layers}
    found.free_steps = sum(step.outputs not in busy for step in lowered.walk())
    found.arena = max(segment.program.arena_bytes for segment in segments)
    found.tensors = sum(segment.program.total_bytes for segment in segments)
