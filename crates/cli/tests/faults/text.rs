//! Text, tokenizers and token files.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Folder, says_all};

/// Prepares `input` with the tokenizer of the demo; standard error.
fn prepare(folder: &Folder, input: &str, more: &[&str]) -> String {
    let out = format!("out-{}", input.replace('/', "-"));
    let args = [&["data", "prepare", input, "--tokenizer", "builtin:demo", "--out", &out], more].concat();
    let done = folder.temper(&args);
    assert_eq!(done.code, 0, "{args:?}: {}", done.err);
    done.err
}

fn refuses(folder: &Folder, input: &str, more: &[&str], says: &[&str]) {
    let args = [&["data", "prepare", input, "--tokenizer", "builtin:demo", "--out", "refused"], more].concat();
    folder.fails(&args, 2, says);
    assert!(!folder.path("refused").exists(), "{input} left something behind");
}

/// F4: the document index was not merged.
#[test]
fn a_pair_joined_without_its_documents() {
    let folder = Folder::new();
    let documents: Vec<&[u16]> = [&[5, 6, 7, 0][..], &[8, 9, 0], &[10, 11, 12, 13, 0]].repeat(20);
    let pair = |name: &str, index: &[i64]| {
        let bin: Vec<u8> = documents.concat().iter().flat_map(|id| id.to_le_bytes()).collect();
        let mut idx = b"MMIDIDX\0\0".to_vec();
        idx.extend(1u64.to_le_bytes());
        idx.push(8);
        idx.extend((documents.len() as u64).to_le_bytes());
        idx.extend((index.len() as u64).to_le_bytes());
        idx.extend(documents.iter().flat_map(|document| (document.len() as i32).to_le_bytes()));
        let mut at = 0i64;
        for document in &documents {
            idx.extend(at.to_le_bytes());
            at += 2 * document.len() as i64;
        }
        idx.extend(index.iter().flat_map(|start| start.to_le_bytes()));
        folder.write(&format!("{name}.bin"), bin);
        folder.write(&format!("{name}.idx"), idx);
    };
    for (name, index) in [("none", &[0][..]), ("part", &[0, 1, 2])] {
        pair(name, index);
        let done = folder.temper(&["data", "info", &format!("{name}.idx")]);
        assert_eq!(done.code, 0, "{}", done.err);
        says_all(&done.err, &["warning: its document index covers", "of 60 sequences", "hint: "]);
        says_all(&done.out, &["documents   60", "tokens      240"]);
        let done = folder.temper(&[
            "train",
            "tiny.toml",
            "--out",
            &format!("run-{name}"),
            "--max-steps",
            "1",
            "--set",
            &format!("data.train.old.path={name}.idx"),
            "--set",
            "data.validation.v.path=old.jsonl",
        ]);
        assert_eq!(done.code, 0, "{}", done.err);
        says_all(&done.err, &["warning: old: ", "its document index covers"]);
    }
    // Other damage stays an error.
    pair("past", &[0, 70]);
    folder.fails(&["data", "info", "past.idx"], 2, &["document 1 starts at sequence 70 of 60", "hint: "]);
}

/// F6: in every reader of text, with and without a mark.
#[test]
fn utf16_is_named() {
    let folder = Folder::new();
    let text = "the river went over stone\n".repeat(50);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&[0xff, 0xfe][..], &utf16].concat();
    for (kind, bytes, convert) in [("plain", &utf16, "iconv -f UTF-16LE"), ("marked", &marked, "iconv -f UTF-16 ")] {
        for extension in ["txt", "jsonl"] {
            folder.write(&format!("{kind}.{extension}"), bytes);
            folder.write(&format!("{kind}.{extension}.zst"), zstd::encode_all(&bytes[..], 1).unwrap());
            for name in [format!("{kind}.{extension}"), format!("{kind}.{extension}.zst")] {
                refuses(&folder, &name, &[], &[&name, "UTF-16", convert, "-t UTF-8"]);
            }
        }
    }
    folder.fails(&["data", "train-tokenizer", "plain.txt", "--vocab-size", "300", "--out", "t.json"], 2, &["UTF-16"]);
}

