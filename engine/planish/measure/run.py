"""The measurement: start the contestants, verify their outputs, time them in alternating blocks."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from planish.errors import InputError, ModelError, UsageError
from planish.machine import cpu_name
from planish.measure.contestant import Contestant, InputSpec
from planish.measure.inputs import Array, Feeds, Shapes, random_feeds, read_feeds
from planish.measure.model_size import model_bytes
from planish.measure.process import WorkerProcess
from planish.measure.result import ContestantResult, Measurement
from planish.measure.statistics import Agreement, agreement, median_interval

BLOCK_SECONDS = 0.3
BLOCK_RUNS = 30
DISCARDED = 0.2
_MIN_BLOCKS = 6  # fewer give no 95 % interval of the median

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the steps done so far and the steps in all."""


@dataclass
class _Entrant:
    """A contestant with its process and what was measured of it so far."""

    contestant: Contestant
    process: WorkerProcess
    loaded: dict[str, Any]
    first_seconds: float = 0.0
    outputs: list[list[Array]] = field(default_factory=list)
    blocks: list[Array] = field(default_factory=list)

    @property
    def inputs(self) -> list[InputSpec]:
        return [InputSpec(name, tuple(shape), kind) for name, shape, kind in self.loaded["inputs"]]


def measure(
    contestants: Sequence[Contestant],
    *,
    feeds: Sequence[Feeds] | str | Path | None = None,
    shapes: Shapes | None = None,
    seed: int = 0,
    threads: int = 0,
    seconds: float = 3.0,
    block_runs: int = BLOCK_RUNS,
    baseline: str | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """Time models side by side.

    Every contestant has a process of its own, pinned to the same CPUs, with the same number of threads (0: all that
    this process may use). Its outputs are compared with the first contestant's on all feeds; then blocks of at least
    0.3 s and `block_runs` runs alternate between the contestants, the first fifth of each block discarded, until each
    has been timed for `seconds`, and for at least 6 blocks.

    feeds: inputs by name, run in turn; or a .npz file (`read_feeds`); None makes them up (`random_feeds` with `shapes`
    and `seed`). baseline: the name of the contestant that the others' speed is compared with; the first if None.

    Raises UsageError (an engine that is not installed, too many threads, unknown names), ModelError, PlanError,
    InputError, or PlanishError where a contestant's process dies. Whatever is raised, all processes are killed.
    """
    _check(contestants, baseline, seconds)
    cpus = _choose_cpus(threads)
    sizes = [model_bytes(contestant.path) for contestant in contestants]
    blocks = max(_MIN_BLOCKS, math.ceil(seconds / BLOCK_SECONDS))
    report = _Steps(progress, len(contestants) * (2 + blocks))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planish-measure-")))
        entrants = [_start(contestant, cpus, stack, report) for contestant in contestants]
        inputs = entrants[0].inputs
        if feeds is None:
            made_up, notes = random_feeds(inputs, shapes=shapes, seed=seed)
            feeds = [made_up]
        else:
            feeds, notes = (read_feeds(feeds, inputs) if isinstance(feeds, (str, Path)) else feeds), []
        agreements = _verify(entrants, feeds, folder, report)
        _alternate(entrants, blocks, block_runs, report)
        peaks = [entrant.process.ask("memory")["peak_bytes"] for entrant in entrants]

    reference = next((e for e in entrants if e.contestant.name == baseline), entrants[0])
    return Measurement(
        contestants=tuple(
            _row(entrant, size, peak, agreed, reference)
            for entrant, size, peak, agreed in zip(entrants, sizes, peaks, agreements, strict=True)
        ),
        baseline=reference.contestant.name,
        machine=cpu_name(),
        threads=len(cpus),
        cpus=tuple(cpus),
        feeds=len(feeds),
        block_seconds=BLOCK_SECONDS,
        notes=tuple(notes),
    )


class _Steps:
    """Counts steps for the caller's progress."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, what: str) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(what, self._done, self._total)


def _check(contestants: Sequence[Contestant], baseline: str | None, seconds: float) -> None:
    names = [contestant.name for contestant in contestants]
    if not names:
        raise UsageError("bench: nothing to measure; give a model")
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"contestant '{repeated}': given twice; give different names")
    if baseline is not None and baseline not in names:
        raise UsageError(f"baseline '{baseline}': not among the contestants; choose one of {', '.join(names)}")
    if not 0 < seconds < math.inf:
        raise UsageError(f"--seconds {seconds}: not a positive number; give the seconds a contestant is timed for")
    for contestant in contestants:
        contestant.check()


def _choose_cpus(threads: int) -> list[int]:
    allowed = sorted(os.sched_getaffinity(0))
    if not 0 <= threads <= len(allowed):
        raise UsageError(f"--threads {threads}: this process may use {len(allowed)} CPUs; give 1 to {len(allowed)}")
    return allowed[: threads or len(allowed)]


def _start(contestant: Contestant, cpus: list[int], stack: contextlib.ExitStack, report: _Steps) -> _Entrant:
    process = stack.enter_context(WorkerProcess(contestant.name))
    path = str(contestant.path.resolve())
    loaded = process.ask("load", engine=contestant.engine, path=path, threads=len(cpus), cpus=cpus)
    report(f"load {contestant.name}")
    return _Entrant(contestant, process, loaded)


def _verify(
    entrants: Sequence[_Entrant], feeds: Sequence[Feeds], folder: Path, report: _Steps
) -> list[Agreement | None]:
    """Run every feed once in every process; the first contestant's outputs are the reference."""
    feed_files = [str(folder / f"feed{index}.npz") for index in range(len(feeds))]
    for name, feed in zip(feed_files, feeds, strict=True):
        np.savez(name, allow_pickle=False, **feed)
    reference = entrants[0]
    for number, entrant in enumerate(entrants):
        name = entrant.contestant.name
        if {spec.name for spec in entrant.inputs} != {spec.name for spec in reference.inputs}:
            ours, theirs = (", ".join(spec.name for spec in e.inputs) for e in (entrant, reference))
            raise InputError(
                f"contestant '{name}': takes {ours}, but '{reference.contestant.name}' {theirs}; measure alike models"
            )
        output_files = [str(folder / f"output{number}.{index}.npz") for index in range(len(feeds))]
        entrant.first_seconds = entrant.process.ask("feed", feeds=feed_files, outputs=output_files)["first_seconds"]
        entrant.outputs = [_read_outputs(Path(file)) for file in output_files]
        _check_outputs(entrant, reference)
        report(f"verify {name}")
    return [None, *(agreement(entrant.outputs, reference.outputs) for entrant in entrants[1:])]


def _read_outputs(path: Path) -> list[Array]:
    with np.load(path, allow_pickle=False) as stored:
        return [stored[f"arr_{index}"] for index in range(len(stored.files))]


def _check_outputs(entrant: _Entrant, reference: _Entrant) -> None:
    """Outputs must have the reference's shapes, and be finite exactly where the reference's are."""
    name, names = entrant.contestant.name, entrant.loaded["outputs"]
    for ours, theirs in zip(entrant.outputs, reference.outputs, strict=True):
        if len(ours) != len(theirs):
            raise ModelError(f"contestant '{name}': {len(ours)} outputs, expected {len(theirs)}; measure alike models")
        for output, y, r in zip(names, ours, theirs, strict=True):
            if y.shape != r.shape:
                raise ModelError(
                    f"contestant '{name}': output '{output}' is {list(y.shape)}, expected {list(r.shape)}; "
                    "measure alike models"
                )
            if np.any(np.isfinite(r) != np.isfinite(y)):
                raise ModelError(
                    f"contestant '{name}': output '{output}' is not finite where the reference is, or the other way; "
                    "compare the models layer by layer"
                )


def _alternate(entrants: Sequence[_Entrant], blocks: int, runs: int, report: _Steps) -> None:
    """Each round gives every contestant a block; rounds start with different contestants."""
    for block in range(blocks):
        for offset in range(len(entrants)):
            entrant = entrants[(block + offset) % len(entrants)]
            reply = entrant.process.ask("block", seconds=BLOCK_SECONDS, runs=runs)
            latencies = np.array(reply["nanoseconds"], dtype=np.float64) * 1e-9
            entrant.blocks.append(latencies[int(DISCARDED * len(latencies)) :])
            report(f"block {block + 1} of {blocks}: {entrant.contestant.name}")


def _row(
    entrant: _Entrant, file_bytes: int, peak_bytes: int, agreed: Agreement | None, baseline: _Entrant
) -> ContestantResult:
    kept = np.concatenate(entrant.blocks)
    p50, p90, p99 = (float(p) for p in np.percentile(kept, (50, 90, 99)))
    medians = [float(np.median(block)) for block in entrant.blocks]
    ratios = [float(np.median(theirs)) / ours for theirs, ours in zip(baseline.blocks, medians, strict=True)]
    return ContestantResult(
        name=entrant.contestant.name,
        engine=entrant.contestant.engine,
        version=entrant.loaded["version"],
        path=entrant.contestant.path.name,
        file_bytes=file_bytes,
        load_seconds=entrant.loaded["load_seconds"],
        first_seconds=entrant.first_seconds,
        p50=p50,
        p90=p90,
        p99=p99,
        per_second=float(1 / kept.mean()),
        peak_bytes=peak_bytes,
        agreement=agreed,
        speedup=None if entrant is baseline else median_interval(ratios),
        runs=len(kept),
        block_medians=tuple(medians),
    )
