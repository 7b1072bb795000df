//! The arithmetic behind a stream's order, against numbers computed elsewhere.

use std::collections::HashSet;

use temper_base::random::{finalise, key_of};
use temper_data::permute::Permutation;
use temper_data::text::mixture::{Mixture, Share};

/// A change of these numbers changes the data order of every recorded run. They are from a Python version of the
/// module's description; `mix` gives the published outputs of SplitMix64 for seed 1234567.
#[test]
fn the_order_is_pinned() {
    let step = 0x9e37_79b9_7f4a_7c15u64;
    let outputs = [1u64, 2, 3].map(|i| finalise(1_234_567u64.wrapping_add(step.wrapping_mul(i))));
    assert_eq!(outputs, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    assert_eq!(key_of(&[1, 2, 3]), 0x003f_53a1_fe78_4bbf);
    let first = |n: u64, parts: &[u64]| -> Vec<u64> {
        let order = Permutation::new(n, key_of(parts));
        (0..n.min(8)).map(|p| order.get(p)).collect()
    };
    assert_eq!(first(1, &[7]), [0]);
    assert_eq!(first(2, &[7]), [1, 0]);
    assert_eq!(first(10, &[1, 1, 0, 0]), [9, 0, 3, 6, 8, 1, 2, 7]);
    assert_eq!(first(1000, &[42, 1, 3, 2]), [142, 668, 967, 313, 641, 806, 506, 100]);
    let wide = [1_046_088_372_329, 173_758_767_411, 428_370_163_534, 329_804_686_912];
    assert_eq!(first(1 << 40, &[5, 2, 0])[..4], wide);
}

#[test]
fn any_size_is_permuted() {
    for n in (1..70).chain([255, 256, 257, 4095, 5000]) {
        let order = Permutation::new(n, key_of(&[n]));
        let all: HashSet<u64> = (0..n).map(|p| order.get(p)).collect();
        assert!(all.len() as u64 == n && all.iter().all(|&p| p < n), "{n}");
    }
}

/// Counts are those of one sample after another, and no prefix strays further from its share than the module promises.
#[test]
fn shares_stay_close() {
    let many: Vec<f64> = (1..=40).map(|i| 1.0 / f64::from(i)).collect();
    let cases: [(&[f64], f64); 8] = [
        (&[1.0], 0.0),
        (&[0.95, 0.05], 0.5),
        (&[1.0, 1e-12], 0.5),
        (&[0.2, 0.3, 0.5], 1.0),
        (&[1.0, 1.0, 1.0], 1.0),
        (&[67.0, 15.0, 4.5, 4.5, 4.5, 2.5, 2.0], 2.0),
        (&[1.0; 37], 2.0),
        (&many, 2.0),
    ];
    for (weights, bound) in cases {
        let mixture = Mixture::new(weights).unwrap();
        let total: f64 = weights.iter().sum();
        let mut counts = vec![0u64; weights.len()];
        for i in 0..5000u64 {
            let (source, before) = mixture.locate(i);
            assert_eq!(before, counts[source], "{weights:?} at {i}");
            counts[source] += 1;
            for (&count, weight) in counts.iter().zip(weights) {
                let ideal = (i + 1) as f64 * weight / total;
                assert!((count as f64 - ideal).abs() <= bound + 1e-9, "{weights:?} after {}: {counts:?}", i + 1);
            }
        }
        assert_eq!(mixture.counts(5000), counts);
    }
}

/// Decimals are what was typed: 5 % of 2^50 samples is 5/100 of them to the last one, though 0.05 is no binary fraction.
#[test]
fn shares_are_of_decimals() {
    let far = 20u64 * 50_000_000_000_000;
    assert_eq!(Share::of(0.05).unwrap().count(far), far / 20);
    assert_eq!(Mixture::new(&[0.05, 0.95]).unwrap().counts(far), [far / 20, far / 20 * 19]);
    assert_eq!(Mixture::new(&[0.1, 0.2, 0.7]).unwrap().counts(far), [far / 10, far / 5, far / 10 * 7]);
    assert_eq!(Share::of(0.0).unwrap().count(far), 0);
    assert_eq!(Share::of(1.0).unwrap().count(far), far);
    assert_eq!(Share::of(5e-324).map(|share| share.count(far)), None, "too far from 1 to divide exactly");
    for weights in [&[][..], &[0.0, 1.0], &[-1.0, 2.0], &[f64::NAN], &[f64::INFINITY, 1.0], &[1.0, 1e-30]] {
        assert!(Mixture::new(weights).is_none(), "{weights:?}");
    }
}
