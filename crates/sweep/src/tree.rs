//! The tree of a sweep's runs: resolved, checked, and known by what decides their numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use temper::Trains;
use temper::builtin::LIBRARY;
use temper_base::hash::{Digest, Sha256};
use temper_base::{Problem, Problems, Result};
use temper_certify as certify;
use temper_certify::spec::{CertifySpec, Evaluated};
use temper_lm as lm;
use temper_lm::spec::{LmSpec, TextSpec, keep_best};
use temper_recipe::{Recipe, Refers, Value};
use temper_record::metric::{PGD_ERROR, VERIFIED_ERROR};
use temper_record::run::{At, RunRef};
use temper_record::{CERTIFY, LM, RunSeries, metric};
use temper_train::lengths::Lengths;
use temper_train::spec::{self, Spec};

use crate::file::Base;
use crate::store::{self, State, Store};
use crate::texts::{self, Texts};
use crate::{Chosen, Start, Sweep, Variant};

/// A run of the tree.
pub struct Node {
    /// What it is called: the base, or the first variant that it stands for.
    pub label: String,
    /// Seed.
    pub seed: u64,
    /// The recipe's name or path.
    pub source: String,
    /// Overrides of it.
    pub overrides: Vec<String>,
    /// What that comes to.
    pub recipe: Recipe,
    /// The run it branches from, and after how many updates; `None` of updates is the last checkpoint or the best.
    pub parent: Option<(Parent, Point)>,
    /// Updates after which variants branch from it.
    pub keep_at: Vec<u64>,
    /// Of everything that decides its numbers.
    pub hash: String,
    /// Where it is, or will be.
    pub path: PathBuf,
}

/// A run that others branch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// Of the tree.
    Node(usize),
    /// One that exists.
    Run(PathBuf),
}

/// A checkpoint of the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// After that many updates.
    Step(u64),
    /// The last.
    Last,
    /// The best.
    Best,
}

/// A variant with one seed, and the run that it is.
pub struct Row {
    /// Index of the variant in [`Chosen::variants`].
    pub variant: usize,
    /// Seed.
    pub seed: u64,
    /// Index of its run in [`Tree::nodes`].
    pub node: usize,
}

/// All runs of a sweep.
pub struct Tree {
    /// The runs, parents before their branches; equal ones are one.
    pub nodes: Vec<Node>,
    /// The variants.
    pub rows: Vec<Row>,
    /// What they train on.
    pub texts: Texts,
}

impl Node {
    /// As the command line names the checkpoint that it branches from.
    pub fn parent_name(&self, tree: &Tree) -> Option<String> {
        let (parent, point) = self.parent.as_ref()?;
        let path = match parent {
            Parent::Node(index) => &tree.nodes[*index].path,
            Parent::Run(path) => path,
        };
        Some(match point {
            Point::Last => path.display().to_string(),
            Point::Best => format!("{}@best", path.display()),
            Point::Step(step) => format!("{}@{step}", path.display()),
        })
    }
}

