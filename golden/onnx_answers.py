"""Adds inputs and outputs to golden/onnx/cases.json: onnxruntime with its optimiser off, in the file's own precision.

    python golden/onnx_answers.py golden/onnx

Two inputs a file, one of them around 0, one between 0 and 1. `reference` has the outputs of `onnx.reference` with every float tensor
turned into doubles, where it can evaluate the file; the two have to agree to 1e-5 of the largest output.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

FOLDER = Path(sys.argv[1])
KINDS = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}


def shape_of(model):
    """Names are the number 1, as are sizes that are not given."""
    weights = {t.name for t in model.graph.initializer}
    value = next(v for v in model.graph.input if v.name not in weights)
    kind = value.type.tensor_type
    return value.name, KINDS[kind.elem_type], [d.dim_value or 1 for d in kind.shape.dim]


def run(path, name, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {name: x})[0]


def doubled(model):
    """The same graph in doubles."""
    def double(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))

    for tensor in model.graph.initializer:
        double(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            if attribute.name == "value_float":
                attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(np.array(attribute.f))))
            if attribute.HasField("t"):
                double(attribute.t)
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del model.graph.value_info[:]
    return model


def main():
    cases = json.loads((FOLDER / "cases.json").read_text())
    for case in cases:
        path = FOLDER / case["file"]
        for key in ("inputs", "outputs", "reference"):
            case.pop(key, None)
        if case["refused"] is not None:
            case["inputs"] = case["outputs"] = []
            continue
        model = onnx.load(path)
        if not case.get("unchecked"):
            onnx.checker.check_model(str(path))
        name, kind, shape = shape_of(model)
        draw = np.random.default_rng(zlib.crc32(case["file"].encode()))
        inputs = [(draw.standard_normal(shape)).astype(kind), draw.random(shape).astype(kind)]
        outputs = [run(path, name, x) for x in inputs]
        case["inputs"] = [[float(v) for v in x.ravel()] for x in inputs]
        case["outputs"] = [[float(v) for v in y.ravel()] for y in outputs]
        scale = max(abs(v) for y in case["outputs"] for v in y) or 1.0
        try:
            evaluator = ReferenceEvaluator(doubled(model))
            reference = [evaluator.run(None, {name: x.astype(np.float64)})[0] for x in inputs]
            assert all(r.dtype == np.float64 for r in reference), [r.dtype for r in reference]
            far = max(np.abs(np.asarray(r).ravel() - np.asarray(y)).max() for r, y in zip(reference, case["outputs"])) / scale
            assert far < 1e-5, f"{far:.1e}"
            case["reference"] = [[float(v) for v in r.ravel()] for r in reference]
        except Exception as error:
            print(f"{case['file']}: no reference: {str(error).strip().splitlines()[-1][:150] if str(error) else type(error)}")
    short = lambda values: [float(f"{v:.9g}") for v in values]
    for case in cases:
        if not case["file"].startswith("written_double"):
            case["inputs"], case["outputs"] = [short(x) for x in case["inputs"]], [short(y) for y in case["outputs"]]
        if "reference" in case:
            case["reference"] = [[float(f"{v:.13g}") for v in y] for y in case["reference"]]
    cases.sort(key=lambda case: case["file"])
    (FOLDER / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    print(len(cases), "files,", sum(f.stat().st_size for f in FOLDER.iterdir()), "bytes")


main()
