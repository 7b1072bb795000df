//! What is checked of a `tokenizer.json` before the `tokenizers` crate sees it, and which token ends a document.
//!
//! The crate allocates memory for the largest id it finds, and some files make it panic. So Temper first reads the file as plain
//! JSON, compares its ids with [`MOST_IDS`], and turns a panic of the crate into an ordinary error.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;
use temper_base::{Problem, Result};

use super::inputs::Note;

/// Every id of a vocabulary is below this: 2^20, more than any tokenizer in use has.
pub const MOST_IDS: u64 = 1 << 20;
/// The end-of-document token of GPT-2, GPT-NeoX and of tokenizers trained here.
pub const END_OF_TEXT: &str = "<|endoftext|>";

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in foreign code whose panic becomes an error: the panic hook then prints nothing.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs foreign code. A panic in it becomes an error about `place`.
pub(super) fn guarded<T>(what: &'static str, place: &str, work: impl FnOnce() -> T) -> Result<T> {
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| words.to_string()));
        let words: String = words.unwrap_or_else(|| "no message".into()).chars().take(200).collect();
        Problem::input(what, place, format_args!("the `tokenizers` library gave up on it ({words})"))
            .hint("the tokenizer.json is damaged, or uses something that the library does not support: fetch it again")
    })
}

/// The file as plain JSON, its ids and its size within bounds.
pub(super) fn checked(bytes: &[u8], what: &'static str, place: &str) -> Result<Value> {
    let hint = "a `tokenizer.json` of Hugging Face tokenizers is expected";
    let json: Value = serde_json::from_slice(bytes)
        .map_err(|e| Problem::input(what, place, format_args!("not JSON: {e}")).hint(hint))?;
    if !json["model"].is_object() {
        return Err(Problem::input(what, place, "it holds no `model`").hint(hint));
    }
    let too_many = |why: String| {
        Err(Problem::input(what, place, why).hint("the file is damaged, or made for something other than text"))
    };
    let vocab = &json["model"]["vocab"];
    let entries = vocab.as_object().map(|map| map.len()).or(vocab.as_array().map(Vec::len)).unwrap_or(0);
    let added = json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice);
    if (entries + added.len()) as u64 > MOST_IDS {
        return too_many(format!("{} entries; at most {MOST_IDS} are read", entries + added.len()));
    }
    let in_vocab = vocab.as_object().into_iter().flatten().map(|(token, id)| (token.as_str(), id));
    let in_added = added.iter().map(|token| (token["content"].as_str().unwrap_or(""), &token["id"]));
    for (token, id) in in_vocab.chain(in_added) {
        if id.as_u64().is_none_or(|id| id >= MOST_IDS) {
            let token: String = token.chars().take(60).collect();
            let id: String = id.to_string().chars().take(60).collect();
            return too_many(format!("the token {token:?} has the id {id}; ids from 0 to {} are read", MOST_IDS - 1));
        }
    }
    Ok(json)
}

/// What the files beside a `tokenizer.json` say about the end of a document.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// `eos_token_id` of `config.json`.
    id: Option<u64>,
    /// `eos_token` of `tokenizer_config.json`.
    text: Option<String>,
}

