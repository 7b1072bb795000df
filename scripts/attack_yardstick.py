"""Is the attack of `temper verify` as strong as AutoAttack (Croce and Hein 2020)? Image by image, on a run's checkpoint.

    python -m venv venv && venv/bin/pip install torch torchvision numpy requests safetensors
    venv/bin/pip install --no-deps torchattacks
    temper verify runs/m@892 --eps 0.3 --images 200 --out runs/m/yardstick
    venv/bin/python scripts/attack_yardstick.py runs/m/checkpoints/step-00000892 runs/m/yardstick data/mnist --eps 0.3

The checkpoint is read into PyTorch, whose margins must be those of the verdicts to 1e-4. AutoAttack (standard: APGD-CE, targeted
APGD by DLR, targeted FAB, Square, each on what the ones before left) then attacks every image of the verdicts that is classified
right, and every image that one of the two turns and the other does not is listed. The script ends with 1 if AutoAttack turns an
image that `verify` leaves open, and with 2 if it turns one that `verify` certifies, if a counterexample of `verify` does not hold
in double precision, or if the margins differ. Images are those of an MNIST folder (files of IDX).
"""
import argparse
import csv
import json
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
import torchattacks
from safetensors.torch import load_file


class Net(torch.nn.Module):
    """A network of `network.json`, in evaluation mode, on pixels in [0, 1]."""

    def __init__(self, folder, dtype=torch.float32):
        super().__init__()
        self.spec = json.loads((folder / "network.json").read_text())
        self.values = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
        # torchattacks asks a parameter where the network is.
        self.place = torch.nn.Parameter(torch.zeros((), dtype=dtype), requires_grad=False)

    def forward(self, x):
        v = self.values
        outputs = [(x - v["input.mean"].view(1, -1, 1, 1)) / v["input.std"].view(1, -1, 1, 1)]
        for node in self.spec["nodes"]:
            name, op = node["name"], node["op"]
            kind, settings = (op, {}) if isinstance(op, str) else next(iter(op.items()))
            inputs = [outputs[i] for i in node["inputs"]]
            x, weight, bias = inputs[0], v.get(f"{name}.weight"), v.get(f"{name}.bias")
            if kind == "conv":
                x = F.conv2d(x, weight, bias, settings["stride"], settings["padding"], 1, settings["groups"])
            elif kind == "linear":
                x = F.linear(x, weight, bias)
            elif kind == "batch_norm":
                x = F.batch_norm(x, v[f"{name}.running_mean"], v[f"{name}.running_var"], weight, bias)
            elif kind == "relu":
                x = F.relu(x)
            elif kind == "flatten":
                x = x.flatten(1)
            elif kind == "add":
                x = sum(inputs)
            else:
                sys.exit(f"the script has no operation {kind}")
            outputs.append(x)
        return x


def first_images(folder, count):
    """The first test images in [0, 1], and their labels."""
    pixels = np.frombuffer((folder / "t10k-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    labels = np.frombuffer((folder / "t10k-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    pixels = pixels.reshape(-1, 1, 28, 28)[:count].astype(np.float32) / 255
    return torch.from_numpy(pixels), torch.from_numpy(labels[:count].astype(np.int64))


def margins(net, x, labels):
    """`z_y - max_{j != y} z_j` in the network's precision."""
    with torch.no_grad():
        logits = net(x)
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).max(1).values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path, help="folder with network.json and model.safetensors")
    parser.add_argument("verdicts", type=pathlib.Path, help="folder that verify wrote")
    parser.add_argument("data", type=pathlib.Path, help="folder with MNIST's files")
    parser.add_argument("--eps", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of AutoAttack")
    parser.add_argument("--batch", type=int, default=200, help="images that AutoAttack attacks at a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--uncertified", action="store_true", help="spare the images that verify certifies")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = list(csv.DictReader((args.verdicts / "verdicts.csv").open()))
    pixels, labels = first_images(args.data, len(rows))
    if [int(row["label"]) for row in rows] != labels.tolist():
        sys.exit(f"{args.verdicts} is about other images than {args.data}")
    net, exact = Net(args.checkpoint).eval(), Net(args.checkpoint, torch.float64).eval()
    lower = (pixels.double() - args.eps).clamp(min=0)
    upper = (pixels.double() + args.eps).clamp(max=1)

    outcomes = [row["outcome"] for row in rows]
    bad = check_counterexamples(args.verdicts, rows, exact, labels, lower, upper)

    bad += check_margins(rows, net, pixels, labels)

    # Images that are misclassified as they are need no attack.
    right = margins(exact, pixels.double(), labels) > 0
    spared = torch.tensor([args.uncertified and outcome == "certified" for outcome in outcomes])
    turned, began = ~right, time.time()
    attacks = torchattacks.AutoAttack(net, eps=args.eps, n_classes=net.spec["classes"], seed=args.seed)._autoattack.attacks
    for attack in attacks:
        open_ones, since = torch.nonzero(~turned & ~spared)[:, 0], time.time()
        for part in open_ones.split(args.batch):
            found = attack(pixels[part], labels[part]).double().clamp(lower[part], upper[part])
            # Judged in double precision, inside of the box.
            turned[part] = margins(exact, found, labels[part]) <= 0
        print(f"{attack.attack}: turns {int(turned[open_ones].sum())} of {len(open_ones)} in {time.time() - since:.0f} s", flush=True)
    seconds = time.time() - began

    fallen = torch.tensor([outcome in ("misclassified", "attacked") for outcome in outcomes])
    certified = torch.tensor([outcome == "certified" for outcome in outcomes])
    if spared.any():
        print(f"{int(spared.sum())} certified images were spared")
    print(f"torch {torch.__version__}, torchattacks {torchattacks.__version__}, seed {args.seed}")
    print(f"{len(rows)} images: {int((~right).sum())} misclassified; AutoAttack turns {int((turned & right).sum())} in {seconds:.0f} s,")
    print(f"verify turns {outcomes.count('attacked')}, certifies {outcomes.count('certified')}, leaves open {outcomes.count('unknown')}")
    lists = {
        "AutoAttack alone": turned & ~fallen,
        "verify alone": fallen & ~turned,
        "AutoAttack turns certified": turned & certified,
    }
    for what, which in lists.items():
        print(f"{what}: {torch.nonzero(which)[:, 0].tolist()}")
    if bad or lists["AutoAttack turns certified"].any():
        return 2
    return int(lists["AutoAttack alone"].any())


def check_margins(rows, net, pixels, labels):
    """Prints by how much the margins of the verdicts differ from PyTorch's; 1 if by more than 1e-4."""
    ours = torch.tensor([float(row["clean_margin"]) for row in rows])
    most = float((ours - margins(net, pixels, labels)).abs().max())
    print(f"margins of {len(rows)} images as they are: at most {most:.1e} apart")
    return int(not most <= 1e-4)


def check_counterexamples(folder, rows, exact, labels, lower, upper):
    """Prints and counts the counterexamples that are outside of their box, or that the network gets right."""
    if "counterexample" not in rows[0]:
        return 0
    stack, bad = torch.from_numpy(np.load(folder / "counterexamples.npy")).double(), []
    for i, row in enumerate(rows):
        if row["outcome"] == "attacked":
            image = stack[int(row["counterexample"])][None]
            inside = bool(((image >= lower[i]) & (image <= upper[i])).all())
            margin = float(margins(exact, image, labels[i : i + 1]))
            if not inside or margin > 0:
                bad.append((i, inside, margin))
    for i, inside, margin in bad:
        print(f"counterexample of image {i}: {'inside' if inside else 'outside'} of its box, margin {margin:g} in double precision")
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())
