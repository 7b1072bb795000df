//! Token ids from text: a Hugging Face `tokenizer.json`, or a byte-level BPE trained here.
//!
//! The `tokenizers` crate (pinned) does the work. For byte-level BPE (GPT-2, GPT-NeoX, all of Pythia, our own) a faster
//! way gives the same ids: [`super::words`] splits the text, and each distinct word is looked up; only for new words the crate
//! is called. Any other tokenizer uses the crate alone.
//!
//! No special tokens are added: documents are joined by [`Tokenizer::eod`] in `prepare`. As everywhere in the field, a
//! special token spelled out in a text becomes that token.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use serde_json::Value;
use temper_base::hash::{Digest, Sha256, finished};
use temper_base::{Problem, Result};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Model, NormalizedString, Normalizer, Trainer};

use super::documents::{Document, Note};
use super::source::Vocabulary;
pub use super::tokenizer_file::END_OF_TEXT;
use super::tokenizer_file::{Beside, MOST_IDS, checked, end_of_document, guarded};
use super::words;

const READ: &str = "read tokenizer";
const TRAIN: &str = "train tokenizer";

/// A tokenizer, ready for use from many threads.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    vocabulary: Vocabulary,
    fast: Option<Fast>,
    /// How ids are held against their text; `None` where every text is spelled.
    spelling: Option<Spelling>,
    notes: Vec<Note>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. `eod` names the end-of-document token; `None` takes what `config.json` or
    /// `tokenizer_config.json` beside it say, or else `<|endoftext|>`, or else `</s>`.
    ///
    /// # Errors
    /// If the file cannot be read, is not a tokenizer that the `tokenizers` crate reads, draws its merges at random, or has no token
    /// that ends a document.
    pub fn from_file(path: &Path, eod: Option<&str>) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| {
            Problem::io(READ, path, &e).hint("the path of a `tokenizer.json` of Hugging Face tokenizers is expected")
        })?;
        Self::build(&bytes, &path.display().to_string(), eod, &Beside::read(path))
    }

    /// The same from bytes; `place` is what errors call them.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file), but for reading the file.
    pub fn from_bytes(bytes: &[u8], place: &str, eod: Option<&str>) -> Result<Self> {
        Self::build(bytes, place, eod, &Beside::default())
    }

    fn build(bytes: &[u8], place: &str, eod: Option<&str>, beside: &Beside) -> Result<Self> {
        checked(bytes, READ, place)?;
        guarded(READ, place, || Self::read(bytes, place, eod, beside))?
    }

    fn read(bytes: &[u8], place: &str, eod: Option<&str>, beside: &Beside) -> Result<Self> {
        let unreadable = |e: tokenizers::Error| {
            Problem::input(READ, place, e).hint("a `tokenizer.json` of Hugging Face tokenizers is expected")
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(unreadable)?;
        // Both would silently change what is counted.
        inner.with_truncation(None).map_err(unreadable)?;
        inner.with_padding(None);
        let json = inner.to_string(false).map_err(unreadable)?;
        let json: Value = serde_json::from_str(&json).map_err(|e| Problem::input(READ, place, e))?;
        if json["model"]["dropout"].as_f64().unwrap_or(0.0) > 0.0 {
            return Err(Problem::input(
                READ,
                place,
                "BPE dropout is set: the same text would not give the same tokens",
            )
            .hint("set `dropout` to null in the file"));
        }
        let vocab = inner.get_vocab(true);
        let Some(size) = vocab.values().max().map(|&id| u64::from(id) + 1) else {
            return Err(Problem::input(READ, place, "the vocabulary is empty"));
        };
        let (eod, notes) = end_of_document(eod, beside, &vocab, &json)
            .map_err(|(why, hint)| Problem::input(READ, place, why).hint(hint))?;
        let vocabulary = Vocabulary { size, fingerprint: fingerprint(&vocab, &json), eod };
        let fast = Fast::new(&json);
        let spelling = Spelling::new(&json, &vocab);
        Ok(Self { inner, json: bytes.to_vec(), vocabulary, fast, spelling, notes })
    }

    /// The `tokenizer.json` this was read from, byte for byte.
    pub fn to_json(&self) -> &[u8] {
        &self.json
    }

    /// Size, fingerprint and end-of-document token.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Number of ids, added tokens included (the largest id plus one).
    pub fn vocab_size(&self) -> u64 {
        self.vocabulary.size
    }

    /// What should be known about the choice of the end-of-document token.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The token that ends a document.
    pub fn eod(&self) -> u32 {
        self.vocabulary.eod
    }

    /// Sha256, in hex, of all that decides the ids of a text.
    pub fn fingerprint(&self) -> &str {
        &self.vocabulary.fingerprint
    }

    /// The ids of a text, no special token added.
    ///
    /// # Errors
    /// If the tokenizer cannot spell the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.fast {
            Some(fast) => {
                let mut ids = Vec::with_capacity(text.len() / 3);
                fast.encode(&self.inner, text, &mut ids)?;
                Ok(ids)
            }
            None => self.encode_plainly(text),
        }
    }

    /// The same by the `tokenizers` crate alone: slower, and what [`Tokenizer::encode`] is tested against.
    ///
    /// # Errors
    /// If the tokenizer cannot spell the text.
    pub fn encode_plainly(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = guarded("tokenise", "text", || self.inner.encode_fast(text, false))?.map_err(|e| refused(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text, and how many of its characters they do not spell: unknown to the vocabulary, and left out by the
    /// model or replaced by its token for what is unknown. Blanks do not count, since many tokenizers drop them.
    ///
    /// # Errors
    /// If the tokenizer cannot spell the text, or cannot decode its own ids.
    pub fn encode_counted(&self, text: &str) -> Result<(Vec<u32>, u64)> {
        let ids = self.encode(text)?;
        let Some(spelling) = &self.spelling else { return Ok((ids, 0)) };
        let known: Vec<u32> = ids.iter().copied().filter(|id| Some(*id) != spelling.unknown).collect();
        let spelled = if spelling.has_decoder {
            self.decode(&known)?
        } else {
            known.iter().filter_map(|id| self.token(*id)).map(|token| spelling.bare(&token).to_owned()).collect()
        };
        Ok((ids, Spelling::count(text).saturating_sub(Spelling::count(&spelled))))
    }

    /// The text of some ids, special tokens written out. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's decoder refuses the ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let decoded = guarded("decode tokens", "tokenizer", || self.inner.decode(ids, false))?;
        decoded.map_err(|e| Problem::input("decode tokens", "tokenizer", e))
    }

    /// The spelling of an id in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Pieces of a text that can be encoded one by one, giving the same ids as the whole; the whole if that cannot be
    /// known of this tokenizer. `size` is the wanted length in bytes.
    pub fn pieces<'t>(&self, text: &'t str, size: usize) -> impl Iterator<Item = &'t str> {
        let size = if self.fast.as_ref().is_some_and(|fast| fast.cuttable) { size } else { usize::MAX };
        words::pieces(text, size)
    }

    /// Trains a byte-level BPE (GPT-2's pattern, no normalisation, `<|endoftext|>` is id 0).
    ///
    /// Deterministic in the texts, whatever the number of threads. A small corpus may end below `vocab_size`.
    ///
    /// # Errors
    /// If the size is below 257 or beyond what a tokenizer may have, there is no text or more than 2 GiB of it, or a document cannot be
    /// read.
    pub fn train_bpe(documents: impl Iterator<Item = Result<Document>> + Send, vocab_size: usize) -> Result<Self> {
        if vocab_size < 257 {
            return Err(Problem::input(TRAIN, "vocabulary size", format_args!("{vocab_size} is too small"))
                .hint("256 bytes and the end-of-document token need 257"));
        }
        if vocab_size as u64 > MOST_IDS {
            return Err(Problem::input(TRAIN, "vocabulary size", format_args!("{vocab_size} is more than {MOST_IDS}"))
                .hint("8192 to 50000 entries are usual"));
        }
        let end = AddedToken::from(END_OF_TEXT, true);
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size)
            .special_tokens(vec![end.clone()])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut bytes = 0;
        let stopped = Mutex::new(None);
        let texts = documents.map_while(|document| {
            let document = document.and_then(|document| {
                bytes += document.text.len() as u64;
                // The trainer counts in 32 bits.
                (bytes <= i32::MAX as u64).then_some(document).ok_or_else(|| {
                    Problem::input(TRAIN, "texts", "more than 2 GiB").hint("a sample of 100 MB is plenty")
                })
            });
            document.map_err(|problem| *stopped.lock().expect("no panic") = Some(problem)).ok()
        });
        let pieces = texts.flat_map(|d| words::pieces(&d.text, 1 << 16).map(str::to_string).collect::<Vec<_>>());
        let chars = words::byte_chars();
        let spell = |word: &str| word.bytes().map(|b| chars[b as usize]).collect::<String>();
        let failed = |e: tokenizers::Error| Problem::input(TRAIN, "texts", e);
        trainer.feed(pieces, |piece| Ok(words::words(piece).map(spell).collect())).map_err(failed)?;
        if let Some(problem) = stopped.into_inner().expect("no panic") {
            return Err(problem);
        }
        if bytes == 0 {
            return Err(Problem::input(TRAIN, "texts", "the corpus is empty"));
        }
        let mut model = BPE::default();
        trainer.train(&mut model).map_err(failed)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevel::new(false, true, true)));
        inner.add_special_tokens([end]).map_err(failed)?;
        Self::from_bytes(inner.to_string(false).map_err(failed)?.as_bytes(), "trained tokenizer", None)
    }
}

