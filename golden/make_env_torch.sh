#!/bin/sh
# Makes the Python environment that the scripts in golden/ and bench/ run in: PyPI's torch, transformers, safetensors, numpy.
#
#   sh golden/make_env_torch.sh DIR          # then: DIR/bin/python golden/gpt_neox.py golden/gpt_neox
#
# DIR is a folder outside the repository (about 6 GB: PyPI's torch for Linux imports only with its CUDA packages beside it).
# Python >= 3.11. The versions are those that wrote the committed files; newer ones should give the same numbers within the tolerances.
set -eu
dir=${1:?usage: make_env_torch.sh DIR}
python=${PYTHON:-python3}
[ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --upgrade pip
"$dir/bin/python" -m pip install 'torch==2.15.0' 'transformers==5.23.0' 'safetensors>=0.8,<0.9' 'numpy>=2,<3' 'tokenizers>=0.23.1,<0.24'
"$dir/bin/python" - <<'PY'
import torch, transformers, safetensors, tokenizers, numpy
for m in (torch, transformers, safetensors, tokenizers, numpy):
    print(m.__name__, m.__version__)
PY
