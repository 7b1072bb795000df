//! One size of a sweep: every variant of every setting with its recipe, all its overrides, and where it starts.

use std::str::FromStr;

use temper_base::Problem;
use temper_schedule::Length;

use crate::file::{Base, Layer, Setting, Size, Sweep};

/// Where a variant starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// From fresh weights.
    Fresh,
    /// From the last checkpoint of the base.
    Last,
    /// From the base's best checkpoint.
    Best,
    /// From the base's checkpoint at this point; a fraction is one of the whole base run.
    At(Length),
}

/// What `from` says.
pub(crate) fn origin(text: &str) -> Option<Start> {
    match text {
        "none" => Some(Start::Fresh),
        "base" => Some(Start::Last),
        "base@best" => Some(Start::Best),
        _ => Length::from_str(text.strip_prefix("base@")?).ok().map(Start::At),
    }
}

/// A variant in one setting, as the command line would run it.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The name of its setting; empty if there is only one.
    pub setting: String,
    /// The recipe.
    pub recipe: String,
    /// Overrides, `key=value` each.
    pub set: Vec<String>,
    /// Keys whose number is multiplied after that.
    pub scale: Vec<(String, f64)>,
    /// Where it starts.
    pub start: Start,
}

/// One size of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The size.
    pub size: Size,
    /// The base with all its overrides, if it is to be trained.
    pub base: Option<(String, Vec<String>)>,
    /// Every variant in every setting, setting by setting.
    pub variants: Vec<Variant>,
}

impl Sweep {
    /// The size of this name. `set` and `set_base` are the command line's overrides of variants and base.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn choose(&self, name: &str, set: &[String], set_base: &[String]) -> Result<Chosen, Vec<Problem>> {
        let Some(size) = self.sizes.iter().find(|size| size.name == name) else {
            let names: Vec<&str> = self.sizes.iter().map(|size| size.name.as_str()).collect();
            let problem = Problem::input("read sweep", &self.name, format!("it has no size {name:?}"));
            // Reading the file has already reported that it has none.
            return Err(if names.is_empty() {
                Vec::new()
            } else {
                vec![problem.hint(format!("there are {}: choose a size", names.join(", ")))]
            });
        };
        let mut problems = Vec::new();
        let mut variants = Vec::new();
        for setting in &size.settings {
            for (name, layer) in &self.variants {
                match self.variant(size, setting, name, layer, set) {
                    Ok(variant) => variants.push(variant),
                    Err(problem) if problems.contains(&problem) => {}
                    Err(problem) => problems.push(problem),
                }
            }
        }
        let base = match &size.base {
            Some(Base::Recipe { recipe, set }) => {
                let mut merged = Vec::new();
                merge(&mut merged, set);
                Some((recipe.clone(), merged.iter().map(join).chain(set_base.iter().cloned()).collect()))
            }
            _ if !set_base.is_empty() => {
                problems.push(Problem::input("read sweep", "set_base", "this sweep trains no base"));
                None
            }
            _ => None,
        };
        if problems.is_empty() { Ok(Chosen { size: size.clone(), base, variants }) } else { Err(problems) }
    }

    fn variant(
        &self,
        size: &Size,
        setting: &Setting,
        name: &str,
        layer: &Layer,
        set: &[String],
    ) -> Result<Variant, Problem> {
        let of = |variants: &'_ [(String, Layer)]| variants.iter().find(|(known, _)| known == name).cloned();
        let (sized, here) = (of(&size.variants), of(&setting.variants));
        let layers = [&self.all, &size.all, &setting.layer, layer].into_iter();
        let layers: Vec<&Layer> = layers.chain([&sized, &here].into_iter().flatten().map(|(_, layer)| layer)).collect();
        let place = format!("{}: size {}, variant {name:?}", self.name, size.name);
        let last = |pick: fn(&Layer) -> Option<&String>| layers.iter().rev().find_map(|layer| pick(layer)).cloned();
        let Some(recipe) = last(|layer| layer.recipe.as_ref()) else {
            return Err(Problem::input("read sweep", place, "it has no recipe")
                .hint(format!("[size.{}.all] recipe = \"...\" gives all variants one", size.name)));
        };
        let from = last(|layer| layer.from.as_ref());
        let start = match (from.as_deref().and_then(origin), &size.base) {
            (None, Some(_)) => Start::Last,
            (None, None) | (Some(Start::Fresh), _) => Start::Fresh,
            (Some(start), Some(_)) => start,
            (Some(_), None) => {
                return Err(Problem::input("read sweep", place, "it branches from a base, and this size has none")
                    .hint(format!("[size.{}.base] recipe = \"...\", or from = \"none\"", size.name)));
            }
        };
        let (mut merged, mut scale) = (Vec::new(), Vec::<(String, f64)>::new());
        for layer in &layers {
            merge(&mut merged, &layer.set);
            // What a later level sets is meant as it is.
            scale.retain(|(known, _)| layer.set.iter().all(|(key, _)| key != known));
            for (key, factor) in &layer.scale {
                scale.retain(|(known, _)| known != key);
                scale.push((key.clone(), *factor));
            }
        }
        // What the command line sets is scaled: it moves all variants, and keeps them apart.
        let set = merged.iter().map(join).chain(set.iter().cloned()).collect();
        Ok(Variant { name: name.to_owned(), setting: setting.name.clone(), recipe, set, scale, start })
    }
}

fn join((key, value): &(String, String)) -> String {
    format!("{key}={value}")
}

/// Later values replace earlier ones of the same key.
fn merge(merged: &mut Vec<(String, String)>, layer: &[(String, String)]) {
    for (key, value) in layer {
        merged.retain(|(known, _)| known != key);
        merged.push((key.clone(), value.clone()));
    }
}