/// What holds ids against the text they came from.
struct Spelling {
    /// The id of what the vocabulary does not know.
    unknown: Option<u32>,
    has_decoder: bool,
    /// What stands before and behind parts of words, where no decoder takes it away.
    prefix: String,
    suffix: String,
}

impl Spelling {
    /// `None` if every text is spelled: all bytes are in the vocabulary, and the model comes down to them.
    fn new(json: &Value, vocab: &HashMap<String, u32>) -> Option<Self> {
        let model = &json["model"];
        let byte_level = json["pre_tokenizer"].to_string().contains("\"ByteLevel\"")
            && words::byte_chars().iter().all(|char| vocab.contains_key(char.encode_utf8(&mut [0; 4]) as &str));
        let falls_back =
            model["byte_fallback"] == true && (0..=255).all(|byte| vocab.contains_key(&format!("<0x{byte:02X}>")));
        if model["type"] == "BPE" && byte_level || falls_back {
            return None;
        }
        let by_name = model["unk_token"].as_str().and_then(|name| vocab.get(name).copied());
        let text = |key: &str| model[key].as_str().unwrap_or("").to_owned();
        Some(Self {
            unknown: by_name.or(model["unk_id"].as_u64().map(|id| id as u32)),
            has_decoder: !json["decoder"].is_null(),
            prefix: text("continuing_subword_prefix"),
            suffix: text("end_of_word_suffix"),
        })
    }

