//! How the command line says how to read text.

use temper_data::ReadOptions;

use crate::args;

/// How the command line turns bad lines into errors.
pub const ON_THE_LINE: &str = "--bad-lines error";

/// How the command line wants text to be read.
pub fn read_options(text_key: &str, bad_lines: args::BadLines) -> ReadOptions {
    let bad_lines = match bad_lines {
        args::BadLines::Skip => temper_data::BadLines::Skip,
        args::BadLines::Error => temper_data::BadLines::Error,
    };
    ReadOptions { text_key: text_key.to_owned(), bad_lines, ..ReadOptions::default() }
}
