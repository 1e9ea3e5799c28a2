"""The whole story on an embedded network, in under a minute.

A network that reads handwritten digits goes through float, int8, pruned, codebook and combinations: size, accuracy on
images it has never seen, latency, and where each form won or was declined. --save DIR first writes model.onnx,
calibration.npz, images.npz and labels.npy there, to try the other commands on.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import add_json, add_machine, add_quiet, machine_settings

EXAMPLE = "planish demo --save digits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="DIR", help="write the model and its data into this folder")
    add_machine(parser)
    add_quiet(parser)
    add_json(parser)


def execute(args: argparse.Namespace) -> None:
    import sys

    from planish.demo.story import save, tell
    from planish.report.document import write_json
    from planish.report.progress import progress_bar
    from planish.report.story import story_document, story_table

    if args.save:
        written = ", ".join(map(str, save(args.save)))
        if not args.quiet:
            sys.stderr.write(f"wrote {written}\n")
    with machine_settings(args), progress_bar(args.quiet) as progress:
        story = tell(args.threads or 1, progress)
    if args.json:
        write_json(story_document(story), args.json)
    if args.json != "-":
        story_table(story).print()