    fn bare<'t>(&self, token: &'t str) -> &'t str {
        let token = token.strip_prefix(&*self.prefix).unwrap_or(token);
        token.strip_suffix(&*self.suffix).unwrap_or(token)
    }

    /// Characters but for blanks and the mark that stands for them (U+2581).
    fn count(text: &str) -> u64 {
        text.chars().filter(|char| !char.is_whitespace() && *char != '\u{2581}').count() as u64
    }
}

fn refused(e: &tokenizers::Error) -> Problem {
    Problem::input("tokenise", "text", e).hint("the tokenizer cannot spell this text")
}

/// Sha256 of what decides ids: tokens with their ids, the model and its options, added tokens, normaliser and
/// pre-tokenizer. Not of the file: layout, key order and the spelling of merges (`"a b"` or `["a", "b"]`) do not matter,
/// nor whether an option that is off is written down.
fn fingerprint(vocab: &HashMap<String, u32>, json: &Value) -> String {
    let mut hash = Sha256::new();
    hash.update(b"temper vocabulary 1\n");
    let mut tokens: Vec<_> = vocab.iter().collect();
    tokens.sort();
    for (token, id) in tokens {
        hash.update((token.len() as u64).to_le_bytes());
        hash.update(token);
        hash.update(id.to_le_bytes());
    }
    for part in [
        &json["model"]["type"],
        &json["model"]["merges"],
        &json["added_tokens"],
        &json["normalizer"],
        &json["pre_tokenizer"],
    ] {
        hash.update(b"\n");
        hash.update(sorted(part).to_string());
    }
    let Value::Object(model) = sorted(&json["model"]) else { return finished(hash) };
    for (option, value) in &model {
        let hashed = match option.as_str() {
            "type" | "merges" => true,
            // Refused above zero.
            "dropout" => true,
            // Hashed as tokens with their ids; a Unigram's is a list, with the scores that decide.
            "vocab" => value.is_object(),
            _ => false,
        };
        if !hashed && !value.is_null() && *value != false && *value != "" {
            hash.update(format!("\n{option}="));
            hash.update(value.to_string());
        }
    }
    finished(hash)
}

