//! CIFAR-10, binary version: `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, as files or inside the
//! archive `cifar-10-binary.tar.gz`.
//!
//! A file is records of 3073 bytes: the label, then 32x32 red, green and blue values.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use temper_base::hash::sha256;
use temper_base::{Problem, Result};

use super::known::{Known, known};
use super::{Images, READ, Splits, limits};

const ARCHIVE: &str = "cifar-10-binary.tar.gz";
/// The folder inside the archive.
const INNER: &str = "cifar-10-batches-bin";
const PIXELS: usize = 3 * 32 * 32;
/// Bytes of one of the six files at most.
const LARGEST: u64 = 1 << 30;
/// Bytes of an unpacked archive at most.
const LARGEST_ARCHIVE: u64 = 1 << 33;

/// Where the files are.
pub(super) enum Place {
    Folder(PathBuf),
    Archive(PathBuf),
}

fn data_set() -> &'static Known {
    known("cifar-10").expect("in the table")
}

/// Looks for the files in a folder, then for their folder in it, then for the archive.
pub(super) fn find(folder: &Path) -> Option<Place> {
    let holds = |folder: &PathBuf| data_set().files.iter().any(|file| folder.join(file.name).is_file());
    let inside = [folder.to_owned(), folder.join(INNER)].into_iter().find(holds).map(Place::Folder);
    let archive = || Some(folder.join(ARCHIVE)).filter(|path| path.is_file()).map(Place::Archive);
    inside.or_else(archive)
}

/// Reads the six files.
pub(super) fn read(place: &Place) -> Result<Splits> {
    let mut unpacked = match place {
        Place::Folder(_) => HashMap::new(),
        Place::Archive(path) => unpack(path)?,
    };
    let mut splits = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    let mut differing = Vec::new();
    for file in data_set().files {
        let (shown, bytes) = match place {
            Place::Folder(folder) => {
                let path = folder.join(file.name);
                if !path.is_file() {
                    return Err(missing(folder, file.name));
                }
                (path.display().to_string(), limits::read(&path, |_| Ok(LARGEST))?)
            }
            Place::Archive(path) => {
                let bytes = unpacked.remove(file.name).ok_or_else(|| missing(path, file.name))?;
                (format!("{}: {}", path.display(), file.name), bytes)
            }
        };
        if sha256(&bytes) != file.sha256 {
            differing.push(file.name);
        }
        let (pixels, labels) = &mut splits[usize::from(file.name.starts_with("test"))];
        records(&shown, &bytes, pixels, labels)?;
    }
    let note = match differing.len() {
        0 => "CIFAR-10: all six files are the known ones".to_owned(),
        6 => "in CIFAR-10's format, but not the known files".to_owned(),
        _ => format!("in CIFAR-10's format, but {} differ from the known files", differing.join(", ")),
    };
    let [train, test] = splits.map(|(pixels, labels)| {
        let classes = data_set().classes.iter().map(ToString::to_string).collect();
        let images = Images::new(data_set().name, data_set().shape, classes, pixels, labels).with_note(note.clone());
        // The format holds no other data set: what is in it was made to stand in for CIFAR-10.
        Images { known: Some(data_set().name), ..images }
    });
    Ok(Splits { train, test })
}

fn missing(place: &Path, name: &str) -> Problem {
    Problem::input(READ, place.display(), format!("{name} is missing"))
        .hint("CIFAR-10's binary version is data_batch_1.bin to data_batch_5.bin and test_batch.bin")
}

fn records(shown: &str, bytes: &[u8], pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let record = 1 + PIXELS;
    if bytes.len() as u64 > LARGEST {
        return Err(Problem::input(
            READ,
            shown,
            format!("it has more than {LARGEST} bytes, which is no file of CIFAR-10"),
        ));
    }
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let why = format!("{} bytes are not a whole number of records of {record} bytes", bytes.len());
        return Err(Problem::input(READ, shown, why).hint("the file is incomplete or damaged: copy or fetch it again"));
    }
    let classes = data_set().classes.len() as u32;
    for (image, record) in bytes.chunks_exact(record).enumerate() {
        let label = u32::from(record[0]);
        if label >= classes {
            let why = format!("label {label} of image {image} is out of range: the classes are 0 to {}", classes - 1);
            return Err(Problem::input(READ, shown, why).hint("is it a file of CIFAR-10, binary version?"));
        }
        labels.push(label);
        pixels.extend_from_slice(&record[1..]);
    }
    Ok(())
}

/// The known files in the archive, by name. The archive is tar (POSIX ustar) in gzip: a header of 512 bytes before
/// every file, whose content is padded to a multiple of 512.
fn unpack(path: &Path) -> Result<HashMap<&'static str, Vec<u8>>> {
    let damaged = |why: io::Error| {
        Problem::input(READ, path.display(), format!("the archive is damaged or cut short: {why}"))
            .hint("copy or fetch it again")
    };
    let file = File::open(path).map_err(|e| Problem::io(READ, path, &e))?;
    let mut tar = GzDecoder::new(BufReader::with_capacity(1 << 16, file)).take(LARGEST_ARCHIVE);
    let mut found = HashMap::new();
    let mut header = [0; 512];
    while found.len() < data_set().files.len() {
        tar.read_exact(&mut header).map_err(damaged)?;
        let text = |field: &[u8]| {
            let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let name = text(&header[..100]);
        if name.is_empty() {
            break; // the archive ends with empty headers
        }
        let size = u64::from_str_radix(&text(&header[124..136]), 8)
            .map_err(|_| damaged(io::Error::other("a header without a size")))?;
        let known = data_set().files.iter().find(|file| name.rsplit('/').next() == Some(file.name));
        let mut content = (&mut tar).take(size.next_multiple_of(512));
        match known {
            Some(file) if size > LARGEST => {
                let why = format!("{} in it has {size} bytes by its header, more than {LARGEST}", file.name);
                return Err(Problem::input(READ, path.display(), why).hint("it is no archive of CIFAR-10"));
            }
            Some(file) => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(damaged)?;
                if (bytes.len() as u64) < size {
                    return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
                }
                bytes.truncate(size as usize);
                found.insert(file.name, bytes);
            }
            None => _ = io::copy(&mut content, &mut io::sink()).map_err(damaged)?,
        }
    }
    Ok(found)
}
