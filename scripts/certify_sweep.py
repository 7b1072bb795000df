#!/usr/bin/env python3
"""What each stage of `temper verify` certifies of the networks of a sweep that was run: numbers for EVIDENCE.md.

    temper sweep fastibp/methods --out sweeps
    scripts/certify_sweep.py sweeps fastibp/methods small --eps 0.3 --images 500 --timeout 5

Verifies the last checkpoint of every run and writes evidence/NAME/stages.json, an entry after each: counts of images that are
misclassified, attacked, certified by each stage, and open; seconds are those of all images together. A network that has an entry already
is left out.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import time
from collections import Counter

STAGES = ["ibp", "crown", "alpha", "bab"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("sweeps", type=pathlib.Path)
parser.add_argument("name")
parser.add_argument("size")
parser.add_argument("--eps", required=True)
parser.add_argument("--images", type=int, default=500)
parser.add_argument("--timeout", type=float, default=5)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--temper", default="temper")
parser.add_argument("--evidence", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "evidence")
args = parser.parse_args()

path = args.evidence / args.name / "stages.json"
entries = json.loads(path.read_text()) if path.exists() else []
done = {(entry["setting"], entry["variant"], entry["seed"]) for entry in entries}
metrics = json.loads((args.sweeps / args.name / args.size / "metrics.json").read_text())
for run in metrics["runs"]:
    which = (run["setting"], run["variant"], run["seed"])
    if which in done:
        continue
    folder = args.sweeps / "runs" / run["run"]
    out = args.sweeps / "verdicts" / run["run"]
    command = [args.temper, "verify", folder, "--eps", args.eps, "--images", args.images, "--timeout", args.timeout, "--threads", args.threads, "--out", out, "-q"]
    begun = time.monotonic()
    # Exit code 1 says that something is not certified.
    subprocess.run([str(word) for word in command], check=False)
    seconds = time.monotonic() - begun
    with open(out / "verdicts.csv") as file:
        verdicts = list(csv.DictReader(file))
    if len(verdicts) != args.images:
        raise SystemExit(f"{out}: {len(verdicts)} verdicts of {args.images}")
    outcomes = Counter(row["outcome"] for row in verdicts)
    stages = Counter(row["stage"] for row in verdicts if row["outcome"] == "certified")
    if "error" in outcomes or sum(stages.values()) != outcomes["certified"]:
        raise SystemExit(f"{out}: {dict(outcomes)}, {dict(stages)}")
    counts = {name: outcomes[name] for name in ("misclassified", "attacked")} | {stage: stages[stage] for stage in STAGES}
    entry = dict(zip(("setting", "variant", "seed"), which)) | {"eps": args.eps, "timeout": args.timeout, "images": args.images}
    entries.append(entry | counts | {"open": args.images - sum(counts.values()), "seconds": round(seconds)})
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
    print(*which, dict(outcomes), dict(stages), f"{seconds:.0f} s", flush=True)
