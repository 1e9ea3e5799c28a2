"""Compile a model ahead of time into a plan, which loads in a moment and needs NumPy alone.

--isa names the instruction sets the plan is meant for; a machine with none of them refuses it. --shape fixes the
shapes of inputs; other dimensions stay free. --tune times every kernel here, at these shapes, and keeps the fastest;
the plan is then for this machine's instruction set. Operators without a native kernel need --allow-fallback.
"""

from __future__ import annotations

import argparse

from planish.cli.arguments import add_precision, add_shapes, parse_threads, shapes_of
from planish.errors import UsageError

EXAMPLE = "planish export small.onnx -o small.plan --shape x=1x3x224x224"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.plan", help="the plan to write")
    parser.add_argument("--isa", metavar="NAME[,NAME]", help="instruction sets it is meant for (default: any machine)")
    add_shapes(parser)
    parser.add_argument("--tune", action="store_true", help="choose kernels by timing them on this machine")
    parser.add_argument("--threads", type=parse_threads, metavar="N", help="threads to tune for (default: all)")
    add_precision(parser)
    parser.add_argument("--allow-fallback", action="store_true", help="accept operators that need onnx at run time")


def execute(args: argparse.Namespace) -> None:
    import os

    import planish
    from planish.report.units import format_bytes

    if not args.output.endswith(".plan"):
        raise UsageError(f"-o {args.output}: a plan's name ends in .plan; rename it")
    isas = [name.strip() for name in args.isa.split(",")] if args.isa else []
    options = planish.SessionOptions(intra_op_num_threads=args.threads or 0, precision=args.precision)
    session = planish.InferenceSession(args.model, options)
    planish.export(
        session,
        args.output,
        isa=isas,
        shapes=shapes_of(args.shape),
        allow_fallback=args.allow_fallback,
        tune=args.tune,
    )
    print(f"{args.output}: {format_bytes(os.path.getsize(args.output))}")
