"""What a fuzzing target is: it makes a case from random numbers alone, and runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

import planish

Rng = np.random.Generator
Reach = Callable[[str], None]

#: Budgets of the sessions under test: what a service that takes strangers' models would set, on a small machine.
BYTE_BUDGET = 64 << 20
STEP_BUDGET = 1 << 26
LOOP_BUDGET = 1 << 32


class WrongResult(Exception):
    """Two ways of computing the same disagree: a finding."""


@dataclass
class Case:
    """One input of the program under test: the bytes of a file, and what else it takes to run it again."""

    data: bytes
    suffix: str
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class Target(Protocol):
    """A kind of input that is fuzzed."""

    name: str
    #: What `run` reports with `reach`, in the order in which a case passes it.
    stages: tuple[str, ...]

    def make(self, rng: Rng) -> Case:
        """A case; the same numbers give the same case."""
        ...

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        """Runs a case. PlanishError is a good answer; whatever else is raised is a finding."""
        ...


def rng_of(target: str, seed: int, number: int) -> Rng:
    """The random numbers of case `number`."""
    return np.random.default_rng([*target.encode(), seed, number])


def options(**more: Any) -> planish.SessionOptions:
    """Single-threaded sessions with small budgets."""
    budgets = {"byte_budget": BYTE_BUDGET, "step_budget": STEP_BUDGET, "loop_budget": LOOP_BUDGET}
    return planish.SessionOptions(intra_op_num_threads=1, **budgets, **more)


def pick(rng: Rng, items: Any) -> Any:
    """One of `items`."""
    return items[int(rng.integers(len(items)))]


def chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)
