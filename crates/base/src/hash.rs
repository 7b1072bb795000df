//! The sha256 of a file's or a set's content, in lower-case hex, by which Temper recognises it.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

pub use sha2::{Digest, Sha256};

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sha256 of bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    finished(Sha256::new_with_prefix(bytes))
}

/// The hash of everything fed to it.
pub fn finished(hash: Sha256) -> String {
    hex(&hash.finalize())
}

/// Feeds a file to a hash, from its byte `skip` on. Returns the number of bytes.
///
/// # Errors
/// If the file cannot be opened or read.
pub fn feed_file(hash: &mut Sha256, path: &Path, skip: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(skip))?;
    io::copy(&mut BufReader::with_capacity(1 << 20, file), hash)
}