/// The value with the keys of every object in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// The road for byte-level tokenizers.
struct Fast {
    /// Added tokens found in the text as read, then those found in the normalised text.
    added: [AddedTokens; 2],
    /// Whether the text is normalised to NFC in between.
    nfc: bool,
    /// Whether no added token reaches over a place where [`words::pieces`] cuts.
    cuttable: bool,
    chars: [char; 256],
    /// Caches not in use: one for every thread that encodes.
    caches: Mutex<Vec<Cache>>,
}

/// Ids of words met before.
#[derive(Default)]
struct Cache {
    /// Word -> start and length in `ids`.
    words: HashMap<Box<str>, (u32, u32)>,
    ids: Vec<u32>,
}

/// A cache starts afresh at this many words, some 30 MB.
const CACHED_WORDS: usize = 1 << 18;
/// Longer words are not worth remembering.
const CACHED_BYTES: usize = 48;

impl Fast {
    /// `None` if the tokenizer is not of the kind this can do.
    fn new(json: &Value) -> Option<Self> {
        let pre = &json["pre_tokenizer"];
        let byte_level = pre["type"] == "ByteLevel" && pre["add_prefix_space"] == false && pre["use_regex"] != false;
        let nfc = json["normalizer"]["type"] == "NFC";
        if !byte_level || !(nfc || json["normalizer"].is_null()) {
            return None;
        }
        let mut added = [vec![], vec![]];
        let mut cuttable = true;
        for token in json["added_tokens"].as_array().into_iter().flatten() {
            if ["single_word", "lstrip", "rstrip"].iter().any(|key| token[key] != false) {
                return None;
            }
            let content = token["content"].as_str()?;
            let normalized = token["normalized"].as_bool()?;
            if normalized && nfc && !content.chars().all(is_nfc) {
                return None;
            }
            cuttable &= !has_cut(content);
            added[usize::from(normalized)].push((content.to_string(), token["id"].as_u64()? as u32));
        }
        let added = added.map(AddedTokens::new);
        Some(Self { added, nfc, cuttable, chars: words::byte_chars(), caches: Mutex::default() })
    }

    fn encode(&self, inner: &tokenizers::Tokenizer, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut cache = self.caches.lock().expect("no panic").pop().unwrap_or_default();
        let mut done = Ok(());
        self.added[0].split(text, &mut |raw| match raw {
            Piece::Token(id) => ids.push(id),
            Piece::Text(raw) => {
                let normalised = self.normalise(inner, raw);
                self.added[1].split(normalised.as_deref().unwrap_or(raw), &mut |piece| match piece {
                    Piece::Token(id) => ids.push(id),
                    Piece::Text(text) => {
                        for word in words::words(text) {
                            if done.is_ok() {
                                done = self.word(inner, word, &mut cache, ids);
                            }
                        }
                    }
                });
            }
        });
        self.caches.lock().expect("no panic").push(cache);
        done
    }

