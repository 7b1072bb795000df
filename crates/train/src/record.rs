//! What the directory of a run holds from its beginning, and the first lines of its record.

use temper_base::files::write_whole;
use temper_base::listener::{Caller, Listener};
use temper_base::{Problems, Result};
use temper_recipe::{Origin, Recipe};
use temper_record::checkpoint::discard_after;
use temper_record::env::{Env, now};
use temper_record::event::{Event, Parent, RunInfo};
use temper_record::run::{At, RunDir, RunRef};
use temper_record::series::RunSeries;
use temper_record::sink::Recorder;

use crate::checkpoint::State;
use crate::lengths::Lengths;
use crate::run::{Session, planned_end};

/// What the first line of a run's record says beyond its recipe.
pub(crate) struct About {
    /// `lm` or `certify`.
    pub task: &'static str,
    /// Seed of the order of the data.
    pub seed: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// How the weights came to be: `fresh`, `branch`, `hf` or `state-dict`.
    pub start: &'static str,
    /// The run it branches from.
    pub parent: Option<Parent>,
    /// What it computes on, if not on the processor.
    pub device: Option<String>,
}

/// Writes what a run directory holds from the beginning, and the first lines of its record. `phases` (name, first and last update) are
/// the phases of the run; if there are none, the learning rate's are.
#[allow(clippy::too_many_arguments)]
pub(crate) fn begin_record(
    run: &RunDir,
    recipe: &Recipe,
    lengths: &Lengths,
    state: &State,
    about: About,
    phases: &[(&'static str, u64, u64)],
    session: Session,
) -> Result<Recorder, Problems> {
    let Session { listener, ranks, .. } = session;
    if let Some(max_steps) = lengths.beyond {
        let (end, more) = (lengths.planned, max_steps - lengths.planned);
        let why = format!("max_steps asks for {more} updates more than the recipe has: the run ends at update {end}");
        listener.warn(&why, Some("max_steps only ends a run earlier; run.horizon makes it longer"));
    }
    write_whole(&run.recipe(), source_text(recipe).as_bytes())?;
    write_whole(&run.resolved(), recipe.to_toml().as_bytes())?;
    let version = env!("CARGO_PKG_VERSION");
    let Caller { commit, command } = listener.caller();
    let environment = Env::collect(version, commit.as_deref(), rayon::current_num_threads(), command);
    let environment = Env { device: about.device, ranks: ranks.size(), ..environment };
    environment.write(run)?;
    listener.keep_log(&run.log())?;
    let mut recorder = Recorder::create(run)?;
    let updates = lengths.stop - state.step;
    recorder.record(&Event::Start(RunInfo {
        task: about.task.into(),
        recipe: recipe.name().into(),
        seed: about.seed,
        steps: lengths.stop,
        end: if lengths.cut { lengths.planned } else { 0 },
        tokens: state.tokens + updates * lengths.tokens_per_step,
        first_step: state.step,
        first_tokens: state.tokens,
        parameters: about.parameters,
        start: about.start.into(),
        parent: about.parent,
        version: version.into(),
        commit,
        time: now(),
    }))?;
    record_phases(&mut recorder, lengths, phases, state.step, state.step)?;
    Ok(recorder)
}

/// Records the phases of a run that began at update `begin`, from the one on that ends behind update `known`.
fn record_phases(
    recorder: &mut Recorder,
    lengths: &Lengths,
    phases: &[(&'static str, u64, u64)],
    begin: u64,
    known: u64,
) -> Result<()> {
    let bands = lengths.schedule.bands(lengths.stop);
    let bands = bands.iter().map(|band| (band.name.as_str(), band.first, band.last));
    let bands: Vec<_> = if phases.is_empty() { bands.collect() } else { phases.to_vec() };
    for (name, first, last_step) in bands.into_iter().filter(|(_, _, last)| *last > known) {
        let first_step = first.max(begin + 1);
        recorder.record(&Event::Phase { name: name.to_string(), first_step, last_step })?;
    }
    Ok(())
}

/// The record of a run that resumes from the checkpoint of `state`. It drops what came after that checkpoint.
/// `info` is how the run began, `phases` are as those of [`begin_record`]: if the run gets a later end, the record gets the phases up to it.
pub(crate) fn resume_record(
    run: &RunDir,
    named: &RunRef,
    state: &State,
    lengths: &Lengths,
    info: &RunInfo,
    phases: &[(&'static str, u64, u64)],
    listener: &dyn Listener,
) -> Result<Recorder> {
    if named.at != At::Last {
        for step in discard_after(run, state.step)? {
            listener.say(&format_args!("removed the checkpoint of step {step}, which comes after the one resumed"));
        }
    }
    let mut recorder = Recorder::resume(run, state.metrics_bytes)?;
    listener.keep_log(&run.log())?;
    // What the record says from here on: an end given before may have been cut off with what came after the checkpoint.
    let series = RunSeries::without_steps(run)?;
    let until = (planned_end(run, &series)? != lengths.stop).then_some(lengths.stop);
    recorder.record(&Event::Resume { step: state.step, tokens: state.tokens, time: now(), until })?;
    if until.is_some() {
        let known = series.phases.last().map_or(0, |phase| phase.last_step);
        record_phases(&mut recorder, lengths, phases, info.first_step, known)?;
    }
    listener.say(&format_args!("{}: resuming after step {} of {}", run.path().display(), state.step, lengths.stop));
    Ok(recorder)
}

/// The recipe as the user gave it, with the overrides ahead of it.
fn source_text(recipe: &Recipe) -> String {
    let overrides: Vec<_> = recipe
        .overridden()
        .into_iter()
        .filter_map(|key| Some(format!("# {} {key}={}\n", Origin::Set, recipe.get(key)?.value)))
        .collect();
    overrides.concat() + &recipe.text_as_written().map_or_else(|| recipe.to_toml(), str::to_owned)
}
