//! The ids are those of the `tokenizers` crate and of Python's `tokenizers`, whatever the text and the tokenizer.

mod common;

use std::collections::HashSet;

use common::*;
use rayon::prelude::*;
use serde_json::{Value, json};
use temper_data::text::words;
use temper_data::{Document, Tokenizer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// Both roads agree, and pieces encoded one by one give the ids of the whole.
#[track_caller]
fn check(tokenizer: &Tokenizer, text: &str) {
    let (fast, plain) = (tokenizer.encode(text).unwrap(), tokenizer.encode_plainly(text).unwrap());
    assert!(fast == plain, "{text:?}\n fast {fast:?}\nplain {plain:?}");
    for size in [1, 7] {
        let pieces: Vec<&str> = tokenizer.pieces(text, size).collect();
        assert_eq!(pieces.concat(), text);
        let joined: Vec<u32> = pieces.iter().flat_map(|piece| tokenizer.encode(piece).unwrap()).collect();
        assert!(joined == plain, "in pieces {pieces:?}\njoined {joined:?}\n plain {plain:?}");
    }
}

fn fuzz(tokenizer: &Tokenizer, seed: u64, texts: usize) {
    let mut rng = Rng(seed);
    for _ in 0..texts {
        check(tokenizer, &awkward(&mut rng, 30));
    }
}

/// Python's tokenizers, golden/tokenizer_ids.py.
#[test]
fn golden_ids() {
    let golden = std::fs::read(repository("golden/tokenizer_ids.json")).unwrap();
    let golden: Vec<Value> = serde_json::from_slice(&golden).unwrap();
    let tokenizer = small_tokenizer();
    assert!(golden.len() > 40);
    for row in &golden {
        let text = row["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.encode_plainly(text).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        check(&tokenizer, text);
    }
}

/// Numbers of tokens from Python's tokenizers (assets/SOURCES.md), and a part of the documents id by id.
#[test]
fn demo_texts() {
    let tokenizer = small_tokenizer();
    for (path, bytes, tokens) in
        [("assets/web.jsonl.zst", 4_877_753, 1_380_196), ("assets/law.jsonl.zst", 4_850_106, 1_345_050)]
    {
        let texts = documents(&[path]);
        assert_eq!(texts.iter().map(String::len).sum::<usize>(), bytes);
        let ids: Vec<Vec<u32>> = texts.par_iter().map(|text| tokenizer.encode(text).unwrap()).collect();
        assert_eq!(ids.iter().map(Vec::len).sum::<usize>(), tokens);
        texts.par_iter().zip(&ids).skip(3).step_by(10).for_each(|(text, ids)| {
            assert!(*ids == tokenizer.encode_plainly(text).unwrap(), "{path}: {text}");
            assert!(tokenizer.decode(ids).unwrap() == *text, "{path}: {text}");
        });
    }
}

#[test]
fn any_text() {
    fuzz(&small_tokenizer(), 1, 6000);
}

#[test]
fn any_text_with_nfc_and_runs_of_spaces() {
    fuzz(&tokenizer_of(&neox_like()), 2, 6000);
    // The same without the runs of spaces, so that texts are cut into pieces.
    let mut json = neox_like();
    json["added_tokens"].as_array_mut().unwrap().truncate(2);
    fuzz(&tokenizer_of(&json), 3, 3000);
}

#[test]
fn runs_of_spaces_by_hand() {
    let tokenizer = tokenizer_of(&neox_like());
    let first = 4096;
    let spaces = |n: u32| first + 1 + (24 - n);
    assert_eq!(tokenizer.encode(&" ".repeat(24)).unwrap(), [spaces(24)]);
    assert_eq!(tokenizer.encode(&" ".repeat(50)).unwrap(), [spaces(24), spaces(24), spaces(2)]);
    assert_eq!(tokenizer.encode("   <|padding|>  ").unwrap(), [spaces(3), first, spaces(2)]);
    // NFC comes after the special tokens are found and before the runs of spaces are.
    assert_eq!(tokenizer.encode("e\u{301}  ").unwrap(), tokenizer.encode("\u{e9}  ").unwrap());
    assert_eq!(tokenizer.encode("\u{2000}\u{2000}").unwrap(), tokenizer.encode("\u{2002}\u{2002}").unwrap());
    assert_ne!(small_tokenizer().encode("e\u{301}").unwrap(), small_tokenizer().encode("\u{e9}").unwrap());
}

/// Every code point that means anything, between letters: classes and normalisation, none left out.
#[test]
fn every_character() {
    let with_nfc = tokenizer_of(&neox_like());
    let without = small_tokenizer();
    let points: Vec<u32> = (0..0x32_400).chain(0xe_0000..0xe_0200).collect();
    points.par_chunks(512).for_each(|chunk| {
        let mut text = String::new();
        for c in chunk.iter().filter_map(|&c| char::from_u32(c)) {
            text.extend(['a', c, '1', ' ', c]);
        }
        let split: Vec<&str> = words::words(&text).collect();
        assert!(split == library_words(&text), "{:x}..: {split:?}", chunk[0]);
        for tokenizer in [&with_nfc, &without] {
            let (fast, plain) = (tokenizer.encode(&text).unwrap(), tokenizer.encode_plainly(&text).unwrap());
            assert!(fast == plain, "{:x}..: {text:?}", chunk[0]);
        }
    });
}

/// What the crate's own regular expression splits a text into.
fn library_words(text: &str) -> Vec<&str> {
    let mut split = PreTokenizedString::from(text);
    ByteLevel::new(false, true, true).pre_tokenize(&mut split).unwrap();
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits.iter().map(|(_, (start, end), _)| &text[*start..*end]).collect()
}

/// Ids show a wrong split only where merges would cross it; the words themselves always do.
#[test]
fn words_are_those_of_the_pattern() {
    let mut rng = Rng(4);
    for _ in 0..20_000 {
        let text = awkward(&mut rng, 12);
        let split: Vec<&str> = words::words(&text).collect();
        assert_eq!(split, library_words(&text), "{text:?}");
        for size in [0, 1, 5, 30] {
            let cut: Vec<&str> = words::pieces(&text, size).collect();
            assert_eq!(cut.concat(), text);
            assert_eq!(cut.iter().flat_map(|piece| words::words(piece)).collect::<Vec<_>>(), split, "{cut:?}");
        }
    }
    let pieces: Vec<&str> = words::pieces("ab cd  ef gh ij", 3).collect();
    assert_eq!(pieces, ["ab cd", "  ef", " gh ij"]);
}

/// A tokenizer the fast road knows but for one thing, which it must notice.
#[test]
fn near_relatives() {
    let changed = |path: &str, value: Value| {
        let mut json = small_json();
        *json.pointer_mut(path).unwrap() = value;
        json
    };
    let byte_level = |prefix: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex});
    let llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let split = json!({"type": "Split", "pattern": {"Regex": llama3}, "behavior": "Isolated", "invert": false});
    let end = |key: &str, normalized: bool| {
        let mut token = added(0, "<|endoftext|>", normalized, true);
        token[key] = true.into();
        json!([token])
    };
    let three = |contents: [&str; 3], normalized: bool| {
        let mut tokens = vec![added(0, "<|endoftext|>", false, true)];
        tokens.extend((4096..).zip(contents).map(|(id, content)| added(id, content, normalized, false)));
        Value::from(tokens)
    };
    let cases = [
        ("prefix space", changed("/pre_tokenizer", byte_level(true, true))),
        ("no pattern", changed("/pre_tokenizer", byte_level(false, false))),
        (
            "another pattern",
            changed("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": [split, byte_level(false, false)]})),
        ),
        (
            "digits apart",
            changed(
                "/pre_tokenizer",
                json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level(false, true)]}),
            ),
        ),
        ("no pre-tokenizer", changed("/pre_tokenizer", Value::Null)),
        ("NFKC", changed("/normalizer", json!({"type": "NFKC"}))),
        ("NFD", changed("/normalizer", json!({"type": "NFD"}))),
        (
            "lower case",
            changed(
                "/normalizer",
                json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}),
            ),
        ),
        ("single word", changed("/added_tokens", end("single_word", false))),
        ("strip left", changed("/added_tokens", end("lstrip", false))),
        ("strip right", changed("/added_tokens", end("rstrip", true))),
        // Longest first, overlapping, part of one another, reaching over white space.
        ("added letters", changed("/added_tokens", three(["the", "th", "hello"], false))),
        ("added after normalisation", changed("/added_tokens", three(["the", " \n", "'s"], true))),
        ("added with blanks", changed("/added_tokens", three(["a the", "e  ", "\n\nZ"], false))),
        ("ignore merges", changed("/model/ignore_merges", true.into())),
        ("end of word", changed("/model/end_of_word_suffix", "t".into())),
        ("prefix of the rest", {
            let mut json = changed("/model/continuing_subword_prefix", "Ġ".into());
            json["model"]["merges"] = json!([["t", "Ġh"], ["th", "Ġe"], ["Ġ", "Ġa"]]);
            json
        }),
        ("unknown", {
            let mut json = changed("/model/unk_token", "<|endoftext|>".into());
            for byte in ["s", "Ã", "Ġ"] {
                json["model"]["vocab"].as_object_mut().unwrap().remove(byte);
            }
            json["model"]["merges"] = json!([["t", "h"], ["th", "e"]]);
            json["model"]["fuse_unk"] = true.into();
            json
        }),
    ];
    let mut ids = HashSet::new();
    for (name, json) in cases {
        let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes(), name, None);
        let tokenizer = tokenizer.unwrap_or_else(|problem| panic!("{name}: {}", shown(&problem)));
        fuzz(&tokenizer, 5, 250);
        let text = "Hello the  hello's <|endoftext|> 12345 a the \u{c5}e  \n\nZ";
        check(&tokenizer, text);
        ids.insert(tokenizer.encode(text).unwrap());
    }
    assert!(ids.len() > 10, "the cases hardly differ: {}", ids.len());
}

