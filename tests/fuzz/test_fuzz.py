"""A short run of every fuzzing target; docs/fuzzing.md tells how to run them for longer, and under sanitizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.case import Case, Reach, Rng
from tests.fuzz.harness import Limits, fuzz

pytestmark = pytest.mark.filterwarnings("ignore")  # NumPy's, about numbers that are meant to be wild

#: Cases, and what share of them must pass a stage: mutants that nothing accepts test the first check alone.
SHORT = {
    "models": (100, {"checker passed": 0.5, "reached lowering": 0.5, "ran": 0.2}),
    "plans": (1000, {"sound checksums": 0.5, "loaded": 0.25, "ran": 0.1}),
    "recipes": (150, {"parsed": 0.1}),
    "graphs": (50, {"native": 0.8, "compared": 0.9}),
    "shapes": (300, {"ran": 0.25}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_clear_errors(name: str, tmp_path: Path) -> None:
    count, shares = SHORT[name]
    result = fuzz(TARGETS[name](), 0, Limits(tmp_path, count=count))
    assert not result.findings, str(result)
    assert result.cases == count
    for stage, share in shares.items():
        assert result.stages[stage] >= share * count, str(result)


class Bad:
    """A target with much that can be found, three cases in sixteen."""

    name = "bad"
    stages = ("started",)

    def make(self, rng: Rng) -> Case:
        return Case(b"the case", ".bin", "a note", {"number": int(rng.integers(1 << 30))})

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        import os
        import signal

        reach("started")
        kind = case.extra["number"] % 16
        if kind == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == 1:
            raise ZeroDivisionError("a finding")
        while kind == 2:
            pass


def test_the_harness_survives_and_records_what_it_looks_for(tmp_path: Path) -> None:
    result = fuzz(Bad(), 0, Limits(tmp_path, count=100, jobs=2, seconds_a_case=0.1))
    kinds: dict[str, Any] = {s.split(":")[0]: n for s, n in result.findings.items()}
    assert set(kinds) == {"crash", "ZeroDivisionError", "TooSlow"}
    assert result.stages["started"] == 100
    assert any(p.read_bytes() == b"the case" for p in tmp_path.glob("bad-*.bin"))
