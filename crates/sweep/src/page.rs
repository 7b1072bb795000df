//! The report of a sweep: claims, figures and tables on one page, and the figures as files.

use std::fs;
use std::path::{Path, PathBuf};

use temper_base::files::write_whole;
use temper_base::numbers::{count, digits};
use temper_base::{Problem, Result};
use temper_record::metric;
use temper_report::chart::{Axis, Figure, Line, Marks, Names, Panel, Point, Reach};
use temper_report::scale::Kind;
use temper_report::text::{Format, escape};
use temper_report::{Dots, Drawing, Table, document, keys};

use crate::file::Setting;
use crate::results::{Results, TIMES, relation, set_of};
use crate::stats::Spread;
use crate::{At, Curve, Measure, Relation};

/// Writes `report.html`, its figures and the files for other programs into the sweep's folder, replacing those of an earlier
/// command. `extra` is HTML from the caller. Returns the path of the page.
///
/// # Errors
/// If the folder or one of its files cannot be written.
pub fn write(results: &Results, extra: &str, folder: &Path) -> Result<PathBuf> {
    let save = |name: &str, content: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        write_whole(&path, content.as_bytes()).map(|()| path)
    };
    fs::create_dir_all(folder).map_err(|cause| Problem::io("write report", folder, &cause))?;
    let json = |value| serde_json::to_string_pretty(&value).expect("plain data") + "\n";
    save("claims.json", &json(results.claims_json()))?;
    save("metrics.json", &(serde_json::to_string(&results.metrics_json()).expect("plain data") + "\n"))?;
    save("table.csv", &results.table_csv())?;
    let (sweep, size) = (results.sweep, &results.chosen.size);
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let mut body = format!("<h1>{}</h1>", escape(&sweep.title));
    let about = if size.about.is_empty() { String::new() } else { format!(" ({})", size.about) };
    body += &paragraph("lead", &sweep.source);
    body += &paragraph("", &format!("Size {}{about}; seeds {}.", size.name, seeds.join(", ")));
    if !results.overrides.is_empty() {
        body += &paragraph("", &format!("With {}.", results.overrides.join(" ")));
    }
    body += &claims(results);
    for setting in &size.settings {
        if !setting.name.is_empty() {
            body += &format!("<h2 class=\"part\">{}</h2>", escape(&setting.name));
        }
        for (name, title, svgs, caption) in figures(results, setting) {
            save(&format!("{name}.svg"), &svgs[1])?;
            let caption = escape(&caption);
            body +=
                &format!("<h2>{}</h2><figure>{}<figcaption>{caption}</figcaption></figure>", escape(&title), svgs[0]);
        }
        body += match results.sweep.measure {
            Measure::Runs => "<h2>Start, peak, final and change</h2>",
            Measure::Gains => "<h2>Fresh weights</h2>",
        };
        body += &numbers_table(results, &setting.name).to_html();
    }
    let note = match results.sweep.measure {
        Measure::Runs => {
            "Mean ± standard deviation over the seeds. Start is the evaluation before the first update, peak the highest value \
             seen, change final minus start."
        }
        Measure::Gains => {
            "Mean ± standard deviation over the seeds. Gain: mean width of a layer's output over that of the pre-activation it \
             reads; after: the same behind its batch norm. Mean (geometric) and largest are over all layers but the first."
        }
    };
    body += &paragraph("soft", note);
    if !results.sweep.claims.is_empty() {
        body += &format!("<h2>Claims, pair by pair</h2>{}", pairs(results).to_html());
    }
    body += extra;
    save("report.html", &document(&sweep.title, &body, env!("CARGO_PKG_VERSION")))
}

fn paragraph(class: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<p class=\"{class}\">{}</p>", escape(text)) }
}

