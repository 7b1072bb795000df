#!/usr/bin/env python3
"""Writes the reference numbers of golden/image_nets: three small networks with full batch norm under interval bounds.

    sh golden/make_env_lirpa.sh DIR && PYTHONPATH=DIR /usr/bin/python3 golden/image_nets.py golden/image_nets

Every number comes from the paper's formulas (arXiv 2103.17268) written plainly in PyTorch, in double precision. What auto_LiRPA can compute
is computed by it as well, and the script stops where the two disagree. README.md in this folder says what every file holds.
"""
import copy
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
from auto_LiRPA.bound_ops import BoundRelu
from auto_LiRPA.eps_scheduler import SmoothedScheduler
from auto_LiRPA.wrapper import CrossEntropyWrapper
from safetensors.torch import save_file

BN_EPS, MOMENTUM, TAU = 1e-5, 0.1, 0.5
EPS_MAX, LAMBDA = 0.1, 0.5
LR, CLIP = 5e-4, 10.0


# ---------------------------------------------------------------- networks: lists of nodes (name, operation, settings, inputs)
# An input is the number of the node it comes from, counted from 1; 0 is the image. Without inputs: the node before.

class Nodes(list):
    def add(self, name, op, *inputs, **settings):
        self.append(dict(name=name, op=op, inputs=list(inputs) or [len(self)], **settings))
        return len(self)

    def conv(self, name, out, kernel, stride=1, groups=1, inputs=()):
        return self.add(name, "conv", *inputs, out=out, kernel=kernel, stride=stride, padding=kernel // 2, groups=groups)


def cnn7(width, hidden, classes):
    n = Nodes()
    for i, (out, stride) in enumerate([(width, 1), (width, 1), (2 * width, 2), (2 * width, 1), (2 * width, 1)], 1):
        n.conv(f"conv{i}", out, 3, stride)
        n.add(f"bn{i}", "batch_norm")
        n.add(f"relu{i}", "relu")
    n.add("flatten", "flatten")
    n.add("linear1", "linear", out=hidden)
    n.add("bn6", "batch_norm")
    n.add("relu6", "relu")
    n.add("linear2", "linear", out=classes)
    return n


def head(n, hidden, classes):
    n.add("flatten", "flatten")
    n.add("linear1", "linear", out=hidden)
    n.add("bn_linear1", "batch_norm")
    n.add("relu_linear1", "relu")
    n.add("linear2", "linear", out=classes)
    return n


def residual(convs_of_block, stem, blocks, hidden, classes):
    """A stem and blocks of convolutions [(out, kernel, stride, groups)], each with a batch norm, and a shortcut around every block."""
    n = Nodes()
    n.conv("conv1", stem, 3)
    n.add("bn1", "batch_norm")
    start = n.add("relu1", "relu")
    width = stem
    for b, block in enumerate(blocks, 1):
        convs = convs_of_block(*block)
        last = start
        for i, (out, kernel, stride, groups) in enumerate(convs, 1):
            n.conv(f"block{b}.conv{i}", out, kernel, stride, groups, inputs=[last])
            last = n.add(f"block{b}.bn{i}", "batch_norm")
            if i < len(convs):
                last = n.add(f"block{b}.relu{i}", "relu")
        stride = math.prod(c[2] for c in convs)
        if stride != 1 or width != out:
            n.conv(f"block{b}.shortcut", out, 1, stride, inputs=[start])
            start = n.add(f"block{b}.bn_shortcut", "batch_norm")
        n.add(f"block{b}.add", "add", last, start)
        start = n.add(f"block{b}.relu", "relu")
        width = out
    return head(n, hidden, classes)


NETS = {
    # The first block of the wide net has a shortcut without convolution.
    "cnn7": dict(nodes=cnn7(4, 20, 10), input=(1, 10, 10), mean=[0.0], std=[1.0], scale=1.0, shift=1.5, last=0.1, seed=1),
    "wide_resnet": dict(nodes=residual(lambda out, stride: [(out, 3, stride, 1), (out, 3, 1, 1)], 6, [(6, 1), (8, 2), (10, 2)], 16, 7),
                        input=(3, 8, 8), mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010], scale=1.0, shift=1.5, last=0.04, seed=2),
    "resnext": dict(nodes=residual(lambda g, stride: [(g, 1, 1, 1), (g, 3, stride, 2), (2 * g, 1, 1, 1)],
                                   6, [(4, 1), (6, 2), (8, 2)], 16, 6),
                    input=(3, 7, 7), mean=[0.4802, 0.4481, 0.3975], std=[0.2302, 0.2265, 0.2262], scale=1.0, shift=1.5, last=0.06, seed=3),
}


