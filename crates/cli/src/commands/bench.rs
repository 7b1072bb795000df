//! `temper bench`: whole updates of the production path on made-up data, timed one by one.
//!
//! An update is what a run makes between two batches: forward, loss, backward, clipping, optimiser. Making the data is not
//! timed. Equal seeds give equal weights, data and losses.

mod ibp;
mod lm;
pub(super) mod made_up;

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use temper_base::numbers::count;
use temper_base::{Problem, Result};
use temper_kernels::arch::{self, InstructionSet};

use crate::args::{self, BenchCommand, Repeat};
use crate::printer::Printer;
use crate::problems::Outcome;
use temper_train::machine;

/// How many of the first losses are reported, those of the updates before the timed ones included.
const LOSSES: usize = 4;

/// Runs the command.
pub fn run(command: &BenchCommand, printer: &Printer) -> Outcome {
    let (BenchCommand::Lm(args::BenchLm { repeat, .. }) | BenchCommand::Ibp(args::BenchIbp { repeat, .. })) = command;
    if repeat.no_avx512 {
        arch::pretend_at_most(InstructionSet::Avx2);
    }
    match command {
        BenchCommand::Lm(args) => lm::run(args, printer),
        BenchCommand::Ibp(args) => ibp::run(args, printer),
    }
}

/// What is timed, in numbers that do not depend on the machine.
struct Work {
    /// Its settings, for the JSON form.
    settings: Value,
    /// A line on it.
    about: String,
    /// `tokens` or `images`.
    unit: &'static str,
    /// How many of them in an update.
    units: usize,
    /// Floating-point operations of an update.
    flops: f64,
}

/// Times of the updates after the first few, in seconds, and losses of the first few.
struct Measured {
    seconds: Vec<f64>,
    losses: Vec<f64>,
}

/// Makes `repeat.warmup + repeat.steps` updates. `batch` makes the data of an update, counted from 0; `update` is timed
/// and gives the loss.
fn measure<B>(
    repeat: &Repeat,
    mut batch: impl FnMut(u64) -> B,
    mut update: impl FnMut(u64, &B) -> Result<f64>,
) -> Result<Measured> {
    let (warmup, steps) = (u64::from(repeat.warmup), u64::from(repeat.steps));
    let mut measured = Measured { seconds: Vec::new(), losses: Vec::new() };
    for step in 0..warmup + steps {
        let data = batch(step);
        let clock = Instant::now();
        let loss = update(step, &data)?;
        let seconds = clock.elapsed().as_secs_f64();
        if step >= warmup {
            measured.seconds.push(seconds);
        }
        if measured.losses.len() < LOSSES {
            measured.losses.push(loss);
        }
    }
    measured.seconds.sort_by(f64::total_cmp);
    Ok(measured)
}

impl Measured {
    /// The median of the times.
    fn median(&self) -> f64 {
        let (n, sorted) = (self.seconds.len(), &self.seconds);
        (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
    }

    fn show(&self, work: Work, repeat: &Repeat, printer: &Printer) {
        let (median, min, max) = (self.median(), self.seconds[0], self.seconds[self.seconds.len() - 1]);
        let (rate, flops) = (work.units as f64 / median, work.flops / median);
        let (threads, peak) = (rayon::current_num_threads(), machine::peak_memory());
        if repeat.json {
            let mut instructions = machine::instructions();
            instructions.retain(|name| !repeat.no_avx512 || *name != "AVX-512");
            let mut result = work.settings;
            let measured = json!({
                "seed": repeat.seed, "threads": threads, "instructions": instructions,
                "warmup": repeat.warmup, "steps": repeat.steps,
                "seconds_median": median, "seconds_min": min, "seconds_max": max,
                format!("{}_per_s", work.unit): rate,
                "flop_per_step": work.flops, "gflop_per_s": flops / 1e9,
                "peak_memory_bytes": peak, "losses": self.losses,
            });
            if let (Value::Object(result), Value::Object(measured)) = (&mut result, measured) {
                result.extend(measured);
            }
            printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
            return;
        }
        let losses: Vec<String> = self.losses.iter().map(|loss| format!("{loss:.6}")).collect();
        let peak = peak.map_or("not known".into(), |peak| format!("{}B at the peak", count(peak as f64)));
        printer.data(format_args!("what      {}, {threads} threads", work.about));
        printer.data(format_args!(
            "update    {median:.4} s: the median of {}, from {min:.4} to {max:.4} s",
            self.seconds.len()
        ));
        printer.data(format_args!("speed     {rate:.0} {}/s, {:.1} GFLOP/s", work.unit, flops / 1e9));
        printer.data(format_args!("memory    {peak}"));
        printer.data(format_args!("losses    {}", losses.join(" ")));
    }
}

/// An error if the machine has too little memory: the system would kill the process without an error.
fn require_memory(command: &str, needed: u64, hint: &str) -> Result<()> {
    let Some(machine) = machine::memory().filter(|machine| needed > machine.total) else { return Ok(()) };
    let (needed, there) = (count(needed as f64), count(machine.total as f64));
    let why = format!("about {needed}B of memory are needed, this machine has {there}B");
    Err(Problem::input("bench", command, why).hint(hint))
}

/// Makes the folder of `--dump`, which must be new or empty.
fn begin_dump(folder: &Path) -> Result<()> {
    let io = |cause| Problem::io("write weights and data", folder, &cause);
    fs::create_dir_all(folder).map_err(io)?;
    match fs::read_dir(folder).map_err(io)?.next() {
        None => Ok(()),
        Some(_) => Err(Problem::input("write weights and data", folder.display(), "is not empty")
            .hint("choose another folder: Temper never overwrites a file")),
    }
}

/// Writes `bench.json`: what the updates are made with.
fn dump_settings(folder: &Path, settings: &Value) -> Result<()> {
    let path = folder.join("bench.json");
    let text = serde_json::to_string_pretty(settings).expect("plain data") + "\n";
    fs::write(&path, text).map_err(|cause| Problem::io("write weights and data", path, &cause))
}
