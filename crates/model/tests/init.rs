//! Fresh weights: which tensor gets which standard deviation, and that values depend on nothing but
//! seed, name and index.

use std::collections::BTreeMap;

use burn::tensor::Device;
use temper_model::config::{GptNeoxConfig, Preset};
use temper_model::init::{Init, normal};
use temper_model::{GptNeox, Parameter, Parameters};

/// 2 layers of width 64, 300 rows.
fn small() -> GptNeoxConfig {
    let pythia = Preset::find("pythia-14m").unwrap().config();
    GptNeoxConfig { layers: 2, d_model: 64, d_ff: 256, vocab_size: 300, ..pythia }
}

fn weights(config: GptNeoxConfig, init: Init, seed: u64) -> BTreeMap<String, Vec<f32>> {
    let mut weights = BTreeMap::new();
    GptNeox::new(config, init, seed, &Device::flex()).visit(&mut |name, values| {
        assert_eq!(matches!(values, Parameter::Vector(_)), name.ends_with("bias") || name.contains("norm"), "{name}");
        weights.insert(name.to_string(), values.to_vec());
    });
    weights
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    (mean, (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// small-init and wang-init, in numbers worked out for Pythia 410M.
#[test]
fn standard_deviations_of_pythia_410m() {
    let config = Preset::find("pythia-410m").unwrap().config();
    for (name, expected) in [
        ("gpt_neox.embed_in.weight", 0.01976),
        ("gpt_neox.layers.7.attention.query_key_value.weight", 0.01976),
        ("gpt_neox.layers.7.attention.dense.weight", 0.002604),
        ("gpt_neox.layers.7.mlp.dense_h_to_4h.weight", 0.01976),
        ("gpt_neox.layers.7.mlp.dense_4h_to_h.weight", 0.002604),
        ("embed_out.weight", 0.01976),
    ] {
        let std = Init::SmallWang.std(name, &config);
        assert!((std / expected - 1.0).abs() < 5e-4, "{name}: {std}, expected {expected}");
        assert_eq!(Init::Normal { std: 0.02 }.std(name, &config), 0.02);
    }
}

#[test]
fn every_tensor_has_its_distribution() {
    // sqrt(2 / (5 * 64)) and 2 / (2 * sqrt(64))
    let (inner, residual) = (0.079_056_94, 0.125);
    for (init, inner, residual) in [(Init::SmallWang, inner, residual), (Init::Normal { std: 0.02 }, 0.02, 0.02)] {
        let weights = weights(small(), init, 1);
        assert_eq!(weights.len(), 2 * 12 + 4);
        for (name, values) in weights {
            if name.ends_with("bias") {
                assert!(values.iter().all(|v| v.to_bits() == 0), "{name}");
            } else if name.contains("norm") {
                assert!(values.iter().all(|v| *v == 1.0), "{name}");
            } else {
                let writes_residual =
                    name.ends_with("attention.dense.weight") || name.ends_with("dense_4h_to_h.weight");
                let expected = if writes_residual { residual } else { inner };
                let (mean, std) = moments(&values);
                let n = values.len() as f64;
                // Five standard errors of a normal sample of this size.
                assert!(mean.abs() < 5.0 * expected / n.sqrt(), "{name}: mean {mean}");
                assert!((std / expected - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{name}: {std}, expected {expected}");
            }
        }
    }
}

/// Mean, spread, tails and independence of neighbours, over a million values.
#[test]
fn values_are_normal() {
    let values = normal(3, "w", 2.0, 1_000_000);
    let (mean, std) = moments(&values);
    assert!(mean.abs() < 0.01 && (std - 2.0).abs() < 0.008, "{mean} {std}");
    let beyond = |k: f32| values.iter().filter(|v| v.abs() > 2.0 * k).count() as f64 / 1e6;
    for (k, expected) in [(1.0, 0.317_311), (2.0, 0.045_500), (3.0, 0.002_700), (4.0, 0.000_063)] {
        let spread = (expected / 1e6f64).sqrt();
        assert!((beyond(k) - expected).abs() < 5.0 * spread, "beyond {k} sigma: {}", beyond(k));
    }
    for lag in [1, 2, 3] {
        let products = values.iter().zip(&values[lag..]).map(|(a, b)| f64::from(a * b) / 4.0);
        let correlation = products.sum::<f64>() / 1e6;
        assert!(correlation.abs() < 0.005, "lag {lag}: {correlation}");
    }
    let positive = values.iter().filter(|v| **v > 0.0).count() as f64 / 1e6;
    assert!((positive - 0.5).abs() < 0.0025, "{positive}");
}

/// A seed means the same weights in every version: numbers from an independent program (SplitMix64
/// over FNV-1a of the name, then Box and Muller, in double precision).
#[test]
fn a_seed_keeps_its_meaning() {
    #[rustfmt::skip]
    let known = [
        (1, "gpt_neox.embed_in.weight", 1.0,
         [-0.885_643_646_020_271_7, -0.387_058_406_627_269_4, -3.706_047_694_111_185_3, -0.222_706_203_023_581_5, -0.552_654_950_062_281_8]),
        (1234, "embed_out.weight", 0.02,
         [5.797_771_313_436_910_7e-5, -0.014_663_023_715_366_838, 0.031_242_756_194_122_933, -0.011_518_906_332_885_858, 0.027_918_599_802_867_792]),
    ];
    for (seed, name, std, expected) in known {
        for (found, expected) in normal(seed, name, std, 5).into_iter().zip(expected) {
            assert!(
                (f64::from(found) - expected).abs() <= 1e-7 * expected.abs(),
                "{name}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn values_depend_on_seed_name_and_index_only() {
    let model = |seed| weights(small(), Init::SmallWang, seed);
    let (a, b, other) = (model(1), model(1), model(2));
    let mut matrices: Vec<Vec<u32>> = Vec::new();
    for (name, values) in &a {
        assert_eq!(bits(values), bits(&b[name]), "{name}");
        if name.ends_with("weight") && !name.contains("norm") {
            let same = values.iter().zip(&other[name]).filter(|(x, y)| x == y).count();
            assert!(same < 10, "{name}: {same} values equal under another seed");
            matrices.push(bits(&values[..64]));
        }
    }
    let count = matrices.len();
    matrices.sort();
    matrices.dedup();
    assert_eq!((count, matrices.len()), (2 * 4 + 2, 2 * 4 + 2), "tensors of one model differ");
    // A deeper, wider model, under another order of visits, keeps a tensor's stream (`std` apart).
    let init = Init::Normal { std: 0.02 };
    let (few, many) =
        (weights(small(), init, 1), weights(GptNeoxConfig { layers: 3, vocab_size: 400, ..small() }, init, 1));
    for (name, values) in few {
        assert_eq!(bits(&values), bits(&many[&name][..values.len()]), "{name}");
    }
    // Odd lengths, and lengths around the pieces that threads take.
    let long = normal(1, "w", 1.0, 100_001);
    for len in [0, 1, 7, 16_383, 16_384, 16_385, 100_000] {
        assert_eq!(bits(&normal(1, "w", 1.0, len)), bits(&long[..len]), "{len}");
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(bits(&pool.install(|| normal(1, "w", 1.0, 100_001))), bits(&long), "{threads} threads");
    }
}

#[test]
fn a_tied_model_has_no_second_table() {
    let tied = weights(GptNeoxConfig { tie_embeddings: true, ..small() }, Init::SmallWang, 1);
    assert!(!tied.contains_key("embed_out.weight"));
    assert_eq!(tied.values().map(Vec::len).sum::<usize>(), 300 * 64 + small().non_embedding_parameters() as usize);
}
