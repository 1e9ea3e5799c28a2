"""Time per step of a model in planish."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planish.measure.contestant import InputSpec
from planish.measure.inputs import Feeds, Shapes, random_feeds, read_feeds
from planish.session import InferenceSession, SessionOptions
from planish.tuning import Place, survey

_WARM_UP = 3
_MOST_RUNS = 500


@dataclass(frozen=True)
class StepTime:
    """One instruction or fallback call: its median time in seconds, its share of the sum, and why this kernel.

    declined: the other kernels that could run it, and their times as multiples of the chosen one's, least first.
    """

    label: str
    family: str
    kernel: str
    reason: str
    seconds: float
    share: float
    declined: tuple[tuple[str, float], ...] = ()


def profile(
    path: Path,
    *,
    feeds: str | None = None,
    shapes: Shapes | None = None,
    seed: int = 0,
    threads: int = 0,
    seconds: float = 1.0,
) -> list[StepTime]:
    """Run a model for about `seconds` with timing on, and take each step's median. Steps are in order of execution.

    feeds: an .npz of samples, of which the first is used; None makes one up. Raises what loading and running raise.
    """
    options = SessionOptions(intra_op_num_threads=threads, enable_profiling=True)
    session = InferenceSession(path, options)
    specs = [InputSpec(i.name, tuple(i.shape), i.type) for i in session.get_inputs()]
    feed = read_feeds(feeds, specs)[0] if feeds else random_feeds(specs, shapes=shapes, seed=seed)[0]
    end = time.perf_counter() + seconds
    while len(session.profile()) < _MOST_RUNS and (len(session.profile()) < 2 * _WARM_UP or time.perf_counter() < end):
        session.run(None, feed)
    runs = session.profile()[_WARM_UP:]
    medians = np.median([[step.nanoseconds for step in run] for run in runs], axis=0) / 1e9
    reasons = _reasons(session, feed)
    declined = _declined(session, feed)
    total = float(medians.sum()) or 1.0
    return [
        StepTime(
            step.label,
            step.family,
            step.kernel,
            reason,
            float(spent),
            float(spent) / total,
            declined.get((step.label, step.family), ()),
        )
        for step, reason, spent in zip(runs[0], reasons, medians, strict=True)
    ]


def _declined(session: InferenceSession, feed: Feeds) -> dict[Place, tuple[tuple[str, float], ...]]:
    """By step and family: the kernels that were not chosen, with their times over the chosen one's."""
    arrays = {port.tensor: np.ascontiguousarray(feed[port.name]) for port in session.lowered.inputs}
    found = survey(session.lowered, arrays, session.executor.settings)
    ratios: dict[Place, tuple[tuple[str, float], ...]] = {}
    for place, times in found.times.items():
        chosen = found.chosen[place]
        others = [(kernel, spent / max(1, times[chosen])) for kernel, spent in times.items() if kernel != chosen]
        ratios[place] = tuple(sorted(others, key=lambda other: other[1]))
    return ratios


def _reasons(session: InferenceSession, feed: Feeds) -> list[str]:
    """Why each step runs as it does, in order of execution."""
    arrays = {port.tensor: np.ascontiguousarray(feed[port.name]) for port in session.lowered.inputs}
    segments = session.executor.segments(arrays)
    reasons: list[str] = []
    for segment in segments:
        reasons += [reason for _, _, _, reason in segment.program.steps]
        if segment.outside is not None:
            reasons.append(str(segment.outside.attrs.get("reason", "")))
    return reasons
