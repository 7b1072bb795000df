#!/usr/bin/env python3
"""Makes small valid inputs for every fuzz target, `seeds/TARGET/made-N`; standard library only.

What the fuzzer adds to them (`cargo fuzz cmin`) has names of 40 hex digits and is kept.
"""

import gzip
import hashlib
import io
import json
import pathlib
import struct
import tarfile
import zlib

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent


def text(path):
    return (ROOT / path).read_text()


def below(folder, ending):
    return [path.read_bytes() for path in sorted((ROOT / folder).rglob("*" + ending))]


def lines(*of):
    return "".join(line + "\n" for line in of).encode()


LENGTHS = [b"1%", b"0.01", b"2000 steps", b"2k steps", b"300 Mtok", b"297B tokens", b"3 epochs", b"8/255", b"reference-8/255",
           b"file my.toml", b"base run runs/a", b"runs/a@4000", b"runs/a@best", b"at 50%", b"end", b"start", b"best"]

OVERRIDES = [
    lines("lr.shape='cosine'", "lr.warmup='2%'", "lr.min_ratio=0.1", "run.horizon='5000 steps'"),
    lines("lr.shape='constant'", "lr.warmup='0 steps'", "lr.cooldown='10%'"),
    lines("lr.shape='infinite'", "lr.warmup='1%'", "lr.cooldown='60%'", "lr.constant=1e-4", "lr.anneal='10%'"),
    lines("lr.shape='wsd'", "lr.decay='10%'", "lr.decay_shape='sqrt'"),
    lines("lr.shape='linear'", "lr.convention='neox'", "lr.min=1e-5"),
    lines("lr.shape='inverse-sqrt'", "lr.warmup='100 steps'"),
    lines("lr.shape='step'", "lr.milestones=['50%', '75%']", "lr.factor=0.2"),
    lines("eps.target='8/255'", "eps.start='10 steps'", "eps.length='50%'", "eps.shape='linear'"),
    lines("data.seq_len=64", "batch.sequences=4", "run.stop='100 steps'", "batch.micro='auto'"),
]

RESOLVED = b'''# base
about = "a base"  # file base.toml
batch.sequences = 4  # file base.toml
data.seq_len = 32  # file base.toml
data.tokenizer = "builtin:demo"  # file base.toml
data.train.old.path = "old.jsonl"  # file base.toml
lr.peak = 0.001  # --set
run.horizon = "40 steps"  # default
'''

INFO = {"event": "start", "version": "0.1.0", "recipe": "base", "seed": 1, "time": 1, "task": "lm", "start": "fresh", "tokens": 512, "steps": 4, "parameters": 1000}
EVENTS = [
    INFO,
    {"event": "phase", "name": "warmup", "first_step": 1, "last_step": 2},
    {"event": "eval", "step": 0, "tokens": 0, "set": "old", "loss": 5.5, "perplexity": 244.7, "bits_per_byte": 2.0},
    {"event": "eval", "step": 0, "tokens": 0, "set": "new", "loss": 6.5, "perplexity": 665.1, "bits_per_byte": 2.4},
    {"event": "step", "step": 1, "tokens": 128, "loss": 5.4, "lr": 5e-4, "grad_norm": 1.0, "time": 1.0},
    {"event": "step", "step": 2, "tokens": 256, "loss": 5.2, "lr": 1e-3, "grad_norm": "inf", "time": 2.0},
    {"event": "checkpoint", "step": 2, "path": "checkpoints/step-00000002"},
    {"event": "warning", "step": 2, "message": "the text repeats"},
    {"event": "stop", "step": 2, "reason": "SIGTERM"},
    {"event": "resume", "step": 2, "tokens": 256, "time": 3},
    {"event": "step", "step": 4, "tokens": 512, "loss": 5.0, "lr": 1e-4, "grad_norm": 1.0, "time": 2.0},
    {"event": "eval", "step": 4, "tokens": 512, "set": "old", "loss": 5.0, "perplexity": 148.4, "bits_per_byte": 1.9},
    {"event": "eval", "step": 4, "tokens": 512, "set": "new", "loss": 6.0, "perplexity": 403.4, "bits_per_byte": 2.2},
    {"event": "done", "step": 4, "tokens": 512, "seconds": 3.0},
]
BRANCH = [{**INFO, "start": "branch", "parent": {"run": "base", "step": 4, "tokens": 512}}] + EVENTS[1:]
IMAGES = [
    {**INFO, "task": "certify"},
    {"event": "eval", "step": 0, "tokens": 0, "set": "test", "standard_error": 0.9, "pgd_error": 0.95, "certified_error": 1.0, "eps": 0.1},
    {"event": "step", "step": 1, "tokens": 128, "loss": 2.3, "lr": 5e-4, "eps": 0.05, "epoch": 0.5},
    {"event": "step", "step": 2, "tokens": 256, "loss": 2.1, "lr": 5e-4, "eps": 0.1, "epoch": 1.0},
    {"event": "eval", "step": 2, "tokens": 256, "set": "test", "standard_error": 0.2, "pgd_error": 0.3, "certified_error": 0.4, "eps": 0.1},
    {"event": "done", "step": 2, "tokens": 256, "seconds": 3.0},
]


