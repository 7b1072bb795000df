//! The model's configuration from recipe, preset or Hugging Face directory, and the keys of `[model]`.

use temper_base::{Problems, Result};
use temper_data::Vocabulary;
use temper_model::GptNeoxConfig;
use temper_model::config::{Gelu, PYTHIA, Preset};
use temper_model::init::Init;
use temper_recipe::Kind::{Bool, Choice, Float, Int, IntOrAuto, Text};
use temper_recipe::Range::{AboveZero, ZeroToOne};
use temper_recipe::{Key, Origin, Recipe, Value, nearest};

use crate::spec::{LmSpec, key};

/// The keys.
pub(crate) const KEYS: &[Key] = &[
    key(
        "model.preset",
        Text,
        "a named shape such as \"pythia-70m\"; sets the keys of [model] that the recipe leaves out",
    )
    .resets(&["model.layers", "model.d_model", "model.heads", "model.d_ff"]),
    key("model.layers", Int(1), "number of transformer layers"),
    key("model.d_model", Int(1), "width of the residual stream"),
    key("model.heads", Int(1), "attention heads in each layer; d_model must be a multiple of their number"),
    key("model.d_ff", Int(1), "width of the hidden layer of the MLPs; 4 times d_model if not given"),
    key("model.vocab_size", IntOrAuto(1), "rows of the embedding; \"auto\" is the tokenizer's size, padded")
        .default("\"auto\""),
    key("model.vocab_multiple", Int(1), "an \"auto\" vocabulary is padded to a multiple of this").default("128"),
    key("model.rotary_pct", Float(ZeroToOne), "fraction of each head that gets rotary position embeddings")
        .default("0.25"),
    key("model.rotary_base", Float(AboveZero), "base of the rotary frequencies").default("10000.0"),
    key(
        "model.parallel_residual",
        Bool,
        "compute attention and MLP from the same input and add both, instead of one after the other",
    )
    .default("true"),
    key("model.activation", Choice(&["gelu", "gelu_tanh"]), "\"gelu\" is exact (erf), \"gelu_tanh\" its approximation")
        .default("\"gelu\""),
    key("model.tie_embeddings", Bool, "use one matrix for embedding and unembedding").default("false"),
    key("model.layer_norm_eps", Float(AboveZero), "number that LayerNorm adds to the variance").default("1e-5"),
    key(
        "model.init",
        Choice(&["small+wang", "normal"]),
        "initial weights: \"small+wang\" as Pythia's, \"normal\" with init_std",
    )
    .default("\"small+wang\""),
    key("model.init_std", Float(AboveZero), "standard deviation of \"normal\" initial weights").default("0.02"),
];

/// What a recipe says of the shape of its model. A start fills in what is open from a preset or from weights that exist.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Whether a preset is named.
    pub preset: bool,
    /// Blocks.
    pub layers: Option<usize>,
    /// Width of the residual stream.
    pub d_model: Option<usize>,
    /// Heads of a block.
    pub heads: Option<usize>,
    /// Width of the MLPs; 4 times `d_model` if open.
    pub d_ff: Option<usize>,
    /// Rows of the embedding; the tokenizer's size, padded, if open.
    pub vocab_size: Option<usize>,
    /// What an open vocabulary is padded to a multiple of.
    pub vocab_multiple: usize,
    /// Fraction of every head that rotates.
    pub rotary_pct: f64,
    /// Base of the rotary angles.
    pub rotary_base: f64,
    /// Whether attention and MLP have the same input.
    pub parallel_residual: bool,
    /// The activation.
    pub gelu: Gelu,
    /// One table for embedding and unembedding.
    pub tie_embeddings: bool,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f64,
}

impl ModelSpec {
    pub(crate) fn read(recipe: &Recipe) -> Result<Self> {
        let size = |key: &str| recipe.opt(key, Recipe::usize);
        Ok(Self {
            preset: recipe.is_set("model.preset"),
            layers: size("model.layers")?,
            d_model: size("model.d_model")?,
            heads: size("model.heads")?,
            d_ff: size("model.d_ff")?,
            vocab_size: recipe.usize_or_auto("model.vocab_size")?,
            vocab_multiple: recipe.usize("model.vocab_multiple")?,
            rotary_pct: recipe.f64("model.rotary_pct")?,
            rotary_base: recipe.f64("model.rotary_base")?,
            parallel_residual: recipe.bool("model.parallel_residual")?,
            gelu: recipe.choice("model.activation", activation)?,
            tie_embeddings: recipe.bool("model.tie_embeddings")?,
            layer_norm_eps: recipe.f64("model.layer_norm_eps")?,
        })
    }
}

/// The activation of this name.
fn activation(name: &str) -> Option<Gelu> {
    match name {
        "gelu" => Some(Gelu::Erf),
        "gelu_tanh" => Some(Gelu::Tanh),
        _ => None,
    }
}

