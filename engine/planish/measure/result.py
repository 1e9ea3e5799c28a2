"""What a measurement found. Times are seconds, sizes bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from planish.measure.statistics import Agreement, Interval


@dataclass(frozen=True)
class ContestantResult:
    """One row: a model file in an engine.

    load_seconds: making the session, the engine's import left out; first_seconds: the first run after it.
    p50, p90, p99: latency percentiles of the kept runs; per_second: runs a second.
    peak_bytes: the most resident memory of its process, Python and the engine included.
    agreement: of its outputs with the first contestant's; None for the first itself.
    speedup: the baseline's latency over its own, paired by block (2 is twice as fast); None for the baseline itself.
    block_medians: the median latency of each block, in order.
    """

    name: str
    engine: str
    version: str
    path: str
    file_bytes: int
    load_seconds: float
    first_seconds: float
    p50: float
    p90: float
    p99: float
    per_second: float
    peak_bytes: int
    agreement: Agreement | None
    speedup: Interval | None
    runs: int
    block_medians: tuple[float, ...]


@dataclass(frozen=True)
class Measurement:
    """All rows, in the order the contestants were given, and the conditions that held for every one."""

    contestants: tuple[ContestantResult, ...]
    baseline: str
    machine: str
    threads: int
    cpus: tuple[int, ...]
    feeds: int
    block_seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers, named as the fields."""
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def __getitem__(self, name: str) -> ContestantResult:
        """The row of the contestant called `name`; KeyError without one."""
        for row in self.contestants:
            if row.name == name:
                return row
        raise KeyError(name)