/// Kinds of tokenizer that only the crate can do, with ids known by hand.
#[test]
fn other_kinds() {
    let word_piece = tokenizer_of(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(4, "</s>", false, true)],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {"[UNK]": 0, "hell": 1, "##o": 2, "world": 3, "</s>": 4}}}));
    assert_eq!(word_piece.encode("Hello world</s>moon").unwrap(), [1, 2, 3, 4, 0]);
    assert_eq!(word_piece.eod(), 4);

    let unigram = tokenizer_of(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(1, "</s>", false, true)], "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                  "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["\u{2581}", -3.0], ["a", -1.0], ["b", -1.0], ["\u{2581}ab", -2.0], ["ab", -9.0]]}}));
    assert_eq!(unigram.encode("ab bab</s>x").unwrap(), [5, 2, 4, 3, 4, 1, 2, 0]);

    // As Llama 2: no pre-tokenizer, blanks written as U+2581, bytes for what is not in the vocabulary.
    let mut vocab =
        json!({"<unk>": 0, "</s>": 1, "\u{2581}": 2, "a": 3, "b": 4, "ab": 5, "\u{2581}ab": 6, "b\u{2581}": 7});
    for byte in 0..256 {
        vocab[format!("<{byte:#04X}>")] = (8 + byte).into();
    }
    let merges = json!([["b", "\u{2581}"], ["a", "b"], ["\u{2581}", "ab"]]);
    let llama = tokenizer_of(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(1, "</s>", false, true)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"},
                       {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]},
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": merges}}));
    // Whole: "_ab_ab" merges "b_" over the blank. In pieces it could not.
    assert_eq!(llama.encode("ab ab").unwrap(), [2, 3, 7, 5]);
    assert_eq!(llama.encode("\u{e9}").unwrap(), [2, 8 + 0xc3, 8 + 0xa9]);

    let word_level = tokenizer_of(&json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(1, "</s>", false, true)], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "</s>": 1, "ab": 2, "\u{120}ab": 3, "'s": 4}}}));
    assert_eq!(word_level.encode("ab ab's </s>c").unwrap(), [2, 3, 4, 0, 1, 0]);

    for (seed, tokenizer) in [word_piece, unigram, llama, word_level].iter().enumerate() {
        let mut rng = Rng(seed as u64);
        for _ in 0..200 {
            let text = awkward(&mut rng, 30) + "ab hell </s> ab";
            check(tokenizer, &text);
        }
    }
}

