#!/usr/bin/env bash
# Fuzzes the extension that was built with sanitizers. Usage: tools/fuzz_sanitized.sh BUILD_FOLDER FUZZING_OPTION...
#
# BUILD_FOLDER: built with -DPLANISH_SANITIZE=address,undefined -DPLANISH_PYTHON=ON. The options are those of
# `python -m tests.fuzz`; findings are written to BUILD_FOLDER/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(cd "$1" && pwd)
shift
engine=$folder/engine
rm -rf "$engine"
mkdir -p "$engine"
cp -r engine/planish "$engine/"
rm -f "$engine"/planish/_core*.so
find "$folder" -name '_core*.so' -not -path "$engine/*" -exec cp {} "$engine/planish/" \;

library() { "${CXX:-g++}" -print-file-name="$1"; }
export PYTHONPATH=$engine:$PWD PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1
# libstdc++ as well: AddressSanitizer looks for its functions when the process starts.
LD_PRELOAD="$(library libasan.so) $(library libubsan.so) $(library libstdc++.so.6)" \
  "${PYTHON:-python3}" -m tests.fuzz --findings "$folder/fuzz" "$@"
