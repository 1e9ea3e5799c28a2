"""`main`: from arguments to a command, and from what it raises to one line and an exit code."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType

import planish
from planish import environment
from planish.cli import bench, compare, compress, demo, doctor, export, inspect, run
from planish.cli.arguments import Parser
from planish.errors import PlanishError, UsageError
from planish.files import check_writable

#: Exit codes: fine, the job failed, wrong usage, ended by Ctrl-C.
OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_INTERRUPTED = "{}: interrupted; nothing is half-written"

COMMANDS: tuple[ModuleType, ...] = (inspect, run, compress, compare, export, bench, demo, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; errors are one line on the standard error."""
    command = "planish"
    try:
        args = build_parser().parse_args(argv)
        command = f"planish {args.command}"
        _check_targets(args)
        args.execute(args)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse after --help and --version
        return int(leaving.code or OK)
    except KeyboardInterrupt:
        return _fail(_INTERRUPTED.format(command), INTERRUPTED)
    except BrokenPipeError:
        _discard_output()
        return OK
    except UsageError as error:
        return _fail(str(error), USAGE)
    except PlanishError as error:
        return _fail(str(error), FAILED)
    except Exception as error:
        if any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error)):
            return _fail(_INTERRUPTED.format(command), INTERRUPTED)
        if any(map(_is_lack_of_memory, _causes(error))):
            return _fail(f"{command}: out of memory; use a smaller model, smaller --shape, or fewer samples", FAILED)
        if isinstance(error, OSError):
            return _fail(_describe(command, error), FAILED)
        kind = type(error).__name__
        return _fail(f"{command}: unexpected {kind}: {error}; report it with what PLANISH_DEBUG=1 shows", FAILED)
    return OK


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="planish",
        description="Compress neural networks and run them fast on CPUs.",
        epilog="`planish COMMAND --help` tells more; start with `planish demo`.",
    )
    parser.add_argument("--version", action="version", version=f"planish {planish.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        summary, _, more = (module.__doc__ or "").partition("\n\n")
        name = module.__name__.rpartition(".")[2]
        sub = commands.add_parser(
            name,
            help=summary.rstrip("."),
            description="\n\n".join(filter(None, [summary, more.strip()])),
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(execute=module.execute)
    return parser


def _check_targets(args: argparse.Namespace) -> None:
    """Raise OutputError for a file that could not be written at the end, before the work begins."""
    for option in ("json", "html"):
        target = getattr(args, option, None)
        if target not in (None, "-"):
            check_writable(target)


def _fail(message: str, code: int) -> int:
    """Print the error's line, and with PLANISH_DEBUG=1 where it comes from."""
    try:
        if environment.DEBUG.is_on:
            traceback.print_exc()
        sys.stderr.write(f"planish: error: {' '.join(message.split())}\n")
    except OSError:
        pass  # Nobody reads the standard error; the exit code remains.
    return code


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what is behind it: while modules load, Ctrl-C and a lack of memory become ImportErrors."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_lack_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, MemoryError) or "failed to map segment from shared object" in str(error)


def _describe(command: str, error: OSError) -> str:
    """The line for an operating system's error that no module gave words to."""
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
        _discard_output()
        return f"{command}: cannot write its output: {error.strerror}; free some room or write elsewhere"
    where = error.filename if isinstance(error.filename, str) else command
    return f"{where}: {error.strerror or error}; check the path and its permissions"


def _discard_output() -> None:
    """Let the interpreter's last flush of the standard output succeed."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # The standard output is no file of the system.
    finally:
        os.close(null)
