"""The process of one contestant: python -P -m planish.measure.worker

Reads one JSON request a line from standard input, writes one JSON reply a line; arrays travel in .npz files that the
requests name. A reply is {"ok": …} or {"error": kind, "message": text}, where kind names a class of planish.errors.

    {"do": "load", "engine", "path", "threads", "cpus"} → version, inputs, outputs, load_seconds
    {"do": "feed", "feeds": [npz…], "outputs": [npz…]}  → first_seconds; runs every feed once, stores its outputs
    {"do": "block", "seconds", "runs"}                   → nanoseconds: one latency a run, in order
    {"do": "memory"}                                     → peak_bytes

End of input ends the process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.errors import PlanishError
from planish.measure import engines

Request = dict[str, Any]
Array = npt.NDArray[Any]


class Worker:
    """The state between requests: the loaded model and the feeds."""

    def __init__(self) -> None:
        self._engine: engines.Engine | None = None
        self._feeds: list[dict[str, Array]] = []

    def handle(self, request: Request) -> Request:
        action = {"load": self.load, "feed": self.feed, "block": self.block, "memory": self.memory}[request["do"]]
        return action(request)

    def load(self, request: Request) -> Request:
        """Pin the process, then load; the time is that of loading alone, without importing the engine."""
        os.sched_setaffinity(0, request["cpus"])
        engines.import_engine(request["engine"])
        started = time.perf_counter()
        self._engine = engines.load(request["engine"], request["path"], request["threads"])
        seconds = time.perf_counter() - started
        return {
            "version": self._engine.version,
            "inputs": [[spec.name, list(spec.shape), spec.type] for spec in self._engine.inputs],
            "outputs": self._engine.outputs,
            "load_seconds": seconds,
        }

    def feed(self, request: Request) -> Request:
        """Take the feeds, run each once and store its outputs; the first run of all is the one that is timed."""
        self._feeds = [_read(Path(name)) for name in request["feeds"]]
        seconds = 0.0
        for feed, target in zip(self._feeds, request["outputs"], strict=True):
            started = time.perf_counter()
            outputs = self._loaded.run(feed)
            seconds = seconds or time.perf_counter() - started
            np.savez(target, *outputs, allow_pickle=False)
        return {"first_seconds": seconds}

    def block(self, request: Request) -> Request:
        """Run the feeds in turn until both the seconds and the runs are reached."""
        run, feeds, clock = self._loaded.run, self._feeds, time.perf_counter_ns
        latencies: list[int] = []
        gc.collect()
        gc.disable()
        try:
            end = clock() + int(request["seconds"] * 1e9)
            finished = 0
            while finished < end or len(latencies) < request["runs"]:
                feed = feeds[len(latencies) % len(feeds)]
                started = clock()
                run(feed)
                finished = clock()
                latencies.append(finished - started)
        finally:
            gc.enable()
        return {"nanoseconds": latencies}

    def memory(self, _: Request) -> Request:
        """The most memory this process has had resident (VmHWM, which a parent's memory does not enter)."""
        lines = Path("/proc/self/status").read_text().splitlines()
        kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        return {"peak_bytes": kibibytes * 1024}

    @property
    def _loaded(self) -> engines.Engine:
        if self._engine is None:
            raise RuntimeError("no model was loaded")
        return self._engine


def serve() -> None:
    """Answer requests until standard input ends. What libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        reply: Request
        try:
            reply = {"ok": worker.handle(json.loads(line))}
        except PlanishError as error:
            reply = {"error": type(error).__name__, "message": str(error)}
        except Exception as error:
            # Whatever an engine raises must reach the parent as a message, not as a dead process.
            text = " ".join(str(error).split())[:300]
            reply = {
                "error": "PlanishError",
                "message": f"{type(error).__name__}: {text}; check the model and its inputs",
            }
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _read(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


if __name__ == "__main__":
    serve()