class Net(torch.nn.Module):
    """A list of nodes as torch modules. Names of parameters and buffers are those of the golden files."""

    def __init__(self, spec):
        super().__init__()
        self.spec, self.nodes = spec, spec["nodes"]
        sizes = [tuple(spec["input"])]
        for node in self.nodes:
            size = sizes[node["inputs"][0]]
            op, module = node["op"], None
            if op == "conv":
                module = torch.nn.Conv2d(size[0], node["out"], node["kernel"], node["stride"], node["padding"], groups=node["groups"])
                side = lambda s: (s + 2 * node["padding"] - node["kernel"]) // node["stride"] + 1
                size = (node["out"], side(size[1]), side(size[2]))
            elif op == "linear":
                module, size = torch.nn.Linear(size[0], node["out"]), (node["out"],)
            elif op == "batch_norm":
                module = (torch.nn.BatchNorm2d if len(size) == 3 else torch.nn.BatchNorm1d)(size[0])
            elif op == "flatten":
                size = (math.prod(size),)
            if module is not None:
                self.add_module(node["name"].replace(".", "_"), module)
            sizes.append(size)
        self.double()

    def module(self, node):
        return getattr(self, node["name"].replace(".", "_"))

    def forward(self, x):
        values = [x]
        for node in self.nodes:
            a = [values[i] for i in node["inputs"]]
            op = node["op"]
            if op == "relu":
                values.append(F.relu(a[0]))
            elif op == "add":
                values.append(a[0] + a[1])
            elif op == "flatten":
                values.append(torch.flatten(a[0], 1))
            else:
                values.append(self.module(node)(a[0]))
        return values[-1]

    def stored(self):
        """{name in the files: parameter or buffer}, in node order."""
        out = {}
        for node in self.nodes:
            if node["op"] in ("conv", "linear", "batch_norm"):
                for name, value in [*self.module(node).named_parameters(), *self.module(node).named_buffers()]:
                    if name != "num_batches_tracked":
                        out[node["name"] + "." + name] = value
        return out

    def before_batch_norm(self, name):
        """Is it the bias of an affine layer with a batch norm behind it? Its gradient is exactly zero."""
        return name.endswith(".bias") and "bn" not in name and not name.startswith(self.nodes[-1]["name"])

    def named(self):
        return {name: p for name, p in self.stored().items() if isinstance(p, torch.nn.Parameter)}


def make_net(spec):
    """Weights near the IBP initialisation but mostly of one sign, everything else random, some scales of batch norms negative. The signs
    and the size of the last layer keep the widths moderate, so that a robust loss is more than its largest term."""
    net, g = Net(spec), torch.Generator().manual_seed(spec["seed"])
    noise = lambda like: torch.randn(like.shape, generator=g, dtype=torch.float64)
    with torch.no_grad():
        for name, p in net.stored().items():
            if "bn" in name:
                if name.endswith(".weight"):
                    p.copy_(spec["scale"] * (1 + 0.3 * noise(p)))
                    p[0] *= -1
                elif name.endswith(".bias"):
                    p.copy_(0.7 * spec["scale"] * noise(p))
                elif name.endswith("running_mean"):
                    p.copy_(0.1 * noise(p))
                else:
                    p.copy_(0.5 + torch.rand(p.shape, generator=g, dtype=torch.float64))
            elif name.endswith(".bias"):
                p.copy_(0.1 * noise(p))
            elif name == net.nodes[-1]["name"] + ".weight":
                p.copy_(spec["last"] * noise(p))
            else:
                p.copy_(math.sqrt(2 * math.pi) / p[0].numel() * (spec['shift'] + noise(p)))
        net.train()                             # running statistics near those of data
        for _ in range(60):
            net(normalised(make_images(spec, 32, g)[0] / 255, spec))
        for p in net.stored().values():
            p.copy_(p.float().double())         # what the files hold, exactly
    return net


def make_images(spec, count, g):
    """Pixels 0 to 255 with some at either end, as doubles, and labels."""
    classes = spec["nodes"][-1]["out"]
    smooth = F.interpolate(torch.rand(count, spec["input"][0], 4, 4, generator=g), spec["input"][1:], mode="bilinear", align_corners=True)
    pixels = ((1.6 * smooth - 0.3 + 0.1 * torch.randn(smooth.shape, generator=g)).clamp(0, 1) * 255).round()
    return pixels.double(), torch.randint(classes, (count,), generator=g)


