"""What the PyTorch steps of this folder share: the command line, the dump of `temper bench --dump`, the clock, the result.

The names in the result are those of `temper bench --json`, so that the two can be laid side by side.
"""
import argparse
import json
import pathlib
import resource
import statistics
import time

import torch
from safetensors.torch import load_file


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=pathlib.Path, help="folder that `temper bench lm|ibp --dump` wrote: settings, first weights, batches")
    parser.add_argument("--warmup", type=int, default=2, help="updates that are not timed; those after them are")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    return parser


def open_dump(args):
    """Settings, weights and batches."""
    torch.set_num_threads(args.threads)
    settings = json.loads((args.dump / "bench.json").read_text())
    return settings, load_file(args.dump / "model.safetensors"), load_file(args.dump / "batches.safetensors")


def optimizer(kind, parameters, settings):
    """AdamW or Adam, fused."""
    rule = settings["optimizer"]
    return kind(parameters, lr=settings["lr"], betas=(rule["beta1"], rule["beta2"]), eps=rule["eps"], fused=True)


def run(args, settings, unit, units, batches, update):
    """Times `update(batch)`, which gives the loss as a number, and prints the result as one JSON object."""
    losses, seconds = [], []
    for k, batch in enumerate(batches):
        start = time.perf_counter()
        losses.append(update(batch))
        if k >= args.warmup:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(json.dumps({
        "workload": settings["workload"], "torch": torch.__version__, "mode": "compile" if args.compile else "eager", "threads": args.threads,
        "warmup": args.warmup, "steps": len(seconds), "seconds_median": median, "seconds_min": min(seconds), "seconds_max": max(seconds),
        f"{unit}_per_s": units / median, "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "losses": losses[:4],
    }))
