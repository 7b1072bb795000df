#!/bin/sh
# Makes the two Python environments that golden/onnx_operations.py, onnx_exporters.py and onnx_answers.py run in: frameworks that
# cannot share one.
#
#   sh golden/make_env_onnx.sh DIR DIR2      # torch, keras, onnxruntime; tensorflow, jax, scikit-learn and the tools
#
# Folders outside the repository, about 6 GB and 3 GB. Python 3.11.
set -eu
torch=${1:?usage: make_env_onnx.sh DIR DIR2}
others=${2:?usage: make_env_onnx.sh DIR DIR2}
python=${PYTHON:-python3.11}
[ -x "$torch/bin/python" ] || "$python" -m venv "$torch"
[ -x "$others/bin/python" ] || "$python" -m venv "$others"
"$torch/bin/python" -m pip install --quiet 'torch==2.15.0' 'numpy==2.4.6' 'onnx==1.23.2' 'onnxruntime==1.32.0' 'onnxscript==0.7.2' 'keras==3.15.1'
"$others/bin/python" -m pip install --quiet 'tensorflow-cpu==2.21.0' 'tf2onnx==1.17.0' 'jax2onnx==0.17.1' 'flax==0.12.8' 'skl2onnx==1.20.0' \
    'scikit-learn==1.9.1' 'onnxsim==0.8.1' 'onnxslim==0.1.98' 'onnx==1.23.2' 'onnxruntime==1.32.0'
