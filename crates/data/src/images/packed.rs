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

use temper_record::{Problem, Result};

use super::{Images, READ, Splits};
use crate::files::u32_at;

const MAGIC: &[u8; 8] = b"TMPRIMGS";
const VERSION: u32 = 1;
const HEADER: usize = 40;

/// Whether these bytes begin a Zstandard frame.
pub(super) fn is_here(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// Reads the packed form; `place` is what an error calls it.
pub fn read(place: &str, packed: &[u8]) -> Result<Splits> {
    let problem = |why: String| Problem::input(READ, place, why);
    let damaged = |why: String| problem(why).hint("the file is incomplete or damaged: copy it again");
    let bytes = zstd::decode_all(packed).map_err(|e| damaged(format!("it cannot be unpacked: {e}")))?;
    if !bytes.starts_with(MAGIC) {
        return Err(problem("not packed images (the content does not start with TMPRIMGS)".to_owned()));
    }
    if bytes.len() < HEADER {
        return Err(damaged(format!("it ends inside the header, at byte {}", bytes.len())));
    }
    let number = |at: usize| u32_at(&bytes, at) as usize;
    if u32_at(&bytes, 8) != VERSION {
        return Err(problem(format!("version {}; this program reads version {VERSION}", number(8))));
    }
    let shape = [number(12), number(16), number(20)];
    let [classes, train, test, names] = [24, 28, 32, 36].map(number);
    let size = shape.iter().map(|&size| size as u128).product::<u128>();
    let images = train as u128 + test as u128;
    let expected = size.checked_mul(images).and_then(|pixels| pixels.checked_add((HEADER + names) as u128 + images));
    if size == 0 || train == 0 || test == 0 || classes > 256 || expected != Some(bytes.len() as u128) {
        let [c, h, w] = shape;
        let why = format!(
            "its header says {train} and {test} images of {c}x{h}x{w} in {classes} classes, its content has {} bytes",
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
    let cut = train * size as usize;
    Ok(Splits { train: images(&labels[..train], &pixels[..cut]), test: images(&labels[train..], &pixels[cut..]) })
}
