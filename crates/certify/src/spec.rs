//! A recipe of certified training as typed values: [`CertifySpec`], and the keys that it is read from. Those of network, method and
//! radius are in [`network`], [`method`] and [`radius`].

use std::fmt;
use std::time::Duration;

use temper_base::{Problem, Problems, Result};
use temper_graph::NetworkConfig;
use temper_recipe::Kind::{Bool, Choice, Float, Int, Text};
use temper_recipe::Range::{AboveZero, ZeroToBelowOne};
use temper_recipe::Refers::Content;
use temper_recipe::{Check, Key, Kind, Origin, Recipe, Task, Value};
use temper_schedule::{EpsSchedule, EpsShape, Length, Units};
use temper_train::lengths::Lengths;
use temper_train::spec::{self, RunSpec, Spec, clocks};

use crate::cascade::AtTheEnd;
use crate::evaluate::EvalSettings;
use crate::method::{self, Method};
use crate::methods::{self, METHODS, Named};
use crate::network::{self, NetworkSpec};
use crate::normalisation::Normalise;
use crate::radius::{self, EpsSpec};
use crate::step::Accumulation;

const NAME: &str = "certify";

/// What recipes of certified training add to the rules of recipes.
pub static TASK: Task = Task {
    name: NAME,
    words: "certified training",
    defaults: &[
        ("optimizer.beta2", "0.999"),
        ("optimizer.weight_decay", "0.0"),
        ("optimizer.clip", "10.0"),
        ("lr.warmup", "0"),
        ("eval.every", "\"1 epoch\""),
        ("checkpoint.every", "\"1 epoch\""),
    ],
    check,
    check_sound,
};

/// The keys of certified training.
pub const KEYS: &[&[Key]] = &{
    let mut keys: [&[Key]; METHODS.len() + 5] = [&[]; METHODS.len() + 5];
    (keys[0], keys[1]) = (network::KEYS, method::KEYS[0]);
    let mut i = 0;
    while i < METHODS.len() {
        keys[2 + i] = methods::KEYS[i];
        i += 1;
    }
    (keys[2 + i], keys[3 + i], keys[4 + i]) = (method::KEYS[1], radius::KEYS, OWN);
    keys
};

/// A key of certified training only.
pub(crate) const fn key(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(path, kind, doc).of_task(NAME)
}

/// What `data.images` is.
const IMAGES: &str =
    "a folder of MNIST, Fashion-MNIST, CIFAR-10, TinyImageNet or one folder per class; \"builtin:fashion\"";

const OWN: &[Key] = &[
    key("data.images", Text, IMAGES).refers_to(Content),
    key(
        "data.holdout",
        Float(ZeroToBelowOne),
        "fraction of the training set that is held out to choose the best checkpoint; 0 chooses it by the test set",
    )
    .default("0.05"),
    key("data.max_train", Int(0), "use at most this many training images, the first ones; 0 uses all")
        .default("0")
        .unit("images"),
    key("data.max_test", Int(0), "use at most this many test images, the first ones; 0 uses all")
        .default("0")
        .unit("images"),
    key("data.flip", Bool, "augmentation: mirror images left to right at random").default("false"),
    key("data.crop", Int(0), "augmentation: pad every side by this much, repeating the border, and crop at random")
        .default("0")
        .unit("pixels"),
    key(
        "data.normalise",
        Choice(Normalise::NAMES),
        "mean and deviation per channel: of the known set if it is one, none, of these images, or of a named set",
    )
    .default("\"auto\""),
    key("batch.images", Int(1), "images in one update; the last batch of an epoch may be smaller")
        .default("128")
        .unit("images"),
    key(
        "batch.accumulate",
        Int(1),
        "pieces in which to compute a shard of a batch, adding up their gradients; more need less memory",
    )
    .default("1"),
    key(
        "batch.statistics",
        Choice(&["piece", "batch"]),
        "batch statistics: of each piece, or of the whole batch by a first pass, without gradients through them",
    )
    .default("\"piece\""),
    key(
        "eval.attack_images",
        Int(0),
        "attack at most this many images in each evaluation, the first ones; 0 attacks none",
    )
    .default("1000")
    .unit("images"),
    key("eval.attack_steps", Int(1), "steps of that attack").default("20"),
    key(
        "eval.attack_restarts",
        Int(1),
        "starts of that attack: the first from the image itself, the others from random points of its box",
    )
    .default("1"),
    key(
        "eval.verify_images",
        Int(0),
        "at the end, run all stages of a verification on at most this many test images, the first ones; 0: on none",
    )
    .default("0")
    .unit("images"),
    key("eval.verify_timeout", Float(AboveZero), "seconds for the search on one of them").default("10").unit("seconds"),
];

