//! From the text of a sweep to its parts ([`crate::file`]): typed, with a place for every problem, all problems at once.

use temper_base::Problem;
use toml::de::DeTable;

use crate::file::{Base, Claim, Layer, Measure, Relation, Setting, Size, Sweep};
use crate::numbers::At;
use crate::read::{Reader, Section};

impl Sweep {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        match Self::read(name, text) {
            (Some(sweep), problems) if problems.is_empty() => Ok(sweep),
            (_, problems) => Err(problems),
        }
    }

    /// Reads a file as far as it can be read, so that more can be found wrong with it than its form: what cannot be made sense
    /// of is left out. `None` if it is not TOML.
    pub fn read(name: &str, text: &str) -> (Option<Self>, Vec<Problem>) {
        let mut reader = Reader { label: name, text, problems: Vec::new() };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let place = reader.place(error.span().map_or(0, |span| span.start));
                let problem = Problem::input("read sweep", place, error.message().trim().replace('\n', " "));
                let hint = "it is not valid TOML; text goes in quotes, for example lr.warmup = \"1%\"";
                return (None, vec![problem.hint(hint)]);
            }
        };
        let top = Section { name: String::new(), table: table.get_ref(), start: 0 };
        let sweep = read(&mut reader, name, &top);
        (Some(sweep), reader.problems)
    }
}

fn read(reader: &mut Reader, name: &str, top: &Section) -> Sweep {
    reader.allow_only(
        top,
        &["title", "source", "about", "measure", "metrics", "all", "variant", "axis", "claim", "size"],
    );
    let title = reader.required(top, "title", "title is the heading of the report");
    let source = reader.text(top, "source").unwrap_or_default();
    let about = reader.text(top, "about").unwrap_or_else(|| title.clone());
    let measure = match reader.text(top, "measure").as_deref() {
        None | Some("runs") => Measure::Runs,
        Some("gains") => Measure::Gains,
        Some(other) => {
            reader.wrong(0, "measure", format!("`{other}` is neither \"runs\" nor \"gains\""), "");
            Measure::Runs
        }
    };
    let metrics = reader.texts(top, "metrics");
    if metrics.is_empty() {
        reader.wrong(
            0,
            "metrics",
            "there is nothing to compare by",
            "for example metrics = [\"test/certified_error\"]",
        );
    }
    let mut sweep = Sweep {
        name: name.to_owned(),
        title,
        source,
        about,
        measure,
        metrics,
        all: reader.table(top, "all").map(|section| layer(reader, &section, &[])).unwrap_or_default(),
        variants: variants(reader, top),
        claims: Vec::new(),
        sizes: Vec::new(),
    };
    let names: Vec<String> = sweep.variants.iter().map(|(name, _)| name.clone()).collect();
    for (name, section) in reader.named_tables(top, "size") {
        sweep.sizes.push(size(reader, name, &section, &names));
    }
    if sweep.sizes.is_empty() {
        reader.wrong(0, "size", "there is no size", "for example [size.small] with its recipes");
    }
    let settings: Vec<String> =
        sweep.sizes.iter().flat_map(|size| size.settings.iter().map(|setting| setting.name.clone())).collect();
    for section in reader.tables(top, "claim") {
        sweep.claims.extend(claim(reader, &section, &names, &settings));
    }
    for metric in sweep.metrics.clone() {
        check_metric(reader, 0, "metrics", &metric);
    }
    sweep
}

