#!/usr/bin/env bash
# onnx 1.19.1, onnx.reference (the evaluator that the standard ships), BatchNormalization of opset 9, as PyTorch and MATLAB wrote it for
# years.
#
# A good guess: a node with one output is evaluated in test mode, with the mean and the variance that it is given. So says the standard
# for opset 9 ("Output case #2: Y (test mode)"), so does onnxruntime, and so does onnx.reference for opset 14 and 15.
#
# What happens: below opset 14, the evaluator takes mean and variance of the batch at hand, mixed with the given ones by `momentum`,
# which is 0.9 unless a file says otherwise. The same node with the same numbers gives other outputs than onnxruntime, and other outputs
# for the same image in another batch. Nothing is raised or printed. Who checks a converter of old files against it finds faults that are none.
#
# Where to look: BatchNormalization_9._run in onnx/reference/ops/op_batch_normalization.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check onnx==1.19.1 onnxruntime==1.23.2 numpy==2.3.4
cat > "$folder/see.py" <<'P'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

C = 2
arrays = {"scale": [1.0, 2.0], "bias": [0.0, 1.0], "mean": [0.5, -0.5], "var": [4.0, 0.25]}
weights = [numpy_helper.from_array(np.array(v, dtype=np.float32), k) for k, v in arrays.items()]


def model(opset):
    node = helper.make_node("BatchNormalization", ["x", *arrays], ["y"], epsilon=1e-5)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", C, 1, 1]) for n in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


image = np.array([[[[3.0]], [[1.0]]]], dtype=np.float32)
other = np.array([[[[-9.0]], [[7.0]]]], dtype=np.float32)
seen = {}
for opset in (9, 15):
    proto = model(opset)
    reference = ReferenceEvaluator(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    alone, beside = (reference.run(None, {"x": x})[0][0].ravel() for x in (image, np.concatenate([image, other])))
    runtime = session.run(None, {"x": image})[0][0].ravel()
    print(f"opset {opset}: onnx.reference {alone} alone, {beside} beside another image; onnxruntime {runtime}")
    seen[opset] = (np.allclose(alone, runtime, atol=1e-4), np.allclose(alone, beside, atol=1e-4))
assert seen[15] == (True, True), seen
assert seen[9] == (False, False), seen
print("as described")
P
"$folder/venv/bin/python" "$folder/see.py"
