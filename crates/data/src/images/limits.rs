//! What a file may claim. A header can state any size. So Temper first reads the size, compares it with these limits and with
//! the file, and unpacks no more than that, plus one byte to see whether there is more.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use temper_base::{Problem, Result};

use super::READ;

/// The most pixels of one picture.
pub const PICTURE_PIXELS: u64 = 1 << 24;
/// The most bytes of a picture's file.
pub(super) const PICTURE_BYTES: u64 = 1 << 28;
/// The most bytes of one split of a data set: 64 GiB.
pub const SET_BYTES: u64 = 1 << 36;
/// Bytes that every header of the formats read here fits into.
const HEAD: u64 = 64;

/// The bytes of a file, unpacked if gzip has packed it. `most` looks at the first bytes and says how many there should be;
/// one more is read where there are more.
pub(super) fn read(path: &Path, most: impl FnOnce(&[u8]) -> Result<u64>) -> Result<Vec<u8>> {
    let plain = |e: io::Error| Problem::io(READ, path, &e);
    let damaged = |e: io::Error| {
        Problem::input(READ, path.display(), format!("the compressed file is damaged or cut short: {e}"))
            .hint("copy or fetch it again")
    };
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(plain)?);
    if file.fill_buf().map_err(plain)?.starts_with(&[0x1f, 0x8b]) {
        read_claimed(MultiGzDecoder::new(file), most, damaged)
    } else {
        read_claimed(file, most, plain)
    }
}

/// The bytes of a stream: as many as `most` makes of the first ones, and one more if there are more.
pub(super) fn read_claimed(
    mut source: impl Read,
    most: impl FnOnce(&[u8]) -> Result<u64>,
    failed: impl Fn(io::Error) -> Problem,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    (&mut source).take(HEAD).read_to_end(&mut bytes).map_err(&failed)?;
    let rest = most(&bytes)?.saturating_add(1).saturating_sub(bytes.len() as u64);
    source.take(rest).read_to_end(&mut bytes).map_err(&failed)?;
    Ok(bytes)
}

/// Why a picture of this size is not decoded; `None` if it may be.
pub(super) fn too_large(width: u64, height: u64) -> Option<String> {
    (width.saturating_mul(height) > PICTURE_PIXELS)
        .then(|| format!("it is {height}x{width}, and a picture of more than {PICTURE_PIXELS} pixels is not read"))
}
