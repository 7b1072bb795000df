//! The Pythia suite against its published table, and `config.json` in and out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use temper_base::Kind;
use temper_model::GptNeoxConfig;
use temper_model::config::{Gelu, PYTHIA, Preset};

fn pythia(name: &str) -> GptNeoxConfig {
    Preset::find(name).unwrap().config()
}

fn golden(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/gpt_neox").join(name)).unwrap()
}

/// README and training configurations of EleutherAI/pythia; the counts are those of its model cards.
#[test]
fn the_pythia_suite() {
    // name, layers, d, heads, rotary dims, rows, learning rate, non-embedding, total
    #[rustfmt::skip]
    let table = [
        ("14m",   6,  128,  4,  8, 50304, 1e-3,   1_189_888,      14_067_712),
        ("31m",   6,  256,  8,  8, 50304, 1e-3,   4_739_072,      30_494_720),
        ("70m",   6,  512,  8, 16, 50304, 1e-3,   18_915_328,     70_426_624),
        ("160m", 12,  768, 12, 16, 50304, 6e-4,   85_056_000,     162_322_944),
        ("410m", 24, 1024, 16, 16, 50304, 3e-4,   302_311_424,    405_334_016),
        ("1b",   16, 2048,  8, 64, 50304, 3e-4,   805_736_448,    1_011_781_632),
        ("1.4b", 24, 2048, 16, 32, 50304, 2e-4,   1_208_602_624,  1_414_647_808),
        ("2.8b", 32, 2560, 32, 20, 50304, 1.6e-4, 2_517_652_480,  2_775_208_960),
        ("6.9b", 32, 4096, 32, 32, 50432, 1.2e-4, 6_444_163_072,  6_857_302_016),
        ("12b",  36, 5120, 40, 32, 50688, 1.2e-4, 11_327_027_200, 11_846_072_320),
    ];
    assert_eq!(PYTHIA.len(), table.len());
    for (name, layers, d, heads, rotary, rows, lr, inner, total) in table {
        let preset = Preset::find(&format!("pythia-{name}")).unwrap();
        let config = preset.config();
        assert_eq!(
            (config.layers, config.d_model, config.heads, config.vocab_size),
            (layers, d, heads, rows),
            "{name}"
        );
        assert_eq!(config.rotary_dims(), rotary, "{name}");
        assert_eq!((config.non_embedding_parameters(), config.parameters()), (inner, total), "{name}");
        assert_eq!(preset.peak_lr, lr, "{name}");
        assert_eq!(config.faults(), [""; 0], "{name}");
    }
    assert!(Preset::find("pythia-410M").is_none());
}

#[test]
fn a_tied_table_counts_once() {
    let untied = pythia("pythia-70m");
    let tied = GptNeoxConfig { tie_embeddings: true, ..untied.clone() };
    assert_eq!(untied.parameters() - tied.parameters(), 50304 * 512);
    assert_eq!(untied.flops_per_token(2048), tied.flops_per_token(2048), "the product is made either way");
}

/// 6 per weight of a matrix (Kaplan et al. 2020), and for the attention of a sequence of T tokens
/// T(T+1)/2 pairs, 2 products of d multiplications each, 2 operations a multiplication, 3 passes.
#[test]
fn flops_are_six_n_and_attention() {
    let seq = 2048;
    for (name, attention_share) in [("pythia-410m", 0.12), ("pythia-12b", 0.04)] {
        let config = pythia(name);
        let (d, l) = (config.d_model as u64, config.layers as u64);
        // Parameters that are not in a matrix product: the embedding, biases and norms.
        let vectors = l * (3 * d + d + 4 * d + d + 4 * d) + 2 * d;
        let matrices = config.parameters() - config.vocab_size as u64 * d - vectors;
        let attention = 3 * 2 * 2 * d * l * (seq * (seq + 1) / 2);
        let expected = 6 * matrices * seq + attention;
        let flops = config.flops_per_token(seq as usize) * seq as f64;
        assert!((flops / expected as f64 - 1.0).abs() < 1e-12, "{name}: {flops}, expected {expected}");
        let share = attention as f64 / flops;
        assert!((share - attention_share).abs() < 0.01, "{name}: attention is {share} of it");
    }
}

#[test]
fn three_spellings_of_the_rotary_settings() {
    for spelling in ["rotary_pct", "partial_rotary_factor", "rope_parameters"] {
        let config = GptNeoxConfig::from_json(&golden(&format!("formats/config_{spelling}.json")), "x").unwrap();
        assert_eq!((config.rotary_pct, config.rotary_base), (0.5, 5000.0), "{spelling}");
    }
}

#[test]
fn golden_configurations() {
    let read = |name: &str| GptNeoxConfig::from_json(&golden(&format!("{name}/config.json")), "x").unwrap();
    let expected = GptNeoxConfig {
        layers: 3,
        d_model: 24,
        heads: 3,
        d_ff: 96,
        vocab_size: 160,
        max_seq: 64,
        rotary_pct: 0.5,
        rotary_base: 5000.0,
        parallel_residual: true,
        gelu: Gelu::Tanh,
        tie_embeddings: false,
        layer_norm_eps: 1e-5,
        eos_token_id: 0,
        bos_token_id: None,
    };
    assert_eq!(read("c"), expected);
    let b = read("b");
    assert_eq!((b.gelu, b.tie_embeddings, b.parallel_residual), (Gelu::Erf, true, false));
}

