//! What the starts of a run of certified training add to those of any run: images, the network for them, weights from a state dict, the
//! radius.
//!
//! `temper_train::start` calls these in this order: for a branch `inherit`; `draft`; the folder is made; `prepare`, behind which optimiser
//! and clocks are known; `lengths`; `settle`; `phases`; the record begins; `announce`; `task`. A run that resumes: `read_model`, `reopen`,
//! `lengths`, `phases`, `task`.

use std::path::Path;

use burn::tensor::Device;
use temper_base::numbers::{count, counted};
use temper_base::{Listener, Problem, Problems, Result};
use temper_data::images::{Epochs, Images, Match};
use temper_graph::NetworkConfig;
use temper_model::Classifier;
use temper_model::image::stored;
use temper_recipe::{Recipe, Task};
use temper_record::checkpoint::Checkpoint;
use temper_record::run::RunDir;
use temper_schedule::EpsShape;
use temper_train::lengths::Lengths;
use temper_train::machine;
use temper_train::optimizer::Optimizer;
use temper_train::run::Session;
use temper_train::spec::Spec;
use temper_train::start::{Base, New, Tower};

use crate::checkpoint as content;
use crate::images::{self, Classes, Data};
use crate::network::network;
use crate::normalisation::{Normalisation, normalisation};
use crate::plan;
use crate::spec::{self, CertifySpec};
use crate::task::{CertifyTask, TEST};

impl Tower for CertifyTask {
    const KIND: &'static Task = &spec::TASK;
    const OTHER_BASE: &'static str =
        "a recipe of a language model branches from such a run; this one has task = \"certify\"";
    const IMPORTED: &'static str = "state-dict";

    type Spec = CertifySpec;
    type Model = Classifier;
    type Draft = (Classifier, Data);
    type Data = Data;

    fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) -> Result<(), Problems> {
        spec::inherit(recipe, base, name);
        Ok(spec::fill_method(recipe)?)
    }

    fn draft(
        mut recipe: Recipe,
        base: Option<&Base>,
        session: Session,
    ) -> Result<(CertifySpec, (Classifier, Data)), Problems> {
        spec::fill_method(&mut recipe)?;
        let spec = CertifySpec::read(&recipe)?;
        let draft = match base {
            None => draft_of_own_network(&spec, session)?,
            Some(base) => draft_of_branch(&spec, base, session)?,
        };
        Ok((spec, draft))
    }

    fn prepare(
        spec: &CertifySpec,
        draft: (Classifier, Data),
        base: Option<&Base>,
        _: &RunDir,
        _: Session,
    ) -> Result<(Classifier, Data), Problems> {
        if let Some(base) = base.filter(|base| base.clocks.data) {
            require_same_batches(spec, &base.recipe, base.name)?;
        }
        check_batch(spec, draft.1.train.len())?;
        Ok(draft)
    }

    fn lengths(spec: &CertifySpec, data: &Data, stop: Option<u64>) -> Result<Lengths, Problems> {
        spec.lengths(data.train.len(), stop)
    }

    fn settle(
        spec: &CertifySpec,
        data: &mut Data,
        lengths: &Lengths,
        run: &RunDir,
        _: &dyn Listener,
    ) -> Result<(), Problems> {
        spec.radius(data.train.len(), lengths)?;
        Ok(images::Manifest::of(data).write(run)?)
    }

    fn phases(spec: &CertifySpec, data: &Data, lengths: &Lengths) -> Result<Vec<(&'static str, u64, u64)>, Problems> {
        Ok(spec.radius(data.train.len(), lengths)?.bands(lengths.stop))
    }

    fn parameters(net: &Classifier) -> u64 {
        net.config.parameters()
    }

    fn announce(new: &New<'_, Self>, listener: &dyn Listener) -> Result<(), Problems> {
        announce(new, listener)?;
        new.data.passed_over().for_each(|what| listener.warn(&what, Some(images::READ)));
        Ok(())
    }

    fn task(
        spec: &CertifySpec,
        net: Classifier,
        optimizer: Optimizer,
        data: Data,
        lengths: &Lengths,
        seed: u64,
        session: Session,
    ) -> Result<Self, Problems> {
        let eps = spec.radius(data.train.len(), lengths)?;
        let Data { train, holdout, test, .. } = data;
        let mut sets: Vec<(String, Images)> =
            holdout.map(|images| ("validation".to_string(), images)).into_iter().collect();
        sets.push((TEST.into(), test));
        Ok(Self {
            net,
            optimizer,
            epochs: Epochs::new(seed, train.len(), spec.batch),
            train,
            batch: spec.batch,
            flip: spec.images.flip,
            crop: spec.images.crop,
            method: spec.method.clone(),
            eps,
            accumulation: spec.accumulation,
            precise_batch_norm: spec.precise_batch_norm,
            sets,
            eval: spec.eval,
            at_the_end: spec.at_the_end.map(|asked| (lengths.stop, asked)),
            seed,
            device: session.device.clone(),
            ranks: session.ranks.clone(),
            fresh_statistics: None,
        })
    }

    fn read_model(checkpoint: &Checkpoint, device: &Device) -> Result<Classifier> {
        content::read_net(checkpoint, device)
    }

    fn reopen(spec: &CertifySpec, run: &RunDir, _: &Checkpoint, _: &Classifier, name: &str) -> Result<Data, Problems> {
        let manifest = images::Manifest::read(run)?;
        let data = images::open_as(spec, Some(manifest.classes(name)))?;
        manifest.require(&data, spec)?;
        Ok(data)
    }
}