/// Expands a sweep for these seeds.
///
/// # Errors
/// Everything that is wrong with it, at once: recipes, overrides, bases that are missing, texts that cannot be read.
pub fn grow_tree(sweep: &Sweep, chosen: &Chosen, seeds: &[u64], store: &Store) -> Result<Tree, Problems> {
    let mut tree = Tree { nodes: Vec::new(), rows: Vec::new(), texts: Texts::default() };
    let mut problems: Vec<Problem> = Vec::new();
    let mut keep = |problem: Problem| {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    let bases = match bases(chosen, seeds, store, &mut tree) {
        Ok(bases) => bases,
        Err(found) => {
            found.0.into_iter().for_each(&mut keep);
            Vec::new()
        }
    };
    let mut wanted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for (n, &seed) in seeds.iter().enumerate() {
        for (index, variant) in chosen.variants.iter().enumerate() {
            let base = (variant.start != Start::Fresh).then(|| bases.get(n));
            // Without its base, a branch can only be checked for whether its recipe can be read.
            if matches!(base, Some(None)) {
                if let Err(found) = Recipe::load_branch(&variant.recipe, &variant.set, &LIBRARY) {
                    found.into_iter().for_each(&mut keep);
                }
                continue;
            }
            let added = branch(variant, seed, base.flatten(), store, &mut tree);
            match added.and_then(|node| {
                check_metrics(sweep, chosen, variant, &tree.nodes[node], base.flatten()).map(|()| node)
            }) {
                Ok(node) => {
                    if let Some((Parent::Node(parent), Point::Step(step))) = &tree.nodes[node].parent {
                        wanted.entry(*parent).or_default().push(*step);
                    }
                    tree.rows.push(Row { variant: index, seed, node });
                }
                Err(found) => found.0.into_iter().for_each(&mut keep),
            }
        }
    }
    for (base, mut steps) in wanted {
        steps.sort_unstable();
        steps.dedup();
        if let Err(found) = keep_checkpoints(&mut tree.nodes[base], &steps) {
            found.0.into_iter().for_each(&mut keep);
        }
    }
    tree.nodes.iter().filter_map(|node| gone(node, &tree)).for_each(&mut keep);
    if problems.is_empty() { Ok(tree) } else { Err(problems.into()) }
}

/// A base with its resolved recipe, tokenizer, length and hash.
struct Trunk {
    parent: Parent,
    hash: String,
    recipe: Recipe,
    tokenizer: Option<String>,
    stop: u64,
    tokens_per_step: u64,
}

/// The base of every seed.
fn bases(chosen: &Chosen, seeds: &[u64], store: &Store, tree: &mut Tree) -> Result<Vec<Trunk>, Problems> {
    if let Some(Base::Run(run)) = &chosen.size.base {
        let named = RunRef::parse(run)?;
        let dir = named.open()?;
        named.checkpoint()?;
        let wrong = |why: &str, hint: &str| Err(Problem::input("read sweep", run, why).hint(hint).into());
        if named.at != At::Last {
            return wrong(
                "a base is a whole run",
                "name the directory, and write from = \"base@500 steps\" in the variants",
            );
        }
        if store::state(&named.dir) != State::Done {
            let hint = "complete it: while a run still trains, its variants would begin at different places";
            return wrong("this run is not complete", hint);
        }
        let recipe = temper::recipe_of(&dir)?;
        let info = RunSeries::without_steps(&dir)?.info;
        let tokens_per_step = lengths(&recipe)?.tokens_per_step;
        let trunk = || Trunk {
            parent: Parent::Run(named.dir.clone()),
            hash: format!("run {} of {}", named.dir.display(), info.time),
            recipe: recipe.clone(),
            tokenizer: (Trains::of(&recipe) == Trains::LanguageModel)
                .then(|| texts::tokenizer_of(&named.dir.display().to_string())),
            stop: info.steps,
            tokens_per_step,
        };
        return Ok(seeds.iter().map(|_| trunk()).collect());
    }
    let Some((source, overrides)) = &chosen.base else { return Ok(Vec::new()) };
    let mut trunks = Vec::new();
    for &seed in seeds {
        let node = add("base", source, overrides.clone(), seed, None, None, store, tree)?;
        let recipe = tree.nodes[node].recipe.clone();
        let lengths = lengths(&recipe)?;
        trunks.push(Trunk {
            parent: Parent::Node(node),
            hash: tree.nodes[node].hash.clone(),
            tokenizer: lm::spec::tokenizer(&recipe)?,
            stop: lengths.stop,
            tokens_per_step: lengths.tokens_per_step,
            recipe,
        });
    }
    Ok(trunks)
}

/// Every length of a recipe in updates, data that is not here included where it is known.
///
/// # Errors
/// Lengths that do not resolve.
pub fn lengths(recipe: &Recipe) -> Result<Lengths, Problems> {
    match Trains::of(recipe) {
        Trains::LanguageModel => LmSpec::read(recipe)?.lengths(None, None),
        Trains::Classifier => {
            let spec = CertifySpec::read(recipe)?;
            spec.lengths(certify::images::size(&spec)?.train, None)
        }
    }
}

fn branch(
    variant: &Variant,
    seed: u64,
    base: Option<&Trunk>,
    store: &Store,
    tree: &mut Tree,
) -> Result<usize, Problems> {
    let mut overrides = variant.set.clone();
    if !variant.scale.is_empty() {
        let load = if base.is_some() { Recipe::load_branch } else { Recipe::load };
        let mut recipe = load(&variant.recipe, &overrides, &LIBRARY)?;
        if let Some(trunk) = base {
            temper::inherit(&mut recipe, &trunk.recipe, "base");
        }
        for (key, factor) in &variant.scale {
            let number = recipe.f64(key).map_err(|problem| {
                Problem::input("read sweep", format!("variant {:?}: scale.{key}", variant.name), problem.why)
                    .hint("a key of recipes whose value is a number")
            })?;
            // Twelve digits: 0.1 times 3e-3 is 3e-4 and nothing else.
            let scaled: f64 = format!("{:.11e}", number * factor).parse().unwrap_or(number * factor);
            overrides.retain(|set| !set.starts_with(&format!("{key}=")));
            overrides.push(format!("{key}={scaled:?}"));
        }
    }
    let point = |trunk: &Trunk| -> Result<Point, Problems> {
        Ok(match variant.start {
            Start::Best => Point::Best,
            Start::At(length) => {
                let units = temper_schedule::Units { tokens_per_step: trunk.tokens_per_step, tokens_per_epoch: None };
                let step = length.steps(&units, Some(trunk.stop)).map_err(|cause| {
                    Problem::input("read sweep", format!("variant {:?}: from", variant.name), cause)
                })?;
                if step > trunk.stop {
                    let why = format!("step {step} is after the end of the base, {}", trunk.stop);
                    return Err(Problem::input("read sweep", format!("variant {:?}: from", variant.name), why).into());
                }
                if step == trunk.stop { Point::Last } else { Point::Step(step) }
            }
            _ => Point::Last,
        })
    };
    let parent = base.map(|trunk| Ok::<_, Problems>((trunk, point(trunk)?))).transpose()?;
    let label = if variant.setting.is_empty() {
        variant.name.clone()
    } else {
        format!("{}: {}", variant.setting, variant.name)
    };
    let unmarked = |(trunk, point): &(&Trunk, Point)| {
        *point == Point::Best
            && Trains::of(&trunk.recipe) == Trains::LanguageModel
            && keep_best(&trunk.recipe).is_ok_and(|set| set.is_none())
    };
    if parent.as_ref().is_some_and(unmarked) {
        let place = format!("variant {:?}: from", variant.name);
        return Err(Problem::input("read sweep", place, "the base marks no checkpoint as its best")
            .hint("checkpoint.keep_best = \"SET\" in the base's recipe, or base.set.checkpoint.keep_best")
            .into());
    }
    let tokenizer = base.and_then(|trunk| trunk.tokenizer.as_deref());
    let node = add(&label, &variant.recipe, overrides, seed, parent, tokenizer, store, tree)?;
    if let Some((Parent::Run(_), _)) = &tree.nodes[node].parent {
        RunRef::parse(&tree.nodes[node].parent_name(tree).expect("it has a parent"))?.checkpoint()?;
    }
    Ok(node)
}

/// Adds a run to the tree, or finds an equal one there.
#[allow(clippy::too_many_arguments)]
fn add(
    label: &str,
    source: &str,
    mut overrides: Vec<String>,
    seed: u64,
    parent: Option<(&Trunk, Point)>,
    tokenizer: Option<&str>,
    store: &Store,
    tree: &mut Tree,
) -> Result<usize, Problems> {
    overrides.push(format!("seed={seed}"));
    let load = if parent.is_some() { Recipe::load_branch } else { Recipe::load };
    let plain = load(source, &overrides, &LIBRARY)?;
    if parent.is_none()
        && let Some(base) = spec::base_of(&plain)?
    {
        return Err(plain
            .problem("base", format!("this recipe continues a run of {base}, and the sweep gives it none"))
            .hint(format!("base = {{ recipe = {base:?} }} in the sweep's size"))
            .into());
    }
    let replaced = match Trains::of(&plain) {
        Trains::LanguageModel => tree.texts.overrides_for_prepared(&plain, tokenizer, store)?,
        Trains::Classifier => {
            // A branch may have its images from its base, which is in the tree too.
            if let Some(problem) = certify::images::missing_images_of(&plain)? {
                tree.texts.add_missing(problem);
            }
            Vec::new()
        }
    };
    let mut hash = Sha256::new();
    hash.update("run 1\n");
    for (key, entry) in plain.entries() {
        let known = plain.schema().find(key);
        let value = match replaced.iter().find(|(replaced, _, _)| replaced == key) {
            Some((_, _, stands)) => stands.clone(),
            None => match (&entry.value, known.and_then(|known| known.refers_to)) {
                (Value::Text(name), Some(Refers::Tokenizer)) => {
                    tree.texts.tokenizer(name, TextSpec::read(&plain)?.eod.as_deref())
                }
                (Value::Text(path), Some(Refers::Content)) => tree.texts.content_of(Path::new(path))?,
                (Value::Text(run), Some(Refers::Run)) => identity(run),
                (value, _) => value.to_string(),
            },
        };
        if known.is_none_or(|known| known.last_bits) {
            // Under the name that the first version gave it, so that stores stay valid.
            let key = known.and_then(|known| known.formerly).unwrap_or(key);
            hash.update(format!("{key}={value}\n"));
        }
    }
    if let Some((trunk, point)) = &parent {
        hash.update(format!("branch of {} at {point:?}\n", trunk.hash));
        if let (Point::Best, Some(set)) = (point, keep_best(&trunk.recipe)?) {
            hash.update(format!("best on {set}\n"));
        }
    }
    let hash = texts::short_hash(hash);
    if let Some(known) = tree.nodes.iter().position(|node| node.hash == hash) {
        return Ok(known);
    }
    overrides.extend(replaced.into_iter().map(|(_, path, _)| path).filter(|path| !path.is_empty()));
    let recipe = load(source, &overrides, &LIBRARY)?;
    let leaf = source.rsplit('/').next().unwrap_or(source).trim_end_matches(".toml");
    let path = store.run(leaf, &hash);
    let parent = parent.map(|(trunk, point)| (trunk.parent.clone(), point));
    tree.nodes.push(Node {
        label: label.to_owned(),
        seed,
        source: source.to_owned(),
        overrides,
        recipe,
        parent,
        keep_at: Vec::new(),
        hash,
        path,
    });
    Ok(tree.nodes.len() - 1)
}

/// Has the base keep the checkpoints that variants branch from: by its recipe as well, so that `temper resume` does too.
fn keep_checkpoints(base: &mut Node, steps: &[u64]) -> Result<(), Problems> {
    let own = spec::keep_at(&base.recipe)?;
    let points: Vec<String> = own
        .iter()
        .map(|point| format!("\"{point}\""))
        .chain(steps.iter().map(|step| format!("\"{step} steps\"")))
        .collect();
    base.overrides.retain(|set| !set.starts_with("checkpoint.keep_at="));
    base.overrides.push(format!("checkpoint.keep_at=[{}]", points.join(", ")));
    base.keep_at = steps.to_vec();
    let load = if base.parent.is_some() { Recipe::load_branch } else { Recipe::load };
    base.recipe = load(&base.source, &base.overrides, &LIBRARY)?;
    Ok(())
}

/// The checkpoint that a run still has to branch from, if its base has passed it and it is not there.
fn gone(node: &Node, tree: &Tree) -> Option<Problem> {
    let Some((Parent::Node(base), point)) = &node.parent else { return None };
    let base = &tree.nodes[*base];
    let reached = match (store::state(&base.path), store::state(&node.path)) {
        (_, State::Partial(_) | State::Done) | (State::Absent | State::Begun, _) => return None,
        (State::Partial(step), _) => step,
        (State::Done, _) => u64::MAX,
    };
    // What is the last checkpoint there need not be that of the last update.
    let last = || lengths(&base.recipe).map(|lengths| lengths.stop).unwrap_or(u64::MAX);
    let name = match point {
        Point::Step(step) if *step <= reached => format!("{}@{step}", base.path.display()),
        Point::Last if reached == u64::MAX => format!("{}@{}", base.path.display(), last()),
        Point::Best if reached == u64::MAX => format!("{}@best", base.path.display()),
        _ => return None,
    };
    RunRef::parse(&name).and_then(|named| named.checkpoint()).err()?;
    let why = "a variant branches from this checkpoint, and it is gone";
    let hint = "move the run away; the sweep then trains it anew and keeps the checkpoint";
    Some(Problem::input("find checkpoint", name, why).hint(hint))
}

/// Identifies a run named by its directory, so that one made there anew counts as another.
fn identity(run: &str) -> String {
    let time = RunRef::parse(run).and_then(|named| named.open()).and_then(|dir| RunSeries::without_steps(&dir));
    format!("run {run} of {}", time.map_or(String::new(), |series| series.info.time.to_string()))
}

/// Metrics that an evaluation of a run records, and the sets that it is evaluated on.
fn recorded(node: &Recipe, base: Option<&Trunk>) -> Result<(Vec<String>, Vec<&'static str>), Problems> {
    if Trains::of(node) == Trains::Classifier {
        let Evaluated { holdout, attacked, verified } = certify::spec::evaluated(node)?;
        let mut sets = vec!["test".to_owned()];
        sets.extend(holdout.then(|| "validation".to_owned()));
        let metrics = metric::compared(CERTIFY).map(|metric| metric.name);
        let recorded = |name: &&str| (attacked || *name != PGD_ERROR) && (verified || *name != VERIFIED_ERROR);
        return Ok((sets, metrics.filter(recorded).collect()));
    }
    let mut sets = Vec::new();
    for recipe in std::iter::once(node).chain(base.map(|trunk| &trunk.recipe)) {
        sets.extend(texts::validated(recipe)?);
    }
    sets.sort();
    sets.dedup();
    Ok((sets, metric::compared(LM).map(|metric| metric.name).collect()))
}

/// Every metric of the sweep and of its claims is one that this run will record.
fn check_metrics(
    sweep: &Sweep,
    chosen: &Chosen,
    variant: &Variant,
    node: &Node,
    base: Option<&Trunk>,
) -> Result<(), Problems> {
    let (sets, metrics) = recorded(&node.recipe, base)?;
    let setting = chosen.size.settings.iter().find(|setting| setting.name == variant.setting);
    let claims =
        sweep.claims.iter().filter(|claim| claim.settings.is_empty() || claim.settings.contains(&variant.setting));
    let asked = claims.map(|claim| (claim.place.clone(), &claim.metric));
    let asked = sweep.metrics.iter().map(|metric| (format!("{}: metrics", sweep.name), metric)).chain(asked);
    let mut problems = Vec::new();
    for (place, metric) in asked {
        let Some((set, name)) = metric.split_once('/') else { continue };
        let known = |candidates: Vec<&str>| candidates.join(", ");
        let problem = match super::results::set_of(set, setting) {
            None => {
                Problem::input("read sweep", place, format!("{metric}: the setting does not say which set is {set}"))
                    .hint(format!("{set} = \"...\" in the setting; the sets are {}", sets.join(", ")))
            }
            Some(set) if !sets.iter().any(|known| *known == set) => {
                Problem::input("read sweep", place, format!("{metric}: no run is evaluated on a set {set}"))
                    .hint(format!("the sets are {}", sets.join(", ")))
            }
            Some(_) if !metrics.contains(&name) => {
                Problem::input("read sweep", place, format!("{metric}: no evaluation records {name}"))
                    .hint(format!("recorded are {}", known(metrics.clone())))
            }
            Some(_) => continue,
        };
        problems.push(problem);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into()) }
}
