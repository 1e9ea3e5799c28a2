"""Run a model once and print its outputs.

--inputs is an .npz whose keys are the input names. Without it the inputs are random, by --seed.
"""

from __future__ import annotations

import argparse
import sys

from planish.cli.arguments import (
    add_json,
    add_machine,
    add_model,
    add_quiet,
    add_seed,
    add_shapes,
    machine_settings,
    shapes_of,
)
from planish.errors import UsageError

EXAMPLE = "planish run model.onnx --inputs inputs.npz --output outputs.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--inputs", metavar="F.npz", help="arrays by input name (default: random ones)")
    parser.add_argument("--output", metavar="F.npz", help="write the outputs, by name")
    add_shapes(parser)
    add_machine(parser)
    add_seed(parser)
    add_quiet(parser)
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    import planish
    from planish.arrays import read_npz, write_npz
    from planish.files import check_writable
    from planish.measure.contestant import InputSpec
    from planish.measure.inputs import random_feeds
    from planish.report.arrays import array_table, summaries
    from planish.report.document import write_json

    if args.inputs and args.shape:
        raise UsageError("--shape: the arrays of --inputs have shapes of their own; leave one of the two out")
    shapes = shapes_of(args.shape)
    if args.output:
        check_writable(args.output)
    notes: list[str] = []
    with machine_settings(args):
        session = planish.InferenceSession(args.model)
        if args.inputs:
            feeds = read_npz(args.inputs)
        else:
            specs = [InputSpec(i.name, tuple(i.shape), i.type) for i in session.get_inputs()]
            feeds, notes = random_feeds(specs, shapes=shapes, seed=args.seed)
            notes.insert(0, f"inputs: random, seed {args.seed}; --inputs F.npz feeds your own")
        outputs = session.run_arrays(feeds)
    if args.output:
        write_npz(args.output, outputs)
    if notes and not args.quiet:
        sys.stderr.write("\n".join([*notes, ""]))
    if args.json:
        write_json({"model": args.model, "notes": notes, "outputs": summaries(outputs)}, args.json)
    if args.json != "-":
        array_table(outputs).print()
