//! What recipes can train, and the keys that they have: put together from those who read them.

use temper_certify::spec as certify;
use temper_lm::spec as lm;
use temper_recipe::{Key, Kind, Recipe, Schema};
use temper_train::spec as run;

/// What a recipe trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trains {
    /// A language model.
    LanguageModel,
    /// An image classifier with certificates.
    Classifier,
}

impl Trains {
    /// What this recipe trains.
    pub fn of(recipe: &Recipe) -> Self {
        if *recipe.task() == certify::TASK { Self::Classifier } else { Self::LanguageModel }
    }
}

/// What a branch takes over from the recipe of its base, called `name`, where its own says nothing.
pub fn inherit(recipe: &mut Recipe, base: &Recipe, name: &str) {
    match Trains::of(recipe) {
        Trains::LanguageModel => lm::inherit(recipe, base, name),
        Trains::Classifier => certify::inherit(recipe, base, name),
    }
}

/// The key that [`Trains`] is read from.
const TASK: &[Key] = &[Key::new(
    "task",
    Kind::Choice(&["lm", "certify"]),
    "what to train: \"lm\" is a language model, \"certify\" an image classifier with certificates",
)
.default("\"lm\"")];

/// The keys of all recipes. `temper recipe keys` prints them.
pub static SCHEMA: Schema = Schema {
    tasks: &[&lm::TASK, &certify::TASK],
    sections: &[
        "",
        "model",
        "init",
        "method",
        "eps",
        "data",
        "data.train.*",
        "data.validation.*",
        "data.replay",
        "batch",
        "parallel",
        "optimizer",
        "lr",
        "run",
        "eval",
        "checkpoint",
        "log",
        "memory",
        "clocks",
        "expect",
    ],
    keys: &[&[TASK, temper_recipe::KEYS], run::KEYS, lm::KEYS, certify::KEYS],
};
