//! The table of keys. `temper recipe keys` prints it: the line here documents the key.

use temper_schedule::{Convention, CooldownShape, DecayShape, EpsShape, LrShape};

use crate::value::{Kind, Range};
use Kind::{Bool, Choice, Float, Horizon, Int, IntOrAuto, Length, Lengths, Radius, Text, Texts};
use Range::{AboveZero, AboveZeroToOne, Any, AtLeastZero, ZeroToBelowOne, ZeroToOne};

/// One key of a recipe.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its path, with `*` for a name that the user chooses: `data.train.*.path`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as TOML; a key without one is unset unless the recipe sets it.
    pub default: Option<&'static str>,
    /// What it does, in one line.
    pub doc: &'static str,
    /// The unit of the number, if it has one.
    pub unit: &'static str,
    /// Whether changing it can change the numbers a run ends with; after such a change Temper does not check `expect`.
    pub bears: bool,
    /// The task whose recipes have it; `None` for all.
    pub task: Option<Task>,
    /// Its default in recipes of certified training, if that differs.
    pub certify_default: Option<&'static str>,
    /// The key that this one stands in for: of the two, the one given later counts.
    pub instead_of: Option<&'static str>,
    /// Keys that a choice of this one sets anew: what earlier layers gave for them is forgotten.
    pub resets: &'static [&'static str],
    /// Its name in recipes and runs of earlier versions.
    pub formerly: Option<&'static str>,
    /// Whether a recipe has it from those that it extends.
    pub inherited: bool,
    /// Whether a branch decides it anew where a preset decided it in the base run.
    pub anew: bool,
    /// Whether every name that stands for its `*` needs it, and why: "the source has no path".
    pub needed: Option<&'static str>,
}

/// What a recipe trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A language model.
    Lm,
    /// An image classifier with certificates.
    Certify,
}

impl Task {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Task::Lm => "lm",
            Task::Certify => "certify",
        }
    }

    /// What its recipes are called in messages.
    pub fn words(self) -> &'static str {
        match self {
            Task::Lm => "language models",
            Task::Certify => "certified training",
        }
    }
}

const fn key(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        path,
        kind,
        default: None,
        doc,
        unit: "",
        bears: true,
        task: None,
        certify_default: None,
        instead_of: None,
        resets: &[],
        formerly: None,
        inherited: true,
        anew: false,
        needed: None,
    }
}

/// A key of language models only.
const fn lm(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { task: Some(Task::Lm), ..key(path, kind, doc) }
}

/// A key of certified training only.
const fn certify(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { task: Some(Task::Certify), ..key(path, kind, doc) }
}

impl Key {
    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The default in certified training.
    const fn in_certify(self, default: &'static str) -> Self {
        Self { certify_default: Some(default), ..self }
    }

    /// The default in recipes of `task`.
    pub fn default_for(&self, task: Task) -> Option<&'static str> {
        match task {
            Task::Certify => self.certify_default.or(self.default),
            Task::Lm => self.default,
        }
    }

    /// Whether recipes of `task` have this key.
    pub fn belongs_to(&self, task: Task) -> bool {
        self.task.is_none_or(|own| own == task)
    }

    const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    const fn free(self) -> Self {
        Self { bears: false, ..self }
    }

    const fn instead_of(self, other: &'static str) -> Self {
        Self { instead_of: Some(other), ..self }
    }

    const fn resets(self, others: &'static [&'static str]) -> Self {
        Self { resets: others, ..self }
    }

    const fn formerly(self, name: &'static str) -> Self {
        Self { formerly: Some(name), ..self }
    }

    const fn not_inherited(self) -> Self {
        Self { inherited: false, ..self }
    }

    const fn anew(self) -> Self {
        Self { anew: true, ..self }
    }

    const fn needed(self, why: &'static str) -> Self {
        Self { needed: Some(why), ..self }
    }

    /// What comes before the name that the user chooses: `data.train` of `data.train.*.path`.
    pub(crate) fn prefix(&self) -> Option<&'static str> {
        self.path.split_once(".*.").map(|(prefix, _)| prefix)
    }

    /// Whether a path, split at the dots, is this key.
    pub(crate) fn matches(&self, path: &[&str]) -> bool {
        let mut own = self.path.split('.');
        path.iter().all(|part| own.next().is_some_and(|own| own == "*" || own == *part)) && own.next().is_none()
    }

    /// The table a key is in: everything before the last dot.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// The key with this path, in which names that the user chose match `*`.
