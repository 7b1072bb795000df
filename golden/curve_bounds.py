"""Bounds of small random networks with sigmoid and tanh by auto_LiRPA, into golden/curve_bounds.json.

    DIR/bin/python golden/curve_bounds.py golden/curve_bounds.json

The environment is that of `linear_bounds.py`. `ibp` and `crown`: [lower, upper] of what each curve reads; rows are lower bounds of `rows`
times the output. Layers are [weight, bias], row-major.
"""

import json
import sys

import torch
from torch import nn

from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
SIZES = [5, 10, 8, 6, 4]


def short(values):
    return [float(f"{v:.10g}") for v in values.detach().flatten().tolist()]


def made(name, curve, seed, eps):
    torch.manual_seed(seed)
    layers = [module for i, o in zip(SIZES, SIZES[1:]) for module in (nn.Linear(i, o), curve())][:-1]
    net = nn.Sequential(*layers)
    linear = [m for m in net if isinstance(m, nn.Linear)]
    for m in linear:
        m.weight.data = torch.randn_like(m.weight) * 2 / m.in_features**0.5
        m.bias.data = torch.randn_like(m.bias) * 0.2
    x = torch.rand(1, SIZES[0])
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), x_L=x - eps, x_U=x + eps))
    y = net(x)
    label = int(y.argmax())
    rows = torch.stack([torch.eye(4)[label] - torch.eye(4)[j] for j in range(4) if j != label])[None]
    case = {"name": name, "seed": seed, "lower": short(x - eps), "upper": short(x + eps), "rows": short(rows), "layers": [[short(m.weight), short(m.bias)] for m in linear]}
    for method, key in (("IBP", "ibp"), ("CROWN", "crown")):
        model = BoundedModule(net, x, device="cpu", verbose=False, bound_opts={"verbosity": 0})
        case[f"{key}_rows"] = short(model.compute_bounds(x=(box,), C=rows, method=method, bound_upper=False)[0])
        read = [n.inputs[0] for n in model.nodes() if type(n).__name__ in ("BoundSigmoid", "BoundTanh")]
        case[key] = [[short(n.lower), short(n.upper)] for n in read]
    print(name, eps, case["ibp_rows"], case["crown_rows"])
    return case


cases = [made(name, curve, seed, eps) for name, curve in (("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh)) for seed, eps in ((0, 0.2), (1, 0.05), (2, 0.01))]
with open(sys.argv[1], "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
