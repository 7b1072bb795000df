//! What a recipe says that its run ends with.

use temper_recipe::{Check, Key, Kind, Range, Recipe};

/// The keys.
pub const KEYS: &[Key] = &[
    Key::new("expect.metric", Kind::Text, "the metric to compare at the end of the run; not inherited")
        .free()
        .not_inherited(),
    Key::new("expect.mean", Kind::Float(Range::Any), "its expected value").free().not_inherited(),
    Key::new("expect.tolerance", Kind::Float(Range::AtLeastZero), "by how much the metric may differ from it")
        .free()
        .not_inherited(),
];

/// What `expect` asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Expectation {
    /// The recipe expects nothing.
    None,
    /// The recipe expects something, but not of this run; the text says why.
    Off(String),
    /// At the end, `metric` should be within `tolerance` of `mean`.
    Check {
        /// The name of the metric.
        metric: String,
        /// Its expected value.
        mean: f64,
        /// By how much it may differ.
        tolerance: f64,
    },
}

impl Expectation {
    /// What the recipe expects of this run. Overriding a value that affects the result switches it off.
    pub fn read(recipe: &Recipe) -> Self {
        let parts = (recipe.text("expect.metric"), recipe.f64("expect.mean"), recipe.f64("expect.tolerance"));
        let (Ok(metric), Ok(mean), Ok(tolerance)) = parts else { return Expectation::None };
        let bears = |path: &&str| recipe.schema().find(path).is_none_or(|key| key.bears);
        let changed: Vec<&str> = recipe.overridden().into_iter().filter(bears).collect();
        if changed.is_empty() {
            Expectation::Check { metric, mean, tolerance }
        } else {
            Expectation::Off(format!("not checked, since overrides changed {}", changed.join(", ")))
        }
    }
}

/// Finds an expectation of which a part is missing.
pub(super) fn check(check: &mut Check) {
    let parts = ["expect.metric", "expect.mean", "expect.tolerance"];
    let (set, unset): (Vec<&str>, Vec<&str>) = parts.iter().partition(|key| check.recipe.is_set(key));
    if !set.is_empty() && !unset.is_empty() && !parts.iter().any(|key| check.refused(key)) {
        let missing = unset.join(" and ");
        check.problem(
            set[0],
            format!("it needs {missing} too"),
            "a metric, its mean and how far from it is still right",
        );
    }
}