pub fn find_key(path: &str) -> Option<&'static Key> {
    let path = current(path);
    let parts: Vec<&str> = path.split('.').collect();
    KEYS.iter().find(|key| key.matches(&parts))
}

const KEEP_RESET: Kind = Choice(&["keep", "reset"]);

/// The key that a path means: recipes and runs of earlier versions have other names for some.
pub fn current(path: &str) -> &str {
    KEYS.iter().find(|key| key.formerly == Some(path)).map_or(path, |key| key.path)
}

/// The key that is given either instead of the one with this path or replaced by it.
pub(crate) fn alternative(path: &str) -> Option<&'static str> {
    KEYS.iter().find_map(|key| {
        let other = key.instead_of?;
        if path == key.path {
            Some(other)
        } else if path == other {
            Some(key.path)
        } else {
            None
        }
    })
}

/// Every key, in the order in which they are shown.
pub static KEYS: &[Key] = &[
    key(
        "task",
        Choice(&["lm", "certify"]),
        "what to train: \"lm\" is a language model, \"certify\" an image classifier with certificates",
    )
    .default("\"lm\""),
    key("extends", Text, "name or path of the recipe that gives every value this one leaves out").free(),
    key("about", Text, "a description of the recipe in one line").free(),
    key("base", Text, "the recipe to train first; this one is for `temper branch` from that run").free(),
    key("seed", Int(0), "seed of the initial weights, of the order of the data and of every other random draw")
        .default("1"),
    // Model.
    lm(
        "model.preset",
        Text,
        "a named shape such as \"pythia-70m\"; sets the keys of [model] that the recipe leaves out",
    ).resets(&["model.layers", "model.d_model", "model.heads", "model.d_ff"]),
    lm("model.layers", Int(1), "number of transformer layers"),
    lm("model.d_model", Int(1), "width of the residual stream"),
    lm("model.heads", Int(1), "attention heads in each layer; d_model must be a multiple of their number"),
    lm("model.d_ff", Int(1), "width of the hidden layer of the MLPs; 4 times d_model if not given"),
    lm("model.vocab_size", IntOrAuto(1), "rows of the embedding; \"auto\" is the tokenizer's size, padded")
        .default("\"auto\""),
    lm("model.vocab_multiple", Int(1), "an \"auto\" vocabulary is padded to a multiple of this").default("128"),
    lm("model.rotary_pct", Float(ZeroToOne), "fraction of each head that gets rotary position embeddings").default("0.25"),
    lm("model.rotary_base", Float(AboveZero), "base of the rotary frequencies").default("10000.0"),
    lm("model.parallel_residual", Bool, "compute attention and MLP from the same input and add both, instead of one after the other")
        .default("true"),
    lm("model.activation", Choice(&["gelu", "gelu_tanh"]), "\"gelu\" is exact (erf), \"gelu_tanh\" its approximation")
        .default("\"gelu\""),
    lm("model.tie_embeddings", Bool, "use one matrix for embedding and unembedding").default("false"),
    lm("model.layer_norm_eps", Float(AboveZero), "number that LayerNorm adds to the variance").default("1e-5"),
    lm(
        "model.init",
        Choice(&["small+wang", "normal"]),
        "initial weights: \"small+wang\" as Pythia's, \"normal\" with init_std",
    )
    .default("\"small+wang\""),
    lm("model.init_std", Float(AboveZero), "standard deviation of \"normal\" initial weights").default("0.02"),
    key(
        "init.from",
        Text,
        "first weights: a Hugging Face GPT-NeoX directory, or (certify) a state dict as a safetensors file",
    ),
    certify("model.name", Text, "the network: cnn7, small, wide-resnet-8, resnext, ... (`temper recipe networks` lists them)"),
    certify("model.width", Int(1), "channels of its first convolution; the paper's number if not given"),
    certify("model.graph", Texts, "the network as a list of layers, instead of a name (`temper recipe layers` explains them)").instead_of("model.name").resets(&["model.width", "model.batch_norm"]),
    certify(
        "model.batch_norm",
        Choice(&["full", "conv", "none"]),
        "where batch norms are: after every affine layer but the last, after convolutions only, or nowhere",
    )
    .default("\"full\"").anew(),
    certify(
        "init.weights",
        Choice(&["default", "xavier", "kaiming", "orthogonal", "ibp"]),
        "initial weights: the framework's default, or as named; if not given, \"ibp\" with method.name = \"fast\"",
    ),
    // The method.
    certify(
        "method.name",
        Choice(&["plain", "pgd", "vanilla-ibp", "crown-ibp", "fast"]),
        "the method of training; \"fast\" is arXiv 2103.17268; sets the keys of [method] that the recipe leaves out",
    )
    .default("\"fast\"").anew(),
    certify("method.tightness", Bool, "use the warmup regulariser against loose bounds").anew(),
    certify("method.relu_balance", Bool, "use the warmup regulariser against too many inactive or active ReLUs").anew(),
    certify("method.lambda", Float(AtLeastZero), "weight of the warmup regularisers at eps = 0").default("0.5").anew(),
    certify("method.tau", Float(AboveZeroToOne), "tolerance of the warmup regularisers").default("0.5").anew(),
    certify(
        "method.loss_fusion",
        Bool,
        "crown-ibp: bound the loss instead of each margin, so that the cost does not grow with the number of classes",
    )
    .default("true").anew(),
    certify(
        "method.mixing",
        Choice(&["ramp", "zhang"]),
        "crown-ibp: how IBP replaces it: as in arXiv 2103.17268 (\"ramp\"), or as in arXiv 1906.06316 (\"zhang\")",
    )
    .default("\"ramp\"").anew(),
    certify("method.beta_end", Float(ZeroToOne), "mixing = \"zhang\": weight of CROWN-IBP at the end of the ramp")
        .default("0.0").anew(),
    certify("method.kappa_end", Float(ZeroToOne), "mixing = \"zhang\": weight of the clean loss at the end of the ramp")
        .default("0.0").anew(),
    certify("method.attack_steps", Int(1), "pgd: steps of the attack during training").default("7").anew(),
    certify(
        "method.precise_batch_norm",
        Bool,
        "before each evaluation, compute the running statistics anew over the training set",
    )
    .default("false").anew(),
    // The radius.
    certify("eps.target", Radius, "L-infinity radius in pixel values of [0, 1], for example \"8/255\" or 0.3"),
    certify("eps.shape", Choice(EpsShape::NAMES), "how the radius grows").default("\"smoothed\""),
    certify("eps.start", Length, "length of the training with radius 0, before the ramp").default("0"),
    certify("eps.length", Length, "length of the ramp").default("\"30%\""),
    certify("eps.floor", Float(AboveZero), "radius of the bounds in the warmup regularisers while eps is smaller")
        .default("1e-6"),
    certify(
        "data.images",
        Text,
        "a folder of MNIST, Fashion-MNIST, CIFAR-10, TinyImageNet or one folder per class; \"builtin:fashion\"",
    ),
    certify(
        "data.holdout",
        Float(ZeroToBelowOne),
        "fraction of the training set that is held out to choose the best checkpoint; 0 chooses it by the test set",
    )
    .default("0.05"),
    certify("data.max_train", Int(0), "use at most this many training images, the first ones; 0 uses all")
        .default("0")
        .unit("images"),
    certify("data.max_test", Int(0), "use at most this many test images, the first ones; 0 uses all").default("0").unit("images"),
    certify("data.flip", Bool, "augmentation: mirror images left to right at random").default("false"),
    certify("data.crop", Int(0), "augmentation: pad every side by this much, repeating the border, and crop at random")
        .default("0")
        .unit("pixels"),
    certify(
        "data.normalise",
        Choice(&["auto", "none", "own", "cifar-10", "tiny-imagenet"]),
        "mean and deviation per channel: of the known set if it is one, none, of these images, or of a named set",
    )
    .default("\"auto\""),
    // Data.
    lm("data.tokenizer", Text, "path of a tokenizer.json, or \"builtin:demo\""),
    lm(
        "data.eod",
        Text,
        "the token that ends a document [default: from config.json beside the tokenizer, otherwise <|endoftext|>]",
    ),
    lm(
        "data.other_tokenizer",
        Bool,
        "init.from: use data.tokenizer although it differs from the tokenizer.json beside the weights",
    ),
    lm("data.text_key", Text, "the key of a JSON line that holds the text; \"data.text\" is the key text inside data")
        .default("\"text\""),
    lm("data.seq_len", Int(1), "tokens that a sequence predicts").default("512").unit("tokens"),
    lm(
        "data.beyond_positions",
        Bool,
        "allow a data.seq_len beyond the positions that the weights of init.from were made for; adds positions",
    ),
    lm(
        "data.bad_lines",
        Choice(&["skip", "error"]),
        "what to do with lines without usable text (not UTF-8, half an emoji, no such key, null): skip and count, or stop",
    )
    .default("\"skip\"").formerly("data.invalid_utf8"),
    lm(
        "data.validation_fraction",
        Float(ZeroToBelowOne),
        "fraction of each training source's documents to hold out for validation",
    )
    .default("0.01"),
    lm("data.train.*.path", Texts, "a training source: files, folders or globs of text, JSON lines or token shards").needed("the source has no path"),
    lm(
        "data.train.*.weight",
        Float(AtLeastZero),
        "share of the source in training, relative to the other weights; 0 leaves it out",
    )
    .default("1.0"),
    lm("data.validation.*.path", Texts, "a further validation set, besides those held out of the training sources").needed("the source has no path"),
    lm("data.replay.fraction", Float(ZeroToBelowOne), "fraction of the samples to take from the data of an earlier run")
        .default("0.0"),
    lm("data.replay.from", Text, "directory of the run whose data to replay; the base of a branch if not given"),
    lm("data.replay.seen_only", Bool, "replay only samples that this earlier run has seen").default("true"),
    lm("data.replay.order", Choice(&["original", "reshuffled"]), "replay in the order of that run, or shuffled anew")
        .default("\"original\""),
    // Optimisation.
    lm("batch.sequences", Int(1), "sequences in one update").default("8").unit("sequences"),
    lm("batch.micro", Int(1), "sequences to compute at once; fewer need less memory; the whole batch if not given")
        .unit("sequences")
        .free(),
    certify("batch.images", Int(1), "images in one update; the last batch of an epoch may be smaller")
        .default("128")
        .unit("images"),
    certify("batch.accumulate", Int(1), "pieces in which to compute a batch, adding up their gradients; more need less memory").default("1"),
    certify(
        "batch.statistics",
        Choice(&["piece", "batch"]),
        "batch statistics: of each piece, or of the whole batch by a first pass, without gradients through them",
    )
    .default("\"piece\""),
    key("optimizer.beta1", Float(ZeroToBelowOne), "AdamW: decay of the mean of the gradients").default("0.9"),
    key("optimizer.beta2", Float(ZeroToBelowOne), "AdamW: decay of the mean of their squares")
        .default("0.95")
        .in_certify("0.999"),
    key("optimizer.eps", Float(AboveZero), "AdamW: added to the root of that mean").default("1e-8"),
    key(
        "optimizer.weight_decay",
        Float(AtLeastZero),
        "AdamW: decoupled decay of weights and embeddings (not of biases and LayerNorms)",
    )
    .default("0.1")
    .in_certify("0.0"),
    key("optimizer.clip", Float(AtLeastZero), "largest global norm of the gradient; 0 does not clip")
        .default("1.0")
        .in_certify("10.0"),
    // Learning rate.
    key("lr.shape", Choice(LrShape::NAMES), "the curve after the warmup").default("\"cosine\""),
    key(
        "lr.convention",
        Choice(Convention::NAMES),
        "whose way of counting updates (\"neox-2023\": Pythia's cosine; \"neox\": \"linear\" aims at 0, ends at the minimum)",
    )
    .default("\"ours\""),
    key("lr.peak", Float(AboveZero), "the maximum of the learning rate"),
    key("lr.min", Float(AtLeastZero), "the minimum of the learning rate; instead of min_ratio").instead_of("lr.min_ratio"),
    key("lr.min_ratio", Float(ZeroToOne), "the minimum as a fraction of the maximum").default("0.1"),
    key("lr.warmup", Length, "length of the linear warmup; 0 starts at the maximum").default("\"1%\"").in_certify("0"),
    key("lr.warmup_from", Float(AtLeastZero), "where the warmup starts (transformers' warmup-stable-decay starts at the minimum)").default("0.0"),
    key(
        "lr.decay_end",
        Length,
        "cosine, linear: where the curve reaches the minimum, counted from the first update; the horizon if not given",
    ),
    key("lr.decay", Length, "wsd, wsd-s: length of the decay (wsd-s: of each decay, a fraction being one of its period)")
        .default("\"10%\""),
    key("lr.decay_shape", Choice(DecayShape::NAMES), "wsd, wsd-s: curve of the decay").default("\"1-sqrt\""),
    key("lr.power", Float(AboveZero), "wsd, wsd-s: exponent of the \"power\" decay").default("2.0"),
    key("lr.cycles", Int(1), "wsd-s, rewarm-cosine: number of equal cycles; instead of ends").instead_of("lr.ends"),
    key("lr.ends", Lengths, "wsd-s, rewarm-cosine: where the cycles end, counted from the first update"),
    key(
        "lr.rewarm",
        Length,
        "rewarm-cosine: warmup of the later cycles, a fraction being one of the cycle; as lr.warmup if not given",
    ),
    key("lr.rewarm_from", Float(AtLeastZero), "rewarm-cosine: learning rate at which those warmups start; the minimum if not given"),
    key("lr.cooldown", Length, "infinite: length of the cooldown to the constant").default("\"60%\""),
    key("lr.cooldown_shape", Choice(CooldownShape::NAMES), "infinite: curve of the cooldown").default("\"cosine\""),
    key("lr.alpha", Float(AboveZero), "infinite: time scale of the \"inverse-sqrt\" cooldown").default("1.0"),
    key("lr.constant", Length, "infinite: length of the constant phase; an exponential anneal fills the rest")
        .default("\"25%\""),
    key("lr.constant_lr", Float(AtLeastZero), "infinite: the constant learning rate; halfway from minimum to maximum if not given"),
    key("lr.milestones", Lengths, "multi-step: points after which the learning rate is multiplied by gamma"),
    key("lr.gamma", Float(AboveZeroToOne), "multi-step: the factor").default("0.1"),
    key("lr.timescale", Length, "inverse-sqrt: updates after which the learning rate falls noticeably; the warmup if not given"),
    // The run.
    key("run.horizon", Horizon, "how long the schedule is"),
    key(
        "run.stop",
        Length,
        "where training stops; the horizon if not given; stopping earlier does not bend the schedule",
    ),
    key(
        "eval.every",
        Length,
        "distance between evaluations; 0 evaluates only before the first and after the last update",
    )
    .default("\"5%\"")
    .in_certify("\"1 epoch\""),
    lm("eval.max_tokens", Int(0), "evaluate at most this many tokens of each set; 0 takes all")
        .default("0")
        .unit("tokens"),
    key("eval.batch", Int(1), "sequences to evaluate at once; as many as training computes at once if not given")
        .unit("sequences")
        .free(),
    certify(
        "eval.attack_images",
        Int(0),
        "attack at most this many images in each evaluation, the first ones; 0 attacks none",
    )
    .default("1000")
    .unit("images"),
    certify("eval.attack_steps", Int(1), "steps of that attack").default("20"),
    certify(
        "eval.attack_restarts",
        Int(1),
        "starts of that attack: the first from the image itself, the others from random points of its box",
    )
    .default("1"),
    key("checkpoint.every", Length, "distance between checkpoints; 0 writes only the last")
        .default("\"10%\"")
        .in_certify("\"1 epoch\"")
        .free(),
    key("checkpoint.keep_last", Int(1), "number of the latest checkpoints to keep").default("2").free(),
    key("checkpoint.keep_every", Length, "keep checkpoints at multiples of this for ever").free(),
    key("checkpoint.keep_at", Lengths, "further points at which to take a checkpoint and keep it for ever").free(),
    lm("checkpoint.keep_best", Text, "the validation set whose best checkpoint to keep").free(),
    key("log.every", Length, "distance between log lines").default("\"10 steps\"").free(),
    lm(
        "memory.activation_checkpointing",
        Bool,
        "recompute activations instead of keeping them: needs less memory, gives the same numbers",
    )
    .default("false")
    .free(),
    // What a branch keeps of the run it starts from.
    key("clocks.weights", KEEP_RESET, "branch: whether it keeps the weights").default("\"keep\""),
    key("clocks.moments", KEEP_RESET, "branch: whether it keeps the moments of the optimiser, with their bias correction")
        .default("\"reset\""),
    key("clocks.schedule", KEEP_RESET, "branch: whether it keeps the position in the schedule").default("\"reset\""),
    key("clocks.data", KEEP_RESET, "branch: whether it keeps the position in the data").default("\"reset\""),
    key("clocks.rng", KEEP_RESET, "branch: whether it keeps the random state").default("\"reset\""),
    // What the run should end with.
    key("expect.metric", Text, "the metric to compare at the end of the run; not inherited").free().not_inherited(),
    key("expect.mean", Float(Any), "its expected value").free().not_inherited(),
    key("expect.tolerance", Float(AtLeastZero), "by how much the metric may differ from it").free().not_inherited(),
];
