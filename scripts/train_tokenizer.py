#!/usr/bin/env python3
"""Trains assets/tokenizer.json, the byte-level BPE of the demo, on both of its texts; needs `pip install tokenizers==0.23.*` and `zstd`.

    python3 scripts/train_tokenizer.py assets/web.jsonl.zst assets/law.jsonl.zst --vocab 4096 --out assets/tokenizer.json

`<|endoftext|>` is id 0. The same texts give the same file. Prints tokens per byte of every text, and checks that every document
comes back from its tokens unchanged.
"""
import argparse
import json
import subprocess

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def texts(path):
    data = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout
    return [json.loads(line)["text"] for line in data.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    corpora = {path: texts(path) for path in args.texts}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=args.vocab, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator((t for corpus in corpora.values() for t in corpus), trainer)
    tokenizer.save(args.out)
    for path, corpus in corpora.items():
        ids = [e.ids for e in tokenizer.encode_batch(corpus)]
        size, tokens = sum(len(t.encode()) for t in corpus), sum(map(len, ids))
        same = tokenizer.decode_batch(ids, skip_special_tokens=False) == corpus
        print(f"{path}: {size} bytes, {tokens} tokens, {tokens / size:.4f} tokens per byte, {size / tokens:.3f} bytes per token, "
              f"{'round trip exact' if same else 'ROUND TRIP DIFFERS'}")


if __name__ == "__main__":
    main()
