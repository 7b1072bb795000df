//! Images in boxes: ends rounded outward, interval bounds that hold, what refutes a certificate.

use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Affine, Computation, Network, NetworkConfig, Node, Operation, Weights};
use temper_verify::{Arithmetic, Certifier, of_pixels, pixel_box};

#[test]
fn a_box_covers_what_was_meant() {
    let input = pixel_box(&[0.0, 0.5, 1.0], 8.0 / 255.0);
    let [inner_lower, inner_upper] = input.within.clone().unwrap();
    // 0.5 - 8/255 = 239/510 and 0.5 + 8/255 = 271/510 are no doubles.
    assert!(input.lower[1] * 510.0 <= 239.0 && 239.0 <= inner_lower[1] * 510.0, "{input:?}");
    assert!(inner_upper[1] * 510.0 <= 271.0 && 271.0 <= input.upper[1] * 510.0, "{input:?}");
    assert!(input.lower[1] < inner_lower[1] && inner_upper[1] < input.upper[1]);
    assert!(input.upper[1] - input.lower[1] < 2.0 * 8.0 / 255.0 + 1e-14);
    // Cut to the picture.
    assert_eq!((input.lower[0], input.upper[2]), (0.0, 1.0));
    let alone = pixel_box(&[0.25, 1.0], 0.0);
    assert_eq!((alone.lower, alone.upper), (vec![0.25, 1.0], vec![0.25, 1.0]));
    assert!(pixel_box(&[0.25], 0.0).contains(&[0.25]));
}

/// A linear network of two classes; the margin of class 0 is `weight x + bias`.
fn line(weight: f32, bias: f32) -> Certifier {
    let config = r#"{"input": [1, 1, 1], "classes": 2, "nodes": [
        {"name": "flatten", "op": "flatten"}, {"name": "linear", "op": {"linear": {"out": 2}}}]}"#;
    let config = NetworkConfig::from_json(config, "a line").unwrap();
    let linear = Weights::Affine { weight: vec![weight, 0.0], bias: vec![bias, 0.0] };
    let network = Network::new(config, vec![0.0], vec![1.0], vec![Weights::None, linear]).unwrap();
    Certifier::new(&network).unwrap()
}

/// A bias that swallows what the pixel adds in single precision: there 2^24 + 0.5 is 2^24, and the margin is 0.
#[test]
fn rounding_of_single_precision_breaks_no_sound_bound() {
    let certifier = line(1.0, 0.0);
    let bound = |arithmetic| certifier.bounds(&[0.5], &[0], &[0.25], arithmetic, &|| false).unwrap()[0];
    assert!(bound(Arithmetic::Sound) <= 0.25 && bound(Arithmetic::Sound) > 0.25 - 1e-12);
    assert!(bound(Arithmetic::Float32) < bound(Arithmetic::Sound) && bound(Arithmetic::Float32) > 0.24);
    // -1: what an attack found is of another class over the real numbers too, or lies beside the box.
    let certifier = line(1.0, -0.5);
    let refutes = |found, arithmetic| certifier.refutes(&[found], &[0.75], 0.25, 0, arithmetic);
    assert!(refutes(0.5, Arithmetic::Sound) || refutes(0.500_000_1, Arithmetic::Float32));
    assert!(!refutes(0.5 - 1e-7, Arithmetic::Sound), "beside the box");
    assert!(!refutes(0.75, Arithmetic::Sound) && refutes(0.75, Arithmetic::Float32));
    assert_eq!(certifier.bounds(&[0.5], &[0], &[0.25], Arithmetic::Sound, &|| true), None);
}

