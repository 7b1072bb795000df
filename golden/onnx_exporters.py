"""Small networks as eight exporters write them, into golden/onnx; run after onnx_operations.py, part by part.

    GOLD=DIR/bin/python; TF=DIR2/bin/python            # golden/make_env_onnx.sh DIR DIR2
    $GOLD golden/onnx_exporters.py torch golden/onnx   # torch 2.15.0, both exporters; onnxruntime 1.32.0: optimised, quantised files
    KERAS_BACKEND=torch $GOLD golden/onnx_exporters.py keras golden/onnx      # keras 3.15.1 on torch
    $TF golden/onnx_exporters.py tensorflow golden/onnx                       # tf2onnx 1.17.0, tensorflow 2.21.0
    $TF golden/onnx_exporters.py jax golden/onnx                              # jax2onnx 0.17.1, flax 0.12.8
    $TF golden/onnx_exporters.py sklearn golden/onnx                          # skl2onnx 1.20.0, scikit-learn 1.9.1
    $TF golden/onnx_exporters.py tools golden/onnx                            # onnxsim 0.8.1, onnxslim 0.1.98
    $GOLD golden/onnx_answers.py golden/onnx

The network is a CNN-7 of width 2 on 8 x 8 pixels with full batch norm, weights and statistics random, other ones at each exporter. Exporters
leave stack traces with paths in the metadata: it is taken out (and nothing else). tf2onnx' names and chains differ from process to process.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx

PART, FOLDER = sys.argv[1], Path(sys.argv[2])
CASES = []


def stripped(message):
    """Without documentation and metadata, in nodes, values and tensors."""
    for field, value in list(message.ListFields()):
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                stripped(part)
    return message


def keep(name, exporter, about, refused=None, **more):
    path = FOLDER / f"{name}.onnx"
    model = stripped(onnx.load(path, load_external_data=False))
    path.write_bytes(model.SerializeToString())
    CASES.append({"file": path.name, "exporter": exporter, "about": about, "refused": refused, **more})
    print(f"{path.name}: {path.stat().st_size} bytes, opset {model.opset_import[0].version}, IR {model.ir_version}:", *[n.op_type for n in model.graph.node])


def torch_part():
    import torch
    from torch import nn

    exporter = f"torch {torch.__version__.split('+')[0]}"

    def spread(net, seed):
        """Random weights and statistics; the network in evaluation."""
        draw = torch.Generator().manual_seed(seed)
        for module in net.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.weight.data = 0.5 + torch.rand(module.weight.shape, generator=draw)
                module.bias.data = 0.5 * torch.randn(module.bias.shape, generator=draw)
                module.running_mean = 0.3 * torch.randn(module.bias.shape, generator=draw)
                module.running_var = 0.5 + torch.rand(module.bias.shape, generator=draw)
            elif getattr(module, "weight", None) is not None:
                fan = max(1, module.weight[0].numel())
                module.weight.data = torch.randn(module.weight.shape, generator=draw) * (2 / fan) ** 0.5
                if module.bias is not None:
                    module.bias.data = 0.1 * torch.randn(module.bias.shape, generator=draw)
        return net.eval()

    def cnn7():
        layers, inside = [], 1
        for out, stride in ((2, 1), (2, 1), (4, 2), (4, 1), (4, 1)):
            layers += [nn.Conv2d(inside, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
            inside = out
        return spread(nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)), 7)

    def export(name, about, net, x, dynamo, external=False, refused=None, **options):
        path = FOLDER / f"{name}.onnx"
        if dynamo:
            options = {"external_data": external, "verbose": False, **options}
        with torch.no_grad():
            torch.onnx.export(net, (x,), str(path), dynamo=dynamo, input_names=["input"], **options)
        keep(name, f"{exporter}, {'dynamo' if dynamo else 'TorchScript'}", about, refused)

    image = torch.zeros(1, 1, 8, 8)
    export("cnn7_torch_external", "CNN-7, dynamo's default: weights in cnn7_torch_external.onnx.data", cnn7(), image, True, external=True)
    export("cnn7_torch", "CNN-7, dynamo, one file", cnn7(), image, True)
    export("cnn7_torch_batch", "CNN-7, dynamo, dynamic batch", cnn7(), image, True, dynamic_shapes=({0: torch.export.Dim("batch")},))
    export("cnn7_torchscript", "CNN-7, TorchScript: the batch norm behind the dense layer stays", cnn7(), image, False)
    export("cnn7_torchscript_batch", "CNN-7, TorchScript, opset 18, dynamic batch axis", cnn7(), image, False, opset_version=18, dynamic_axes={"input": {0: "batch_size"}})
    export("cnn7_torchscript_unfolded", "CNN-7, TorchScript without folding: six BatchNormalizations, opset 11", cnn7(), image, False,
           do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE, opset_version=11)

    class Of(nn.Module):
        def __init__(self, forward, **parts):
            super().__init__()
            self.parts = nn.ModuleDict(parts)
            self.run = forward

        def forward(self, x):
            return self.run(x, **self.parts)

    F = nn.functional
    conv = lambda i, o, k=3, **more: nn.Conv2d(i, o, k, **more)

    def shared(x, c, b):
        y = c(x)
        return b(y).relu() + y

    FORMS = {
        "clamp_min": ("x.clamp(min=0)", lambda x, c: c(x).clamp(min=0), {"c": conv(2, 3)}),
        "maximum": ("torch.maximum(x, 0)", lambda x, c: torch.maximum(c(x), torch.zeros(())), {"c": conv(2, 3)}),
        "where": ("torch.where(x > 0, x, 0)", lambda x, c: torch.where(c(x) > 0, c(x), 0.0), {"c": conv(2, 3)}),
        "relu6": ("relu6", lambda x, c: F.relu6(4 * c(x)), {"c": conv(2, 3)}),
        "leaky": ("leaky_relu", lambda x, c: F.leaky_relu(c(x), 0.2), {"c": conv(2, 3)}),
        "hardtanh": ("hardtanh", lambda x, c: F.hardtanh(c(x), -0.5, 0.75), {"c": conv(2, 3)}),
        "clamp_crossed": ("clamp(max=0.2) and clamp(min=0.4) behind it", lambda x, c: c(x).clamp(max=0.2).clamp(min=0.4), {"c": conv(2, 3)}),
        "view": ("x.view(x.size(0), -1)", lambda x, c, l: l(c(x).relu().view(x.size(0), -1)), {"c": conv(2, 3), "l": nn.Linear(48, 3)}),
        "flatten_1": ("torch.flatten(x, 1)", lambda x, c, l: l(torch.flatten(c(x).relu(), 1)), {"c": conv(2, 3), "l": nn.Linear(48, 3, bias=False)}),
        "adaptive": ("adaptive_avg_pool2d to 1 and squeeze", lambda x, c, l: l(F.adaptive_avg_pool2d(c(x).relu(), 1).squeeze(-1).squeeze(-1)), {"c": conv(2, 3), "l": nn.Linear(3, 3)}),
        "mean": ("mean over rows and columns", lambda x, c, l: l(c(x).relu().mean((2, 3))), {"c": conv(2, 3), "l": nn.Linear(3, 3)}),
        "mean_kept": ("mean over (-1, -2), kept", lambda x, c: c(x).relu().mean((-1, -2), keepdim=True).flatten(1), {"c": conv(2, 3)}),
        "avg_pool": ("avg_pool2d with padding", lambda x: F.avg_pool2d(x.relu(), 2, 2, 1), {}),
        "avg_pool_edge": ("avg_pool2d, count_include_pad=False", lambda x: F.avg_pool2d(x.relu(), 3, 2, 1, count_include_pad=False), {}),
        "max_pool": ("max_pool2d", lambda x, c: F.max_pool2d(c(x), 2), {"c": conv(2, 3)}),
        "max_pool_overlap": ("max_pool2d 3, stride 2, padding 1", lambda x, c: F.max_pool2d(c(x), 3, 2, 1), {"c": conv(2, 3)}),
        "pad": ("F.pad, asymmetric, before a convolution", lambda x, c: c(F.pad(x, (1, 0, 2, 1))).relu(), {"c": conv(2, 3)}),
        "same_even": ("padding='same' with an even kernel", lambda x, c: c(x).relu(), {"c": conv(2, 3, 4, padding="same")}),
        "rectangular": ("a kernel of 1 x 3, stride (2, 1), dilation (1, 2)", lambda x, c: c(x).relu(), {"c": nn.Conv2d(2, 3, (1, 3), (2, 1), (0, 1), (1, 2))}),
        "depthwise": ("groups = channels, then 1 x 1", lambda x, c, d: d(c(x).relu()), {"c": conv(2, 4, groups=2), "d": conv(4, 2, 1)}),
        "residual": ("a block with a projected shortcut", lambda x, c, d, s, b: (b(d(c(x).relu())) + s(x)).relu(), {"c": conv(2, 3, stride=2, padding=1), "d": conv(3, 3, padding=1), "s": conv(2, 3, 1, stride=2), "b": nn.BatchNorm2d(3)}),
        "subtract": ("c(x) - d(x)", lambda x, c, d: c(x).relu() - d(x), {"c": conv(2, 3), "d": conv(2, 3)}),
        "cat": ("cat along the channels", lambda x, c, d: d(torch.cat([x, c(x).relu()], 1)), {"c": conv(2, 3, padding=1), "d": conv(5, 2)}),
        "slice": ("x[:, :, 1:, ::2]", lambda x, c: c(x[:, :, 1:, ::2]).relu(), {"c": conv(2, 3)}),
        "normalise": ("(x - mean) / std in front", lambda x, c: c((x - torch.tensor([0.1, 0.2]).view(1, 2, 1, 1)) / torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)).relu(), {"c": conv(2, 3)}),
        "bn_first": ("batch norm before a padded convolution", lambda x, b, c: c(b(x)).relu(), {"b": nn.BatchNorm2d(2), "c": conv(2, 3, padding=1)}),
        "bn_shared": ("batch norm behind a convolution that is read elsewhere", shared, {"c": conv(2, 3), "b": nn.BatchNorm2d(3)}),
        "permute": ("permute to the channels last, reshape, Linear", lambda x, l: l(x.permute(0, 2, 3, 1).reshape(x.size(0), -1)), {"l": nn.Linear(72, 3)}),
        "linear_rows": ("Linear on the last of four dimensions", lambda x, l: l(x).relu(), {"l": nn.Linear(6, 3)}),
        "dropout": ("Dropout in evaluation, Identity", lambda x, c, d, i: i(d(c(x))), {"c": conv(2, 3), "d": nn.Dropout(), "i": nn.Identity()}),
        "softmax": ("softmax at the end", lambda x, l: l(x.flatten(1)).softmax(-1), {"l": nn.Linear(72, 3)}, "Softmax"),
    }
    x = torch.zeros(1, 2, 6, 6)
    for name, (about, forward, parts, *refused) in FORMS.items():
        for dynamo in (True, False):
            batch = {}
            if name in ("view", "permute", "adaptive") and not dynamo:
                batch = {"dynamic_axes": {"input": {0: "batch"}}}
            if name in ("view", "permute", "mean") and dynamo:
                batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
            export(f"torch_{name}" + ("" if dynamo else "_script"), about, spread(Of(forward, **parts), len(name)), x, dynamo, refused=refused[0] if refused else None, **batch)

    # onnxruntime: what it saves when it has optimised, and its quantised files.
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
    runtime = f"onnxruntime {onnxruntime.__version__}"
    source = str(FOLDER / "cnn7_torchscript_unfolded.onnx")
    for level, refused in (("BASIC", None), ("EXTENDED", "FusedConv"), ("ALL", "com.microsoft.nchwc")):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(FOLDER / f"cnn7_onnxruntime_{level.lower()}.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        keep(f"cnn7_onnxruntime_{level.lower()}", runtime, f"CNN-7 as onnxruntime saves it, optimised: {level}", refused, unchecked=True)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [{"input": np.random.default_rng(i).random((1, 1, 8, 8), np.float32)} for i in range(4)]

        def get_next(self):
            return self.left.pop() if self.left else None

    quantize_static(source, FOLDER / "cnn7_qdq.onnx", Reader(), quant_format=QuantFormat.QDQ)
    keep("cnn7_qdq", runtime, "CNN-7, static QDQ quantisation: no Relu is left", "Linear", unchecked=True)
    quantize_static(source, FOLDER / "cnn7_qoperator.onnx", Reader(), quant_format=QuantFormat.QOperator)
    keep("cnn7_qoperator", runtime, "CNN-7, static quantisation to QLinearConv", "Linear", unchecked=True)
    quantize_dynamic(source, FOLDER / "cnn7_dynamic.onnx")
    keep("cnn7_dynamic", runtime, "CNN-7, dynamic quantisation", "DynamicQuantizeLinear", unchecked=True)


def keras_net(keras):
    """CNN-7, channels last; random statistics."""
    L = keras.layers
    keras.utils.set_random_seed(7)
    net = [keras.Input((8, 8, 1), name="input")]
    for out, stride in ((2, 1), (2, 1), (4, 2), (4, 1), (4, 1)):
        net += [L.Conv2D(out, 3, stride, padding="same", bias_initializer="random_normal"), L.BatchNormalization(), L.ReLU()]
    model = keras.Sequential([*net, L.Flatten(), L.Dense(16), L.BatchNormalization(), L.ReLU(), L.Dense(10, bias_initializer="random_normal")])
    draw = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            size = layer.get_weights()[0].shape
            layer.set_weights([0.5 + draw.random(size), 0.5 * draw.standard_normal(size), 0.3 * draw.standard_normal(size), 0.5 + draw.random(size)])
    return model


def keras_part():
    import keras

    model = keras_net(keras)
    model(np.zeros((1, 8, 8, 1), np.float32))
    model.export(str(FOLDER / "cnn7_keras.onnx"), format="onnx", verbose=False)
    keep("cnn7_keras", f"keras {keras.__version__} on {keras.backend.backend()}", "CNN-7, channels last, a pair of Transposes round every Conv, batch norm as Sub, Mul, Add")


def tensorflow_part():
    import keras
    import tensorflow as tf
    import tf2onnx

    model = keras_net(keras)
    function = tf.function(lambda x: model(x, training=False))
    tf2onnx.convert.from_function(function, [tf.TensorSpec([None, 8, 8, 1], tf.float32, name="input")], opset=15, output_path=str(FOLDER / "cnn7_tf2onnx.onnx"))
    keep("cnn7_tf2onnx", f"tf2onnx {tf2onnx.__version__}, tensorflow {tf.__version__}", "CNN-7, channels last, Convs with biases: batch norm as Mul and Add")


def jax_part():
    import jax.numpy as jnp
    import jax2onnx
    from flax import nnx
    from importlib.metadata import version

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.convs, self.norms, inside = nnx.List(), nnx.List(), 1
            for out, stride in ((2, 1), (2, 1), (4, 2), (4, 1), (4, 1)):
                self.convs.append(nnx.Conv(inside, out, (3, 3), (stride, stride), padding="SAME", rngs=rngs))
                self.norms.append(nnx.BatchNorm(out, use_running_average=True, rngs=rngs))
                inside = out
            self.hidden, self.norm, self.last = nnx.Linear(64, 16, rngs=rngs), nnx.BatchNorm(16, use_running_average=True, rngs=rngs), nnx.Linear(16, 10, rngs=rngs)

        def __call__(self, x):
            for conv, norm in zip(self.convs, self.norms):
                x = nnx.relu(norm(conv(x)))
            x = x.reshape(x.shape[0], -1)
            return self.last(nnx.relu(self.norm(self.hidden(x))))

    net = Net(nnx.Rngs(7))
    draw = np.random.default_rng(7)
    for norm in [*net.norms, net.norm]:
        for value, low, size in ((norm.scale, 0.5, 1.0), (norm.bias, -0.5, 1.0), (norm.mean, -0.3, 0.6), (norm.var, 0.5, 1.0)):
            value[...] = jnp.asarray(low + size * draw.random(value.shape), jnp.float32)
    for shape, name in (((1, 8, 8, 1), "cnn7_jax2onnx"), (("B", 8, 8, 1), "cnn7_jax2onnx_batch")):
        jax2onnx.to_onnx(net, [shape], return_mode="file", output_path=str(FOLDER / f"{name}.onnx"))
        keep(name, f"jax2onnx {version('jax2onnx')}, flax {version('flax')}", "CNN-7, channels last, nothing folded, auto_pad SAME_UPPER")


def sklearn_part():
    import skl2onnx
    import sklearn
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    draw = np.random.default_rng(7)
    x, y = draw.standard_normal((200, 5)), draw.integers(0, 3, 200)
    exporter = f"skl2onnx {skl2onnx.__version__}, scikit-learn {sklearn.__version__}"
    kinds = [("input", skl2onnx.common.data_types.FloatTensorType([None, 5]))]

    def write(name, model, about, refused, **more):
        onnx_model = skl2onnx.convert_sklearn(model, initial_types=kinds, **more)
        (FOLDER / f"{name}.onnx").write_bytes(onnx_model.SerializeToString())
        keep(name, exporter, about, refused, unchecked=True)

    write("sklearn_classifier", MLPClassifier(hidden_layer_sizes=(8,), max_iter=50, random_state=7).fit(x, y), "MLPClassifier: Softmax, ArgMax, two outputs", "output", options={"zipmap": False})
    write("sklearn_regressor", MLPRegressor(hidden_layer_sizes=(8, 8), max_iter=50, random_state=7).fit(x, x[:, 0] - x[:, 1]), "MLPRegressor of one target: MatMul Add Relu, weights in float_data", None)


def tools_part():
    from importlib.metadata import version

    import onnxsim
    import onnxslim

    source = FOLDER / "cnn7_torchscript_unfolded.onnx"
    model, good = onnxsim.simplify(onnx.load(source))
    assert good
    onnx.save(model, FOLDER / "cnn7_onnxsim.onnx")
    keep("cnn7_onnxsim", f"onnxsim {version('onnxsim')}", "CNN-7 of TorchScript, batch norms folded; some weights in float_data")
    onnx.save(onnxslim.slim(onnx.load(source)), FOLDER / "cnn7_onnxslim.onnx")
    keep("cnn7_onnxslim", f"onnxslim {version('onnxslim')}", "CNN-7 of TorchScript, batch norms folded")


{"torch": torch_part, "keras": keras_part, "tensorflow": tensorflow_part, "jax": jax_part, "sklearn": sklearn_part, "tools": tools_part}[PART]()
known = json.loads((FOLDER / "cases.json").read_text())
new = {case["file"] for case in CASES}
(FOLDER / "cases.json").write_text(json.dumps([case for case in known if case["file"] not in new] + CASES))
