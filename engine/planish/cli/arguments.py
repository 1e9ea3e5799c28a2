"""Options that several commands share, and the parser that turns wrong usage into planish's one-line errors."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from planish import environment
from planish.errors import UsageError

Shape = tuple[str, tuple[int, ...]]

_MAX_THREADS = 1024


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print its usage and exit. Options cannot be abbreviated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}; see {self.prog} --help")


# -- values ------------------------------------------------------------------------------------------------------------


def parse_shape(text: str) -> Shape:
    """NAME=1x3x224x224 → (NAME, dims); NAME= is a scalar."""
    name, equals, dims = text.rpartition("=")
    sizes = dims.split("x") if dims else []
    if not name or not equals or not all(size.isascii() and size.isdigit() and len(size) < 12 for size in sizes):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=DIMS, such as x=1x3x224x224")
    return name, tuple(int(size) for size in sizes)


def parse_threads(text: str) -> int:
    """A number of threads."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MAX_THREADS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 to {_MAX_THREADS}")
    return int(text)


def parse_count(text: str) -> int:
    """A whole number of at least one."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def parse_seed(text: str) -> int:
    """A whole number from 0 that NumPy takes as a seed."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0")
    return int(text)


def parse_seconds(text: str) -> float:
    """A positive, finite number."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number of seconds")
    return seconds


def parse_json_target(text: str) -> str:
    """A file name ending in .json, so that a model's name after --json is not taken for it; or -."""
    if text != "-" and not text.endswith(".json"):
        raise argparse.ArgumentTypeError(f"'{text}' does not end in .json; put --json last, or name a .json file")
    return text


# -- options -----------------------------------------------------------------------------------------------------------


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx or .plan file")


def add_shapes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shape", action="append", default=[], type=parse_shape, metavar="NAME=DIMS",
        help="the shape of an input, such as x=1x3x224x224; repeat it for more inputs",
    )  # fmt: skip


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=parse_threads, metavar="N", help="threads of a run (default: all)")
    parser.add_argument("--isa", metavar="NAME", help="the highest instruction set to use; see `planish doctor`")


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=("exact", "fast"), default="exact",
        help="fast: float weights, and inputs where the processor has AMX, may be rounded to bfloat16 (default exact)",
    )  # fmt: skip


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=parse_seed, default=0, metavar="N", help="seed of random values (default 0)")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no notes; results and errors only")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", nargs="?", const="-", type=parse_json_target, metavar="F.json",
        help="the result as JSON: to a file, or without a name to standard output instead of the table",
    )  # fmt: skip


# -- meaning -----------------------------------------------------------------------------------------------------------


def shapes_of(given: Sequence[Shape]) -> dict[str, tuple[int, ...]]:
    """Input name → dims. Raises UsageError for an input that is named twice."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, dims in given:
        if name in shapes:
            raise UsageError(f"--shape {name}: given twice; give each input once")
        shapes[name] = dims
    return shapes


@contextlib.contextmanager
def machine_settings(args: argparse.Namespace) -> Iterator[None]:
    """Within the block, --isa and --threads hold for this process and for those it starts."""
    from planish import _core

    isa: str | None = args.isa
    if isa is not None:
        _check_isa(isa)
    wanted = {environment.ISA.name: isa, environment.NUM_THREADS.name: args.threads}
    saved = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: str(value) for name, value in wanted.items() if value is not None})
    try:
        _core.set_isa(os.environ.get(environment.ISA.name, ""))
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _core.set_isa(saved[environment.ISA.name] or "")


def _check_isa(name: str) -> None:
    from planish import _core

    offered = [isa for isa in _core.cpu_isas() if isa in _core.built_isas()]
    if name not in offered:
        raise UsageError(f"--isa '{name}': not among what this machine can run; use one of {', '.join(offered)}")