impl Beside {
    /// Reads them where they are. A file that cannot be read says nothing.
    pub fn read(tokenizer: &Path) -> Self {
        let json = |name: &str| -> Value {
            let bytes = std::fs::read(tokenizer.with_file_name(name)).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        let (config, settings) = (json("config.json"), json("tokenizer_config.json"));
        let id = &config["eos_token_id"];
        let text = &settings["eos_token"];
        Self {
            // One, or a list.
            id: id.get(0).unwrap_or(id).as_u64(),
            text: text.as_str().or(text["content"].as_str()).map(str::to_owned),
        }
    }
}

/// The token that ends a document, and what should be known about the choice: the one that is asked for; or what `config.json`
/// says, if that is a special token; or what `tokenizer_config.json` says; or `<|endoftext|>`, or else `</s>`.
pub(super) fn end_of_document(
    asked: Option<&str>,
    beside: &Beside,
    vocab: &HashMap<String, u32>,
    json: &Value,
) -> Result<(u32, Vec<Note>), (String, String)> {
    let special: Vec<(&str, u64)> = (json["added_tokens"].as_array().into_iter().flatten())
        .filter(|token| token["special"] == true)
        .filter_map(|token| Some((token["content"].as_str()?, token["id"].as_u64()?)))
        .collect();
    let spelled = |id: u64| vocab.iter().find(|(_, own)| u64::from(**own) == id).map(|(token, _)| token.as_str());
    let known = |name: &str| vocab.contains_key(name);
    let by_id = beside.id.and_then(spelled);
    let is_special = |name: &str| special.iter().any(|(token, _)| *token == name);
    let by_text = beside.text.as_deref().filter(|name| known(name));
    let usual: Vec<&str> = [END_OF_TEXT, "</s>"].into_iter().filter(|name| known(name)).collect();
    let taken = match asked {
        Some(name) => known(name).then_some(name),
        None => by_id.filter(|name| is_special(name)).or(by_text).or(usual.first().copied()).or(by_id),
    };
    let Some(taken) = taken else {
        let names: Vec<String> = special.iter().take(8).map(|(token, _)| format!("`{token}`")).collect();
        let names = if names.is_empty() { "none".into() } else { names.join(", ") };
        let why = match asked {
            Some(name) => format!("no token `{name}` in it"),
            None => format!("no end-of-document token: no `{END_OF_TEXT}` or `</s>` in it"),
        };
        return Err((
            why,
            format!(
                "name the token that ends a document: data.eod of a recipe, or eos_token_id of the config.json beside it; its special \
                 tokens are {names}"
            ),
        ));
    };
    let mut others = vec![];
    if let Some(id) = beside.id.filter(|_| by_id != Some(taken)) {
        let name = by_id.map_or("no token of the vocabulary".into(), |name| format!("`{name}`"));
        others.push(format!("config.json says eos_token_id {id}, which is {name}"));
    }
    if let Some(name) = beside.text.as_deref().filter(|name| *name != taken) {
        others.push(format!("tokenizer_config.json says `{name}`"));
    }
    if asked.is_none() && others.is_empty() && beside.id.is_none() && beside.text.is_none() && usual.len() > 1 {
        others.push(format!("the vocabulary has `{}` too", usual[1]));
    }
    let notes = if others.is_empty() {
        vec![]
    } else {
        vec![Note {
            what: format!("`{taken}` ends a document, but {}", others.join(" and ")),
            hint: "data.eod of a recipe chooses another".into(),
        }]
    };
    Ok((vocab[taken], notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(json: Value, words: &str) {
        let problem = checked(json.to_string().as_bytes(), "read", "t.json").unwrap_err();
        assert!(problem.to_string().contains(words), "{problem}");
    }

    #[test]
    fn ids_are_bounded_before_anyone_takes_memory_for_them() {
        let added = |id: Value| json!({"added_tokens": [{"id": id, "content": "x"}], "model": {"vocab": {}}});
        let vocab = |id: Value| json!({"model": {"vocab": {"x": id}}});
        for with in [added, vocab] {
            assert!(checked(with(json!(MOST_IDS - 1)).to_string().as_bytes(), "read", "t.json").is_ok());
            refused(with(json!(MOST_IDS)), "1048576; ids from 0 to 1048575");
            refused(with(json!(-1)), "ids from 0");
            refused(with(json!(0.5)), "ids from 0");
        }
        refused(json!({"model": 3}), "no `model`");
        assert!(checked(b"{\"model\"", "read", "t.json").unwrap_err().to_string().contains("not JSON"));
    }

    #[test]
    fn a_panic_is_an_error() {
        let problem = guarded("read tokenizer", "t.json", || panic!("index {} out of bounds", 7)).unwrap_err();
        assert_eq!(problem.kind.exit_code(), 2);
        assert!(problem.to_string().contains("index 7 out of bounds"), "{problem}");
        assert!(!is_guarded() && guarded("", "", is_guarded).unwrap() && !is_guarded());
    }
}
