"""What a call costs when there is next to nothing to compute.

    python -m bench.overhead [--seconds N] [--json FILE]

Prints the microseconds of a whole `run` of a three-layer perceptron, 32 wide, in planish and in ONNX Runtime (see
planish.measure), and the microseconds that one more instruction adds to a Program.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from planish import _core
from planish.measure import Contestant, measure

WIDTH, LAYERS = 32, 3
SHORT, LONG, ROUNDS = 10, 410, 30
INSTRUCTION_RUNS = 200


def perceptron() -> onnx.ModelProto:
    """[1, 32] → Gemm, Relu, Gemm, Relu, Gemm → [1, 32]."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for i in range(LAYERS):
        for name, shape in ((f"w{i}", (WIDTH, WIDTH)), (f"b{i}", (WIDTH,))):
            weights.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"h{i}"]))
        value = f"h{i}"
        if i < LAYERS - 1:
            nodes.append(helper.make_node("Relu", [value], [f"r{i}"]))
            value = f"r{i}"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, WIDTH]) for name in ("x", value)]
    graph = helper.make_graph(nodes, "perceptron", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def call_seconds(seconds: float = 3.0) -> dict[str, dict[str, Any]]:
    """Engine → p50 and quartiles of the blocks' medians, in seconds, of a whole call on one thread."""
    with tempfile.TemporaryDirectory(prefix="planish-overhead-") as folder:
        path = Path(folder) / "perceptron.onnx"
        onnx.save(perceptron(), path)
        found = measure(
            [Contestant(engine, path, engine) for engine in ("planish", "onnxruntime")], threads=1, seconds=seconds
        )
    return {
        row.engine: {"p50": row.p50, "quartiles": np.percentile(row.block_medians, (25, 75)).tolist()}
        for row in found.contestants
    }


def instruction_seconds() -> float:
    """What one more instruction costs, the least of many rounds: (a long chain − a short one) / their difference."""
    x, y = np.zeros(8, np.float32), np.zeros(8, np.float32)
    chains = {length: _chain(length, x.nbytes) for length in (SHORT, LONG)}
    least = dict.fromkeys(chains, np.inf)
    for _ in range(ROUNDS):
        for length, program in chains.items():
            start = time.perf_counter()
            for _ in range(INSTRUCTION_RUNS):
                program.run([x], [y])
            least[length] = min(least[length], (time.perf_counter() - start) / INSTRUCTION_RUNS)
    return (least[LONG] - least[SHORT]) / (LONG - SHORT)


def _chain(length: int, nbytes: int) -> _core.Program:
    """A Program of `length` copies of eight floats, one after the other."""
    program = _core.Program(1)
    f32 = _core.DTYPES.index("float32")
    view = (program.input(0, nbytes), 0, f32, (8,), (4,))
    for i in range(length):
        buffer = program.output(0, nbytes) if i == length - 1 else program.arena(nbytes)
        target = (buffer, 0, f32, (8,), (4,))
        program.add(f"copy{i}", "copy", [view], [target], {})
        view = target
    program.finalize()
    return program


def measure_overhead(seconds: float = 3.0) -> dict[str, Any]:
    return {"call": call_seconds(seconds), "instruction": instruction_seconds()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each engine")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = measure_overhead(args.seconds)
    for engine, row in found["call"].items():
        low, high = row["quartiles"]
        print(f"{engine:12s} run: {row['p50'] * 1e6:6.2f} µs ({low * 1e6:.2f}–{high * 1e6:.2f})")
    print(f"one instruction: {found['instruction'] * 1e6:.3f} µs")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
