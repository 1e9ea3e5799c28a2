"""What the machine can do at most, measured now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

from planish import _core

T = TypeVar("T")
#: Integer arithmetic on AVX2: exact products through 16 bits, and byte products whose pairs packing proves safe.
EXACT, SAFE_PAIRS = "u8s8", "u8s8_pairs"


@dataclass(frozen=True)
class Limits:
    """Of `threads` threads together: operations per second by arithmetic (f32, u8s8, u8s8_pairs), the best of the
    usable instruction sets, and read bandwidth in bytes per second by the size of the block."""

    threads: int
    operations: dict[str, float]
    bandwidth: dict[int, float]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    def reading(self, nbytes: int) -> float:
        """Bytes per second from a working set of this size: that of the smallest measured block that holds it."""
        sizes = sorted(self.bandwidth)
        return self.bandwidth[next((size for size in sizes if size >= nbytes), sizes[-1])]


def measure_limits(threads: int, sizes: tuple[int, ...] = (1 << 18, 1 << 20, 1 << 24, 1 << 28)) -> Limits:
    """Measure with all threads at once; each thread reads a block of its own, a share of the working set."""
    operations: dict[str, float] = {}
    for peaks in zip(*_together(threads, _core.measure_peaks), strict=True):
        arithmetic = peaks[0][0]
        operations[arithmetic] = max(operations.get(arithmetic, 0.0), sum(rate for _, _, rate in peaks))
    bandwidth = {}
    for size in sizes:
        bandwidth[size] = sum(_together(threads, partial(_core.measure_read_bandwidth, size // threads)))
    return Limits(threads, operations, bandwidth)


def _together(threads: int, measure: Callable[[], T]) -> list[T]:
    """What each of `threads` threads measures while the others do (the native half lets go of the GIL)."""
    results: list[T] = []
    barrier = threading.Barrier(threads)

    def work() -> None:
        barrier.wait()
        results.append(measure())

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results
