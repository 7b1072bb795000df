//! The page: one HTML file with everything in it. It loads nothing, runs no script and works from a disk.

use temper_base::Result;
use temper_record::RunSeries;
use temper_record::metric::{self, BITS_PER_BYTE, LOSS};

use crate::chart::{Figure, Line, Marks};
use crate::errors::{errors_table, notes};
use crate::grid::Grid;
use crate::options::{ReportOptions, sets};
use crate::report::{Drawn, Part};
use crate::stages::stage_table;
use crate::summary::{change_table, facts_table, last_evaluated, machines, sentence};
use crate::svg::dashes;
use crate::text::escape;
use crate::theme::{STYLES, figure_css, marker, page_css};

pub(crate) fn page(runs: &[RunSeries], parts: &[Part], options: &ReportOptions) -> Result<String> {
    let mut body = format!("<h1>{}</h1>", escape(&options.title));
    // With several parts, each tells what happened in it.
    let whole = if parts.len() == 1 { sentence(runs, options) } else { None };
    if let Some(summary) = options.summary.clone().or(whole) {
        body += &format!("<p class=\"lead\">{}</p>", escape(&summary));
    }
    for part in parts {
        let certify = part.runs.iter().any(RunSeries::is_certify);
        let level = if parts.len() > 1 { "h3" } else { "h2" };
        if parts.len() > 1 {
            let name = if certify { "Certified training" } else { "Language models" };
            body += &format!("<h2 class=\"part\">{name}</h2>");
            if let Some(sentence) = sentence(part.runs, options) {
                body += &format!("<p class=\"lead\">{}</p>", escape(&sentence));
            }
        }
        let heading = |text: &str| format!("<{level}>{}</{level}>", escape(text));
        body += &part.figures.iter().map(|figure| heading(&figure.title) + &drawn(figure)).collect::<String>();
        if certify {
            body += &heading("Errors at the end and at the best checkpoint");
            body += &errors_table(part.runs, options).to_html();
            body += &notes(part.runs, options).iter().map(|note| soft(note)).collect::<String>();
            for extra in &options.extra {
                body += &(heading(&extra.heading) + &extra.table.to_html() + &soft(&extra.note));
            }
        } else {
            if let Some(table) = stage_table(part.runs, options)? {
                body += &heading("Every corpus after every stage");
                body += &table.to_html();
                body += &soft(
                    "The stages are runs, each of which continues the one before. Start is the first evaluation of the first, before its first update.",
                );
            }
            body += &heading("Start, peak, final and change");
            body += &change_table(part.runs, options)?.to_html();
            body += &soft(&definitions(options));
            body += &part.runs.iter().filter_map(late).map(|note| soft(&note)).collect::<String>();
            body += &without_bits(part.runs, options)?.map_or(String::new(), |note| soft(&note));
            let left_out = sets(part.runs, options)?.left_out;
            if left_out > 0 {
                body += &soft(&format!(
                    "Of the validation sets, those are shown whose {} moved most; {left_out} more are in evals.csv of every run.",
                    metric::title(&options.metric)
                ));
            }
        }
        body += &heading("Runs");
        body += &facts_table(part.runs, options).to_html();
        body += &part.runs.iter().filter(|run| run.merged > 1).map(|run| soft(&merged(run))).collect::<String>();
    }
    body += &machines(runs, options).iter().map(|machine| soft(machine)).collect::<String>();
    let warnings: Vec<String> = runs
        .iter()
        .flat_map(|r| r.warnings.iter().map(|w| format!("<li>{}: {}</li>", escape(&r.name), escape(w))))
        .collect();
    if !warnings.is_empty() {
        body += &format!("<h2>Warnings</h2><ul>{}</ul>", warnings.concat());
    }
    let version = runs.first().map_or("", |r| r.info.version.as_str());
    Ok(document(&options.title, &body, version))
}

/// A complete page around a body that is HTML already. It loads nothing.
pub fn document(title: &str, body: &str, version: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title><style>{}{}</style></head>\n<body><main>{body}\
         <footer>Written by Temper {}. Rest the pointer on a point for its numbers. This page loads nothing from anywhere.</footer>\
         </main></body></html>\n",
        escape(title),
        page_css(),
        figure_css(),
        escape(version),
    )
}

fn drawn(figure: &Drawn) -> String {
    format!("<figure>{}{}<figcaption>{}</figcaption></figure>", figure.keys, figure.svg[0], escape(&figure.caption))
}

