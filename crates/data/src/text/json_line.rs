//! The text of one JSON line, read as Python's `json.loads` reads it: `NaN`, `Infinity` and `-Infinity` are values, and half of a
//! surrogate pair spoils the string it is in only.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::bad_lines::Fault;

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The text under the key.
    Text(String),
    /// JSON, but no text that can be used; with the keys of the object.
    Bad(Fault, Vec<String>),
    /// JSON, but no object: what it is.
    NoObject(&'static str),
    /// No JSON, and why.
    NoJson(String),
}

/// Reads the text under `key`: a key of the object, or a path through objects whose parts are joined by dots. A key that
/// itself holds the dot comes first.
pub(super) fn text_under(line: &str, key: &str) -> Line {
    let error = match read(line, key) {
        Ok(Some(found)) => return text(found, line),
        Ok(None) => return Line::Bad(Fault::NoKey, keys(line)),
        Err(error) => error,
    };
    let Some(plain) = without_constants(line) else { return classify(line, key, &error) };
    match read(&plain, key) {
        Ok(Some(found)) => text(found, &plain),
        Ok(None) => Line::Bad(Fault::NoKey, keys(&plain)),
        Err(error) => classify(&plain, key, &error),
    }
}

fn read(line: &str, key: &str) -> serde_json::Result<Option<Vec<u8>>> {
    let mut json = serde_json::Deserializer::from_str(line);
    let found = Under(key).deserialize(&mut json)?;
    json.end()?;
    Ok(found.literal.or(found.nested))
}

fn text(bytes: Vec<u8>, line: &str) -> Line {
    match String::from_utf8(bytes) {
        Ok(text) => Line::Text(text),
        Err(_) => Line::Bad(Fault::LoneSurrogate, keys(line)),
    }
}

/// What is wrong with a line that could not be read.
fn classify(line: &str, key: &str, error: &serde_json::Error) -> Line {
    let value: Value = match serde_json::from_str(&without_surrogates(line)) {
        Ok(value) => value,
        Err(error) => return Line::NoJson(error.to_string()),
    };
    let kind = match &value {
        Value::Object(_) => {
            let keys = keys(line);
            return match find(&value, key) {
                None => Line::Bad(Fault::NoKey, keys),
                Some(Value::Null) => Line::Bad(Fault::Null, keys),
                Some(Value::String(_)) => Line::NoJson(error.to_string()),
                Some(_) => Line::Bad(Fault::NotText, keys),
            };
        }
        Value::Array(_) => "an array",
        Value::String(_) => "a string",
        _ => "a single value",
    };
    Line::NoObject(kind)
}

fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    let map = value.as_object()?;
    map.get(key).or_else(|| map.iter().find_map(|(name, inside)| find(inside, rest(key, name.as_bytes())?)))
}

/// What remains of the path below the key `name`.
fn rest<'k>(path: &'k str, name: &[u8]) -> Option<&'k str> {
    let rest = path.as_bytes().strip_prefix(name)?;
    rest.starts_with(b".").then(|| &path[name.len() + 1..])
}

/// The keys of the object, for a hint; those of objects inside as paths.
fn keys(line: &str) -> Vec<String> {
    let Ok(Value::Object(map)) = serde_json::from_str(&without_surrogates(line)) else { return vec![] };
    let names = map.into_iter().flat_map(|(name, value)| match value {
        Value::Object(inside) => inside.into_iter().map(|(key, _)| format!("{name}.{key}")).collect(),
        _ => vec![name],
    });
    names.take(12).map(|name| name.chars().take(60).collect()).collect()
}

/// The line with 0 for the constants that Python writes and JSON does not know; `None` if it has none.
fn without_constants(line: &str) -> Option<String> {
    let mut plain = String::new();
    let mut copied = 0;
    let (mut at, bytes) = (0, line.as_bytes());
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'N' | b'I' | b'-' => {
                let constant = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| line[at..].starts_with(word));
                if let Some(constant) = constant {
                    plain.push_str(&line[copied..at]);
                    plain.push('0');
                    at += constant.len();
                    copied = at;
                } else {
                    at += 1;
                }
            }
            _ => at += 1,
        }
    }
    plain.push_str(&line[copied..]);
    (copied > 0).then_some(plain)
}

/// Where the string that begins at `at` ends.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The line with U+FFFD for every escape of half a surrogate pair, so that serde_json builds its values.
fn without_surrogates(line: &str) -> Cow<'_, str> {
    if !line.contains("\\u") {
        return line.into();
    }
    let bytes = line.as_bytes();
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut whole, mut copied, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        at += match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.push_str(&line[copied..at]);
                whole.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            _ => 2,
        };
    }
    whole.push_str(&line[copied.min(line.len())..]);
    whole.into()
}

/// Picks one string out of an object without building the rest.
#[derive(Clone, Copy)]
struct Under<'k>(&'k str);