/// What a recipe of certified training says.
#[derive(Debug, Clone)]
pub struct CertifySpec {
    /// What every recipe says.
    pub run: RunSpec,
    /// The network and its first weights.
    pub network: NetworkSpec,
    /// The method as it is named.
    pub named: &'static Named,
    /// The method.
    pub method: Method,
    /// Whether running statistics are computed anew before each evaluation.
    pub precise_batch_norm: bool,
    /// The radius.
    pub eps: EpsSpec,
    /// The images.
    pub images: ImagesSpec,
    /// Images in one update.
    pub batch: usize,
    /// How a batch is cut into pieces.
    pub accumulation: Accumulation,
    /// How evaluations are made.
    pub eval: EvalSettings,
    /// The verification at the end.
    pub at_the_end: Option<AtTheEnd>,
}

/// What a recipe says of its images.
#[derive(Debug, Clone)]
pub struct ImagesSpec {
    /// Where they are. A branch may have it from its base.
    path: Option<String>,
    /// The fraction of the training set that is held out.
    pub holdout: f64,
    /// The most training images.
    pub max_train: Option<usize>,
    /// The most test images.
    pub max_test: Option<usize>,
    /// Whether they are mirrored at random.
    pub flip: bool,
    /// By how much they are padded to be cropped at random.
    pub crop: usize,
    /// Mean and deviation.
    pub normalise: Normalise,
}

impl Spec for CertifySpec {
    fn read(recipe: &Recipe) -> Result<Self, Problems> {
        let run = RunSpec::read(recipe)?;
        let named = method::named_method(recipe)?;
        let batch = recipe.usize("batch.images")?;
        let accumulation = Accumulation {
            shards: spec::shards(recipe, batch, "batch.images")?,
            pieces: recipe.usize("batch.accumulate")?,
            whole_batch_statistics: recipe.choice("batch.statistics", |word| match word {
                "piece" => Some(false),
                "batch" => Some(true),
                _ => None,
            })?,
        };
        let timeout = Duration::from_secs_f64(recipe.f64("eval.verify_timeout")?.min(1e9));
        let most = |key: &str| recipe.usize(key).map(|most| Some(most).filter(|most| *most > 0));
        Ok(Self {
            network: NetworkSpec::read(recipe, named.first_weights)?,
            named,
            method: Method::read(recipe)?,
            precise_batch_norm: recipe.bool("method.precise_batch_norm")?,
            eps: EpsSpec::read(recipe)?,
            images: ImagesSpec {
                path: images(recipe)?,
                holdout: recipe.f64("data.holdout")?,
                max_train: most("data.max_train")?,
                max_test: most("data.max_test")?,
                flip: recipe.bool("data.flip")?,
                crop: recipe.usize("data.crop")?,
                normalise: recipe.choice("data.normalise", Normalise::from_name)?,
            },
            batch,
            accumulation,
            eval: EvalSettings {
                rows: run.eval_batch.unwrap_or(batch.div_ceil(accumulation.parts())),
                attack_images: recipe.usize("eval.attack_images")?,
                attack_steps: recipe.usize("eval.attack_steps")?,
                attack_restarts: recipe.usize("eval.attack_restarts")?,
                seed: run.seed,
            },
            at_the_end: most("eval.verify_images")?.map(|images| AtTheEnd { images, timeout }),
            run,
        })
    }

    fn run(&self) -> &RunSpec {
        &self.run
    }
}

impl CertifySpec {
    /// A problem with the value of `key`, which says where it is written.
    pub fn problem(&self, key: &str, why: impl fmt::Display) -> Problem {
        self.run.problem(key, why)
    }

    /// Where the images are: a folder, or `builtin:NAME`.
    ///
    /// # Errors
    /// A recipe that does not say.
    pub fn images(&self) -> Result<&str> {
        match &self.images.path {
            Some(path) => Ok(path),
            None => Err(self.problem("data.images", "it is not set").hint(format!("data.images: {IMAGES}"))),
        }
    }

    /// Whether it is a built-in recipe that says where the images are.
    pub(crate) fn images_of_builtin_recipe(&self) -> bool {
        matches!(self.run.recipe.origin("data.images"), Origin::Recipe(_))
    }

