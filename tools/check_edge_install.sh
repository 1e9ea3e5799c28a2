#!/bin/sh
# The supported edge install: the wheel without dependencies, and NumPy, load and run a plan.
# Usage: tools/check_edge_install.sh SCRATCH_FOLDER   (run where planish is installed with its dependencies)
set -eu
scratch=$1
mkdir -p "$scratch"
python -c 'import sys; from planish.demo.story import save; save(sys.argv[1])' "$scratch/demo"
planish export "$scratch/demo/model.onnx" -o "$scratch/model.plan"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -q numpy
"$scratch/venv/bin/pip" install -q --no-deps .
"$scratch/venv/bin/planish" run "$scratch/model.plan"
"$scratch/venv/bin/python" - "$scratch/model.plan" <<'PY'
import sys

import numpy

import planish

session = planish.InferenceSession(sys.argv[1])
port = session.get_inputs()[0]
shape = [d if isinstance(d, int) else 2 for d in port.shape]
(result,) = session.run(None, {port.name: numpy.zeros(shape, numpy.float32)})
assert numpy.isfinite(result).all()
loaded = {m for m in ("onnx", "onnx_ir", "rich") if m in sys.modules}
assert not loaded, f"running a plan imported {loaded}"
print("edge install: runs with NumPy alone")
PY
