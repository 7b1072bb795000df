#!/usr/bin/env python3
"""Does transformers read an export as the run was trained: ids, length, padded batches, loss, generation?

    DIR/bin/python golden/export_check.py target/release/temper WORK

Makes nine kinds of tokenizer in the folder WORK (new or empty), trains a run of five updates with each, exports it, and looks at it through
AutoTokenizer, AutoModelForCausalLM and the text-generation pipeline:

* AutoTokenizer's ids of every text are those of tokenizer.json (the tokenizers package alone), and its length is the vocabulary;
* no id of a padded batch is outside the embedding, and the rows of a padded batch have the logits that they have alone;
* the loss over the validation tokens is that of `temper eval`;
* the pipeline writes a text.

The same for the checkpoint itself, and for an export of a run that began from a directory whose tokenizer_config.json names a class
that builds the tokenizer anew. Prints a line a kind; exit code 1 if one fails.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys

import tokenizers
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

WORDS = "the river went over stone and people came to light house king Under Mountain day night water bread city".split()
LINES = [" ".join(WORDS[(i * k + j * j) % len(WORDS)] for j, k in enumerate((3, 5, 7, 11, 2, 9, 4, 6))) + f" {i % 13}." for i in range(300)]
# Case, accents in both forms, several blanks, line ends, other scripts, special tokens spelled out.
TEXTS = ["The River went Over stone", "  two  blanks\n\n\tand a tab ", "caf\u00e9 cafe\u0301 na\u00efve \ufb01ne", "\u6cb3\u6d41 \u03c0\u03bf\u03c4\u03b1\u03bc\u03cc\u03c2 \U0001f30a", "people's, don't (1234)", "", " ",
         "and<|endoftext|>then", "</s> day", "UNDER MOUNTAIN", "a\u2581b \u2581 c"] + LINES[:20]


def kinds():
    """Name -> tokenizer, trained on LINES."""
    eod, bert = ["<|endoftext|>"], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<|endoftext|>"]

    def made(model, trainer, normalizer=None, pre=None, decoder=None):
        tokenizer = Tokenizer(model)
        if normalizer:
            tokenizer.normalizer = normalizer
        if pre:
            tokenizer.pre_tokenizer = pre
        if decoder:
            tokenizer.decoder = decoder
        tokenizer.train_from_iterator(LINES, trainer)
        return tokenizer

    def bpe(special=eod, size=400, **options):
        return trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **options)

    alphabet = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    byte_level = {"pre": pre_tokenizers.ByteLevel(add_prefix_space=False), "decoder": decoders.ByteLevel()}
    metaspace = {"pre": pre_tokenizers.Metaspace(), "decoder": decoders.Metaspace()}
    bytes_ = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    fallback = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    spaces = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return {
        "byte-level BPE": made(models.BPE(), bpe(**alphabet), **byte_level),
        "BPE, byte fallback": made(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), bpe(bytes_, 500), normalizer=spaces, decoder=fallback),
        "character BPE": made(models.BPE(unk_token="<unk>"), bpe(["<unk>", "<|endoftext|>"], 60, limit_alphabet=60), pre=pre_tokenizers.Split(Regex("."), "isolated")),
        "WordPiece": made(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=200, special_tokens=bert, show_progress=False),
                          normalizer=normalizers.BertNormalizer(lowercase=True), pre=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece()),
        "Unigram": made(models.Unigram(), trainers.UnigramTrainer(vocab_size=120, special_tokens=["<unk>", "</s>", "<pad>"], unk_token="<unk>", show_progress=False),
                        normalizer=normalizers.NFKC(), **metaspace),
        "WordLevel": made(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(special_tokens=bert, show_progress=False), pre=pre_tokenizers.Whitespace()),
        "lower case": made(models.BPE(), bpe(**alphabet), normalizer=normalizers.Lowercase(), **byte_level),
        "Metaspace": made(models.BPE(unk_token="<unk>"), bpe(["<unk>", "<s>", "</s>"], 300), **metaspace),
        "whitespace splitter": made(models.BPE(unk_token="<unk>"), bpe(["<unk>", "<|endoftext|>"], 300), pre=pre_tokenizers.WhitespaceSplit()),
    }


class Folder:
    def __init__(self, temper, path):
        self.temper, self.path = pathlib.Path(temper).resolve(), path

    def run(self, *args):
        done = subprocess.run([self.temper, *args], cwd=self.path, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"temper {' '.join(args)}: {done.stderr}")
        return done.stdout


def check(folder, export, reference, tokens, stated):
    """What is wrong with an export; `reference` is the tokenizer of the run."""
    wrong = []
    tokenizer = AutoTokenizer.from_pretrained(folder.path / export)
    model, info = AutoModelForCausalLM.from_pretrained(folder.path / export, dtype=torch.float32, output_loading_info=True)
    model.eval()
    wrong += [f"not a clean load: {k} {v}" for k, v in info.items() if v]
    rows = model.get_input_embeddings().num_embeddings
    for text in TEXTS:
        ours, theirs = reference.encode(text, add_special_tokens=False).ids, tokenizer(text, add_special_tokens=False)["input_ids"]
        if ours != theirs:
            wrong.append(f"{text!r}: {theirs}, not {ours}")
    if tokenizer(TEXTS[0])["input_ids"] != reference.encode(TEXTS[0]).ids:
        wrong.append("special tokens are added otherwise")
    if len(tokenizer) != reference.get_vocab_size():
        wrong.append(f"length {len(tokenizer)}, the vocabulary has {reference.get_vocab_size()}")
    eod = tokens[-1]
    if tokenizer.eos_token_id != eod or model.config.eos_token_id != eod or model.generation_config.eos_token_id != eod:
        wrong.append(f"eos is {tokenizer.eos_token_id}, {model.config.eos_token_id}, {model.generation_config.eos_token_id}, not {eod}")
    if tokenizer.pad_token_id is None or not 0 <= tokenizer.pad_token_id < rows or model.generation_config.pad_token_id != tokenizer.pad_token_id:
        wrong.append(f"pad is {tokenizer.pad_token_id}, {model.generation_config.pad_token_id}")
    else:
        texts = [LINES[0], LINES[1][:20], LINES[2] + LINES[3]]
        batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            logits = model(**batch).logits
            for row, text in enumerate(texts):
                alone = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits[0]
                kept = logits[row][batch["attention_mask"][row].bool()]
                difference = ((kept - alone).abs().max() / alone.abs().max()).item()
                if not difference < 1e-5:
                    wrong.append(f"row {row} of a padded batch differs by {difference:.1e}")
    seq = 32
    with torch.no_grad():
        nats = [torch.nn.functional.cross_entropy(model(torch.tensor([tokens[i : i + seq]])).logits[0][: len(tokens[i + 1 : i + 1 + seq])], torch.tensor(tokens[i + 1 : i + 1 + seq]), reduction="sum").item() for i in range(0, len(tokens) - 1, seq)]
    loss = math.fsum(nats) / (len(tokens) - 1)
    if not abs(loss - stated) < 1e-5 * stated:
        wrong.append(f"loss {loss:.6f}, temper eval says {stated:.6f}")
    written = pipeline("text-generation", model=str(folder.path / export))([LINES[4], LINES[5][:9]], max_new_tokens=8, do_sample=False, batch_size=2)
    if not all(isinstance(row[0]["generated_text"], str) for row in written):
        wrong.append(f"the pipeline wrote {written}")
    return wrong, f"{len(tokenizer)} tokens, pad {tokenizer.pad_token!r} ({tokenizer.pad_token_id}), eos {tokenizer.eos_token!r}, loss {loss:.5f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("temper")
    parser.add_argument("work", type=pathlib.Path)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    failed = 0
    print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, torch {torch.__version__}")
    for number, (kind, reference) in enumerate(kinds().items()):
        folder = Folder(args.temper, args.work / str(number))
        folder.path.mkdir()
        reference.save(str(folder.path / "tokenizer.json"))
        (folder.path / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in LINES))
        recipe = """model = { layers = 1, d_model = 32, heads = 2, vocab_multiple = 1 }
