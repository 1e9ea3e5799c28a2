"""python -m tests.fuzz [TARGET...] --seconds N | --count N: mutated and random input for planish.

Prints, for every target, the cases tried, how far they got, and the findings; exits with 1 where there are any. A
finding's case and traceback are written to the folder of --findings; `--case N` with the same seed runs it again.
"""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.case import Target, rng_of
from tests.fuzz.graphs import Graphs
from tests.fuzz.harness import Limits, fuzz
from tests.fuzz.models import Models
from tests.fuzz.plans import Plans
from tests.fuzz.recipes import Recipes
from tests.fuzz.shapes import Shapes

TARGETS: dict[str, type[Target]] = {t.name: t for t in (Models, Plans, Recipes, Graphs, Shapes)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="what to fuzz; default: everything")
    parser.add_argument("--seconds", type=float, help="how long, in all; default 60 without --count")
    parser.add_argument("--count", type=int, help="how many cases of each target")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other cases")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="start with case N: continues an earlier run")
    parser.add_argument("--case", type=int, metavar="N", help="run case N alone, in this process")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), metavar="DIR")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run that is ended still prints what it saw
    warnings.simplefilter("ignore")
    targets = [TARGETS[name]() for name in given.targets or TARGETS]
    if given.case is not None:
        for target in targets:
            rng = rng_of(target.name, given.seed, given.case)
            case = target.make(rng)
            print(f"{target.name}: {len(case.data)} bytes; {case.note}")
            target.run(case, rng, lambda stage: print(f"  {stage}"))
        return 0
    corpus.plans()
    limits = Limits(given.findings, jobs=given.jobs)
    if given.count is not None:
        limits.count = given.count
    if given.seconds is not None or given.count is None:
        limits.seconds = (given.seconds or 60.0) / len(targets)
    bad = False
    for target in targets:
        result = fuzz(target, given.seed, limits, given.first)
        print(result, flush=True)
        bad = bad or bool(result.findings)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