#[test]
fn many_words_do_not_confuse_the_cache() {
    // More words than the cache holds, so that it starts afresh; then the first ones again.
    let tokenizer = small_tokenizer();
    let text: String = (0..300_000).map(|i| format!(" {i:x}")).collect();
    let again: String = (0..1000).map(|i| format!(" {i:x}")).collect();
    let first = tokenizer.encode(&again).unwrap();
    tokenizer.encode(&text).unwrap();
    assert_eq!(tokenizer.encode(&again).unwrap(), first);
    assert_eq!(first, tokenizer.encode_plainly(&again).unwrap());
    // Words too long to be remembered.
    let long = format!("{} {} {}", "x".repeat(49), "x".repeat(48), "word".repeat(5000));
    check(&tokenizer, &long);
}

#[test]
fn what_a_file_says_and_what_it_lacks() {
    let tokenizer = small_tokenizer();
    assert_eq!((tokenizer.vocab_size(), tokenizer.eod()), (4096, 0));
    assert_eq!(tokenizer.token(0).unwrap(), "<|endoftext|>");
    assert_eq!(tokenizer.token(4096), None);
    assert_eq!(tokenizer.to_json(), std::fs::read(repository("assets/tokenizer.json")).unwrap());

    let read = |json: &Value, eod: Option<&str>| Tokenizer::from_bytes(json.to_string().as_bytes(), "t.json", eod);
    assert_eq!(read(&neox_like(), Some("<|padding|>")).unwrap().eod(), 4096);
    assert_eq!(read(&neox_like(), None).unwrap().vocab_size(), 4096 + 24);
    names(read(&small_json(), Some("<eod>")), &["read tokenizer: t.json", "<eod>"]);
    names(Tokenizer::from_bytes(b"{}", "t.json", None), &["t.json", "tokenizer.json"]);
    names(Tokenizer::from_bytes(b"", "t.json", None), &["t.json"]);
    names(Tokenizer::from_file(&repository("no/such.json"), None), &["no/such.json"]);
    let mut dropout = small_json();
    dropout["model"]["dropout"] = 0.1.into();
    names(read(&dropout, None), &["dropout"]);
    // Neither cuts nor fills up what is counted.
    let mut limited = small_json();
    limited["truncation"] = json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
    limited["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    limited["post_processor"] = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}}});
    let limited = read(&limited, None).unwrap();
    let text = "one two three four five six seven";
    check(&limited, text);
    assert_eq!(limited.encode(text).unwrap(), tokenizer.encode(text).unwrap());
}

#[test]
fn fingerprint_is_of_what_decides_ids() {
    let base = small_tokenizer().fingerprint().to_string();
    assert_eq!(base.len(), 64);
    // The file's form does not matter: merges as strings, keys in another order, no blanks between.
    let mut spelled = small_json();
    let merges = spelled["model"]["merges"].as_array().unwrap().iter();
    let merges: Vec<String> =
        merges.map(|m| format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap())).collect();
    spelled["model"]["merges"] = merges.into();
    spelled["decoder"] = Value::Null;
    assert_eq!(tokenizer_of(&spelled).fingerprint(), base);
    for (path, neutral) in
        [("continuing_subword_prefix", json!("")), ("end_of_word_suffix", json!("")), ("dropout", json!(0.0))]
    {
        let mut json = small_json();
        json["model"][path] = neutral;
        assert_eq!(tokenizer_of(&json).fingerprint(), base, "{path}");
    }

    let mut seen = HashSet::from([base]);
    let mut differs = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut json = small_json();
        change(&mut json);
        let tokenizer =
            Tokenizer::from_bytes(json.to_string().as_bytes(), name, None).unwrap_or_else(|p| panic!("{}", shown(&p)));
        assert!(seen.insert(tokenizer.fingerprint().to_string()), "{name}");
    };
    differs("an added token", &|j| j["added_tokens"].as_array_mut().unwrap().push(added(4096, "<x>", false, true)));
    differs("two ids exchanged", &|j| {
        let vocab = j["model"]["vocab"].as_object_mut().unwrap();
        let (a, b) = (vocab["a"].clone(), vocab["b"].clone());
        (vocab["a"], vocab["b"]) = (b, a);
    });
    differs("merges in another order", &|j| j["model"]["merges"].as_array_mut().unwrap().swap(7, 8));
    differs("a merge less", &|j| drop(j["model"]["merges"].as_array_mut().unwrap().pop()));
    differs("normaliser", &|j| j["normalizer"] = json!({"type": "NFC"}));
    differs("pre-tokenizer", &|j| j["pre_tokenizer"]["add_prefix_space"] = true.into());
    differs("ignore merges", &|j| j["model"]["ignore_merges"] = true.into());
    differs("byte fallback", &|j| j["model"]["byte_fallback"] = true.into());
    differs("unknown token", &|j| j["model"]["unk_token"] = "<|endoftext|>".into());
    differs("end of word", &|j| j["model"]["end_of_word_suffix"] = "t".into());

    // The scores of a Unigram decide its ids.
    let unigram = |score: f64| {
        tokenizer_of(
            &json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": null,
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                      "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["a", -1.0], ["aa", score]]}}),
        )
    };
    let (likely, unlikely) = (unigram(-1.0), unigram(-9.0));
    assert_ne!(likely.encode("aa").unwrap(), unlikely.encode("aa").unwrap());
    assert_ne!(likely.fingerprint(), unlikely.fingerprint());
}