def jsonl(events):
    return "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events).encode()


def run_files():
    sha = hashlib.sha256(b"{}").hexdigest()
    done = {"format": 1, "step": 3, "files": {"state.json": {"size": 2, "sha256": sha}}}
    best = {"step": 3, "set": "old", "metric": "loss", "value": 5.0}
    env = {"temper": "0.1.0", "commit": None, "os": "linux", "cpu": "a processor", "threads": 2, "command": ["temper", "train"]}
    return [bytes([i]) + json.dumps(value).encode() for i, value in enumerate([done, best, env])]


def shard():
    made = []
    for size, letter in ((2, "H"), (4, "I")):
        docs = [[5, 6, 7, 0], [8, 9, 0], [10, 0]]
        tokens = b"".join(struct.pack(f"<{len(doc)}{letter}", *doc) for doc in docs)
        tokens += bytes(-len(tokens) % 64)
        table = struct.pack("<6Q", 4, 20, 7, 33, 9, 40)
        head = b"TMPRTOKS" + struct.pack("<IIQ", 1, size, 300) + bytes(32) + struct.pack("<5Q", 0, 9, 3, 40, 0)
        made.append(head + hashlib.sha256(tokens + table + head).digest() + tokens + table)
    return made


def megatron():
    made = []
    for code, letter, size in ((8, "H", 2), (4, "i", 4)):
        docs, pointer, pointers = [[5, 6, 7, 0], [8, 9, 0], [10, 0]], 0, []
        for doc in docs:
            pointers.append(pointer)
            pointer += size * len(doc)
        for index in ([0, 1, 2, 3], [0]):
            head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, len(docs), len(index))
            head += struct.pack("<3i", *map(len, docs)) + struct.pack("<3q", *pointers) + struct.pack(f"<{len(index)}q", *index)
            made.append(struct.pack("<H", len(head)) + head + b"".join(struct.pack(f"<{len(d)}{letter}", *d) for d in docs))
    return made


def documents():
    plain = "the river\n\nwent over stone\r\n".encode()
    rows = b'{"text": "the river"}\n{"id": [1, {"a": null}], "text": "caf\\u00e9 \\ud83d\\ude00"}\n{"text": ""}\n'
    forms = [b"\x00" + plain, b"\x01" + rows, b"\x0a" + plain, b"\x0b" + rows, b"\x0d" + rows, b"\x00caf\xe9\nword\n", b"\x00\xef\xbb\xbfword"]
    return forms + [b"\x03" + gzip.compress(rows, mtime=0)]


def idx():
    numbers = lambda *values: b"".join(struct.pack(">I", value) for value in values)
    images = numbers(0x803, 2, 2, 2) + bytes(range(8))
    labels = numbers(0x801, 2) + bytes([0, 1])
    return [b"\x00" + images, b"\x01" + labels, b"\x02" + gzip.compress(images, mtime=0), b"\x03" + labels]


def cifar():
    record = bytes([3]) + bytes(3072)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ["data_batch_1.bin", "test_batch.bin"]:
            info = tarfile.TarInfo("cifar-10-batches-bin/" + name)
            info.size = len(record)
            tar.addfile(info, io.BytesIO(record))
    return [b"\x00" + record, b"\x04" + record, b"\x03" + archive.getvalue(), b"\x02" + gzip.compress(archive.getvalue(), mtime=0)]


def packed():
    names = "pets\na note\ncat\ndog\n".encode()
    head = b"TMPRIMGS" + struct.pack("<8I", 1, 1, 2, 2, 2, 2, 1, len(names))
    return [b"\x00" + head + names + bytes([0, 1, 0]) + bytes(range(12))]


