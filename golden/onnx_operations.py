"""Small ONNX files, one for each operation and form that Temper's reader has to know or to refuse, put together with onnx.helper.

    python golden/onnx_operations.py golden/onnx    # then onnx_exporters.py, then onnx_answers.py

Python 3.11, onnx 1.23.2, numpy 2.4.6 (`onnx_exporters.py` lists all). Numbers come from a seed made of the file's name: the same bytes
everywhere. `cases.json` is begun here: what each file is, and for a file that has to be refused, a text that the error has to contain.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.shape_inference import infer_shapes
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor, make_tensor_value_info

FOLDER = Path(sys.argv[1])
CASES = []
RNG = np.random.default_rng(0)


def numbers(*shape, dtype=np.float32):
    return (RNG.standard_normal(shape) * 0.5).astype(dtype)


def ints(*values):
    return np.array(values, dtype=np.int64)


def case(name, about, nodes, constants=None, x=(1, 2, 4, 4), y=None, opset=13, ir=8, refused=None, kind=TensorProto.FLOAT, **more):
    """One file: `nodes` read "x" and the constants and write "y". `more`: extra opset domains, graph inputs, changes of the model."""
    tensors = [v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    for tensor in tensors:
        if not tensor.name:
            raise ValueError(name)
    inputs = [make_tensor_value_info("x", kind, list(x))]
    if more.get("listed"):
        inputs = [make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors] + inputs
    outputs = [make_tensor_value_info(o, more.get("output_kind", kind), y) for o in more.get("outputs", ["y"])]
    graph = make_graph(nodes, "case", inputs, outputs, tensors)
    domains = [make_opsetid("", opset)] + [make_opsetid(d, v) for d, v in more.get("domains", [])]
    model = make_model(graph, opset_imports=domains, ir_version=ir, producer_name="onnx.helper")
    if not refused:
        model.graph.output[0].CopyFrom(infer_shapes(model).graph.output[0])
    if "change" in more:
        more["change"](model)
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    CASES.append({"file": f"{name}.onnx", "exporter": "onnx.helper", "about": about, "refused": refused})


def of(name):
    """Numbers of this file depend on its name alone."""
    global RNG
    RNG = np.random.default_rng(zlib.crc32(name.encode()))


N = make_node


def form(name, about, build, **more):
    of(name)
    nodes, constants = build()
    case(name, about, nodes, constants, **more)


def flattened(*nodes, **constants):
    """A dense layer behind what flattens [1, 2, 4, 4], so that the order of the elements matters."""
    return [*nodes, N("Gemm", ["flat", "w", "b"], ["y"], transB=1)], {"w": numbers(3, 32), "b": numbers(3), **constants}


def shaped(name, about, nodes, constants=None, **more):
    form(name, about, lambda: flattened(*nodes, **(constants or {})), **more)


# How networks flatten.
shaped("flatten_plain", "Flatten, axis 1 by default", [N("Flatten", ["x"], ["flat"])])
shaped("flatten_axis_negative", "Flatten, axis -3", [N("Flatten", ["x"], ["flat"], axis=-3)])
shaped("flatten_reshape_initialiser", "Reshape to an initialiser [-1, 32]", [N("Reshape", ["x", "s"], ["flat"])], {"s": ints(-1, 32)})
shaped("flatten_reshape_copy", "Reshape to [0, -1]: 0 copies", [N("Reshape", ["x", "s"], ["flat"])], {"s": ints(0, -1)})
shaped("flatten_reshape_allowzero", "Reshape to [1, 32] with allowzero 1", [N("Reshape", ["x", "s"], ["flat"], allowzero=1)], {"s": ints(1, 32)}, opset=14)
shaped("flatten_reshape_constant", "Reshape to a Constant [1, -1]",
       [N("Constant", [], ["s"], value=make_tensor("", TensorProto.INT64, [2], [1, -1])), N("Reshape", ["x", "s"], ["flat"])])
shaped("flatten_reshape_value_ints", "Reshape to a Constant with value_ints", [N("Constant", [], ["s"], value_ints=[1, -1]), N("Reshape", ["x", "s"], ["flat"])])
BATCH = ["batch", 2, 4, 4]
shaped("flatten_shape_gather", "Shape, Gather, Unsqueeze, Concat, Reshape, of a symbolic batch",
       [N("Shape", ["x"], ["shape"]), N("Gather", ["shape", "zero"], ["n"], axis=0), N("Unsqueeze", ["n", "axes"], ["n1"]),
        N("Concat", ["n1", "rest"], ["s"], axis=0), N("Reshape", ["x", "s"], ["flat"])],
       {"zero": np.array(0, np.int64), "axes": ints(0), "rest": ints(-1)}, x=BATCH)
shaped("flatten_shape_squeeze", "Shape, Gather of one entry, Squeeze, Unsqueeze, Concat with the size, Reshape",
       [N("Shape", ["x"], ["shape"]), N("Gather", ["shape", "zero"], ["n"]), N("Squeeze", ["n"], ["n0"]), N("Unsqueeze", ["n0", "axes"], ["n1"]),
        N("Concat", ["n1", "rest"], ["s"], axis=0), N("Reshape", ["x", "s"], ["flat"])],
       {"zero": ints(0), "axes": ints(0), "rest": ints(32)}, x=BATCH)
shaped("flatten_shape_cast", "the same with Slice, and Cast to int32 and back",
       [N("Shape", ["x"], ["shape"]), N("Cast", ["shape"], ["small"], to=TensorProto.INT32), N("Slice", ["small", "from", "to", "axes"], ["n"]),
        N("Concat", ["n", "rest"], ["s32"], axis=0), N("Cast", ["s32"], ["s"], to=TensorProto.INT64), N("Reshape", ["x", "s"], ["flat"])],
       {"from": ints(0), "to": ints(1), "axes": ints(0), "rest": np.array([-1], np.int32)}, x=BATCH)
shaped("flatten_shape_product", "the size as the product of three Gathers",
       [N("Shape", ["x"], ["shape"]), *[N("Gather", ["shape", f"i{i}"], [f"d{i}"]) for i in (1, 2, 3)], N("Mul", ["d1", "d2"], ["d12"]),
        N("Mul", ["d12", "d3"], ["d"]), N("Unsqueeze", ["d", "axes"], ["d_1"]), N("Concat", ["one", "d_1"], ["s"], axis=0), N("Reshape", ["x", "s"], ["flat"])],
       {"i1": np.array(1, np.int64), "i2": np.array(2, np.int64), "i3": np.array(3, np.int64), "axes": ints(0), "one": ints(-1)}, x=BATCH)
shaped("flatten_channels_last", "Transpose to the channels last before Reshape", [N("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]), N("Reshape", ["t", "s"], ["flat"])], {"s": ints(-1, 32)})
shaped("flatten_transpose_2d", "a Transpose (0, 1) that does nothing", [N("Flatten", ["x"], ["f"]), N("Transpose", ["f"], ["flat"], perm=[0, 1])])
shaped("flatten_unsqueeze", "Unsqueeze and Squeeze with an attribute (opset 11)",
       [N("Unsqueeze", ["x"], ["u"], axes=[1]), N("Squeeze", ["u"], ["v"], axes=[1]), N("Flatten", ["v"], ["flat"])], opset=11)


def pooled(*nodes, **constants):
    return [N("Relu", ["x"], ["r"]), *nodes, N("Gemm", ["flat", "w", "b"], ["y"], transB=1)], {"w": numbers(3, 2), "b": numbers(3), **constants}


GAP = N("GlobalAveragePool", ["r"], ["p"])
form("pool_global_flatten", "GlobalAveragePool, Flatten", lambda: pooled(GAP, N("Flatten", ["p"], ["flat"])))
form("pool_global_squeeze", "GlobalAveragePool, Squeeze of axes given as an input", lambda: pooled(GAP, N("Squeeze", ["p", "axes"], ["flat"]), axes=ints(2, 3)))
form("reduce_mean_attribute", "ReduceMean, axes as an attribute", lambda: pooled(N("ReduceMean", ["r"], ["flat"], axes=[2, 3], keepdims=0)))
form("reduce_mean_input", "ReduceMean, negative axes as an input, dimensions kept (opset 18)",
     lambda: pooled(N("ReduceMean", ["r", "axes"], ["p"], keepdims=1), N("Flatten", ["p"], ["flat"]), axes=ints(-1, -2)), opset=18)

# Channels last.
form("nhwc", "Transpose in front and before the dense layer: the input is in rows, columns, channels",
     lambda: ([N("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), N("Conv", ["t", "k"], ["c"], kernel_shape=[2, 2], strides=[1, 1]), N("Relu", ["c"], ["r"]),
               N("Transpose", ["r"], ["u"], perm=[0, 2, 3, 1]), N("Reshape", ["u", "s"], ["flat"]), N("MatMul", ["flat", "w"], ["m"]), N("Add", ["m", "b"], ["y"])],
              {"k": numbers(2, 3, 2, 2), "s": ints(-1, 18), "w": numbers(18, 3), "b": numbers(3)}), x=["unk__1", 4, 4, 3])
form("nhwc_reshape", "one channel last: Reshape to (-1, 1, h, w) in front",
     lambda: ([N("Reshape", ["x", "s"], ["t"]), N("Conv", ["t", "k"], ["c"]), N("Flatten", ["c"], ["y"])], {"s": ints(-1, 1, 4, 4), "k": numbers(2, 1, 2, 2)}), x=["unk__1", 4, 4, 1])
form("nhwc_pairs", "a pair of Transposes round every Conv, numbers of the last axis added between",
     lambda: ([N("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]), N("Conv", ["a", "k"], ["b"], pads=[1, 1, 1, 1]), N("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
               N("Add", ["c", "last"], ["d"]), N("Relu", ["d"], ["e"]), N("Mul", ["e", "gain"], ["f"]), N("Transpose", ["f"], ["g"], perm=[0, 3, 1, 2]),
               N("Conv", ["g", "k"], ["h"]), N("Transpose", ["h"], ["y"], perm=[0, 2, 3, 1])],
              {"k": numbers(2, 2, 3, 3), "last": numbers(1, 1, 1, 2), "gain": numbers(2)}), x=(1, 4, 4, 2))

# Rectifiers.
RECTIFIERS = {
    "relu": ("Relu", [N("Relu", ["x"], ["r"])], {}, 13),
    "max": ("Max(x, 0), the 0 of rank 0", [N("Max", ["x", "zero"], ["r"])], {"zero": np.array(0, np.float32)}, 13),
    "max_first": ("Max(0, x), the 0 of rank 1", [N("Max", ["zero", "x"], ["r"])], {"zero": np.zeros(1, np.float32)}, 13),
    "clip": ("Clip(x, 0), no upper end", [N("Clip", ["x", "zero"], ["r"])], {"zero": np.array(0, np.float32)}, 13),
    "clip_empty": ("Clip(x, 0, \"\"): the third input is empty", [N("Clip", ["x", "zero", ""], ["r"])], {"zero": np.array(0, np.float32)}, 13),
    "clip_attribute": ("Clip with attributes 0 and 6 (opset 6)", [N("Clip", ["x"], ["r"], min=0.0, max=6.0)], {}, 8),
    "clip_both": ("Clip between -0.3 and 0.5", [N("Clip", ["x", "low", "high"], ["r"])], {"low": np.array(-0.3, np.float32), "high": np.array(0.5, np.float32)}, 13),
    "clip_crossed": ("Clip whose lower end is above its upper: min(hi, max(lo, x))", [N("Clip", ["x", "low", "high"], ["r"])],
                     {"low": np.array(0.5, np.float32), "high": np.array(0.25, np.float32)}, 13),
    "where": ("Where(x > 0, x, 0)", [N("Greater", ["x", "zero"], ["g"]), N("Where", ["g", "x", "zero"], ["r"])], {"zero": np.array(0, np.float32)}, 13),
    "relu6": ("Min(Max(x, 0), 6)", [N("Max", ["x", "zero"], ["m"]), N("Min", ["m", "six"], ["r"])], {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}, 13),
    "relu_min": ("Min(Relu(x), 0.5)", [N("Relu", ["x"], ["m"]), N("Min", ["m", "top"], ["r"])], {"top": np.array(0.5, np.float32)}, 13),
    "leaky": ("LeakyRelu, alpha 0.1", [N("LeakyRelu", ["x"], ["r"], alpha=0.1)], {}, 13),
    "leaky_default": ("LeakyRelu, alpha left out: 0.01", [N("LeakyRelu", ["x"], ["r"])], {}, 13),
    "leaky_where": ("LeakyRelu as GreaterOrEqual, Mul, Where", [N("GreaterOrEqual", ["x", "zero"], ["g"]), N("Mul", ["x", "slope"], ["s"]), N("Where", ["g", "x", "s"], ["r"])],
                    {"zero": np.array(0, np.float32), "slope": np.array(0.1, np.float32)}, 13),
    "prelu": ("PRelu with one slope", [N("PRelu", ["x", "slope"], ["r"])], {"slope": np.full((1, 1, 1), 0.2, np.float32)}, 13),
}
for name, (about, nodes, constants, opset) in RECTIFIERS.items():
    shaped(f"rectifier_{name}", about, [*nodes, N("Flatten", ["r"], ["flat"])], constants, opset=opset)
# Chains of affine steps.
form("chain_conv", "Conv, Mul and Add by the channel", lambda: ([N("Conv", ["x", "k"], ["c"]), N("Mul", ["c", "m"], ["d"]), N("Add", ["d", "a"], ["e"]), N("Relu", ["e"], ["y"])],
     {"k": numbers(3, 2, 2, 2), "m": numbers(1, 3, 1, 1), "a": numbers(3, 1, 1)}))
form("chain_dense", "MatMul, Add, Mul, Add, MatMul without bias", lambda: ([N("MatMul", ["x", "w"], ["c"]), N("Add", ["b", "c"], ["d"]), N("Mul", ["d", "m"], ["e"]), N("Add", ["e", "a"], ["f"]),
     N("Relu", ["f"], ["g"]), N("MatMul", ["g", "v"], ["y"])], {"w": numbers(5, 4), "b": numbers(4), "m": numbers(1, 4), "a": numbers(1, 4), "v": numbers(4, 3)}), x=(1, 5))
form("chain_normalise", "Sub, Div, Sub, Mul, Add by the channel", lambda: ([N("Sub", ["x", "mean"], ["a"]), N("Div", ["a", "std"], ["b"]), N("Sub", ["b", "m"], ["c"]), N("Mul", ["g", "c"], ["d"]),
     N("Add", ["d", "s"], ["e"]), N("Relu", ["e"], ["y"])], {"mean": numbers(1, 2, 1, 1), "std": np.abs(numbers(1, 2, 1, 1)) + 1, "m": np.array(0.25, np.float32), "g": numbers(1, 2, 1, 1), "s": numbers(1, 1, 4, 4)}))
form("chain_from", "constant minus variable, Neg, an Add of a whole picture", lambda: ([N("Sub", ["one", "x"], ["a"]), N("Neg", ["a"], ["b"]), N("Add", ["b", "picture"], ["c"]), N("Relu", ["c"], ["y"])],
     {"one": np.array([1], np.float32), "picture": numbers(2, 4, 4)}))
form("chain_matmuls", "MatMul Add MatMul Add, to be merged", lambda: ([N("MatMul", ["x", "w"], ["a"]), N("Add", ["a", "b"], ["c"]), N("MatMul", ["c", "v"], ["d"]), N("Add", ["d", "e"], ["f"]), N("Relu", ["f"], ["y"])],
     {"w": numbers(4, 6), "b": numbers(6), "v": numbers(6, 3), "e": numbers(3)}), x=(1, 4))

# Dense layers.
GEMMS = {
    "bare": ("no attribute, transB 0", {}, (4, 3), (3,)),
    "defaults": ("all attributes written with their defaults", {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}, (4, 3), (1, 3)),
    "transposed": ("transB 1", {"transB": 1}, (3, 4), (3,)),
    "scaled": ("alpha 0.5, beta 2", {"alpha": 0.5, "beta": 2.0, "transB": 1}, (3, 4), (3,)),
    "no_bias": ("no C", {"transB": 1}, (3, 4), None),
    "scalar": ("C of rank 0", {"transB": 1}, (3, 4), ()),
    "column": ("C of [1, 1]", {"transB": 1}, (3, 4), (1, 1)),
}
for name, (about, attributes, w, b) in GEMMS.items():
    form(f"gemm_{name}", f"Gemm: {about}",
         lambda: ([N("Gemm", ["x", "w"] + (["b"] if b is not None else []), ["y"], **attributes)], {"w": numbers(*w), **({"b": numbers(*b)} if b is not None else {})}), x=(1, 4))
form("matmul_left", "MatMul with the constant first: W x, x of [4, 1]", lambda: ([N("MatMul", ["w", "x"], ["m"]), N("Add", ["m", "b"], ["y"])], {"w": numbers(3, 4), "b": numbers(3, 1)}), x=(4, 1))
form("matmul_vector", "MatMul of vectors: x of [4], no batch", lambda: ([N("MatMul", ["x", "w"], ["a"]), N("Relu", ["a"], ["r"]), N("MatMul", ["v", "r"], ["y"])], {"w": numbers(4, 5), "v": numbers(3, 5)}), x=(4,))
form("matmul_rows", "MatMul on three dimensions: every position is a row", lambda: ([N("MatMul", ["x", "w"], ["a"]), N("Add", ["b", "a"], ["y"])], {"w": numbers(4, 2), "b": numbers(2)}), x=(1, 3, 4))
form("matmul_784", "Flatten of [1, 6, 1], Gemm", lambda: ([N("Flatten", ["x"], ["f"]), N("Gemm", ["f", "w", "b"], ["y"], transB=1)], {"w": numbers(3, 6), "b": numbers(3)}), x=(1, 6, 1))

# Convolutions.
CONVS = {
    "bare": ("no attribute, no bias", {}, (3, 2, 3, 3), False),
    "bias": ("kernel_shape, pads, strides, dilations and group written", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "dilations": [1, 1], "group": 1}, (3, 2, 3, 3), True),
    "asymmetric": ("pads [0, 0, 1, 1]", {"pads": [0, 0, 1, 1], "strides": [2, 2]}, (3, 2, 3, 3), True),
    "wide": ("pads [1, 0, 2, 3], strides [2, 1]", {"pads": [1, 0, 2, 3], "strides": [2, 1]}, (2, 2, 2, 2), True),
    "rectangular": ("a kernel of 1 x 3", {"pads": [0, 1, 0, 1], "kernel_shape": [1, 3]}, (3, 2, 1, 3), True),
    "same_upper": ("auto_pad SAME_UPPER, even kernel, stride 2", {"auto_pad": "SAME_UPPER", "strides": [2, 2], "dilations": [1, 1]}, (3, 2, 4, 4), True),
    "same_lower": ("auto_pad SAME_LOWER, even kernel", {"auto_pad": "SAME_LOWER"}, (3, 2, 2, 2), True),
    "valid": ("auto_pad VALID", {"auto_pad": "VALID"}, (3, 2, 2, 2), True),
    "notset": ("auto_pad NOTSET, pads given", {"auto_pad": "NOTSET", "pads": [1, 1, 1, 1]}, (3, 2, 3, 3), True),
    "dilated": ("dilations [2, 1]", {"dilations": [2, 1], "pads": [2, 1, 2, 1]}, (3, 2, 3, 3), True),
    "groups": ("two groups", {"group": 2}, (4, 1, 2, 2), True),
}
for name, (about, attributes, k, bias) in CONVS.items():
    form(f"conv_{name}", f"Conv: {about}", lambda: ([N("Conv", ["x", "k"] + ["b"] * bias, ["c"], **attributes), N("Flatten", ["c"], ["y"])], {"k": numbers(*k), **({"b": numbers(k[0])} if bias else {})}), x=(1, 2, 5, 5))
form("conv_pad", "Pad before Conv, pads computed: Constant Concat Reshape Slice(step -1) Transpose Cast, as keras and F.pad write it",
     lambda: ([N("Constant", [], ["p"], value=make_tensor("", TensorProto.INT64, [4], [1, 2, 0, 1])), N("ConstantOfShape", ["four"], ["z"], value=make_tensor("", TensorProto.INT64, [1], [0])),
               N("Concat", ["p", "z"], ["q"], axis=0), N("Reshape", ["q", "pairs"], ["r"]), N("Slice", ["r", "from", "to", "axes", "step"], ["s"]), N("Transpose", ["s"], ["t"], perm=[1, 0]),
               N("Reshape", ["t", "all"], ["u"]), N("Cast", ["u"], ["v"], to=TensorProto.INT64), N("Pad", ["x", "v"], ["w"], mode="constant"), N("Conv", ["w", "k"], ["y"])],
              {"four": ints(4), "pairs": ints(-1, 2), "from": ints(-1), "to": ints(-9223372036854775807), "axes": ints(0), "step": ints(-1), "all": ints(-1), "k": numbers(2, 2, 3, 3)}))
form("pad_reshape_conv", "Pad, then a Reshape that keeps the channels, then Conv: other rows and columns than were padded",
     lambda: ([N("Pad", ["x", "p"], ["w"]), N("Reshape", ["w", "s"], ["v"]), N("Conv", ["v", "k"], ["y"])], {"p": ints(0, 0, 0, 1, 0, 0, 0, 1), "s": ints(1, 1, 8, 2), "k": numbers(1, 1, 2, 2)}), x=(1, 1, 2, 6))
form("clip_huge", "Clip from -1e30 on, which no sum with a value survives", lambda: ([N("Clip", ["x", "l"], ["y"])], {"l": np.array(-1e30, np.float32)}), refused="Clip")
form("leaky_huge", "LeakyRelu with a slope of 1e20", lambda: ([N("LeakyRelu", ["x"], ["y"], alpha=1e20)], {}), refused="LeakyRelu")
form("slice_backwards", "Slice from the last to the largest number in steps of -1: nothing by the standard, a part of it in onnxruntime", lambda: ([N("Slice", ["x", "f", "t", "a", "s"], ["y"])], {"f": ints(-1), "t": ints(2**31 - 1), "a": ints(3), "s": ints(-1)}), refused="Slice")
form("where_more_dimensions", "Where by a comparison with a 0 of five dimensions, which adds one", lambda: ([N("Greater", ["x", "z"], ["c"]), N("Where", ["c", "x", "z"], ["y"])], {"z": np.zeros((1, 1, 1, 1, 1), np.float32)}), refused="Greater")
form("conv_transpose", "ConvTranspose, stride 2, output_padding", lambda: ([N("ConvTranspose", ["x", "k", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])], {"k": numbers(2, 1, 3, 3), "b": numbers(1)}), refused="ConvTranspose")
form("pad_attribute", "Pad with attributes (opset 10), value 0.5", lambda: ([N("Pad", ["x"], ["p"], pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5), N("Conv", ["p", "k"], ["y"])], {"k": numbers(1, 2, 3, 3)}), opset=10)
form("pad_input", "Pad with inputs, value -0.25", lambda: ([N("Pad", ["x", "p", "v"], ["q"]), N("Conv", ["q", "k"], ["y"])], {"p": ints(0, 0, 1, 1, 0, 0, 0, 1), "v": np.array(-0.25, np.float32), "k": numbers(1, 2, 3, 3)}))
form("pad_axes", "Pad of the last two axes alone (opset 18)", lambda: ([N("Pad", ["x", "p", "", "axes"], ["q"]), N("Conv", ["q", "k"], ["y"])], {"p": ints(1, 0, 0, 2), "axes": ints(-2, 3), "k": numbers(1, 2, 3, 3)}), opset=18)

# Batch norm and pools.
BN = lambda c: {"g": numbers(c) + 1, "s": numbers(c), "m": numbers(c), "v": np.abs(numbers(c)) + np.float32(0.1)}
STATISTICS = ["g", "s", "m", "v"]
form("bn_after_conv", "BatchNormalization after Conv, no attribute", lambda: ([N("Conv", ["x", "k", "b"], ["c"]), N("BatchNormalization", ["c", *STATISTICS], ["d"]), N("Relu", ["d"], ["y"])], {"k": numbers(3, 2, 3, 3), "b": numbers(3), **BN(3)}))
form("bn_before_conv", "BatchNormalization before a padded Conv, training_mode 0, epsilon 0.8", lambda: ([N("BatchNormalization", ["x", *STATISTICS], ["d"], epsilon=0.8, momentum=0.5, training_mode=0), N("Conv", ["d", "k"], ["y"], pads=[1, 1, 1, 1])], {"k": numbers(3, 2, 3, 3), **BN(2)}), opset=15)
form("bn_after_gemm", "BatchNormalization of two dimensions, after Gemm", lambda: ([N("Gemm", ["x", "w", "b"], ["c"], transB=1), N("BatchNormalization", ["c", *STATISTICS], ["d"]), N("Relu", ["d"], ["y"])], {"w": numbers(3, 4), "b": numbers(3), **BN(3)}), x=(1, 4))
form("bn_shared", "BatchNormalization after a Conv that something else reads too", lambda: ([N("Conv", ["x", "k"], ["c"]), N("BatchNormalization", ["c", *STATISTICS], ["d"]), N("Relu", ["d"], ["e"]), N("Add", ["e", "c"], ["y"])], {"k": numbers(3, 2, 3, 3), **BN(3)}))
POOLS = {
    "average": ("AveragePool 2 x 2", "AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "average_edge": ("AveragePool with padding that does not count", "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "average_counted": ("AveragePool with padding that counts, asymmetric", "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "count_include_pad": 1}),
    "average_stride_1": ("AveragePool, strides left out: 1", "AveragePool", {"kernel_shape": [3, 2]}),
    "max": ("MaxPool 2 x 2", "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "max_overlap": ("MaxPool 3 x 3, stride 2, padding", "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max_same": ("MaxPool, auto_pad SAME_UPPER", "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
}
for name, (about, op, attributes) in POOLS.items():
    form(f"pool_{name}", about, lambda: ([N(op, ["x"], ["p"], **attributes), N("Flatten", ["p"], ["f"]), N("Relu", ["f"], ["y"])], {}), x=(1, 2, 5, 5))
form("pool_max_ceil", "MaxPool with ceil_mode 1: its last windows leave the picture", lambda: ([N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], {}), x=(1, 2, 5, 5), refused="ceil_mode")
form("pool_max_zeros", "zeros by Pad before MaxPool: they are numbers, not the pool's padding", lambda: ([N("Pad", ["x", "p"], ["q"]), N("MaxPool", ["q"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}))
form("pool_pad_nothing", "Pad by 0 before AveragePool", lambda: ([N("Pad", ["x", "p"], ["q"]), N("AveragePool", ["q"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {"p": ints(*[0] * 8)}))

# Where values meet and part.
form("residual", "Conv, Relu, Conv, added to what came in", lambda: ([N("Conv", ["x", "k"], ["a"], pads=[1, 1, 1, 1]), N("Relu", ["a"], ["b"]), N("Conv", ["b", "l"], ["c"], pads=[1, 1, 1, 1]), N("Add", ["c", "x"], ["d"]), N("Relu", ["d"], ["y"])], {"k": numbers(2, 2, 3, 3), "l": numbers(2, 2, 3, 3)}))
form("subtract", "Sub of two variables", lambda: ([N("MatMul", ["x", "w"], ["a"]), N("Relu", ["a"], ["b"]), N("Sub", ["b", "a"], ["y"])], {"w": numbers(4, 3)}), x=(1, 4))
form("add_twice", "x + x", lambda: ([N("MatMul", ["x", "w"], ["a"]), N("Add", ["a", "a"], ["y"])], {"w": numbers(4, 3)}), x=(1, 4))
form("add_broadcast", "Add of two variables of different shapes, [1, 2, 4, 4] and [1, 2, 1, 1]", lambda: ([N("GlobalAveragePool", ["x"], ["p"]), N("Add", ["x", "p"], ["y"])], {}), refused="Add")
form("concat_channels", "Concat along the channels, of a constant too", lambda: ([N("Relu", ["x"], ["r"]), N("Concat", ["x", "r", "c"], ["y"], axis=1)], {"c": numbers(1, 1, 4, 4)}))
form("concat_last", "Concat along axis -1", lambda: ([N("Relu", ["x"], ["r"]), N("Concat", ["r", "x"], ["y"], axis=-1)], {}))
form("slice_steps", "Slice with steps 2 and -1, an end beyond the last and int64's maximum", lambda: ([N("Slice", ["x", "from", "to", "axes", "steps"], ["y"])],
     {"from": ints(1, -1), "to": ints(9223372036854775807, -9223372036854775808), "axes": ints(2, 3), "steps": ints(2, -1)}))
form("slice_attribute", "Slice with attributes (opset 9), negative ends", lambda: ([N("Slice", ["x"], ["y"], axes=[2, 3], starts=[-3, 1], ends=[-1, 1000])], {}), opset=9)

# How files are written.
form("written_float_data", "weights in float_data, the shape in int64_data", lambda: ([N("Reshape", ["x", "s"], ["f"]), N("Gemm", ["f", "w", "b"], ["y"], transB=1)],
     {"s": make_tensor("s", TensorProto.INT64, [2], [1, -1]), "w": make_tensor("w", TensorProto.FLOAT, [3, 32], numbers(3, 32).ravel().tolist()), "b": numbers(3)}))
form("written_listed", "initialisers among the graph's inputs (IR 3, opset 8), the batch without a name", lambda: ([N("Sub", ["x", "mean"], ["c"]), N("Flatten", ["c"], ["f"]), N("MatMul", ["f", "w"], ["m"]), N("Add", ["m", "b"], ["y"])],
     {"mean": numbers(1, 1, 1, 5), "w": numbers(5, 3), "b": numbers(3)}), x=(1, 1, 1, 5), opset=8, ir=3, listed=True)
form("written_no_batch", "a batch without a name or a size", lambda: ([N("Relu", ["x"], ["r"]), N("Gemm", ["r", "w"], ["y"])], {"w": numbers(4, 3)}), x=(None, 4))
form("written_imports", "imports of domains that no node uses", lambda: ([N("Relu", ["x"], ["y"])], {}), x=(1, 4), domains=[("ai.onnx.ml", 2), ("com.microsoft", 1)])
form("written_names", "an output named Identity:0, nodes without a name, a value named 64", lambda: ([N("Relu", ["x"], ["64"]), N("Gemm", ["64", "onnx::MatMul_1"], ["Identity:0"])], {"onnx::MatMul_1": numbers(4, 3)}), x=(1, 4), outputs=["Identity:0"])
form("written_double", "doubles everywhere", lambda: ([N("Gemm", ["x", "w", "b"], ["h"], transB=1), N("Relu", ["h"], ["y"])], {"w": numbers(3, 4, dtype=np.float64), "b": numbers(3, dtype=np.float64)}), x=(1, 4), kind=TensorProto.DOUBLE)
form("written_order", "nodes that are not in topological order", lambda: ([N("Relu", ["h"], ["y"]), N("Gemm", ["x", "w"], ["h"])], {"w": numbers(4, 3)}), x=(1, 4), refused="order")
form("written_nothing", "Identity, Dropout, Cast from float to float", lambda: ([N("Identity", ["x"], ["a"]), N("Dropout", ["a"], ["b"]), N("Cast", ["b"], ["c"], to=TensorProto.FLOAT), N("Relu", ["c"], ["y"])], {}), x=(1, 4))
form("written_constant", "weights in Constant nodes, an Identity of a weight", lambda: ([N("Constant", [], ["w"], value=numpy_helper.from_array(numbers(4, 3))), N("Identity", ["w"], ["v"]), N("MatMul", ["x", "v"], ["m"]),
     N("Constant", [], ["b"], value_float=0.5), N("Add", ["m", "b"], ["y"])], {}), x=(1, 4))
form("written_transposed", "a weight that a Transpose of a constant gives", lambda: ([N("Transpose", ["w"], ["v"], perm=[1, 0]), N("MatMul", ["x", "v"], ["y"])], {"w": numbers(3, 4)}), x=(1, 4))
form("written_opset_22", "opset 22, IR 10", lambda: ([N("Conv", ["x", "k"], ["c"]), N("Relu", ["c"], ["r"]), N("Flatten", ["r"], ["y"])], {"k": numbers(2, 2, 3, 3)}), opset=22, ir=10)
form("written_opset_5", "opset 5, which is older than what is read", lambda: ([N("Relu", ["x"], ["y"])], {}), x=(1, 4), opset=5, ir=3, refused="opset")

for curve in ("Sigmoid", "Tanh"):
    form(f"curve_{curve.lower()}", f"{curve} between dense layers, and at the end", lambda: ([N("MatMul", ["x", "w"], ["m"]), N(curve, ["m"], ["s"]), N("MatMul", ["s", "v"], ["n"]), N(curve, ["n"], ["y"])],
         {"w": 4 * numbers(4, 6), "v": numbers(6, 3)}), x=(1, 4))

# What has to be refused by its name.
def refuse(name, about, nodes, constants=None, text=None, **more):
    form(f"refused_{name}", about, lambda: (nodes, constants or {}), refused=text, **more)


refuse("softmax", "Softmax at the end", [N("MatMul", ["x", "w"], ["m"]), N("Softmax", ["m"], ["y"])], {"w": np.ones((4, 3), np.float32)}, "Softmax", x=(1, 4))
refuse("argmax", "ArgMax as the output", [N("ArgMax", ["x"], ["y"], axis=1)], None, "ArgMax", x=(1, 4), output_kind=TensorProto.INT64)
refuse("quantize", "QuantizeLinear and DequantizeLinear in place of a Relu", [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["y"])], {"s": np.float32(0.1), "z": np.uint8(0)}, "QuantizeLinear", x=(1, 4))
refuse("dynamic_quantize", "DynamicQuantizeLinear", [N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), N("DequantizeLinear", ["q", "s", "z"], ["y"])], None, "DynamicQuantizeLinear", x=(1, 4))
refuse("conv_integer", "ConvInteger", [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("ConvInteger", ["q", "k"], ["i"]), N("Cast", ["i"], ["y"], to=TensorProto.FLOAT)],
       {"s": np.float32(0.1), "z": np.uint8(0), "k": np.ones((1, 2, 2, 2), np.uint8)}, "Linear")
refuse("gather", "Gather on what is computed", [N("Gather", ["x", "i"], ["y"], axis=1)], {"i": ints(2, 0)}, "Gather", x=(1, 4))
refuse("gather_nd", "GatherND", [N("GatherND", ["x", "i"], ["y"])], {"i": ints(0, 2).reshape(1, 2)}, "GatherND", x=(1, 4))
refuse("variables", "MatMul of two variables", [N("Transpose", ["x"], ["t"], perm=[1, 0]), N("MatMul", ["x", "t"], ["y"])], None, "MatMul", x=(1, 4))
refuse("product", "Mul of two variables", [N("Mul", ["x", "x"], ["y"])], None, "Mul", x=(1, 4))
refuse("training", "BatchNormalization with training_mode 1", [N("BatchNormalization", ["x", *STATISTICS], ["y", "rm", "rv"], training_mode=1)], {k: np.ones(2, np.float32) for k in STATISTICS}, "training_mode", opset=15)
refuse("half", "weights in float16", [N("Cast", ["w"], ["v"], to=TensorProto.FLOAT), N("MatMul", ["x", "v"], ["y"])], {"w": np.ones((4, 3), np.float16)}, "float16", x=(1, 4))
refuse("scaler", "Scaler of ai.onnx.ml", [N("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0])], None, "Scaler", x=(1, 4), domains=[("ai.onnx.ml", 3)])
refuse("fused", "FusedConv of com.microsoft", [N("FusedConv", ["x", "k"], ["y"], domain="com.microsoft", activation="Relu")], {"k": np.ones((1, 2, 2, 2), np.float32)}, "FusedConv", domains=[("com.microsoft", 1)])
refuse("shape", "a shape that depends on the numbers", [N("Relu", ["x"], ["r"]), N("Cast", ["r"], ["s"], to=TensorProto.INT64), N("Reshape", ["x", "s"], ["y"])], None, "Reshape", x=(1,))
refuse("unknown", "an operation that nobody knows", [N("Wobble", ["x"], ["y"])], None, "Wobble", x=(1, 4))
refuse("two_outputs", "two outputs, and none was asked for", [N("Relu", ["x"], ["y"]), N("Neg", ["x"], ["z"])], None, "z", x=(1, 4), outputs=["y", "z"])
refuse("nan", "a weight that is NaN", [N("MatMul", ["x", "weights"], ["y"])], {"weights": np.array([[1], [np.nan]], np.float32)}, "weights", x=(1, 2))
refuse("free_size", "two sizes of the input are open", [N("Relu", ["x"], ["y"])], None, "x", x=("batch", "length", 4))
TRUE = make_graph([N("Relu", ["x"], ["t"])], "yes", [], [make_tensor_value_info("t", TensorProto.FLOAT, [1, 4])])
FALSE = make_graph([N("Neg", ["x"], ["e"])], "no", [], [make_tensor_value_info("e", TensorProto.FLOAT, [1, 4])])
refuse("if", "If with two graphs inside", [N("If", ["c"], ["y"], then_branch=TRUE, else_branch=FALSE)], {"c": np.array(True)}, "If", x=(1, 4))


def outside(model):
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../outside.bin"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


refuse("outside", "external data in the folder above", [N("MatMul", ["x", "w"], ["y"])], {"w": np.ones((4, 3), np.float32)}, "../outside.bin", x=(1, 4), change=outside)


def missing(model):
    outside(model)
    model.graph.initializer[0].external_data[0].value = "not_there.bin"


refuse("missing", "external data that is not there", [N("MatMul", ["x", "w"], ["y"])], {"w": np.ones((4, 3), np.float32)}, "not_there.bin", x=(1, 4), change=missing)

(FOLDER / "cases.json").write_text(json.dumps(CASES, indent=0) + "\n")
print(len(CASES), "files,", sum((FOLDER / c["file"]).stat().st_size for c in CASES), "bytes")
