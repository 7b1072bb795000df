//! Properties as VNN-LIB: version 1.0 as the competitions' files have it, and of 2.0 what speaks of one network in linear rows.
//!
//! A file describes the *violation*: an input that it describes is a counterexample. Temper compiles it into boxes, each with groups of
//! constraints of which one has to be met. Decimal numbers that are no doubles are rounded so that a proof covers what the file says and a
//! counterexample is one by the file.

mod decimal;
mod formula;
mod tokens;
mod write;

use std::io::Read;
use std::path::Path;

use temper_base::{Problem, Result};
use temper_graph::Property;

pub use write::{write, write_version_2};

/// The type that a file of version 2.0 gives its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Numbers; what floats do to them may be left out of account. Version 1.0 says nothing else.
    Real,
    /// Single precision, which a proof has to hold for.
    Float32,
    /// Double precision.
    Float64,
}

temper_base::names!(Element { Real = "real", Float32 = "float32", Float64 = "float64" });

/// A variable of version 2.0, for the file of a counterexample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type.
    pub element: Element,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// What a file asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Its version.
    pub version: (u32, u32),
    /// Boxes with what may not be there. An input that violates one of them is a counterexample.
    pub properties: Vec<Property>,
    /// Boxes that were left out since no input lies in them.
    pub empty: usize,
    /// The input and the output of version 2.0.
    pub variables: Option<[Variable; 2]>,
}

/// Largest file, and largest text of a packed one.
const LARGEST: u64 = 1 << 30;

/// Reads a file (`.gz` is unpacked) about a network with so many inputs and outputs.
///
/// # Errors
/// A file that cannot be read, is no VNN-LIB, or says what Temper does not read; place and line are named.
pub fn read(path: &Path, inputs: usize, outputs: usize) -> Result<Query> {
    parse(&text(path)?, &path.display().to_string(), inputs, outputs)
}

/// The text of a file (`.gz` is unpacked).
///
/// # Errors
/// A file that cannot be read, or is no text.
pub fn text(path: &Path) -> Result<String> {
    let io = |cause: std::io::Error| Problem::io("read property", path, &cause);
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::GzDecoder::new(file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    } else {
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    let place = path.display().to_string();
    if bytes.len() as u64 > LARGEST {
        return Err(Problem::input("read property", place, format!("it has more than {LARGEST} bytes")));
    }
    String::from_utf8(bytes)
        .map_err(|_| Problem::input("read property", &place, "it is no text").hint("a VNN-LIB file is plain text"))
}

/// The same of a text; `place` says where it is from.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, place: &str, inputs: usize, outputs: usize) -> Result<Query> {
    formula::Reader::new(text, inputs, outputs).read().map_err(|(line, why, hint)| {
        let problem = Problem::input("read property", format!("{place}, line {line}"), why);
        if hint.is_empty() { problem } else { problem.hint(hint) }
    })
}
