"""Measure models side by side, each in a process of its own, in alternating blocks.

--against adds: float, the first model with its compression undone; onnxruntime and openvino, which run the same .onnx
files. The outputs are compared first; speed is relative to float where there is one, else to the first model.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import (
    add_json,
    add_machine,
    add_quiet,
    add_seed,
    add_shapes,
    machine_settings,
    parse_seconds,
    shapes_of,
)

EXAMPLE = "planish bench small.onnx --against float,onnxruntime --plot figure.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="an .onnx or .plan file")
    parser.add_argument("--against", default="", metavar="NAME[,NAME]", help="float, onnxruntime, openvino")
    parser.add_argument("--inputs", metavar="F.npz", help="samples by input name, run in turn (default: a random one)")
    parser.add_argument(
        "--seconds", type=parse_seconds, default=3.0, metavar="N", help="for each contestant (default 3)"
    )
    parser.add_argument("--plot", metavar="F.png", help="draw latency and size to a .png, .svg or .pdf")
    parser.add_argument("--profile", action="store_true", help="also time each model step by step, with every kernel")
    add_shapes(parser)
    add_machine(parser)
    add_seed(parser)
    add_quiet(parser)
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    from dataclasses import asdict

    from planish.measure import measure
    from planish.measure.line_up import line_up
    from planish.measure.plot import check_plot, save_plot
    from planish.measure.profile import profile
    from planish.measure.table import to_table
    from planish.report.document import write_json
    from planish.report.profile import profile_table
    from planish.report.progress import progress_bar

    shapes = shapes_of(args.shape)
    common = {"shapes": shapes, "seed": args.seed, "threads": args.threads or 0}
    if args.plot:
        check_plot(args.plot)
    with machine_settings(args), line_up(args.models, args.against) as entrants:
        with progress_bar(args.quiet) as bar:
            found = measure(
                entrants.contestants,
                feeds=args.inputs,
                seconds=args.seconds,
                baseline=entrants.baseline,
                progress=bar and (lambda what, done, total: bar(done, total, what)),
                **common,
            )
        own = [c for c in entrants.contestants if c.engine == "planish"] if args.profile else []
        profiles = {c.name: profile(c.path, feeds=args.inputs, **common) for c in own}
    if args.plot:
        save_plot(found, args.plot)
    if args.json:
        steps = {name: [asdict(step) for step in rows] for name, rows in profiles.items()}
        write_json({**found.to_dict(), "notes": [*entrants.notes, *found.notes], "profiles": steps}, args.json)
    if args.json != "-":
        table = to_table(found)
        table.footer += entrants.notes
        table.print()
        for name, rows in profiles.items():
            print()
            profile_table(name, rows).print()
