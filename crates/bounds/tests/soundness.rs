//! What bounds promise: every image of the box lies inside them, they are the clean pass at eps 0, they grow with eps.

mod common;

use burn::tensor::Device;
use common::{NETS, labels, load, shape, slabs, tensors, trace, values};
use temper_bounds::boxes::{Images, boxes, boxes_each, clean, ends};
use temper_bounds::crown::{self, LowerSlope};
use temper_bounds::ibp::{Bound, difference_gains, layer_states};
use temper_bounds::radius::radii;
use temper_graph::{BatchNorm, NetworkConfig, by_name};
use temper_model::image::{Classifier, ImageInit, Statistics};
use temper_model::init::uniform;
use temper_verify::{Arithmetic, Certifier};

/// Images of the golden file, and its labels.
fn batch(name: &str) -> (Vec<f32>, Vec<u32>) {
    let mut golden = tensors(&format!("{name}/bounds.safetensors"));
    (golden.remove("pixels").unwrap(), labels(&golden["labels"]))
}

/// Random points in the boxes of radius `eps` around `pixels`, one an image: corners, points inside, and points with
/// every pixel either at an end or where it was.
fn points(pixels: &[f32], eps: f64, seed: u64) -> Vec<f32> {
    let at = uniform(seed, "points", 1.0, pixels.len());
    let place = |(pixel, at): (&f32, f32)| {
        let [lower, upper] = ends(*pixel, eps);
        let end = if at > 0.0 { upper } else { lower };
        let x = match seed % 3 {
            0 => end,
            1 => lower + (upper - lower) * f64::from(at.abs()),
            _ if at.abs() < 0.5 => f64::from(*pixel),
            _ => end,
        };
        x as f32
    };
    pixels.iter().zip(at).map(place).collect()
}

fn minus(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |a, b| a.max(b.abs()))
}

/// A residual network of every kind of layer, average pooling too.
fn every_layer() -> (Classifier, Vec<f32>, Vec<u32>) {
    let text = r#"{"input": [2, 9, 7], "classes": 4, "nodes": [
        {"name": "conv1", "op": {"conv": {"out": 4, "kernel": 3, "padding": 1}}},
        {"name": "relu1", "op": "relu"},
        {"name": "conv2", "op": {"conv": {"out": 6, "kernel": 3, "stride": 2, "padding": 1, "groups": 2}}},
        {"name": "bn2", "op": "batch_norm"},
        {"name": "relu2", "op": "relu"},
        {"name": "conv3", "op": {"conv": {"out": 6, "kernel": 1}}},
        {"name": "shortcut", "op": {"conv": {"out": 6, "kernel": 2, "stride": 2, "padding": 1}}, "inputs": [2]},
        {"name": "pool1", "op": {"avg_pool": {"kernel": 2, "stride": 1}}, "inputs": [6]},
        {"name": "pool2", "op": {"avg_pool": {"kernel": 2, "stride": 1}}, "inputs": [7]},
        {"name": "add", "op": "add", "inputs": [8, 9]},
        {"name": "relu3", "op": "relu"},
        {"name": "pool3", "op": {"avg_pool": {"kernel": 2, "stride": 2}}},
        {"name": "flatten", "op": "flatten"},
        {"name": "linear1", "op": {"linear": {"out": 8}}},
        {"name": "bn4", "op": "batch_norm"},
        {"name": "relu4", "op": "relu"},
        {"name": "linear2", "op": {"linear": {"out": 4}}}]}"#;
    let config = NetworkConfig::from_json(text, "test").unwrap();
    let mut net = Classifier::new(config, ImageInit::Kaiming, 5, &Device::flex());
    let pixels: Vec<f32> = uniform(3, "pixels", 0.5, 8 * 2 * 9 * 7).into_iter().map(|x| x + 0.5).collect();
    let x = clean(&pixels, shape(&net, 8), &net.mean, &net.std, &Device::flex());
    let moments = net.trace(x, Statistics::Batch).moments;
    net.set_running(&moments);
    (net, pixels, vec![0, 1, 2, 3, 0, 1, 2, 3])
}

fn networks() -> Vec<(String, Classifier, Vec<f32>, Vec<u32>)> {
    let golden = NETS.iter().map(|name| {
        let (pixels, labels) = batch(name);
        (name.to_string(), load(name), pixels, labels)
    });
    let (net, pixels, labels) = every_layer();
    golden.chain([("every layer".to_string(), net, pixels, labels)]).collect()
}

