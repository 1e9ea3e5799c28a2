#!/usr/bin/env bash
# Fuzzes the extension built with sanitizers, beside the package of this tree. What a sanitizer reports ends the worker
# that it is in: a finding of kind `crash`, with the report. Usage: tools/fuzz_sanitized.sh BUILD_FOLDER FUZZING_OPTION...
#
# BUILD_FOLDER: built with -DPLANISH_SANITIZE=address,undefined -DPLANISH_PYTHON=ON, as tools/check_native.sh SCRATCH does
# in SCRATCH/sanitize. The options are those of `python -m tests.fuzz`; findings are written to BUILD_FOLDER/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(cd "$1" && pwd)
shift
package=$folder/engine/planish
rm -rf "$package"
mkdir -p "$folder/engine"
cp -r engine/planish "$package"
rm -f "$package"/_core*.so
cp "$folder"/_core*.so "$package/"

library() { "${CXX:-g++}" -print-file-name="$1"; }
export PYTHONPATH=$folder/engine:$PWD PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1
# libstdc++ as well: AddressSanitizer looks for its functions when the process starts.
LD_PRELOAD="$(library libasan.so) $(library libubsan.so) $(library libstdc++.so.6)" \
  exec "${PYTHON:-python3}" -m tests.fuzz --findings "$folder/fuzz" "$@"
