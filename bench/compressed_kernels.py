"""Compressed kernels against dense ones: sparse and codebook GEMMs beside our dense GEMM on the same values.

    python bench/compressed_kernels.py [--threads N] [--isa NAME] [--seconds S] [--json FILE]

Every line races two Programs of one step on the same machine in alternating blocks: the compressed kernel, with the
conversion of its activations and the requantization of its outputs, and the dense kernel on the unpacked weights.
Outputs are compared first: integers must be equal, floats close. Times are medians of the blocks, in microseconds; on
one thread they are its processor time, so that other processes' time slices do not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from planish import _core
from planish.runtime.view import CODES

FORMATS = ("csr_f32", "block1x4_f32", "block16x4_f32", "csr_s8", "block1x4_s8", "block16x4_s8")
#: M, N, K of the sweep.
SPARSE_SHAPES = ((16, 256, 1024), (64, 64, 576), (196, 256, 256), (256, 256, 2304), (128, 768, 3072), (784, 128, 128))
LOOKUP_SHAPES = ((1, 2048, 2048), (1, 8192, 8192), (4, 1024, 1024), (16, 768, 768), (128, 768, 3072), (784, 128, 128))
#: The races run without --sweep: format, shape, share of zeros.
REQUIRED = [
    ("csr_f32", (128, 768, 3072), 0.95),
    ("block1x4_s8", (128, 768, 3072), 0.90),
    ("block16x4_s8", (256, 256, 2304), 0.90),
]


@dataclass(frozen=True)
class Result:
    """One race: medians in microseconds, and how many times faster the compressed kernel is."""

    name: str
    shape: tuple[int, int, int]  # M, N, K
    compressed: str
    dense: str
    compressed_us: float
    dense_us: float

    @property
    def ratio(self) -> float:
        return self.dense_us / self.compressed_us


class Step:
    """A Program of one step, and a function that runs it once."""

    def __init__(
        self,
        family: str,
        x: np.ndarray,
        packed: _core.Memory,
        vectors: list[np.ndarray | None],
        y_dtype: type,
        outputs: int,
        attrs: Mapping[str, Any],
        threads: int,
    ) -> None:
        self.y = np.empty((*x.shape[:-1], outputs), y_dtype)
        program = _core.Program(threads)
        xv = (program.constant(_core.Memory.copy_of(x)), 0, CODES[x.dtype.name], x.shape, x.strides)
        wv = (program.constant(packed), 0, CODES["uint8"], (len(packed),), (1,))
        views: list[Any] = [xv, wv]
        for v in vectors:
            views.append(
                None
                if v is None
                else (program.constant(_core.Memory.copy_of(v)), 0, CODES[v.dtype.name], v.shape, v.strides)
            )
        yv = (program.output(0, self.y.nbytes), 0, CODES[self.y.dtype.name], self.y.shape, self.y.strides)
        self.kernel, self.reason = program.add(family, family, views, [yv], dict(attrs))
        program.finalize()
        self.program = program

    def run(self) -> None:
        self.program.run([], [self.y])


def race(name: str, shape: tuple[int, int, int], fast: Step, dense: Step, threads: int, seconds: float) -> Result:
    """Verifies both, then alternates blocks of runs; the first fifth of a block is discarded."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    fast.run()
    dense.run()
    if fast.y.dtype == np.float32:
        tolerance = 1e-4 * float(np.abs(dense.y).max())
        np.testing.assert_allclose(fast.y, dense.y, rtol=0, atol=tolerance)
    else:
        np.testing.assert_array_equal(fast.y, dense.y)
    blocks: dict[Callable[[], None], list[float]] = {fast.run: [], dense.run: []}
    for _ in range(7):
        for run, times in blocks.items():
            samples: list[float] = []
            end = time.perf_counter() + seconds / 14
            while time.perf_counter() < end or len(samples) < 5:
                start = clock()
                run()
                samples.append(clock() - start)
            times.append(statistics.median(samples[len(samples) // 5 :]))
    medians = {run: statistics.median(times) * 1e6 for run, times in blocks.items()}
    return Result(name, shape, fast.kernel, dense.kernel, medians[fast.run], medians[dense.run])


def prune(w: np.ndarray, fmt: str, zeros: float, rng: np.random.Generator) -> np.ndarray:
    """Zeroes a random part of the blocks of w[N, K]."""
    rows, width = (16, 4) if "16x4" in fmt else (1, 4) if "1x4" in fmt else (1, 1)
    keep = rng.random((w.shape[0] // rows, w.shape[1] // width)) >= zeros
    return np.where(keep.repeat(rows, 0).repeat(width, 1), w, 0).astype(w.dtype)


def quantized(rng: np.random.Generator, outputs: int) -> list[np.ndarray | None]:
    """bias and scale of an integer layer with uint8 output."""
    return [rng.integers(-9999, 9999, outputs).astype(np.int32), rng.uniform(1e-5, 1e-4, outputs).astype(np.float32)]


def sparse_race(fmt: str, m: int, n: int, k: int, zeros: float, threads: int, seconds: float) -> Result:
    rng = np.random.default_rng(0)
    name = f"{fmt} {zeros:.0%} zeros"
    if fmt.endswith("f32"):
        x = rng.standard_normal((m, k)).astype(np.float32)
        w = prune(rng.standard_normal((n, k)).astype(np.float32), fmt, zeros, rng)
        vectors: list[np.ndarray | None] = [rng.standard_normal(n).astype(np.float32)]
        dense = Step("gemm", x, _core.pack_dense_f32(w[:, None]), vectors, np.float32, n, {}, threads)
        fast = Step("sparse_gemm", x, _core.pack_sparse(w[:, None], fmt), vectors, np.float32, n, {}, threads)
    else:
        x = rng.integers(0, 256, (m, k)).astype(np.uint8)
        w = prune(rng.integers(-127, 128, (n, k)).astype(np.int8), fmt, zeros, rng)
        vectors, attrs = quantized(rng, n), {"y_zero": 128}
        dense = Step("gemm", x, _core.pack_dense_s8(w[:, None]), vectors, np.uint8, n, attrs, threads)
        fast = Step("sparse_gemm", x, _core.pack_sparse(w[:, None], fmt), vectors, np.uint8, n, attrs, threads)
    return race(name, (m, n, k), fast, dense, threads, seconds)


def codebook_race(bits: int, integer: bool, m: int, n: int, k: int, threads: int, seconds: float) -> Result:
    """A codebook layer against dense weights of its own type."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 1 << bits, (n, 1, k)).astype(np.uint8)
    name = f"codebook {bits} bits {'s8' if integer else 'f32'}"
    if integer:
        x = rng.integers(0, 256, (m, k)).astype(np.uint8)
        table = rng.integers(-127, 128, (1, 1, 1 << bits)).astype(np.int8)
        vectors, attrs = quantized(rng, n), {"y_zero": 128}
        dense = Step("gemm", x, _core.pack_dense_s8(table[0, 0][indices]), vectors, np.uint8, n, attrs, threads)
        fast = Step("codebook_gemm", x, _core.pack_codebook(indices, table, bits), vectors, np.uint8, n, attrs, threads)
        return race(name, (m, n, k), fast, dense, threads, seconds)
    x = rng.standard_normal((m, k)).astype(np.float32)
    table = rng.standard_normal((1, 1, 1 << bits)).astype(np.float32)
    fast = Step("codebook_gemm", x, _core.pack_codebook(indices, table, bits), [None], np.float32, n, {}, threads)
    dense = Step("gemm", x, _core.pack_dense_f32(table[0, 0][indices]), [None], np.float32, n, {}, threads)
    return race(name, (m, n, k), fast, dense, threads, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", default="", help="cap the instruction sets, as PLANISH_ISA does")
    parser.add_argument("--seconds", type=float, default=1.0, help="time a race takes")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument(
        "--sweep", action="store_true", help="many shapes and densities: what the cost rule is fitted to"
    )
    args = parser.parse_args()
    _core.set_isa(args.isa)
    if args.sweep:
        sparse = list(product(FORMATS, SPARSE_SHAPES, (0.5, 0.8, 0.9, 0.95)))
        lookups = [c for c in product((2, 3, 4, 8), (False, True), LOOKUP_SHAPES) if c[0] < 8 or not c[1]]
    else:
        sparse = REQUIRED
        lookups = [(4, True, (1, 8192, 8192))]
    races: list[Callable[[], Result]]
    races = [partial(sparse_race, fmt, *shape, zeros, args.threads, args.seconds) for fmt, shape, zeros in sparse]
    races += [
        partial(codebook_race, bits, integer, *shape, args.threads, args.seconds) for bits, integer, shape in lookups
    ]
    results = []
    print(f"{'what':28} {'M x N x K':>16} {'compressed':>11} {'dense':>11} {'ratio':>7}  kernels")
    for one in races:
        r = one()
        results.append(r)
        shape = "x".join(map(str, r.shape))
        times = f"{r.compressed_us:11.1f} {r.dense_us:11.1f} {r.ratio:6.2f}x"
        print(f"{r.name:28} {shape:>16} {times}  {r.compressed} / {r.dense}", flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(r) | {"ratio": r.ratio} for r in results], indent=1))


if __name__ == "__main__":
    main()
