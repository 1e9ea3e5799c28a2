"""Every registered kernel on the layers of real models, against the dispatcher's pick and the machine's measured
limits.

    python -m bench.kernels [MODEL.onnx ...] [--random N] [--seed N] [--threads N] [--isa NAME] [--runs N] [--json FILE]
                            [--tolerance 0.05]

Without models, those under PLANISH_TEST_MODELS; then 200 seeded random layers. Each model runs as planish would run
it, and with every kernel of each family forced, in turn; outputs are verified. Prints a line a layer: the pick, its
time and share of the arithmetic limit, and the fastest legal kernel. Times are the least of all runs: whatever else a
machine does only adds. Of hundreds of layers some look slow by chance, so a suspect is measured again against its rival
alone, the two taking turns, and is cleared as soon as they are within the tolerance, by the least times of all runs or
by the median of paired ones. Exits 1 if a pick stays slower than the fastest by more than the tolerance (and by more
than a microsecond, below which a timer cannot tell).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import planish
from bench.random_layers import random_layers, time_layer
from planish import _core

FAMILIES = ("gemm", "conv", "winograd", "dwconv")
RESOLUTION_US = 1.0
#: How often a suspect is measured again.
CONFIRMATIONS = 3


@dataclass
class Layer:
    """One instruction of a model: the pick and its fastest rival, least times in microseconds."""

    model: str
    label: str
    family: str
    pick: str
    pick_us: float
    best: str
    best_us: float
    macs: int
    share_of_limit: float

    @property
    def lag(self) -> float:
        tied = self.best == self.pick or self.pick_us - self.best_us <= RESOLUTION_US
        return 0.0 if tied else self.pick_us / self.best_us - 1

    def measured_again(self, picks: list[float], rivals: list[float]) -> Layer:
        """With the times of further runs, in pairs: the kinder of the least times and the median pair counts."""
        pick_us, best_us = min(self.pick_us, *picks), min(self.best_us, *rivals)
        typical = float(np.median(np.array(picks) / np.array(rivals)))
        return replace(self, pick_us=min(pick_us, best_us * max(typical, 1.0)), best_us=best_us)


class Runner:
    """One session with a kernel forced, or none, and the times of its instructions."""

    def __init__(self, path: Path, threads: int, forced: dict[str, str]) -> None:
        options = planish.SessionOptions(intra_op_num_threads=threads, enable_profiling=True, kernels=forced)
        self.session = planish.InferenceSession(path, options)
        self.forced = forced

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self.session.run(None, feeds)

    def times(self) -> list[tuple[str, str, str, float]]:
        """(label, family, kernel, least µs) per instruction."""
        runs = self.session.profile()
        steps = zip(*runs, strict=True)
        return [(s[0].label, s[0].family, s[0].kernel, min(t.nanoseconds for t in s) / 1e3) for s in steps]

    def latest(self, runs: int, instruction: int) -> list[float]:
        """Microseconds of one instruction in each of the last runs."""
        return [run[instruction].nanoseconds / 1e3 for run in self.session.profile()[-runs:]]


def random_feeds(session: planish.InferenceSession, size: int) -> dict[str, np.ndarray]:
    """Made-up inputs; a symbolic dimension is 1 if it is some input's first (the batch), else `size`."""
    rng = np.random.default_rng(0)
    feeds = {}
    batches = {arg.shape[0] for arg in session.get_inputs() if arg.shape}
    for arg in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 if d in batches else size for d in arg.shape]
        if arg.type == "tensor(float)":
            feeds[arg.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            feeds[arg.name] = rng.integers(0, 100, shape).astype(arg.type[7:-1])
    return feeds


def run_first(runner: Runner) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Inputs that the model takes, and its results on them: some models refuse the smallest sizes."""
    feeds = random_feeds(runner.session, 1)
    try:
        return feeds, runner.run(feeds)
    except planish.PlanishError:
        feeds = random_feeds(runner.session, 512)
        return feeds, runner.run(feeds)


def candidates() -> dict[str, list[str]]:
    """Usable kernels by family; the naive references are not rivals, nor portable code where there is better."""
    usable = set(_core.usable_isas())
    if len(usable) > 1:
        usable.remove("scalar")
    names: dict[str, list[str]] = {}
    for family, name, isa in _core.kernels():
        if family in FAMILIES and isa in usable and not name.endswith("reference"):
            names.setdefault(family, []).append(name)
    return names


def open_runners(path: Path, threads: int) -> tuple[Runner, list[Runner], dict[str, np.ndarray]]:
    """The unforced runner, and one per kernel that is legal somewhere in the model, outputs verified."""
    plain = Runner(path, threads, {})
    feeds, expected = run_first(plain)
    rivals = []
    for family, names in candidates().items():
        for name in names:
            rival = Runner(path, threads, {family: name})
            try:
                results = rival.run(feeds)
            except planish.PlanishError:
                continue  # not legal for some layer of this model
            for y, r in zip(results, expected, strict=True):
                np.testing.assert_allclose(y, r, rtol=0, atol=1e-4 * float(np.abs(r).max()) + 1e-6)
            rivals.append(rival)
    return plain, rivals, feeds


def layers_of(path: Path, threads: int, runs: int, limits: dict[str, float], tolerance: float) -> Iterator[Layer]:
    plain, rivals, feeds = open_runners(path, threads)
    for _ in range(runs):
        for runner in (plain, *rivals):
            runner.run(feeds)
    timed = [r.times() for r in rivals]
    work = macs_by_label(plain, feeds)
    for i, (label, family, kernel, spent) in enumerate(plain.times()):
        if family not in FAMILIES:
            continue
        others = [
            (t[i][3], t[i][2], r) for t, r in zip(timed, rivals, strict=True) if t[i : i + 1] and t[i][0] == label
        ]
        best_us, best, rival = min([*others, (spent, kernel, plain)], key=lambda other: other[0])
        macs = work.get(label, 0)
        products = macs * 16 // 36 if family == "winograd" else macs
        share = share_of_limit(kernel, products, spent, threads, limits)
        layer = Layer(path.stem, label, family, kernel, spent, best, best_us, macs, share)
        for _ in range(CONFIRMATIONS):
            if layer.lag <= tolerance:
                break
            for _ in range(runs):
                plain.run(feeds)
                rival.run(feeds)
            layer = layer.measured_again(plain.latest(runs, i), rival.latest(runs, i))
        yield layer


def share_of_limit(kernel: str, macs: int, spent: float, threads: int, limits: dict[str, float]) -> float:
    arithmetic = "f32" if not kernel.startswith("u8") else "u8s8_pairs" if kernel.endswith("pairs") else "u8s8"
    limit = limits[arithmetic] * threads
    return 2 * macs / (spent * 1e-6) / limit if limit else 0.0


def random_ones(
    count: int, seed: int, threads: int, runs: int, limits: dict[str, float], tolerance: float
) -> Iterator[Layer]:
    """`count` seeded random layers, each on every kernel that is legal for it."""
    kernels = candidates()
    for layer in random_layers(count, seed):
        pick, times = time_layer(layer, kernels[layer.family], threads, runs)
        best = min(times, key=lambda name: min(times[name]))
        pick_us, best_us = min(times[pick]), min(times[best])
        share = share_of_limit(pick, layer.macs, pick_us, threads, limits)
        found = Layer("random", layer.label, layer.family, pick, pick_us, best, best_us, layer.macs, share)
        for _ in range(CONFIRMATIONS):
            if found.lag <= tolerance:
                break
            _, times = time_layer(layer, [best], threads, runs)
            found = found.measured_again(times[pick], times[best])
        yield found


def macs_by_label(runner: Runner, feeds: dict[str, np.ndarray]) -> dict[str, int]:
    """Multiply-accumulates of the anchors, from shapes."""
    lowered = runner.session.lowered
    tensors = {p.tensor: feeds[p.name] for p in lowered.inputs}
    facts = runner.session.executor.first_segment(tensors).facts
    work = {}
    for step in lowered.walk():
        if step.kind in ("conv", "gemm") and step.outputs[0] in facts:
            out = int(np.prod(facts[step.outputs[0]].shape, dtype=np.int64))
            depth = step.attrs.get("K") or int(np.prod(step.attrs["kernel"])) * step.attrs["C"] // step.attrs["groups"]
            work[step.name] = out * depth
    return work


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--random", type=int, default=200, help="how many random layers to add")
    parser.add_argument("--seed", type=int, default=0, help="of the random layers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", default="")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.05)
    args = parser.parse_args()
    _core.set_isa(args.isa)
    models = args.models or sorted(Path(os.environ["PLANISH_TEST_MODELS"]).glob("*/*.onnx"))
    limits: dict[str, float] = {"f32": 0.0, "u8s8": 0.0, "u8s8_pairs": 0.0}
    for arithmetic, isa, operations in _core.measure_peaks():
        print(f"limit: {arithmetic:10s} {isa:11s} {operations / 1e9:8.0f} GOP/s a thread")
        limits[arithmetic] = max(limits[arithmetic], operations)
    layers: list[Layer] = []
    for path in models:
        layers += report(path.stem, layers_of(path, args.threads, args.runs, limits, args.tolerance))
    layers += report(
        "random layers", random_ones(args.random, args.seed, args.threads, args.runs, limits, args.tolerance)
    )
    if args.json:
        args.json.write_text(json.dumps([asdict(layer) for layer in layers], indent=1))
    slow = [layer for layer in layers if layer.lag > args.tolerance]
    print(f"{len(layers)} layers; the pick lags the fastest kernel by more than {args.tolerance:.0%} on {len(slow)}")
    return 1 if slow else 0


def report(title: str, layers: Iterator[Layer]) -> list[Layer]:
    print(f"\n{title}\n{'layer':44s} {'pick':18s} {'µs':>9s} {'of limit':>8s}  fastest")
    shown = []
    for x in layers:
        rival = "" if x.lag == 0 else f"{x.best} {x.best_us:.1f} µs ({x.lag:+.0%})"
        print(f"{x.label[-44:]:44s} {x.pick:18s} {x.pick_us:9.1f} {x.share_of_limit:8.0%}  {rival}", flush=True)
        shown.append(x)
    return shown


if __name__ == "__main__":
    sys.exit(main())
