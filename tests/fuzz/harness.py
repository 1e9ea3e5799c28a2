"""Runs the cases of a target in worker processes that outlive what they run, and collects what went wrong.

The parent is warm: it has imported everything and built the corpus. Its workers are forks of it, each of which takes
case after case. A worker writes the number of its case into shared memory before it starts it, so that the parent
knows which one killed it; a new worker goes on with the next. A finding is

- a crash: the worker ended by a signal (under AddressSanitizer, with a report);
- a hang: a case longer than `seconds_a_case` in Python, or stuck for longer where no signal reaches it, in a kernel;
- an exception that is not a PlanishError, or one whose message is not one line;
- memory beyond `memory` bytes;
- a wrong result.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import mmap
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from planish import PlanishError
from tests.fuzz.case import Target, rng_of

#: A fresh worker now and then: what leaks in the libraries does not add up.
CASES_A_WORKER = 20_000
_MEMORY, _DONE = 77, 0
_KEPT = 4  # findings of one signature that are written to files


class TooSlow(BaseException):
    """The alarm of a case. No handler of the program under test swallows it."""


@dataclass
class Result:
    """What a run saw: cases tried, stages reached, findings by signature."""

    target: str
    cases: int = 0
    seconds: float = 0.0
    stages: dict[str, int] = field(default_factory=dict)
    fallbacks: int = 0
    findings: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        rate = self.cases / max(1e-9, self.seconds)
        reached = ", ".join(f"{name} {n} ({n / max(1, self.cases):.0%})" for name, n in self.stages.items())
        lines = [f"{self.target}: {self.cases} cases in {self.seconds:.0f} s ({rate:.0f}/s): {reached}"]
        if self.fallbacks:
            lines.append(f"  {self.fallbacks} stopped in onnx.reference, which takes as long as a model says")
        lines += [f"  {count} x {signature}" for signature, count in self.findings.most_common()]
        return "\n".join([*lines, f"  {sum(self.findings.values())} findings"])


@dataclass
class Limits:
    """Bounds of a run: it ends after `seconds` or `count` cases; `folder` takes the findings' files."""

    folder: Path
    seconds: float = float("inf")
    count: int = 1 << 62
    jobs: int = 1
    seconds_a_case: float = 5.0  # of the processor's time
    memory: int = 2 << 30


class _Slot(ctypes.Structure):
    """A worker's part of the shared memory."""

    _fields_ = (
        ("next", ctypes.c_int64),  # the case to start with
        ("running", ctypes.c_int64),  # the case under way, -1 between cases
        ("started", ctypes.c_double),
        ("cases", ctypes.c_int64),
        ("stages", ctypes.c_int64 * 16),
        ("fallbacks", ctypes.c_int64),  # cases stopped within the reference evaluator
    )


def fuzz(target: Target, seed: int, limits: Limits, first: int = 0) -> Result:
    """Runs the cases `first`, `first + 1`, … of `seed` until a limit or Ctrl-C. Says every minute how far it is."""
    limits.folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    gc.freeze()  # what the parent made stays shared with its workers
    workers = [_Worker(target, seed, limits, j, first + j, start) for j in range(limits.jobs)]
    said = start
    try:
        while sum(w.poll() for w in workers):  # every worker is looked at
            time.sleep(0.05)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print(f"{target.name}: {sum(w.slot.cases for w in workers)} cases so far", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"interrupted; --first {min(w.slot.next for w in workers)} goes on from here", file=sys.stderr)
    finally:
        for worker in workers:
            worker.end()
    stages = {name: sum(w.slot.stages[i] for w in workers) for i, name in enumerate(target.stages)}
    result = Result(target.name, sum(w.slot.cases for w in workers), time.monotonic() - start, stages)
    result.fallbacks = sum(w.slot.fallbacks for w in workers)
    for worker in workers:
        result.findings.update(worker.findings)
    return result


