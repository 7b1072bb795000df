#!/usr/bin/env python3
"""Does the tensorboard package read from a run what its metrics.jsonl says?

    DIR/bin/python golden/check_tensorboard.py RUN...

Every number of every `step` and `eval` event must be in the event file once, under its tag (`train/NAME`, `eval/SET/NAME`), at its
step, rounded to single precision; nothing else may be there; times may not go back. Read twice: by tensorboard's accumulator of
events and by the one that its pages are fed from. Exit code 1 if anything differs.
"""
import argparse
import collections
import json
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.util import tensor_util

# What identifies an event; every other number of it is a metric.
NOT_METRICS = {"step": {"event", "step", "tokens"}, "eval": {"event", "step", "tokens", "set"}}


def expected(run):
    """Tag -> [(step, value)], in the order of metrics.jsonl."""
    scalars = collections.defaultdict(list)
    for line in (run / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        kind = event["event"]
        if kind not in NOT_METRICS:
            continue
        group = "train" if kind == "step" else f"eval/{event['set']}"
        for name, value in event.items():
            if name not in NOT_METRICS[kind]:
                # JSON has no infinity and no NaN; they are written as strings or null.
                value = float("nan") if value is None else float(value)
                scalars[f"{group}/{name}"].append((event["step"], value))
    return scalars


def read(folder):
    """Tag -> [(time, step, value)], by both readers."""
    everything = {"scalars": 0, "tensors": 0}
    plain = event_accumulator.EventAccumulator(str(folder), size_guidance=everything).Reload()
    yield "accumulator", {tag: [(e.wall_time, e.step, e.value) for e in plain.Scalars(tag)] for tag in plain.Tags()["scalars"]}
    pages = plugin_event_accumulator.EventAccumulator(str(folder), tensor_size_guidance={"scalars": 0}).Reload()
    tags = pages.PluginTagToContent("scalars")
    value = lambda event: tensor_util.make_ndarray(event.tensor_proto).item()
    yield "pages", {tag: [(e.wall_time, e.step, value(e)) for e in pages.Tensors(tag)] for tag in tags}


def differences(run):
    want = expected(run)
    if not want:
        yield "metrics.jsonl has no scalars"
    for reader, have in read(run / "tensorboard"):
        for tag in sorted(want.keys() ^ have.keys()):
            yield f"{reader}: {tag} is only in {'metrics.jsonl' if tag in want else 'tensorboard/'}"
        for tag in sorted(want.keys() & have.keys()):
            if [step for step, _ in want[tag]] != [step for _, step, _ in have[tag]]:
                yield f"{reader}: {tag} has other steps: {len(have[tag])} instead of {len(want[tag])}"
                continue
            ours = np.array([value for _, value in want[tag]], dtype=np.float32)
            theirs = np.array([value for _, _, value in have[tag]], dtype=np.float32)
            if not np.array_equal(ours, theirs, equal_nan=True):
                yield f"{reader}: {tag} has other values, first at index {np.flatnonzero(ours != theirs)[0]}"
            times = np.array([time for time, _, _ in have[tag]])
            if (np.diff(times) < 0).any():
                yield f"{reader}: {tag}: times go back"
    print(f"{run}: {len(want)} tags, {sum(map(len, want.values()))} scalars")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN")
    wrong = False
    for run in parser.parse_args().runs:
        for difference in differences(run):
            print(f"{run}: {difference}")
            wrong = True
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
