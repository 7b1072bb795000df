"""CROWN of small random networks over balls in the Euclidean norm by auto_LiRPA, into golden/ball_bounds.json.

    DIR/bin/python golden/ball_bounds.py golden/ball_bounds.json

The environment is that of `linear_bounds.py`. Rows are lower bounds of `rows` times the output. Layers are [weight, bias], row-major.
"""

import json
import sys

import torch
from torch import nn

from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
SIZES = [6, 12, 10, 8, 4]


def short(values):
    return [float(f"{v:.10g}") for v in values.detach().flatten().tolist()]


def made(seed, eps):
    torch.manual_seed(seed)
    net = nn.Sequential(*[module for i, o in zip(SIZES, SIZES[1:]) for module in (nn.Linear(i, o), nn.ReLU())][:-1])
    linear = [m for m in net if isinstance(m, nn.Linear)]
    for m in linear:
        m.weight.data = torch.randn_like(m.weight) * 2 / m.in_features**0.5
        m.bias.data = torch.randn_like(m.bias) * 0.2
    x = torch.rand(1, SIZES[0])
    y = net(x)
    label = int(y.argmax())
    rows = torch.stack([torch.eye(4)[label] - torch.eye(4)[j] for j in range(4) if j != label])[None]
    model = BoundedModule(net, x, device="cpu", verbose=False, bound_opts={"verbosity": 0, "relu": "adaptive"})
    ball = BoundedTensor(x, PerturbationLpNorm(norm=2, eps=eps))
    bound = model.compute_bounds(x=(ball,), C=rows, method="CROWN", bound_upper=False)[0]
    print(seed, eps, short(bound))
    return {"seed": seed, "centre": short(x), "radius": eps, "rows": short(rows), "bound": short(bound), "layers": [[short(m.weight), short(m.bias)] for m in linear]}


cases = [made(seed, eps) for seed, eps in ((0, 0.3), (1, 0.1), (2, 0.5))]
with open(sys.argv[1], "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
