//! Properties of networks in files: ONNX and VNN-LIB to an answer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use temper_base::{Problem, Result};
use temper_formats::vnnlib::{Element, Query};
use temper_formats::{onnx, vnnlib};
use temper_graph::Property;
use temper_verify::attack::Thin;
use temper_verify::cascade::Decision;
use temper_verify::proof::Step;
use temper_verify::verifier::Verifier;
use temper_verify::{Arithmetic, Settings};

/// A network of a file, ready to be asked.
#[derive(Debug)]
pub struct Network {
    path: PathBuf,
    verifier: Verifier,
}

impl Network {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// A file that is none, or a network that Temper does not verify.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), verifier: Verifier::new(&onnx::read(path)?.computation) })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an input violates the property of a VNN-LIB file, and the question as it was read. `stop` is asked between passes, and ends
    /// the search.
    ///
    /// # Errors
    /// A file that is none, or a property of another network or in a form that Temper does not verify.
    pub fn ask(
        &self,
        property: &Path,
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(Decision, Query)> {
        let decide = |properties: &[Property], settings: &Settings| self.verifier.decide(properties, settings, stop);
        self.read_and(property, settings, &decide)
    }

    /// The same, with the steps of a proof where one was kept.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_for_proof(
        &self,
        property: &Path,
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(Decision, Query, Option<Vec<Step>>)> {
        let decide =
            |properties: &[Property], settings: &Settings| self.verifier.decide_with_proof(properties, settings, stop);
        let ((decision, steps), query) = self.read_and(property, settings, &decide)?;
        Ok((decision, query, steps))
    }

    fn read_and<T>(
        &self,
        property: &Path,
        settings: &Settings,
        decide: &dyn Fn(&[Property], &Settings) -> Result<T>,
    ) -> Result<(T, Query)> {
        let begun = Instant::now();
        let computation = self.verifier.computation();
        let query = vnnlib::read(property, computation.inputs(), computation.outputs())?;
        let arithmetic = arithmetic(&query, settings.arithmetic, property)?;
        let timeout = settings.timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        // A network in single precision is given the nearest float for an input that is fixed at none.
        let settings = Settings { arithmetic, timeout, thin: Thin::Nearest, ..settings.clone() };
        Ok((decide(&query.properties, &settings)?, query))
    }
}

/// The sense in which a proof has to hold: where the file speaks of floats, of floats.
fn arithmetic(query: &Query, asked: Arithmetic, place: &Path) -> Result<Arithmetic> {
    let element = query.variables.as_ref().map(|variables| variables[1].element);
    match (element, asked) {
        (Some(Element::Float64), _) => Err(Problem::input(
            "verify",
            place.display(),
            "it speaks of execution in float64, for which Temper has no claim",
        )
        .hint("real and float32 can be verified")),
        (Some(Element::Float32), Arithmetic::Real) => Err(Problem::input(
            "verify",
            place.display(),
            "it speaks of execution in float32, of which plain arithmetic proves nothing",
        )
        .hint("verify it in sound arithmetic or in float32")),
        (Some(Element::Float32), _) => Ok(Arithmetic::Float32),
        (Some(Element::Real) | None, asked) => Ok(asked),
    }
}
