#!/usr/bin/env python3
"""Replays the counterexamples of `temper verify --instances` in onnxruntime (pip install onnxruntime numpy; optimiser off).

    replay.py DIR/instances.csv RESULTS

For every answer `sat` the input of its counterexample goes through the network, and the property (VNN-LIB 1.0) is evaluated by this
script's own reading: inputs in double precision, outputs as onnxruntime gives them. A comparison of an input may miss its end by a unit
in the last place of single precision, since an input that is fixed at a decimal has no other float. Exits with 1 if one does not violate.
"""
import csv
import os
import re
import sys

import numpy
import onnxruntime


def expressions(text):
    stack = [[]]
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text)):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    return stack[0]


def holds(formula, values):
    op, *parts = formula
    if op == "and":
        return all(holds(part, values) for part in parts)
    if op == "or":
        return any(holds(part, values) for part in parts)
    left, right = (values[p] if p in values else float(p) for p in parts)
    slack = max(abs(left), abs(right)) * 2.0**-23 if any(p.startswith("X_") for p in parts) else 0.0
    return left <= right + slack if op == "<=" else left >= right - slack


def main(instances, results):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    confirmed, refuted = 0, []
    with open(os.path.join(results, "results.csv")) as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        if row["result"] != "sat":
            continue
        folder = os.path.dirname(instances)
        session = onnxruntime.InferenceSession(os.path.join(folder, row["onnx"]), options)
        with open(os.path.join(results, f"{number}.counterexample")) as file:
            given = re.findall(r"\(X_(\d+)\s+(\S+?)\)", file.read())
        point = numpy.array([float(value) for _, value in given], dtype=numpy.float32)
        meta = session.get_inputs()[0]
        shape = [n if isinstance(n, int) and n > 0 else 1 for n in meta.shape]
        output = session.run(None, {meta.name: point.reshape(shape)})[0].ravel()
        values = {f"X_{i}": float(x) for i, x in enumerate(point)} | {f"Y_{i}": float(y) for i, y in enumerate(output)}
        with open(os.path.join(folder, row["vnnlib"])) as file:
            asserts = [e[1] for e in expressions(file.read()) if e[0] == "assert"]
        if all(holds(formula, values) for formula in asserts):
            confirmed += 1
        else:
            refuted.append(number)
    print(f"{confirmed} confirmed, {len(refuted)} refuted: {refuted}")
    return 1 if refuted else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
