#!/usr/bin/env python3
"""Seconds that auto_LiRPA takes for the bounds of one image, on a run of Temper's; and the run's network as ONNX.

    DIR/bin/python bench/verify/peers.py RUN/checkpoints/step-00000705 MNIST_DIR --onnx net.onnx     # eps 0.1, 2 threads

auto_LiRPA 0.7.1 from its repository (a050a3d), torch 2.8.0. Not a later torch without a look at the bounds: where torch.clamp has
gradient 0 at its ends (2.15 has), slopes that start at 0 and 1 never move, and alpha-CROWN returns CROWN's bounds without a word.
Batch norm is folded. One JSON line a workload; ratios to Temper mean something only if both ran in turn on a quiet machine.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("checkpoint", type=Path)
parser.add_argument("mnist", type=Path)
parser.add_argument("--eps", type=float, default=0.1)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--images", type=int, default=10, help="for CROWN; 10 if not given")
parser.add_argument("--domains", type=int, default=8, help="for a branching step; 64 take 22 GB")
parser.add_argument("--only", help="some of ibp,crown-ibp,crown-1,crown-5,alpha,beta")
parser.add_argument("--onnx", type=Path)
args = parser.parse_args()
torch.set_num_threads(args.threads)


def network(folder):
    """A chain of convolutions, dense layers and ReLUs, batch norm folded in double precision."""
    weights = load_file(folder / "model.safetensors")
    graph = json.loads((folder / "network.json").read_text())
    layers, shape = [], graph["input"]
    for node in graph["nodes"]:
        op, name = node["op"], node["name"]
        kind = op if isinstance(op, str) else next(iter(op))
        if kind == "conv":
            conv = op["conv"]
            layer = nn.Conv2d(shape[0], conv["out"], conv["kernel"], conv["stride"], conv["padding"], groups=conv["groups"])
        elif kind == "linear":
            layer = nn.Linear(int(np.prod(shape)), op["linear"]["out"])
        elif kind == "batch_norm":
            layer, v = layers[-1], {k: weights[f"{name}.{k}"].double() for k in ("weight", "bias", "running_mean", "running_var")}
            scale = v["weight"] / (v["running_var"] + 1e-5).sqrt()
            layer.bias.data = ((layer.bias.data.double() - v["running_mean"]) * scale + v["bias"]).float()
            layer.weight.data = (layer.weight.data.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))).float()
            continue
        elif kind == "relu":
            layers.append(nn.ReLU())
            continue
        elif kind == "flatten":
            layers.append(nn.Flatten())
            shape = [int(np.prod(shape))]
            continue
        else:
            raise SystemExit(f"{name}: {op}")
        weight = weights[f"{name}.weight"]
        layer.weight.data = weight.reshape(layer.weight.shape)
        layer.bias.data = weights[f"{name}.bias"] if f"{name}.bias" in weights else torch.zeros(len(weight))
        if isinstance(layer, nn.Linear) and len(shape) > 1:
            layers.append(nn.Flatten())
        layers.append(layer)
        with torch.no_grad():
            shape = list(layer(torch.zeros(1, *(shape if isinstance(layer, nn.Conv2d) else [layer.in_features]))).shape[1:])
    return nn.Sequential(*layers).eval().requires_grad_(False), graph["input"]


net, shape = network(args.checkpoint)
pixels = np.frombuffer((args.mnist / "t10k-images-idx3-ubyte").read_bytes(), np.uint8, offset=16).reshape(-1, *shape)
labels = np.frombuffer((args.mnist / "t10k-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
x, y = torch.from_numpy(pixels.astype(np.float32) / 255), torch.from_numpy(labels.astype(np.int64))
right = net(x[:2000]).argmax(1) == y[:2000]
print(json.dumps({"right of 2000": int(right.sum()), "torch": torch.__version__}), flush=True)
x, y = x[:2000][right], y[:2000][right]
if args.onnx:
    torch.onnx.export(net, (x[:1],), str(args.onnx), dynamo=False, input_names=["input"], output_names=["logits"], opset_version=13)

from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm  # noqa: E402
from auto_LiRPA.beta_crown import SparseBeta  # noqa: E402


def margins(labels):
    identity = torch.eye(10)
    return torch.stack([torch.stack([identity[t] - identity[j] for j in range(10) if j != t]) for t in labels.tolist()])


def box(images):
    return BoundedTensor(images, PerturbationLpNorm(norm=float("inf"), x_L=(images - args.eps).clamp(min=0), x_U=(images + args.eps).clamp(max=1)))


def module(images, conv_mode="patches", **options):
    defaults = {"lr_alpha": 0.1, "lr_beta": 0.05, "lr_decay": 0.98, "early_stop_patience": 1000, "use_shared_alpha": False, "enable_alpha_crown": True,
                "enable_beta_crown": False, "fix_interm_bounds": False, "iteration": 20}
    return BoundedModule(net, images, device="cpu", verbose=False, bound_opts={"verbosity": 0, "conv_mode": conv_mode, "optimize_bound_args": {**defaults, **options}})


def timed(name, batch, count, method, **options):
    if args.only and name not in args.only.split(","):
        return
    model = module(x[:batch], **options)
    bounds, seconds = [], []
    for at in range(0, count, batch):
        images, rows = x[at:at + batch], margins(y[at:at + batch])
        start = time.perf_counter()
        with torch.enable_grad() if "Optimized" in method else torch.no_grad():
            lower = model.compute_bounds(x=(box(images),), C=rows, method=method, bound_upper=False)[0]
        seconds.append(time.perf_counter() - start)
        bounds.append(lower.detach().min(1).values)
    bounds = torch.cat(bounds)
    seconds = seconds[1:] if len(seconds) > 2 else seconds
    median = sorted(seconds)[len(seconds) // 2]
    unstable = [int(((n.inputs[0].lower < 0) & (n.inputs[0].upper > 0)).sum()) / batch for n in model.nodes() if type(n).__name__ == "BoundRelu"]
    print(json.dumps({"workload": name, "batch": batch, "images": count, "images/s": round(batch / median, 3), "seconds each": round(median / batch, 4),
                      "mean worst margin": round(bounds.mean().item(), 5), "certified": int((bounds > 0).sum()), "unstable an image, by layer": unstable}), flush=True)


def branching(domains, steps=(1, 11)):
    """Seconds of one step of alpha and beta for a batch of domains with a split each, all bounds given: (11 bounds - 1 bound) / 10.

    The inner work of alpha-beta-CROWN's branching, which is this library's. Multipliers need rows as matrices, which those of the output are anyway.
    """
    if args.only and "beta" not in args.only.split(","):
        return
    image, rows = x[:1], margins(y[:1])
    root = module(image)
    with torch.no_grad():
        root.compute_bounds(x=(box(image),), C=rows, method="CROWN", bound_upper=False)
    read = [n.inputs[0] for n in root.nodes() if type(n).__name__ == "BoundRelu"]
    last = read[-1]
    open_ = ((last.lower < 0) & (last.upper > 0)).flatten().nonzero().flatten().tolist() or [0]
    repeated = lambda t: t.detach().repeat(domains, *[1] * (t.ndim - 1))
    all_ends = [[repeated(n.lower), repeated(n.upper)] for n in read]
    seconds = {}
    for count in steps:
        model = module(image.repeat(domains, 1, 1, 1), "matrix", iteration=count, fix_interm_bounds=True, enable_beta_crown=True)
        relus = [n for n in model.nodes() if type(n).__name__ == "BoundRelu"]
        ends = {n.inputs[0].name: pair for n, pair in zip(relus, all_ends, strict=True)}
        with torch.no_grad():
            model.compute_bounds(x=(box(image.repeat(domains, 1, 1, 1)),), C=rows.repeat(domains, 1, 1), method="CROWN", bound_upper=False, interm_bounds=ends)
        model.get_split_nodes()
        for n in relus:
            sparse = SparseBeta((domains, 1))
            if n is relus[-1]:
                for d in range(domains):
                    sparse.loc[d, 0], sparse.sign[d, 0] = open_[d % len(open_)], 1 if d % 2 else -1
            n.inputs[0].sparse_betas = [sparse]
        start = time.perf_counter()
        model.compute_bounds(x=(box(image.repeat(domains, 1, 1, 1)),), C=rows.repeat(domains, 1, 1), method="CROWN-Optimized", bound_upper=False, interm_bounds=ends)
        seconds[count] = time.perf_counter() - start
    step = (seconds[steps[1]] - seconds[steps[0]]) / (steps[1] - steps[0])
    print(json.dumps({"workload": "beta", "domains": domains, "rows": 9, "seconds a step": round(step, 4), "domains/s, a step": round(domains / step, 1)}), flush=True)


timed("ibp", 100, 1000, "IBP")
timed("crown-ibp", 100, 500, "CROWN-IBP")
timed("crown-1", 1, args.images, "CROWN")
timed("crown-5", 5, args.images, "CROWN")
branching(args.domains)
timed("alpha", 1, min(2, args.images), "CROWN-Optimized")
