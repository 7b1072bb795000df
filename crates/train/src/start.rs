//! How a run begins, whatever it trains: fresh or from imported weights ([`train`]), from the clocks of another run ([`branch`]), from its
//! own last checkpoint ([`resume`]). What is checked, written and said, and in which order, is decided here. A [`Tower`] adds what belongs to
//! its models and data.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::counted;
use temper_base::{Listener, Problem, Problems, Result};
use temper_model::Parameters;
use temper_recipe::{Recipe, Schema, Task as Kind};
use temper_record::checkpoint::Checkpoint;
use temper_record::event::Parent;
use temper_record::run::{RunDir, RunRef};
use temper_record::series::RunSeries;
use temper_schedule::{Length, Schedule};

use crate::checkpoint::{State, read_optimizer, read_state};
use crate::lengths::Lengths;
use crate::optimizer::Optimizer;
use crate::ranks::{Opening, Order, Ranks};
use crate::record::{self, About};
use crate::run::{self, Session, Started};
use crate::spec::clocks::Clocks;
use crate::spec::{RunSpec, SHARDS, Spec, base_of, weights_from};
use crate::trainer::{NO_LIMIT, Task, Trainer};

/// The run that a branch continues, at the checkpoint that it continues from.
pub struct Base<'a> {
    /// As the user named it: `DIR`, `DIR@STEP` or `DIR@best`.
    pub name: &'a str,
    /// Where it lies.
    pub run: RunDir,
    /// The checkpoint, verified.
    pub checkpoint: Checkpoint,
    /// Its resolved recipe.
    pub recipe: Recipe,
    /// Its clocks at the checkpoint.
    pub state: State,
    /// Which of its clocks the branch keeps.
    pub clocks: Clocks,
}

/// What a kind of model adds to the starts of a run. The methods stand in the order in which a start calls them.
pub trait Tower: Task + Sized {
    /// The task of its recipes.
    const KIND: &'static Kind;
    /// The hint for a branch whose base is a run of another task.
    const OTHER_BASE: &'static str;
    /// How the record calls weights that `init.from` names.
    const IMPORTED: &'static str;

    /// Its recipes as typed values.
    type Spec: Spec;
    /// What is trained.
    type Model: Parameters;
    /// What is known of a new run before its directory exists.
    type Draft;
    /// The data of a run, opened, and what belongs to it.
    type Data;

    /// What a branch takes over from the recipe of its base where its own says nothing.
    ///
    /// # Errors
    /// A key whose value cannot be read, or keys of recipe and base that contradict each other.
    fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) -> Result<(), Problems>;

    /// Fills in what recipe and base leave open, reads the recipe, and refuses everything that can be refused before the run's directory
    /// exists.
    ///
    /// # Errors
    /// Everything that is wrong with the recipe, for this base; weights, tokenizer or images that cannot be read or do not fit.
    fn draft(recipe: Recipe, base: Option<&Base>, session: Session) -> Result<(Self::Spec, Self::Draft), Problems>;

    /// The first weights and the data, opened. Text is tokenised into the directory of the run.
    ///
    /// # Errors
    /// Weights or data that cannot be read, do not fit the recipe or each other, or cannot be written into the run.
    fn prepare(
        spec: &Self::Spec,
        draft: Self::Draft,
        base: Option<&Base>,
        run: &RunDir,
        session: Session,
    ) -> Result<(Self::Model, Self::Data), Problems>;

    /// Every length in updates; the run ends no later than after update `stop`.
    ///
    /// # Errors
    /// A length that cannot be counted in updates, or a learning rate that does not fit the lengths.
    fn lengths(spec: &Self::Spec, data: &Self::Data, stop: Option<u64>) -> Result<Lengths, Problems>;

    /// The last checks and warnings before the run is recorded; writes down which data it has.
    ///
    /// # Errors
    /// Data that cannot be read to its end, a file that cannot be written, and whatever else keeps the run from beginning.
    fn settle(
        spec: &Self::Spec,
        data: &mut Self::Data,
        lengths: &Lengths,
        run: &RunDir,
        listener: &dyn Listener,
    ) -> Result<(), Problems>;

    /// The phases of the run, each with its first and last update.
    ///
    /// # Errors
    /// A schedule that does not fit the lengths.
    fn phases(
        _spec: &Self::Spec,
        _data: &Self::Data,
        _lengths: &Lengths,
    ) -> Result<Vec<(&'static str, u64, u64)>, Problems> {
        Ok(Vec::new())
    }

    /// Trainable parameters.
    fn parameters(model: &Self::Model) -> u64;

    /// Tells the plan of a new run in a few lines.
    ///
    /// # Errors
    /// A schedule that does not fit the lengths, or data that does not fit the recipe.
    fn announce(new: &New<'_, Self>, listener: &dyn Listener) -> Result<(), Problems>;

    /// What the loop trains, with everything of the recipe that decides its updates.
    ///
    /// # Errors
    /// A schedule that does not fit the lengths.
    fn task(
        spec: &Self::Spec,
        model: Self::Model,
        optimizer: Optimizer,
        data: Self::Data,
        lengths: &Lengths,
        seed: u64,
        session: Session,
    ) -> Result<Self, Problems>;

    /// The model of a checkpoint.
    ///
    /// # Errors
    /// A file that is missing, damaged or no such model.
    fn read_model(checkpoint: &Checkpoint, device: &Device) -> Result<Self::Model>;

    /// Opens the data of a run that resumes from `checkpoint`, as its manifest says; refuses what has changed. `name` is how the user
    /// named the run.
    ///
    /// # Errors
    /// Data that is missing, cannot be read, or is not what the run began with.
    fn reopen(
        spec: &Self::Spec,
        run: &RunDir,
        checkpoint: &Checkpoint,
        model: &Self::Model,
        name: &str,
    ) -> Result<Self::Data, Problems>;
}