    fn word(&self, inner: &tokenizers::Tokenizer, word: &str, cache: &mut Cache, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(&(start, len)) = cache.words.get(word) {
            ids.extend_from_slice(&cache.ids[start as usize..][..len as usize]);
            return Ok(());
        }
        let spelled: String = word.bytes().map(|b| self.chars[b as usize]).collect();
        let tokens = guarded("tokenise", "text", || inner.get_model().tokenize(&spelled))?.map_err(|e| refused(&e))?;
        ids.extend(tokens.iter().map(|t| t.id));
        if word.len() <= CACHED_BYTES {
            if cache.words.len() >= CACHED_WORDS {
                *cache = Cache::default();
            }
            cache.words.insert(word.into(), (cache.ids.len() as u32, tokens.len() as u32));
            cache.ids.extend(tokens.iter().map(|t| t.id));
        }
        Ok(())
    }

    /// The text in NFC, or `None` if it is already. A line end joins with nothing, so lines are looked at one by one.
    fn normalise(&self, inner: &tokenizers::Tokenizer, text: &str) -> Option<String> {
        let normalizer: &NormalizerWrapper = inner.get_normalizer().filter(|_| self.nfc)?;
        if text.chars().all(is_nfc) {
            return None;
        }
        let mut whole = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            if line.chars().all(is_nfc) {
                whole.push_str(line);
            } else {
                let mut normalised = NormalizedString::from(line);
                normalizer.normalize(&mut normalised).ok()?;
                whole.push_str(normalised.get());
            }
        }
        Some(whole)
    }
}

/// Whether white space follows a character that is none.
fn has_cut(text: &str) -> bool {
    text.chars().zip(text.chars().skip(1)).any(|(a, b)| !a.is_whitespace() && b.is_whitespace())
}

/// True only for characters that stand for themselves in NFC and join with none before them: Latin, Cyrillic, Chinese,
/// kana and common punctuation. The others may or may not; they take the slow road.
fn is_nfc(char: char) -> bool {
    matches!(char, '\0'..='\u{2ff}' | '\u{400}'..='\u{482}' | '\u{2010}'..='\u{205e}' | '\u{20a0}'..='\u{20c0}'
        | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{4e00}'..='\u{9fff}')
}

enum Piece<'t> {
    Token(u32),
    Text(&'t str),
}

/// A set of added tokens, found leftmost and longest first.
struct AddedTokens {
    /// By first byte, longest first.
    by_byte: Vec<Vec<(String, u32)>>,
}

impl AddedTokens {
    fn new(mut tokens: Vec<(String, u32)>) -> Self {
        tokens.sort_by_key(|(content, _)| std::cmp::Reverse(content.len()));
        let mut by_byte = vec![vec![]; 256];
        for token in tokens.into_iter().filter(|(content, _)| !content.is_empty()) {
            by_byte[token.0.as_bytes()[0] as usize].push(token);
        }
        Self { by_byte }
    }

    fn split<'t>(&self, text: &'t str, each: &mut impl FnMut(Piece<'t>)) {
        let bytes = text.as_bytes();
        let (mut start, mut at) = (0, 0);
        while at < bytes.len() {
            let next = bytes.get(at + 1);
            let fits = |t: &[u8]| (t.len() == 1 || t.get(1) == next) && bytes[at..].starts_with(t);
            let found = self.by_byte[bytes[at] as usize].iter().find(|(content, _)| fits(content.as_bytes()));
            let Some((content, id)) = found else {
                at += 1;
                continue;
            };
            if start < at {
                each(Piece::Text(&text[start..at]));
            }
            each(Piece::Token(*id));
            at += content.len();
            start = at;
        }
        if start < text.len() {
            each(Piece::Text(&text[start..]));
        }
    }
}
