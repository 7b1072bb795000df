//! The starts of a run of certified training: fresh, from a state dict, branch, resume.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::count;
use temper_base::{Listener, Problem, Problems, Result};
use temper_data::images::{Epochs, Images, Match};
use temper_graph::NetworkConfig;
use temper_model::Classifier;
use temper_model::image::stored;
use temper_recipe::{Recipe, Task};
use temper_record::event::Parent;
use temper_record::run::{RunDir, RunRef};
use temper_record::series::RunSeries;
use temper_schedule::{EpsSchedule, EpsShape, Length, Units};
use temper_train::checkpoint::{self, State};
use temper_train::lengths::Lengths;
use temper_train::machine;
use temper_train::optimizer::Optimizer;
use temper_train::run::resolved;
use temper_train::run::{self, About, Limits, Started};
use temper_train::trainer::Trainer;

use crate::checkpoint as content;
use crate::images::{self, Classes, Data};
use crate::settings::Normalisation;
use crate::task::CertifyTask;
use crate::{plan, settings};

/// `temper train`: fresh weights, or those of the state dict that `init.from` names.
pub fn train(
    mut recipe: Recipe,
    out: &Path,
    limits: Limits,
    listener: &dyn Listener,
) -> Result<Started<CertifyTask>, Problems> {
    run::refuse_base(&recipe, out)?;
    settings::fill_method(&mut recipe)?;
    let device = Device::flex();
    let data = open_for_weights(&recipe, listener)?;
    let config = settings::network(&recipe, data.train.shape, data.train.classes())?;
    check_memory(&recipe, &config, &data)?;
    let net = fresh(&recipe, &data, &device)?;
    let (from, start) = match recipe.opt("init.from", Recipe::text)? {
        None => (net, "fresh"),
        Some(path) => (state_dict(net, Path::new(&path), &device)?, "state-dict"),
    };
    let (run, lock) = RunDir::create(out)?;
    run::tidy_on_failure(&run, || {
        let optimizer = Optimizer::new(run::optimizer_settings(&recipe)?, &from, &device);
        let new = New { net: from, optimizer, state: State::default(), start, parent: None, seed: recipe.u64("seed")? };
        build(&recipe, run.clone(), new, data, limits, &device, listener)
    })
    .map(|(trainer, lengths)| Started { trainer, recipe, lengths, fresh: true, lock })
}

/// `temper branch`: a new run from the clocks of another that the recipe keeps.
pub fn branch(
    mut recipe: Recipe,
    base: &str,
    out: &Path,
    limits: Limits,
    listener: &dyn Listener,
) -> Result<Started<CertifyTask>, Problems> {
    let named = RunRef::parse(base)?;
    let (base_run, checkpoint) = (named.open()?, named.checkpoint()?);
    checkpoint.verify()?;
    let base_recipe = resolved(&base_run)?;
    if base_recipe.task() != Task::Certify {
        let why = format!("it is a run of task = \"{}\"", base_recipe.task().name());
        return Err(Problem::input("branch", base, why)
            .hint("a recipe of a language model branches from such a run; this one has task = \"certify\"")
            .into());
    }
    run::refuse_init(&recipe)?;
    let state = checkpoint::read_state(&checkpoint)?;
    inherit(&mut recipe, &base_recipe, base)?;
    settings::fill_method(&mut recipe)?;
    let clocks = run::Clocks::read(&recipe)?;
    let device = Device::flex();
    let data = open_for_branch(&recipe, &base_recipe, &base_run, base, clocks, listener)?;
    let net = if clocks.weights {
        let net = content::read_net(&checkpoint, &device)?;
        let (input, classes) = (data.train.shape, data.train.classes());
        require_fit(&recipe, &net.config, base, input, classes)?;
        net
    } else {
        fresh(&recipe, &data, &device)?
    };
    check_memory(&recipe, &net.config, &data)?;
    let (run, lock) = RunDir::create(out)?;
    run::tidy_on_failure(&run, || {
        if clocks.data {
            require_same_batches(&recipe, &base_recipe, base)?;
        }
        let settings = run::optimizer_settings(&recipe)?;
        let optimizer = match clocks.moments {
            true => checkpoint::read_optimizer(&checkpoint, settings, &net, state.updates, &device)?,
            false => Optimizer::new(settings, &net, &device),
        };
        let begin = State {
            step: if clocks.schedule { state.step } else { 0 },
            tokens: if clocks.schedule { state.tokens } else { 0 },
            samples: if clocks.data { state.samples } else { 0 },
            updates: optimizer.updates,
            ..State::default()
        };
        listener.say(&format_args!("branch of {base} at step {}: {}", state.step, clocks.sentence()));
        let parent = Parent { run: named.dir.display().to_string(), step: state.step, tokens: state.tokens };
        // What the base trained with, which its recipe need not say: the base may have kept it from the run it branched from.
        let seed = if clocks.rng { RunSeries::without_steps(&base_run)?.info.seed } else { recipe.u64("seed")? };
        let new = New { net, optimizer, state: begin, start: "branch", parent: Some(parent), seed };
        build(&recipe, run.clone(), new, data, limits, &device, listener)
    })
    .map(|(trainer, lengths)| Started { trainer, recipe, lengths, fresh: true, lock })
}