data = { tokenizer = "tokenizer.json", seq_len = 32, train.t.path = "text.jsonl" }
batch.sequences = 4
lr = { peak = 1e-2, warmup = "2 steps" }
run.horizon = "5 steps"
"""
        (folder.path / "run.toml").write_text(recipe)
        folder.run("train", "run.toml", "--out", "run")
        folder.run("export", "run", "--out", "export")
        # A second run from that directory, whose tokenizer_config.json names a class of its own.
        again = folder.path / "from"
        folder.run("export", "run", "--out", "from")
        settings = json.loads((again / "tokenizer_config.json").read_text())
        settings |= {"tokenizer_class": "GPTNeoXTokenizer", "pad_token": "<|padding|>"}
        (again / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder.path / "again.toml").write_text('init.from = "from"\n' + recipe.split("\n", 1)[1].replace('tokenizer = "tokenizer.json", ', ""))
        folder.run("train", "again.toml", "--out", "run2")
        folder.run("export", "run2", "--out", "export2")
        eod = next(id for token in ("<|endoftext|>", "</s>") if (id := reference.token_to_id(token)) is not None)
        tokens = [id for line in LINES[:40] for id in reference.encode(line, add_special_tokens=False).ids + [eod]]
        (folder.path / "set.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in LINES[:40]))
        for export, run in (("export", "run"), ("run/checkpoints/step-00000005", "run"), ("export2", "run2")):
            stated = json.loads(folder.run("eval", run, "--data", "set=set.jsonl", "--json"))["sets"]["set"]["loss"]
            wrong, said = check(folder, export, reference, tokens, stated)
            print(f"{kind}, {export}: " + (said if not wrong else "WRONG"))
            for line in wrong:
                print(f"    {line}")
            failed += bool(wrong)
    print("all agree" if not failed else f"{failed} fail")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