/// A new run, about to make its first update.
pub struct New<'a, T: Tower> {
    /// Its recipe, with everything that start and base filled in.
    pub spec: &'a T::Spec,
    /// Its first weights.
    pub model: &'a T::Model,
    /// Its data.
    pub data: &'a T::Data,
    /// Its lengths.
    pub lengths: &'a Lengths,
    /// Its clocks.
    pub state: &'a State,
    /// Whether the weights are those of the base run.
    pub kept_weights: bool,
}

/// A new run in the folder `out`: fresh weights, or those that `init.from` names.
///
/// # Errors
/// Everything that keeps the run from beginning. The folder is left as it was found.
pub fn train<T: Tower>(recipe: Recipe, out: &Path, session: Session) -> Result<Started<T>, Problems> {
    refuse_base(&recipe, out)?;
    begin(recipe, None, out, session)
}

/// A new run in the folder `out` from the clocks of the run `name` that the recipe keeps.
///
/// # Errors
/// As [`train`], and a base of another task, or one whose checkpoint is damaged.
pub fn branch<T: Tower>(mut recipe: Recipe, name: &str, out: &Path, session: Session) -> Result<Started<T>, Problems> {
    let named = RunRef::parse(name)?;
    let (run, checkpoint) = (named.open()?, named.checkpoint()?);
    checkpoint.verify()?;
    let base = run::resolved_recipe(&run, recipe.schema())?;
    if base.task() != T::KIND {
        let why = format!("it is a run of task = \"{}\"", base.task().name);
        return Err(Problem::input("branch", name, why).hint(T::OTHER_BASE).into());
    }
    refuse_init(&recipe)?;
    let state = read_state(&checkpoint)?;
    T::inherit(&mut recipe, &base, name)?;
    let clocks = Clocks::of_branch(&recipe)?;
    let base = Base { name, run, checkpoint, recipe: base, state, clocks };
    begin(recipe, Some(&base), out, session)
}

/// The run `name` with everything as it was at its checkpoint, to be trained to its end or to `until`. `None` if the run is complete; one
/// that was killed after its last update and before its record said so has no update left and is brought to its end.
///
/// # Errors
/// A checkpoint that is damaged, data that has changed, an end that is behind it.
pub fn resume<T: Tower>(
    name: &str,
    until: Option<Length>,
    schema: &'static Schema,
    session: Session,
) -> Result<Option<Started<T>>, Problems> {
    let Session { limits, device, listener, ranks } = session;
    let named = RunRef::parse(name)?;
    let run = named.open()?;
    let lock = run.lock()?;
    let checkpoint = named.checkpoint()?;
    checkpoint.verify()?;
    let spec = T::Spec::read(&run::resolved_recipe(&run, schema)?)?;
    refuse_idle(spec.run(), ranks)?;
    let Reopened { state, model, optimizer, data } = reopen::<T>(&spec, &run, &checkpoint, name, device)?;
    let series = RunSeries::without_steps(&run)?;
    let lengths = run::lengths_on(&run, &series, &state, until, |stop| T::lengths(&spec, &data, stop))?;
    if state.step >= lengths.stop && series.done.is_some() {
        return Ok(None);
    }
    let phases = T::phases(&spec, &data, &lengths)?;
    let recorder = record::resume_record(&run, &named, &state, &lengths, &series.info, &phases, listener)?;
    let settings = run::settings(spec.run(), &lengths, limits);
    let seed = series.info.seed;
    let task = T::task(&spec, model, optimizer, data, &lengths, seed, session)?;
    let (schedule, ranks) = (lengths.schedule.clone(), ranks.clone());
    let trainer = Trainer { settings, schedule, task, run, state, recorder, ranks };
    Ok(Some(Started { trainer, spec: spec.run().clone(), lengths, seed, fresh: false, lock }))
}

