//! Models and tokenizers in and out.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Folder, says_all, tensor_range};

/// A folder with a Hugging Face directory `hf`, exported from a run of one update, and a recipe that begins from it.
fn with_directory() -> Folder {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "first", "--max-steps", "1"]);
    folder.ok(&["export", "first", "--out", "hf"]);
    folder.write(
        "from.toml",
        "init.from = \"hf\"\ndata = { seq_len = 32, train.old.path = \"old.jsonl\" }\nbatch.sequences = 2\nlr.peak = 1e-3\n\
         run.horizon = \"2 steps\"\n",
    );
    folder
}

fn change(folder: &Folder, name: &str, change: impl FnOnce(&mut Value)) {
    let mut value = folder.json(name);
    change(&mut value);
    folder.write(name, value.to_string());
}

/// Overwrites the first value of a tensor.
fn set_weight(folder: &Folder, file: &str, tensor: &str, value: f32) {
    let mut bytes = folder.read(file);
    let start = tensor_range(&bytes, tensor).start;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    folder.write(file, bytes);
}

/// F2: without a class that takes tokenizer.json as it is, `AutoTokenizer` comes to other ids and adds tokens behind the vocabulary.
/// `golden/export_check.py` shows it with transformers; these are the files that it needs.
#[test]
fn an_export_names_class_and_tokens() {
    let folder = with_directory();
    let settings = folder.json("hf/tokenizer_config.json");
    assert_eq!(settings["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(settings["model_max_length"], 32);
    for token in ["bos_token", "eos_token", "pad_token"] {
        assert_eq!(settings[token], "<|endoftext|>", "{token}");
        assert_eq!(folder.json("hf/special_tokens_map.json")[token], "<|endoftext|>", "{token}");
    }
    assert_eq!(settings["unk_token"], Value::Null);
    let generation = json!({ "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0 });
    assert_eq!(folder.json("hf/generation_config.json"), generation);
    // A checkpoint is such a directory too.
    for name in ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "tokenizer.json"] {
        assert_eq!(folder.read(&Folder::checkpoint("first", 1, name)), folder.read(&format!("hf/{name}")), "{name}");
    }
}

/// F2: the tokens are those of the tokenizer, whatever they are called, and their ids those of the model.
#[test]
fn tokens_of_other_names() {
    let folder = Folder::new();
    let words: Vec<&str> = "[PAD] [UNK] the of and to in light river stone house people </s>".split(' ').collect();
    let vocab: Value = words.iter().enumerate().map(|(id, word)| (word.to_string(), json!(id))).collect();
    let added = [0, 1, 12].map(|id| {
        json!({ "id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    });
    let tokenizer = json!({ "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": { "type": "Lowercase" }, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null,
        "decoder": null, "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" } });
    folder.write("words.json", tokenizer.to_string());
    let set = "data.tokenizer=\"words.json\"";
    folder.ok(&["train", "tiny.toml", "--set", set, "--out", "run", "--max-steps", "1"]);
    folder.ok(&["export", "run", "--out", "out"]);
    let settings = folder.json("out/tokenizer_config.json");
    let named =
        ["eos_token", "pad_token", "unk_token", "tokenizer_class"].map(|key| settings[key].as_str().unwrap_or("none"));
    assert_eq!(named, ["</s>", "[PAD]", "[UNK]", "PreTrainedTokenizerFast"]);
    assert_eq!(folder.json("out/generation_config.json")["pad_token_id"], 0);
    for ids in [folder.json("out/generation_config.json"), folder.json("out/config.json")] {
        assert_eq!((&ids["eos_token_id"], &ids["bos_token_id"]), (&json!(12), &json!(12)));
    }
}

/// F2: what lay beside a tokenizer outlives training, branches and the directory itself.
#[test]
fn what_lies_beside_a_tokenizer_survives() {
    let folder = with_directory();
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}\n";
    folder.write("hf/chat_template.jinja", template);
    folder.write("hf/merges.txt", "#version: 0.2\n");
    folder.write("hf/generation_config.json", r#"{"eos_token_id": [0, 7], "temperature": 0.7}"#);
    let settings = json!({ "tokenizer_class": "GPTNeoXTokenizer", "pad_token": "<|nowhere|>", "eos_token": "<|endoftext|>",
        "auto_map": { "AutoTokenizer": ["a.B", null] }, "our_own": [1, 2], "model_max_length": 2048 });
    folder.write("hf/tokenizer_config.json", settings.to_string());
    change(&folder, "hf/config.json", |config| config["bos_token_id"] = json!(5));
    let first = folder.temper(&["train", "from.toml", "--out", "run"]);
    assert_eq!(first.code, 0, "{}", first.err);
    says_all(
        &first.err,
        &["GPTNeoXTokenizer is now PreTrainedTokenizerFast", "<|nowhere|> is now <|endoftext|>", "auto_map"],
    );
    fs::remove_dir_all(folder.path("hf")).expect("it is there");
    folder.ok(&["branch", "run", "next.toml", "--out", "next", "--max-steps", "1"]);
    folder.ok(&["resume", "next"]);
    for (run, out) in [("run", "a"), ("next", "b")] {
        let exported = folder.temper(&["export", run, "--out", out]);
        assert_eq!(exported.code, 0, "{}", exported.err);
        assert!(!exported.err.contains("warning"), "all is settled at the start: {}", exported.err);
        let file = |name: &str| folder.json(&format!("{out}/{name}"));
        assert_eq!(String::from_utf8_lossy(&folder.read(&format!("{out}/chat_template.jinja"))), template);
        assert_eq!(folder.read(&format!("{out}/merges.txt")), b"#version: 0.2\n");
        assert_eq!(file("generation_config.json"), json!({ "eos_token_id": [0, 7], "temperature": 0.7 }));
        let settings = file("tokenizer_config.json");
        assert_eq!((&settings["our_own"], &settings["model_max_length"]), (&json!([1, 2]), &json!(2048)));
        assert_eq!((&settings["pad_token"], &settings["auto_map"]), (&json!("<|endoftext|>"), &Value::Null));
        assert_eq!(settings["tokenizer_class"], "PreTrainedTokenizerFast");
        assert_eq!(
            (&file("config.json")["bos_token_id"], &file("config.json")["eos_token_id"]),
            (&json!(5), &json!(0))
        );
    }
}

/// F2: a run of an older version has nothing beside tokenizer.json; its export has all of it.
#[test]
fn runs_without_files_beside_the_tokenizer() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "run", "--max-steps", "1"]);
    let names = ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json"];
    change(&folder, &Folder::checkpoint("run", 1, "DONE"), |done| {
        let files = done["files"].as_object_mut().expect("an object");
        assert!(names.iter().all(|name| files.remove(*name).is_some()));
    });
    for name in names {
        fs::remove_file(folder.path(&Folder::checkpoint("run", 1, name))).expect("it is there");
    }
    folder.ok(&["export", "run", "--out", "out"]);
    assert_eq!(folder.json("out/tokenizer_config.json")["eos_token"], "<|endoftext|>");
}

/// Found by a fuzz target: a generation_config.json that does not say where generation ends, as many do not, ended Temper by a panic.
#[test]
fn a_generation_config_that_says_no_end() {
    let folder = with_directory();
    let generation = json!({ "temperature": 0.7 });
    folder.write("hf/generation_config.json", generation.to_string());
    folder.ok(&["train", "from.toml", "--out", "run", "--max-steps", "1"]);
    folder.ok(&["export", "run", "--out", "out"]);
    assert_eq!(folder.json("out/generation_config.json"), generation);
}

/// A damaged file beside the tokenizer is named.
#[test]
fn a_damaged_file_beside_the_tokenizer() {
    let folder = with_directory();
    folder.write("hf/tokenizer_config.json", "{");
    folder.fails(&["train", "from.toml", "--out", "run"], 2, &["tokenizer_config.json", "repair or remove"]);
}

/// F1: tied by config.json, two tables by the file: both are kept, through training and export, and the user is told.
#[test]
fn two_tables_where_config_json_says_one() {
    let folder = with_directory();
    set_weight(&folder, "hf/model.safetensors", "embed_out.weight", 3.0);
    let eval = ["eval", "hf", "--data", "t=old.jsonl", "--seq-len", "32", "--json"];
    let apart = folder.ok(&eval);
    change(&folder, "hf/config.json", |config| config["tie_word_embeddings"] = json!(true));
    let tied = folder.temper(&eval);
    assert_eq!((tied.code, &tied.out), (0, &apart), "{}", tied.err);
    says_all(&tied.err, &["warning", "hf/config.json", "embed_out.weight", "tie_word_embeddings"]);
    says_all(&folder.temper(&["plan", "from.toml"]).err, &["warning", "embed_out.weight"]);

    let trained = folder.temper(&["train", "from.toml", "--out", "run"]);
    assert_eq!(trained.code, 0, "{}", trained.err);
    says_all(&trained.err, &["warning", "embed_out.weight"]);
    folder.ok(&["branch", "run", "next.toml", "--out", "next", "--max-steps", "1"]);
    for (model, out) in [("hf", "a"), ("run", "b"), ("next", "c")] {
        folder.ok(&["export", model, "--out", out]);
        assert_eq!(folder.json(&format!("{out}/config.json"))["tie_word_embeddings"], false, "{model}");
        assert!(!tensor_range(&folder.read(&format!("{out}/model.safetensors")), "embed_out.weight").is_empty());
    }
    let first = tensor_range(&folder.read("a/model.safetensors"), "embed_out.weight").start;
    assert_eq!(folder.read("a/model.safetensors")[first..first + 4], 3.0f32.to_le_bytes());
}

/// F14: a weight beyond the range of f16 is no infinity in a file.
#[test]
fn weights_beyond_the_range_of_f16() {
    let folder = with_directory();
    let name = "gpt_neox.embed_in.weight";
    set_weight(&folder, "hf/model.safetensors", name, 70000.0);
    let says = [name, "entry 0 is 70000", "65504", "1 of 131072", "--dtype bf16"];
    folder.fails(&["export", "hf", "--out", "half", "--dtype", "f16"], 2, &says);
    assert!(!folder.path("half").exists());
    folder.ok(&["export", "hf", "--out", "half", "--dtype", "bf16"]);
    folder.ok(&["eval", "half", "--data", "t=old.jsonl", "--seq-len", "32"]);
}

/// What a type is too coarse for near zero is counted.
#[test]
fn weights_too_small_for_f16() {
    let folder = with_directory();
    set_weight(&folder, "hf/model.safetensors", "gpt_neox.embed_in.weight", 1e-9);
    let done = folder.temper(&["export", "hf", "--out", "half", "--dtype", "f16"]);
    assert_eq!(done.code, 0, "{}", done.err);
    says_all(&done.err, &["float16: ", "weights become 0", "keep fewer digits"]);
    let whole = folder.temper(&["export", "hf", "--out", "whole", "--dtype", "f32"]);
    assert!(!whole.err.contains("weights become 0"), "{}", whole.err);
}