/// 10,000 points a network. Rounding: a value is a sum of at most some hundred products in single precision, in both
/// passes; over the layers that is below 1e-5 of the largest value of the layer (the golden tests find 2e-6 against
/// double precision), and a bound that is wrong is off by parts of the radius, which is 1e-2 and more of it.
#[test]
fn points_of_the_box_stay_inside_every_bound() {
    for (name, net, pixels, labels) in networks() {
        let images = labels.len();
        for (eps, statistics) in [(0.1, Statistics::Running), (0.02, Statistics::Running), (0.05, Statistics::Batch)] {
            let bounds = trace(&net, &pixels, eps, statistics);
            // The statistics are those of the clean batch, whatever the point.
            let frozen = Statistics::Given(&bounds.moments);
            let intervals: Vec<[Vec<f32>; 2]> = (0..bounds.values.len())
                .map(|value| {
                    let slabs = slabs(&bounds, value);
                    [slabs[1].clone(), slabs[2].clone()]
                })
                .collect();
            let margins = [
                ("IBP", values(Bound::Ibp.margins(&net, &bounds, &labels))),
                ("CROWN-IBP", values(crown::margins(&net, &bounds, &labels))),
                ("CROWN-IBP with slope 0", values(crown::margins_with(&net, &bounds, &labels, LowerSlope::Zero))),
                ("best", values(Bound::Best.margins(&net, &bounds, &labels))),
            ];
            for seed in 0..(3400 / images) as u64 {
                let points = points(&pixels, eps, seed);
                let x = clean(&points, shape(&net, images), &net.mean, &net.std, &Device::flex());
                let pass = net.trace(x, frozen);
                for (value, [centre, radius]) in intervals.iter().enumerate() {
                    let found = &slabs(&pass, value)[0];
                    let room = 1e-5 * (largest(centre) + largest(radius));
                    for ((x, c), r) in found.iter().zip(centre).zip(radius) {
                        assert!((x - c).abs() <= r + room, "{name} at {eps}: {x} of value {value} leaves {c} +- {r}");
                    }
                }
                let logits = values(net.logits(&pass));
                let classes = net.config.classes;
                for (kind, margins) in &margins {
                    let room = 1e-5 * largest(margins);
                    for (i, bound) in margins.iter().enumerate() {
                        let (image, class) = (i / classes, i % classes);
                        let margin = logits[image * classes + labels[image] as usize] - logits[i];
                        assert!(
                            margin >= bound - room,
                            "{name} at {eps}: margin {margin} of image {image}, class {class}, under {kind}'s {bound}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn at_eps_0_bounds_are_the_clean_pass() {
    for (name, net, pixels, labels) in networks() {
        for statistics in [Statistics::Running, Statistics::Batch] {
            let trace = trace(&net, &pixels, 0.0, statistics);
            for value in 0..trace.values.len() {
                let slabs = slabs(&trace, value);
                let room = 1e-6 * largest(&slabs[0]);
                assert!(largest(&minus(&slabs[0], &slabs[1])) <= room, "{name}: centre of value {value}");
                assert!(largest(&slabs[2]) <= room, "{name}: radius of value {value}");
            }
            let logits = values(net.logits(&trace));
            let classes = net.config.classes;
            for slope in [LowerSlope::Adaptive, LowerSlope::Zero] {
                let crown = values(crown::margins_with(&net, &trace, &labels, slope));
                let ibp = values(net.margins(&trace, &labels));
                for (i, (crown, ibp)) in crown.iter().zip(&ibp).enumerate() {
                    let margin = logits[i / classes * classes + labels[i / classes] as usize] - logits[i];
                    let room = 1e-5 * largest(&logits);
                    assert!((margin - ibp).abs() <= room && (margin - crown).abs() <= room, "{name}: margin {i}");
                }
            }
        }
    }
}

#[test]
fn bounds_grow_with_eps() {
    for (name, net, pixels, labels) in networks() {
        let steps = [0.0, 1e-6, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0];
        let traces: Vec<_> = steps.iter().map(|eps| trace(&net, &pixels, *eps, Statistics::Running)).collect();
        for pair in traces.windows(2) {
            for value in 0..pair[0].values.len() {
                let [small, large] = [slabs(&pair[0], value), slabs(&pair[1], value)];
                let room = 1e-6 * (largest(&large[1]) + largest(&large[2]));
                for sign in [-1.0, 1.0] {
                    // The upper ends, and the lower ones with the other sign.
                    let end = |slabs: &[Vec<f32>]| -> Vec<f32> {
                        slabs[1].iter().zip(&slabs[2]).map(|(c, r)| sign * c + r).collect()
                    };
                    let inside = minus(&end(&large), &end(&small)).iter().all(|growth| *growth >= -room);
                    assert!(inside, "{name}: an end of value {value} comes back");
                }
            }
            let [small, large] = [0, 1].map(|i| values(net.margins(&pair[i], &labels)));
            let room = 1e-6 * largest(&large);
            assert!(minus(&small, &large).iter().all(|d| *d >= -room), "{name}: a margin grows");
        }
        // And not by nothing.
        let [least, most] = [1, 5].map(|i| layer_states(&net, &traces[i]));
        assert!(least.iter().zip(&most).all(|(a, b)| b.width > 10.0 * a.width && a.width > 0.0), "{name}: {most:?}");
    }
}

#[test]
fn the_best_bound_is_no_looser_than_any() {
    for (name, net, pixels, labels) in networks() {
        let trace = trace(&net, &pixels, 0.05, Statistics::Running);
        let best = values(Bound::Best.margins(&net, &trace, &labels));
        let ibp = values(net.margins(&trace, &labels));
        let [adaptive, zero] =
            [LowerSlope::Adaptive, LowerSlope::Zero].map(|s| values(crown::margins_with(&net, &trace, &labels, s)));
        for (i, best) in best.iter().enumerate() {
            assert_eq!(*best, ibp[i].max(adaptive[i]).max(zero[i]), "{name}: margin {i}");
        }
        assert!(best.iter().zip(&ibp).any(|(best, ibp)| best > ibp), "{name}: CROWN-IBP gains nothing");
        for (row, label) in best.chunks(net.config.classes).zip(&labels) {
            assert_eq!(row[*label as usize], 0.0, "{name}: the margin of the label itself");
        }
    }
}

/// Without a ReLU the linear bound is the function itself: some corner of the box attains it.
#[test]
fn linear_networks_attain_their_bound() {
    let text = r#"{"input": [2, 7, 6], "classes": 3, "nodes": [
        {"name": "conv1", "op": {"conv": {"out": 4, "kernel": 3, "stride": 2, "groups": 2}}},
        {"name": "bn1", "op": "batch_norm"},
        {"name": "conv2", "op": {"conv": {"out": 4, "kernel": 1}}},
        {"name": "add", "op": "add", "inputs": [2, 3]},
        {"name": "pool", "op": {"avg_pool": {"kernel": 2, "stride": 1}}},
        {"name": "flatten", "op": "flatten"},
        {"name": "linear", "op": {"linear": {"out": 3}}}]}"#;
    let config = NetworkConfig::from_json(text, "test").unwrap();
    let net = Classifier::new(config, ImageInit::Default, 2, &Device::flex());
    let pixels: Vec<f32> = uniform(1, "pixels", 0.5, 84).into_iter().map(|x| x + 0.5).collect();
    let (eps, class) = (0.2, 1);
    let bound = values(crown::margins(&net, &trace(&net, &pixels, eps, Statistics::Running), &[0]))[class];
    let margin = |pixels: &[f32]| {
        let x = clean(pixels, shape(&net, 1), &net.mean, &net.std, &Device::flex());
        let logits = values(net.logits(&net.trace(x, Statistics::Running)));
        logits[0] - logits[class]
    };
    // Pixel by pixel to the end that lowers the margin: for a linear function the lowest corner.
    let mut corner = pixels.clone();
    for i in 0..corner.len() {
        let [lower, upper] = ends(pixels[i], eps).map(|end| end as f32);
        corner[i] = lower;
        let at_lower = margin(&corner);
        corner[i] = upper;
        if at_lower < margin(&corner) {
            corner[i] = lower;
        }
    }
    let (found, before) = (margin(&corner), margin(&pixels));
    assert!((found - bound).abs() <= 1e-5 * (before - found), "{bound}, attained {found}, clean {before}");
}

#[test]
fn boxes_are_cut_before_they_are_normalised() {
    let (pixels, mean, std) = ([0.0f32, 0.25, 1.0, 0.95], [0.5f32, 0.25], [0.5f32, 0.125]);
    let found = values(boxes(&pixels, [1, 2, 1, 2], 0.1, &mean, &std, &Device::flex()));
    let expected = [
        [-1.0, -0.5, 6.0, 5.6], // (pixel - mean) / std
        [-0.9, -0.5, 5.6, 5.4], // of the middles .05, .25, .95, .925
        [0.1, 0.2, 0.4, 0.6],   // half of .1, .2, .1, .15, over std
    ];
    for (found, expected) in found.iter().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }
    // A radius that single precision would lose in x +- eps is kept.
    let small = values(boxes(&[0.7], [1, 1, 1, 1], 1e-9, &[0.0], &[1.0], &Device::flex()));
    assert!((small[2] - 1e-9).abs() < 1e-15, "{small:?}");
    let each = values(boxes_each(&[0.5, 0.5], [2, 1, 1, 1], &[0.1, 0.2], &[0.0], &[1.0], &Device::flex()));
    assert_eq!(each[4..], [0.1, 0.2]);
}

#[test]
fn radii_are_bracketed() {
    for (name, net, pixels, _) in networks() {
        let images = pixels.len() / net.config.input.iter().product::<usize>();
        let x = clean(&pixels, shape(&net, images), &net.mean, &net.std, &Device::flex());
        let logits = values(net.logits(&net.trace(x, Statistics::Running)));
        let classes = net.config.classes;
        // The label is the class that the network gives, but for the first image.
        let class = |row: &[f32]| (0..classes).reduce(|a, b| if row[b] > row[a] { b } else { a }).unwrap() as u32;
        let mut labels: Vec<u32> = logits.chunks(classes).map(class).collect();
        labels[0] = (labels[0] + 1) % classes as u32;
        let indices: Vec<u64> = (0..images as u64).collect();
        let batch = Images { pixels: &pixels, shape: net.config.input, labels: &labels, indices: &indices };
        let found = radii(&net, batch, 0.5, 20, Arithmetic::Sound).unwrap();
        assert_eq!(found[0].certified, None, "{name}: a misclassified image has no radius");
        let certifier = Certifier::new(&net.to_network()).unwrap();
        let is_certified = |eps: &[f64]| -> Vec<bool> {
            let bounds = certifier.bounds(&pixels, &labels, eps, Arithmetic::Sound, &|| false).unwrap();
            bounds.into_iter().map(|bound| bound > 0.0).collect()
        };
        let inner = is_certified(&found.iter().map(|r| r.certified.unwrap_or(0.0)).collect::<Vec<_>>());
        let outer = is_certified(&found.iter().map(|r| r.uncertified.unwrap_or(0.5)).collect::<Vec<_>>());
        for i in 1..images {
            let radius = found[i];
            assert!(inner[i] && radius.certified.is_some(), "{name}: image {i} {radius:?}");
            if let (Some(inside), Some(outside)) = (radius.certified, radius.uncertified) {
                assert!(
                    !outer[i] && outside - inside <= 0.5 / (1 << 20) as f64 * 1.001,
                    "{name}: image {i} {radius:?}"
                );
            }
        }
        assert!(
            found[1..].iter().any(|radius| radius.certified > Some(1e-4)),
            "{name}: nothing is certified: {found:?}"
        );
    }
}

/// The claim that the paper's initialisation makes (section 4.1): widths neither grow nor shrink from layer to layer.
/// The first layer's input has passed no ReLU, which would have halved it.
#[test]
fn ibp_initialisation_has_gain_1() {
    let gains = |init| {
        let config = by_name("cnn7", Some(16), BatchNorm::Full, [1, 16, 16], 10).unwrap();
        let net = Classifier::new(config, init, 1, &Device::flex());
        let pixels: Vec<f32> = uniform(7, "pixels", 0.5, 8 * 256).into_iter().map(|x| x + 0.5).collect();
        difference_gains(&net, &trace(&net, &pixels, 0.1, Statistics::Batch))
    };
    let found = gains(ImageInit::Ibp);
    assert_eq!(found.len(), 6, "{found:?}");
    assert!((1.8..2.3).contains(&found[0].1), "{found:?}");
    assert!(found[1..].iter().all(|(_, gain)| (0.8..1.1).contains(gain)), "{found:?}");
    let default = gains(ImageInit::Default);
    assert!(default[1..].iter().all(|(_, gain)| *gain > 2.0), "{default:?}");
}

#[test]
fn layer_states_count_every_unit() {
    let (pixels, _) = batch("cnn7");
    let net = load("cnn7");
    let len = pixels.len() / 2;
    let whole = layer_states(&net, &trace(&net, &pixels, 0.05, Statistics::Running));
    let mut halves = layer_states(&net, &trace(&net, &pixels[..len], 0.05, Statistics::Running));
    let second = layer_states(&net, &trace(&net, &pixels[len..], 0.05, Statistics::Running));
    halves.iter_mut().zip(&second).for_each(|(a, b)| a.add(b));
    assert_eq!(whole.len(), 6);
    for (whole, sum) in whole.iter().zip(&halves) {
        assert_eq!((&whole.name, whole.units, whole.active), (&sum.name, sum.units, sum.active));
        assert_eq!((whole.unstable, whole.inactive), (sum.unstable, sum.inactive));
        assert!((whole.width - sum.width).abs() <= 1e-5 * whole.width);
        assert!((whole.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12 && whole.unstable > 0.0);
    }
}
