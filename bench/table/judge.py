"""From measured rows to lines of the table: ratios of medians, their spread, and whether goals are reached."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.table.limits import SAFE_PAIRS
from bench.table.works import EXACT_GOAL, FLOAT_GOAL, FLOAT_MEAN_GOAL, SAFE_PAIRS_GOAL, WORKS

Row = dict[str, Any]
Contestant = dict[str, Any]

#: Of two threads against one: the least share of what the machine's arithmetic gains.
SCALING_GOAL, SCALED = 0.85, ("ResNet-50", "BERT-base, 128 tokens")
#: The share of a model's integer products on safe pairs from which the higher goal holds.
MOSTLY = 0.9


@dataclass(frozen=True)
class Verdict:
    """A ratio with the quartiles of its paired blocks, and the least it is to be (None: no goal here)."""

    ratio: float
    low: float
    high: float
    goal: float | None

    @property
    def reached(self) -> bool:
        return self.goal is None or self.ratio >= self.goal

    def __str__(self) -> str:
        return f"{self.ratio:.2f}× ({self.low:.2f}–{self.high:.2f})"


@dataclass(frozen=True)
class Line:
    """A model in one precision: planish, the peer that is fastest, the verdict, and the share of the roofline."""

    work: str
    threads: int
    ours: Contestant
    peer: Contestant | None
    verdict: Verdict | None
    limit: float

    @property
    def share(self) -> float:
        """Of the model's limit, from 0 to 1."""
        return self.limit / float(self.ours["p50"])


def find(row: Row, engine: str, kind: str) -> Contestant | None:
    return next((c for c in row["contestants"] if (c["engine"], c["kind"]) == (engine, kind)), None)


def compare(ours: Contestant, peer: Contestant, goal: float | None) -> Verdict:
    """How much faster ours is: the ratio of the medians; the quartiles are those of paired blocks."""
    ratios = [theirs / mine for theirs, mine in zip(peer["blocks"], ours["blocks"], strict=True)]
    low, high = np.percentile(ratios, (25, 75))
    return Verdict(peer["p50"] / ours["p50"], float(low), float(high), goal)


def line(row: Row, kind: str, has_amx: bool) -> Line | None:
    """The row in `float32`, against peers in float32, or in `int8`, against peers in any precision."""
    ours = find(row, "planish", kind)
    if ours is None:
        return None
    peers = [c for c in row["contestants"] if c["engine"] != "planish" and kind in ("int8", c["kind"])]
    goal = FLOAT_GOAL if kind == "float32" else _goal(row) if has_amx else None
    peer = min(peers, key=lambda c: float(c["p50"]), default=None)
    verdict = None if peer is None else compare(ours, peer, goal)
    return Line(row["work"], row["threads"], ours, peer, verdict, row["roofline"][kind]["seconds"])


def _goal(row: Row) -> float | None:
    return next((work.goal for work in WORKS if work.name == row["work"]), None)


def against_float(row: Row) -> Verdict | None:
    """planish's int8 against planish's float32 on AVX2; the higher goal where packing proved nearly all pairs safe."""
    ours, base = find(row, "planish", "int8"), find(row, "planish", "float32")
    if ours is None or base is None:
        return None
    work = row["roofline"]["int8"]
    safe = work["safe"] >= MOSTLY * work["macs"]
    return compare(ours, base, SAFE_PAIRS_GOAL if safe else EXACT_GOAL)


def mean_ratio(lines: Iterable[Line]) -> Verdict | None:
    """The geometric mean of float32 ratios."""
    ratios = [item.verdict.ratio for item in lines if item.verdict is not None]
    if not ratios:
        return None
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return Verdict(mean, min(ratios), max(ratios), FLOAT_MEAN_GOAL)


@dataclass(frozen=True)
class Scaling:
    """How much two threads gain, and what the machine's arithmetic gained in the same run."""

    work: str
    kind: str
    gain: float
    machine: float

    @property
    def reached(self) -> bool:
        return self.gain >= SCALING_GOAL * self.machine


def scalings(rows: Sequence[Row]) -> list[Scaling]:
    """Two threads against one, of the models that have a goal there and were measured with both."""
    found = []
    by_key = {(row["work"], row["threads"]): row for row in rows}
    for work in SCALED:
        one, two = by_key.get((work, 1)), by_key.get((work, 2))
        if one is None or two is None:
            continue
        for kind, arithmetic in (("float32", "f32"), ("int8", SAFE_PAIRS)):
            slow, fast = find(one, "planish", kind), find(two, "planish", kind)
            if slow is not None and fast is not None:
                machine = two["limits"]["operations"][arithmetic] / one["limits"]["operations"][arithmetic]
                found.append(Scaling(work, kind, slow["p50"] / fast["p50"], machine))
    return found