/// Network and images of a run that is no branch: with fresh weights, or those of the state dict that `init.from` names.
fn draft_of_own_network(spec: &CertifySpec, session: Session) -> Result<(Classifier, Data), Problems> {
    let Session { device, listener, .. } = session;
    let data = open_for_weights(spec, listener)?;
    let config = network(spec, data.train.shape, data.train.classes())?;
    check_memory(spec, &config, &data)?;
    let net = fresh_network(spec, &data, device)?;
    let net = match &spec.run.from {
        None => net,
        Some(path) => state_dict(net, Path::new(path), device)?,
    };
    Ok((net, data))
}

/// Network and images of a branch.
fn draft_of_branch(spec: &CertifySpec, base: &Base, session: Session) -> Result<(Classifier, Data), Problems> {
    let Session { device, listener, .. } = session;
    let data = open_for_branch(spec, base, listener)?;
    let net = if base.clocks.weights {
        let net = content::read_net(&base.checkpoint, device)?;
        let (input, classes) = (data.train.shape, data.train.classes());
        require_fit(spec, &net.config, base.name, input, classes)?;
        net
    } else {
        fresh_network(spec, &data, device)?
    };
    check_memory(spec, &net.config, &data)?;
    Ok((net, data))
}

/// The images of a new run. Where its first weights are those of another run, its classes have the numbers of that one.
fn open_for_weights(spec: &CertifySpec, listener: &dyn Listener) -> Result<Data, Problems> {
    let weights = spec.run.from.as_ref();
    let found = weights.map(|path| images::classes_of_weights(Path::new(path))).transpose()?.flatten();
    let Some((names, owner)) = found else { return Ok(images::open(spec)?) };
    let data = images::open_as(spec, Some(Classes { names: &names, owner: &owner }))?;
    tell_match(&data, &owner, listener);
    Ok(data)
}

