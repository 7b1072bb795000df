//! What the keys of a recipe of certified training come to: network, first weights, method, radius.

use temper_model::image::config::NetworkConfig;
use temper_model::image::init::ImageInit;
use temper_model::image::names::vanilla_init;
use temper_model::image::{BatchNorm, by_name, text};
use temper_recipe::{Origin, Recipe, Value};
use temper_record::Result;
use temper_train::certify::evaluate::EvalSettings;
use temper_train::certify::method::{Method, Mixing, Objective};
use temper_train::certify::step::Accumulation;

/// Fills in the keys that `method.name` decides, where the recipe does not give them.
pub fn fill_method(recipe: &mut Recipe) -> Result<()> {
    let name = recipe.text("method.name")?;
    let fast = name == "fast";
    let origin = Origin::Preset(name);
    for key in ["method.tightness", "method.relu_balance"] {
        recipe.fill(key, Value::Bool(fast), origin.clone());
    }
    let weights = if fast { "ibp" } else { "default" };
    recipe.fill("init.weights", Value::Text(weights.into()), origin);
    Ok(())
}

/// The network, for images of this shape and so many classes.
pub fn network(recipe: &Recipe, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let width = recipe.opt("model.width", Recipe::usize)?;
    if let Some(lines) = recipe.opt("model.graph", Recipe::texts)? {
        return text::parse(&lines, "model.graph", input, classes)
            .map_err(|problem| at(recipe, "model.graph", problem));
    }
    let name = recipe.text("model.name").map_err(|problem| {
        problem.hint("model.name = \"cnn7\", or the layers as model.graph; `temper recipe networks` lists the names")
    })?;
    let batch_norm = match recipe.text("model.batch_norm")?.as_str() {
        "none" => BatchNorm::None,
        "conv" => BatchNorm::Conv,
        _ => BatchNorm::Full,
    };
    by_name(&name, width, batch_norm, input, classes).map_err(|problem| at(recipe, "model.name", problem))
}

/// The problem, at the place where the recipe writes the key.
fn at(recipe: &Recipe, key: &str, problem: temper_record::Problem) -> temper_record::Problem {
    let found = recipe.problem(key, format!("{}: {}", problem.place, problem.why));
    match problem.hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

/// How fresh weights are drawn.
pub fn init(recipe: &Recipe) -> Result<ImageInit> {
    Ok(match recipe.text("init.weights")?.as_str() {
        "xavier" => ImageInit::Xavier,
        "kaiming" => ImageInit::Kaiming,
        "orthogonal" => ImageInit::Orthogonal,
        "ibp" => ImageInit::Ibp,
        // Of the network's own constructor in the paper's code.
        _ => recipe.opt("model.name", Recipe::text)?.map_or(ImageInit::Default, |name| vanilla_init(&name)),
    })
}

/// The method.
pub fn method(recipe: &Recipe) -> Result<Method> {
    let objective = match recipe.text("method.name")?.as_str() {
        "plain" => Objective::Plain,
        "pgd" => Objective::Pgd,
        "crown-ibp" => Objective::CrownIbp,
        _ => Objective::Ibp,
    };
    let mixing = match recipe.text("method.mixing")?.as_str() {
        "zhang" => {
            Mixing::Zhang { beta_end: recipe.f64("method.beta_end")?, kappa_end: recipe.f64("method.kappa_end")? }
        }
        _ => Mixing::Ramp,
    };
    Ok(Method {
        objective,
        tightness: recipe.bool("method.tightness")?,
        relu_balance: recipe.bool("method.relu_balance")?,
        lambda: recipe.f64("method.lambda")?,
        tau: recipe.f64("method.tau")?,
        floor: recipe.f64("eps.floor")?,
        loss_fusion: recipe.bool("method.loss_fusion")?,
        mixing,
        attack_steps: recipe.usize("method.attack_steps")?,
    })
}

/// The keys that the recipe gives and that count for nothing beside its others, and why. `fresh` says whether the weights
/// are drawn anew.
pub fn without_effect(recipe: &Recipe, fresh: bool) -> Result<Vec<(&'static str, &'static str)>> {
    let method = method(recipe)?;
    let constant = recipe.text("eps.shape")? == "constant";
    let plain = !method.tightness && !method.relu_balance;
    let crown = method.objective == Objective::CrownIbp;
    let rules: [(bool, &'static str, &[&'static str]); 9] = [
        (constant, "eps.shape is \"constant\"", &["eps.start", "eps.length"]),
        (plain, "method.tightness and method.relu_balance are off", &["method.lambda", "method.tau", "eps.floor"]),
        (
            !crown,
            "method.name is not \"crown-ibp\"",
            &["method.loss_fusion", "method.mixing", "method.beta_end", "method.kappa_end"],
        ),
        (crown && method.mixing == Mixing::Ramp, "method.mixing is \"ramp\"", &["method.beta_end", "method.kappa_end"]),
        (method.objective != Objective::Pgd, "method.name is not \"pgd\"", &["method.attack_steps"]),
        (recipe.usize("batch.accumulate")? == 1, "batch.accumulate is 1", &["batch.statistics"]),
        (
            recipe.usize("eval.attack_images")? == 0,
            "eval.attack_images is 0",
            &["eval.attack_steps", "eval.attack_restarts"],
        ),
        (!fresh, "the weights are those of the base run", &["init.weights", "data.normalise"]),
        (recipe.is_set("init.from"), "init.from gives the weights", &["init.weights"]),
    ];
    let given = |key: &str| matches!(recipe.origin(key), Origin::Recipe(_) | Origin::File(_) | Origin::Set);
    let idle = rules.iter().filter(|(idle, ..)| *idle);
    Ok(idle.flat_map(|(_, why, keys)| keys.iter().filter(|key| given(key)).map(|key| (*key, *why))).collect())
}

/// What is wrong with the last batch of an epoch, if it is too small for the statistics of batch norms.
pub fn small_last_batch(recipe: &Recipe, config: &NetworkConfig, train: usize) -> Result<Option<String>> {
    let batch = recipe.usize("batch.images")?;
    let last = match train % batch {
        0 => batch.min(train),
        rest => rest,
    };
    let few = config.has_batch_norm() && last < 2 * recipe.usize("batch.accumulate")?;
    Ok(few.then(|| format!("images in the last batch of an epoch: {last}, too few for the statistics of batch norms")))
}

/// How batches are cut into pieces.
pub fn accumulation(recipe: &Recipe) -> Result<Accumulation> {
    Ok(Accumulation {
        pieces: recipe.usize("batch.accumulate")?,
        whole_batch_statistics: recipe.text("batch.statistics")? == "batch",
    })
}

/// How evaluations are made.
pub fn eval(recipe: &Recipe) -> Result<EvalSettings> {
    let batch = recipe.usize("batch.images")?;
    Ok(EvalSettings {
        rows: recipe.opt("eval.batch", Recipe::usize)?.unwrap_or(batch.div_ceil(recipe.usize("batch.accumulate")?)),
        attack_images: recipe.usize("eval.attack_images")?,
        attack_steps: recipe.usize("eval.attack_steps")?,
        attack_restarts: recipe.usize("eval.attack_restarts")?,
        seed: recipe.u64("seed")?,
    })
}