/// `temper resume`: everything as it was at the checkpoint. `None` if the run is complete.
pub fn resume(
    name: &str,
    limits: Limits,
    until: Option<Length>,
    listener: &dyn Listener,
) -> Result<Option<Started<CertifyTask>>, Problems> {
    let named = RunRef::parse(name)?;
    let run = named.open()?;
    let lock = run.lock()?;
    let checkpoint = named.checkpoint()?;
    checkpoint.verify()?;
    let recipe = resolved(&run)?;
    let state = checkpoint::read_state(&checkpoint)?;
    let device = Device::flex();
    let net = content::read_net(&checkpoint, &device)?;
    let optimizer =
        checkpoint::read_optimizer(&checkpoint, run::optimizer_settings(&recipe)?, &net, state.updates, &device)?;
    let manifest = images::Manifest::read(&run)?;
    let data = images::open_as(&recipe, Some(manifest.classes(name)))?;
    manifest.require(&data, &recipe)?;
    let series = RunSeries::without_steps(&run)?;
    let lengths = run::lengths_on(&run, &series, &state, until, |stop| lengths(&recipe, data.train.len(), stop))?;
    if state.step >= lengths.stop && series.done.is_some() {
        return Ok(None);
    }
    let phases = radius(&recipe, data.train.len(), &lengths)?.bands(lengths.stop);
    let recorder = run::go_on(&run, &named, &state, &lengths, &series.info, &phases, listener)?;
    let seed = series.info.seed;
    let trainer = Trainer {
        settings: run::settings(&recipe, &lengths, limits)?,
        schedule: lengths.schedule.clone(),
        task: task(&recipe, net, optimizer, data, &lengths, seed, &device)?,
        run,
        state,
        recorder,
    };
    Ok(Some(Started { trainer, recipe, lengths, fresh: false, lock }))
}

/// The images of a new run. Where its first weights are those of another run, its classes have the numbers of that one.
fn open_for_weights(recipe: &Recipe, listener: &dyn Listener) -> Result<Data, Problems> {
    let weights = recipe.opt("init.from", Recipe::text)?;
    let found = weights.map(|path| images::classes_of_weights(Path::new(&path))).transpose()?.flatten();
    let Some((names, owner)) = found else { return Ok(images::open(recipe)?) };
    let data = images::open_as(recipe, Some(Classes { names: &names, owner: &owner }))?;
    tell_match(&data, &owner, listener);
    Ok(data)
}

/// The images of a branch. With the weights of its base it has the classes of the base; a place in the data of the base
/// means something only while these are what they were.
fn open_for_branch(
    recipe: &Recipe,
    base_recipe: &Recipe,
    base_run: &RunDir,
    base: &str,
    clocks: run::Clocks,
    listener: &dyn Listener,
) -> Result<Data, Problems> {
    if !clocks.weights && !clocks.data {
        return Ok(images::open(recipe)?);
    }
    let manifest = images::Manifest::read(base_run)?;
    let data = images::open_as(recipe, Some(manifest.classes(base)))?;
    tell_match(&data, base, listener);
    let same =
        ["data.images", "data.holdout", "data.max_train"].iter().all(|key| recipe.shown(key) == base_recipe.shown(key));
    if same && !manifest.has_train(&data) {
        if clocks.data {
            return Err(manifest.changed(recipe).into());
        }
        let place = recipe.text("data.images")?;
        listener.warn(
            &format!("the images of {place} are no longer those that {base} was trained on"),
            Some("if they should be the same, put the original files back"),
        );
    }
    Ok(data)
}

