//! What a tree of runs costs: updates, tokens or images, time, memory and disk; and how many runs to train side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Instant;

use burn::tensor::Device;
use temper::Trains;
use temper_base::{Listener, Problems, Result};
use temper_certify as certify;
use temper_certify::cost::checkpoint_bytes as network_bytes;
use temper_data::Vocabulary;
use temper_lm as lm;
use temper_lm::cost::{Memory, calibrate, checkpoint_bytes};
use temper_lm::shape;
use temper_lm::spec::{LmSpec, TextSpec};
use temper_lm::step::Pieces;
use temper_model::GptNeoxConfig;
use temper_recipe::Recipe;
use temper_train::machine;
use temper_train::spec::Spec;

use crate::texts;
use crate::tree::{Node, Parent, Tree};

/// What one run takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Updates.
    pub steps: u64,
    /// Tokens or images.
    pub amount: u64,
    /// `tokens` or `images`.
    pub unit: &'static str,
    /// Trainable parameters.
    pub parameters: u64,
    /// Floating-point operations of the updates.
    pub flops: f64,
    /// Seconds with evaluations, as far as their size is known; `None` if nothing was timed.
    pub seconds: Option<f64>,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes on disk when it is complete.
    pub disk: u64,
}

impl Cost {
    /// The cost of what is left after that many updates; memory and disk stay the same.
    pub fn remaining_after(&self, step: u64) -> Self {
        let left = self.steps.saturating_sub(step);
        let part = left as f64 / self.steps.max(1) as f64;
        Self {
            steps: left,
            amount: (self.amount as f64 * part).round() as u64,
            flops: self.flops * part,
            seconds: self.seconds.map(|seconds| seconds * part),
            ..self.clone()
        }
    }
}

/// Times that were taken already, by what decides them.
#[derive(Default)]
pub struct Clock {
    models: BTreeMap<String, f64>,
    networks: BTreeMap<String, Vec<Option<(f64, usize)>>>,
    /// The models that were timed, for [`side_by_side`].
    kinds: Vec<(GptNeoxConfig, usize, usize, Pieces)>,
}

/// The cost of every run. With a clock, models are timed on this device, each kind once.
///
/// # Errors
/// A recipe whose model, lengths or images do not resolve, and a base run that cannot be read.
pub fn of_tree(
    tree: &Tree,
    mut clock: Option<&mut Clock>,
    device: &Device,
    listener: &dyn Listener,
) -> Result<Vec<Cost>, Problems> {
    let mut costs = Vec::new();
    for node in &tree.nodes {
        let base = base_of(tree, node)?;
        costs.push(match Trains::of(&node.recipe) {
            Trains::LanguageModel => language_model(node, base, clock.as_deref_mut(), device, listener)?,
            Trains::Classifier => classifier(node, base.map(|(base, _)| base), clock.as_deref_mut(), device, listener)?,
        });
    }
    Ok(costs)
}

/// The recipe of the run that a run branches from, and its tokenizer.
fn base_of(tree: &Tree, node: &Node) -> Result<Option<(Recipe, Option<String>)>, Problems> {
    Ok(match &node.parent {
        None => None,
        Some((Parent::Node(index), _)) => {
            let base = tree.nodes[*index].recipe.clone();
            let tokenizer = lm::spec::tokenizer(&base)?;
            Some((base, tokenizer))
        }
        Some((Parent::Run(path), _)) => {
            let base = temper::recipe_of(&temper_record::RunDir::open(path)?)?;
            Some((base, Some(texts::tokenizer_of(&path.display().to_string()))))
        }
    })
}

fn configuration(recipe: &mut Recipe, base: Option<&(Recipe, Option<String>)>) -> Result<GptNeoxConfig, Problems> {
    let Some((base, tokenizer)) = base else {
        return lm::plan::configuration(recipe, None, &mut Vec::new());
    };
    temper::inherit(recipe, base, "base");
    recipe.inherit(base, "model", "base");
    shape::fill_preset(recipe)?;
    let none = || Vocabulary { size: 0, fingerprint: String::new(), eod: 0 };
    shape::config(&LmSpec::read(recipe)?, &texts::vocabulary(tokenizer.as_deref()).unwrap_or_else(none))
}

