"""Whole updates: ours, PyTorch eager and torch.compile in turn, on the same weights and data."""
import tempfile
from pathlib import Path

from . import process
from .environment import BENCH

LM = ["lm", "--layers", "6", "--seq", "512"]
IBP = ["ibp", "--net", "cnn7", "--batch", "128", "--method", "fast"]
# Name: arguments of `temper bench`, what it is, and what is asked for: ratio to eager, ratio to compile, peak memory in MB.
WORKLOADS = {
    "lm-small": (LM + "--d-model 128 --heads 4 --vocab 8192 --batch 8".split(), "GPT-NeoX 6 x 128, vocabulary 8192, 8 x 512 tokens", (2.0, 1.5, 350)),
    "lm-vocab": (LM + "--d-model 128 --heads 4 --vocab 50304 --batch 8".split(), "GPT-NeoX 6 x 128, vocabulary 50304, 8 x 512 tokens", (3.0, 1.8, 550)),
    "lm-70m": (LM + "--d-model 512 --heads 8 --vocab 50304 --batch 4".split(), "GPT-NeoX 6 x 512, vocabulary 50304, 4 x 512 tokens (pythia-70m)", (1.8, 1.4, 1500)),
    "ibp-mnist": (IBP + "--width 16 --image 1x28x28".split(), "fast, CNN-7 of width 16, 128 images of 1x28x28", (2.5, 1.8, 400)),
    "ibp-cifar": (IBP + "--width 64 --image 3x32x32".split(), "fast, CNN-7 of width 64, 128 images of 3x32x32", (2.0, 1.5, 1500)),
}
# The first four losses agree to this part of them. Both sum in f32 in orders of their own: PyTorch differs from itself, in another memory
# format or compiled, by up to 2e-5.
TOLERANCE = 1e-4


def compare(name, temper, python, args):
    """Rounds of one workload. Every round begins with another program."""
    words, about, asked = WORKLOADS[name]
    process.say(f"{name}: {about}")
    threads = str(args.threads)
    with tempfile.TemporaryDirectory(prefix="temper-bench-") as folder:
        dump = Path(folder) / "dump"
        ours = [temper, "bench", *words, "--threads", threads, "--steps", args.steps, "--warmup", args.warmup, "--json"]
        ours += ["--no-avx512"] if args.no_avx512 else []
        environment = process.WITHOUT_AVX512 if args.no_avx512 else {}
        theirs = [python, BENCH / ("gpt_neox_torch.py" if words[0] == "lm" else "ibp_torch.py"), dump, "--threads", threads, "--warmup", args.warmup]
        # Writes what PyTorch reads; its times do not count.
        process.run_json([*ours, "--dump", dump])
        programs = {"ours": ours, "eager": theirs}
        if not args.no_compile:
            programs["compile"] = [*theirs, "--compile"]
        rounds, order = [], list(programs)
        for number in range(args.rounds):
            results = {}
            for program in order:
                results[program] = process.run_json(programs[program], environment)
                process.say(f"  round {number + 1}, {program}: {results[program]['seconds_median']:.3f} s")
            rounds.append(results)
            order = order[1:] + order[:1]
    return {"workload": name, "about": about, "asked": dict(zip(("eager", "compile", "memory_mb"), asked)), "rounds": rounds, **judge(rounds)}


def judge(rounds):
    """Ratios, peaks, and how far the losses are apart."""
    others = [program for program in ("eager", "compile") if program in rounds[0]]
    seconds = lambda results, program: results[program]["seconds_median"]
    ratios = {other: [seconds(r, other) / seconds(r, "ours") for r in rounds] for other in others}
    peaks = {program: max(r[program]["peak_memory_bytes"] for r in rounds) for program in ("ours", *others)}
    first = rounds[0]["ours"]["losses"]
    apart = max(abs(a - b) / abs(a) for r in rounds for result in r.values() for a, b in zip(first, result["losses"], strict=True))
    return {"ratios": ratios, "ratio_medians": {other: process.median(ratios[other]) for other in others}, "peak_memory_bytes": peaks,
            "losses_apart": apart, "losses_agree": len(first) == 4 and apart <= TOLERANCE}


def show(result):
    """The table of a workload."""
    rounds, others = result["rounds"], list(result["ratios"])
    unit = "tokens" if "tokens_per_s" in rounds[0]["ours"] else "images"
    spread = lambda r: f"{r['seconds_median']:.3f} ({r['seconds_min']:.3f} to {r['seconds_max']:.3f})"
    head = ["round", "ours, s", *[f"{o}, s" for o in others], f"ours, {unit}/s", "GFLOP/s", *[f"against {o}" for o in others]]
    rows = []
    for i, r in enumerate(rounds):
        rows.append([i + 1, spread(r["ours"]), *[spread(r[o]) for o in others], f"{r['ours'][unit + '_per_s']:.0f}", f"{r['ours']['gflop_per_s']:.0f}",
                     *[f"{result['ratios'][o][i]:.2f}x" for o in others]])
    middle = lambda program, key: process.median([r[program][key] for r in rounds])
    rows.append(["median", *[f"{middle(p, 'seconds_median'):.3f}" for p in ("ours", *others)], f"{middle('ours', unit + '_per_s'):.0f}",
                 f"{middle('ours', 'gflop_per_s'):.0f}", *[f"{result['ratio_medians'][o]:.2f}x" for o in others]])
    asked, peaks = result["asked"], result["peak_memory_bytes"]
    rows.append(["asked", *[""] * (len(others) + 3), *[f"{asked[o]:.1f}x" for o in others]])
    print(f"\n{result['workload']}: {result['about']}\n\n{process.table(head, rows)}\n")
    print("peak memory, MB: " + ", ".join(f"{p} {process.megabytes(size)}" for p, size in peaks.items()) + f"; asked {asked['memory_mb']}")
    word = "agree" if result["losses_agree"] else "DO NOT AGREE"
    print(f"first losses {word}: " + " ".join(f"{x:.6g}" for x in rounds[0]["ours"]["losses"]) + f"; largest difference {result['losses_apart']:.1e}")