/// The names of a figure's lines with their strokes. On a narrow screen the right margin, where they stand, is out of sight.
pub fn keys(figure: &Figure) -> String {
    let mut names: Vec<&Line> = Vec::new();
    for line in figure.panels.iter().flat_map(|panel| &panel.lines).filter(|line| !line.faint && !line.name.is_empty())
    {
        if !names.iter().any(|other| other.name == line.name) {
            names.push(line);
        }
    }
    if names.len() < 2 {
        return String::new();
    }
    let key = |line: &Line| {
        let style = line.style % STYLES;
        let mut stroke = format!("<path class=\"curve s{style}\" {}d=\"M1 6H31\"/>", dashes(line));
        if line.marks != Marks::None {
            stroke +=
                &format!("<path class=\"f{style}\" transform=\"translate(16 6)\" d=\"{}\"/>", marker(line.style, 4.2));
        }
        format!(
            "<span><svg class=\"fig\" viewBox=\"0 0 32 12\" aria-hidden=\"true\">{stroke}</svg>{}</span> ",
            escape(&line.name)
        )
    };
    format!("<p class=\"keys\">{}</p>", names.into_iter().map(key).collect::<String>())
}

/// The sets of which no bits per byte are known though their loss is, and why that can be.
fn without_bits(runs: &[RunSeries], options: &ReportOptions) -> Result<Option<String>> {
    if !options.table.iter().any(|metric| metric == BITS_PER_BYTE) {
        return Ok(None);
    }
    let last =
        |run: &RunSeries, set: &str, metric: &str| run.evals(set).last().and_then(|point| point.values.get(metric));
    let lacks = |run: &RunSeries, set: &str| last(run, set, LOSS).is_some() && last(run, set, BITS_PER_BYTE).is_none();
    let names = sets(runs, options)?.names;
    let names: Vec<&str> =
        names.iter().map(String::as_str).filter(|set| runs.iter().any(|run| lacks(run, set))).collect();
    Ok((!names.is_empty()).then(|| {
        format!(
            "There are no bits per byte of {}, nor of averages over it: the tokenizer lost a part of its text, or the bytes \
             behind the tokens are not known. Losses per token do not compare across tokenizers.",
            names.join(", ")
        )
    }))
}

/// That the last evaluation of a run is not of its end.
fn late(run: &RunSeries) -> Option<String> {
    let (at, last) = last_evaluated(run)?;
    Some(format!(
        "{} was trained to step {last}; its final values are those of step {at}, its last evaluation.",
        run.name
    ))
}

/// What the figures show of a run that is too long to show every update.
fn merged(run: &RunSeries) -> String {
    format!(
        "{} is long: in the figures a point stands for {} updates, with the mean of their losses, norms and speeds and the last of \
         their rates. metrics.jsonl has every update.",
        run.name, run.merged
    )
}

fn soft(text: &str) -> String {
    format!("<p class=\"soft\">{}</p>", escape(text))
}

fn definitions(options: &ReportOptions) -> String {
    let mut text = String::from(
        "Start is the evaluation before the first update, peak the highest value seen, final the last evaluation, change final minus start.",
    );
    for definition in options.table.iter().map(|name| metric::named(name).definition).filter(|words| !words.is_empty())
    {
        text += &format!(" {definition}");
    }
    text
}

/// What to say under the figures.
pub(crate) fn caption(figure: &Figure, options: &ReportOptions) -> String {
    match figure.name.as_str() {
        "curves" => {
            let context = if figure.panels.iter().flat_map(|p| &p.lines).any(|l| l.faint) {
                " Left of 0, faintly: the end of the run the others began from."
            } else {
                ""
            };
            let cut = " Curves that begin far above are cut at the frame; a note gives their first value, ↑ one that stays above.";
            let cut = if figure.panels.iter().flat_map(|p| &p.lines).any(|l| l.reach == crate::chart::Reach::Tail) {
                cut
            } else {
                ""
            };
            format!(
                "Validation {} by data set, every point one evaluation; the schedule beneath on the same axis.{context}{cut}",
                metric::title(&options.metric)
            )
        }
        "plane" => {
            let cut = figure.panels.iter().flat_map(|p| &p.lines).any(|l| l.reach == crate::chart::Reach::Tail);
            let cut = if cut {
                " Beside a name, → or ↑ gives the value at which a way ends beyond the frame."
            } else {
                ""
            };
            format!(
                "Each way leads from the hollow mark (first evaluation) along the arrows to the filled one (last evaluation). \
                 Down is better on the new data, left on the old. Both axes are logarithmic.{cut}"
            )
        }
        "errors" => {
            let ring = figure.panels.iter().flat_map(|p| &p.lines).any(|l| l.ring.is_some());
            let ring = if ring { " The ring is around the best checkpoint." } else { "" };
            format!(
                "Every point one evaluation; per cent on a logarithmic axis, where there are no zeros. Beneath, the radius epsilon \
                 of the updates, and λ where the regularisers act.{ring}"
            )
        }
        _ => figure.description.clone(),
    }
}

/// What to say under small multiples.
pub(crate) fn grid_caption(grid: &Grid) -> String {
    let bounds: Vec<&str> = grid.bands.iter().map(|band| band.name.as_str()).collect();
    let bounds = match bounds.len() {
        0 | 1 => String::new(),
        _ => format!(" Vertical lines part the phases: {}.", bounds.join(", ")),
    };
    format!("{}{bounds}", grid.description)
}