fn language_model(
    node: &Node,
    base: Option<(Recipe, Option<String>)>,
    clock: Option<&mut Clock>,
    device: &Device,
    listener: &dyn Listener,
) -> Result<Cost, Problems> {
    let mut recipe = node.recipe.clone();
    let config = configuration(&mut recipe, base.as_ref())?;
    let spec = LmSpec::read(&recipe)?;
    let lengths = spec.lengths(None, None)?;
    let LmSpec { batch, seq_len: seq, pieces, .. } = spec;
    let memory = Memory::of(&config, seq, pieces).total();
    let amount = lengths.stop * lengths.tokens_per_step;
    let fits = machine::memory().is_none_or(|machine| memory < machine.total);
    let step = clock.filter(|_| fits).map(|clock| {
        let kind = format!("{config:?} {batch} {seq} {pieces:?}");
        *clock.models.entry(kind).or_insert_with(|| {
            listener.say(&format_args!("timing a few updates of {} ...", node.label));
            clock.kinds.push((config.clone(), batch, seq, pieces));
            calibrate(&config, batch, seq, pieces, device).0
        })
    });
    // A third of an update is its forward pass, which is what an evaluation makes.
    let of_base = base.map(|(base, _)| TextSpec::read(&base)).transpose()?.map_or(0, |texts| texts.sources.len());
    let sets = spec.texts.sources.len() + spec.texts.validation.len() + of_base;
    let evaluations = 2 + lengths.stop.checked_div(lengths.eval_every).unwrap_or(0);
    let evaluated = spec.max_tokens.unwrap_or(0) * sets as u64 * evaluations;
    let updates = lengths.stop as f64 + evaluated as f64 / 3.0 / lengths.tokens_per_step as f64;
    // "7%" and "21 steps" may be the same checkpoint.
    let points: BTreeSet<u64> = lengths.keep_at.iter().copied().collect();
    let kept = spec.run.keep_last as u64 + points.len() as u64;
    let kept = kept + lengths.stop.checked_div(lengths.keep_every).unwrap_or(0);
    let kept = kept + u64::from(spec.keep_best.is_some());
    Ok(Cost {
        steps: lengths.stop,
        amount,
        unit: "tokens",
        parameters: config.parameters(),
        flops: config.flops_per_token(seq) * updates * lengths.tokens_per_step as f64,
        seconds: step.map(|step| step * updates),
        memory,
        disk: kept * checkpoint_bytes(&config),
    })
}

fn classifier(
    node: &Node,
    base: Option<Recipe>,
    clock: Option<&mut Clock>,
    device: &Device,
    listener: &dyn Listener,
) -> Result<Cost, Problems> {
    let mut recipe = node.recipe.clone();
    if let Some(base) = &base {
        temper::inherit(&mut recipe, base, "base");
    }
    let mut plan = certify::plan::resolve(&mut recipe, None, device, &mut Vec::new())?;
    let memory = plan.memory.total();
    let fits = machine::memory().is_none_or(|machine| memory < machine.total);
    if let Some(clock) = clock.filter(|_| fits) {
        let kind = format!("{} {} {}", plan.kind(), plan.spec.named.name, plan.spec.batch);
        match clock.networks.get(&kind) {
            Some(measured) => plan.take_measured(measured),
            None => {
                listener.say(&format_args!("timing a few updates of {} ...", node.label));
                plan.measure(device);
                clock.networks.insert(kind, plan.measured());
            }
        }
    }
    Ok(Cost {
        steps: plan.lengths.stop,
        amount: plan.images(),
        unit: "images",
        parameters: plan.config.parameters(),
        flops: plan.training_flops(),
        seconds: plan.seconds().map(|seconds| seconds.updates + seconds.evaluations),
        memory,
        disk: plan.kept * network_bytes(&plan.config),
    })
}

/// How many runs side by side are fastest on these threads: measured with the tree's largest language model.
pub fn side_by_side(clock: &Clock, runs: usize, memory: u64, device: &Device) -> usize {
    let threads = rayon::current_num_threads();
    let Some((config, batch, seq, pieces)) = clock.kinds.iter().max_by_key(|(config, ..)| config.parameters()) else {
        return 1;
    };
    let room = machine::memory().map_or(u64::MAX, |machine| machine.available / 2);
    let time = |jobs: usize| {
        let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(threads / jobs).build();
        // As many as the system has no threads for are not the fastest.
        let Ok(pools) = (0..jobs).map(pool).collect::<Result<Vec<_>, _>>() else { return f64::INFINITY };
        std::thread::scope(|scope| {
            let (mut starts, mut all) = (Vec::new(), Vec::new());
            for pool in &pools {
                let (start, started) = mpsc::channel();
                let one = move || {
                    // All at once; none if one of them could not be had.
                    started.recv().ok()?;
                    let begun = Instant::now();
                    pool.install(|| calibrate(config, *batch, *seq, *pieces, device));
                    Some(begun.elapsed().as_secs_f64())
                };
                let Ok(job) = std::thread::Builder::new().spawn_scoped(scope, one) else { return f64::INFINITY };
                starts.push(start);
                all.push(job);
            }
            starts.iter().for_each(|start: &mpsc::Sender<()>| _ = start.send(()));
            let slowest = all.into_iter().map(|job| job.join().ok().flatten().unwrap_or(f64::INFINITY));
            slowest.fold(0.0, f64::max) / jobs as f64
        })
    };
    // Large models keep all threads busy, and take long to time.
    if config.flops_per_token(*seq) * (batch * seq) as f64 > 1e11 {
        return 1;
    }
    let candidates = [2, 4, 8, 16, 32, 64].into_iter();
    let candidates = candidates.filter(|jobs| *jobs <= threads.min(runs) && memory.saturating_mul(*jobs as u64) < room);
    let (mut best, mut fastest) = (1, time(1) * 0.95);
    for jobs in candidates {
        let seconds = time(jobs);
        if seconds < fastest {
            (best, fastest) = (jobs, seconds);
        }
    }
    best
}
