#!/usr/bin/env python3
"""Compares answers of `temper verify --instances` with known verdicts.

    compare.py RESULTS/results.csv VERDICTS.csv

RESULTS has the competition's columns, VERDICTS the columns onnx,vnnlib,timeout,verdict (unsat, sat or open) first. Prints a line
with what was solved and in which time; exits with 1 if an answer contradicts a verdict.
"""
import csv
import os
import sys
from collections import Counter


def key(row):
    return tuple(os.path.basename(row[name]) for name in ("onnx", "vnnlib"))


def main(results, verdicts):
    with open(verdicts) as file:
        known = {key(row): row["verdict"] for row in csv.DictReader(file)}
    solved, wrong, times, counts = Counter(), [], [], Counter()
    with open(results) as file:
        for row in csv.DictReader(file):
            answer, verdict = row["result"], known.get(key(row), "open")
            counts[answer] += 1
            if answer in ("sat", "unsat"):
                solved[answer] += 1
                times.append(float(row["run_time"]))
                if verdict in ("sat", "unsat") and verdict != answer:
                    wrong.append((row["onnx"], row["vnnlib"], answer, verdict))
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")
    print(f"{solved['unsat']} unsat + {solved['sat']} sat of {sum(counts.values())}; "
          f"median {at(0.5):.2f} s, 90 % {at(0.9):.2f} s; {dict(counts)}")
    for line in wrong:
        print("contradicts:", *line)
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
