//! The page: one HTML file with everything in it. It loads nothing, runs no script and works from a disk.

use temper_record::{Result, RunSeries};

use crate::chart::Figure;
use crate::options::ReportOptions;
use crate::summary::{change_table, facts_table, machines, sentence};
use crate::text::{escape, metric_name};
use crate::theme::{figure_css, page_css};

pub(crate) fn page(runs: &[RunSeries], figures: &[(Figure, String)], options: &ReportOptions) -> Result<String> {
    let mut body = format!("<h1>{}</h1>", escape(&options.title));
    if let Some(summary) = options.summary.clone().or_else(|| sentence(runs, options)) {
        body += &format!("<p class=\"lead\">{}</p>", escape(&summary));
    }
    for (figure, caption) in figures {
        body += &format!("<h2>{}</h2><figure>{}", escape(&figure.title), figure.to_inline_svg());
        body += &format!("<figcaption>{}</figcaption></figure>", escape(caption));
    }
    body += "<h2>Start, peak, final and change</h2>";
    body += &change_table(runs, options)?.to_html();
    body += &format!("<p class=\"soft\">{}</p>", escape(&definitions(options)));
    body += "<h2>Runs</h2>";
    body += &facts_table(runs, options).to_html();
    for machine in machines(runs, options) {
        body += &format!("<p class=\"soft\">{}</p>", escape(&machine));
    }
    let warnings: Vec<String> = runs
        .iter()
        .flat_map(|r| r.warnings.iter().map(|w| format!("<li>{}: {}</li>", escape(&r.name), escape(w))))
        .collect();
    if !warnings.is_empty() {
        body += &format!("<h2>Warnings</h2><ul>{}</ul>", warnings.concat());
    }
    let version = runs.first().map_or("", |r| r.info.version.as_str());
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title><style>{}{}</style></head>\n<body><main>{body}\
         <footer>Written by Temper {}. Rest the pointer on a point for its numbers. This page loads nothing from anywhere.</footer>\
         </main></body></html>\n",
        escape(&options.title),
        page_css(),
        figure_css(),
        escape(version),
    ))
}

fn definitions(options: &ReportOptions) -> String {
    let mut text = String::from(
        "Start is the evaluation before the first update, peak the highest value seen, change final minus start.",
    );
    for metric in &options.table {
        text += match metric.as_str() {
            "loss" => " Loss is the mean negative log-likelihood in nats per token.",
            "perplexity" => " Perplexity is exp(loss).",
            "bits_per_byte" => {
                " Bits per byte is the total loss in bits over the UTF-8 bytes of the text; only it compares across tokenizers."
            }
            _ => "",
        };
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
                metric_name(&options.metric)
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
        _ => figure.description.clone(),
    }
}
