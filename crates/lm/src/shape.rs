//! The model's configuration from recipe, preset or Hugging Face directory.

use temper_base::{Problems, Result};
use temper_data::Vocabulary;
use temper_model::GptNeoxConfig;
use temper_model::config::{Gelu, PYTHIA, Preset};
use temper_model::init::Init;
use temper_recipe::{Origin, Recipe, Value, nearest};

/// Fills in what `model.preset` implies; keys that are given win.
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
pub fn adopt(recipe: &mut Recipe, config: &GptNeoxConfig, origin: &Origin) -> Result<(), Problems> {
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
pub fn config(recipe: &Recipe, vocabulary: &Vocabulary) -> Result<GptNeoxConfig, Problems> {
    let mut problems = Vec::new();
    let mut need = |key: &str| {
        recipe.usize(key).unwrap_or_else(|problem| {
            problems.push(problem.hint("give it, or model.preset = \"pythia-70m\", or another preset"));
            1
        })
    };
    let (layers, d_model, heads) = (need("model.layers"), need("model.d_model"), need("model.heads"));
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let tokens = vocabulary.size as usize;
    let vocab_size = match recipe.usize_or_auto("model.vocab_size")? {
        None => tokens.next_multiple_of(recipe.usize("model.vocab_multiple")?),
        Some(size) if size < tokens => {
            let why = format!("{size} rows are too few for a vocabulary of {tokens} tokens");
            return Err(recipe
                .problem("model.vocab_size", why)
                .hint("leave it at \"auto\", or use the tokenizer that belongs to the model")
                .into());
        }
        Some(size) => size,
    };
    let seq_len = recipe.usize("data.seq_len")?;
    let config = GptNeoxConfig {
        layers,
        d_model,
        heads,
        d_ff: recipe.opt("model.d_ff", Recipe::usize)?.unwrap_or(4 * d_model),
        vocab_size,
        max_seq: if recipe.is_set("model.preset") { seq_len.max(2048) } else { seq_len },
        rotary_pct: recipe.f64("model.rotary_pct")?,
        rotary_base: recipe.f64("model.rotary_base")?,
        parallel_residual: recipe.bool("model.parallel_residual")?,
        gelu: if recipe.text("model.activation")? == "gelu" { Gelu::Erf } else { Gelu::Tanh },
        tie_embeddings: recipe.bool("model.tie_embeddings")?,
        layer_norm_eps: recipe.f64("model.layer_norm_eps")?,
        eos_token_id: vocabulary.eod,
        bos_token_id: None,
    };
    let faults = config.faults();
    if faults.is_empty() {
        return Ok(config);
    }
    Err(faults.into_iter().map(|fault| recipe.problem("model", fault)).collect::<Vec<_>>().into())
}

/// How fresh weights are drawn.
pub fn init(recipe: &Recipe) -> Result<Init, Problems> {
    Ok(match recipe.text("model.init")?.as_str() {
        "normal" => Init::Normal { std: recipe.f64("model.init_std")? },
        _ => Init::SmallWang,
    })
}