def normalised(x, spec):
    stats = [torch.tensor(spec[k], dtype=torch.float64).view(1, -1, 1, 1) for k in ("mean", "std")]
    return (x - stats[0]) / stats[1]


def box(pixels, eps, spec):
    """Clean image, lower and upper end: cut to [0, 1] in pixel space, then normalised."""
    x = pixels / 255
    return [normalised(v, spec) for v in (x, (x - eps).clamp(min=0), (x + eps).clamp(max=1))]


# ---------------------------------------------------------------- the paper's formulas

class Bounds:
    """Clean values and intervals of every node but the last, by interval bound propagation."""

    def __init__(self, net, clean, lower, upper, train):
        self.net, self.labels = net, None
        v, c, r = [clean], [(lower + upper) / 2], [(upper - lower) / 2]
        self.scales, self.moments = {}, {}
        for k, node in enumerate(net.nodes[:-1]):
            i, op = node["inputs"][0], node["op"]
            if op == "conv":
                m = net.module(node)
                f = lambda x, w, b: F.conv2d(x, w, b, m.stride, m.padding, groups=m.groups)
                new = f(v[i], m.weight, m.bias), f(c[i], m.weight, m.bias), f(r[i], m.weight.abs(), None)
            elif op == "linear":
                m = net.module(node)
                new = F.linear(v[i], m.weight, m.bias), F.linear(c[i], m.weight, m.bias), F.linear(r[i], m.weight.abs())
            elif op == "batch_norm":
                m = net.module(node)
                over = [0] + list(range(2, v[i].ndim))
                if train:
                    mean, var = v[i].mean(over), v[i].var(over, unbiased=False)
                    self.moments[node["name"]] = mean, var * v[i].numel() / v[i].shape[1] / (v[i].numel() / v[i].shape[1] - 1)
                else:
                    mean, var = m.running_mean.clone(), m.running_var.clone()
                s = m.weight / torch.sqrt(var + BN_EPS)
                t = m.bias - mean * s
                self.scales[k] = s, t
                s, t = [p.view(1, -1, *[1] * (v[i].ndim - 2)) for p in (s, t)]
                new = s * v[i] + t, s * c[i] + t, s.abs() * r[i]
            elif op == "relu":
                l, u = F.relu(c[i] - r[i]), F.relu(c[i] + r[i])
                new = F.relu(v[i]), (u + l) / 2, (u - l) / 2
            elif op == "add":
                j = node["inputs"][1]
                new = v[i] + v[j], c[i] + c[j], r[i] + r[j]
            elif op == "flatten":
                new = v[i].flatten(1), c[i].flatten(1), r[i].flatten(1)
            v.append(new[0]), c.append(new[1]), r.append(new[2])
        self.v, self.c, self.r = v, c, r
        self.last = net.module(net.nodes[-1])

    def logits(self):
        return self.last(self.v[-1])

    def merged(self, labels):
        """Rows and constants of z_y - z_j, [N, K, D] and [N, K]."""
        w, b = self.last.weight, self.last.bias
        return w[labels].unsqueeze(1) - w, b[labels].unsqueeze(1) - b

    def margins(self, labels):
        rows, b = self.merged(labels)
        return torch.einsum("nkd,nd->nk", rows, self.c[-1]) + b - torch.einsum("nkd,nd->nk", rows.abs(), self.r[-1])

    def relus(self):
        """(name, lower and upper end of its input) of every ReLU."""
        for node in self.net.nodes:
            if node["op"] == "relu":
                i = node["inputs"][0]
                yield node["name"], self.c[i] - self.r[i], self.c[i] + self.r[i]

    def lower_bound(self, rows, constant, lower_slope):
        """Linear functions of the last layer's input, rows [N, Q, D] and constants [N, Q], pushed back to the image: their lower bounds
        over the box, [N, Q]. `lower_slope` of an unstable ReLU: "adaptive" (1 where u > -l, else 0) or "zero"."""
        net, n, q = self.net, rows.shape[0], rows.shape[1]
        a = {len(net.nodes) - 1: rows}          # value number -> coefficients [N, Q, ...]
        for k in range(len(net.nodes) - 2, -1, -1):
            node, here = net.nodes[k], a.pop(k + 1, None)
            i, op = node["inputs"][0], node["op"]
            if op == "conv":
                m = net.module(node)
                constant = constant + torch.einsum("nqchw,c->nq", here, m.bias)
                size, out = self.v[i].shape[2:], here.shape[3:]
                rest = [size[d] + 2 * m.padding[d] - (out[d] - 1) * m.stride[d] - m.kernel_size[d] for d in (0, 1)]
                back = F.conv_transpose2d(here.flatten(0, 1), m.weight, None, m.stride, m.padding, rest, m.groups).unflatten(0, (n, q))
            elif op == "linear":
                m = net.module(node)
                constant = constant + here @ m.bias
                back = here @ m.weight
            elif op == "batch_norm":
                s, t = [p.view(1, 1, -1, *[1] * (here.ndim - 3)) for p in self.scales[k]]
                constant = constant + (here * t).flatten(2).sum(2)
                back = here * s
            elif op == "relu":
                l, u = (self.c[i] - self.r[i]).unsqueeze(1), (self.c[i] + self.r[i]).unsqueeze(1)
                active, unstable = (l >= 0).double(), ((l < 0) & (u > 0)).double()
                chord = torch.where(unstable > 0, u / torch.where(unstable > 0, u - l, torch.ones_like(u)), active)
                below = active + (unstable * (u > -l).double() if lower_slope == "adaptive" else 0)
                constant = constant + (here.clamp(max=0) * -l * chord * unstable).flatten(2).sum(2)
                back = here.clamp(min=0) * below + here.clamp(max=0) * chord
            elif op == "add":
                a[node["inputs"][1]] = a.get(node["inputs"][1], 0) + here
                back = here
            elif op == "flatten":
                back = here.unflatten(2, self.v[i].shape[1:])
            a[i] = a.get(i, 0) + back
        a = a[0].flatten(2)
        return (a * self.c[0].flatten(1).unsqueeze(1)).sum(2) + constant - (a.abs() * self.r[0].flatten(1).unsqueeze(1)).sum(2)

    def crown_margins(self, labels, lower_slope="adaptive"):
        return self.lower_bound(*self.merged(labels), lower_slope)

    def fused_loss(self, labels, mix, least_slope=1e-8):
        """Loss fusion: cross-entropy's exponentials bounded from above by chords, all classes pushed back at once."""
        rows, b = self.merged(labels)
        rows, b = -rows, -b                     # d_j = z_j - z_y
        middle = torch.einsum("nkd,nd->nk", rows, self.c[-1]) + b
        half = torch.einsum("nkd,nd->nk", rows.abs(), self.r[-1])
        low, up = middle - half, middle + half
        s = up.max(1, keepdim=True)[0].detach()
        k = ((torch.exp(up - s) - torch.exp(low - s)) / (up - low).clamp(min=1e-8)).clamp(min=least_slope)
        constant = (k * (b - low) + torch.exp(low - s)).sum(1, keepdim=True)
        ub_c = -self.lower_bound(-torch.einsum("nk,nkd->nd", k, rows).unsqueeze(1), -constant, "adaptive").squeeze(1)
        ub_i = torch.exp(up - s).sum(1)
        return (torch.log(mix * ub_c + (1 - mix) * ub_i) + s.squeeze(1)).mean()