fn tell_match(data: &Data, owner: &str, listener: &dyn Listener) {
    if data.matched == Match::ByCount {
        let remedy = "name the folders of the classes alike to have them matched by name";
        listener.warn(&images::by_count(&data.train, owner), Some(remedy));
    }
}

/// What a branch takes over from the recipe of its base where its own says nothing: network, data and batches; radius and
/// learning rate only with the schedule's clock.
pub fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) -> Result<(), Problems> {
    // A network of the branch's own takes nothing from that of the base.
    if ["model.name", "model.graph"].iter().all(|key| !recipe.is_set(key)) {
        recipe.inherit(base, "model", name);
    }
    for key in ["method", "data", "batch", "optimizer", "eps.target"] {
        recipe.inherit(base, key, name);
    }
    let keeps = |recipe: &Recipe, clock: &str| Ok::<_, Problem>(recipe.text(&format!("clocks.{clock}"))? == "keep");
    if keeps(recipe, "schedule")? {
        for key in ["lr", "eps", "run.horizon", "run.stop"] {
            recipe.inherit(base, key, name);
        }
    }
    if keeps(recipe, "rng")? {
        recipe.inherit(base, "seed", name);
    }
    Ok(())
}

/// An error unless the network that a branch keeps is for such images, and is the one that the recipe asks for.
pub fn require_fit(
    recipe: &Recipe,
    config: &NetworkConfig,
    base: &str,
    input: [usize; 3],
    classes: usize,
) -> temper_base::Result<()> {
    if (config.input, config.classes) == (input, classes) {
        if settings::network(recipe, input, classes)? == *config {
            return Ok(());
        }
        let key = ["model.graph", "model.name"].into_iter().find(|key| recipe.is_set(key)).unwrap_or("model");
        let why = format!("asks for another network than that of {base}, whose weights the branch keeps");
        let hint = "leave [model] out, or start from fresh weights: clocks.weights = \"reset\"";
        return Err(recipe.problem(key, why).hint(hint));
    }
    let ([c, h, w], [i, j, k]) = (input, config.input);
    let why = format!(
        "images of {c}x{h}x{w} in {classes} classes do not fit the network of {base}, which is for {i}x{j}x{k} and {}",
        config.classes
    );
    Err(recipe.problem("data.images", why).hint("clocks.weights = \"reset\" starts with a new network for them"))
}

/// An error unless a position in the base's data, which counts batches, means the same here.
fn require_same_batches(recipe: &Recipe, base: &Recipe, name: &str) -> temper_base::Result<()> {
    for key in ["data.images", "data.holdout", "data.max_train", "batch.images"] {
        if recipe.shown(key) != base.shown(key) {
            let why =
                format!("{}, but {} in {name}, whose position in the data is kept", recipe.shown(key), base.shown(key));
            let hint = format!("leave {key} out, or begin the data anew: clocks.data = \"reset\"");
            return Err(recipe.problem(key, why).hint(hint));
        }
    }
    Ok(())
}

/// Refuses a run that cannot fit into this machine's memory: the system would kill it without an error.
fn check_memory(recipe: &Recipe, config: &NetworkConfig, data: &Data) -> temper_base::Result<()> {
    let images = data.train.len() + data.holdout.as_ref().map_or(0, Images::len) + data.test.len();
    let needed = plan::memory(recipe, config, images, data.train.len())?.total();
    let Some(machine) = machine::memory().filter(|machine| needed > machine.total) else { return Ok(()) };
    let (needed, there) = (count(needed as f64), count(machine.total as f64));
    let why = format!("about {needed}B of memory are needed, this machine has {there}B");
    Err(recipe.problem("batch.images", why).hint(
        "a larger batch.accumulate computes a batch in smaller pieces, and a smaller model.width keeps less; `temper plan` shows what the memory is for",
    ))
}

/// A fresh network for the data.
pub fn fresh(recipe: &Recipe, data: &Data, device: &Device) -> Result<Classifier, Problems> {
    let config = settings::network(recipe, data.train.shape, data.train.classes())?;
    let Normalisation { mean, std, .. } = settings::normalisation(recipe, &data.train)?;
    Ok(Classifier::new(config, settings::init(recipe)?, recipe.u64("seed")?, device).normalised(mean, std))
}