/// The images of a branch. With the weights of its base it has the classes of the base; a place in the data of the base
/// means something only while these are what they were.
fn open_for_branch(spec: &CertifySpec, base: &Base, listener: &dyn Listener) -> Result<Data, Problems> {
    let Base { name, run, recipe: base_recipe, clocks, .. } = base;
    if !clocks.weights && !clocks.data {
        return Ok(images::open(spec)?);
    }
    let manifest = images::Manifest::read(run)?;
    let data = images::open_as(spec, Some(manifest.classes(name)))?;
    tell_match(&data, name, listener);
    let same = spec.difference(base_recipe, &["data.images", "data.holdout", "data.max_train"]).is_none();
    if same && !manifest.has_train(&data) {
        if clocks.data {
            return Err(manifest.images_changed(spec).into());
        }
        let place = spec.images()?;
        listener.warn(
            &format!("the images of {place} are no longer those that {name} was trained on"),
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

/// An error unless the network that a branch keeps is for such images, and is the one that the recipe asks for.
pub(crate) fn require_fit(
    spec: &CertifySpec,
    config: &NetworkConfig,
    base: &str,
    input: [usize; 3],
    classes: usize,
) -> temper_base::Result<()> {
    if (config.input, config.classes) == (input, classes) {
        if network(spec, input, classes)? == *config {
            return Ok(());
        }
        let why = format!("asks for another network than that of {base}, whose weights the branch keeps");
        let hint = "leave [model] out, or start from fresh weights: clocks.weights = \"reset\"";
        return Err(spec.problem(spec.network.key(), why).hint(hint));
    }
    let ([c, h, w], [i, j, k]) = (input, config.input);
    let why = format!(
        "images of {c}x{h}x{w} in {classes} classes do not fit the network of {base}, which is for {i}x{j}x{k} and {}",
        config.classes
    );
    Err(spec.problem("data.images", why).hint("clocks.weights = \"reset\" starts with a new network for them"))
}

/// An error unless a position in the base's data, which counts batches, means the same here.
pub(crate) fn require_same_batches(spec: &CertifySpec, base: &Recipe, name: &str) -> temper_base::Result<()> {
    let keys = ["data.images", "data.holdout", "data.max_train", "batch.images"];
    let Some((key, own, other)) = spec.difference(base, &keys) else { return Ok(()) };
    let why = format!("{own}, but {other} in {name}, whose position in the data is kept");
    let hint = format!("leave {key} out, or begin the data anew: clocks.data = \"reset\"");
    Err(spec.problem(key, why).hint(hint))
}

/// Refuses a run that cannot fit into this machine's memory: the system would kill it without an error.
fn check_memory(spec: &CertifySpec, config: &NetworkConfig, data: &Data) -> temper_base::Result<()> {
    let images = data.train.len() + data.holdout.as_ref().map_or(0, Images::len) + data.test.len();
    let needed = plan::memory(spec, config, images, data.train.len())?.total();
    let Some(machine) = machine::memory().filter(|machine| needed > machine.total) else { return Ok(()) };
    let (needed, there) = (count(needed as f64), count(machine.total as f64));
    let why = format!("about {needed}B of memory are needed, this machine has {there}B");
    Err(spec.problem("batch.images", why).hint(
        "a larger batch.accumulate computes a batch in smaller pieces, and a smaller model.width keeps less; a plan shows what the memory is for",
    ))
}

/// A fresh network for the data.
///
/// # Errors
/// A network that does not fit the images, or a normalisation that does not.
pub fn fresh_network(spec: &CertifySpec, data: &Data, device: &Device) -> Result<Classifier, Problems> {
    let config = network(spec, data.train.shape, data.train.classes())?;
    let Normalisation { mean, std, .. } = normalisation(spec, &data.train)?;
    Ok(Classifier::new(config, spec.network.init(), spec.run.seed, device).normalised(mean, std))
}

/// The network with the tensors of a PyTorch state dict that was exported to safetensors, or of a run's checkpoint.
fn state_dict(net: Classifier, path: &Path, device: &Device) -> Result<Classifier, Problems> {
    let (mean, std) = (net.mean.clone(), net.std.clone());
    Ok(read_weights(net.config, path, device)?.normalised(mean, std))
}

/// A network of these tensors.
pub(crate) fn read_weights(config: NetworkConfig, path: &Path, device: &Device) -> Result<Classifier, Problems> {
    if path.is_dir() {
        return Err(Problem::input("read state dict", path.display(), "it is a folder")
            .hint("init.from names a safetensors file; to start from a run, branch from it")
            .into());
    }
    Ok(stored::read(path, config, device).map_err(|problem| match problem.hint {
        Some(_) => problem,
        None => problem
            .hint("init.from names a safetensors file: a PyTorch state dict, or model.safetensors of a checkpoint"),
    })?)
}

/// A batch is not larger than the training set: an epoch would be one update of fewer images than asked for. And the last one of an epoch
/// has an image for every shard.
pub(crate) fn check_batch(spec: &CertifySpec, images: usize) -> Result<(), Problems> {
    let (batch, shards, last) = (spec.batch, spec.accumulation.shards, spec.last_batch(images));
    if batch <= images && last < shards {
        let why =
            format!("the last batch of an epoch has {}, too few for {shards} shards", counted(last as u64, "image"));
        return Err(spec.problem("batch.shards", why).hint("choose another batch.images or data.max_train").into());
    }
    if batch <= images {
        return Ok(());
    }
    let why = format!("a batch of {batch} is more than the {images} training images");
    Err(spec.problem("batch.images", why).hint(format!("at most {images}")).into())
}

/// The plan in a few lines, learning rate and radius, before the first update.
fn announce(new: &New<'_, CertifyTask>, listener: &dyn Listener) -> Result<(), Problems> {
    let New { spec, model: net, data, lengths, kept_weights, .. } = *new;
    let (eps, fresh) = (spec.radius(data.train.len(), lengths)?, !kept_weights);
    let [c, h, w] = net.config.input;
    listener.say(&format_args!("recipe      {}", spec.run.recipe.name()));
    let name = spec.network.title();
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
    let normalised = if fresh { normalisation(spec, &data.train)?.because } else { "as in the base run".to_owned() };
    listener.say(&format_args!("pixels      {normalised}"));
    let chosen = match &data.holdout {
        Some(images) => {
            format!("best checkpoint by certified error on {} images held out of the training set", images.len())
        }
        None => "best checkpoint by certified error on the test set itself: its error is a little optimistic".into(),
    };
    listener.say(&format_args!("evaluation  {} test images; {chosen}", data.test.len()));
    listener.say(&format_args!("method      {}, first weights {}", spec.named.name, spec.network.first_weights.name()));
    let accumulation = spec.accumulation;
    if accumulation.parts() > 1 {
        let statistics = if accumulation.whole_batch_statistics {
            "with the batch-norm statistics of the whole batch, through which no gradient flows"
        } else {
            "each with its own batch-norm statistics"
        };
        listener.say(&format_args!("batches     in {}, {statistics}", accumulation.words()));
    }
    let epoch = data.train.len().div_ceil(spec.batch) as u64;
    let epochs = |steps: u64| steps as f64 / epoch as f64;
    listener.say(&format_args!(
        "updates     {} of {} images each, {} an epoch: {:.4} epochs",
        lengths.stop,
        lengths.tokens_per_step,
        epoch,
        epochs(lengths.stop)
    ));
    let target = spec.target_as_toml();
    let (clean, ramp) = (epochs(eps.first), epochs(eps.last - eps.first));
    listener.say(&match (eps.shape, eps.first) {
        (EpsShape::Constant, _) => format!("eps         {target} from the first update on"),
        (_, 0) => format!("eps         {ramp:.4} epochs of ramp, then {target}"),
        _ => format!("eps         0 for {clean:.4} epochs, then {ramp:.4} epochs of ramp, then {target}"),
    });
    if let Some(problem) = spec.small_last_batch(&net.config, data.train.len()) {
        listener.warn(&problem, Some("choose another batch.images or data.max_train"));
    }
    for (key, why) in spec.without_effect(fresh) {
        listener.say(&format_args!("left out    {key}: {why}"));
    }
    for dropped in spec.run.recipe.dropped() {
        listener.say(&format_args!("left out    {dropped}: the chosen lr.shape does not have it"));
    }
    listener.say(&temper_schedule::sparkline(&lengths.schedule, Some(lengths.stop), listener.drawing(), 4).trim_end());
    Ok(())
}
