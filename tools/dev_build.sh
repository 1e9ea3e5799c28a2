#!/bin/sh
# Builds the extension in place (engine/planish/_core*.so) for development: tools/dev_build.sh [cmake options]
# With PYTHONPATH=engine, Python then runs the working tree.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
mkdir -p build
cmake -S . -B build/dev -G Ninja -DPython_EXECUTABLE="$(command -v "$python")" \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" "$@" >build/dev.log 2>&1 || { cat build/dev.log; exit 1; }
cmake --build build/dev -j "${JOBS:-2}"
cp build/dev/_core*.so engine/planish/