/// The bytes of the string: those of UTF-8 unless half a surrogate pair is in it.
#[derive(Default)]
struct Found {
    literal: Option<Vec<u8>>,
    nested: Option<Vec<u8>>,
}

impl<'de> DeserializeSeed<'de> for Under<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Under<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(Bytes(key)) = map.next_key()? {
            if *key == *self.0.as_bytes() {
                found.literal = Some(map.next_value::<Bytes>()?.0.into_owned());
            } else if let Some(rest) = rest(self.0, &key) {
                let inside = map.next_value_seed(Inside(rest))?;
                found.nested = inside.literal.or(inside.nested).or(found.nested);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The same in a value that need not be an object.
struct Inside<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Inside<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Found, A::Error> {
        Under(self.0).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(Found::default())
    }
}

/// The bytes of a JSON string. As bytes, serde_json lets half a surrogate pair through.
struct Bytes<'de>(Cow<'de, [u8]>);

impl<'de> serde::Deserialize<'de> for Bytes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taken;
        impl<'de> Visitor<'de> for Taken {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(bytes.into()))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(bytes.to_vec().into()))
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Bytes<'de>, E> {
                Ok(Bytes(text.as_bytes().into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes<'de>, E> {
                Ok(Bytes(text.as_bytes().to_vec().into()))
            }
        }
        deserializer.deserialize_bytes(Taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, key: &str, expected: Line) {
        assert_eq!(text_under(line, key), expected, "{line}");
    }

    fn is(text: &str) -> Line {
        Line::Text(text.into())
    }

    fn bad(fault: Fault, keys: &[&str]) -> Line {
        Line::Bad(fault, keys.iter().map(|key| key.to_string()).collect())
    }

    #[test]
    fn what_a_line_holds() {
        check(r#"{"text":"a\ud83d\ude00\n"}"#, "text", is("a😀\n"));
        // As Python writes numbers that are none; inside a string they are text.
        check(r#"{"a":NaN,"text":"NaN, -Infinity","b":[Infinity,-Infinity, -1]}"#, "text", is("NaN, -Infinity"));
        check(r#"{"text":NaN}"#, "text", bad(Fault::NotText, &["text"]));
        // Half a pair spoils the string it is in.
        check(r#"{"text":"cut \ud83d"}"#, "text", bad(Fault::LoneSurrogate, &["text"]));
        check(r#"{"text":"\ude00 cut"}"#, "text", bad(Fault::LoneSurrogate, &["text"]));
        check(r#"{"a":"cut \ud83d","\ud83d":1,"text":"whole"}"#, "text", is("whole"));
        check(r#"{"a":NaN,"text":"cut \ud83d"}"#, "text", bad(Fault::LoneSurrogate, &["a", "text"]));
        check(r#"{"text":"\\ud83d"}"#, "text", is("\\ud83d"));
        check(r#"{"text":null}"#, "text", bad(Fault::Null, &["text"]));
        check(r#"{"text":7}"#, "text", bad(Fault::NotText, &["text"]));
        check(r#"{"text":["a"]}"#, "text", bad(Fault::NotText, &["text"]));
        check(r#"{"txt":"b"}"#, "text", bad(Fault::NoKey, &["txt"]));
        check("{}", "text", bad(Fault::NoKey, &[]));
    }

    #[test]
    fn keys_inside_objects() {
        check(r#"{"data":{"text":"inside","n":NaN}}"#, "data.text", is("inside"));
        check(r#"{"a":{"b":{"c":"deep"}}}"#, "a.b.c", is("deep"));
        check(r#"{"a.b":{"c":"dot within"}}"#, "a.b.c", is("dot within"));
        // The whole key, dots included, comes first, wherever it is.
        check(r#"{"data.text":"literal","data":{"text":"inside"}}"#, "data.text", is("literal"));
        check(r#"{"data":{"text":"inside"},"data.text":"literal"}"#, "data.text", is("literal"));
        check(r#"{"data":"a string"}"#, "data.text", bad(Fault::NoKey, &["data"]));
        check(r#"{"data":[1,null]}"#, "data.text", bad(Fault::NoKey, &["data"]));
        check(r#"{"data":{"text":null}}"#, "data.text", bad(Fault::Null, &["data.text"]));
        check(r#"{"data":{"body":"x"}}"#, "text", bad(Fault::NoKey, &["data.body"]));
    }

    #[test]
    fn what_is_no_line_of_its_own() {
        check("[1]", "text", Line::NoObject("an array"));
        check("\"text\"", "text", Line::NoObject("a string"));
        for line in [r#"{"text":"a""#, r#"{"text":"a"} {"text":"b"}"#, r#"{"text":"\ud8"}"#, "{\"a\":NaN", "NaN}", "["]
        {
            assert!(matches!(text_under(line, "text"), Line::NoJson(_)), "{line}");
        }
    }
}
