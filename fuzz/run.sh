#!/bin/sh
# Fuzzes targets one after the other: SECONDS each, `run.sh 600 lengths recipe`; all of them without names. A row a target goes to
# artifacts/table.md: executions, executions a second, coverage, inputs that add to it, and what was found.
set -eu
cd "$(dirname "$0")"
seconds=${1:-600}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -v '^temper-fuzz$')
export RUSTC_BOOTSTRAP=1
mkdir -p artifacts
for target; do
    features=$(grep -A6 "^name = \"$target\"" Cargo.toml | sed -n 's/^required-features = \["\(.*\)"\]$/--features \1/p' | head -1)
    mkdir -p "corpus/$target" "seeds/$target"
    # What keep.sh kept of earlier runs.
    [ ! -f "seeds/$target.tar.gz" ] || tar -xzf "seeds/$target.tar.gz" -C "corpus/$target"
    log="artifacts/$target.log"
    status=0
    # The limits of memory are part of what is asserted: no small file may cost more.
    cargo fuzz run --sanitizer none $features "$target" "corpus/$target" "seeds/$target" -- -max_total_time="$seconds" \
        -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=8192 -print_final_stats=1 >"$log" 2>&1 || status=$?
    number() { grep -ao "$1" "$log" | tail -1 | grep -o '[0-9]*$' || echo 0; }
    found=nothing
    [ "$status" = 0 ] || found="exit $status, see $log"
    echo "| $target | $(number 'number_of_executed_units: *[0-9]*') | $(number 'average_exec_per_sec: *[0-9]*') |" \
        "$(number 'cov: *[0-9]*') | $(ls "corpus/$target" | wc -l) | $found |" | tee -a artifacts/table.md
    # What ended targets left in memory; another run.sh may be at work beside this one.
    for left in /dev/shm/temper-fuzz-*; do
        kill -0 "${left##*-}" 2>/dev/null || rm -rf "$left"
    done
done
