//! Lines of a file that may be compressed. Memory is bounded whatever the file claims: by the longest line, and by the window of
//! Zstandard, of which only what is used is touched.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use temper_base::{Problem, Result};

use super::documents::ReadCount;
use super::inputs::{Bytes, Compression, Part, READ};

/// The largest window of Zstandard, as a power of two: 2 GiB, which `zstd --long=31` and `--ultra` use.
const WINDOW_LOG: u32 = 31;
/// How much of a file's text says what its encoding is.
const HEAD: u64 = 1 << 12;

/// The lines of a file, one after another.
pub(super) struct Lines {
    part: Part,
    from: Box<dyn BufRead + Send>,
    number: u64,
    longest: usize,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a file, and looks at how its text begins: UTF-16 and UTF-32 are an error.
    ///
    /// # Errors
    /// If the file cannot be opened or unpacked, or its text is UTF-16 or UTF-32.
    pub fn open(part: Part, longest: usize, count: &Arc<ReadCount>) -> Result<Self> {
        let raw: Box<dyn Read + Send> = match &part.bytes {
            Bytes::File(path) => Box::new(File::open(path).map_err(|e| Problem::io(READ, path, &e))?),
            Bytes::Memory(bytes) => Box::new(*bytes),
        };
        let raw = BufReader::with_capacity(1 << 17, Counted { inner: raw, count: count.clone() });
        let mut from: Box<dyn BufRead + Send> = match part.compression {
            Compression::None => Box::new(raw),
            Compression::Gzip => Box::new(BufReader::with_capacity(1 << 17, flate2::bufread::MultiGzDecoder::new(raw))),
            Compression::Zstandard => {
                let decoder = zstd::stream::read::Decoder::with_buffer(raw).and_then(|mut decoder| {
                    decoder.window_log_max(WINDOW_LOG)?;
                    Ok(decoder)
                });
                Box::new(BufReader::with_capacity(1 << 17, decoder.map_err(|e| damage(&part, &e))?))
            }
        };
        let mut head = vec![];
        from.by_ref().take(HEAD).read_to_end(&mut head).map_err(|e| damage(&part, &e))?;
        if let Some(encoding) = other_encoding(&head) {
            let why = format!("the text is {encoding}, not UTF-8");
            return Err(Problem::input(READ, &part.name, why).hint(format!(
                "convert it: iconv -f {} -t UTF-8 (unpack it first if it is compressed)",
                encoding.split_once(' ').map_or(encoding, |(name, _)| name)
            )));
        }
        let from = Box::new(Cursor::new(head).chain(from));
        Ok(Self { part, from, number: 0, longest, buffer: vec![] })
    }

    /// The next line with its line end; `None` at the end of the file.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged where it is compressed, or the line is longer than allowed.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = vec![]; // of a long document
        }
        self.buffer.clear();
        self.number += 1;
        let mut limited = self.from.by_ref().take(self.longest as u64 + 1);
        let n = limited.read_until(b'\n', &mut self.buffer).map_err(|e| damage(&self.part, &e))?;
        if n > self.longest {
            return Err(self.too_long("a line"));
        }
        Ok((n > 0).then_some(&self.buffer[..]))
    }

    /// The error for a line or document that is longer than may be.
    pub fn too_long(&self, what: &str) -> Problem {
        self.problem(format_args!("{what} of more than {} bytes", self.longest)).hint(
            "cut the text into documents: one a line as JSON lines, or several files (`split`); a compressed file that is \
             damaged can claim such lengths too",
        )
    }

    /// The file.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// The number of the line that was read last, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// File and line.
    pub fn place(&self) -> String {
        format!("{}:{}", self.part.name, self.number)
    }

    /// An error in the line that was read last.
    pub fn problem(&self, why: impl std::fmt::Display) -> Problem {
        Problem::input(READ, self.place(), why)
    }
}