/// F11, A1, A10: one option, and its older name.
#[test]
fn bad_lines() {
    let folder = Folder::new();
    let good = r#"{"score": NaN, "text": "the river"}"#.to_owned() + "\n";
    let bad = "{\"text\": \"cut \\ud83d\"}\n{\"text\": null}\n";
    folder.write("bad.jsonl", good.repeat(5) + bad);
    let said = prepare(&folder, "bad.jsonl", &[]);
    says_all(
        &said,
        &[
            "left out 1 line: half of a surrogate pair in the text (first: bad.jsonl:6)",
            "left out 1 line: the text is null (first: bad.jsonl:7)",
            "hint: --bad-lines error",
        ],
    );
    for option in ["--bad-lines", "--invalid-utf8"] {
        refuses(&folder, "bad.jsonl", &[option, "error"], &["bad.jsonl:6: the text under `text` holds half of a"]);
    }
    let train = |set: &str| {
        let path = "data.train.old.path=bad.jsonl";
        folder.temper(&["train", "tiny.toml", "--out", "run", "--max-steps", "1", "--set", path, "--set", set])
    };
    for key in ["data.bad_lines", "data.invalid_utf8"] {
        let done = train(&format!("{key}=error"));
        assert_eq!(done.code, 2, "{}", done.err);
        says_all(&done.err, &["bad.jsonl:6"]);
    }
    folder.write("nested.jsonl", "{\"data\": {\"text\": \"inside\"}}\n".repeat(3));
    refuses(&folder, "nested.jsonl", &[], &["no key `text`", "keys here are: data.text"]);
    let args = ["data", "prepare", "nested.jsonl", "--tokenizer", "builtin:demo", "--out", "o", "--text-key", "data"];
    let said = folder.fails(&args, 2, &["a string under `data`", "3 of the 3 lines", "keys here are: data.text"]);
    assert!(!said.contains("skipped"), "they are already: {said}");
    prepare(&folder, "nested.jsonl", &["--text-key", "data.text"]);
}

/// A run of the version before has `data.invalid_utf8` in its resolved recipe.
#[test]
fn an_old_resolved_recipe_is_read() {
    let folder = Folder::new();
    folder.ok(&["train", "tiny.toml", "--out", "run", "--max-steps", "2"]);
    let resolved = String::from_utf8(folder.read("run/resolved.toml")).unwrap();
    assert!(resolved.contains("bad_lines"), "{resolved}");
    folder.write("run/resolved.toml", resolved.replace("bad_lines", "invalid_utf8"));
    folder.ok(&["eval", "run"]);
    folder.ok(&["branch", "run", "next.toml", "--out", "next", "--max-steps", "1"]);
}

/// The demo's tokenizer as JSON, its end-of-document token under another name.
fn renamed(folder: &Folder, name: &str) -> Value {
    folder.ok(&["data", "train-tokenizer", "old.jsonl", "--vocab-size", "300", "--out", "base.json"]);
    let text = String::from_utf8(folder.read("base.json")).unwrap();
    fs::remove_file(folder.path("base.json")).unwrap();
    serde_json::from_str(&text.replace("<|endoftext|>", name)).unwrap()
}

