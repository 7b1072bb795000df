//! The words of a byte-level BPE: GPT-2's pattern, scanned by hand.
//!
//! GPT-2, GPT-NeoX and every tokenizer Temper trains split a text by
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` and merge bytes within the pieces only.
//! A general regex engine spends most of the tokenising time on it; this scanner gives the same pieces (a test compares
//! them with the `tokenizers` crate) from the same Unicode tables.

use std::sync::LazyLock;

/// The classes of characters that the pattern distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    Other,
    Space,
    Letter,
    Number,
}

/// The class of every code point, from the tables the regex engine of the `tokenizers` crate uses.
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let mut classes = vec![Class::Other; 0x11_0000];
    for (pattern, class) in [(r"\s", Class::Space), (r"\p{L}", Class::Letter), (r"\p{N}", Class::Number)] {
        let parsed = regex_syntax::parse(pattern).expect("a constant pattern");
        if let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) = parsed.kind() {
            for range in set.ranges() {
                classes[range.start() as usize..=range.end() as usize].fill(class);
            }
        }
    }
    classes
});

/// Iterator over the words of a text; together they are the text.
pub struct Words<'t> {
    text: &'t str,
    at: usize,
    classes: &'static [Class],
}

/// The words of `text`, in order, none empty.
pub fn words(text: &str) -> Words<'_> {
    Words { text, at: 0, classes: &CLASSES }
}

impl<'t> Words<'t> {
    /// Class and length in bytes of the character at `at`, which must be inside the text.
    fn class(&self, at: usize) -> (Class, usize) {
        let byte = self.text.as_bytes()[at];
        if byte < 0x80 {
            return (self.classes[byte as usize], 1);
        }
        let char = self.text[at..].chars().next().expect("inside the text");
        (self.classes[char as usize], char.len_utf8())
    }

    /// Where the run of `class` at `at` ends.
    fn run(&self, mut at: usize, class: Class) -> usize {
        while at < self.text.len() {
            let (next, len) = self.class(at);
            if next != class {
                break;
            }
            at += len;
        }
        at
    }

    fn end_of_word(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        if bytes[start] == b'\'' {
            match &bytes[start + 1..] {
                [b's' | b't' | b'm' | b'd', ..] => return start + 2,
                [b'r', b'e', ..] | [b'v', b'e', ..] | [b'l', b'l', ..] => return start + 3,
                _ => {}
            }
        }
        let (class, len) = self.class(start);
        if class != Class::Space {
            return self.run(start + len, class);
        }
        let next = (start + len < bytes.len()).then(|| self.class(start + len));
        if let (b' ', Some((class, len))) = (bytes[start], next)
            && class != Class::Space
        {
            return self.run(start + 1 + len, class);
        }
        // White space: all of it at the end of the text, else all but its last character, else that one.
        let (mut end, mut last) = (start, start);
        while end < bytes.len() {
            let (class, len) = self.class(end);
            if class != Class::Space {
                return if last > start { last } else { end };
            }
            last = end;
            end += len;
        }
        end
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.at == self.text.len() {
            return None;
        }
        let start = self.at;
        self.at = self.end_of_word(start);
        Some(&self.text[start..self.at])
    }
}

/// Cuts a text into pieces of about `size` bytes whose words, taken together, are the words of the whole: a piece ends
/// after a character that is not white space and before one that is, and no word holds such a pair.
/// A stretch without such a place stays whole.
pub fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = cut_after(rest, size).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(cut);
        rest = tail;
        Some(piece)
    })
}

/// The first place at or after `size` that a piece may end at.
fn cut_after(text: &str, size: usize) -> Option<usize> {
    if text.len() <= size {
        return None;
    }
    let from = text.floor_char_boundary(size.max(1));
    let mut before_is_space = true; // never cut at `from` itself: what precedes it has not been looked at
    for (at, char) in text[from..].char_indices() {
        let is_space = CLASSES[char as usize] == Class::Space;
        if is_space && !before_is_space {
            return Some(from + at);
        }
        before_is_space = is_space;
    }
    None
}

/// GPT-2's printable character for every byte: a byte-level vocabulary is written in these.
pub fn byte_chars() -> [char; 256] {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 256;
    std::array::from_fn(|b| {
        if printable(b as u8) {
            return b as u8 as char;
        }
        next += 1;
        char::from_u32(next - 1).expect("below 0x200")
    })
}
