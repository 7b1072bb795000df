//! JPEG and PNG files to pixels. Decoders without instruction-set tricks: the same pixels on every machine.
//!
//! JPEG decoders differ in rounding and in how they enlarge colour that is stored at half resolution: from Pillow this
//! one differs by 4 of 255 levels at most, on 64x64 images of quality 75.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use temper_base::{Problem, Result};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::READ;
use super::limits::{PICTURE_BYTES, PICTURE_PIXELS, too_large};

/// A decoded file.
pub(super) struct Picture {
    /// Pixels in a column and in a row.
    pub size: [usize; 2],
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// `[height, width, channels]`.
    pub bytes: Vec<u8>,
}

/// Whether the name is that of a file to be read.
pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| matches!(extension.as_str(), "jpg" | "jpeg" | "png"))
}

/// Reads and decodes a file, by its content and not its name.
pub(super) fn read(path: &Path) -> Result<Picture> {
    let io = |e| Problem::io(READ, path, &e);
    let about = fs::metadata(path).map_err(io)?;
    // A list may name a device or a pipe, whose size says nothing about how much comes out of it.
    if !about.is_file() {
        return Err(Problem::input(READ, path.display(), "this is no file")
            .hint("take it out of the folder, or its name out of the list"));
    }
    let size = about.len();
    if size > PICTURE_BYTES {
        let why = format!("the file has {size} bytes, and pictures of more than {PICTURE_BYTES} are not read");
        return Err(
            Problem::input(READ, path.display(), why).hint("scale the picture down or take it out of the folder")
        );
    }
    let bytes = fs::read(path).map_err(io)?;
    let decoded = match bytes.as_slice() {
        [0xff, 0xd8, ..] => jpeg(&bytes),
        [0x89, b'P', b'N', b'G', ..] => png(&bytes),
        [] => Err("the file is empty".to_owned()),
        _ => Err("neither a JPEG nor a PNG file".to_owned()),
    };
    decoded
        .map_err(|why| Problem::input(READ, path.display(), why).hint("replace the file or take it out of the folder"))
}

fn jpeg(bytes: &[u8]) -> Result<Picture, String> {
    // Strict: what is cut short or damaged would become grey pixels otherwise. The end marker is looked for because a
    // cut in the last row of blocks escapes the decoder.
    let options = DecoderOptions::default().set_strict_mode(true).set_use_unsafe(false);
    // The size is held against a limit of pixels below, not of rows and columns.
    let options = options.set_max_width(usize::from(u16::MAX)).set_max_height(usize::from(u16::MAX));
    let unreadable = |e| format!("the JPEG cannot be decoded: {e:?}");
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(unreadable)?;
    if let Some(why) = decoder.dimensions().and_then(|(width, height)| too_large(width as u64, height as u64)) {
        return Err(why);
    }
    let grey = matches!(decoder.input_colorspace(), Some(ColorSpace::Luma));
    let wanted = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let pixels = decoder.decode().map_err(unreadable)?;
    let (width, height) = decoder.dimensions().ok_or("the JPEG has no size")?;
    let channels = if grey { 1 } else { 3 };
    if !bytes.windows(2).rev().any(|two| two == [0xff, 0xd9]) || pixels.len() != width * height * channels {
        return Err("the JPEG is cut short".to_owned());
    }
    Ok(Picture { size: [height, width], channels, bytes: pixels })
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let unreadable = |e| format!("the PNG cannot be decoded: {e}");
    // Eight bytes a pixel is the most that PNG has.
    let limits = png::Limits { bytes: 8 * PICTURE_PIXELS as usize + PICTURE_BYTES as usize };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    let header = decoder.read_header_info().map_err(unreadable)?;
    if let Some(why) = too_large(header.width.into(), header.height.into()) {
        return Err(why);
    }
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(unreadable)?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("the PNG is too large")?];
    let frame = reader.next_frame(&mut pixels).map_err(unreadable)?;
    pixels.truncate(frame.buffer_size());
    let samples = frame.color_type.samples();
    let channels = if samples > 2 { 3 } else { 1 };
    if samples > channels {
        if pixels.chunks_exact(samples).any(|pixel| pixel[channels] != 255) {
            return Err("the PNG is transparent in places".to_owned());
        }
        pixels = pixels.chunks_exact(samples).flat_map(|pixel| &pixel[..channels]).copied().collect();
    }
    Ok(Picture { size: [frame.height as usize, frame.width as usize], channels, bytes: pixels })
}
