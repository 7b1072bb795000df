#!/usr/bin/env bash
# VNN-COMP: answers one instance. run_instance.sh v1 CATEGORY ONNX VNNLIB RESULT TIMEOUT
# RESULT holds sat, unsat, unknown, timeout or error, and behind sat the counterexample.
set -euo pipefail
[ "${1:-}" = v1 ] && [ $# = 6 ] || { echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULT TIMEOUT" >&2; exit 1; }
temper=$(dirname "${BASH_SOURCE[0]}")/../../target/release/temper
rm -f "$5"
if ! "$temper" verify "$3" "$4" --timeout "$6" --result "$5"; then
    echo error > "$5"
    exit 1
fi
