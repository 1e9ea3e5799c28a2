"""What a new combination of input shapes costs: MobileNetV2 whose batch, height and width are free.

    python -m bench.signatures [MODEL.onnx] [--count N]

Runs the model at `count` shapes that it has not seen. The cost of one is its first run less the least of ten later
ones, in processor time of one thread. Prints the shapes with both times, and the median cost. A model of your own must
take one input of four dimensions, NCHW.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import onnx

import planish
from bench.models.convnets import build_mobilenet_v2

_LATER_RUNS = 10


def freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with free batch, height and width in its only input; shapes behind it are forgotten."""
    (given,) = model.graph.input
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        given.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    for made in model.graph.output:
        made.type.tensor_type.ClearField("shape")
    return model


def measure(session: planish.InferenceSession, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Processor seconds of the first run at this shape, and of the best of the later ones."""
    feed = {name: np.random.default_rng(0).standard_normal(shape, dtype=np.float32)}
    times = []
    for _ in range(1 + _LATER_RUNS):
        start = time.process_time()
        session.run(None, feed)
        times.append(time.process_time() - start)
    return times[0], min(times[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=12)
    args = parser.parse_args()
    model = freed(onnx.load(args.model) if args.model else build_mobilenet_v2())
    session = planish.InferenceSession(model, planish.SessionOptions(intra_op_num_threads=1))
    (given,) = session.get_inputs()
    costs = []
    print(f"{'shape':>16s} {'first run':>10s} {'later':>8s} {'cost':>8s}  (ms)")
    for i in range(args.count):
        shape = (1 + i % 2, int(given.shape[1] or 3), 96 + 8 * i, 224 - 8 * i)
        first, later = measure(session, given.name, shape)
        costs.append(first - later)
        text = "x".join(map(str, shape))
        print(f"{text:>16s} {first * 1e3:10.2f} {later * 1e3:8.2f} {costs[-1] * 1e3:8.2f}", flush=True)
    print(f"median cost of a new shape: {np.median(costs[1:]) * 1e3:.2f} ms ({len(session.lowered.steps)} steps)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