def robust_loss(margins):
    return torch.logsumexp(-margins, 1).mean()


def tightness(width0, relus):
    """`width0`: mean of (upper - lower) / 2 of the input; `relus`: (lower, upper) before every ReLU."""
    terms = [F.relu(TAU - width0 / ((u - l) / 2).mean().clamp(min=1e-12)) / TAU for l, u in relus]
    return sum(terms) / len(relus)


def relu_balance(relus):
    total = 0.0
    for l, u in relus:
        c, active, inactive = (l + u) / 2, (l > 0).to(l.dtype), (u < 0).to(l.dtype)
        if inactive.sum() == 0:
            continue                            # counts in the divisor, adds nothing
        spread = (c - c.mean()) ** 2
        ratios = (c * active).mean() / -(c * inactive).mean(), (spread * active).sum() / (spread * inactive).sum()
        total = total + sum(F.relu(TAU - torch.minimum(q, 1 / q.clamp(min=1e-12))) for q in ratios) / TAU
    return total / len(relus)


def regularisers(bounds):
    relus = [(l, u) for _, l, u in bounds.relus()]
    return tightness(bounds.r[0].mean(), relus), relu_balance(relus)


# ---------------------------------------------------------------- auto_LiRPA on the same network

def agree(what, a, b, tolerance):
    distance = ((a - b).abs().max() / b.abs().max().clamp(min=1e-300)).item()
    assert distance <= tolerance, f"{what}: auto_LiRPA and the formulas differ by {distance}"
    WORST[what.split(":")[0]] = max(WORST.get(what.split(":")[0], 0.0), distance)