/// The network with the tensors of a PyTorch state dict that was exported to safetensors, or of a run's checkpoint.
fn state_dict(net: Classifier, path: &Path, device: &Device) -> Result<Classifier, Problems> {
    let (mean, std) = (net.mean.clone(), net.std.clone());
    Ok(read_weights(net.config, path, device)?.normalised(mean, std))
}

/// A network of these tensors.
pub fn read_weights(config: NetworkConfig, path: &Path, device: &Device) -> Result<Classifier, Problems> {
    if path.is_dir() {
        return Err(Problem::input("read state dict", path.display(), "it is a folder")
            .hint("init.from names a safetensors file; to start from a run: temper branch RUN RECIPE --out DIR")
            .into());
    }
    Ok(stored::read(path, config, device).map_err(|problem| match problem.hint {
        Some(_) => problem,
        None => problem
            .hint("init.from names a safetensors file: a PyTorch state dict, or model.safetensors of a checkpoint"),
    })?)
}

/// A batch is not larger than the training set: an epoch would be one update of fewer images than asked for.
pub fn check_batch(recipe: &Recipe, images: usize) -> Result<(), Problems> {
    let batch = recipe.usize("batch.images")?;
    if batch <= images {
        return Ok(());
    }
    let why = format!("a batch of {batch} is more than the {images} training images");
    Err(recipe.problem("batch.images", why).hint(format!("at most {images}")).into())
}

/// Every length in updates. An epoch is a whole number of updates; its last batch may be smaller.
pub fn lengths(recipe: &Recipe, train: usize, stop: Option<u64>) -> Result<Lengths, Problems> {
    Lengths::resolve(recipe, units(recipe, Some(train))?.tokens_per_epoch, stop)
}

/// The radius by update.
pub fn radius(recipe: &Recipe, train: usize, lengths: &Lengths) -> Result<EpsSchedule, Problems> {
    Ok(recipe.eps_schedule(&units(recipe, Some(train))?, lengths.horizon)?)
}

/// What an update and, where the number of training images is known, an epoch are worth.
pub fn units(recipe: &Recipe, train: Option<usize>) -> temper_base::Result<Units> {
    let batch = recipe.u64("batch.images")?;
    let epoch = |train: usize| (train as u64).div_ceil(batch).saturating_mul(batch);
    Ok(Units { tokens_per_step: batch, tokens_per_epoch: train.map(epoch) })
}

/// What is new in a run.
struct New {
    net: Classifier,
    optimizer: Optimizer,
    state: State,
    start: &'static str,
    parent: Option<Parent>,
    seed: u64,
}

#[allow(clippy::too_many_arguments)]
fn build(
    recipe: &Recipe,
    run: RunDir,
    new: New,
    data: Data,
    limits: Limits,
    device: &Device,
    listener: &dyn Listener,
) -> Result<(Trainer<CertifyTask>, Lengths), Problems> {
    let New { net, optimizer, state, start, parent, seed } = new;
    let fresh = start != "branch" || recipe.text("clocks.weights")? != "keep";
    check_batch(recipe, data.train.len())?;
    let lengths = lengths(recipe, data.train.len(), limits.max_steps.map(|n| state.step.saturating_add(n)))?;
    run::require_updates(recipe, &lengths, &state)?;
    let eps = radius(recipe, data.train.len(), &lengths)?;
    images::Manifest::of(&data).write(&run)?;
    let settings = run::settings(recipe, &lengths, limits)?;
    let about = About { task: "certify", seed, parameters: net.config.parameters(), start, parent };
    let recorder = run::begin(&run, recipe, &lengths, &state, about, &eps.bands(lengths.stop), listener)?;
    announce(recipe, &net, &data, &lengths, &eps, fresh, listener)?;
    for what in data.passed_over() {
        listener.warn(&what, Some(images::READ));
    }
    let task = task(recipe, net, optimizer, data, &lengths, seed, device)?;
    let trainer = Trainer { settings, schedule: lengths.schedule.clone(), task, run, state, recorder };
    trainer.check_weights()?;
    Ok((trainer, lengths))
}

