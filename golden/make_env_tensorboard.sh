#!/bin/sh
# Makes the Python environment that golden/check_tensorboard.py runs in: PyPI's tensorboard, without TensorFlow.
#
#   sh golden/make_env_tensorboard.sh DIR    # then: DIR/bin/python golden/check_tensorboard.py runs/base
#
# DIR is a folder outside the repository (about 150 MB). Python >= 3.9.
set -eu
dir=${1:?usage: make_env_tensorboard.sh DIR}
python=${PYTHON:-python3}
[ -x "$dir/bin/python" ] || "$python" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --upgrade pip
"$dir/bin/python" -m pip install --quiet 'tensorboard==2.21.0'
"$dir/bin/python" -c 'import tensorboard; print("tensorboard", tensorboard.__version__)'
