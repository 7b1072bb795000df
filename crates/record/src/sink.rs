//! Where events go: `metrics.jsonl`, which is the truth, and the tables and TensorBoard files derived from it.
//!
//! Every line is handed to the system as it comes and made durable at checkpoints. A checkpoint records
//! [`Recorder::sync`]'s answer, the length of `metrics.jsonl`; resuming from it cuts the file there and rebuilds the rest,
//! so that every step appears exactly once however often the run was killed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::csv::{Columns, CsvSink, Written};
use crate::event::Event;
use crate::run::RunDir;
use crate::series::each_event;
use crate::tensorboard::TensorBoardSink;
use temper_base::problem::{Problem, Result};

/// Writes the events of a run. The caller holds the run's lock.
#[derive(Debug)]
pub struct Recorder {
    run: RunDir,
    metrics: File,
    position: u64,
    derived: Derived,
}

impl Recorder {
    /// Begins the record of a new run.
    ///
    /// # Errors
    /// If the run has a record already, or the machine cannot make the file. Tables that cannot be made are a
    /// [`warning`](Self::warning).
    pub fn create(run: &RunDir) -> Result<Self> {
        let path = run.metrics();
        let metrics = OpenOptions::new().append(true).create_new(true).open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Problem::input("record run", path.display(), "there is already a record")
                .hint("resume the run, or choose another directory"),
            _ => Problem::io("record run", &path, &e),
        })?;
        Ok(Self { run: run.clone(), metrics, position: 0, derived: Derived::begin(run) })
    }

    /// Continues the record of a run from a checkpoint that was taken when `metrics.jsonl` was `position` bytes long:
    /// what came after is cut off, and everything derived is rebuilt.
    ///
    /// # Errors
    /// If `metrics.jsonl` is shorter than `position`, does not end a line there, or cannot be cut; or if what is left of it is damaged.
    pub fn resume(run: &RunDir, position: u64) -> Result<Self> {
        truncate_to(run, position)?;
        let path = run.metrics();
        let metrics = OpenOptions::new().append(true).open(&path).map_err(|e| Problem::io("record run", &path, &e))?;
        // Damage is an error before anything is derived from it.
        each_event(&path, |_, _| Ok(()))?;
        Ok(Self { run: run.clone(), metrics, position, derived: Derived::begin(run) })
    }

    /// Writes one event. Fails only if `metrics.jsonl` cannot be written; for the rest see [`warning`](Self::warning).
    ///
    /// # Errors
    /// If the machine cannot write `metrics.jsonl`.
    pub fn record(&mut self, event: &Event) -> Result<()> {
        let line = event.to_line();
        if let Err(e) = self.metrics.write_all(line.as_bytes()) {
            // No half line in front of whatever is written next; if this fails too, `resume` cuts it.
            let _ = self.metrics.set_len(self.position);
            let path = self.run.metrics();
            return Err(Problem::machine("record event", path.display(), e).hint("once this is fixed, resume the run"));
        }
        self.position += line.len() as u64;
        self.derived.write(&self.run, event);
        if matches!(event, Event::Done { .. }) && self.derived.is_incomplete() {
            // What failed in passing, a disk that was full for a while, is put right now.
            self.derived = Derived::begin(&self.run);
        }
        if matches!(event, Event::Checkpoint { .. } | Event::Stop { .. } | Event::Done { .. }) {
            self.sync()?;
        }
        Ok(())
    }

    /// Length of `metrics.jsonl` in bytes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Makes everything recorded so far durable, for a checkpoint that refers to it, and gives the length of
    /// `metrics.jsonl` in bytes.
    ///
    /// # Errors
    /// If the machine cannot sync `metrics.jsonl`.
    pub fn sync(&mut self) -> Result<u64> {
        let path = self.run.metrics();
        self.metrics.sync_data().map_err(|e| Problem::machine("record event", path.display(), e))?;
        Ok(self.position)
    }

    /// Tables or TensorBoard files that could not be written, reported once. Training need not stop for it: [`rebuild`] makes
    /// them from `metrics.jsonl` at any time.
    pub fn warning(&mut self) -> Option<Problem> {
        self.derived.failed.take()
    }
}

