//! What a recipe does and costs, before anything starts.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::count;
use temper_base::{Problem, Problems, Result};
use temper_graph::NetworkConfig;
use temper_recipe::{Origin, Recipe};
use temper_schedule::{EpsSchedule, EpsShape};
use temper_train::checkpoint::{self, State};
use temper_train::lengths::Lengths;
use temper_train::machine;
use temper_train::plan::{Warnings, checkpoint_seconds, checkpoints, past_schedule};
use temper_train::run::{self, resolved_recipe};
use temper_train::spec::clocks::Clocks;
use temper_train::spec::{Spec, base_of};
use temper_train::start::refuse_init;

use crate::checkpoint as content;
use crate::cost::{Memory, attack_passes, calibrate, checkpoint_bytes, evaluation_passes, passes};
use crate::images::{self, Size};
use crate::network::network;
use crate::radius::EpsAt;
use crate::spec::{self, CertifySpec};
use crate::start;

/// Part of a run between two ends of the ramp.
pub struct Phase {
    /// What it is called.
    pub name: &'static str,
    /// Its first update.
    pub first: u64,
    /// Its last update.
    pub last: u64,
    /// Images trained on.
    pub images: u64,
    /// Of its last update.
    pub radius: EpsAt,
    /// Passes through the network for an image.
    pub passes: u64,
    /// Seconds of an update, and on how many images that was measured.
    pub measured: Option<(f64, usize)>,
}