WORST = {}


class Lirpa:
    """Bounds of a network by auto_LiRPA, in double precision. `net` is copied: its running statistics stay."""

    def __init__(self, net, clean, lower, upper, train, slope="adaptive"):
        torch.set_default_dtype(torch.float64)
        net = copy.deepcopy(net).eval()       # auto_LiRPA reads the graph in this mode
        self.model = BoundedModule(net, clean, bound_opts={"relu": slope, "conv_mode": "matrix"}, device="cpu")
        self.model.train(train)
        self.net, self.x = net, BoundedTensor(clean, PerturbationLpNorm(norm=math.inf, eps=0.0, x_L=lower, x_U=upper))
        self.clean_logits = self.model(self.x)
        torch.set_default_dtype(torch.float32)

    def margins(self, labels, method):
        k = self.net.nodes[-1]["out"]
        eye = torch.eye(k, dtype=torch.float64)
        c = eye[labels].unsqueeze(1) - eye
        torch.set_default_dtype(torch.float64)
        lower, _ = self.model.compute_bounds(x=(self.x,), C=c, method=method, bound_upper=False)
        torch.set_default_dtype(torch.float32)
        return lower

    def relus(self):
        return [node.inputs[0].interval for node in self.model._modules.values() if isinstance(node, BoundRelu)]

    def gradients(self, loss):
        """{stored name: gradient}; parameters are those of the copied network."""
        named = self.net.named()
        found = dict(zip(named, torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)))
        return {name: torch.zeros_like(named[name]) if g is None else g for name, g in found.items()}


def lirpa_fused_loss(net, clean, lower, upper, labels, mix):
    torch.set_default_dtype(torch.float64)
    net = copy.deepcopy(net).eval()
    wrapped = CrossEntropyWrapper(net).eval()
    options = {"loss_fusion": True, "relu": "adaptive", "conv_mode": "matrix"}
    model = BoundedModule(wrapped, (clean, labels), bound_opts=options, device="cpu")
    model.train()
    x = BoundedTensor(clean, PerturbationLpNorm(norm=math.inf, eps=0.0, x_L=lower, x_U=upper))
    model(x, labels)
    _, ub_i = model.compute_bounds(IBP=True, method=None)
    exponential = model[model.final_name].inputs[0]
    highest_i = exponential.max_input
    _, ub_c = model.compute_bounds(IBP=False, method="backward", bound_lower=False, bound_upper=True)
    highest = exponential.max_input
    # The one maximum has a gradient in auto_LiRPA 0.3 and the other has none; a factor of one puts it in order.
    loss = (torch.log(mix * ub_c + (1 - mix) * ub_i * torch.exp(highest_i - highest)) + highest).mean()
    torch.set_default_dtype(torch.float32)
    named = net.named()
    return loss, dict(zip(named, torch.autograd.grad(loss, list(named.values()))))


# ---------------------------------------------------------------- one network's files

def gradients(net, loss):
    named = net.named()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), found)}