/// Random networks: no value in the box is below the bound, in any order of summation.
#[test]
fn bounds_hold_at_points() {
    let config = r#"{"input": [2, 5, 5], "classes": 3, "nodes": [
        {"name": "conv", "op": {"conv": {"out": 4, "kernel": 3, "stride": 2, "padding": 1, "groups": 2}}},
        {"name": "norm", "op": "batch_norm"}, {"name": "relu", "op": "relu"}, {"name": "flatten", "op": "flatten"},
        {"name": "linear", "op": {"linear": {"out": 3}}}]}"#;
    let config = NetworkConfig::from_json(config, "small").unwrap();
    for seed in 0..40 {
        let draw = |name: &str, n: usize, size: f32| -> Vec<f32> {
            let stream = Stream::named(seed, name);
            (0..n as u64).map(|i| (2.0 * stream.at(i) as f32 - 1.0) * size).collect()
        };
        let conv = Weights::Affine { weight: draw("w", 4 * 9, 1.0), bias: draw("b", 4, 1.0) };
        let norm = Weights::BatchNorm {
            weight: draw("g", 4, 2.0),
            bias: draw("h", 4, 1.0),
            running_mean: draw("m", 4, 1.0),
            running_var: draw("v", 4, 1.0).iter().map(|v| v.abs() + 0.1).collect(),
        };
        let linear = Weights::Affine { weight: draw("l", 3 * 36, 1.0), bias: draw("c", 3, 1.0) };
        let weights = vec![conv, norm, Weights::None, Weights::None, linear];
        let network = Network::new(config.clone(), vec![0.4, 0.5], vec![0.2, 0.3], weights).unwrap();
        let certifier = Certifier::new(&network).unwrap();
        let pixels: Vec<f32> = draw("x", 50, 0.5).iter().map(|x| x + 0.5).collect();
        let eps = 0.02;
        let bound = |arithmetic| certifier.bounds(&pixels, &[1], &[eps], arithmetic, &|| false).unwrap()[0];
        let (real, sound, single) = (bound(Arithmetic::Real), bound(Arithmetic::Sound), bound(Arithmetic::Float32));
        assert!(
            single < sound && sound <= real && real - sound < 1e-10 * real.abs().max(100.0),
            "{single} {sound} {real}"
        );
        for point in 0..20 {
            let moved = draw(&format!("point.{point}"), 50, 1.0);
            let x: Vec<f64> = pixels
                .iter()
                .zip(&moved)
                .map(|(x, m)| (f64::from(*x) + eps * f64::from(m.signum())).clamp(0.0, 1.0))
                .collect();
            for order in [Order::Forward, Order::Backward] {
                let z = certifier.computation().evaluate(&x, order);
                assert!(sound <= (z[1] - z[0]).min(z[1] - z[2]), "{sound} {z:?}");
            }
        }
    }
}

/// A network that reads channels last, and pixels less their mean: what stands before it gives it both.
#[test]
fn pixels_reach_a_network_as_it_reads_them() {
    let picks = |shape: Vec<usize>, at: &[usize]| {
        let weight = at.iter().flat_map(|at| (0..12).map(move |i| f64::from(u8::from(i == *at)))).collect();
        let dense = Operation::Dense(Affine::exact(weight, vec![0.0; at.len()]));
        let node = Node { name: "picks".into(), operation: dense, inputs: vec![0], shape: vec![at.len()] };
        Computation::new(shape, vec![node]).unwrap()
    };
    let pixels: Vec<f64> = (0..12).map(|i| f64::from(i) / 16.0).collect();
    let plain = ([0.0; 3], [1.0; 3]);
    let values = |network: &Computation, (mean, std): ([f64; 3], [f64; 3])| {
        of_pixels(network, [3, 2, 2], &mean, &std).unwrap().evaluate(&pixels, Order::Forward)
    };
    // Channel 2 of row 1, column 0: the number 2 * 4 + 2 with channels first, (2 + 0) * 3 + 2 with channels last.
    for (shape, at) in [(vec![1, 3, 2, 2], 10), (vec![12], 10), (vec![1, 2, 2, 3], 8)] {
        let network = picks(shape, &[at, 0]);
        assert_eq!(values(&network, plain), [10.0 / 16.0, 0.0]);
        let scaled = values(&network, ([0.5, 0.25, 0.125], [0.5, 0.25, 2.0]));
        assert_eq!(scaled, [(10.0 / 16.0 - 0.125) / 2.0, -1.0]);
    }
    let network = picks(vec![3, 2, 2], &[0, 1]);
    assert_eq!(of_pixels(&network, [3, 2, 2], &plain.0, &plain.1).unwrap(), network);
    for (shape, std) in [([1, 2, 2], 1.0), ([3, 2, 2], 0.0), ([3, 2, 2], f64::NAN)] {
        let channels = shape[0];
        assert!(of_pixels(&network, shape, &vec![0.0; channels], &vec![std; channels]).is_err());
    }
}
