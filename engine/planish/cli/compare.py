"""How much less accurate a model is than another, and where.

Per output the error, the cosine and the top-1 agreement; with --labels both accuracies and the net of flipped answers
with its 95 % interval; with --layers the signal-to-noise ratio of every tensor that both have, worst first.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import add_json, add_machine, add_quiet, add_seed, machine_settings, parse_count

EXAMPLE = "planish compare model.onnx small.onnx --inputs samples.npz --labels labels.npy --layers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="FLOAT.onnx", help="the model to compare with")
    parser.add_argument("other", metavar="OTHER", help="an .onnx or .plan file")
    samples = "samples by input name, a folder of .npy, or random"
    parser.add_argument("--inputs", required=True, metavar="F.npz|DIR|random", help=samples)
    parser.add_argument("--labels", metavar="F.npy", help="the right classes of the samples, in their order")
    parser.add_argument("--layers", action="store_true", help="compare tensor by tensor too")
    parser.add_argument("--samples", type=parse_count, metavar="N", help="samples to use (default: all, or 300 random)")
    add_machine(parser)
    add_seed(parser)
    add_quiet(parser)
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    import planish
    from planish.report.comparison import print_comparison
    from planish.report.document import write_json_text
    from planish.report.progress import progress_bar

    samples = 300 if args.samples is None and args.inputs == "random" else args.samples
    with machine_settings(args), progress_bar(args.quiet) as progress:
        result = planish.compare(
            args.reference,
            args.other,
            inputs=args.inputs,
            labels=args.labels,
            layers=args.layers,
            samples=samples,
            seed=args.seed,
            progress=progress,
        )
    if args.json:
        write_json_text(result.to_json(), args.json)
    if args.json != "-":
        print_comparison(result)
