"""The machine: instruction sets, threads, environment variables, versions, kernels.

What was built, what this CPU offers, and what may be used; where the number of threads comes from.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import add_json

EXAMPLE = "planish doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kernels", action="store_true", help="list every kernel, not only their number")
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    from planish.machine import examine
    from planish.report.document import write_json
    from planish.report.machine import print_machine

    found = examine()
    if args.json:
        write_json(found.to_dict(), args.json)
    if args.json != "-":
        print_machine(found, args.kernels)
