"""Timing kernels on this machine: what `planish export --tune` writes into a plan and `planish bench --profile` shows.

The registry names kernels TYPES_ISA or TYPES_ISA_VARIANT, so that the alternatives to a kernel are those of its family
with the same types.
Integer results do not depend on the choice; float products may differ in their last bits.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planish import _core
from planish.errors import PlanishError
from planish.lowering.lowered import Lowered
from planish.runtime.executor import Executor, Timing
from planish.runtime.specialise import Settings

#: An instruction: the name of its step and its family.
Place = tuple[str, str]
#: An alternative must be faster than the cost model's choice by this factor.
_LEAST_GAIN = 1.03
#: Families below this share of the time keep the choice of the cost model.
_LEAST_SHARE = 0.01
_TRIAL_SECONDS = 0.2
_LEAST_RUNS, _MOST_RUNS, _WARM_UP = 5, 200, 2


@dataclass(frozen=True)
class Survey:
    """The least time, in nanoseconds, of every instruction with each kernel that is legal for it, and the cost model's
    choice. Families that hardly count have that of the choice alone."""

    chosen: dict[Place, str]
    times: dict[Place, dict[str, int]]


def tune(lowered: Lowered, feeds: Mapping[int, npt.NDArray[np.generic]], settings: Settings) -> int:
    """Try every usable kernel for the steps of `lowered` on these feeds, by tensor number, and fix the fastest ones.

    The choice goes into the steps' attribute `kernels`. Returns how many instructions run another kernel than before.
    """
    _fix(lowered, {})
    found = survey(lowered, feeds, settings)
    fixed: dict[Place, str] = {}
    for place, times in found.times.items():
        best = min(times, key=times.__getitem__)
        if times[best] * _LEAST_GAIN < times[found.chosen[place]]:
            fixed[place] = best
    _fix(lowered, fixed)
    return len(fixed)


def survey(lowered: Lowered, feeds: Mapping[int, npt.NDArray[np.generic]], settings: Settings) -> Survey:
    """Time every usable kernel for the steps of `lowered`, which is left as it was."""
    saved = {id(step): step.attrs["kernels"] for step in lowered.walk() if "kernels" in step.attrs}
    try:
        return _survey(lowered, feeds, settings)
    finally:
        _fix(lowered, {})
        for step in lowered.walk():
            if id(step) in saved:
                step.attrs["kernels"] = saved[id(step)]


def _survey(lowered: Lowered, feeds: Mapping[int, npt.NDArray[np.generic]], settings: Settings) -> Survey:
    default, chosen = _measure(lowered, feeds, settings)
    total = sum(default.values())
    times = {place: {chosen[place]: spent} for place, spent in default.items()}
    for (family, types), places in _groups(chosen).items():
        if sum(default[place] for place in places) < _LEAST_SHARE * total:
            continue
        for kernel in _alternatives(family, types):
            trial = _legal(lowered, feeds, settings, kernel, [place for place in places if chosen[place] != kernel])
            if not trial:
                continue
            _fix(lowered, dict.fromkeys(trial, kernel))
            measured, _ = _measure(lowered, feeds, settings)
            for place in trial:
                times[place][kernel] = measured[place]
    return Survey(chosen, times)


def _legal(
    lowered: Lowered,
    feeds: Mapping[int, npt.NDArray[np.generic]],
    settings: Settings,
    kernel: str,
    places: Sequence[Place],
) -> list[Place]:
    """Those of `places` where the kernel may run."""
    if not places:
        return []
    _fix(lowered, dict.fromkeys(places, kernel))
    try:
        Executor(lowered, settings).segments(feeds)
        return list(places)
    except PlanishError:
        if len(places) == 1:
            return []
    middle = len(places) // 2
    return [
        place for part in (places[:middle], places[middle:]) for place in _legal(lowered, feeds, settings, kernel, part)
    ]


def _measure(
    lowered: Lowered, feeds: Mapping[int, npt.NDArray[np.generic]], settings: Settings
) -> tuple[dict[Place, int], dict[Place, str]]:
    """The least time of each instruction in nanoseconds, and its kernel."""
    executor = Executor(lowered, settings)
    for _ in range(_WARM_UP):
        executor.run(feeds)
    runs: list[list[Timing]] = []
    end = time.perf_counter() + _TRIAL_SECONDS
    while len(runs) < _LEAST_RUNS or (len(runs) < _MOST_RUNS and time.perf_counter() < end):
        timings: list[Timing] = []
        executor.run(feeds, timings)
        runs.append(timings)
    times: defaultdict[Place, int] = defaultdict(int)
    kernels: dict[Place, str] = {}
    for steps in zip(*runs, strict=True):
        place = steps[0].label, steps[0].family
        times[place] += min(step.nanoseconds for step in steps)
        kernels[place] = steps[0].kernel
    return times, kernels


def _groups(chosen: Mapping[Place, str]) -> dict[tuple[str, str], list[Place]]:
    """Instructions that share their alternatives: by family and types."""
    types = {(family, kernel): _types_of(kernel, isa) for family, kernel, isa in _core.kernels()}
    groups: defaultdict[tuple[str, str], list[Place]] = defaultdict(list)
    for place, kernel in chosen.items():
        groups[place[1], types.get((place[1], kernel), kernel)].append(place)
    return groups


def _types_of(kernel: str, isa: str) -> str:
    return kernel.partition(f"_{isa}")[0]


def _alternatives(family: str, types: str) -> list[str]:
    """The usable kernels of a family for these types, the naive reference left out."""
    usable = _core.usable_isas()
    return [
        name
        for kind, name, isa in _core.kernels()
        if kind == family and isa in usable and name != "reference" and _types_of(name, isa) == types
    ]


def _fix(lowered: Lowered, kernels: Mapping[Place, str]) -> None:
    """Write the choice into the steps, in place of an earlier one."""
    by_label: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for (label, family), kernel in kernels.items():
        by_label[label][family] = kernel
    for step in lowered.walk():
        step.attrs.pop("kernels", None)
        if step.name in by_label:
            step.attrs["kernels"] = by_label[step.name]
