"""Compress a float model by a recipe, and report what each layer became.

Recipes by name: int8, int8-dynamic, int8-weights, int4-weights, pruned, pruned-int8, codebook; or a TOML file.
With --labels and --max-drop, layers are kept in float, worst first, until the accuracy holds.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import add_json, add_machine, add_quiet, add_seed, machine_settings, parse_count
from planish.errors import UsageError

EXAMPLE = "planish compress model.onnx -o small.onnx --recipe int8 --calibration samples.npz"


def parse_drop(text: str) -> float:
    """Percentage points of accuracy, 0 to 100."""
    try:
        drop = float(text)
    except ValueError:
        drop = -1.0
    if not 0 <= drop <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of percentage points from 0 to 100")
    return drop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a float .onnx file")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", help="the compressed model")
    parser.add_argument("--recipe", default="int8", metavar="NAME|F.toml", help="what to do (default int8)")
    samples = "samples by input name, a folder of .npy, or random"
    parser.add_argument("--calibration", metavar="F.npz|DIR|random", help=samples)
    parser.add_argument("--samples", type=parse_count, default=300, metavar="N", help="how many to use (default 300)")
    parser.add_argument(
        "--max-drop", type=parse_drop, metavar="P", help="percentage points of accuracy that may be lost"
    )
    parser.add_argument("--labels", metavar="F.npy", help="the right classes of the calibration samples")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; measure and write nothing")
    add_machine(parser)
    add_seed(parser)
    add_quiet(parser)
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    import planish
    from planish.report.document import write_json_text
    from planish.report.progress import progress_bar

    if args.output is None and not args.dry_run:
        raise UsageError("-o: missing; name the file to write, or give --dry-run")
    if args.max_drop is not None and args.labels is None:
        raise UsageError("--max-drop: needs --labels to know the accuracy; give F.npy with the right classes")
    with machine_settings(args), progress_bar(args.quiet) as progress:
        report = planish.compress(
            args.model,
            args.output,
            recipe=args.recipe,
            calibration=args.calibration,
            samples=args.samples,
            max_drop=args.max_drop,
            labels=args.labels,
            dry_run=args.dry_run,
            seed=args.seed,
            progress=progress,
        )
    if args.json:
        write_json_text(report.to_json(), args.json)
    if args.json != "-":
        print(report)