/// A level's recipe and overrides; `more` are keys that the caller reads.
fn layer(reader: &mut Reader, section: &Section, more: &[&str]) -> Layer {
    reader.allow_only(section, &[&["recipe", "from", "set", "scale"], more].concat());
    let set = reader.table(section, "set").map(|set| reader.leaves(&set)).unwrap_or_default();
    let mut scale = Vec::new();
    if let Some(section) = reader.table(section, "scale") {
        for (key, text) in reader.leaves(&section) {
            match text.parse::<f64>() {
                Ok(factor) if factor.is_finite() => scale.push((key, factor)),
                _ => reader.wrong(section.start, &format!("scale.{key}"), format!("{text} is not a number"), ""),
            }
        }
    }
    let from = reader.text(section, "from");
    if let Some(from) = from.as_deref().filter(|from| crate::choose::origin(from).is_none()) {
        let hint = "base, base@7%, base@500 steps, base@2 Mtok, base@best, or none";
        reader.wrong(section.start, "from", format!("`{from}` is not a place to start from"), hint);
    }
    Layer { recipe: reader.text(section, "recipe"), from, set, scale }
}

fn variants(reader: &mut Reader, top: &Section) -> Vec<(String, Layer)> {
    let (listed, axes) = (reader.tables(top, "variant"), reader.tables(top, "axis"));
    let mut variants: Vec<(String, Layer)> = Vec::new();
    let mut seen: Vec<(String, usize)> = Vec::new();
    for section in &listed {
        let name = reader.required(section, "name", "every variant needs a different name");
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == name && !name.is_empty()) {
            let why = format!("there is already a variant {name:?}, at {}", reader.place(*first));
            reader.wrong(section.start, "variant.name", why, "give every variant a different name");
        }
        seen.push((name.clone(), section.start));
        variants.push((name, layer(reader, section, &["name"])));
    }
    match (listed.is_empty(), axes.is_empty()) {
        (true, true) => reader.wrong(0, "variant", "there is nothing to compare", "give [[variant]]s or [[axis]]es"),
        (false, false) => {
            reader.wrong(
                axes[0].start,
                "axis",
                "there are variants already",
                "give [[variant]]s or [[axis]]es, not both",
            );
        }
        (true, false) => variants.push((String::new(), Layer::default())),
        (false, true) => {}
    }
    for section in &axes {
        variants = crossed(reader, section, variants);
    }
    let twice = (1..variants.len()).find(|n| variants[..*n].iter().any(|(name, _)| *name == variants[*n].0));
    if let (Some(n), Some(axis)) = (twice, axes.first()) {
        let why = format!("two variants are called {:?}", variants[n].0);
        reader.wrong(axis.start, "axis.labels", why, "give every value of an axis a different label");
    }
    variants
}

/// Every variant so far with every value of one more axis.
fn crossed(reader: &mut Reader, section: &Section, variants: Vec<(String, Layer)>) -> Vec<(String, Layer)> {
    reader.allow_only(section, &["key", "values", "labels"]);
    let key = reader.required(section, "key", "the key of recipes that the axis sets");
    let labels = reader.texts(section, "labels");
    if section.table.get("values").is_some_and(|item| item.get_ref().as_array().is_none()) {
        reader.wrong(section.start, "axis.values", "expected a list", "for example values = [\"25%\", \"50%\"]");
        return variants;
    }
    let list = section.table.get("values").and_then(|item| item.get_ref().as_array());
    let values: Vec<String> = list.map_or_else(Vec::new, |list| {
        list.iter().map(|item| reader.text.get(item.span()).unwrap_or_default().to_owned()).collect()
    });
    if values.is_empty() {
        reader.wrong(section.start, "axis.values", "there are none", "for example values = [\"25%\", \"50%\"]");
    }
    if variants.iter().any(|(_, layer)| layer.set.iter().any(|(known, _)| *known == key)) {
        reader.wrong(
            section.start,
            "axis.key",
            format!("another axis sets {key} already"),
            "give every axis its own key",
        );
    }
    if !labels.is_empty() && labels.len() != values.len() {
        let why = format!("{} labels for {} values", labels.len(), values.len());
        reader.wrong(section.start, "axis.labels", why, "give one for each value, or none");
    }
    let mut all = Vec::new();
    for (name, layer) in &variants {
        for (n, value) in values.iter().enumerate() {
            let label = labels.get(n).cloned().unwrap_or_else(|| value.trim_matches('"').to_owned());
            let mut layer = layer.clone();
            layer.set.push((key.clone(), value.clone()));
            all.push((if name.is_empty() { label } else { format!("{name}, {label}") }, layer));
        }
    }
    all
}