    /// Every length in updates. An epoch is a whole number of updates; its last batch may be smaller.
    ///
    /// # Errors
    /// Every length that cannot be counted in updates.
    pub fn lengths(&self, train: usize, max_steps: Option<u64>) -> Result<Lengths, Problems> {
        Lengths::resolve(&self.run, self.batch as u64, self.units(Some(train)).tokens_per_epoch, max_steps)
    }

    /// The radius by update.
    ///
    /// # Errors
    /// A ramp that does not fit.
    pub fn radius(&self, train: usize, lengths: &Lengths) -> Result<EpsSchedule, Problems> {
        self.eps_schedule(&self.units(Some(train)), lengths.horizon)
    }

    /// What an update and, where the number of training images is known, an epoch are worth.
    pub fn units(&self, train: Option<usize>) -> Units {
        let batch = self.batch as u64;
        let epoch = |train: usize| (train as u64).div_ceil(batch).saturating_mul(batch);
        Units { tokens_per_step: batch, tokens_per_epoch: train.map(epoch) }
    }

    /// Images of the last batch of an epoch.
    pub(crate) fn last_batch(&self, train: usize) -> usize {
        match train % self.batch {
            0 => self.batch.min(train),
            rest => rest,
        }
    }

    /// What is wrong with the last batch of an epoch, if it is too small for the statistics of batch norms.
    pub fn small_last_batch(&self, config: &NetworkConfig, train: usize) -> Option<String> {
        let last = self.last_batch(train);
        let few = config.has_batch_norm() && last < 2 * self.accumulation.parts();
        few.then(|| format!("images in the last batch of an epoch: {last}, too few for the statistics of batch norms"))
    }

    /// The first of these keys that has another value in the recipe `other`: the key, its value, and the other one.
    pub(crate) fn difference<'k>(&self, other: &Recipe, keys: &[&'k str]) -> Option<(&'k str, String, String)> {
        let both = |key: &&'k str| (*key, self.run.recipe.shown(key), other.shown(key));
        keys.iter().map(both).find(|(_, own, other)| own != other)
    }

    /// The keys that the recipe gives and that count for nothing beside its others, and why. `fresh` says whether the weights
    /// are drawn anew.
    pub fn without_effect(&self, fresh: bool) -> Vec<(&'static str, String)> {
        let method = &self.method;
        let plain = !method.tightness && !method.relu_balance;
        let mut rules: Vec<(bool, String, Vec<&'static str>)> = Vec::new();
        let mut rule = |idle, why: &str, keys: &[&'static str]| rules.push((idle, why.to_owned(), keys.to_vec()));
        rule(self.eps.shape == EpsShape::Constant, "eps.shape is \"constant\"", &["eps.start", "eps.length"]);
        let regularisers = ["method.lambda", "method.tau", "eps.floor"];
        rule(plain, "method.tightness and method.relu_balance are off", &regularisers);
        for other in METHODS.iter().rev().filter(|other| other.name != self.named.name) {
            let keys: Vec<_> = other.keys.iter().map(|key| key.path).collect();
            rule(true, &format!("method.name is not \"{}\"", other.name), &keys);
        }
        if let Some((why, keys)) = method.objective.idle_keys() {
            rule(true, why, keys);
        }
        rule(self.accumulation.parts() == 1, "batch.accumulate is 1", &["batch.statistics"]);
        let attack = ["eval.attack_steps", "eval.attack_restarts"];
        rule(self.eval.attack_images == 0, "eval.attack_images is 0", &attack);
        rule(self.at_the_end.is_none(), "eval.verify_images is 0", &["eval.verify_timeout"]);
        rule(!fresh, "the weights are those of the base run", &["init.weights", "data.normalise"]);
        rule(self.run.from.is_some(), "init.from gives the weights", &["init.weights"]);
        let idle = rules.into_iter().filter(|(idle, ..)| *idle);
        let keys = idle.flat_map(|(_, why, keys)| keys.into_iter().map(move |key| (key, why.clone())));
        keys.filter(|(key, _)| is_given(&self.run.recipe, key)).collect()
    }
}

/// Where the recipe's images are, if it says so.
pub(crate) fn images(recipe: &Recipe) -> Result<Option<String>> {
    recipe.opt("data.images", Recipe::text)
}

/// What the evaluations of a recipe have beside the test set.
pub struct Evaluated {
    /// Images held out of the training set.
    pub holdout: bool,
    /// An attack.
    pub attacked: bool,
    /// A verification at the end.
    pub verified: bool,
}

/// What the recipe is evaluated on, be it complete or not.
///
/// # Errors
/// A value of another kind.
pub fn evaluated(recipe: &Recipe) -> Result<Evaluated> {
    Ok(Evaluated {
        holdout: recipe.f64("data.holdout")? > 0.0,
        attacked: recipe.u64("eval.attack_images")? > 0,
        verified: recipe.u64("eval.verify_images")? > 0,
    })
}

/// Whether the recipe itself gives this key.
pub(crate) fn is_given(recipe: &Recipe, key: &str) -> bool {
    matches!(recipe.origin(key), Origin::Recipe(_) | Origin::File(_) | Origin::Set)
}

/// Writes into the recipe what method and network decide, where it does not say so itself.
///
/// # Errors
/// A recipe that asks for batch norms that its network does not have, or for none where it has some.
pub fn fill_method(recipe: &mut Recipe) -> Result<()> {
    let named = method::named_method(recipe)?;
    let origin = Origin::Preset(named.name.to_owned());
    for key in ["method.tightness", "method.relu_balance"] {
        recipe.fill(key, Value::Bool(named.regularised), origin.clone());
    }
    recipe.fill("init.weights", Value::Text(named.first_weights.name().into()), origin);
    network::decide_batch_norm(recipe)
}

/// What a branch takes over from the recipe of its base where its own says nothing: network, data and batches; radius and
/// learning rate only with the schedule's clock.
pub fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) {
    // A network of the branch's own takes nothing from that of the base.
    if ["model.name", "model.graph"].iter().all(|key| !recipe.is_set(key)) {
        recipe.inherit(base, "model", name);
    }
    for key in ["method", "data", "batch", "optimizer", "eps.target"] {
        recipe.inherit(base, key, name);
    }
    spec::inherit(recipe, base, name, &["eps"]);
}