def png(colour, width=4, height=3, depth=8):
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = b"".join(b"\0" + bytes((7 * i + y) % 4 for i in range((width * channels * depth + 7) // 8)) for y in range(height))
    palette = chunk(b"PLTE", bytes(range(12))) if colour == 3 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures():
    made = [b"\x00" + png(colour, depth=depth) for colour, depth in ((0, 8), (0, 1), (0, 16), (2, 8), (3, 8), (3, 2), (4, 8), (6, 8))]
    for path in sorted((ROOT / "crates/data/tests/pictures").glob("*.jp*g")):
        if path.stat().st_size < 4096:
            made.append(b"\x01" + path.read_bytes())
    return made


def tokenizer():
    vocabulary = {"<|endoftext|>": 0, **{c: i + 1 for i, c in enumerate("ehinorstvw, 026")}, "th": 20, "the": 21}
    vocabulary = {token: i for i, token in enumerate(vocabulary)}
    added = [{"id": 0, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}]
    bpe = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
           "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary, "merges": [["t", "h"], ["th", "e"]]}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    words = {"type": "WordLevel", "vocab": {"<|endoftext|>": 0, "the": 1, "[UNK]": 2}, "unk_token": "[UNK]"}
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None}
    forms = [{**base, "model": bpe}, {**base, "normalizer": {"type": "Lowercase"}, "pre_tokenizer": level, "decoder": level, "model": bpe},
             {**base, "pre_tokenizer": {"type": "Whitespace"}, "model": words}]
    return [json.dumps(form, separators=(",", ":")).encode() for form in forms]


ARGUMENTS = [
    lines("train", "law.toml", "--out", "runs/law", "--max-time", "8h", "--set", "lr.peak=3e-3"),
    lines("eval", "runs/law@best", "--data", "cases=corpus/cases.txt", "--max-tokens", "100", "--json"),
    lines("branch", "runs/law", "medicine.toml", "--out", "runs/medicine", "--max-steps", "2"),
    lines("bench", "ibp", "--net", "cnn7", "--width", "16", "--image", "1x28x28", "--batch", "128", "--method", "fast"),
    lines("verify", "runs/m", "--eps", "8/255", "--radius", "--images", "200"),
    lines("sweep", "rewarm/max-lr", "--size", "tiny", "--seeds", "1,2", "--jobs", "2", "--dry-run"),
    lines("data", "prepare", "corpus/law", "--tokenizer", "t.json", "--out", "tokens", "--validation-fraction", "0.1"),
    lines("report", "runs/a", "runs/b", "--out", "report", "--old", "law", "--new", "medicine"),
    lines("schedule", "law.toml", "--csv", "--every", "100"),
    lines("sample", "runs/law", "--prompt", "The court", "--tokens", "60", "--temperature", "0.5"),
]

GRAPHS = [
    lines("flatten", "linear 10"),
    lines("conv 4 3 stride 2 padding 1", "bn", "start: relu", "conv 4 3 padding 1", "bn", "add start", "relu", "pool 2", "flatten", "linear 10"),
    lines("skip: conv 4 1", "conv 4 3 padding 1 from image", "add skip", "conv 4 3 groups 2", "relu", "flatten", "linear 100", "relu", "linear 10"),
]

NETWORK = {"input": [1, 8, 8], "classes": 10, "nodes": [
    {"name": "conv1", "op": {"kind": "conv", "out": 4, "kernel": 3, "stride": 1, "padding": 1, "groups": 1}, "inputs": [0]},
    {"name": "relu1", "op": {"kind": "relu"}, "inputs": [1]},
    {"name": "flatten1", "op": {"kind": "flatten"}, "inputs": [2]},
    {"name": "linear1", "op": {"kind": "linear", "out": 10}, "inputs": [3]}]}

CONFIG = {"model_type": "gpt_neox", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32,
          "vocab_size": 16, "max_position_embeddings": 64, "rotary_pct": 0.25, "rotary_emb_base": 10000, "hidden_act": "gelu",
          "use_parallel_residual": True, "layer_norm_eps": 1e-5, "eos_token_id": 0, "tie_word_embeddings": False}


def header(names_and_shapes):
    at, made = 0, {}
    for name, shape in names_and_shapes:
        size = 4
        for n in shape:
            size *= n
        made[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return json.dumps(made, separators=(",", ":"))


def model():
    d, v, layer = 8, 16, "gpt_neox.layers.0."
    sizes = {"gpt_neox.embed_in.weight": [v, d], "embed_out.weight": [v, d], "gpt_neox.final_layer_norm.weight": [d],
             "gpt_neox.final_layer_norm.bias": [d]}
    parts = {"input_layernorm": [d], "post_attention_layernorm": [d], "attention.query_key_value": [3 * d, d], "attention.dense": [d, d],
             "mlp.dense_h_to_4h": [4 * d, d], "mlp.dense_4h_to_h": [d, 4 * d]}
    for name, shape in parts.items():
        sizes[f"{layer}{name}.weight"], sizes[f"{layer}{name}.bias"] = shape, shape[:1]
    weights = header(sizes.items())
    index = json.dumps({"metadata": {}, "weight_map": {name: "a.safetensors" for name in sizes}})
    config = json.dumps(CONFIG)
    return [f"{config}\n---\n---\n{weights}".encode(), f"{config}\n---\n{index}\n---\n{weights}".encode()]


def safetensors():
    head = header([("a", [2, 2]), ("b", [3])]).encode()
    half = head.replace(b"F32", b"BF16").replace(b"[0,16]", b"[0,8]").replace(b"[16,28]", b"[8,14]")
    packed = lambda head, size: struct.pack("<Q", len(head)) + head + bytes(size)
    return [b"\x00" + packed(head, 28), b"\x00" + packed(half, 14), b"\x01" + head]


ANSWERS = "index,label,predicted,outcome,stage,arithmetic,clean_margin,bound,attack_margin,attack_class,rounding,reason,counterexample,class,predicted_class,file"
RADII = "index,label,certified,not_certified,class,file"


def answers():
    verdicts = lines(ANSWERS, "0,3,3,certified,ibp,sound,1.5,0.25,,,0,,,bag,bag,", "1,2,2,attacked,attack,,0.5,-0.5,-0.125,5,0,,0,coat,coat,a.png",
                     '2,2,4,misclassified,,,-0.5,,,,0,,,"a, b",coat,b.png')
    radii = lines(RADII, "0,3,0.125,0.25,bag,", "1,2,,0,coat,a.png", "2,2,0.5,,coat,b.png")
    question = json.dumps({"eps": 0.1, "images": 3, "what": "verdicts"}, indent=2) + "\n"
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 1, 2, 2), }"
    stack = lambda rows: b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + (head % rows).encode().ljust(117) + b"\n" + bytes(16 * rows)
    return [b"\x00" + verdicts, b"\x01" + radii, b"\x02" + question.encode(), b"\x05" + stack(0), b"\x05" + stack(5),
            b"\x03" + lines("index,attack,ibp,crown,alpha,bab", "0,0.5,0.25,0.000000,0.0,1e3", "1,0,0,0,0,0")]


def certificate():
    folder = HERE.parent / "golden" / "certificates"
    steps = lambda name: b"".join((folder / f"{name}.jsonl").read_bytes().splitlines(True)[1:])
    return [b"\x00" + steps(0), b"\x00" + steps(3), b"\x01" + (folder / "0.onnx").read_bytes(), b"\x02" + (folder / "0.vnnlib").read_bytes()]


def onnx():
    folder = HERE.parent / "golden" / "onnx"
    small = [path for path in sorted(folder.glob("*.onnx")) if path.stat().st_size < 600]
    return [path.read_bytes() for path in small[:: max(1, len(small) // 24)]]


VNNLIB = [
    b"; a box\n(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)\n(declare-const Y_0 Real)(declare-const Y_1 Real)\n"
    b"(assert (>= X_0 -0.1))(assert (<= X_0 1e-3))(assert (<= X_1 2))(assert (>= X_1 2))(assert (<= 0 X_2))(assert (<= X_2 .5))\n"
    b"(assert (or (and (<= Y_0 Y_1)) (and (>= Y_0 3.0) (<= Y_1 -4))))\n",
    b"(declare-const X_0 Real)(declare-const X_1 Real)(declare-const X_2 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)\n"
    b"(assert (or (and (>= X_0 0)(<= X_0 1)(>= X_1 0)(<= X_1 1)(>= X_2 0)(<= X_2 1)(<= Y_0 0))\n"
    b"(and (>= X_0 2)(<= X_0 3)(>= X_1 0)(<= X_1 1)(>= X_2 0)(<= X_2 1)(<= (+ (* 2.0 Y_0) (* -1 Y_1)) 5))))\n",
    b"(vnnlib-version <2.0>)\n(declare-network f\n (declare-input X float32 [1, 3])\n (declare-output Y float32 [1, 2])\n)\n"
    b"(assert (and (>= X[0,0] 0.1) (<= X[0,0] 0.2) (>= X[0,1] 0) (<= X[0,1] 1) (== X[0,2] 0.5)))\n(assert (< Y[0,0] Y[0,1]))\n",
]


def tower_files():
    source = {"name": "law", "path": "data/law/train.tokens", "weight": 1.0}
    stream = {"seed": 1, "seq_len": 64, "sources": [source], "replay": None}
    text = {"stream": stream, "sets": [{"name": "law", "path": "data/law/validation.tokens", "old": True}]}
    images = {"name": "fashion", "shape": [1, 28, 28], "class_names": ["bag", "coat"], "train_images": 9, "test_images": 2,
              "train_sha256": "00", "test_sha256": "11"}
    state = {"step": 3, "tokens": 96, "samples": 12, "updates": 3, "seconds": 1.5, "metrics_bytes": 200}
    settings = {"tokenizer_class": "GPTNeoXTokenizer", "eos_token": "<|endoftext|>", "pad_token": {"content": "<pad>"}}
    special = {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>", "lstrip": False}}
    generation = {"eos_token_id": [0, 2], "do_sample": True}
    made = [text, images, state, settings, special, generation]
    return [bytes([i]) + json.dumps(value).encode() for i, value in enumerate(made)]


def begun():
    record = jsonl(EVENTS)
    only = record.split(b"\n")[0] + b"\n"
    return [b"\x00" + record, b"\x00" + only, b"\x01" + b"4711", b"\x01" + b"a lock of somebody's", b"\x02\x00" + record, b"\x02\x01" + record]


def lists():
    return [b"\x00" + lines("n02", "n01"), b"\x01" + b"val_0.jpg\tn02\t0\t0\t1\t1\nval_1.jpg\tn01\t0\t0\t1\t1\n",
            b"\x02" + json.dumps({"eos_token_id": [0, 2]}).encode(), b"\x03" + json.dumps({"eos_token": {"content": "the"}}).encode()]


SEEDS = {
    "lengths": LENGTHS,
    "recipe": below("recipes", ".toml"),
    "schedule": OVERRIDES,
    "resolved": [RESOLVED],
    "sweep": below("sweeps", ".toml"),
    "metrics": [jsonl(EVENTS), jsonl(IMAGES)],
    "report": [jsonl(EVENTS), jsonl(EVENTS) + b"---\n" + jsonl(BRANCH), jsonl(IMAGES)],
    "run_files": run_files(),
    "arguments": ARGUMENTS,
    "tokens": shard(),
    "megatron": megatron(),
    "documents": documents(),
    "idx": idx(),
    "cifar": cifar(),
    "packed": packed(),
    "pictures": pictures(),
    "tokenizer": tokenizer(),
    "graph": GRAPHS,
    "network": [json.dumps(NETWORK).encode()],
    "config": [json.dumps(CONFIG).encode()],
    "safetensors": safetensors(),
    "model_directory": model(),
    "answers": answers(),
    "certificate": certificate(),
    "onnx": onnx(),
    "vnnlib": VNNLIB,
    "instances": [b"\x00onnx,vnnlib,timeout\n./a.onnx,b.vnnlib,116\na.onnx, c.vnnlib.gz, 0.5\n", b"\x01sat\n((X_0 0.5)\n(X_1 -1e-3)\n(Y_0 2))\n",
                  b"\x02category,onnx,vnnlib,prepare_time,result,run_time\na,onnx/m.onnx,vnnlib/image_1-00aa11bb.vnnlib,0,unsat,0.5\n",
                  b"\x01 ( ( X_0 1 ) ( Y_0 nan ) )"],
    "tower_files": tower_files(),
    "begun": begun(),
    "lists": lists(),
    "kept": [lines("16", "128"), b"16\n12", b"16\n\xff\n128\n"],
}

for target, inputs in SEEDS.items():
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(inputs):
        (folder / f"made-{i}").write_bytes(content)
    print(f"{target}: {len(inputs)} inputs, {sum(map(len, inputs))} bytes")
