#!/usr/bin/env python3
"""The update of `temper bench ibp` in PyTorch: fast certified training (arXiv 2103.17268) and vanilla IBP, written the way one writes it there.

    temper bench ibp --net cnn7 --width 16 --dump DUMP --json
    ENV/bin/python bench/ibp_torch.py DUMP                     # ENV: sh golden/make_env_torch.sh ENV
    ENV/bin/python bench/ibp_torch.py DUMP --compile           # with torch.compile

A clean pass and an interval pass in centre and radius go through the layers together. Batch norms take the statistics of the clean pass, with
gradients; the last layer is merged with the margins; the loss is the robust cross-entropy plus, for `fast`, the two warmup regularisers;
gradients are clipped, the optimiser is fused Adam. Networks without residual connections only. Prints one JSON object.
Only the ratio of runs made in turn on one quiet machine means anything.
"""
import json

import torch
from torch import nn
from torch.nn import functional as F

import torch_steps


class Conv(nn.Conv2d):
    def forward(self, x, c, r):                              # clean activations, centres and radii: [N, C, H, W] each
        magnitudes = F.conv2d(r, self.weight.abs(), None, self.stride, self.padding, groups=self.groups)
        return super().forward(x), super().forward(c), magnitudes


class Linear(nn.Linear):
    def forward(self, x, c, r):                              # [N, F] each
        return super().forward(x), super().forward(c), F.linear(r, self.weight.abs())


class BatchNorm(nn.Module):
    """The statistics are those of the clean pass, with their gradients."""

    def __init__(self, features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.eps, self.momentum = eps, momentum

    def forward(self, x, c, r):
        var, mean = torch.var_mean(x, [d for d in range(x.ndim) if d != 1], correction=0)
        with torch.no_grad():
            count = x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        scale, shift = [v.view(1, -1, *[1] * (x.ndim - 2)) for v in (scale, shift)]
        return x * scale + shift, c * scale + shift, r * scale.abs()


class Relu(nn.Module):
    def forward(self, x, lower, upper):
        lower, upper = F.relu(lower), F.relu(upper)
        return F.relu(x), (upper + lower) / 2, (upper - lower) / 2


class Flatten(nn.Module):
    def forward(self, x, c, r):
        return x.flatten(1), c.flatten(1), r.flatten(1)


class IntervalNet(nn.Module):
    """A sequence of layers, given as in `network.json`."""

    def __init__(self, network):
        super().__init__()
        channels, *size = network["input"]
        for i, node in enumerate(network["nodes"]):
            kind, s = next(iter(node["op"].items())) if isinstance(node["op"], dict) else (node["op"], {})
            if node["inputs"] != [i]:
                raise SystemExit(f"{node['name']}: only sequences of layers are known here")
            if kind == "conv":
                module = Conv(channels, s["out"], s["kernel"], s["stride"], s["padding"], groups=s["groups"])
                channels, size = s["out"], [(n + 2 * s["padding"] - s["kernel"]) // s["stride"] + 1 for n in size]
            elif kind == "linear":
                module, channels = Linear(channels, s["out"]), s["out"]
            elif kind == "batch_norm":
                module = BatchNorm(channels)
            elif kind == "relu":
                module = Relu()
            elif kind == "flatten":
                module, channels = Flatten(), channels * size[0] * size[1]
            else:
                raise SystemExit(f"{node['name']}: {kind} is not known here")
            self.add_module(node["name"], module)

    def forward(self, x, c, r):
        """Centres and radii that the last layer reads, the last layer itself, and (lower, upper, centre, radius) before every ReLU."""
        *layers, last = self.children()
        before = []
        for layer in layers:
            if isinstance(layer, Relu):
                before.append((c - r, c + r, c, r))
                x, c, r = layer(x, *before[-1][:2])
            else:
                x, c, r = layer(x, c, r)
        return c, r, last, before


def margins(last, c, r, labels):                             # lower bounds of z_y - z_j: [N, K]
    rows = last.weight[labels].unsqueeze(1) - last.weight    # [N, K, D]
    b = last.bias[labels].unsqueeze(1) - last.bias
    return torch.bmm(rows, c.unsqueeze(2)).squeeze(2) + b - torch.bmm(rows.abs(), r.unsqueeze(2)).squeeze(2)


def tightness(input_radius, before, tau):
    losses = [F.relu(tau - input_radius / r.mean().clamp(min=1e-12)) / tau for *_, r in before]
    return sum(losses) / len(losses)


def relu_balance(before, tau):
    """By case, as the paper's code: without inactive units a layer is left out; without active ones it counts 2 and has no gradient."""
    total = 0.0
    for lower, upper, c, _ in before:
        active, inactive = lower > 0, upper < 0
        off = (c - c.mean()).square()
        any_active, any_inactive = active.any(), inactive.any()
        both = any_active & any_inactive
        loss = 0.0
        for above, below in (((c * active).mean(), -(c * inactive).mean()), ((off * active).sum(), (off * inactive).sum())):
            ratio = torch.where(both, above, 1.0) / torch.where(both, below, 1.0)
            loss = loss + F.relu(tau - torch.minimum(ratio, 1 / ratio.clamp(min=1e-12))) / tau
        total = total + torch.where(both, loss, torch.where(any_inactive, 2.0, 0.0))
    return total / len(before)


def make_loss(net, mean, std, s):
    def loss(pixels, labels):
        # The box, cut to the pixels there are; formed in double precision, since a small radius drowns in single.
        x = pixels.double()
        lower, upper = (x - s["eps"]).clamp(min=0), (x + s["eps"]).clamp(max=1)
        centre, radius = ((lower + upper) / 2 - mean) / std, (upper - lower) / 2 / std
        clean, centre, radius = ((x - mean) / std).float(), centre.float(), radius.float()
        c, r, last, before = net(clean, centre, radius)
        total = torch.logsumexp(-margins(last, c, r, labels), 1).mean()
        if s["tightness"]:
            total = total + s["weight"] * tightness(radius.mean(), before, s["tau"])
        if s["relu_balance"]:
            total = total + s["weight"] * relu_balance(before, s["tau"])
        return total
    return loss


def main():
    parser = torch_steps.arguments(__doc__)
    parser.add_argument("--channels-last", action="store_true", help="activations and kernels in this memory format")
    args = parser.parse_args()
    settings, weights, batches = torch_steps.open_dump(args)
    if settings["method"] not in ("fast", "vanilla-ibp"):
        raise SystemExit(f"{settings['method']}: only fast and vanilla-ibp are known here")
    mean, std = [weights.pop(f"input.{k}").double().view(1, -1, 1, 1) for k in ("mean", "std")]
    net = IntervalNet(json.loads((args.dump / "network.json").read_text()))
    net.load_state_dict(weights)
    pixels, labels = batches["pixels"], batches["labels"].long()
    if args.channels_last:
        net = net.to(memory_format=torch.channels_last)
        pixels = [x.contiguous(memory_format=torch.channels_last) for x in pixels]
    optimizer = torch_steps.optimizer(torch.optim.Adam, net.parameters(), settings)
    loss_of = make_loss(net, mean, std, settings)
    if args.compile:
        loss_of = torch.compile(loss_of)

    def update(batch):
        optimizer.zero_grad()
        loss = loss_of(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), settings["optimizer"]["clip"])
        optimizer.step()
        return loss.item()

    torch_steps.run(args, settings, "images", settings["batch"], list(zip(pixels, labels)), update)


if __name__ == "__main__":
    main()