/// Every claim with its verdict.
fn verdicts(results: &Results) -> Table {
    // The sweep's own source stands at the head of the page.
    let sources = results.sweep.claims.iter().any(|claim| claim.source.is_some());
    let mut table = Table::new().text_column("claim").text_column("verdict").text_column("compared");
    if sources {
        table = table.text_column("source");
    }
    for (claim, setting, judged) in results.judged_claims() {
        let relation = relation(claim);
        let mut compared = match &claim.along {
            Some(along) => format!("{} {} {relation} {along}", claim.metric, claim.at),
            None => format!("{} {}: {} {relation} {}", claim.metric, claim.at, side(&claim.left), side(&claim.right)),
        };
        if claim.relation == Relation::Equal {
            compared += &format!(", within {}", claim.within);
        }
        let source = claim.source.as_ref().unwrap_or(&results.sweep.source);
        let mut row = vec![in_setting(&claim.what, setting), judged.verdict.to_string(), compared];
        row.extend(sources.then(|| source.clone()));
        table.row(row);
    }
    table
}

/// A claim's words, and where it is tried.
fn in_setting(what: &str, setting: &Setting) -> String {
    if setting.name.is_empty() { what.to_owned() } else { format!("{what} ({})", setting.name) }
}

fn side(names: &[String]) -> String {
    if names.len() > 2 { format!("each of {}", names.len()) } else { names.join(" and ") }
}

/// The pairs that the claims are made of, with their numbers.
fn pairs(results: &Results) -> Table {
    let mut table = Table::new().text_column("claim").text_column("pair").text_column("this pair");
    for name in ["left", "right", "difference", "spread", "seeds"] {
        table = table.number_column("", name);
    }
    for (claim, setting, judged) in results.judged_claims() {
        let sign = match relation(claim) {
            "about equal" => "≈",
            "<" | "increases with" => "<",
            _ => ">",
        };
        for pair in &judged.comparisons {
            table.row([
                in_setting(&claim.what, setting),
                format!("{} {sign} {}", pair.left, pair.right),
                match pair.why.as_str() {
                    "" => pair.verdict.to_string(),
                    why => format!("{}: {why}", pair.verdict),
                },
                number(pair.means[0]),
                number(pair.means[1]),
                number(pair.difference.mean),
                pair.spread.map_or("–".into(), |spread| digits(spread, 3)),
                pair.difference.n.to_string(),
            ]);
        }
    }
    table
}

fn number(value: f64) -> String {
    if value.is_finite() { digits(value, 4) } else { "–".into() }
}

fn claims(results: &Results) -> String {
    if results.sweep.claims.is_empty() {
        return String::new();
    }
    let note = "Two variants are compared seed by seed. Spread is half the width of the 95 % confidence interval of the mean \
        difference (Student's t): a claim of < or > holds if the difference has its sign and is larger than the spread, does not \
        hold if it has the other sign and is larger, and is undecided otherwise; \"about equal\" holds if difference and spread \
        together stay within the claim's limit. With one seed there is no spread, and nothing is decided.";
    format!("<h2>Claims</h2>{}{}", verdicts(results).to_html(), paragraph("soft", note))
}

/// Mean and spread of start, peak, final and change of every variant of a setting; where nothing is trained, of the one number
/// there is.
pub fn numbers_table(results: &Results, setting: &str) -> Table {
    let times = times(results);
    let mut table = Table::new().text_column("variant").number_column("", "seeds");
    for metric in &results.sweep.metrics {
        for (time, _) in times {
            table = table.number_column(&heading(metric), time);
        }
    }
    for (index, name) in results.variants(setting) {
        let seeds = results.measured.iter().filter(|run| run.variant == index).count();
        let mut row = vec![name.to_owned(), seeds.to_string()];
        for metric in &results.sweep.metrics {
            for (_, at) in times {
                let spread = Spread::of(&results.numbers(index, metric, *at));
                row.push(match (spread.n, spread.sd) {
                    (0, _) => "–".to_owned(),
                    (_, None) => digits(spread.mean, 4),
                    (_, Some(sd)) => format!("{} ± {}", digits(spread.mean, 4), digits(sd, 2)),
                });
            }
        }
        table.row(row);
    }
    table
}

fn times(results: &Results) -> &'static [(&'static str, At)] {
    match results.sweep.measure {
        Measure::Runs => &TIMES,
        Measure::Gains => &[("fresh", At::Final)],
    }
}

fn heading(metric: &str) -> String {
    match metric.split_once('/') {
        Some((set, name)) => format!("{set}: {}", metric::title(name)),
        None => metric.to_owned(),
    }
}

/// Mean and spread of a metric along the run, over the seeds of a variant: amount of training, mean, standard deviation.
fn course(results: &Results, variant: usize, metric: &str) -> Vec<(f64, f64, f64)> {
    let runs: Vec<(f64, &Curve)> = results
        .measured
        .iter()
        .filter(|run| run.variant == variant)
        .filter_map(|run| Some((run.amount, &run.curves.iter().find(|(name, _)| name == metric)?.1)))
        .collect();
    let longest = runs.iter().map(|(_, curve)| curve.0.len()).max().unwrap_or(0);
    let at = |n: usize| {
        let there: Vec<(f64, f64)> = runs
            .iter()
            .filter_map(|(amount, curve)| curve.0.get(n).map(|(part, value)| (part * amount, *value)))
            .collect();
        let spread = Spread::of(&there.iter().map(|(_, value)| *value).collect::<Vec<_>>());
        (there.first().map_or(0.0, |(x, _)| *x), spread.mean, spread.sd.unwrap_or(0.0))
    };
    (0..longest).map(at).collect()
}

/// Name, title, drawing as element and as file, caption.
type Drawn = (String, String, [String; 2], String);

fn figures(results: &Results, setting: &Setting) -> Vec<Drawn> {
    let ending = if setting.name.is_empty() { String::new() } else { format!("-{}", setting.name) };
    let variants = results.variants(&setting.name);
    let mut drawn = Vec::new();
    let metrics = &results.sweep.metrics;
    let courses = metrics.iter().any(|metric| variants.iter().any(|(n, _)| course(results, *n, metric).len() > 1));
    if courses {
        let figure = curves(results, setting, &variants, &ending);
        let far = if variants.iter().any(|(index, _)| begins_anew(results, *index)) {
            " Fresh weights do not stretch an axis: a line of theirs may lie beyond the frame, its numbers are in the table."
        } else {
            ""
        };
        let caption =
            format!("Mean over the seeds at every evaluation; the area is one standard deviation to both sides.{far}");
        drawn.push((
            figure.name.clone(),
            figure.title.clone(),
            [keys(&figure) + &figure.to_inline_svg(), figure.to_svg()],
            caption,
        ));
        if let Some(figure) = plane(results, setting, &variants, &ending) {
            let caption = "Each way leads from the hollow mark (first evaluation) to the filled one (last); perplexity of the mean \
                loss over the seeds. Down is better on the new data, left on the old. Both axes are logarithmic.";
            drawn.push((
                figure.name.clone(),
                figure.title.clone(),
                [keys(&figure) + &figure.to_inline_svg(), figure.to_svg()],
                caption.into(),
            ));
        }
    }
    let row = |(index, name): &(usize, &str)| {
        ((*name).to_owned(), metrics.iter().map(|metric| results.numbers(*index, metric, At::Final)).collect())
    };
    let dots = Dots {
        name: format!("final{ending}"),
        title: if courses { "At the end" } else { "Side by side" }.into(),
        description: "The last number of every variant.".into(),
        columns: metrics.iter().map(|metric| heading(metric)).collect(),
        rows: variants.iter().map(row).collect(),
    };
    let caption =
        "The last number: every seed a ring, their mean a mark, a bar of one standard deviation to both sides.";
    drawn.push((dots.name.clone(), dots.title.clone(), [dots.to_inline_svg(), dots.to_svg()], caption.into()));
    drawn
}

fn curves(results: &Results, setting: &Setting, variants: &[(usize, &str)], ending: &str) -> Figure {
    let panel = |metric: &String| {
        let lines = variants.iter().enumerate().filter_map(|(n, (index, name))| {
            let course = course(results, *index, metric);
            let last = course.last()?.1;
            let tip = |(x, mean, sd): &(f64, f64, f64)| {
                format!("{name}, {} {}: {} ± {}", count(*x), unit(results), digits(*mean, 5), digits(*sd, 2))
            };
            Some(Line {
                name: (*name).to_owned(),
                style: n + 1,
                points: course.iter().map(|point| Point { x: point.0, y: point.1, tip: Some(tip(point)) }).collect(),
                spread: course.iter().map(|(x, mean, sd)| (*x, mean - sd, mean + sd)).collect(),
                marks: Marks::All,
                value: digits(last, 4),
                ..Line::default()
            })
        });
        let mut lines: Vec<Line> = lines.collect();
        let fresh =
            |line: &Line| variants.iter().any(|(index, name)| *name == line.name && begins_anew(results, *index));
        let continued: Vec<&Line> = lines.iter().filter(|line| !fresh(line)).collect();
        // What begins from fresh weights is far off; the axis shows how the others differ.
        let (others, anew) = if squeezed(if continued.is_empty() { lines.iter().collect() } else { continued }) {
            (Reach::Tail, Reach::Nothing)
        } else {
            (Reach::All, Reach::Tail)
        };
        let all_anew = lines.iter().all(fresh);
        for line in &mut lines {
            line.reach = if fresh(line) && !all_anew { anew } else { others };
        }
        let (set, name) = metric.split_once('/').unwrap_or(("", metric));
        let shown = set_of(set, Some(setting)).unwrap_or(set);
        let title = format!("{shown}: {}", metric::title(name));
        let role = if shown == set { String::new() } else { format!(" ({set} data)") };
        Panel { title: title + &role, height: 250.0, lines, ..Panel::default() }
    };
    Figure {
        name: format!("curves{ending}"),
        title: "In the course of training".into(),
        description: "The sweep's metrics against the amount of training, one panel each.".into(),
        x: Axis { label: unit(results).into(), format: Format::Count, ..Axis::default() },
        panels: results.sweep.metrics.iter().map(panel).collect(),
        names: Names::Margin,
        ..Figure::default()
    }
}

/// Whether a variant begins from fresh weights where others branch from a base.
fn begins_anew(results: &Results, variant: usize) -> bool {
    let set = &results.chosen.variants[variant].set;
    set.iter()
        .any(|item| item.split_once('=').is_some_and(|(key, value)| key == "clocks.weights" && value.contains("reset")))
}

/// Whether the first third of the lines takes most of the axis: then the rest decides how far it reaches, and the beginnings are
/// cut at the frame with a note.
fn squeezed(lines: Vec<&Line>) -> bool {
    let room = |from: fn(usize) -> usize| {
        let values = lines.iter().flat_map(|line| &line.points[from(line.points.len())..]).map(|point| point.y);
        let ends = values.filter(|y| y.is_finite());
        let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(y), h.max(y)));
        high - low
    };
    let late = room(|n| n / 3);
    late > 0.0 && room(|_| 0) > 3.0 * late
}

fn unit(results: &Results) -> &'static str {
    results.measured.first().map_or("tokens", |run| run.unit)
}

/// The perplexity plane of old against new, where both losses are there.
fn plane(results: &Results, setting: &Setting, variants: &[(usize, &str)], ending: &str) -> Option<Figure> {
    let (old, new) = (setting.old.as_ref()?, setting.new.as_ref()?);
    let lines = variants.iter().enumerate().map(|(n, (index, name))| {
        let ways = [course(results, *index, "old/loss"), course(results, *index, "new/loss")];
        let points = ways[0].iter().zip(&ways[1]).map(|(old, new)| {
            let tip = format!("{name}, {} tokens", count(old.0));
            Point { x: old.1.exp(), y: new.1.exp(), tip: Some(tip) }
        });
        Line { name: (*name).to_owned(), style: n + 1, points: points.collect(), marks: Marks::Way, ..Line::default() }
    });
    let lines: Vec<Line> = lines.filter(|line| !line.points.is_empty()).collect();
    let axis = |set: &str, role: &str| Axis {
        label: format!("{set} ({role} data): perplexity  ← better"),
        kind: Kind::Log,
        ..Axis::default()
    };
    (!lines.is_empty()).then(|| Figure {
        name: format!("plane{ending}"),
        title: format!("Perplexity on {old} (old data) against {new} (new data)"),
        description: "Every variant's way from its first evaluation to its last; better is down and to the left."
            .into(),
        x: axis(old, "old"),
        panels: vec![Panel { height: 480.0, y: axis(new, "new"), lines, ..Panel::default() }],
        names: Names::Inside,
        ..Figure::default()
    })
}
