"""Random shapes into a loaded session: it answers as a fresh session would, or refuses."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

import planish
from tests.fuzz import corpus
from tests.fuzz.case import Case, Reach, Rng, WrongResult, chance, options, pick
from tests.fuzz.feeds import feeds_for, numbers

_WARM = 64
_DTYPES = ("float32", "float32", "float32", "int64", "uint8", "float16", "float64", "bool")


class Shapes:
    """Sessions that live through all cases of a worker, each case with other shapes."""

    name = "shapes"
    stages = ("accepted", "ran", "compared")

    def __init__(self) -> None:
        self._sessions: dict[int, planish.InferenceSession] = {}

    def make(self, rng: Rng) -> Case:
        plans = corpus.plans()[:_WARM]
        number = int(rng.integers(len(plans)))
        session = self._session(number, plans[number])
        feeds: dict[str, Any] = feeds_for(session, rng) or {}
        for port in session.lowered.inputs:
            if chance(rng, 0.5):
                feeds[port.name] = _other(rng, port.dtype, port.shape)
        file = io.BytesIO()
        np.savez(file, **{k: v for k, v in feeds.items() if v is not None})
        return Case(file.getvalue(), ".npz", f"plan {number} of the corpus", {"number": number, "feeds": feeds})

    def run(self, case: Case, rng: Rng, reach: Reach) -> None:
        plan = corpus.plans()[case.extra["number"]]
        feeds, session = case.extra["feeds"], self._session(case.extra["number"], plan)
        if chance(rng, 0.02):
            feeds["no such input"] = np.zeros(1, np.float32)
        results = session.run(None, feeds)
        reach("ran")
        if not chance(rng, 0.25):
            return
        fresh = planish.InferenceSession(plan, options()).run(None, feeds)
        if any(a.tobytes() != b.tobytes() for a, b in zip(results, fresh, strict=True)):
            raise WrongResult("a session that has run before gives other bits than a fresh one")
        reach("compared")

    def _session(self, number: int, plan: bytes) -> planish.InferenceSession:
        if number not in self._sessions:
            self._sessions[number] = planish.InferenceSession(plan, options())
        return self._sessions[number]


def _other(rng: Rng, dtype: str, declared: Any) -> Any:
    """An array of another shape, type or layout than the declared one."""
    sizes = (0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
    rank = len(declared) if declared is not None and chance(rng, 0.8) else int(rng.integers(0, 9))
    dims = [int(pick(rng, sizes)) for _ in range(rank)]
    while np.prod(dims) > 1 << 15:
        dims[int(np.argmax(dims))] = 1
    for i, d in enumerate(declared or ()):
        if isinstance(d, int) and i < rank and d < 64 and chance(rng, 0.8):
            dims[i] = d
    array = numbers(rng, dtype if chance(rng, 0.9) else pick(rng, _DTYPES), dims)
    if array is None or not chance(rng, 0.3):
        return array
    kind = int(rng.integers(4))
    if kind == 0 and array.ndim:
        return array.T
    if kind == 1 and array.ndim:
        return array[..., ::-1]
    return array.astype(array.dtype.newbyteorder()) if kind == 2 else array.tolist()