def bounds_and_gradients(net, spec, pixels, labels):
    tensors, grads, numbers = {"pixels": pixels.to(torch.uint8), "labels": labels}, {}, {}

    def store_gradients(case, loss, theirs=None):
        ours = gradients(net, loss)
        largest = max(g.abs().max() for g in ours.values())
        for name, g in ours.items():
            if net.before_batch_norm(name):
                assert g.abs().max() < 1e-11 * largest, (case, name, g.abs().max(), largest)
                g = torch.zeros_like(g)
            elif theirs is not None:
                agree(f"gradients of {case.split('.')[0]}: {name}", theirs[name], g, 1e-8)
            grads[f"{case}.{name}"] = g

    for mode, eps in [("train", 0.1), ("train", 1e-3), ("eval", 0.1), ("eval", 1e-3)]:
        train, ends = mode == "train", box(pixels, eps, spec)
        case = f"{mode}.{eps}"
        ours, theirs = Bounds(net, *ends, train), Lirpa(net, *ends, train)
        agree("logits: " + case, theirs.clean_logits, ours.logits(), 1e-12)
        margins, crown, zero = ours.margins(labels), ours.crown_margins(labels), ours.crown_margins(labels, "zero")
        their_margins = theirs.margins(labels, "IBP")
        agree("IBP margins: " + case, their_margins, margins, 1e-10)
        their_relus = theirs.relus()
        assert len(their_relus) == len(list(ours.relus()))
        for (name, l, u), (their_l, their_u) in zip(ours.relus(), their_relus):
            agree(f"interval bounds: {case} {name}", torch.stack([their_l, their_u]), torch.stack([l, u]), 1e-10)
            if case != "eval.0.001":
                tensors[f"{case}.{name}.centre"], tensors[f"{case}.{name}.radius"] = (l + u) / 2, (u - l) / 2
        robust, (tight, balance) = robust_loss(margins), regularisers(ours)
        weight = LAMBDA * (1 - 0.1)
        their_loss = F.cross_entropy(-their_margins, labels) + weight * (
            tightness(((ends[2] - ends[1]) / 2).mean(), their_relus) + relu_balance(their_relus))
        if train:
            store_gradients(f"robust.{eps}", robust + weight * (tight + balance), theirs.gradients(their_loss))
        their_crown = Lirpa(net, *ends, train)
        lower = their_crown.margins(labels, "CROWN-IBP")
        agree("CROWN-IBP margins: " + case, lower, crown, 1e-8)
        agree("CROWN-IBP margins, slope 0: " + case, Lirpa(net, *ends, train, "zero-lb").margins(labels, "CROWN-IBP"), zero, 1e-8)
        tensors |= {f"{case}.logits": ours.logits(), f"{case}.margins": margins, f"{case}.crown": crown, f"{case}.crown_zero": zero}
        numbers[case] = dict(clean_loss=F.cross_entropy(ours.logits(), labels).item(), robust_loss=robust.item(), tightness=tight.item(),
                             relu_balance=balance.item(), input_width=ours.r[0].mean().item(), weight=weight)
        for mix in (0.0, 0.5, 1.0):
            numbers[case][f"fused_loss_{mix}"] = ours.fused_loss(labels, mix).item()
            numbers[case][f"crown_loss_{mix}"] = robust_loss(mix * crown + (1 - mix) * margins).item()
        if train and eps == 0.1:
            # Mixed margins, without and with loss fusion. auto_LiRPA 0.3 keeps the slopes of the chords above 1e-6, we above 1e-8.
            store_gradients("crown.0.1", robust_loss(0.5 * crown + 0.5 * margins),
                            their_crown.gradients(F.cross_entropy(-(0.5 * lower + 0.5 * their_crown.margins(labels, "IBP")), labels)))
            their_fused, their_grads = lirpa_fused_loss(net, *ends, labels, 0.5)
            agree("fused loss: " + case, their_fused, ours.fused_loss(labels, 0.5, 1e-6), 1e-8)
            for name, g in gradients(net, ours.fused_loss(labels, 0.5, 1e-6)).items():
                if not net.before_batch_norm(name):
                    agree(f"gradients of the fused loss: {name}", their_grads[name], g, 1e-7)
            store_gradients("fused.0.1", ours.fused_loss(labels, 0.5))
    # While eps is 0 the regularisers see a box of radius 1e-6.
    ours = Bounds(net, *box(pixels, 1e-6, spec), True)
    clean, (tight, balance) = F.cross_entropy(ours.logits(), labels), regularisers(ours)
    numbers["train.floor"] = dict(eps=1e-6, clean_loss=clean.item(), tightness=tight.item(), relu_balance=balance.item(), weight=LAMBDA,
                                  input_width=ours.r[0].mean().item())
    store_gradients("floor", clean + LAMBDA * (tight + balance))
    return tensors, grads, numbers


def ten_losses(net, spec, g):
    """Ten updates by Adam. The biases before a batch norm have no gradient and stay: the optimiser never sees them, so that no
    rounding is turned into steps."""
    net = copy.deepcopy(net).train()
    named = net.named()
    fixed = [n for n in named if net.before_batch_norm(n)]
    optimizer = torch.optim.Adam([p for n, p in named.items() if n not in fixed], lr=LR)
    tensors, steps = {}, []
    for k in range(10):
        pixels, labels = make_images(spec, 8, g)
        tensors |= {f"batch.{k}.pixels": pixels.to(torch.uint8), f"batch.{k}.labels": labels}
        eps = 0.01 * (k + 1)
        weight = LAMBDA * (1 - eps / EPS_MAX)
        bounds = Bounds(net, *box(pixels, eps, spec), True)
        robust, (tight, balance) = robust_loss(bounds.margins(labels)), regularisers(bounds)
        loss = robust + weight * (tight + balance)
        clean = F.cross_entropy(bounds.logits(), labels).item()     # before the update changes the last layer
        optimizer.zero_grad()
        loss.backward()
        for n in fixed:
            named[n].grad = None
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        with torch.no_grad():
            for name, (mean, var) in bounds.moments.items():
                m = net.module(dict(name=name))
                m.running_mean.lerp_(mean, MOMENTUM)
                m.running_var.lerp_(var, MOMENTUM)
        steps.append(dict(eps=eps, weight=weight, loss=loss.item(), clean_loss=clean,
                          robust_loss=robust.item(), tightness=tight.item(), relu_balance=balance.item(), grad_norm=norm.item()))
    for name, value in net.stored().items():
        if name.endswith(("running_mean", "running_var")):
            tensors["final." + name] = value.detach().clone()
    return tensors, dict(optimizer=dict(name="Adam", lr=LR, betas=[0.9, 0.999], eps=1e-8, clip_grad_norm=CLIP), steps=steps)