/// Fills in what `model.preset` implies; keys that are given win.
///
/// # Errors
/// A preset of an unknown name.
pub fn fill_preset(recipe: &mut Recipe) -> Result<(), Problems> {
    let Some(name) = recipe.opt("model.preset", Recipe::text)? else { return Ok(()) };
    let Some(preset) = Preset::find(&name) else {
        let names = PYTHIA.iter().map(|preset| preset.name);
        let hint = match nearest(&name, names.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(recipe.problem("model.preset", format!("there is no preset {name}")).hint(hint).into());
    };
    fill(recipe, &preset.config(), &Origin::Preset(name));
    Ok(())
}

/// Fills the keys of `[model]` from a configuration.
fn fill(recipe: &mut Recipe, config: &GptNeoxConfig, origin: &Origin) {
    for (key, value) in values(config) {
        recipe.fill(key, value, origin.clone());
    }
}

/// The configuration as values of the recipe.
fn values(config: &GptNeoxConfig) -> Vec<(&'static str, Value)> {
    let int = |n: usize| Value::Int(n as i64);
    vec![
        ("model.layers", int(config.layers)),
        ("model.d_model", int(config.d_model)),
        ("model.heads", int(config.heads)),
        ("model.d_ff", int(config.d_ff)),
        ("model.vocab_size", int(config.vocab_size)),
        ("model.rotary_pct", Value::Float(config.rotary_pct)),
        ("model.rotary_base", Value::Float(config.rotary_base)),
        ("model.parallel_residual", Value::Bool(config.parallel_residual)),
        (
            "model.activation",
            Value::Text(match config.gelu {
                Gelu::Erf => "gelu".into(),
                Gelu::Tanh => "gelu_tanh".into(),
            }),
        ),
        ("model.tie_embeddings", Value::Bool(config.tie_embeddings)),
        ("model.layer_norm_eps", Value::Float(config.layer_norm_eps)),
    ]
}

/// Takes the shape of a model that exists (a base run's, a Hugging Face directory's) into the recipe;
/// a key that asks for another shape is an error.
pub(crate) fn adopt_shape(recipe: &mut Recipe, config: &GptNeoxConfig, origin: &Origin) -> Result<(), Problems> {
    fill(recipe, config, origin);
    let mut problems = Vec::new();
    for (key, value) in values(config) {
        let asked = recipe.get(key).map(|entry| &entry.value);
        if asked != Some(&value) && !matches!(asked, Some(Value::Text(text)) if text == "auto") {
            let asked = asked.map(ToString::to_string).unwrap_or_default();
            problems.push(
                recipe
                    .problem(key, format!("asks for {asked}, but the weights that are kept have {value} ({origin})"))
                    .hint(format!("leave {key} out, or start from fresh weights")),
            );
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
}

/// The configuration that the recipe describes, for a vocabulary.
///
/// # Errors
/// Keys of the shape that are not set, fewer rows than tokens, numbers that do not fit together.
pub fn config(spec: &LmSpec, vocabulary: &Vocabulary) -> Result<GptNeoxConfig, Problems> {
    let model = &spec.model;
    let mut problems = Vec::new();
    let mut need = |key: &str, given: Option<usize>| {
        given.unwrap_or_else(|| {
            let problem = spec.problem(key, "it is not set");
            problems.push(problem.hint("give it, or model.preset = \"pythia-70m\", or another preset"));
            1
        })
    };
    let layers = need("model.layers", model.layers);
    let d_model = need("model.d_model", model.d_model);
    let heads = need("model.heads", model.heads);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let tokens = vocabulary.size as usize;
    let vocab_size = match model.vocab_size {
        None => tokens.next_multiple_of(model.vocab_multiple),
        Some(size) if size < tokens => {
            let why = format!("{size} rows are too few for a vocabulary of {tokens} tokens");
            return Err(spec
                .problem("model.vocab_size", why)
                .hint("leave it at \"auto\", or use the tokenizer that belongs to the model")
                .into());
        }
        Some(size) => size,
    };
    let config = GptNeoxConfig {
        layers,
        d_model,
        heads,
        d_ff: model.d_ff.unwrap_or(4 * d_model),
        vocab_size,
        max_seq: if model.preset { spec.seq_len.max(2048) } else { spec.seq_len },
        rotary_pct: model.rotary_pct,
        rotary_base: model.rotary_base,
        parallel_residual: model.parallel_residual,
        gelu: model.gelu,
        tie_embeddings: model.tie_embeddings,
        layer_norm_eps: model.layer_norm_eps,
        eos_token_id: vocabulary.eod,
        bos_token_id: None,
    };
    let faults = config.faults();
    if faults.is_empty() {
        return Ok(config);
    }
    Err(faults.into_iter().map(|fault| spec.problem("model", fault)).collect::<Vec<_>>().into())
}

/// How fresh weights are drawn.
pub(crate) fn init(recipe: &Recipe) -> Result<Init> {
    let std = recipe.f64("model.init_std")?;
    recipe.choice("model.init", |name| match name {
        "small+wang" => Some(Init::SmallWang),
        "normal" => Some(Init::Normal { std }),
        _ => None,
    })
}
