//! Events as tables for spreadsheets and data frames: `steps.csv` (one row an update) and `evals.csv` (one row a set and
//! evaluation). Columns are the metrics in the order of their first appearance; a missing one is an empty field.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::event::{Event, Values};
use crate::run::RunDir;
use temper_base::files;

/// Writes both tables.
#[derive(Debug)]
pub struct CsvSink {
    steps: Table,
    evals: Table,
}

/// What became of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the table, or of a kind that has no table.
    Yes,
    /// It brings a metric that has no column: the tables must be written again from the first event.
    NewColumn,
}

impl CsvSink {
    /// Begins empty tables with these columns.
    ///
    /// # Errors
    /// If one of the files cannot be made.
    pub fn create(run: &RunDir, columns: Columns) -> io::Result<Self> {
        Ok(Self {
            steps: Table::create(run.steps_csv(), "step,tokens", columns.steps)?,
            evals: Table::create(run.evals_csv(), "step,tokens,set", columns.evals)?,
        })
    }

    /// Adds a row for the event, if it has one.
    ///
    /// # Errors
    /// If the machine cannot write.
    pub fn write(&mut self, event: &Event) -> io::Result<Written> {
        match event {
            Event::Step { step, tokens, values } => self.steps.row(&format!("{step},{tokens}"), values),
            Event::Eval { step, tokens, set, values } => {
                self.evals.row(&format!("{step},{tokens},{}", quoted(set)), values)
            }
            _ => Ok(Written::Yes),
        }
    }
}

/// The columns of both tables.
#[derive(Debug, Default)]
pub struct Columns {
    steps: Vec<String>,
    evals: Vec<String>,
}

impl Columns {
    /// Adds those of the event's metrics that are new.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Step { values, .. } => collect(&mut self.steps, values),
            Event::Eval { values, .. } => collect(&mut self.evals, values),
            _ => {}
        }
    }
}

fn collect(names: &mut Vec<String>, values: &Values) {
    for (name, _) in values.iter() {
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
}

/// One file with a header and a fixed set of columns.
#[derive(Debug)]
struct Table {
    file: File,
    names: Vec<String>,
}

impl Table {
    fn create(path: PathBuf, keys: &str, names: Vec<String>) -> io::Result<Self> {
        let mut file = files::create_afresh(&path)?;
        let header = names.iter().fold(keys.to_owned(), |line, name| line + "," + &quoted(name));
        file.write_all((header + "\n").as_bytes())?;
        Ok(Self { file, names })
    }

    fn row(&mut self, keys: &str, values: &Values) -> io::Result<Written> {
        if values.iter().any(|(name, _)| !self.names.iter().any(|n| n == name)) {
            return Ok(Written::NewColumn);
        }
        let mut line = keys.to_owned();
        for name in &self.names {
            line.push(',');
            if let Some(value) = values.get(name) {
                line += &value.to_string();
            }
        }
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        Ok(Written::Yes)
    }
}

/// A text as a field of a CSV file (RFC 4180). A spreadsheet takes what begins like a formula for one: an apostrophe before
/// it makes it text. Numbers need none of this, a sign included.
pub fn quoted(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
