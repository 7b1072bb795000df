//! A classifier with plain arrays: the same bits there and back, the same answers, and without batch norms too.

use burn::tensor::{Device, Tensor, TensorData};
use temper_graph::text::parse;
use temper_graph::{BatchNorm, Network, Op, by_name};
use temper_model::ImageNet;
use temper_model::image::{ImageInit, Layer, Statistics};
use temper_model::init::uniform;

const INPUT: [usize; 3] = [3, 16, 16];

/// A network whose batch norms do something.
fn net(name: &str, batch_norm: BatchNorm, width: usize) -> ImageNet {
    let device = Device::flex();
    let config = match name {
        "norm-first" => parse(&["bn", "relu", "conv 4 3", "bn", "flatten", "linear 10"], "test", INPUT, 10),
        _ => by_name(name, Some(width), batch_norm, INPUT, 10),
    };
    let config = config.unwrap();
    let mut net = ImageNet::new(config, ImageInit::Default, 7, &device);
    let vector = |name: String, n: usize, least: f32| {
        let values: Vec<f32> = uniform(3, &name, 0.3, n).into_iter().map(|value| least + 0.3 + value).collect();
        Tensor::<1>::from_data(TensorData::new(values, [n]), &device)
    };
    for (i, layer) in net.layers.iter_mut().enumerate() {
        if let Layer::BatchNorm { weight, bias, running_mean, running_var } = layer {
            let n = weight.dims()[0];
            *weight = vector(format!("{i} weight"), n, 0.7);
            *bias = vector(format!("{i} bias"), n, -0.3);
            *running_mean = vector(format!("{i} mean"), n, -0.3);
            *running_var = vector(format!("{i} var"), n, 0.5);
        }
    }
    net.normalised(vec![0.5, 0.4, 0.3], vec![0.25, 0.2, 0.3])
}

fn image() -> Vec<f32> {
    uniform(1, "image", 0.5, INPUT.iter().product()).into_iter().map(|value| value + 0.5).collect()
}

/// The logits that the tensors give.
fn logits(net: &ImageNet) -> Vec<f32> {
    let [c, h, w] = INPUT;
    let (image, ends) = (image(), net.mean.iter().zip(&net.std));
    let planes = image.chunks(h * w).zip(ends);
    let normalised = planes.flat_map(|(plane, (mean, std))| plane.iter().map(move |pixel| (pixel - mean) / std));
    let x = TensorData::new(normalised.collect::<Vec<f32>>(), [1, 1, c, h, w]);
    let trace = net.trace_plain(Tensor::from_data(x, &Device::flex()), Statistics::Running);
    net.logits(&trace).into_data().try_into_vec().unwrap()
}

fn close(name: &str, found: &[f32], expected: &[f32]) {
    let size = expected.iter().fold(0.0f32, |size, logit| size.max(logit.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 2e-5 * size, "{name}: {found} and {expected} of {size}");
    }
}

fn norms(network: &Network) -> usize {
    network.config().nodes.iter().filter(|node| node.op == Op::BatchNorm).count()
}

#[test]
fn there_and_back() {
    for (name, batch_norm, width, left) in [
        // Reads the image through a batch norm, which no layer can take up.
        ("norm-first", BatchNorm::Full, 1, 1),
        ("cnn7", BatchNorm::Full, 4, 0),
        ("small", BatchNorm::None, 4, 0),
        ("resnext", BatchNorm::Full, 2, 0),
        ("wide-resnet-8", BatchNorm::Full, 1, 0),
    ] {
        let net = net(name, batch_norm, width);
        let expected = logits(&net);
        let network = net.to_network();
        let again = ImageNet::from_network(&network, &Device::flex()).unwrap();
        assert_eq!(logits(&again), expected, "{name}");
        assert_eq!(again.to_network(), network, "{name}");
        close(name, &network.logits(&image()), &expected);
        let folded = network.fold_batch_norms().unwrap();
        assert_eq!(norms(&folded), left, "{name}");
        assert_eq!(norms(&network) == 0, batch_norm == BatchNorm::None, "{name}");
        close(name, &folded.logits(&image()), &expected);
    }
}