fn train(texts: &[&str], size: usize) -> Tokenizer {
    let documents = texts.iter().map(|text| Ok(Document { text: text.to_string() }));
    Tokenizer::train_bpe(documents.collect::<Vec<_>>().into_iter(), size).unwrap()
}

#[test]
fn trained_by_hand() {
    // Words and how often: "aab" 4, " aab" 3, "b" 1. Pairs: aa 7, ab 7: the tie goes to the lower ids, aa.
    // Then (aa)b 7. Then " "(aab) 3. Then nothing is left.
    let tokenizer = train(&["aab aab\n", "aab aab", "aab aab", "aab", "b"], 300);
    assert_eq!(tokenizer.vocab_size(), 260);
    assert_eq!((257..260).map(|id| tokenizer.token(id).unwrap()).collect::<Vec<_>>(), ["aa", "aab", "\u{120}aab"]);
    assert_eq!(tokenizer.encode(" aab<|endoftext|>aabaa").unwrap(), [259, 0, 258, 257]);
    // Every byte has a token of its own, right behind the end of text: even those no UTF-8 has.
    let bytes: HashSet<String> = (1..257).map(|id| tokenizer.token(id).unwrap()).collect();
    assert_eq!(bytes, words::byte_chars().iter().map(char::to_string).collect());
    let mut rng = Rng(6);
    for _ in 0..300 {
        let text = awkward(&mut rng, 30);
        assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text);
    }
    let limited = train(&["aab aab\n", "aab aab", "aab aab", "aab", "b"], 258);
    assert_eq!((limited.vocab_size(), limited.token(257).unwrap().as_str()), (258, "aa"));
}

