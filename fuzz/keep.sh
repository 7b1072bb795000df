#!/bin/sh
# Keeps what runs of the fuzzer added to `corpus`: of each target named, a small set that reaches all that `corpus` and `seeds` reach goes to
# seeds/TARGET.tar.gz, to be committed. run.sh begins with it.
set -eu
cd "$(dirname "$0")"
export RUSTC_BOOTSTRAP=1
for target; do
    if [ "$target" = tokenizer ]; then
        echo "what is found for the tokenizer can harm other programs: nothing of it is kept" >&2
        continue
    fi
    features=$(grep -A6 "^name = \"$target\"" Cargo.toml | sed -n 's/^required-features = \["\(.*\)"\]$/--features \1/p' | head -1)
    kept=$(mktemp -d)
    mkdir -p "corpus/$target"
    cargo fuzz run --sanitizer none $features "$target" "$kept" "corpus/$target" "seeds/$target" -- -set_cover_merge=1 -use_counters=0 \
        -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=8192
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - -C "$kept" . | gzip -n >"seeds/$target.tar.gz"
    rm -r "$kept"
done
