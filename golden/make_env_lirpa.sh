#!/bin/sh
# Makes the Python environment that golden/image_nets.py runs in: Debian's torch 1.13.1, and auto_LiRPA 0.3 from PyPI.
#
#   apt-get install --no-install-recommends python3-torch python3-pip    # Debian 12, about 620 MB
#   sh golden/make_env_lirpa.sh DIR          # then: PYTHONPATH=DIR /usr/bin/python3 golden/image_nets.py golden/image_nets
#
# DIR is a folder outside the repository (5 MB). auto_LiRPA 0.3 asks for torch < 1.13, which no newer Python has, and cannot be imported
# under torch 2: it is installed without its dependencies, beside the torch of the system's own Python.
set -eu
dir=${1:?usage: make_env_lirpa.sh DIR}
python=${PYTHON:-/usr/bin/python3}
"$python" -c 'import torch; assert torch.__version__.startswith("1.13"), torch.__version__'
"$python" -m pip install --quiet --no-deps --upgrade --target "$dir" 'auto-LiRPA==0.3' 'appdirs==1.4.4' 'packaging==24.2' 'tqdm==4.67.1' 'safetensors==0.5.3'
PYTHONPATH="$dir" "$python" - <<'PY'
import torch, auto_LiRPA, safetensors, numpy
for m in (torch, auto_LiRPA, safetensors, numpy):
    print(m.__name__, m.__version__)
PY
