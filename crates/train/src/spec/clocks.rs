//! The clocks: what a branch keeps of the run that it starts from.

use temper_base::Result;
use temper_recipe::{Key, Kind, Recipe};

const KEEP_OR_RESET: Kind = Kind::Choice(&["keep", "reset"]);

/// The key of the position in the schedule.
pub const SCHEDULE: &str = "clocks.schedule";
/// The key of the position in the data.
pub const DATA: &str = "clocks.data";
/// The key of the random state.
pub const RNG: &str = "clocks.rng";

/// The keys.
pub const KEYS: &[Key] = &[
    Key::new("clocks.weights", KEEP_OR_RESET, "branch: whether it keeps the weights").default("\"keep\""),
    Key::new(
        "clocks.moments",
        KEEP_OR_RESET,
        "branch: whether it keeps the moments of the optimiser, with their bias correction",
    )
    .default("\"reset\""),
    Key::new(SCHEDULE, KEEP_OR_RESET, "branch: whether it keeps the position in the schedule").default("\"reset\""),
    Key::new(DATA, KEEP_OR_RESET, "branch: whether it keeps the position in the data").default("\"reset\""),
    Key::new(RNG, KEEP_OR_RESET, "branch: whether it keeps the random state").default("\"reset\""),
];

/// The five clocks of a branch: `true` keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Weights.
    pub weights: bool,
    /// Moments of the optimiser.
    pub moments: bool,
    /// Position in the schedule.
    pub schedule: bool,
    /// Position in the data.
    pub data: bool,
    /// Random state.
    pub rng: bool,
}

/// Whether the recipe keeps this clock.
pub fn keeps_clock(recipe: &Recipe, clock: &str) -> bool {
    recipe.text(clock).is_ok_and(|choice| choice == "keep")
}

impl Clocks {
    /// Reads them. They mean something in a branch alone.
    ///
    /// # Errors
    /// A value of another kind.
    pub fn read(recipe: &Recipe) -> Result<Self> {
        let keep = |clock: &str| {
            recipe.choice(clock, |word| match word {
                "keep" => Some(true),
                "reset" => Some(false),
                _ => None,
            })
        };
        Ok(Self {
            weights: keep("clocks.weights")?,
            moments: keep("clocks.moments")?,
            schedule: keep(SCHEDULE)?,
            data: keep(DATA)?,
            rng: keep(RNG)?,
        })
    }

    /// Those of a branch.
    ///
    /// # Errors
    /// Moments that are kept without the weights that they belong to.
    pub fn of_branch(recipe: &Recipe) -> Result<Self> {
        let clocks = Self::read(recipe)?;
        if clocks.moments && !clocks.weights {
            return Err(recipe
                .problem("clocks.moments", "the moments of other weights cannot be kept with fresh ones")
                .hint("clocks.moments = \"reset\""));
        }
        Ok(clocks)
    }

    /// In words.
    pub fn sentence(self) -> String {
        let names = [
            ("weights", self.weights),
            ("moments", self.moments),
            ("schedule", self.schedule),
            ("data position", self.data),
            ("random state", self.rng),
        ];
        let list = |keep: bool| {
            let names: Vec<_> = names.iter().filter(|(_, kept)| *kept == keep).map(|(name, _)| *name).collect();
            if names.is_empty() { "nothing".to_string() } else { names.join(", ") }
        };
        format!("keeps {}; resets {}", list(true), list(false))
    }
}
