//! The tokens of a file, one after the other, with their lines.

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Open,
    Close,
    /// A word; an index in brackets belongs to it, blanks included.
    Word(&'a str),
}

/// The tokens of a text.
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// The line of the token that was read last, from 1.
    pub line: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// Where the next token is looked for.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes back to a position and its line.
    pub fn back(&mut self, position: usize, line: usize) {
        (self.at, self.line) = (position, line);
    }

    /// The next token; `None` at the end.
    pub fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at)? {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b';' => {
                    let rest = &bytes[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                b if b.is_ascii_whitespace() => self.at += 1,
                b'(' => {
                    self.at += 1;
                    return Some(Token::Open);
                }
                b')' => {
                    self.at += 1;
                    return Some(Token::Close);
                }
                _ => return Some(Token::Word(self.word())),
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut inside = false;
        while let Some(b) = bytes.get(self.at) {
            inside = (inside || *b == b'[') && *b != b']';
            if !inside && (b.is_ascii_whitespace() || matches!(b, b'(' | b')' | b';')) || *b == b'\n' {
                break;
            }
            self.at += 1;
        }
        // The ends are at bytes of ASCII, so between characters.
        &self.text[start..self.at]
    }
}