def pgd(net, spec, pixels, labels, eps, steps=200, restarts=10):
    """The smallest margin z_y - max z_j found in the box of every image by projected gradient descent on the margin, from the image and
    from random starts, with a step that shrinks."""
    net = copy.deepcopy(net).eval()
    for p in net.parameters():
        p.requires_grad_(False)
    _, lower, upper = box(pixels, eps, spec)
    own = F.one_hot(labels, spec["nodes"][-1]["out"]).bool()

    def margin(x):
        z = net(x)
        return z[own] - z.masked_fill(own, -math.inf).max(1)[0]

    best = margin(normalised(pixels / 255, spec))
    clean = best.clone()
    for restart in range(restarts):
        g = torch.Generator().manual_seed(restart)
        anywhere = lower + (upper - lower) * torch.rand(lower.shape, generator=g, dtype=torch.float64)
        x = normalised(pixels / 255, spec) if restart == 0 else anywhere
        for step in range(steps):
            x.requires_grad_(True)
            m = margin(x)
            grad, = torch.autograd.grad(m.sum(), x)
            best = torch.minimum(best, m.detach())
            size = (upper - lower) / 2 * 0.25 * (1 - step / steps)
            x = torch.minimum(torch.maximum(x.detach() - size * grad.sign(), lower), upper)
        best = torch.minimum(best, margin(x))
    return clean, best


def attacked(net, spec, g):
    pixels, labels = make_images(spec, 64, g)
    with torch.no_grad():
        net.eval()
        predicted = net(normalised(pixels / 255, spec)).argmax(1)
    labels = torch.where(torch.arange(64) % 8 == 7, labels, predicted)       # most of them classified rightly
    tensors = {"pixels": pixels.to(torch.uint8), "labels": labels}
    for eps in (0.02, 0.1):
        clean, best = pgd(net, spec, pixels, labels, eps)
        tensors |= {"clean": clean, f"margin.{eps}": best}
        print(f"  PGD at {eps}: {(clean <= 0).sum()} wrong, {(best <= 0).sum()} wrong or attacked of 64")
    return tensors


# ---------------------------------------------------------------- regularisers by case, schedules

def regulariser_cases():
    """Layers of a few units each, with the losses and their gradients for the ends of the intervals."""
    mixed = ([-2.0, -1.5, -0.5, 0.25, 0.5, 1.0], [-1.0, -0.25, 0.75, 0.5, 2.0, 3.0])
    few_active = ([-3.0, -2.5, -2.0, -1.0, 0.1, -0.5], [-2.0, -2.0, -1.0, -0.5, 0.2, 0.5])
    few_inactive = ([-v for v in few_active[1]], [-v for v in few_active[0]])
    uneven = ([-2.0, -1.5, -0.5, 0.25, 0.5, 0.5], [-1.0, -0.25, 0.75, 0.5, 1.0, 0.9])
    no_inactive = ([-1.0, 0.5, 0.25, -0.5], [1.0, 1.5, 0.5, 0.75])
    no_active = ([-1.0, -2.0, -0.5, -3.0], [0.5, -0.5, 0.25, -1.0])
    unstable = ([-1.0, -2.0, -0.5], [0.5, 1.5, 0.25])
    narrow = ([-1e-3, 0.5, -0.7], [1e-3, 0.501, -0.6995])
    cases = {"mixed": [mixed], "few active": [few_active], "few inactive": [few_inactive], "uneven": [uneven],
             "no inactive": [no_inactive], "no active": [no_active], "all unstable": [unstable], "narrow": [narrow],
             "no inactive beside mixed": [no_inactive, mixed],
             "all of them": [mixed, few_active, few_inactive, no_inactive, no_active, unstable, narrow]}

    def grad(loss, flat):
        zeros = [torch.zeros_like(v) for v in flat]
        if not (torch.is_tensor(loss) and loss.requires_grad):
            return [z.tolist() for z in zeros]
        found = torch.autograd.grad(loss, flat, allow_unused=True, retain_graph=True)
        return [(z if g is None else g).tolist() for z, g in zip(zeros, found)]

    out = []
    for name, layers in cases.items():
        for width0 in (0.1, 0.4):
            relus = [[torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in layer] for layer in layers]
            tight, balance = tightness(width0, relus), relu_balance(relus)
            flat = [v for layer in relus for v in layer]
            out.append(dict(name=name, input_width=width0, layers=[dict(lower=l, upper=u) for l, u in layers],
                            tightness=float(tight), tightness_grad=grad(tight, flat),
                            relu_balance=float(balance), relu_balance_grad=grad(balance, flat)))
    return out


