"""Linear bounds of small random networks by auto_LiRPA, into golden/linear_bounds.json.

    DIR/bin/python golden/linear_bounds.py golden/linear_bounds.json

auto_LiRPA 0.7.1, its repository at a050a3d (2026-05-27; PyPI's is years old), under torch 2.8.0 in double precision:
`pip install --no-deps CHECKOUT` beside `make_env_onnx.sh`'s torch, then appdirs, graphviz, ninja, packaging, psutil, pyyaml, tqdm.

Nodes are those of a `Computation`: value 0 is the input, i + 1 the output of node i; arrays row-major. `ibp` and `crown`: [lower, upper]
of what each ReLU and max pool reads, by the number of the value (CROWN: rows for what intervals leave unstable, the others as by IBP).
`given`: both intersected; `crown_rows`, `alpha` and `beta` start from these and keep them. Rows are lower bounds of `rows` times the output.
`alpha.N`, `joint.N`: the best of N bounds, so of N - 1 steps of Adam (rate 0.1, times 0.98 a step, slopes of each row its own, at first
adaptive); `joint` optimises slopes of intermediate bounds too. `beta.N`: of the multipliers of `splits` alone (rate 0.05; slopes stay
adaptive), splits [value, neuron, sign] also in `given`.
"""

import json
import sys

import torch
from torch import nn
import torch.nn.functional as F

from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
from auto_LiRPA.beta_crown import SparseBeta

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
SEED = 7


class Net(nn.Module):
    """The nodes, one after the other."""

    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes
        self.numbers = nn.ParameterList([nn.Parameter(t) for n in nodes for t in (n.get("w"), n.get("b")) if t is not None])

    def forward(self, x):
        values, numbers = [x], iter(self.numbers)
        for n in self.nodes:
            x = values[n["inputs"][0]]
            match n["op"]:
                case "dense":
                    x = F.linear(x.flatten(1), next(numbers), next(numbers))
                case "conv":
                    x = F.conv2d(x, next(numbers), next(numbers), n["stride"], n["padding"], n.get("dilation", 1), n["groups"])
                case "average":
                    x = F.avg_pool2d(x, n["kernel"])
                case "max":
                    x = F.max_pool2d(x, n["kernel"])
                case "relu":
                    x = F.relu(x)
                case "add":
                    x = x + values[n["inputs"][1]]
            values.append(x)
        self.shapes = [[int(d) for d in v.shape[1:]] for v in values]
        return x


def dense(at, i, o, gain=1.0):
    return {"op": "dense", "inputs": [at], "w": torch.randn(o, i) * gain / i**0.5, "b": torch.randn(o) * 0.2}


