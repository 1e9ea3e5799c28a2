#!/usr/bin/env bash
# Checks the native half. Usage: tools/check_native.sh SCRATCH_FOLDER
#
#   plain       warnings are errors; every kernel against its reference; no foreign instructions in any object file;
#               the same executable on emulated old processors
#   sanitizers  address and undefined behaviour for all kernels, and for the extension, which is fuzzed for two minutes;
#               threads for the thread pool and for Programs run by many threads
#   aarch64     cross-built and emulated
#
# Needs CMake, Ninja and g++; what needs qemu-user, the cross compiler, or a $PYTHON with pybind11 and the packages of the
# tests, is skipped, with a line, where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$1
mkdir -p "$scratch"
jobs=${JOBS:-$(nproc)}

say() { printf -- '-- %s (%ss)\n' "$*" "$SECONDS"; }

# build FOLDER TARGET... -- CMAKE_OPTION...
build() {
  local folder=$scratch/$1 targets=()
  shift
  while [ "$1" != -- ]; do targets+=("$1"); shift; done
  shift
  cmake -S . -B "$folder" -G Ninja -DPLANISH_PYTHON=OFF -DPLANISH_NATIVE_TESTS=ON "$@" >"$folder.log" 2>&1 &&
    cmake --build "$folder" -j "$jobs" --target "${targets[@]}" >>"$folder.log" 2>&1 || { tail -n 60 "$folder.log"; exit 1; }
}

# run COMMAND...: the whole output only where it fails; else its last line, and why how many kernels were skipped
run() {
  if ! "$@" >"$scratch/out" 2>&1; then cat "$scratch/out"; exit 1; fi
  sed -n 's/.*skipped: /skipped: /p' "$scratch/out" | sort | uniq -c
  tail -n 1 "$scratch/out"
}

python=${PYTHON:-python3}

say "plain build, warnings are errors"
build plain planish_native_tests planish_thread_tests -- -DPLANISH_WERROR=ON
say "kernels and thread pool"
run "$scratch/plain/planish_native_tests"
run "$scratch/plain/planish_thread_tests"
say "instruction encodings"
"$python" tools/check_encodings.py "$scratch/plain"

for cpu in Nehalem Haswell; do
  if [ "$(uname -m)" != x86_64 ]; then
    say "emulated $cpu skipped: this machine is not x86-64"
  elif command -v qemu-x86_64 >/dev/null; then
    say "kernels on an emulated $cpu"
    run qemu-x86_64 -cpu "$cpu" "$scratch/plain/planish_native_tests"
  else
    say "emulated $cpu skipped: qemu-user is not installed"
  fi
done

say "address and undefined behaviour sanitizers"
sanitized=(-DPLANISH_SANITIZE=address,undefined "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")
build sanitize planish_native_tests planish_thread_tests -- "${sanitized[@]}"
run "$scratch/sanitize/planish_native_tests"
run "$scratch/sanitize/planish_thread_tests"

if ! "$python" -c "import numpy, onnx, onnx_ir, pybind11" 2>/dev/null; then
  say "fuzzing with sanitizers skipped: $python lacks numpy, onnx, onnx_ir or pybind11"
else
  say "the extension with sanitizers" # the same object files
  build sanitize _core -- "${sanitized[@]}" -DPLANISH_PYTHON=ON -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
  say "fuzzing with sanitizers"
  PYTHON=$python tools/fuzz_sanitized.sh "$scratch/sanitize" --seconds 120 --jobs "$jobs"
fi

say "thread sanitizer" # finds races by what is called, so nothing is optimised
build threads planish_thread_tests planish_program_tests -- -DPLANISH_SANITIZE=thread "-DCMAKE_CXX_FLAGS_RELEASE=-O0 -DNDEBUG"
run "$scratch/threads/planish_thread_tests" --without-forks
run "$scratch/threads/planish_program_tests"

if ! command -v aarch64-linux-gnu-g++ >/dev/null; then
  say "aarch64 skipped: g++-aarch64-linux-gnu is not installed"
else
  say "aarch64 cross build"
  build aarch64 planish_native_tests planish_thread_tests -- -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DPLANISH_WERROR=ON
  "$python" tools/check_encodings.py "$scratch/aarch64"
  if command -v qemu-aarch64 >/dev/null; then
    say "kernels and thread pool on an emulated aarch64"
    run qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu max "$scratch/aarch64/planish_native_tests"
    run qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu max "$scratch/aarch64/planish_thread_tests" --without-forks
  else
    say "emulated aarch64 skipped: qemu-user is not installed"
  fi
fi
say "native checks passed"