impl Phase {
    /// How many updates it has.
    pub fn updates(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a recipe comes to.
pub struct Plan {
    /// The network.
    pub config: NetworkConfig,
    /// What it trains on.
    pub size: Size,
    /// Its lengths in updates.
    pub lengths: Lengths,
    /// The radius by update.
    pub eps: EpsSchedule,
    /// The parts of the run.
    pub phases: Vec<Phase>,
    /// Memory of the run.
    pub memory: Memory,
    /// Updates of an epoch.
    pub epoch: u64,
    /// Checkpoints on disk at the end.
    pub kept: u64,
    /// The most multiply-adds that all evaluations take, attacks included.
    pub evaluation_macs: f64,
    /// Of those, the attacks'.
    attack_macs: f64,
    /// How often the run evaluates.
    pub evaluations: u64,
    /// What the recipe says, with everything that start and base fill in.
    pub spec: CertifySpec,
}

/// Seconds of a run, by what they are for.
pub struct Seconds {
    /// All updates.
    pub updates: f64,
    /// All evaluations at most, attacks included.
    pub evaluations: f64,
    /// Of those, the attacks.
    pub attacks: f64,
}

/// Refuses what a start refuses before it trains, and adds what a user should know before starting.
///
/// # Errors
/// Images that are not there, a batch larger than the training set, weights that do not fit, a run without updates.
pub fn check(plan: &Plan, from: Option<&str>, device: &Device, warnings: &mut Warnings) -> Result<(), Problems> {
    require_images(&plan.spec)?;
    refuse(plan, from, device)?;
    let fresh = from.is_none() || !plan.spec.run.clocks.weights;
    look_for_trouble(plan, fresh, warnings);
    Ok(())
}

/// What a start refuses before it trains.
fn refuse(plan: &Plan, from: Option<&str>, device: &Device) -> Result<(), Problems> {
    if plan.size.here {
        start::check_batch(&plan.spec, plan.size.train)?;
    }
    let run = &plan.spec.run;
    match (from, &run.from) {
        (Some(name), _) => {
            let kept = run.clocks.schedule;
            let state = checkpoint::read_state(&run::checkpoint_of(name)?.1)?;
            run::require_updates(run, &plan.lengths, &if kept { state } else { State::default() })?;
        }
        (None, Some(path)) => _ = start::read_weights(plan.config.clone(), Path::new(path), device)?,
        (None, None) => run::require_updates(run, &plan.lengths, &State::default())?,
    }
    Ok(())
}

/// Images that the user names must be there. Those of a built-in recipe may still have to be fetched.
fn require_images(spec: &CertifySpec) -> Result<()> {
    match images::missing_images(spec)? {
        Some(problem) if !spec.images_of_builtin_recipe() => Err(problem),
        _ => Ok(()),
    }
}

/// Resolves a recipe, as a branch of the run `from` if it is given; what base and method decide is in it afterwards. If the data is not here, its name says what it is.
///
/// # Errors
/// Everything that is wrong with the recipe, for this base and these images; a base that cannot be read or is of another task.
pub fn resolve(
    recipe: &mut Recipe,
    from: Option<&str>,
    device: &Device,
    warnings: &mut Warnings,
) -> Result<Plan, Problems> {
    let (mut kept_network, mut manifest, mut kept_data) = (None, None, None);
    if let Some(name) = from {
        let (base, checkpoint) = run::checkpoint_of(name)?;
        let base_recipe = resolved_recipe(&base, recipe.schema())?;
        if *base_recipe.task() != spec::TASK {
            let problem = Problem::input("plan", Origin::Base(name.into()), "it is a run of a language model");
            return Err(problem
                .hint("a recipe of certified training branches from a run of certified training")
                .into());
        }
        refuse_init(recipe)?;
        spec::inherit(recipe, &base_recipe, name);
        let clocks = Clocks::of_branch(recipe)?;
        kept_data = clocks.data.then_some((base_recipe, name));
        if clocks.weights {
            kept_network = Some((name, content::read_net(&checkpoint, device)?.config));
            manifest = Some((images::Manifest::read(&base)?, name));
        }
    } else if let Some(base) = base_of(recipe)? {
        warnings.push((
            format!("this recipe branches from a run of {base}"),
            format!("planning `{}` from a run shows it as a branch of that run", recipe.name()),
        ));
    }
    spec::fill_method(recipe)?;
    let spec = CertifySpec::read(recipe)?;
    if let Some((base, name)) = &kept_data {
        start::require_same_batches(&spec, base, name)?;
    }
    let size = images::size_as(&spec, manifest.as_ref().map(|(manifest, name)| manifest.classes(name)))?;
    if !size.here {
        warnings.push((
            format!("{}: there is nothing there yet", spec.images()?),
            format!("planned with the numbers of {0}; fetching `{0}` gets it", size.name),
        ));
    }
    let config = match kept_network {
        None => network(&spec, size.shape, size.classes)?,
        Some((name, config)) => {
            start::require_fit(&spec, &config, name, size.shape, size.classes)?;
            config
        }
    };
    let lengths = spec.lengths(size.train, None)?;
    let eps = spec.radius(size.train, &lengths)?;
    let (method, batch) = (&spec.method, spec.batch as u64);
    let after = |updates: u64| size.images_after(updates, batch);
    let phase = |(name, first, last): (&'static str, u64, u64)| {
        let radius = EpsAt { eps: eps.at(last), target: eps.target, weight: eps.weight(last, method.lambda) };
        let images = after(last) - after(first - 1);
        let passes = passes(method, &radius, config.classes);
        Phase { name, first, last, images, radius, passes, measured: None }
    };
    let phases: Vec<Phase> = eps.bands(lengths.stop).into_iter().map(phase).collect();
    let memory = memory(&spec, &config, size.train + size.holdout + size.test, size.train)?;
    let periodic = lengths.stop.checked_div(lengths.keep_every).unwrap_or(0);
    let ramp_end = if eps.shape == EpsShape::Constant { 0 } else { eps.last };
    let best = u64::from(lengths.stop > ramp_end);
    let kept = spec.run.keep_last as u64 + periodic + lengths.keep_at.len() as u64 + best;
    let evaluation = &spec.eval;
    let sets = [size.holdout, size.test];
    let of_sets = |in_ramp: bool| -> f64 {
        sets.iter().map(|images| evaluation_passes(*images, evaluation, in_ramp) as f64).sum()
    };
    let every = if lengths.eval_every == 0 { lengths.stop } else { lengths.eval_every };
    // One before the first update, one at the end.
    let until = |step: u64| 1 + (step.min(lengths.stop) / every);
    let (in_ramp, all) = (until(ramp_end), until(lengths.stop) + u64::from(!lengths.stop.is_multiple_of(every)));
    let evaluation_passes = in_ramp as f64 * of_sets(true) + (all - in_ramp) as f64 * of_sets(false);
    let evaluation_macs = evaluation_passes * config.macs() as f64;
    let attacks: f64 = sets.iter().map(|images| attack_passes(*images, evaluation) as f64).sum();
    let attack_macs = all as f64 * attacks * config.macs() as f64;
    let epoch = (size.train as u64).div_ceil(batch);
    let evaluations = all;
    Ok(Plan {
        config,
        size,
        lengths,
        eps,
        phases,
        memory,
        epoch,
        kept,
        evaluation_macs,
        attack_macs,
        evaluations,
        spec,
    })
}

/// Memory of a run of this recipe with `images` images in all, of which it trains on `train`.
pub(crate) fn memory(spec: &CertifySpec, config: &NetworkConfig, images: usize, train: usize) -> Result<Memory> {
    let piece = spec.batch.min(train).div_ceil(spec.accumulation.parts());
    Memory::of(config, &spec.method, spec.accumulation.shards, piece, spec.eval.rows.min(images), images)
}

impl Plan {
    /// Times a few updates of every phase on this device.
    pub fn measure(&mut self, device: &Device) {
        let CertifySpec { method, accumulation, batch, .. } = &self.spec;
        let rows = (*batch).min(self.size.train);
        for phase in &mut self.phases {
            phase.measured = Some(calibrate(&self.config, method, &phase.radius, rows, *accumulation, device));
        }
    }

    /// Seconds of an update by phase, and on how many images they were measured; for another run that makes the same updates.
    pub fn measured(&self) -> Vec<Option<(f64, usize)>> {
        self.phases.iter().map(|phase| phase.measured).collect()
    }

    /// Takes over what [`Plan::measured`] gave.
    pub fn take_measured(&mut self, measured: &[Option<(f64, usize)>]) {
        for (phase, measured) in self.phases.iter_mut().zip(measured) {
            phase.measured = *measured;
        }
    }

    /// What decides the time of its updates.
    pub fn kind(&self) -> String {
        let phases: Vec<_> = self.phases.iter().map(|phase| (phase.name, phase.passes)).collect();
        format!("{:?} {phases:?}", self.config)
    }

    /// Images trained on.
    pub fn images(&self) -> u64 {
        self.phases.iter().map(|phase| phase.images).sum()
    }

    /// Floating-point operations of an image in a phase.
    pub fn flops(&self, phase: &Phase) -> f64 {
        2.0 * self.config.macs() as f64 * phase.passes as f64
    }

    /// Of an epoch at the end of the run.
    pub fn epoch_flops(&self) -> f64 {
        self.phases.last().map_or(0.0, |phase| self.flops(phase) * self.size.train as f64)
    }

    /// Floating-point operations of all updates.
    pub fn training_flops(&self) -> f64 {
        self.phases.iter().map(|phase| self.flops(phase) * phase.images as f64).sum()
    }

    /// Seconds of all updates, and of all evaluations at most, at the same pace.
    pub fn seconds(&self) -> Option<Seconds> {
        let of = |phase: &Phase| Some(phase.measured?.0 * phase.updates() as f64);
        let updates: f64 = self.phases.iter().map(of).sum::<Option<f64>>()?;
        let at_pace = |macs: f64| updates * 2.0 * macs / self.training_flops();
        Some(Seconds { updates, evaluations: at_pace(self.evaluation_macs), attacks: at_pace(self.attack_macs) })
    }

    /// The images that the run verifies at its end, and the most seconds that their searches take; none if it verifies nothing.
    pub fn verification(&self) -> Option<(usize, f64)> {
        let asked = self.spec.at_the_end?;
        let images = asked.images.min(self.size.test);
        Some((images, images as f64 * asked.timeout.as_secs_f64()))
    }

    /// How many checkpoints the run writes, and the seconds that they take.
    pub fn checkpoints(&self) -> (u64, f64) {
        let number = checkpoints(&self.lengths);
        (number, checkpoint_seconds(checkpoint_bytes(&self.config)) * number as f64)
    }
}

fn look_for_trouble(plan: &Plan, fresh: bool, warnings: &mut Warnings) {
    let mut warn = |what: String, remedy: &str| warnings.push((what, remedy.into()));
    let Plan { lengths, eps, size, spec, .. } = plan;
    if let Some(machine::Memory { total, .. }) = machine::memory()
        && plan.memory.total() > total / 10 * 9
    {
        let (needed, there) = (count(plan.memory.total() as f64), count(total as f64));
        warn(
            format!("about {needed}B of memory are needed, this machine has {there}B"),
            "a larger batch.accumulate computes a batch in smaller pieces",
        );
    }
    if size.holdout == 0 {
        warn(
            "the best checkpoint is chosen on the test set: its error is a little optimistic".into(),
            "data.holdout = 0.05 chooses it on images held out of the training set; nothing chooses the last checkpoint",
        );
    }
    for what in &size.passed_over {
        warn(what.clone(), images::READ);
    }
    let accumulation = spec.accumulation;
    if accumulation.parts() > 1 && plan.config.has_batch_norm() {
        if accumulation.whole_batch_statistics {
            warn(
                "no gradient flows through the batch-norm statistics, since they are of the whole batch".into(),
                "without batch.accumulate and batch.shards, training is on whole batches",
            );
        } else {
            warn(
                format!("each of the {} pieces of a batch is normalised with its own statistics", accumulation.parts()),
                "as in the paper's code, but not the numbers of a whole batch; batch.statistics = \"batch\" normalises all with those of \
                 the batch, through which then no gradient flows",
            );
        }
    }
    if let Some(problem) = spec.small_last_batch(&plan.config, size.train) {
        warn(problem, "choose another batch.images or data.max_train");
    }
    for (key, why) in spec.without_effect(fresh) {
        warn(format!("{key} has no effect: {why}"), "leave it out");
    }
    if lengths.stop <= eps.last && eps.shape != EpsShape::Constant {
        warn(
            format!(
                "training stops at update {}, the ramp ends at {}: no checkpoint will be marked as best",
                lengths.stop, eps.last
            ),
            "a longer run.stop or a shorter eps.length",
        );
    }
    if let Some((what, remedy)) = past_schedule(lengths) {
        warn(what, remedy);
    }
    if lengths.eval_every > lengths.stop || lengths.eval_every == 0 {
        warn(
            "evaluations happen only before the first and after the last update".into(),
            "eval.every = \"1 epoch\" shows the course of the run, and lets the best checkpoint be chosen",
        );
    }
}