/// assets/tokenizer.json was trained by Python's tokenizers on these texts.
#[test]
fn trained_as_python_does() {
    let texts = documents(&["assets/web.jsonl.zst", "assets/law.jsonl.zst"]);
    let documents = texts.into_iter().map(|text| Ok(Document { text }));
    let trained = Tokenizer::train_bpe(documents, 4096).unwrap();
    assert_eq!(trained.fingerprint(), small_tokenizer().fingerprint());
}

#[test]
fn training_is_the_same_with_any_number_of_threads() {
    let texts = documents(&["assets/law.jsonl.zst"]);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let documents = texts[..60].iter().map(|text| Ok(Document { text: text.clone() })).collect::<Vec<_>>();
        pool.install(|| Tokenizer::train_bpe(documents.into_iter(), 1500)).unwrap()
    };
    let one = run(1);
    assert_eq!(one.vocab_size(), 1500);
    for threads in [1, 2, 3] {
        assert!(run(threads).to_json() == one.to_json(), "{threads} threads");
    }
    // A file of the usual form, which the crate reads by itself to the same ids.
    let json: Value = serde_json::from_slice(one.to_json()).unwrap();
    assert_eq!(json["version"], "1.0");
    assert_eq!(json["model"]["type"], "BPE");
    assert_eq!(json["pre_tokenizer"]["type"], "ByteLevel");
    assert_eq!(json["pre_tokenizer"]["add_prefix_space"], false);
    assert_eq!(json["decoder"]["type"], "ByteLevel");
    let library = tokenizers::Tokenizer::from_bytes(one.to_json()).unwrap();
    for text in &texts[60..70] {
        let encoding = library.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(encoding.get_ids(), one.encode(text).unwrap());
        assert_eq!(library.decode(encoding.get_ids(), false).unwrap(), *text);
    }
}

#[test]
fn training_refuses() {
    let of = |texts: Vec<&'static str>| texts.into_iter().map(|text| Ok(Document { text: text.to_string() }));
    names(Tokenizer::train_bpe(of(vec!["abc"]), 256), &["256", "257"]);
    let empty = Tokenizer::train_bpe(of(vec![]), 300).err().unwrap();
    assert!(shown(&empty).contains("the corpus is empty"), "{}", shown(&empty));
    // An error while reading ends the training and is the one reported.
    let bad = || Err(temper_base::Problem::input("read documents", "x.jsonl:7", "not JSON").hint("h"));
    let documents = vec![Ok(Document { text: "abc abc".into() }), bad(), Ok(Document { text: "abc".into() })];
    names(Tokenizer::train_bpe(documents.into_iter(), 300), &["x.jsonl:7", "not JSON"]);
}