/// What the loop trains, with everything of the recipe that decides its updates.
fn task(
    recipe: &Recipe,
    net: Classifier,
    optimizer: Optimizer,
    data: Data,
    lengths: &Lengths,
    seed: u64,
    device: &Device,
) -> Result<CertifyTask, Problems> {
    let batch = recipe.usize("batch.images")?;
    let eps = radius(recipe, data.train.len(), lengths)?;
    let Data { train, holdout, test, .. } = data;
    let mut sets: Vec<(String, Images)> =
        holdout.map(|images| ("validation".to_string(), images)).into_iter().collect();
    sets.push(("test".into(), test));
    Ok(CertifyTask {
        net,
        optimizer,
        epochs: Epochs::new(seed, train.len(), batch),
        train,
        batch,
        flip: recipe.bool("data.flip")?,
        crop: recipe.usize("data.crop")?,
        method: settings::method(recipe)?,
        eps,
        accumulation: settings::accumulation(recipe)?,
        precise_batch_norm: recipe.bool("method.precise_batch_norm")?,
        sets,
        eval: settings::eval(recipe)?,
        seed,
        device: device.clone(),
        fresh_statistics: None,
    })
}

/// The plan in a few lines, learning rate and radius, before the first update.
fn announce(
    recipe: &Recipe,
    net: &Classifier,
    data: &Data,
    lengths: &Lengths,
    eps: &EpsSchedule,
    fresh: bool,
    listener: &dyn Listener,
) -> Result<(), Problems> {
    let [c, h, w] = net.config.input;
    listener.say(&format_args!("recipe      {}", recipe.name()));
    let name = recipe.opt("model.name", Recipe::text)?.unwrap_or_else(|| "model.graph".into());
    listener.say(&format_args!(
        "model       {name}, {} layers, {} parameters",
        net.config.nodes.len(),
        count(net.config.parameters() as f64)
    ));
    listener.say(&format_args!(
        "data        {}: {} training images of {c}x{h}x{w} in {} classes",
        data.train.name,
        data.train.len(),
        data.train.classes()
    ));
    for note in data.notes() {
        listener.say(&format_args!("            {note}"));
    }
    let normalised = match fresh {
        true => settings::normalisation(recipe, &data.train)?.because,
        false => "as in the base run".to_owned(),
    };
    listener.say(&format_args!("pixels      {normalised}"));
    let chosen = match &data.holdout {
        Some(images) => {
            format!("best checkpoint by certified error on {} images held out of the training set", images.len())
        }
        None => "best checkpoint by certified error on the test set itself: its error is a little optimistic".into(),
    };
    listener.say(&format_args!("evaluation  {} test images; {chosen}", data.test.len()));
    listener.say(&format_args!(
        "method      {}, first weights {}",
        recipe.text("method.name")?,
        recipe.text("init.weights")?
    ));
    let accumulation = settings::accumulation(recipe)?;
    if accumulation.pieces > 1 {
        let statistics = match accumulation.whole_batch_statistics {
            true => "with the batch-norm statistics of the whole batch, through which no gradient flows",
            false => "each with its own batch-norm statistics",
        };
        listener.say(&format_args!("batches     in {} pieces, {statistics}", accumulation.pieces));
    }
    let epoch = data.train.len().div_ceil(recipe.usize("batch.images")?) as u64;
    let epochs = |steps: u64| steps as f64 / epoch as f64;
    listener.say(&format_args!(
        "updates     {} of {} images each, {} an epoch: {:.4} epochs",
        lengths.stop,
        lengths.tokens_per_step,
        epoch,
        epochs(lengths.stop)
    ));
    let target = recipe.get("eps.target").map_or_else(String::new, |entry| entry.value.to_string());
    let (clean, ramp) = (epochs(eps.first), epochs(eps.last - eps.first));
    listener.say(&match (eps.shape, eps.first) {
        (EpsShape::Constant, _) => format!("eps         {target} from the first update on"),
        (_, 0) => format!("eps         {ramp:.4} epochs of ramp, then {target}"),
        _ => format!("eps         0 for {clean:.4} epochs, then {ramp:.4} epochs of ramp, then {target}"),
    });
    if let Some(problem) = settings::small_last_batch(recipe, &net.config, data.train.len())? {
        listener.warn(&problem, Some("choose another batch.images or data.max_train"));
    }
    for (key, why) in settings::without_effect(recipe, fresh)? {
        listener.say(&format_args!("left out    {key}: {why}"));
    }
    for dropped in recipe.dropped() {
        listener.say(&format_args!("left out    {dropped}: the chosen lr.shape does not have it"));
    }
    listener.say(&temper_schedule::sparkline(&lengths.schedule, Some(lengths.stop), listener.drawing(), 4).trim_end());
    Ok(())
}