/// Cuts `metrics.jsonl` to a length that a checkpoint recorded.
///
/// # Errors
/// If the file is shorter than `position`, does not end a line there, or cannot be read or cut.
pub fn truncate_to(run: &RunDir, position: u64) -> Result<()> {
    let path = run.metrics();
    let io = |e: io::Error| Problem::io("resume record", &path, &e);
    let damaged = |why: String| {
        Problem::input("resume record", path.display(), why)
            .hint("another program changed metrics.jsonl: restore it from a backup, or branch from the checkpoint")
    };
    let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length < position {
        return Err(damaged(format!("it has {length} bytes, but the checkpoint was taken at byte {position}")));
    }
    if position > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(position - 1)).and_then(|_| file.read_exact(&mut last)).map_err(io)?;
        if last != *b"\n" {
            return Err(damaged(format!("no line ends at byte {position}, where the checkpoint was taken")));
        }
    }
    file.set_len(position).and_then(|()| file.sync_all()).map_err(io)
}

/// Writes the tables and the TensorBoard file again from `metrics.jsonl`.
///
/// # Errors
/// If `metrics.jsonl` cannot be read or is damaged, or the machine cannot write one of the files.
pub fn rebuild(run: &RunDir) -> Result<()> {
    each_event(&run.metrics(), |_, _| Ok(()))?;
    match Derived::begin(run).failed {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

/// Everything that follows from `metrics.jsonl`. If one of them fails it is given up and the failure kept for the caller.
#[derive(Debug)]
struct Derived {
    csv: Option<CsvSink>,
    tensorboard: Option<TensorBoardSink>,
    failed: Option<Problem>,
}

impl Derived {
    /// From the record as it is.
    fn begin(run: &RunDir) -> Self {
        let mut derived = Self { csv: None, tensorboard: None, failed: None };
        derived.csv = derived.keep(run, csv_of(run));
        let tensorboard = TensorBoardSink::create(run).and_then(|mut sink| {
            from_record(run, |event| sink.write(event))?;
            Ok(sink)
        });
        derived.tensorboard = derived.keep(run, tensorboard);
        derived
    }

    fn is_incomplete(&self) -> bool {
        self.csv.is_none() || self.tensorboard.is_none()
    }

    fn write(&mut self, run: &RunDir, event: &Event) {
        if let Some(mut csv) = self.csv.take() {
            let written = csv.write(event).and_then(|written| match written {
                Written::Yes => Ok(csv),
                // The event is in metrics.jsonl already.
                Written::NewColumn => csv_of(run),
            });
            self.csv = self.keep(run, written);
        }
        if let Some(mut tensorboard) = self.tensorboard.take() {
            let written = tensorboard.write(event).map(|()| tensorboard);
            self.tensorboard = self.keep(run, written);
        }
    }

    fn keep<T>(&mut self, run: &RunDir, result: io::Result<T>) -> Option<T> {
        result
            .map_err(|e| {
                let hint = "training continues; metrics.jsonl has everything";
                self.failed = Some(Problem::machine("write tables", run.path().display(), e).hint(hint));
            })
            .ok()
    }
}

fn csv_of(run: &RunDir) -> io::Result<CsvSink> {
    let mut columns = Columns::default();
    from_record(run, |event| {
        columns.add(event);
        Ok(())
    })?;
    let mut csv = CsvSink::create(run, columns)?;
    from_record(run, |event| csv.write(event).map(drop))?;
    Ok(csv)
}

/// Hands over the events of a record one after the other.
fn from_record(run: &RunDir, mut each: impl FnMut(&Event) -> io::Result<()>) -> io::Result<()> {
    let mut failed = Ok(());
    let read = each_event(&run.metrics(), |_, event| {
        if failed.is_ok() {
            failed = each(&event);
        }
        Ok(())
    });
    failed.and(read.map_err(|problem| io::Error::other(problem.to_string())))
}
