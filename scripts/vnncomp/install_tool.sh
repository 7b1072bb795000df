#!/usr/bin/env bash
# VNN-COMP: builds Temper. install_tool.sh v1
set -euo pipefail
[ "${1:-}" = v1 ] || { echo "usage: install_tool.sh v1" >&2; exit 1; }
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v cc >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev
fi
command -v cargo >/dev/null || . "${CARGO_HOME:-$HOME/.cargo}/env"
cargo build --release