/// The encoding of a text that is not UTF-8 but shows what it is: by its byte order mark, or by the zeros that letters of one byte
/// have beside them.
fn other_encoding(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
        _ => {}
    }
    let zeros_at = |rest: usize| head.iter().skip(rest).step_by(4).filter(|byte| **byte == 0).count();
    let zeros: [usize; 4] = std::array::from_fn(zeros_at);
    let quarter = head.len() / 4;
    // Nearly every unit is a letter of Latin script; a text of other scripts has zeros beside blanks and line ends only, but is
    // no UTF-8 then either.
    let most = |places: &[usize]| quarter > 1 && places.iter().all(|place| zeros[*place] * 4 > quarter * 3);
    let few = |places: &[usize]| places.iter().all(|place| zeros[*place] * 4 <= quarter);
    if most(&[1, 2, 3]) && few(&[0]) {
        Some("UTF-32LE (it has no byte order mark)")
    } else if most(&[0, 1, 2]) && few(&[3]) {
        Some("UTF-32BE (it has no byte order mark)")
    } else if most(&[1, 3]) && few(&[0, 2]) {
        Some("UTF-16LE (it has no byte order mark)")
    } else if most(&[0, 2]) && few(&[1, 3]) {
        Some("UTF-16BE (it has no byte order mark)")
    } else {
        None
    }
}

/// A read error of a file that may be compressed: what the decoder complains about is the file, the rest the machine.
fn damage(part: &Part, e: &io::Error) -> Problem {
    if part.compression == Compression::None || e.raw_os_error().is_some() {
        return Problem::io(READ, &part.name, e);
    }
    let cause = e.to_string();
    // The decoder's own words, `ZSTD_getErrorString`; its codes do not reach us.
    if cause.contains("too much memory") {
        let why = format!("it was compressed with a window of more than 2 GiB, the most that is read ({cause})");
        return Problem::input(READ, &part.name, why).hint(
            "compress it again with a smaller window: zstd -d --long=31 --memory=0 < OLD | zstd --long=27 > NEW",
        );
    }
    if cause.contains("not enough memory") {
        return Problem::machine(
            READ,
            &part.name,
            format_args!("no memory for the window of its compression ({cause})"),
        );
    }
    let why = match e.kind() {
        io::ErrorKind::UnexpectedEof => format!("the compressed data ends early ({e})"),
        _ => format!("the compressed data is damaged ({e})"),
    };
    Problem::input(READ, &part.name, why).hint("the file is truncated or corrupt: fetch or compress it again")
}

/// Counts the compressed bytes as they are read.
struct Counted<R> {
    inner: R,
    count: Arc<ReadCount>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.input.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::other_encoding;

    #[test]
    fn encodings() {
        let text = "the river went over stone\n".repeat(9);
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let utf32 = |bytes: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| bytes(c as u32)).collect::<Vec<u8>>();
        let starts = |bytes: &[u8], name: &str| {
            let found = other_encoding(bytes).unwrap_or("none");
            assert!(found.starts_with(name), "{found}, not {name}");
        };
        starts(&utf16(&text, u16::to_le_bytes), "UTF-16LE");
        starts(&utf16(&text, u16::to_be_bytes), "UTF-16BE");
        starts(&utf16(&format!("\u{feff}{text}"), u16::to_le_bytes), "UTF-16");
        starts(&utf16("\u{feff}ο ποταμός", u16::to_be_bytes), "UTF-16");
        starts(&utf32(u32::to_le_bytes), "UTF-32LE");
        starts(&utf32(u32::to_be_bytes), "UTF-32BE");
        starts(&[&[0xff, 0xfe, 0, 0][..], &utf32(u32::to_le_bytes)].concat(), "UTF-32");
        for text in ["", "a", "a\0", "\u{feff}text", &text, "ο ποταμός ήταν", "some \0 zeros \0\0 in a text of bytes"]
        {
            assert_eq!(other_encoding(text.as_bytes()), None, "{text:?}");
        }
    }
}
