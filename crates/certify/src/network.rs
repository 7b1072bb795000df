//! The network of a recipe and its first weights: the keys of `[model]`, `init.weights`, and what decides where batch norms are.

use temper_base::{Problem, Result};
use temper_graph::{BatchNorm, NetworkConfig, by_name, text};
use temper_model::image::init::ImageInit;
use temper_model::image::vanilla_init;
use temper_recipe::Kind::{Choice, Int, Text, Texts};
use temper_recipe::{Key, Origin, Recipe, Value};

use crate::spec::{CertifySpec, is_given, key};

/// The keys.
pub(crate) const KEYS: &[Key] = &[
    key("model.name", Text, "the network: cnn7, small, wide-resnet-8, resnext, ... (the table of networks lists them)"),
    key("model.width", Int(1), "channels of its first convolution; the paper's number if not given"),
    key(
        "model.graph",
        Texts,
        "the network as a list of layers, instead of a name (the grammar of layers explains them)",
    )
    .instead_of("model.name")
    .resets(&["model.width", "model.batch_norm"]),
    key(
        "model.batch_norm",
        Choice(BatchNorm::NAMES),
        "where batch norms are: after every affine layer but the last, after convolutions only, or nowhere",
    )
    .default("\"full\"")
    .anew(),
    key(
        "init.weights",
        Choice(FirstWeights::NAMES),
        "initial weights: the framework's default, or as named; if not given, \"ibp\" with method.name = \"fast\"",
    ),
];

/// What a recipe says of its network.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    /// The named network.
    pub name: Option<String>,
    /// The network as a list of layers.
    pub graph: Option<Vec<String>>,
    /// Channels of its first convolution, if they are not the paper's.
    pub width: Option<usize>,
    /// Where batch norms are.
    pub batch_norm: BatchNorm,
    /// How its weights are drawn.
    pub first_weights: FirstWeights,
}

/// How first weights are drawn, as recipes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstWeights {
    /// By the network's own constructor in the paper's code.
    Default,
    /// [`ImageInit::Xavier`].
    Xavier,
    /// [`ImageInit::Kaiming`].
    Kaiming,
    /// [`ImageInit::Orthogonal`].
    Orthogonal,
    /// [`ImageInit::Ibp`].
    Ibp,
}

temper_base::names!(FirstWeights {
    Default = "default",
    Xavier = "xavier",
    Kaiming = "kaiming",
    Orthogonal = "orthogonal",
    Ibp = "ibp",
});

impl NetworkSpec {
    /// Reads it; `usual` is how first weights are drawn where the recipe does not say.
    pub(crate) fn read(recipe: &Recipe, usual: FirstWeights) -> Result<Self> {
        let first_weights = recipe.opt("init.weights", |recipe, key| recipe.choice(key, FirstWeights::from_name))?;
        Ok(Self {
            name: recipe.opt("model.name", Recipe::text)?,
            graph: recipe.opt("model.graph", Recipe::texts)?,
            width: recipe.opt("model.width", Recipe::usize)?,
            batch_norm: recipe.choice("model.batch_norm", BatchNorm::from_name)?,
            first_weights: first_weights.unwrap_or(usual),
        })
    }

    /// What it is called.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or("model.graph")
    }

    /// The key that says which network it is.
    pub fn key(&self) -> &'static str {
        match (&self.graph, &self.name) {
            (Some(_), _) => "model.graph",
            (None, Some(_)) => "model.name",
            (None, None) => "model",
        }
    }

    /// How fresh weights are drawn.
    pub fn init(&self) -> ImageInit {
        match self.first_weights {
            FirstWeights::Default => self.name.as_deref().map_or(ImageInit::Default, vanilla_init),
            FirstWeights::Xavier => ImageInit::Xavier,
            FirstWeights::Kaiming => ImageInit::Kaiming,
            FirstWeights::Orthogonal => ImageInit::Orthogonal,
            FirstWeights::Ibp => ImageInit::Ibp,
        }
    }
}

/// The network, for images of this shape and that many classes.
///
/// # Errors
/// No network, one of an unknown name, layers that do not fit together or do not fit the images.
pub(crate) fn network(spec: &CertifySpec, input: [usize; 3], classes: usize) -> Result<NetworkConfig> {
    let NetworkSpec { name, graph, width, batch_norm, .. } = &spec.network;
    let at = |key: &str, problem: Problem| {
        let found = spec.problem(key, format!("{}: {}", problem.place, problem.why));
        match problem.hint {
            Some(hint) => found.hint(hint),
            None => found,
        }
    };
    match (graph, name) {
        (Some(lines), _) => {
            text::parse(lines, "model.graph", input, classes).map_err(|problem| at("model.graph", problem))
        }
        (None, Some(name)) => {
            by_name(name, *width, *batch_norm, input, classes).map_err(|problem| at("model.name", problem))
        }
        (None, None) => Err(spec
            .problem("model.name", "it is not set")
            .hint("model.name = \"cnn7\", or the layers as model.graph; the table of networks lists the names")),
    }
}

/// Writes into the recipe where the batch norms of its network are, if its layers or its name say so.
pub(crate) fn decide_batch_norm(recipe: &mut Recipe) -> Result<()> {
    let Some((norm, decided_by)) = batch_norm_of_network(recipe)? else { return Ok(()) };
    let given = recipe.opt("model.batch_norm", Recipe::text)?;
    if let Some(given) = given.filter(|given| is_given(recipe, "model.batch_norm") && given != norm) {
        let why = format!("it is \"{given}\", but by {decided_by} it is \"{norm}\"");
        return Err(recipe
            .problem("model.batch_norm", why)
            .hint("leave it out: the network's name or graph already says where batch norms are"));
    }
    recipe.decide("model.batch_norm", Value::Text(norm.into()), Origin::Preset(decided_by.into()));
    Ok(())
}

/// Where the network has batch norms, if its layers or its name say so and not the key `model.batch_norm`; and the key that says it.
fn batch_norm_of_network(recipe: &Recipe) -> Result<Option<(&'static str, &'static str)>> {
    if let Some(lines) = recipe.opt("model.graph", Recipe::texts)? {
        return Ok(Some((text::batch_norm(&lines), "model.graph")));
    }
    let name = recipe.opt("model.name", Recipe::text)?.unwrap_or_default();
    let suffix = [("-nobn", "none"), ("-convbn", "conv")].into_iter().find(|(suffix, _)| name.ends_with(suffix));
    Ok(suffix.map(|(_, norm)| (norm, "model.name")))
}
