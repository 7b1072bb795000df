//! The packed form of a data set, for one that travels inside the binary: a single file, `NAME.images.zst`.
//!
//! Inside one Zstandard frame, all numbers little-endian `u32`:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic `TMPRIMGS` |
//! | 8 | 4 | version = 1 |
//! | 12 | 12 | channels C, height H, width W |
//! | 24 | 4 | classes K, at most 256 |
//! | 28 | 8 | images for training, images for testing |
//! | 36 | 4 | L = bytes of the names |
//! | 40 | L | UTF-8 lines: the name of the data set, a note on where it is from, then the name of every class |
//! | .. | N | labels, training images first |
//! | .. | N C H W | pixels, training images first, `[N, C, H, W]` |
//!
//! `scripts/make_assets.py images` writes it.

use temper_base::{Problem, Result};

use super::{Images, READ, SET_BYTES, Splits, limits};
use crate::files::u32_at;

const MAGIC: &[u8; 8] = b"TMPRIMGS";
const VERSION: u32 = 1;
const HEADER: usize = 40;

/// Whether these bytes begin a Zstandard frame.
pub(super) fn is_here(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// The numbers of the header.
struct Head {
    shape: [usize; 3],
    classes: usize,
    train: usize,
    test: usize,
    /// Bytes of the names.
    names: usize,
    /// Bytes of an image.
    size: usize,
    /// Bytes of everything; `None` if that is more than is read.
    total: Option<u64>,
}

impl Head {
    /// From at least [`HEADER`] bytes.
    fn of(bytes: &[u8]) -> Self {
        let number = |at: usize| u32_at(bytes, at) as usize;
        let shape = [number(12), number(16), number(20)];
        let [classes, train, test, names] = [24, 28, 32, 36].map(number);
        let size = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let images = train as u64 + test as u64;
        let total = size
            .and_then(|size| (size as u64).checked_add(1)?.checked_mul(images)?.checked_add((HEADER + names) as u64))
            .filter(|total| *total <= SET_BYTES);
        Self { shape, classes, train, test, names, size: size.unwrap_or(0), total }
    }
}

/// The bytes that there should be by the header; none further where it is none.
fn claim(head: &[u8]) -> Result<u64, String> {
    if head.len() < HEADER || !head.starts_with(MAGIC) || u32_at(head, 8) != VERSION {
        return Ok(0);
    }
    let Head { shape: [c, h, w], train, test, total, .. } = Head::of(head);
    total.ok_or_else(|| {
        format!(
            "its header says {train} and {test} images of {c}x{h}x{w}: more than the {SET_BYTES} bytes that are read"
        )
    })
}

/// Reads the packed form; `place` is what an error calls it.
///
/// # Errors
/// If the bytes are not packed images, of another version, or damaged.
pub fn read(place: &str, packed: &[u8]) -> Result<Splits> {
    let problem = |why: String| Problem::input(READ, place, why);
    let damaged = |why: String| problem(why).hint("the file is incomplete or damaged: copy it again");
    let unpacked = |e| damaged(format!("it cannot be unpacked: {e}"));
    let decoder = zstd::Decoder::new(packed).map_err(unpacked)?;
    let bytes = limits::read_claimed(decoder, |head| claim(head).map_err(problem), unpacked)?;
    if !bytes.starts_with(MAGIC) {
        return Err(problem("not packed images (the content does not start with TMPRIMGS)".to_owned()));
    }
    if bytes.len() < HEADER {
        return Err(damaged(format!("it ends inside the header, at byte {}", bytes.len())));
    }
    if u32_at(&bytes, 8) != VERSION {
        return Err(problem(format!("version {}; this program reads version {VERSION}", u32_at(&bytes, 8))));
    }
    let Head { shape, classes, train, test, names, size, total } = Head::of(&bytes);
    if size == 0 || train == 0 || test == 0 || classes > 256 || total != Some(bytes.len() as u64) {
        let [c, h, w] = shape;
        let more = if total.is_some_and(|total| bytes.len() as u64 > total) { " or more" } else { "" };
        let why = format!(
            "its header says {train} and {test} images of {c}x{h}x{w} in {classes} classes, its content has {} bytes{more}",
            bytes.len()
        );
        return Err(damaged(why));
    }
    let (text, rest) = bytes[HEADER..].split_at(names);
    let text = std::str::from_utf8(text).map_err(|e| damaged(format!("the names are not UTF-8: {e}")))?;
    let mut lines = text.lines();
    let (name, note) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let class_names: Vec<String> = lines.map(str::to_owned).collect();
    if class_names.len() != classes {
        return Err(damaged(format!("its header says {classes} classes, {} have names", class_names.len())));
    }
    let (labels, pixels) = rest.split_at(train + test);
    if let Some(image) = labels.iter().position(|&label| usize::from(label) >= classes) {
        return Err(damaged(format!("label {} of image {image} is out of range: {classes} classes", labels[image])));
    }
    let images = |labels: &[u8], pixels: &[u8]| {
        let labels = labels.iter().map(|&label| label.into()).collect();
        Images::new(name, shape, class_names.clone(), pixels.to_vec(), labels).with_note(note)
    };
    let cut = train * size;
    Ok(Splits { train: images(&labels[..train], &pixels[..cut]), test: images(&labels[train..], &pixels[cut..]) })
}
