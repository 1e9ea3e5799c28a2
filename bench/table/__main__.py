"""Measure the whole table.

Rows that are done are kept in the JSON file after each step: Ctrl-C leaves them, and the next call goes on from there.
Without --again, nothing is measured twice.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import planish
from bench.memory import measure_memory
from bench.overhead import measure_overhead
from bench.startup import measure_startup
from bench.table.files import Files
from bench.table.markdown import render, write_region
from bench.table.race import PEERS, race
from bench.table.works import WORKS, Work
from planish import machine
from planish.files import write_atomic

SECTIONS = ("models", "overhead", "startup", "memory")


class Table:
    """The results, written to their file whenever something is added."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._path: Path = args.json
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.results: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {"rows": {}}
        self.results["machine"] = _machine()

    def measure(self) -> None:
        args = self._args
        if "models" in args.sections:
            for work in WORKS:
                if all(name in work.name for name in args.only):
                    self._models(work)
        if "overhead" in args.sections and self._wanted("overhead"):
            self._keep("overhead", measure_overhead())
        if "startup" in args.sections and self._wanted("startup"):
            rows = []
            for path in sorted(args.models.glob("*/*.onnx")):
                _say(f"start-up: {path.stem}")
                rows.append(vars(measure_startup(path)))
            self._keep("startup", rows)
        if "memory" in args.sections and self._wanted("memory"):
            resnet = Files(WORKS[0], args.models, args.folder)
            self._keep("memory", measure_memory(resnet.paths["int8"], engines=_engines()))

    def _models(self, work: Work) -> None:
        files: Files | None = None
        for threads in self._args.threads:
            key = f"{work.name}, {threads}"
            if not self._args.again and key in self.results["rows"]:
                continue
            _say(f"{key}: files")
            try:
                files = files or Files(work, self._args.models, self._args.folder)
                report = functools.partial(_say_of, key)
                row = race(files, _engines(), threads, self._args.seconds, report)
                self.results["rows"][key] = {**row, "revision": _revision()}
            except planish.PlanishError as error:
                print(f"\n{key}: {error}", file=sys.stderr)
                continue
            self._save()

    def text(self) -> str:
        """The table in Markdown. Rows of this call look as those of earlier ones do, which were read from the file."""
        return render(json.loads(json.dumps(self.results)))

    def _wanted(self, section: str) -> bool:
        return self._args.again or section not in self.results

    def _keep(self, section: str, found: Any) -> None:
        self.results[section] = found
        self._save()

    def _save(self) -> None:
        write_atomic(self._path, json.dumps(self.results, indent=1).encode())


def _engines() -> tuple[str, ...]:
    """The peers that are installed."""
    return tuple(peer for peer in PEERS if importlib.util.find_spec(peer) is not None)


def _machine() -> dict[str, Any]:
    seen = machine.examine()
    return {
        "cpu": seen.cpu,
        "cpus": seen.affinity,
        "isas": list(seen.usable),
        "system": seen.system,
        "date": date.today().isoformat(),
    }


def _revision() -> str:
    """The commit that is checked out, `+` if it was changed; planish's version where there is no repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return planish.__version__


def _say(text: str) -> None:
    """Progress on one line of a terminal; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _say_of(key: str, what: str) -> None:
    _say(f"{key}: {what}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = os.environ.get("PLANISH_TEST_MODELS")
    parser.add_argument("--models", type=Path, default=models, required=models is None, help="the shared models")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/table"), help="where the contestants' files are kept"
    )
    parser.add_argument("--json", type=Path, default=Path("build/table/table.json"), help="all results")
    parser.add_argument("--markdown", type=Path, help="a document whose marked region receives the table")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--only", nargs="+", default=[""], help="models whose names contain these words")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.8, help="for each contestant")
    parser.add_argument("--again", action="store_true", help="measure anew what the results hold already")
    args = parser.parse_args()
    measured = Table(args)
    code = 0
    try:
        measured.measure()
    except KeyboardInterrupt:
        print("\ninterrupted; what is done is kept", file=sys.stderr)
        code = 130
    text = measured.text()
    print(text)
    if args.markdown:
        write_region(args.markdown, text)
    return code


if __name__ == "__main__":
    sys.exit(main())