class _Worker:
    """One process after another that takes every `jobs`-th case."""

    def __init__(self, target: Target, seed: int, limits: Limits, index: int, first: int, start: float) -> None:
        self.target, self.seed, self.limits, self.index, self.start = target, seed, limits, index, start
        self.slot = _Slot.from_buffer(mmap.mmap(-1, ctypes.sizeof(_Slot)))
        self.slot.next, self.slot.running = first, -1
        self.last = first + (limits.count - index + limits.jobs - 1) // limits.jobs * limits.jobs
        self.log = limits.folder / f"{target.name}-{seed}-worker{index}.log"
        self.notes = limits.folder / f"{target.name}-{seed}-worker{index}.findings"
        self.notes.write_text("")
        self.findings: Counter[str] = Counter()
        self.pid = 0

    def poll(self) -> bool:
        """Whether there is more to do; starts, watches and replaces the process."""
        if not self.pid:
            if self.slot.next >= self.last or time.monotonic() - self.start > self.limits.seconds:
                self._collect()
                return False
            self._fork()
            return True
        running, started = self.slot.running, self.slot.started
        stuck = running >= 0 and time.monotonic() - started > 10 * self.limits.seconds_a_case + 5
        if stuck and running == self.slot.running:
            os.kill(self.pid, signal.SIGABRT)  # faulthandler tells where it was
            os.waitpid(self.pid, 0)
            self._died("hang: a case that no signal interrupts")
            return True
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            if code == _MEMORY:
                self._died("memory beyond the bound")
            elif code != _DONE:
                self._died(f"crash: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")
            self.pid = 0
        return True

    def end(self) -> None:
        """Kills the process, if it runs."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        self._collect()

    def _fork(self) -> None:
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            self._child()
            code = _DONE
        except MemoryError:
            code = _MEMORY
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _died(self, what: str) -> None:
        """Records that the process ended within a case, and goes on with the next."""
        self.pid = 0
        number, self.slot.running = self.slot.running, -1
        text = self.log.read_text(errors="replace")
        summary = next((line for line in text.splitlines() if "SUMMARY:" in line or "runtime error:" in line), "")
        if "interceptor" in summary:  # a function of the C library: what matters is who called it
            calls = [line.partition(" in ")[2] for line in text.splitlines() if line.lstrip().startswith("#")]
            summary = f"{summary} called by {next((call for call in calls if 'csrc/' in call), '')}"
        if not summary:
            frames = [line.strip() for line in text.splitlines() if line.startswith("  File") and "planish" in line]
            summary = frames[0] if frames else ""
        _record(self.target, self.seed, number, f"{what} {summary}", text, self.limits.folder, self.notes)
        self.slot.next = number + self.limits.jobs
        self._collect()

    def _collect(self) -> None:
        self.findings = Counter(line for line in self.notes.read_text().splitlines() if line)

    # -- in the child --------------------------------------------------------------------------------------------------

    def _child(self) -> None:
        log = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(log, 2)
        faulthandler.enable(file=2)
        signal.signal(signal.SIGPROF, _alarm)
        if "libasan" not in os.environ.get("LD_PRELOAD", ""):  # whose shadow is terabytes of address space
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + self.limits.memory,) * 2)
        slot, most = self.slot, _resident() + self.limits.memory
        for _ in range(CASES_A_WORKER):
            if slot.next >= self.last or time.monotonic() - self.start > self.limits.seconds:
                return
            slot.running, slot.started = slot.next, time.monotonic()
            self._case(slot.running)
            if _resident() > most:
                raise MemoryError
            slot.cases += 1
            slot.next = slot.running + self.limits.jobs
            slot.running = -1

    def _case(self, number: int) -> None:
        rng = rng_of(self.target.name, self.seed, number)
        stages = {name: i for i, name in enumerate(self.target.stages)}

        def reach(stage: str) -> None:
            self.slot.stages[stages[stage]] += 1

        signal.setitimer(signal.ITIMER_PROF, self.limits.seconds_a_case)
        try:
            self.target.run(self.target.make(rng), rng, reach)
        except PlanishError as error:
            if "\n" in str(error):
                self._report(number, f"an error of several lines: {type(error).__name__}", error)
        except MemoryError as error:
            self._report(number, f"MemoryError {_place(error)}", error)
        except (Exception, TooSlow) as error:
            if isinstance(error, TooSlow) and _in_fallback(error):
                self.slot.fallbacks += 1
                return
            self._report(number, f"{type(error).__name__}: {str(error)[:90]!r} {_place(error)}", error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _report(self, number: int, signature: str, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        _record(self.target, self.seed, number, signature, text, self.limits.folder, self.notes)


def _record(target: Target, seed: int, number: int, signature: str, text: str, folder: Path, notes: Path) -> None:
    """Notes a finding; of the first ones of a signature, the case and the text are kept."""
    signature = " ".join(signature.split())
    seen = notes.read_text().splitlines().count(signature)
    with notes.open("a") as file:
        file.write(signature + "\n")
    if seen >= _KEPT:
        return
    path = folder / f"{target.name}-{seed}-{number}"
    path.with_suffix(".txt").write_text(f"{signature}\n\n{text}")
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    try:  # in a child, since making the case may be what crashed
        case = target.make(rng_of(target.name, seed, number))
        path.with_suffix(case.suffix).write_bytes(case.data)
        with path.with_suffix(".txt").open("a") as file:
            file.write(f"\n{case.note}\n")
    finally:
        os._exit(0)


def _in_fallback(error: BaseException) -> bool:
    """Whether an exception came from what takes as long as the model says: the reference evaluator."""
    return any("/onnx/reference/" in f.filename for f in traceback.extract_tb(error.__traceback__))


def _place(error: BaseException) -> str:
    """Where in planish an exception came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/planish/" in f.filename]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside planish"


def _alarm(number: int, frame: FrameType | None) -> None:
    raise TooSlow("a case that takes too long")


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE
