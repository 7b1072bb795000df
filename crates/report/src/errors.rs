//! Image classifiers in numbers: their three errors at the end and at the best checkpoint, in a table and in a
//! sentence.

use temper_base::numbers;
use temper_base::numbers::radius;
use temper_record::event::Values;
use temper_record::metric::{
    self, CERTIFIED_ERROR, EPS, EPS_CURRENT, IMAGES, IMAGES_PER_S, LR, Place, SECONDS, STANDARD_ERROR,
};
use temper_record::{Best, RunSeries};

use crate::certify::part_attacked;
use crate::options::{Placed, ReportOptions, placed};
use crate::summary::last_evaluated;
use crate::table::Table;
use crate::text::capital;

/// The set whose errors are shown: `test`, if any of the runs has it.
pub(crate) fn shown_set(runs: &[RunSeries]) -> &str {
    let mut sets = runs.iter().flat_map(|run| run.sets());
    let Some(first) = sets.next() else { return "test" };
    if first == "test" { first } else { sets.find(|set| *set == "test").unwrap_or(first) }
}

/// Which checkpoint is the best: the one that is marked, or where the mark is lost (a copied record) the one the training
/// loop would have marked: of the evaluations on the first set at the target radius, the first of least certified error.
pub(crate) fn best_checkpoint(run: &RunSeries) -> Option<Best> {
    if let Some(best) = run.best.as_ref().filter(|best| best.metric == CERTIFIED_ERROR) {
        return Some(best.clone());
    }
    let (set, points) = run.evals.first()?;
    let at_target = points.iter().filter(|p| {
        let eps = |name| p.values.get(name).unwrap_or(f64::NAN);
        p.step > 0 && eps(EPS_CURRENT) >= eps(EPS)
    });
    let judged = at_target.filter_map(|p| Some((p.step, p.values.get(CERTIFIED_ERROR)?)));
    let (step, value) = judged
        .filter(|(_, value)| value.is_finite())
        .reduce(|a, b| if metric::improves(CERTIFIED_ERROR, b.1, a.1) { b } else { a })?;
    Some(Best { step, set: set.clone(), metric: CERTIFIED_ERROR.into(), value })
}

/// The evaluation of the best checkpoint on a set.
pub(crate) fn at_best<'a>(run: &'a RunSeries, set: &str, best: &Best) -> Option<&'a Values> {
    run.evals(set).iter().find(|p| p.step == best.step).map(|p| &p.values)
}

/// One row a run: images trained on, the three errors at the end and at the best checkpoint with the set it was chosen on,
/// speed of the updates, minutes in all.
pub fn errors_table(runs: &[RunSeries], options: &ReportOptions) -> Table {
    let set = shown_set(runs);
    let (end, chosen) = (format!("{set} error, %, at the end"), "at the best checkpoint");
    let mut table = Table::new().text_column("run").number_column("", "images").number_column("", "epsilon");
    let errors = || metric::shown(Place::Errors);
    for error in errors() {
        table = table.number_column(&end, error.short);
    }
    for name in errors().map(|error| error.short).chain(["chosen on", "after"]) {
        table = table.number_column(chosen, name);
    }
    table = table.number_column("training", "images/s").number_column("training", "minutes");
    for p in placed(runs, options) {
        let nothing = Values::new();
        let last = p.run.evals(set).last().map_or(&nothing, |point| &point.values);
        let best = best_checkpoint(p.run);
        let kept = best.as_ref().and_then(|best| at_best(p.run, set, best)).unwrap_or(&nothing);
        let cell =
            |values: &Values, name: &str| values.get(name).map_or("–".to_owned(), |value| metric::line(name, value));
        let mut row = vec![p.name.clone(), numbers::count(p.run.last_tokens() as f64)];
        row.push(last.get(EPS).map_or("–".to_owned(), |eps| metric::cell(EPS, eps)));
        row.extend(errors().map(|error| cell(last, error.name)));
        row.extend(errors().map(|error| cell(kept, error.name)));
        row.push(best.as_ref().map_or("–".to_owned(), |best| best.set.clone()));
        row.push(best.as_ref().map_or("–".to_owned(), |best| images_at(p.run, best.step)));
        row.push(speed(p.run).map_or("–".to_owned(), |speed| format!("{speed:.0}")));
        let seconds = p.run.done.or_else(|| p.run.steps.iter().rev().find_map(|s| s.values.get(SECONDS)));
        row.push(seconds.map_or("–".to_owned(), |seconds| format!("{:.1}", seconds / 60.0)));
        table.row(row);
    }
    table
}

/// How many images a run had been trained on after `step` updates.
fn images_at(run: &RunSeries, step: u64) -> String {
    let evaluated = run.evals.iter().flat_map(|(_, points)| points).find(|point| point.step == step).map(|p| p.tokens);
    let images = evaluated.or_else(|| run.steps.iter().find(|s| s.step == step).map(|s| s.tokens));
    images.map_or("–".to_owned(), |images| numbers::count(images as f64))
}

/// Images a second over all updates, evaluations aside.
fn speed(run: &RunSeries) -> Option<f64> {
    let (mut images, mut seconds, mut before) = (0.0, 0.0, run.info.first_tokens);
    for step in &run.steps {
        let of_step = step.tokens.saturating_sub(before) as f64;
        before = step.tokens;
        if let Some(rate) = step.values.get(IMAGES_PER_S).filter(|rate| rate.is_finite() && *rate > 0.0) {
            images += of_step;
            seconds += of_step / rate;
        }
    }
    (seconds > 0.0).then(|| images / seconds)
}

/// What the table means, and how its best checkpoints were chosen: one paragraph each.
pub(crate) fn notes(runs: &[RunSeries], options: &ReportOptions) -> Vec<String> {
    let set = shown_set(runs);
    let placed = placed(runs, options);
    let mut attacked: Vec<u64> =
        placed.iter().filter_map(|p| part_attacked(&p.run.evals(set).last()?.values)).collect();
    attacked.sort_unstable();
    attacked.dedup();
    let attacked = match attacked[..] {
        [images] => format!(", scaled to the set from an attack on its first {images} images"),
        _ => String::new(),
    };
    let mut notes = vec![format!(
        "Standard error: images that are classified wrong. PGD error: with those that an attack within epsilon turns{attacked}. \
         Certified error: all images for which interval bounds do not prove that nothing within epsilon (largest change of a \
         pixel, of 0 to 1) changes the class. All three at the target epsilon."
    )];
    let mut chosen: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for p in &placed {
        let on = best_checkpoint(p.run).map(|best| best.set);
        match chosen.iter_mut().find(|(set, _)| *set == on) {
            Some((_, names)) => names.push(p.name.clone()),
            None => chosen.push((on, vec![p.name.clone()])),
        }
    }
    for (on, names) in chosen {
        let names = names.join(", ");
        notes.push(match on {
            Some(on) if on == set && runs.iter().flat_map(|run| run.sets()).any(|s| s == "test") => format!(
                "Best checkpoint of {names}: chosen on {on}, the set it is then reported on (no images were held out, \
                 data.holdout = 0). Its errors are those of the luckiest evaluation, a little better than on images never \
                 looked at; the errors at the end are not chosen."
            ),
            Some(on) => format!(
                "Best checkpoint of {names}: chosen on {on}, images held out of the training set, by the least certified error \
                 at the target epsilon."
            ),
            None => format!(
                "Best checkpoint of {names}: none yet; only evaluations after epsilon has reached its target count."
            ),
        });
    }
    notes
}

/// How a run ended.
struct End<'a> {
    /// What it is called at the beginning of a sentence, and inside.
    names: [String; 2],
    run: &'a RunSeries,
    /// Images of which the class is proved, in per cent.
    certified: f64,
    standard: f64,
    eps: f64,
    images: f64,
}

fn ends<'a>(placed: &'a [Placed<'a>], set: &str, options: &ReportOptions) -> Vec<End<'a>> {
    let end = |p: &'a Placed<'a>| {
        let values = &p.run.evals(set).last()?.values;
        let number = |name: &str| values.get(name).filter(|value| value.is_finite());
        let label = options.labels.iter().find(|(name, _)| *name == p.run.name).map(|(_, label)| label.as_str());
        let unfinished = match (last_evaluated(p.run), p.run.done) {
            (_, Some(_)) => String::new(),
            (Some((at, last)), None) => format!(" (unfinished, last evaluated at step {at} of {last})"),
            (None, None) => " (unfinished)".to_owned(),
        };
        // A run's own name stays as it is written.
        let first = label.map_or(p.name.clone(), capital);
        Some(End {
            names: [first + &unfinished, label.unwrap_or(&p.name).to_owned() + &unfinished],
            run: p.run,
            certified: 100.0 - number(CERTIFIED_ERROR)?,
            standard: number(STANDARD_ERROR)?,
            eps: number(EPS)?,
            images: number(IMAGES).unwrap_or(f64::NAN),
        })
    };
    placed.iter().filter(|p| !p.faint).filter_map(end).collect()
}

/// Which run certifies how much, in a sentence. The first named is the best, whichever that is.
pub fn certified_sentence(runs: &[RunSeries], options: &ReportOptions) -> Option<String> {
    let set = shown_set(runs);
    let placed = placed(runs, options);
    let mut ends = ends(&placed, set, options);
    ends.sort_by(|a, b| b.certified.total_cmp(&a.certified));
    let (best, others) = ends.split_first()?;
    let decimals = decimals(&ends);
    let share = |end: &End| format!("{:.decimals$} %", end.certified);
    let of = if best.images.is_finite() {
        format!("of the {} {set} images", best.images)
    } else {
        format!("of the {set} images")
    };
    if others.iter().any(|other| other.eps != best.eps || other.images.to_bits() != best.images.to_bits()) {
        // Nothing here can be compared.
        let each = ends.iter().enumerate().map(|(n, end)| {
            let verb = if n == 0 { " certifies" } else { "" };
            format!("{}{verb} {} at epsilon {}", end.names[n.min(1)], share(end), radius(end.eps))
        });
        return Some(format!("{}.", each.collect::<Vec<_>>().join(", ")));
    }
    let at = format!("{of} at epsilon {}", radius(best.eps));
    let same = !others.is_empty() && others.iter().all(|other| same_schedule(best.run, other.run));
    let (prefix, case) = if same { ("With the same schedule, ", 1) } else { ("", 0) };
    let tied: Vec<&str> =
        others.iter().filter(|o| ties(best.certified, o.certified)).map(|o| o.names[1].as_str()).collect();
    let name = &best.names[case];
    let mut text = match others {
        [] => {
            return Some(format!(
                "{name} certifies {} {at}; its standard error is {:.1} %.",
                share(best),
                best.standard
            ));
        }
        [_] if !tied.is_empty() => {
            format!("{prefix}{name} and {} certify the same share {at}, {}", tied[0], share(best))
        }
        [other] => {
            // The difference of the numbers that are shown, so that the reader's sum comes out.
            let rounded = |value: f64| format!("{value:.decimals$}").parse::<f64>().unwrap_or(value);
            let difference = rounded(best.certified) - rounded(other.certified);
            format!(
                "{prefix}{name} certifies {} {at}, {} {}: {difference:.decimals$} points more{}",
                share(best),
                other.names[1],
                share(other),
                if is_noise(best, other) { ", which is within the sampling error of so many images" } else { "" }
            )
        }
        _ => {
            let rest: Vec<String> =
                others[tied.len()..].iter().map(|end| format!("{} {}", end.names[1], share(end))).collect();
            let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
            let (who, verb) = if tied.is_empty() {
                (name.clone(), "certifies")
            } else {
                (format!("{name} and {}", tied.join(" and ")), "certify")
            };
            format!("{prefix}{who} {verb} the largest share {at}: {}{rest}", share(best))
        }
    };
    let standard: Vec<String> = ends.iter().map(|end| format!("{} {:.1} %", end.names[1], end.standard)).collect();
    text += &format!("; standard error: {}.", standard.join(", "));
    Some(text)
}

/// Shares that differ in print unless they are equal.
fn decimals(ends: &[End]) -> usize {
    let close = |pair: &[End]| {
        !ties(pair[0].certified, pair[1].certified)
            && format!("{:.1}", pair[0].certified) == format!("{:.1}", pair[1].certified)
    };
    if ends.windows(2).any(close) { 2 } else { 1 }
}

fn ties(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Whether two shares differ by less than two standard errors of their difference, had they been measured on different
/// images. On the same images, as here, the true error is no larger as a rule: what this calls noise may be more.
fn is_noise(a: &End, b: &End) -> bool {
    let variance = |end: &End| end.certified * (100.0 - end.certified) / end.images;
    (a.certified - b.certified).abs() < 2.0 * (variance(a) + variance(b)).sqrt()
}

/// Whether two runs made the same updates as far as the schedule goes: number, images, radius and learning rate of each.
fn same_schedule(a: &RunSeries, b: &RunSeries) -> bool {
    let same = |name: &str, a: &Values, b: &Values| a.get(name) == b.get(name);
    !a.steps.is_empty()
        && a.steps.len() == b.steps.len()
        && a.steps.iter().zip(&b.steps).all(|(a, b)| {
            (a.step, a.tokens) == (b.step, b.tokens)
                && same(EPS, &a.values, &b.values)
                && same(LR, &a.values, &b.values)
        })
}
