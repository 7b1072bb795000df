"""Whole commands, as a user waits for them: start-up, tokenising, resuming, verifying."""
import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import process
from .environment import BENCH, ROOT

UNPACK = """
import sys, zstandard
out, copies, *files = sys.argv[1:]
texts = [zstandard.ZstdDecompressor().stream_reader(open(f, "rb")).read() for f in files]
with open(out, "wb") as file:
    for _ in range(int(copies)):
        file.writelines(texts)
"""


def compare(temper, python, args):
    """Median seconds and rates by name."""
    process.say("commands: start-up, prepare, resume, verify")
    with tempfile.TemporaryDirectory(prefix="temper-bench-") as folder:
        folder = Path(folder)
        return {"start": start(temper, python, args), "prepare": prepare(temper, python, args, folder),
                "resume": resume(temper, args, folder), "verify": verify(temper, args, folder)}


def start(temper, python, args):
    """The program, and what a script that trains with PyTorch does first."""
    times = lambda command, count: process.median([process.run(command)[0] for _ in range(count)])
    count = 5 if args.quick else 20
    return {"temper recipe list": times([temper, "recipe", "list"], count), "python, import torch": times([python, "-c", "import torch"], 3)}


def prepare(temper, python, args, folder):
    """Both read the same JSON lines and write the same token numbers. The texts inside the binary, several times over."""
    corpus, copies = folder / "corpus.jsonl", 2 if args.quick else 10
    assets = ROOT / "assets"
    process.run([python, "-c", UNPACK, corpus, copies, assets / "web.jsonl.zst", assets / "law.jsonl.zst"])
    seconds = {"temper": [], "tokenizers": []}
    for number in range(args.rounds):
        out = folder / f"tokens-{number}"
        ours = [temper, "data", "prepare", corpus, "--tokenizer", "builtin:demo", "--validation-fraction", "0", "--out", out, "--threads", args.threads]
        seconds["temper"].append(process.run(ours)[0])
        theirs = [python, BENCH / "tokenize_python.py", corpus, assets / "tokenizer.json", folder / "ids"]
        took, _, tokens = process.run(theirs, {"RAYON_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "true"})
        seconds["tokenizers"].append(took)
    held = process.run_json([temper, "data", "info", out / "train.tokens", "--json"])
    if held["tokens"] != int(tokens):
        raise process.Failed(f"prepare: {held['tokens']} tokens, the Python tokenizers make {tokens.strip()}")
    rate = {name: held["bytes"] / 1e6 / process.median(s) for name, s in seconds.items()}
    ratios = [theirs / ours for ours, theirs in zip(seconds["temper"], seconds["tokenizers"])]
    return {"mb": held["bytes"] / 1e6, "tokens": held["tokens"], "mb_per_s": rate, "ratios": ratios, "ratio_median": process.median(ratios)}


def resume(temper, args, folder):
    """Seconds from typing `temper resume` to the first update after the checkpoint, for the base model of the recipes."""
    run = folder / "run"
    metrics = run / "metrics.jsonl"
    begin = [temper, "train", "rewarm/small", "--out", run, "--set", "log.every='1 steps'", "--set", "eval.max_tokens=2000"]
    steps = lambda: [event["step"] for event in events(metrics) if event["event"] == "step"]
    seconds = [until_step(begin, args, steps)]
    for _ in range(args.rounds):
        seconds.append(until_step([temper, "resume", run], args, steps))
    return {"train": seconds[0], "resume": process.median(seconds[1:]), "resume_all": seconds[1:]}


def events(path):
    """The whole lines of a run's metrics."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def until_step(command, args, steps):
    """Starts a run, waits for its next update, and stops it with a checkpoint."""
    before, start = len(steps()), time.perf_counter()
    process_ = subprocess.Popen([*map(str, command), "--threads", str(args.threads)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while len(steps()) <= before:
            if process_.poll() is not None:
                raise process.Failed(f"{' '.join(map(str, command))}: ended before an update\n{process_.stderr.read()}")
            time.sleep(0.002)
        seconds = time.perf_counter() - start
        process_.send_signal(signal.SIGTERM)
        process_.communicate(timeout=120)
        return seconds
    finally:
        if process_.poll() is None:
            process_.kill()
            process_.wait()


def verify(temper, args, folder):
    """Images a second of `temper verify` on a classifier of a few updates: bounds, then an attack on what they do not certify."""
    run = folder / "classifier"
    process.run([temper, "train", "demo/fast", "--out", run, "--max-steps", "20", "--set", "eval.attack_images=0", "--threads", args.threads])
    rates = {}
    images = "300" if args.quick else "2000"
    for name, attack in (("PGD of 20 steps", ["--steps", "20", "--restarts", "1"]), ("PGD of 200 steps", ["--steps", "200", "--restarts", "1"])):
        command = [temper, "verify", run, "--images", images, *attack, "--threads", args.threads, "--json", "--out", folder / name.replace(" ", "-")]
        rates[name] = process.run_json(command)["images_per_s"]
    return rates


def show(result):
    rows = [[f"start-up: {name}", f"{seconds:.3f} s"] for name, seconds in result["start"].items()]
    prepared = result["prepare"]
    rows += [[f"prepare: {name}, {prepared['mb']:.0f} MB", f"{rate:.1f} MB/s"] for name, rate in prepared["mb_per_s"].items()]
    rows += [["prepare: against tokenizers", f"{prepared['ratio_median']:.2f}x"]]
    rows += [["resume: until the first update", f"{result['resume']['resume']:.3f} s"]]
    rows += [[f"verify: CNN-7 of width 4, {name}", f"{rate:.0f} images/s"] for name, rate in result["verify"].items()]
    print(f"\ncommands\n\n{process.table(['what', 'median'], rows)}")