def conv(at, i, o, k=3, stride=1, padding=1, groups=1, gain=1.4):
    return {"op": "conv", "inputs": [at], "w": torch.randn(o, i // groups, k, k) * gain / (i // groups * k * k) ** 0.5, "b": torch.randn(o) * 0.2,
            "stride": stride, "padding": padding, "groups": groups}


def relu(at):
    return {"op": "relu", "inputs": [at]}


NETWORKS = {
    "dense": ([5], 0.2, lambda: [dense(0, 5, 10, 2), relu(1), dense(2, 10, 8, 1.5), relu(3), dense(4, 8, 6, 1.5), relu(5), dense(6, 6, 4)]),
    "conv": ([2, 6, 6], 0.1, lambda: [conv(0, 2, 4, groups=2), relu(1), conv(2, 4, 4, 3, stride=2), relu(3), conv(4, 4, 4, 2, padding=0, groups=4), relu(5), dense(6, 16, 6), relu(7), dense(8, 6, 3)]),
    "residual": ([1, 6, 6], 0.1, lambda: [conv(0, 1, 3, stride=2), relu(1), conv(2, 3, 3), relu(3), conv(4, 3, 3), {"op": "add", "inputs": [5, 2]}, relu(6),
                                          conv(7, 3, 4, stride=2), relu(8), conv(9, 4, 4), conv(7, 3, 4, 1, stride=2, padding=0), {"op": "add", "inputs": [10, 11]}, relu(12), dense(13, 16, 4)]),
    "average": ([2, 6, 6], 0.1, lambda: [conv(0, 2, 3, padding=2), relu(1), {"op": "average", "inputs": [2], "kernel": 2}, conv(3, 3, 3), relu(4), dense(5, 48, 3)]),
    "pool": ([1, 6, 6], 0.1, lambda: [conv(0, 1, 3), relu(1), {"op": "max", "inputs": [2], "kernel": 2}, conv(3, 3, 3), relu(4), dense(5, 27, 4)]),
}


def short(values):
    return [float(f"{v:.10g}") for v in values.detach().flatten().tolist()]


def main():
    cases = []
    for name in NETWORKS:
        # Where intervals are tighter than CROWN somewhere, auto_LiRPA's first slopes are not those of CROWN over the bounds that it is given.
        case = next(case for seed in range(1000) if (case := made(name, seed)))
        print(case["seed"], {k: v for k, v in case.items() if k == "name" or k.endswith("rows") or k in ("unstable", "alpha", "joint", "splits", "beta")})
        cases.append(case)
    with open(sys.argv[1], "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


def made(name, seed):
    """The case of this seed; `None` if intervals are tighter than CROWN somewhere, or nothing can be split."""
    torch.manual_seed(seed)
    shape, eps, build = NETWORKS[name]
    nodes, x = build(), torch.rand(1, *shape)
    net = Net(nodes).eval()
    y = net(x)
    label = int(y.argmax())
    rows = torch.stack([torch.eye(y.shape[1])[label] - torch.eye(y.shape[1])[j] for j in range(y.shape[1]) if j != label])[None]
    lower, upper = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
    box = BoundedTensor(x, PerturbationLpNorm(norm=float("inf"), x_L=lower, x_U=upper))

    def bounded(**options):
        # Every option each time: auto_LiRPA writes them into defaults that all its modules share.
        defaults = {"optimizer": "adam", "lr_alpha": 0.1, "lr_beta": 0.05, "lr_decay": 0.98, "early_stop_patience": 1000, "use_shared_alpha": False, "keep_best": True,
                    "enable_alpha_crown": True, "enable_beta_crown": False, "fix_interm_bounds": True, "iteration": 1}
        return BoundedModule(net, x, device="cpu", verbose=False,
                             bound_opts={"verbosity": 0, "optimize_bound_args": {**defaults, **options}, "relu": "adaptive", "conv_mode": "matrix"})

    values = [i for i, n in enumerate(nodes) if n["op"] in ("relu", "max")]
    read = [nodes[i]["inputs"][0] for i in values]
    order = lambda model: [n.inputs[0] for n in model.nodes() if type(n).__name__ in ("BoundRelu", "BoundMaxPool")]

    def ends(model):
        return {value: (node.lower.detach().clone(), node.upper.detach().clone()) for value, node in zip(read, order(model), strict=True)}

    listed = lambda found: {str(value): [short(l), short(u)] for value, (l, u) in found.items()}
    model = bounded()
    ibp_rows = model.compute_bounds(x=(box,), C=rows, method="IBP", bound_upper=False)[0]
    ibp = ends(model)
    crown_ibp_rows = bounded().compute_bounds(x=(box,), C=rows, method="CROWN-IBP", bound_upper=False)[0]
    model = bounded()
    model.compute_bounds(x=(box,), C=rows, method="CROWN", bound_upper=False)
    crown = ends(model)
    given = {v: (torch.maximum(ibp[v][0], crown[v][0]), torch.minimum(ibp[v][1], crown[v][1])) for v in read}

    if any(not torch.allclose(given[v][side], crown[v][side], atol=1e-12) for v in read for side in (0, 1)):
        return None

    def by(method, given, **options):
        model = bounded(**options)
        names = {value: node.name for value, node in zip(read, order(model), strict=True)}
        fixed = {names[v]: list(ends) for v, ends in given.items()} if given else None
        return model.compute_bounds(x=(box,), C=rows, method=method, bound_upper=False, interm_bounds=fixed)[0]

    case = {"name": name, "seed": seed, "input": shape, "lower": short(lower), "upper": short(upper), "rows": short(rows), "label": label,
            "nodes": [{k: (short(v) if torch.is_tensor(v) else v) for k, v in n.items()} | {"shape": net.shapes[i + 1]} for i, n in enumerate(nodes)],
            "ibp": listed(ibp), "ibp_rows": short(ibp_rows), "crown_ibp_rows": short(crown_ibp_rows), "crown": listed(crown), "crown_rows": short(by("CROWN", given))}
    if name != "pool":
        frozen = {"fix_interm_bounds": True}
        case["alpha"] = {n: short(by("CROWN-Optimized", given, iteration=n, **frozen)) for n in (1, 2, 20)}
        case["joint"] = {n: short(by("CROWN-Optimized", None, iteration=n, fix_interm_bounds=False)) for n in (1, 2, 20)}

        case["splits"], case["beta"] = beta(bounded, order, given, read, box, rows)
    case["unstable"] = [int(((l < 0) & (u > 0)).sum()) for l, u in given.values()]
    return case


def beta(bounded, order, given, read, box, rows):
    """Two splits: of the last two ReLUs that have one, the neuron whose ends are farthest from 0."""
    widest = {v: int(torch.minimum(-given[v][0], given[v][1]).argmax()) for v in read}
    chosen = [(v, widest[v], 1 if i % 2 else -1) for i, v in enumerate(read) if given[v][0].flatten()[widest[v]] < 0 < given[v][1].flatten()[widest[v]]][-2:]
    ends = {v: (l.clone(), u.clone()) for v, (l, u) in given.items()}
    for v, neuron, sign in chosen:
        ends[v][0 if sign > 0 else 1].view(-1)[neuron] = 0
    found = {}
    for n in (1, 2, 20):
        # One domain a row: a multiplier of its own for each.
        bounds = []
        for row in range(rows.shape[1]):
            model = bounded(iteration=n, fix_interm_bounds=True, enable_beta_crown=True, enable_alpha_crown=False)
            nodes = dict(zip(read, order(model), strict=True))
            fixed = {nodes[v].name: list(e) for v, e in ends.items()}
            model.compute_bounds(x=(box,), C=rows[:, row:row + 1], method="CROWN", bound_upper=False, interm_bounds=fixed)
            model.get_split_nodes()
            for v, node in nodes.items():
                here = [(neuron, sign) for at, neuron, sign in chosen if at == v]
                sparse = SparseBeta((1, max(1, len(here))))
                for i, (neuron, sign) in enumerate(here):
                    sparse.loc[0, i], sparse.sign[0, i] = neuron, sign
                node.sparse_betas = [sparse]
            bounds.append(model.compute_bounds(x=(box,), C=rows[:, row:row + 1], method="CROWN-Optimized", bound_upper=False, interm_bounds=fixed)[0])
        found[n] = short(torch.cat(bounds))
    return [list(c) for c in chosen], found


main()
