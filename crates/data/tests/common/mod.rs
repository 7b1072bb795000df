//! What several tests need: random numbers, awkward text, the files of this repository, small tokenizers.
#![allow(dead_code)] // no test needs all of it

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use temper_base::Problem;
use temper_data::{Documents, Input, ReadOptions, Tokenizer};

/// SplitMix64, written out: the tests' randomness must not be that of the code they test.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The tokenizer of the demo.
pub fn small_tokenizer() -> Tokenizer {
    Tokenizer::from_file(&repository("assets/tokenizer.json"), None).unwrap()
}

pub fn tokenizer_of(json: &Value) -> Tokenizer {
    Tokenizer::from_bytes(json.to_string().as_bytes(), "test", None).unwrap()
}

/// The demo's tokenizer as JSON, to be changed by a test.
pub fn small_json() -> Value {
    serde_json::from_slice(&std::fs::read(repository("assets/tokenizer.json")).unwrap()).unwrap()
}

/// An entry of `added_tokens`.
pub fn added(id: u32, content: &str, normalized: bool, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": normalized, "special": special})
}

/// A tokenizer built as GPT-NeoX-20B's is: NFC, byte level, two special tokens, runs of 24 down to 2 spaces.
pub fn neox_like() -> Value {
    let mut json = small_json();
    let first = json["model"]["vocab"].as_object().unwrap().len() as u32;
    let mut tokens = vec![added(0, "<|endoftext|>", false, true), added(first, "<|padding|>", false, true)];
    for (id, spaces) in (first + 1..).zip((2..=24).rev()) {
        tokens.push(added(id, &" ".repeat(spaces), true, false));
    }
    json["added_tokens"] = tokens.into();
    json["normalizer"] = json!({"type": "NFC"});
    json
}

/// All documents of some files.
pub fn documents(paths: &[&str]) -> Vec<String> {
    let inputs: Vec<Input> = paths.iter().map(|p| Input::from(repository(p))).collect();
    Documents::open(&inputs, &ReadOptions::default()).unwrap().map(|d| d.unwrap().text).collect()
}

/// Everything a person sees of an error.
pub fn shown(problem: &Problem) -> String {
    format!("{problem}\nhint: {}", problem.hint.as_deref().unwrap_or("NONE"))
}

/// Asserts that an error names all of `parts`, and has a hint.
#[track_caller]
pub fn names<T>(result: Result<T, Problem>, parts: &[&str]) -> Problem {
    let problem = result.err().expect("an error");
    let text = shown(&problem);
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert!(problem.hint.is_some(), "no hint: {text}");
    problem
}

/// Names in a folder, sorted.
pub fn entries(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Characters by kind, for awkward text.
const KINDS: &[&[&str]] = &[
    &["a", "e", "s", "t", "Z", "the", "and", "Gesetz", "hello", "World", "q", "ß", "é", "ÄÖÜ"],
    &["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'lL", "'", "''", "’s", "'r", "'v", "'l"],
    &["0", "7", "42", "1999", "²", "½", "Ⅷ", "٣", "९", "〇", "𝟘", "①", "๓", "৪"],
    &[" ", "  ", "   ", "\n", "\r\n", "\t", "\n\n", " \n", "\u{b}", "\u{c}", "\r", "\u{85}", "\u{a0}", "\u{1680}"],
    &[
        "\u{2000}", "\u{2001}", "\u{2002}", "\u{2007}", "\u{200a}", "\u{2028}", "\u{2029}", "\u{202f}", "\u{205f}",
        "\u{3000}",
    ],
    // Not white space, though they look it.
    &["\u{200b}", "\u{200c}", "\u{200d}", "\u{2060}", "\u{feff}", "\u{180e}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{1f}"],
    &["\0", "\u{1}", "\u{8}", "\u{1b}", "\u{7f}", "\u{80}", "\u{9f}", "\u{ad}", "\u{fffd}", "\u{ffff}", "\u{10ffff}"],
    &[
        "!", "?", ".", ",", "…", "—", "--", "\"", "„", "(", ")]", "{", "/*", "==", "§", "§§", "€", "™", "#", "_", "~",
        "^",
    ],
    // Marks: combining on what precedes them, in and out of canonical order, and precomposed.
    &["\u{301}", "\u{300}", "\u{308}", "\u{323}", "\u{327}", "\u{307}", "\u{345}", "\u{93c}", "\u{3099}", "\u{20dd}"],
    &[
        "e\u{301}",
        "a\u{323}\u{307}",
        "a\u{307}\u{323}",
        "o\u{302}\u{301}",
        "A\u{30a}",
        "n\u{303}",
        "s\u{323}\u{307}",
        " \u{301}",
    ],
    // Others that NFC changes: singletons, excluded compositions, jamo, compatibility ideographs.
    &[
        "\u{212b}", "\u{2126}", "\u{212a}", "\u{340}", "\u{344}", "\u{37e}", "\u{387}", "\u{958}", "\u{fb1d}",
        "\u{f900}",
    ],
    &[
        "\u{2f800}",
        "\u{1100}",
        "\u{1161}",
        "\u{11a8}",
        "\u{ac00}",
        "각",
        "\u{1d15e}",
        "\u{1f71}",
        "\u{2adc}",
        "\u{1112e}",
        "\u{1109a}\u{110ba}",
    ],
    &[
        "日",
        "本語",
        "中文",
        "カ",
        "が",
        "か\u{3099}",
        "ｶﾞ",
        "ไทย",
        "한국어",
        "Привет",
        "й",
        "и\u{306}",
        "שלום",
        "مرحبا",
        "हिन्दी",
        "Ωμέγα",
        "𝒜",
        "𐐷",
    ],
    &["🙂", "👨\u{200d}👩\u{200d}👧", "🇩🇪", "👍🏽", "❤\u{fe0f}", "1\u{fe0f}\u{20e3}", "🏴\u{e0067}\u{e007f}"],
    &["<|endoftext|>", "<|padding|>", "<|endoftext|", "|endoftext|>", "<|", "<", "|>", "<|endof text|>"],
];

/// A random text of up to `atoms` pieces out of every corner of Unicode.
pub fn awkward(rng: &mut Rng, atoms: usize) -> String {
    let mut text = String::new();
    // A text keeps to a few kinds, or mixes them all.
    let few: Vec<usize> = (0..1 + rng.below(4)).map(|_| rng.below(KINDS.len())).collect();
    let mixed = rng.below(3) == 0;
    for _ in 0..rng.below(atoms + 1) {
        let kind = if mixed { rng.below(KINDS.len()) } else { rng.pick(&few) };
        match rng.below(40) {
            0 => text.push_str(&" ".repeat(rng.below(60))),
            1 => text.push_str(&"\n".repeat(rng.below(6))),
            2 => text.push(char::from_u32(rng.below(0x11_0000) as u32).unwrap_or('\u{d7ff}')),
            3 => text.push(char::from_u32(rng.below(0x3000) as u32).unwrap()),
            4 => text.push_str(&rng.pick(KINDS[kind]).repeat(2 + rng.below(20))),
            _ => text.push_str(rng.pick(KINDS[kind])),
        }
    }
    text
}