def schedules():
    """auto_LiRPA's SmoothedScheduler, asked after the number of batches given."""
    runs = [("cifar10-160", 0.03137, 2, 80, 391), ("cifar10-70", 0.03137, 2, 20, 391), ("mnist-70", 0.4, 1, 20, 235),
            ("tinyimagenet-80", 0.00392, 2, 20, 782), ("short", 0.3, 2, 3, 7), ("one epoch", 0.1, 1, 1, 5)]
    out = []
    for name, eps, start, length, batches in runs:
        scheduler = SmoothedScheduler(eps, f"start={start},length={length}")
        scheduler.set_epoch_length(batches)
        i0, i1 = (start - 1) * batches, (start + length - 1) * batches
        im = i0 + int(0.25 * (i1 - i0))
        turns = {0, i0, i0 + 1, i0 + 2, (i0 + im) // 2, im - 1, im, im + 1, (im + i1) // 2, i1 - 1, i1, i1 + 1}
        asked = range(i1 + 4) if i1 < 100 else turns
        values = []
        for k in range(i1 + 4):
            scheduler.step_batch()              # its value for the batch counter k = 0, 1, ...
            if k in asked:
                values.append([k, scheduler.get_eps()])
        out.append(dict(name=name, eps=eps, start=start, length=length, batches=batches, values=values))
    return out


# ---------------------------------------------------------------- writing

def network_json(spec):
    """The network as crates/graph/src/config.rs writes it."""
    def op(node):
        fields = {k: node[k] for k in ("out", "kernel", "stride", "padding", "groups") if k in node}
        return {node["op"]: fields} if fields else node["op"]
    return dict(input=spec["input"], classes=spec["nodes"][-1]["out"],
                nodes=[dict(name=n["name"], op=op(n), inputs=n["inputs"]) for n in spec["nodes"]])


def save(tensors, path):
    small = lambda t: t.detach().float().contiguous() if t.is_floating_point() else t.contiguous()
    save_file({k: small(v) for k, v in tensors.items()}, path, {"format": "pt"})
    path.chmod(0o644)


def write_json(value, path):
    """A list with one entry a line, anything else indented."""
    lines = "[\n" + ",\n".join(json.dumps(v) for v in value) + "\n]" if isinstance(value, list) else json.dumps(value, indent=1)
    path.write_text(lines + "\n")


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    torch.set_num_threads(1)
    for name, spec in NETS.items():
        print(name)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        net, g = make_net(spec), torch.Generator().manual_seed(spec["seed"] + 100)
        pixels, labels = make_images(spec, 6, g)
        tensors, grads, numbers = bounds_and_gradients(net, spec, pixels, labels)
        training, steps = ten_losses(net, spec, g)
        for case, values in numbers.items():
            print("  ", case, {k: round(v, 5) for k, v in values.items()})
        print("  ", "losses", [round(s["loss"], 4) for s in steps["steps"]], "norms", [round(s["grad_norm"], 3) for s in steps["steps"]])
        write_json(dict(network_json(spec)), folder / "network.json")
        write_json(dict(mean=spec["mean"], std=spec["std"], cases=numbers, training=steps), folder / "numbers.json")
        save(net.stored(), folder / "model.safetensors")
        save(tensors, folder / "bounds.safetensors")
        save(grads, folder / "gradients.safetensors")
        save(training, folder / "training.safetensors")
        save(attacked(net, spec, g), folder / "attack.safetensors")
    write_json(regulariser_cases(), out / "regularisers.json")
    write_json(schedules(), out / "schedules.json")
    print("auto_LiRPA against the formulas, largest difference as a part of the largest entry:")
    for what, distance in WORST.items():
        print(f"  {what}: {distance:.1e}")


if __name__ == "__main__":
    main()