/// F7: any token can end a document, and what config.json says is heard.
#[test]
fn the_end_of_document_can_be_chosen() {
    let folder = Folder::new();
    let mut tokenizer = renamed(&folder, "<|end_of_text|>");
    folder.write("eot.json", tokenizer.to_string());
    let args = |out: &'static str| ["data", "prepare", "old.jsonl", "--tokenizer", "eot.json", "--out", out];
    folder.fails(&args("o"), 2, &["no end-of-document token", "--eod TOKEN", "data.eod", "`<|end_of_text|>`"]);
    folder.ok(&[&args("o")[..], &["--eod", "<|end_of_text|>"]].concat());
    folder.fails(&[&args("p")[..], &["--eod", "<nothing>"]].concat(), 2, &["no token `<nothing>` in it"]);
    let run = ["train", "tiny.toml", "--out", "run", "--max-steps", "1", "--set", "data.tokenizer=eot.json"];
    folder.fails(&run, 2, &["data.eod"]);
    folder.ok(&[&run[..], &["--set", "data.eod=<|end_of_text|>"]].concat());
    folder.ok(&["eval", "run", "--data", "new=new.jsonl"]);
    folder.ok(&["branch", "run", "next.toml", "--out", "next", "--max-steps", "1"]);

    // What lies beside it chooses, and a difference is told.
    let special = |id: u64, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    tokenizer["added_tokens"] = json!([special(0, "<|end_of_text|>"), special(300, "</s>")]);
    fs::create_dir(folder.path("hf")).unwrap();
    folder.write("hf/tokenizer.json", tokenizer.to_string());
    let prepare = |out: &str| {
        let done = folder.temper(&["data", "prepare", "old.jsonl", "--tokenizer", "hf/tokenizer.json", "--out", out]);
        assert_eq!(done.code, 0, "{}", done.err);
        let facts = folder.ok(&["data", "info", &format!("{out}/train.tokens"), "--json"]);
        (serde_json::from_str::<Value>(&facts).unwrap()["vocabulary"]["eod"].clone(), done.err)
    };
    assert_eq!(prepare("plain").0, 300);
    folder.write("hf/config.json", r#"{"eos_token_id": 0}"#);
    let (eod, said) = prepare("config");
    assert_eq!(eod, 0);
    assert!(!said.contains("ends a document"), "{said}");
    // A config that was never set (transformers' default is 2) names no special token.
    folder.write("hf/config.json", r#"{"eos_token_id": 2}"#);
    folder.write("hf/tokenizer_config.json", r#"{"eos_token": {"content": "<|end_of_text|>"}}"#);
    let (eod, said) = prepare("settings");
    assert_eq!(eod, 0);
    says_all(&said, &["`<|end_of_text|>` ends a document, but config.json says eos_token_id 2"]);
}

/// F9: characters that a tokenizer drops or replaces are counted, and no bits per byte are given.
#[test]
fn what_a_tokenizer_cannot_spell() {
    let folder = Folder::new();
    let end = json!({"id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true});
    let mut vocab = json!({"<|endoftext|>": 0, "<unk>": 1});
    for (i, char) in "abcdefghijklmnopqrstuvwxyz0123456789. ".chars().enumerate() {
        vocab[char.to_string()] = (i + 2).into();
    }
    let tokenizer = |unknown: Value| {
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [end], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {"type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []}})
    };
    folder.write("drops.json", tokenizer(Value::Null).to_string());
    folder.write("replaces.json", tokenizer("<unk>".into()).to_string());
    folder.write("greek.jsonl", json!({"text": "one river, ο ποταμός "}).to_string() + "\n");
    for kind in ["drops", "replaces"] {
        let tokenizer = format!("{kind}.json");
        let args = |input, out| {
            ["data", "prepare", input, "--tokenizer", &tokenizer, "--out", out, "--validation-fraction", "0"]
        };
        let out = format!("greek-{kind}");
        let done = folder.temper(&args("greek.jsonl", &out));
        assert_eq!(done.code, 0, "{}", done.err);
        // The comma, and eight letters of Greek.
        says_all(&done.err, &["warning: ", "cannot spell 9 characters"]);
        let facts = folder.ok(&["data", "info", &format!("{out}/train.tokens"), "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&facts).unwrap()["lost_characters"], 9);
        let done = folder.temper(&args("old.jsonl", &format!("old-{kind}")));
        assert!(done.code == 0 && !done.err.contains("cannot spell"), "{}", done.err);
    }
    let set = ["--set", "data.tokenizer=drops.json"];
    folder.ok(&[&["train", "tiny.toml", "--out", "run", "--max-steps", "1"], &set[..]].concat());
    let sets = |data: &str| {
        let text = folder.ok(&["eval", "run", "--json", "--data", data]);
        serde_json::from_str::<Value>(&text).unwrap()["sets"]["x"].clone()
    };
    assert!(sets("x=old.jsonl")["bits_per_byte"].is_number());
    let lost = sets("x=greek.jsonl");
    assert!(lost["loss"].is_number() && lost.get("bits_per_byte").is_none(), "{lost}");
}

/// R8, R17: bounds on ids and on the size of a vocabulary.
#[test]
fn vocabularies_are_bounded() {
    let folder = Folder::new();
    let mut tokenizer = renamed(&folder, "<|endoftext|>");
    tokenizer["added_tokens"][0]["id"] = (1 << 20).into();
    folder.write("large.json", tokenizer.to_string());
    let args = ["data", "prepare", "old.jsonl", "--tokenizer", "large.json", "--out", "o"];
    folder.fails(&args, 2, &["large.json", "1048576", "ids from 0 to 1048575"]);
    folder.write("cut.json", &tokenizer.to_string()[..100]);
    folder.fails(
        &["data", "prepare", "old.jsonl", "--tokenizer", "cut.json", "--out", "o"],
        2,
        &["cut.json: not JSON"],
    );
    let args = ["data", "train-tokenizer", "old.jsonl", "--vocab-size", "1048577", "--out", "t.json"];
    folder.fails(&args, 2, &["1048577"]);
}

/// A2, F19: what a folder holds beside its texts is told.
#[test]
fn folders_of_text() {
    let folder = Folder::new();
    fs::create_dir(folder.path("mix")).unwrap();
    folder.write("mix/a.jsonl", folder.read("old.jsonl"));
    folder.write("mix/b.jsonl.xz", "x");
    folder.write("mix/c.parquet", "x");
    folder.write("mix/dataset_info.json", "{\n}");
    folder.write("mix/robots.txt", "User-agent: *");
    folder.write("mix/.hidden.txt", "x");
    let said = prepare(&folder, "mix", &[]);
    says_all(
        &said,
        &[
            "passed over 2 files of other formats: 1 .jsonl.xz, 1 .parquet",
            "dataset_info.json",
            "robots.txt",
            "passed over 1 hidden file: mix/.hidden.txt",
        ],
    );
    folder.write("mix/own.json", "{\n}");
    refuses(&folder, "mix", &[], &["own.json:1", "probably not data", "mix/*.jsonl"]);
    refuses(&folder, "mix/c.parquet", &[], &["read_parquet"]);
    refuses(&folder, "allenai/c4", &[], &["load_dataset"]);
}

/// A text that is named twice is read once, on the command line and in recipes: else what is held out is trained on too.
#[test]
fn a_text_that_is_named_twice() {
    let folder = Folder::new();
    fs::create_dir(folder.path("e2")).unwrap();
    folder.write("e2/a.jsonl", folder.read("old.jsonl"));
    let args = |inputs: &[&'static str], out| {
        [&["data", "prepare"], inputs, &["--tokenizer", "builtin:demo", "--out", out]].concat()
    };
    folder.ok(&args(&["e2"], "once"));
    for (out, inputs) in
        [("twice", ["e2", "e2"]), ("inside", ["e2/a.jsonl", "e2"]), ("pattern", ["./e2", "e2/*.jsonl"])]
    {
        let done = folder.temper(&args(&inputs, out));
        assert_eq!(done.code, 0, "{}", done.err);
        says_all(&done.err, &["warning: read once only, a file that was found more than once: ", "a.jsonl", "hint: "]);
        for file in ["train.tokens", "validation.tokens"] {
            assert!(folder.read(&format!("{out}/{file}")) == folder.read(&format!("once/{file}")), "{out}/{file}");
        }
    }
    let run = |out: &str, paths: &str| {
        let set = format!("data.train.old.path={paths}");
        let done = folder.temper(&["train", "tiny.toml", "--out", out, "--max-steps", "1", "--set", &set]);
        assert_eq!(done.code, 0, "{}", done.err);
        (folder.read(&format!("{out}/data/old/train.tokens")), done.err)
    };
    let (once, said) = run("run-once", "[\"e2\"]");
    assert!(!said.contains("more than once"), "{said}");
    let (twice, said) = run("run-twice", "[\"e2\", \"e2/*.jsonl\", \"old.jsonl\", \"old.jsonl\"]");
    says_all(&said, &["read once only, files that were found more than once: e2/a.jsonl, old.jsonl"]);
    // `old.jsonl` has the same content, but is another file.
    assert!(twice.len() > once.len() * 3 / 2 && twice.len() < once.len() * 5 / 2, "{} {}", once.len(), twice.len());
}

/// A set that is judged by and trained on is told, as text and as tokens.
#[test]
fn a_validation_set_that_is_trained_on() {
    let folder = Folder::new();
    prepare(&folder, "old.jsonl", &["--validation-fraction", "0"]);
    let run = |out: &str, train: &str, validation: &str| {
        let sets = [format!("data.train.old.path={train}"), format!("data.validation.v.path={validation}")];
        let args = ["train", "tiny.toml", "--out", out, "--max-steps", "1", "--set", &sets[0], "--set", &sets[1]];
        let done = folder.temper(&args);
        assert_eq!(done.code, 0, "{}", done.err);
        done.err
    };
    let says = "warning: v: this validation set is trained on too: ";
    for (i, (train, validation)) in
        [("old.jsonl", "./[no][el][dw].jsonl"), ("out-old.jsonl", "out-old.jsonl/train.tokens")].into_iter().enumerate()
    {
        says_all(&run(&format!("same-{i}"), train, validation), &[says, "hint: its loss says"]);
    }
    let said = run("other", "out-old.jsonl", "new.jsonl");
    assert!(!said.contains(says), "{said}");
}

/// R2: half of a corpus is not trained on.
#[test]
fn half_a_corpus_is_none() {
    let folder = Folder::new();
    prepare(&folder, "old.jsonl", &["--validation-fraction", "0.1"]);
    fs::rename(folder.path("out-old.jsonl"), folder.path("half")).unwrap();
    fs::remove_file(folder.path("half/train.tokens")).unwrap();
    let args = ["train", "tiny.toml", "--out", "run", "--set", "data.train.old.path=half"];
    folder.fails(&args, 2, &["half: it holds validation.tokens without train.tokens", "hint: "]);
    // The reverse order, which was possible, is ruled out by the order of the names; few held out are told.
    let said = prepare(&folder, "new.jsonl", &[]);
    says_all(&said, &["held out for validation", "hint: hold out more"]);
}
