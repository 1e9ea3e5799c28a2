"""Writes docs/operators.md: per operator, how many of the ONNX project's node cases run natively and how many pass.

python -m tools.write_operators [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
import unittest
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import onnx

DOCUMENT = Path(__file__).parents[1] / "docs" / "operators.md"


@dataclass(slots=True)
class Tally:
    """Node cases of one operator."""

    cases: int = 0
    native: int = 0
    passed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def tally() -> tuple[dict[str, Tally], dict[str, tuple[int, int, int]]]:
    """(node cases by operator; kind → cases, native, passed), by running all of them."""
    from tests.conformance.suite import Recorder, cases, exception_of

    operators: defaultdict[str, Tally] = defaultdict(Tally)
    kinds: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    warnings.simplefilter("ignore")
    for case in cases():
        result = unittest.TestResult()
        case.test.run(result)
        passed = result.wasSuccessful()
        native = passed and not Recorder.fallbacks
        kinds[case.kind] = [n + m for n, m in zip(kinds[case.kind], (1, native, passed), strict=True)]
        if not passed and not exception_of(case.name):
            print(f"{case.name}: fails", file=sys.stderr)
        if case.kind == "Node":
            counts = operators[case.operator]
            counts.cases += 1
            counts.native += native
            counts.passed += passed
            counts.reasons.update(set(Recorder.fallbacks))
    return dict(operators), {kind: (n[0], n[1], n[2]) for kind, n in kinds.items()}


def render(operators: dict[str, Tally], kinds: dict[str, tuple[int, int, int]]) -> str:
    lines = [
        "# Operators",
        "",
        f"Counted with the ONNX project's own tests (`onnx.backend.test` of onnx {onnx.__version__}): what is *native*",
        "runs inside the compiled program, with the reference evaluator forbidden; *passes* counts that fallback too.",
        "Written by `python -m tools.write_operators`; the test suite holds it to what it measures.",
        "",
        "| tests | cases | native | passes |",
        "| --- | --- | --- | --- |",
        *(f"| {kind} | {n} | {native} | {passed} |" for kind, (n, native, passed) in kinds.items()),
        "",
        "A function's cases count with the operator that it stands for. What does not pass is random or training:",
        "see `EXCEPTIONS` in [tests/conformance/suite.py](../tests/conformance/suite.py).",
        "",
        "| operator | cases | native | passes | what falls back |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, counts in sorted(operators.items(), key=lambda item: item[0].lower()):
        why = "; ".join(reason for reason, _ in counts.reasons.most_common(3))
        lines.append(f"| {name} | {counts.cases} | {counts.native} | {counts.passed} | {why.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def read_counts(document: Path) -> dict[str, int]:
    """Operator → native node cases, from a document that `render` made."""
    rows = re.findall(r"^\| ([\w.:]+) \| \d+ \| (\d+) \| \d+ \| .*\|$", document.read_text(), re.MULTILINE)
    return {name: int(native) for name, native in rows}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the document is not of today")
    arguments = parser.parse_args(words)
    operators, kinds = tally()
    text = render(operators, kinds)
    for kind, (count, native, passed) in kinds.items():
        print(f"{kind}: {count} cases, {native} native, {passed} pass")
    if arguments.check:
        return int(text != DOCUMENT.read_text())
    DOCUMENT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