/// The file of EleutherAI/pythia-410m, as its authors wrote it.
#[test]
fn a_published_config() {
    let text = r#"{"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu",
        "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 4096, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048, "model_type": "gpt_neox", "num_attention_heads": 16, "num_hidden_layers": 24,
        "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false, "torch_dtype": "float16",
        "transformers_version": "4.24.0", "use_cache": true, "use_parallel_residual": true, "vocab_size": 50304}"#;
    assert_eq!(GptNeoxConfig::from_json(text, "x").unwrap(), pythia("pythia-410m"));
}

#[test]
fn written_and_read_back() {
    let odd = GptNeoxConfig {
        d_ff: 100,
        vocab_size: 4097,
        max_seq: 100,
        rotary_pct: 1.0,
        rotary_base: 5000.0,
        parallel_residual: false,
        gelu: Gelu::Tanh,
        tie_embeddings: true,
        layer_norm_eps: 1e-6,
        eos_token_id: 4096,
        bos_token_id: None,
        ..pythia("pythia-14m")
    };
    for config in PYTHIA.iter().map(Preset::config).chain([odd]) {
        let text = config.to_json("float16");
        assert_eq!(GptNeoxConfig::from_json(&text, "x").unwrap(), config);
        // transformers 5 does not read these two at the top level, older versions not inside.
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.get("rope_theta").or(value.get("partial_rotary_factor")), None);
        assert_eq!(value["rotary_emb_base"], value["rope_parameters"]["rope_theta"]);
        assert_eq!(value["rotary_pct"], value["rope_parameters"]["partial_rotary_factor"]);
        assert_eq!(value["torch_dtype"], "float16");
    }
}

/// `changes` to a sound config.json give an input error whose text holds every one of `expected`.
fn check(changes: Value, expected: &[&str]) {
    let mut value: Value = serde_json::from_str(&golden("formats/config_rotary_pct.json")).unwrap();
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    let problem = GptNeoxConfig::from_json(&value.to_string(), "dir/config.json").expect_err(&changes.to_string());
    assert_eq!(problem.kind, Kind::Input, "{problem}");
    let text = format!("{problem} {}", problem.hint.as_deref().unwrap_or_default());
    for part in expected.iter().chain(&["dir/config.json"]) {
        assert!(text.contains(part), "{changes}: {part:?} is not in: {text}");
    }
}

#[test]
fn configurations_that_cannot_be() {
    check(json!({"model_type": "llama"}), &["llama", "gpt_neox", "Pythia"]);
    check(json!({"model_type": null}), &["(none)"]);
    check(json!({"attention_bias": false}), &["attention_bias"]);
    check(json!({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}), &["yarn"]);
    check(json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), &["linear"]);
    let plain = json!({"rope_type": "default"});
    check(json!({"rope_parameters": plain, "rope_scaling": {"type": "dynamic"}}), &["dynamic"]);
    check(json!({"rotary_pct": 0.4}), &["rotary_pct 0.4", "3 of 8", "odd"]);
    check(json!({"rotary_pct": 1.5}), &["rotary_pct 1.5"]);
    check(json!({"rotary_pct": -0.5}), &["rotary_pct -0.5"]);
    check(json!({"rotary_pct": "0.5"}), &["rotary_pct", "not a number"]);
    check(json!({"rotary_pct": null}), &["rotary_pct", "partial_rotary_factor", "missing"]);
    check(json!({"rotary_emb_base": null}), &["rotary_emb_base", "rope_theta", "missing"]);
    check(json!({"rotary_emb_base": 0}), &["rotary_base 0"]);
    check(json!({"rope_parameters": {"rope_theta": 10000.0}}), &["rotary_emb_base", "twice", "10000", "5000"]);
    check(json!({"partial_rotary_factor": 0.25}), &["rotary_pct", "twice", "0.25", "0.5"]);
    check(json!({"hidden_size": 30}), &["d_model 30", "heads 4"]);
    check(json!({"num_hidden_layers": 0, "vocab_size": 0}), &["layers is 0", "vocab_size is 0"]);
    check(json!({"num_attention_heads": 0}), &["heads is 0"]);
    check(json!({"hidden_size": 0}), &["d_model is 0"]);
    check(json!({"max_position_embeddings": 0}), &["max_seq is 0"]);
    check(json!({"hidden_size": 1_u64 << 60}), &["d_model is 1152921504606846976", "more than"]);
    check(json!({"hidden_size": 32.5}), &["hidden_size is 32.5", "whole"]);
    check(json!({"hidden_size": -32}), &["hidden_size is -32", "whole"]);
    check(json!({"hidden_act": "relu"}), &["relu", "gelu"]);
    check(json!({"use_parallel_residual": "false"}), &["use_parallel_residual", "true or false"]);
    check(json!({"layer_norm_eps": -1.0}), &["layer_norm_eps -1"]);
    check(json!({"eos_token_id": -1}), &["eos_token_id is -1"]);
    for key in ["num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size"] {
        let mut value: Value = serde_json::from_str(&golden("formats/config_rotary_pct.json")).unwrap();
        value.as_object_mut().unwrap().remove(key);
        let problem = GptNeoxConfig::from_json(&value.to_string(), "x").unwrap_err();
        assert_eq!((problem.kind, problem.why.as_str()), (Kind::Input, format!("{key} is missing").as_str()));
    }
    for text in ["", "{", "[]", "null", "\u{feff}{}"] {
        assert_eq!(GptNeoxConfig::from_json(text, "x").unwrap_err().kind, Kind::Input, "{text:?}");
    }
}
