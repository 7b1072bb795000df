#!/usr/bin/env bash
# litdata 0.2.76 (the streaming token format of LitGPT's pre-training): `optimize` writes a corpus as chunks of tokens,
# `StreamingDataset` with `TokensLoader(block_size)` reads it as blocks, each a training sequence.
#
# A good guess: the corpus is one stream of tokens, and at most the tokens behind its last whole block are not read.
#
# What happens: blocks do not cross chunks. Of every chunk, the tokens behind its last whole block are never read, with nothing raised
# or printed. A chunk ends where the next document would not fit, so the loss is up to a block a chunk: 4 to 16 % of the tokens below,
# with chunks of 500 tokens and blocks of 32 to 100. Chunks of 64 MB make it small; small chunks, as for finer shuffling, do not.
#
# Where to look: TokensLoader.setup and generate_intervals in litdata/streaming/item_loader.py (tokens of a chunk // block_size).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check litdata==0.2.76 torch==2.15.0 numpy==2.4.6
cat > "$folder/see.py" <<'P'
import contextlib, io, os, sys

os.chdir(sys.argv[1])
import torch
from litdata import StreamingDataset, TokensLoader, optimize

LENGTHS = [37 + i for i in range(40)]
BEGINS = [sum(LENGTHS[:i]) for i in range(40)]
TOTAL = sum(LENGTHS)


def tokens(document):
    begin, length = document
    yield torch.arange(begin, begin + length, dtype=torch.int32)


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        optimize(tokens, list(zip(BEGINS, LENGTHS)), "corpus", chunk_size=500, item_loader=TokensLoader(), num_workers=1)
    chunks = len([name for name in os.listdir("corpus") if name.endswith(".bin")])
    read = []
    for block in (32, 64, 100):
        dataset = StreamingDataset("corpus", item_loader=TokensLoader(block_size=block), shuffle=False)
        read.append(len(set(torch.cat(list(dataset)).tolist())))
        print(f"{chunks} chunks, blocks of {block}: {read[-1]} of {TOTAL} tokens are read; one stream has {TOTAL // block * block} in blocks")
    assert read == [2176, 2112, 1900], "litdata reads other tokens now"
P
"$folder/venv/bin/python" "$folder/see.py" "$folder"