/// Folders and figures are named after sizes and settings.
fn file_name(reader: &mut Reader, start: usize, what: &str, name: &str) {
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) {
        let why = format!("{name:?} cannot be part of a file's name");
        reader.wrong(start, what, why, "letters, digits, - and _");
    }
}

fn size(reader: &mut Reader, name: String, section: &Section, names: &[String]) -> Size {
    reader.allow_only(section, &["about", "seeds", "base", "all", "variant", "setting"]);
    let base = reader.table(section, "base").and_then(|section| base(reader, &section));
    let seeds = reader.number(section, "seeds");
    if seeds.is_some_and(|seeds| seeds.fract() != 0.0 || !(1.0..=1000.0).contains(&seeds)) {
        reader.wrong(section.start, "seeds", "it is a whole number from 1 to 1000", "for example seeds = 3");
    }
    // None at all would hide what is wrong with the runs.
    let seeds = seeds.map(|seeds| (seeds as u64).clamp(1, 1000));
    file_name(reader, section.start, "size", &name);
    let mut settings = Vec::new();
    for (name, section) in reader.named_tables(section, "setting") {
        file_name(reader, section.start, "setting", &name);
        settings.push(Setting {
            name,
            old: reader.text(&section, "old"),
            new: reader.text(&section, "new"),
            layer: layer(reader, &section, &["old", "new", "variant"]),
            variants: overlays(reader, &section, names),
        });
    }
    if settings.is_empty() {
        settings.push(Setting::default());
    }
    Size {
        name,
        about: reader.text(section, "about").unwrap_or_default(),
        seeds,
        base,
        all: reader.table(section, "all").map(|section| layer(reader, &section, &[])).unwrap_or_default(),
        variants: overlays(reader, section, names),
        settings,
    }
}

fn base(reader: &mut Reader, section: &Section) -> Option<Base> {
    reader.allow_only(section, &["recipe", "run", "set"]);
    let set = reader.table(section, "set").map(|set| reader.leaves(&set)).unwrap_or_default();
    match (reader.text(section, "recipe"), reader.text(section, "run")) {
        (Some(recipe), None) => Some(Base::Recipe { recipe, set }),
        (None, Some(run)) => {
            if !set.is_empty() {
                let hint = "take `set` out, or give a recipe instead of a run";
                reader.wrong(section.start, "base.set", "a run that exists is what it is", hint);
            }
            Some(Base::Run(run))
        }
        _ => {
            reader.wrong(
                section.start,
                "base",
                "it needs either a recipe or a run",
                "base = { recipe = \"rewarm/docs\" }",
            );
            None
        }
    }
}

fn overlays(reader: &mut Reader, section: &Section, names: &[String]) -> Vec<(String, Layer)> {
    let mut overlays = Vec::new();
    for (name, section) in reader.named_tables(section, "variant") {
        known(reader, section.start, "variant", &name, names, "variant");
        overlays.push((name, layer(reader, &section, &[])));
    }
    overlays
}

/// Reports a name that is none of these.
fn known(reader: &mut Reader, at: usize, key: &str, name: &str, names: &[String], what: &str) {
    if names.iter().any(|known| known == name) {
        return;
    }
    let hint = match temper_recipe::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => format!("there is no {what} at all"),
        None => format!("there are {}", names.join(", ")),
    };
    reader.wrong(at, key, format!("there is no {what} {name:?}"), hint);
}

fn check_metric(reader: &mut Reader, at: usize, key: &str, metric: &str) {
    if metric.split_once('/').is_none_or(|(set, name)| set.is_empty() || name.is_empty()) {
        let hint = "SET/METRIC, for example new/loss or test/certified_error";
        reader.wrong(at, key, format!("`{metric}` names no metric of a validation set"), hint);
    }
}

