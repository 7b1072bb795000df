"""An epoch of `fast` training on MNIST, CNN-7 of width 16: ours against the code of arXiv 2103.17268, where a checkout of it is given."""
import tempfile
from pathlib import Path

from . import process
from .environment import BENCH

IMAGES, BATCH, ASKED = 60_000, 256, 4.0


def compare(temper, python, args):
    """Seconds of an epoch in every round. Ours is the whole command, with its start and two evaluations of 256 images."""
    process.say("epoch: fast on MNIST, in turn with the paper's code")
    checkout = args.reference.resolve()
    theirs = [args.reference_python or python, BENCH / "reference_epoch.py", "16", str(args.threads)]
    rounds = []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(prefix="temper-bench-") as folder:
            ours = [temper, "train", "fastibp/mnist-cnn7", "--out", Path(folder) / "run", "--threads", str(args.threads), "--max-steps", str(-(-IMAGES // BATCH))]
            for value in (f"data.images={args.mnist.resolve()}", "model.width=16", "data.max_test=256", "eval.attack_images=0"):
                ours += ["--set", value]
            rounds.append({"ours": process.run(ours)[0]})
        # Its last line is ours: seconds of the first epoch's training, without start and test.
        rounds[-1]["reference"] = float(process.run(theirs, cwd=checkout)[2].splitlines()[-1].removeprefix("seconds "))
    ratios = [r["reference"] / r["ours"] for r in rounds]
    return {"rounds": rounds, "ratios": ratios, "ratio_median": process.median(ratios)}


def show(result):
    rows = [[i + 1, f"{r['ours']:.1f}", f"{r['reference']:.1f}", f"{IMAGES / r['ours']:.0f}", f"{IMAGES / r['reference']:.0f}", f"{ratio:.2f}x"]
            for i, (r, ratio) in enumerate(zip(result["rounds"], result["ratios"]))]
    head = ["round", "ours, s", "the paper's code, s", "ours, images/s", "the paper's, images/s", "ratio"]
    print(f"\nan epoch of fast on MNIST, CNN-7 of width 16, batches of {BATCH}\n\n{process.table(head, rows)}\n")
    print(f"median ratio {result['ratio_median']:.2f}x; asked {ASKED:.1f}x")
