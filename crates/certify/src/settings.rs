//! Turns the keys of a recipe of certified training into network, first weights, method and radius.

use temper_base::Result;
use temper_data::images::{Images, Known, known};
use temper_graph::NetworkConfig;
use temper_graph::{BatchNorm, by_name, text};
use temper_model::image::init::ImageInit;
use temper_model::image::vanilla_init;
use temper_recipe::{Origin, Recipe, Value};

use crate::evaluate::EvalSettings;
use crate::method::{Method, Mixing, Objective};
use crate::step::Accumulation;

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
    if let Some((norm, origin)) = batch_norm_of_network(recipe)? {
        refuse_other_batch_norm(recipe, norm, &origin)?;
        recipe.decide("model.batch_norm", Value::Text(norm.into()), origin);
    }
    Ok(())
}

/// Refuses a recipe that asks for batch norms that its network does not have, or for none where it has some.
fn refuse_other_batch_norm(recipe: &Recipe, norm: &str, decided_by: &Origin) -> Result<()> {
    let given = recipe.opt("model.batch_norm", Recipe::text)?;
    let Some(given) = given.filter(|given| is_given(recipe, "model.batch_norm") && given != norm) else {
        return Ok(());
    };
    let why = match decided_by {
        Origin::Preset(key) => format!("it is \"{given}\", but by {key} it is \"{norm}\""),
        _ => format!("it is \"{given}\", but the network has \"{norm}\""),
    };
    Err(recipe
        .problem("model.batch_norm", why)
        .hint("leave it out: the network's name or graph already says where batch norms are"))
}

/// Whether the recipe itself gives this key.
fn is_given(recipe: &Recipe, key: &str) -> bool {
    matches!(recipe.origin(key), Origin::Recipe(_) | Origin::File(_) | Origin::Set)
}

/// Where the network has batch norms, if its layers or its name say so and not the key `model.batch_norm`; and who says it.
fn batch_norm_of_network(recipe: &Recipe) -> Result<Option<(&'static str, Origin)>> {
    if let Some(lines) = recipe.opt("model.graph", Recipe::texts)? {
        return Ok(Some((text::batch_norm(&lines), Origin::Preset("model.graph".into()))));
    }
    let name = recipe.opt("model.name", Recipe::text)?.unwrap_or_default();
    let suffix = [("-nobn", "none"), ("-convbn", "conv")].into_iter().find(|(suffix, _)| name.ends_with(suffix));
    Ok(suffix.map(|(_, norm)| (norm, Origin::Preset("model.name".into()))))
}

/// The network, for images of this shape and that many classes.
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
fn at(recipe: &Recipe, key: &str, problem: temper_base::Problem) -> temper_base::Problem {
    let found = recipe.problem(key, format!("{}: {}", problem.place, problem.why));
    match problem.hint {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

/// How pixels are normalised before the network sees them.
pub struct Normalisation {
    /// A channel each.
    pub mean: Vec<f32>,
    /// A channel each.
    pub std: Vec<f32>,
    /// The numbers and the reason for them, in a line.
    pub because: String,
}

impl Normalisation {
    fn new(mean: &[f32], std: &[f32], why: &str) -> Self {
        let list = |values: &[f32]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(", ");
        let because = if mean.iter().all(|mean| *mean == 0.0) && std.iter().all(|std| *std == 1.0) {
            format!("pixels from 0 to 1 as they are: {why}")
        } else {
            format!("mean {}, deviation {}: {why}", list(mean), list(std))
        };
        Self { mean: mean.to_vec(), std: std.to_vec(), because }
    }
}

/// That of a known data set.
pub fn of_known(known: &Known) -> Normalisation {
    Normalisation::new(known.mean, known.std, &format!("those of {}, which the images are", known.title))
}

/// Mean and deviation for training on these images: those of a known data set only where the content is that, or where the
/// recipe says so. What a folder is called proves nothing.
pub fn normalisation(recipe: &Recipe, train: &Images) -> Result<Normalisation> {
    let channels = train.shape[0];
    let word = recipe.text("data.normalise")?;
    let nothing = |why: &str| Normalisation::new(&vec![0.0; channels], &vec![1.0; channels], why);
    Ok(match word.as_str() {
        "none" => nothing("data.normalise is \"none\""),
        "own" => {
            let (mean, std) = train.statistics();
            Normalisation::new(&mean, &std, "those of the training images, data.normalise is \"own\"")
        }
        "auto" => match train.known.and_then(known) {
            Some(known) => of_known(known),
            None => nothing("the images are of no known data set; data.normalise = \"own\" takes their own statistics"),
        },
        name => {
            let known = known(name).expect("a choice of the key");
            if known.shape[0] != channels {
                let why = format!("{} has {} channels, the images have {channels}", known.title, known.shape[0]);
                return Err(recipe.problem("data.normalise", why).hint("\"own\" takes the statistics of the images"));
            }
            Normalisation::new(known.mean, known.std, &format!("those of {}, by data.normalise", known.title))
        }
    })
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
    let idle = rules.iter().filter(|(idle, ..)| *idle);
    Ok(idle
        .flat_map(|(_, why, keys)| keys.iter().filter(|key| is_given(recipe, key)).map(|key| (*key, *why)))
        .collect())
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