/// On a rank that does not lead: opens a run as rank 0 says, and makes its part of what comes until the order after it all, which is returned.
///
/// # Errors
/// A rank that cannot be reached. What all ranks fail with is rank 0's to tell, and no error here.
pub fn follow<T: Tower>(opening: &Opening, schema: &'static Schema, session: Session) -> Result<Order> {
    let ranks = session.ranks;
    let opened = open::<T>(opening, schema, session).map_err(first);
    let missing = |problem: Problem| {
        let everywhere =
            "every rank needs the run and its data in the same places: a file system that all machines share";
        let hint = problem.hint.as_ref().map_or(everywhere.to_owned(), |hint| format!("{hint}; {everywhere}"));
        problem.hint(hint)
    };
    let mut opened = ranks.heed(|| ranks.agree(opened.map_err(missing)))?;
    loop {
        let order = ranks.next()?;
        let Some((task, schedule, state)) = &mut opened else { return Ok(order) };
        match order {
            Order::Update(n) => {
                let made = ranks.heed(|| task.update(n, schedule.at(n), state, NO_LIMIT))?;
                state.step = made.flatten().map_or(state.step, |_| n);
            }
            Order::Evaluate(index) => drop(ranks.heed(|| task.evaluate(index, state, &|| false))?),
            order => return Ok(order),
        }
    }
}

/// What a rank that does not lead trains, from a checkpoint that rank 0 has just written or read.
fn open<T: Tower>(
    opening: &Opening,
    schema: &'static Schema,
    session: Session,
) -> Result<(T, Schedule, State), Problems> {
    let run = RunDir::open(&opening.run)?;
    let checkpoint = Checkpoint::at_step(&run, opening.step)?;
    let spec = T::Spec::read(&run::resolved_recipe(&run, schema)?)?;
    session.ranks.group().wait_at_most(spec.run().timeout);
    let name = opening.run.display().to_string();
    let Reopened { state, model, optimizer, data } = reopen::<T>(&spec, &run, &checkpoint, &name, session.device)?;
    let lengths = T::lengths(&spec, &data, Some(opening.stop))?;
    let task = T::task(&spec, model, optimizer, data, &lengths, opening.seed, session)?;
    Ok((task, lengths.schedule, state))
}

/// What a checkpoint and the folder of its run hold.
struct Reopened<T: Tower> {
    state: State,
    model: T::Model,
    optimizer: Optimizer,
    data: T::Data,
}

fn reopen<T: Tower>(
    spec: &T::Spec,
    run: &RunDir,
    checkpoint: &Checkpoint,
    name: &str,
    device: &Device,
) -> Result<Reopened<T>, Problems> {
    let state = read_state(checkpoint)?;
    let model = T::read_model(checkpoint, device)?;
    let optimizer = read_optimizer(checkpoint, spec.run().optimizer, &model, state.updates, device)?;
    let data = T::reopen(spec, run, checkpoint, &model, name)?;
    Ok(Reopened { state, model, optimizer, data })
}

/// The first of several problems, with the others in its words.
fn first(problems: Problems) -> Problem {
    let mut rest = problems.0.into_iter();
    let mut problem = rest.next().expect("problems are at least one");
    for other in rest {
        problem.why += &format!("; {other}");
    }
    problem
}

/// An error if there are ranks that would have no part in any update.
fn refuse_idle(spec: &RunSpec, ranks: &Ranks) -> Result<()> {
    ranks.group().wait_at_most(spec.timeout);
    require_part(&spec.recipe, spec.shards, ranks.size())
}

/// An error unless each of so many ranks has a part of so many shards.
///
/// # Errors
/// So it is.
pub fn require_part(recipe: &Recipe, shards: usize, ranks: usize) -> Result<()> {
    if ranks <= shards {
        return Ok(());
    }
    let why = format!("{ranks} ranks share {}", counted(shards as u64, "shard"));
    let more = ranks.next_power_of_two();
    let hint = format!("start at most {shards} of them, or give batches as many shards: {SHARDS} = {more}");
    Err(recipe.problem(SHARDS, why).hint(hint))
}

/// An error if the recipe is one that continues another run: `temper train` starts one.
pub(crate) fn refuse_base(recipe: &Recipe, out: &Path) -> Result<()> {
    let Some(base) = base_of(recipe)? else { return Ok(()) };
    let why = format!("this recipe continues a run of {base}; it does not start one");
    let (name, out) = (recipe.name(), out.display());
    let hint = format!("train `{base}` first, then branch `{name}` from that run into `{out}`");
    Err(recipe.problem("base", why).hint(hint))
}

