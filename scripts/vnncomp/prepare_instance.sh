#!/usr/bin/env bash
# VNN-COMP: nothing to prepare but files that can be read. prepare_instance.sh v1 CATEGORY ONNX VNNLIB
set -euo pipefail
[ "${1:-}" = v1 ] && [ $# = 4 ] || { echo "usage: prepare_instance.sh v1 CATEGORY ONNX VNNLIB" >&2; exit 1; }
for file in "$3" "$4"; do
    [ -r "$file" ] || { echo "prepare_instance.sh: $file cannot be read" >&2; exit 1; }
done
