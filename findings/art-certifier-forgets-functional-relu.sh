#!/usr/bin/env bash
# adversarial-robustness-toolbox 1.20.1, its two certifiers of PyTorch networks: PyTorchIBPClassifier (interval bounds) and
# PytorchDeepZ (zonotopes).
#
# A good guess: the network that is certified is the one that was handed over. The converter refuses layers that it does not know
# ("Supported Operations are Conv2D, Linear, and RelU"), so what it accepts it must have understood.
#
# What happens: the converter puts hooks on the network's child modules and keeps what fires. Whatever `forward` does with a function
# instead of a module is not there: with torch.nn.functional.relu, as much PyTorch code is written, the certified network has no ReLU
# at all, and a skip connection or a normalisation inside `forward` is gone likewise. Nothing is raised or printed about it. The same
# weights with nn.ReLU modules are converted rightly. Bounds and certificates are then those of another network: below, outputs of the
# real network lie outside of the "bounds" around them.
#
# Where to look: ConvertedModel.__init__ in art/estimators/certification/interval/pytorch.py and .../deep_z/pytorch.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check adversarial-robustness-toolbox==1.20.1 packaging==25.0 torch==2.15.0
cat > "$folder/see.py" <<'P'
import contextlib, io, warnings

warnings.simplefilter("ignore")
import numpy as np
import torch
from torch import nn
from art.estimators.certification.deep_z import PytorchDeepZ
from art.estimators.certification.interval import PyTorchIBPClassifier

torch.manual_seed(0)


class Modules(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.relu(self.first(x)))


class Functions(Modules):
    def forward(self, x):
        return self.last(torch.nn.functional.relu(self.first(x)))


modules, functions = Modules(), Functions()
functions.load_state_dict(modules.state_dict())
points = np.random.default_rng(0).uniform(size=(200, 2)).astype(np.float32)
seen = {}
for name, network in (("modules", modules), ("functions", functions)):
    for kind in (PyTorchIBPClassifier, PytorchDeepZ):
        with contextlib.redirect_stdout(io.StringIO()):
            certifier = kind(model=network, loss=nn.CrossEntropyLoss(), input_shape=(2,), nb_classes=2, device_type="cpu")
        layers = [type(layer).__name__ for layer in certifier.model.ops]
        print(f"{kind.__name__} of the network with {name}: {layers}")
        seen[name, kind] = len(layers)
        if kind is PyTorchIBPClassifier:
            certifier.model.set_forward_mode("abstract")
            bounds = certifier.predict_intervals(points, bounds=0.01, limits=[0.0, 1.0])
            outputs = network(torch.tensor(points)).detach().numpy()
            outside = (outputs < bounds[:, 0] - 1e-5) | (outputs > bounds[:, 1] + 1e-5)
            print(f"  outputs of the network itself outside of its bounds: {outside.any(axis=1).sum()} of {len(points)}")
            seen[name, "outside"] = outside.any(axis=1).sum()
assert seen["modules", PyTorchIBPClassifier] == seen["modules", PytorchDeepZ] == 3 and seen["modules", "outside"] == 0
assert seen["functions", PyTorchIBPClassifier] == seen["functions", PytorchDeepZ] == 2 and seen["functions", "outside"] > 100
P
"$folder/venv/bin/python" "$folder/see.py"
