"""What is in a model, what runs natively, sizes, MACs, weight statistics.

Operators and stored forms as the file has them; per layer the shapes, the weights' format, the kernel chosen on this
machine and the reason; the memory for intermediate tensors. Sizes that --shape leaves open are assumed, and noted.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import add_json, add_machine, add_model, add_shapes, machine_settings, shapes_of

EXAMPLE = "planish inspect model.onnx --shape x=8x3x224x224 --html model.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    add_shapes(parser)
    parser.add_argument("--html", metavar="F.html", help="write one self-contained page with the graph drawn")
    add_machine(parser)
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    from planish.inspection import inspect_model
    from planish.report.document import write_json
    from planish.report.html import write_page
    from planish.report.inspection import print_inspection

    with machine_settings(args):
        found = inspect_model(args.model, shapes_of(args.shape))
    if args.html:
        write_page(found, args.html)
    if args.json:
        write_json(found.to_dict(), args.json)
    if args.json != "-":
        print_inspection(found)