/// An error if the recipe of a branch says where first weights come from: they are the base's.
///
/// # Errors
/// A recipe with `init.from`, or one whose value cannot be read.
pub fn refuse_init(recipe: &Recipe) -> Result<()> {
    let Some(from) = weights_from(recipe)? else { return Ok(()) };
    let why = format!("a branch begins with the weights of its base, not with those of {from}");
    let hint = format!("leave init.from out, or train `{}`, which begins there", recipe.name());
    Err(recipe.problem("init.from", why).hint(hint))
}

/// Begins a run in the folder `out`, which is left as it was found if that fails.
fn begin<T: Tower>(recipe: Recipe, base: Option<&Base>, out: &Path, session: Session) -> Result<Started<T>, Problems> {
    let (spec, draft) = T::draft(recipe, base, session)?;
    refuse_idle(spec.run(), session.ranks)?;
    let (run, lock) = RunDir::create(out)?;
    let (trainer, lengths, seed) = run::tidy_on_failure(&run, || build(&spec, draft, base, &run, session))?;
    Ok(Started { trainer, spec: spec.run().clone(), lengths, seed, fresh: true, lock })
}

/// Makes weights and data, resolves the lengths, writes what the run directory holds from the beginning, and tells the plan.
fn build<T: Tower>(
    spec: &T::Spec,
    draft: T::Draft,
    base: Option<&Base>,
    run: &RunDir,
    session: Session,
) -> Result<(Trainer<T>, Lengths, u64), Problems> {
    let Session { limits, device, listener, ranks } = session;
    let (model, mut data) = T::prepare(spec, draft, base, run, session)?;
    let settings = spec.run().optimizer;
    let optimizer = match base.filter(|base| base.clocks.moments) {
        Some(base) => read_optimizer(&base.checkpoint, settings, &model, base.state.updates, device)?,
        None => Optimizer::new(settings, &model, device),
    };
    let state = base.map_or_else(State::default, |base| kept(base, &optimizer));
    if let Some(base) = base {
        let (name, step) = (base.name, base.state.step);
        listener.say(&format_args!("branch of {name} at step {step}: {}", base.clocks.sentence()));
    }
    let seed = seed(spec.run(), base)?;
    let lengths = T::lengths(spec, &data, limits.max_steps.map(|n| state.step.saturating_add(n)))?;
    run::require_updates(spec.run(), &lengths, &state)?;
    T::settle(spec, &mut data, &lengths, run, listener)?;
    let settings = run::settings(spec.run(), &lengths, limits);
    let parent = base.map(Base::parent);
    let start = match base {
        Some(_) => "branch",
        None if spec.run().from.is_some() => T::IMPORTED,
        None => "fresh",
    };
    let about =
        About { task: T::KIND.name, seed, parameters: T::parameters(&model), start, parent, device: named(device) };
    let phases = T::phases(spec, &data, &lengths)?;
    let recorder = record::begin_record(run, &spec.run().recipe, &lengths, &state, about, &phases, session)?;
    let kept_weights = base.is_some_and(|base| base.clocks.weights);
    let new = New { spec, model: &model, data: &data, lengths: &lengths, state: &state, kept_weights };
    T::announce(&new, listener)?;
    if ranks.size() > 1 {
        let shards = spec.run().shards;
        listener.say(&format_args!("ranks       {}, which share the {shards} shards of every batch", ranks.size()));
    }
    let task = T::task(spec, model, optimizer, data, &lengths, seed, session)?;
    let (run, schedule, ranks) = (run.clone(), lengths.schedule.clone(), ranks.clone());
    let trainer = Trainer { settings, schedule, task, run, state, recorder, ranks };
    trainer.check_weights()?;
    Ok((trainer, lengths, seed))
}

/// The seed of the order of the data. What a base trained with, its recipe need not say: it may have kept it from the run that it
/// branched from.
fn seed(spec: &RunSpec, base: Option<&Base>) -> Result<u64> {
    match base.filter(|base| base.clocks.rng) {
        Some(base) => Ok(RunSeries::without_steps(&base.run)?.info.seed),
        None => Ok(spec.seed),
    }
}

/// What is recorded of a device: its name, if it is not the processor.
fn named(device: &Device) -> Option<String> {
    Some(temper_ops::device_name(device)).filter(|name| name != "cpu")
}

/// The clocks that a branch begins with.
fn kept(base: &Base, optimizer: &Optimizer) -> State {
    let Base { state, clocks, .. } = base;
    State {
        step: if clocks.schedule { state.step } else { 0 },
        tokens: if clocks.schedule { state.tokens } else { 0 },
        samples: if clocks.data { state.samples } else { 0 },
        updates: optimizer.updates,
        ..State::default()
    }
}

impl Base<'_> {
    /// What the record of a branch says of it.
    fn parent(&self) -> Parent {
        Parent { run: self.run.path().display().to_string(), step: self.state.step, tokens: self.state.tokens }
    }
}
