#!/usr/bin/env python3
"""Attacks every `unsat` of `temper verify --instances` with 1000 steps of PGD from 20 starts, and at random corners (torch, onnx, numpy).

    hunt.py DIR/instances.csv RESULTS [--steps 1000] [--restarts 20] [--corners 2000]

Nothing of Temper is used: this script reads ONNX and VNN-LIB 1.0 itself and evaluates networks with PyTorch, in double precision.
A disjunct of a property is a box and constraints of outputs, all of which have to be met. Starts are the centre, corners, and points at
random; steps go along signs and halve. Prints a line an `unsat`, with the least violation that was left, and exits with 1 if an input
meets a property that was called `unsat`.
"""
import argparse
import csv
import gzip
import itertools
import os
import sys
import time

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional as F

from replay import expressions


def attribute(node, name, default=None):
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


class Network:
    """The operators of the benchmark sets; any other is an error."""

    def __init__(self, path):
        model = onnx.load_from_string((gzip.open if path.endswith(".gz") else open)(path, "rb").read())
        self.graph = model.graph
        number = lambda array: torch.from_numpy(np.array(array)).to(torch.float64 if array.dtype.kind == "f" else torch.int64)
        self.constants = {t.name: number(numpy_helper.to_array(t)) for t in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = number(numpy_helper.to_array(attribute(node, "value")))
        (self.input,) = [i for i in self.graph.input if i.name not in self.constants]
        self.shape = [d.dim_value or 1 for d in self.input.type.tensor_type.shape.dim]
        if len(self.shape) in (1, 3):  # without a batch
            self.batched = self.shape[0] == 1 and len(self.shape) == 3
        else:
            self.batched = True

    def __call__(self, points):
        """`[points, outputs]` of `[points, inputs]`."""
        shape = self.shape[1:] if self.batched else self.shape
        values = dict(self.constants)
        values[self.input.name] = points.reshape(len(points), *shape)
        for node in self.graph.node:
            if node.op_type != "Constant":
                inputs = [values[name] if name else None for name in node.input]
                values[node.output[0]] = self.apply(node, inputs, len(points))
        return values[self.graph.output[0].name].reshape(len(points), -1)

    @staticmethod
    def apply(node, x, points):
        op = node.op_type
        if op == "Relu":
            return x[0].relu()
        if op in ("Add", "Sub", "Mul", "Div"):
            a, b = x
            return {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}[op](a, b)
        if op == "MatMul":
            return x[0] @ x[1]
        if op == "Gemm":
            a, b = x[0], x[1]
            if attribute(node, "transA", 0):
                raise SystemExit("Gemm with transA")
            y = attribute(node, "alpha", 1.0) * a @ (b.T if attribute(node, "transB", 0) else b)
            return y + attribute(node, "beta", 1.0) * x[2] if len(x) > 2 else y
        if op in ("Flatten", "Identity", "Dropout"):
            return x[0].flatten(1) if op == "Flatten" else x[0]
        if op == "Reshape":
            shape = [int(d) for d in x[1]]
            return x[0].reshape(points, *shape[1:]) if shape[0] in (1, -1) and len(shape) > 1 else x[0].reshape(points, -1)
        if op == "Transpose":
            return x[0].permute(attribute(node, "perm"))
        if op == "Pad":
            pads = attribute(node, "pads") or [int(d) for d in x[1]]
            n = len(pads) // 2
            return F.pad(x[0], [p for d in reversed(range(n)) for p in (pads[d], pads[n + d])])
        if op == "Conv":
            pads = attribute(node, "pads", [0, 0, 0, 0])
            y = F.pad(x[0], [pads[1], pads[3], pads[0], pads[2]])
            bias = x[2] if len(x) > 2 else None
            return F.conv2d(y, x[1], bias, attribute(node, "strides", [1, 1]), 0, attribute(node, "dilations", [1, 1]), attribute(node, "group", 1))
        if op in ("AveragePool", "MaxPool"):
            pads = attribute(node, "pads", [0, 0, 0, 0])
            if any(pads) or attribute(node, "ceil_mode", 0):
                raise SystemExit(f"{op} with pads")
            pool = F.avg_pool2d if op == "AveragePool" else F.max_pool2d
            return pool(x[0], attribute(node, "kernel_shape"), attribute(node, "strides"))
        raise SystemExit(f"the operator {op} is not known here")


def disjuncts(formula):
    """Lists of comparisons, one of which has to hold."""
    op, *parts = formula
    if op == "or":
        return [one for part in parts for one in disjuncts(part)]
    if op == "and":
        return [sum(parts, []) for parts in itertools.product(*map(disjuncts, parts))]
    return [[(op, *parts)]]


def properties(path):
    """Of every disjunct: lower and upper ends of the inputs, and rows and bounds with `rows @ outputs <= bounds`."""
    text = (gzip.open if path.endswith(".gz") else open)(path, "rt").read()
    asserts = [line[1] for line in expressions(text) if line[0] == "assert"]
    names = [line[1] for line in expressions(text) if line[0] == "declare-const"]
    inputs, outputs = (sum(name.startswith(kind) for name in names) for kind in "XY")
    # Comparisons of one alternative first, so that there is no product over them.
    plain = [a for a in asserts if a[0] not in ("or", "and")]
    for chosen in itertools.product(*[disjuncts(a) for a in asserts if a[0] in ("or", "and")]):
        lower, upper, rows, bounds = np.full(inputs, -np.inf), np.full(inputs, np.inf), [], []
        for op, a, b in plain + sum(map(list, chosen), []):
            if op == ">=":
                a, b = b, a
            if a.startswith("X_"):
                upper[int(a[2:])] = min(upper[int(a[2:])], float(b))
            elif b.startswith("X_"):
                lower[int(b[2:])] = max(lower[int(b[2:])], float(a))
            else:
                row, bound = np.zeros(outputs), 0.0
                for side, sign in ((a, 1.0), (b, -1.0)):
                    if side.startswith("Y_"):
                        row[int(side[2:])] += sign
                    else:
                        bound -= sign * float(side)
                rows.append(row)
                bounds.append(bound)
        if (lower <= upper).all():
            yield [torch.tensor(np.array(part), dtype=torch.float64) for part in (lower, upper, rows, bounds)]


def attack(net, disjunct, args, generator):
    """The least violation that is left: below 0 where the property is met."""
    lower, upper, rows, bounds = disjunct
    width = upper - lower
    worst = lambda points: (net(points) @ rows.T - bounds).max(1).values
    corner = lambda n: lower + width * (torch.rand(n, len(lower), generator=generator) < 0.5)
    least = float("inf")
    with torch.no_grad():
        for at in range(0, args.corners, 100):
            least = min(least, worst(corner(min(100, args.corners - at))).min().item())
    points = torch.cat([(lower + width / 2)[None], corner(args.restarts // 2), lower + width * torch.rand(args.restarts - 1 - args.restarts // 2, len(lower), generator=generator, dtype=torch.float64)])
    for step in range(args.steps):
        points.requires_grad_(True)
        score = worst(points)
        least = min(least, score.min().item())
        if least < 0:
            break
        (gradient,) = torch.autograd.grad(score.sum(), points)
        rate = max(0.5 * 0.5 ** (8 * step / args.steps), 1e-3)
        points = torch.clamp(points.detach() - rate * width * gradient.sign(), lower, upper)
    with torch.no_grad():
        return min(least, worst(points).min().item())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("instances")
    parser.add_argument("results")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--corners", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    folder = os.path.dirname(args.instances)
    with open(os.path.join(args.results, "results.csv")) as file:
        rows = [row for row in csv.DictReader(file) if row["result"] == "unsat"]
    refuted, closest = [], float("inf")
    for row in rows:
        begun = time.perf_counter()
        net = Network(os.path.join(folder, row["onnx"]))
        least = min((attack(net, disjunct, args, generator) for disjunct in properties(os.path.join(folder, row["vnnlib"]))), default=float("inf"))
        closest = min(closest, least)
        print(f"{row['onnx']} {row['vnnlib']}: {least:.3e} left, {time.perf_counter() - begun:.1f} s", flush=True)
        if least < 0:
            refuted.append((row["onnx"], row["vnnlib"], least))
    print(f"{len(rows)} unsat attacked, {len(refuted)} refuted, the closest by {closest:.3e}")
    for line in refuted:
        print("meets the property:", *line)
    return 1 if refuted else 0


if __name__ == "__main__":
    sys.exit(main())