fn check(check: &mut Check) {
    spec::check(check);
    // A branch takes images and target from its base.
    let branch = check.branch || spec::base_of(check.recipe).is_ok_and(|base| base.is_some());
    let kept = |clock: &str| branch || clocks::keeps_clock(check.recipe, clock);
    let (data_kept, target_kept) = (kept(clocks::DATA), kept(clocks::SCHEDULE));
    if check.missing("data.images") && !data_kept {
        check.problem("data.images", "there is nothing to train on", "for example data.images = \"data/mnist\"");
    }
    if check.missing("eps.target") && !target_kept {
        check.problem("eps.target", "it is not set", "for example eps.target = \"8/255\"");
    }
    if check.recipe.is_set("model.graph") && check.recipe.is_set("model.width") {
        let hint = "take it out, or give model.name instead of model.graph";
        check.problem("model.width", "a list of layers has its own widths", hint);
    }
    radius::check(check);
    let attacked = |named: &&Named| (named.read)(check.recipe).is_ok_and(|method| method.attack_steps() > 0);
    let given = |key: &str| check.recipe.bool(key) == Ok(true);
    if let Some(named) = method::named_method(check.recipe).ok().filter(attacked)
        && (given("method.tightness") || given("method.relu_balance"))
    {
        let why = format!("the warmup regularisers need bounds, and \"{}\" has none", named.name);
        let hint = "take method.tightness and method.relu_balance out, or choose another method";
        check.problem("method.name", why, hint);
    }
    let in_tokens: Vec<String> = check
        .recipe
        .entries()
        .into_iter()
        .filter(|(_, entry)| tokens(&entry.value))
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in in_tokens {
        check.problem(&path, "images have no tokens", "write for example \"2000 steps\", \"3 epochs\" or \"10%\"");
    }
    let whole = check.recipe.text("batch.statistics").is_ok_and(|choice| choice == "batch");
    // A branch may have its shards from its base.
    let one = |key: &str| check.recipe.opt(key, Recipe::usize).is_ok_and(|parts| parts.is_none_or(|parts| parts == 1));
    if whole && !branch && one("batch.accumulate") && one("batch.shards") {
        let hint = "set batch.accumulate or batch.shards above 1, or batch.statistics = \"piece\"";
        check.problem("batch.statistics", "a batch in one piece has its own statistics anyway", hint);
    }
}

/// Whether it is a length in tokens.
fn tokens(value: &Value) -> bool {
    value.lengths().iter().any(|length| matches!(length, Length::Tokens(_)))
}

fn check_sound(recipe: &Recipe) -> Vec<Problem> {
    spec::check_schedule(recipe, recipe.u64("batch.images").unwrap_or(1))
}