fn claim(reader: &mut Reader, section: &Section, names: &[String], settings: &[String]) -> Option<Claim> {
    let keys =
        ["what", "source", "metric", "at", "left", "relation", "right", "within", "along", "variants", "settings"];
    reader.allow_only(section, &keys);
    let before = reader.problems.len();
    let what = reader.required(section, "what", "the claim in words");
    let metric = reader.required(section, "metric", "SET/METRIC, for example new/loss");
    if !metric.is_empty() {
        check_metric(reader, section.start, "claim.metric", &metric);
    }
    let at = reader.text(section, "at").unwrap_or_else(|| "final".into());
    let parsed = at.parse();
    if parsed.is_err() {
        reader.wrong(section.start, "claim.at", format!("`{at}` is no time of a run"), At::FORMS);
    }
    let text = reader.required(section, "relation", "<, >, about equal, increases with, decreases with");
    let relation = match text.as_str() {
        "<" => Some(Relation::Less),
        ">" => Some(Relation::Greater),
        "about equal" => Some(Relation::Equal),
        "increases with" => Some(Relation::Increases),
        "decreases with" => Some(Relation::Decreases),
        "" => None,
        other => {
            let hint = "<, >, about equal, increases with, decreases with";
            reader.wrong(section.start, "claim.relation", format!("`{other}` is no relation"), hint);
            None
        }
    };
    let [mut left, right, row] = ["left", "right", "variants"].map(|key| reader.texts(section, key));
    let ordered = matches!(relation, Some(Relation::Increases | Relation::Decreases));
    // A key that says nothing here was meant to say something.
    let idle: &[&str] = match relation {
        Some(Relation::Increases | Relation::Decreases) => &["left", "right", "within"],
        Some(Relation::Less | Relation::Greater) => &["variants", "along", "within"],
        Some(Relation::Equal) => &["variants", "along"],
        None => &[],
    };
    for key in idle.iter().filter(|key| section.table.contains_key(**key)) {
        let why = format!("it means nothing with relation = {text:?}");
        reader.wrong(section.start, &format!("claim.{key}"), why, "take it out, or change the relation");
    }
    if let Some(both) = left.iter().find(|name| right.contains(name)) {
        reader.wrong(
            section.start,
            "claim",
            format!("{both:?} is compared with itself"),
            "it is on the left and on the right",
        );
    }
    if ordered {
        if row.len() < 2 {
            let hint = "variants = [...], in the order in which it increases or decreases";
            reader.wrong(section.start, "claim.variants", "it takes two variants at least", hint);
        }
        left.clone_from(&row);
    } else if relation.is_some() && (left.is_empty() || right.is_empty()) {
        reader.wrong(
            section.start,
            "claim",
            "it needs left and right",
            "left = \"a\", relation = \"<\", right = \"b\"",
        );
    }
    for name in left.iter().chain(&right) {
        known(reader, section.start, "claim", name, names, "variant");
    }
    let only = reader.texts(section, "settings");
    for name in &only {
        known(reader, section.start, "claim.settings", name, settings, "setting");
    }
    let within = reader.number(section, "within");
    if relation == Some(Relation::Equal) && within.is_none_or(|within| within <= 0.0) {
        let hint = "the largest difference that does not matter, for example within = 0.05";
        reader.wrong(section.start, "claim.within", "\"about equal\" needs it, above 0", hint);
    }
    let (source, along) = (reader.text(section, "source"), reader.text(section, "along"));
    if reader.problems.len() > before {
        return None;
    }
    Some(Claim {
        what,
        source,
        metric,
        at: parsed.ok()?,
        relation: relation?,
        along,
        left,
        right,
        within: within.unwrap_or(0.0),
        settings: only,
        place: format!("{}: claim", reader.place(section.start)),
    })
}
