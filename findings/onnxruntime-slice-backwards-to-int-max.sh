#!/usr/bin/env bash
# onnxruntime 1.23.2 and onnx 1.19.1: Slice in steps of -1 whose end is the largest 32-bit number.
#
# A good guess: from the second of three numbers backwards to INT_MAX there is nothing. The standard clamps an end beyond the dimension to
# its last place where the step is negative, as NumPy and onnx.reference do; for "backwards to the beginning" it recommends INT_MIN.
#
# What happens: onnxruntime takes INT_MAX as "to the beginning" in this direction too, and returns the numbers from the start on down to
# the first. Its own shape inference says that the output is empty, and it warns that the two do not agree. An exporter that writes
# INT_MAX for every open end thus makes a network of which tools that follow the standard compute another function.
#
# Where to look: PrepareForComputeHelper in onnxruntime/core/providers/cpu/tensor/slice_helper.h.
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
from onnx.shape_inference import infer_shapes

options = onnxruntime.SessionOptions()
options.log_severity_level = 4
x = np.array([1.0, 2.0, 3.0], dtype=np.float32)
seen = {}
for name, end in {"INT_MAX": 2**31 - 1, "1000": 1000}.items():
    lists = {"start": [1], "end": [end], "axis": [0], "step": [-1]}
    constants = [numpy_helper.from_array(np.array(v, dtype=np.int64), k) for k, v in lists.items()]
    node = helper.make_node("Slice", ["x", *lists], ["y"])
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3]), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], constants), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    runtime, reference = session.run(None, {"x": x})[0], ReferenceEvaluator(model).run(None, {"x": x})[0]
    inferred = [d.dim_value for d in infer_shapes(model).graph.output[0].type.tensor_type.shape.dim]
    print(f"end {name}: onnxruntime {runtime}, onnx.reference {reference}, inferred shape {inferred}")
    seen[name] = (len(runtime), len(reference), inferred)
assert seen["1000"] == (0, 0, [0]), seen
assert seen["INT_MAX"] == (2, 0, [0]), seen
print("as described")
P
"$folder/venv/bin/python" "$folder/see.py"
