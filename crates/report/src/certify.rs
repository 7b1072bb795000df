//! From runs of image classifiers to figures: the three errors with the radius beneath, the losses, and the layers.

use temper_base::numbers;
use temper_base::numbers::digits;
use temper_record::event::Values;
use temper_record::metric::{
    self, ACTIVE, CERTIFIED_ERROR, EPS, IMAGES, INACTIVE, Metric, PGD_ERROR, PGD_IMAGES, Place, UNSTABLE, WIDTH,
};

use crate::chart::{Axis, Figure, Line, Marks, Names, Panel, Point, Reach};
use crate::errors::best_checkpoint;
use crate::figures::{averaged, bands, few_marks, point_tip, reach_of, scheduled, styled_line, x_axis};
use crate::grid::{Cell, Grid, Row, Shares};
use crate::options::{Placed, ReportOptions};
use crate::scale::Kind;
use crate::text::{Format, metric_unit};

const STATES: [&str; 3] = [ACTIVE, UNSTABLE, INACTIVE];

/// A metric of the evaluations on one set.
fn evaluated(p: &Placed, set: &str, metric: &str) -> Vec<Point> {
    let name = metric::title(metric);
    let points = p.run.evals(set).iter().filter_map(|e| {
        let y = e.values.get(metric)?;
        let tip = point_tip(p, e.step, e.tokens, &format!("{set}: {name}"), digits(y, 5));
        Some(Point { x: p.x_of_step(e.step), y, tip: Some(tip) })
    });
    points.collect()
}

/// Its line, with a ring at the best checkpoint if that is wanted.
fn error_line(placed: &[Placed], p: &Placed, set: &str, metric: &str, ringed: bool) -> Option<Line> {
    let points = evaluated(p, set, metric);
    let value = if p.faint { String::new() } else { metric::line(metric, points.last()?.y) };
    let best = best_checkpoint(p.run).filter(|_| ringed && !p.faint);
    let ring = best.and_then(|best| {
        let of_metric = p.run.evals(set).iter().filter(|e| e.values.get(metric).is_some());
        of_metric.map(|e| e.step).position(|step| step == best.step)
    });
    Some(Line { points, value, ring, marks: Marks::All, reach: reach_of(placed, p), ..styled_line(p) })
}

/// How many images of the set were attacked, if it was only a part of them.
pub(crate) fn part_attacked(values: &Values) -> Option<u64> {
    let attacked = values.get(PGD_IMAGES)?;
    (values.get(IMAGES).is_none_or(|images| attacked < images)).then_some(attacked as u64)
}

/// The errors of every run, one panel each, or all in one panel if there is one run only. Beneath, on the same axis, the
/// radius and the weight of the regularisers.
pub(crate) fn errors(placed: &[Placed], set: &str, options: &ReportOptions) -> Figure {
    let alone = placed.iter().filter(|p| !p.faint).count() == 1;
    let y = Axis { kind: Kind::Log, ..Axis::default() };
    let attacked = placed.iter().flat_map(|p| p.run.evals(set)).find_map(|e| part_attacked(&e.values));
    let attacked = attacked.map_or(String::new(), |images| format!("scaled from the first {images} images"));
    let mut panels: Vec<Panel> = Vec::new();
    if alone {
        let target = metric::shown(Place::Errors).map(|metric| (metric, true));
        let current = metric::shown(Place::CurrentErrors).map(|metric| (metric, false));
        let lines = target.chain(current).enumerate().flat_map(|(n, (metric, target))| {
            let subjects = placed.iter().filter(|p| !p.faint);
            subjects.filter_map(move |p| {
                let line = error_line(placed, p, set, metric.name, metric.name == CERTIFIED_ERROR)?;
                let name = metric.short.to_owned() + if target { "" } else { ", current ε" };
                let value = if target { line.value.clone() } else { String::new() };
                let marks = if target { Marks::All } else { Marks::None };
                Some(Line { name, style: n + 1, value, marks, ..line })
            })
        });
        panels.push(Panel {
            title: if attacked.is_empty() {
                format!("{set}: errors at the target epsilon, %")
            } else {
                format!("{set}: errors at the target epsilon, % (PGD: {attacked})")
            },
            height: 330.0,
            lines: lines.collect(),
            y: y.clone(),
            ..Panel::default()
        });
    } else {
        for metric in metric::shown(Place::Errors).chain(metric::shown(Place::CurrentErrors)) {
            let Metric { name, heading, unit, .. } = *metric;
            let title = if name == PGD_ERROR && !attacked.is_empty() {
                format!("{set}: {heading}, {unit} ({attacked})")
            } else {
                format!("{set}: {heading}, {unit}")
            };
            let ringed = name == CERTIFIED_ERROR;
            let lines = placed.iter().filter_map(|p| error_line(placed, p, set, name, ringed));
            panels.push(Panel { title, height: 200.0, lines: lines.collect(), y: y.clone(), ..Panel::default() });
        }
    }
    let mut judged: Vec<String> =
        placed.iter().filter_map(|p| Some(best_checkpoint(p.run)?.set)).filter(|s| s != set).collect();
    judged.sort_unstable();
    judged.dedup();
    for judged in judged {
        let lines = placed.iter().filter_map(|p| error_line(placed, p, &judged, CERTIFIED_ERROR, true));
        panels.push(Panel {
            title: format!("{judged}: certified error at the target epsilon, % (chooses the best checkpoint)"),
            height: 150.0,
            lines: lines.collect(),
            y: y.clone(),
            ..Panel::default()
        });
    }
    panels.retain(|panel| panel.lines.iter().any(|line| !line.faint && !line.points.is_empty()));
    let first = panels.len();
    panels.extend(metric::shown(Place::BeneathErrors).filter_map(|metric| scheduled(placed, metric.name)));
    for (n, panel) in panels.iter_mut().enumerate() {
        if n >= first {
            panel.height = 100.0;
        }
        if alone && n >= usize::from(first > 0) {
            // The one run needs no name here, and no style that the panel above gives to an error.
            panel.lines.iter_mut().filter(|l| !l.faint).for_each(|line| {
                (line.name, line.style, line.marks) = (String::new(), 0, Marks::None);
            });
        }
    }
    let (bands, remark) = bands(placed);
    Figure {
        name: "errors".to_owned(),
        title: format!("Errors on {set}"),
        description: format!(
            "Standard, PGD and certified error on {set} against the images trained on, in per cent on a logarithmic axis; the \
             schedule beneath."
        ),
        x: x_axis(placed, options),
        panels,
        bands,
        remark,
        names: Names::Margin,
        narrow: false,
    }
}

/// Losses, regularisers, learning rate and gradient norm of the updates.
pub(crate) fn losses(placed: &[Placed], options: &ReportOptions) -> Option<Figure> {
    let log = || Axis { kind: Kind::Log, ..Axis::default() };
    let loss = |metric: &Metric| {
        let title = metric.heading.to_owned() + &metric_unit(metric.name);
        averaged(placed, metric.name, log()).map(|panel| Panel { title, ..panel })
    };
    let regulariser = |metric: &Metric| averaged(placed, metric.name, Axis::default()).map(from_zero);
    let beneath = |metric: &Metric| {
        if metric.of_the_last { scheduled(placed, metric.name) } else { averaged(placed, metric.name, log()) }
    };
    let mut panels: Vec<Panel> = metric::shown(Place::Losses)
        .filter_map(loss)
        .chain(metric::shown(Place::Regularisers).filter_map(regulariser))
        .chain(metric::shown(Place::BeneathLosses).filter_map(beneath))
        .collect();
    for panel in panels.iter_mut().skip(2) {
        panel.height = 125.0;
    }
    let (bands, remark) = bands(placed);
    (!panels.is_empty()).then(|| Figure {
        name: "losses".to_owned(),
        title: "Losses and regularisers".to_owned(),
        description:
            "Losses, regularisers, learning rate and gradient norm of the updates, each point the mean of a short \
                      stretch."
                .to_owned(),
        x: x_axis(placed, options),
        panels,
        bands,
        remark,
        names: Names::Margin,
        narrow: false,
    })
}

/// The panel with a vertical axis that begins at 0.
fn from_zero(panel: Panel) -> Panel {
    let values = panel.lines.iter().filter(|l| !l.faint).flat_map(|l| &l.points).map(|p| p.y);
    let top = values.filter(|y| y.is_finite()).fold(0.0, f64::max);
    Panel { y: Axis { range: Some((0.0, top)), ..panel.y }, ..panel }
}

/// The ReLU layers of a run, in the order of the network.
fn layers(p: &Placed, set: &str) -> Vec<String> {
    let last = p.run.evals(set).last();
    last.iter()
        .flat_map(|e| e.values.iter())
        .filter_map(|(name, _)| Some(name.strip_prefix(WIDTH)?.strip_prefix('.')?.to_owned()))
        .collect()
}

/// The layers: for every run the states of its ReLUs, and for all runs the widths of the bounds; one grid for all runs whose
/// layers have the same names.
pub(crate) fn layer_grids(placed: &[Placed], set: &str, options: &ReportOptions) -> Vec<Grid> {
    let mut groups: Vec<(Vec<String>, Vec<&Placed>)> = Vec::new();
    for p in placed.iter().filter(|p| !p.faint) {
        let layers = layers(p, set);
        match groups.iter_mut().find(|(others, _)| *others == layers) {
            _ if layers.is_empty() => {}
            Some((_, members)) => members.push(p),
            None => groups.push((layers, vec![p])),
        }
    }
    let several = groups.len() > 1;
    let grids = groups.into_iter().enumerate().map(|(n, (layers, members))| {
        let mut grid = layer_grid(placed, &members, &layers, set, options);
        if n > 0 {
            grid.name = format!("layers-{}", n + 1);
        }
        if several {
            let names: Vec<&str> = members.iter().map(|p| p.name.as_str()).collect();
            grid.title = format!("{} of {}", grid.title, names.join(", "));
        }
        grid
    });
    grids.collect()
}

fn layer_grid(placed: &[Placed], members: &[&Placed], layers: &[String], set: &str, options: &ReportOptions) -> Grid {
    let mut rows: Vec<Row> = members
        .iter()
        .map(|p| Row {
            title: format!("{}: states of the ReLUs", p.name),
            height: if members.len() > 3 { 64.0 } else { 84.0 },
            cells: layers.iter().map(|layer| states(p, set, layer)).collect(),
            y: Axis::default(),
        })
        .collect();
    rows.push(Row {
        title: "mean width u − l of the bounds before the ReLU (logarithmic)".to_owned(),
        height: 190.0,
        cells: layers.iter().map(|layer| widths(placed, members, set, layer)).collect(),
        y: Axis { kind: Kind::Log, ..Axis::default() },
    });
    let x = x_axis(placed, options);
    let first = members.iter().map(|p| p.span().0).fold(f64::INFINITY, f64::min);
    let x = Axis { range: x.range.map(|(low, high)| (low.max(first), high)), format: Format::Count, ..x };
    let eps = members.iter().find_map(|p| p.run.evals(set).last()?.values.get(EPS));
    let eps =
        eps.filter(|eps| members.iter().all(|p| p.run.evals(set).last().and_then(|e| e.values.get(EPS)) == Some(*eps)));
    let eps = eps.map_or(String::new(), |eps| format!(" ({})", metric::cell(EPS, eps)));
    Grid {
        name: "layers".to_owned(),
        title: "ReLUs and widths of the bounds by layer".to_owned(),
        description: format!(
            "From left to right the ReLU layers, evaluated on {set} in the box of the target epsilon{eps}. A ReLU is active if it is \
             certain to pass its input, inactive if it is certain to give 0, unstable if the box leaves it open."
        ),
        columns: layers.to_vec(),
        rows,
        x,
        bands: bands(placed).0,
        areas: STATES.map(str::to_owned).to_vec(),
    }
}

/// The states of one layer of one run.
fn states(p: &Placed, set: &str, layer: &str) -> Cell {
    let share = |e: &temper_record::EvalPoint, state: &str| e.values.get(&format!("{state}.{layer}"));
    let points: Vec<Shares> = p
        .run
        .evals(set)
        .iter()
        .filter_map(|e| {
            let shares = [share(e, STATES[0])?, share(e, STATES[1])?, share(e, STATES[2])?];
            let states: Vec<String> =
                STATES.iter().zip(shares).map(|(state, share)| format!("{state} {:.1} %", 100.0 * share)).collect();
            let tip = format!(
                "{}, {layer}, step {} ({} images)\n{}",
                p.name,
                e.step,
                numbers::count(e.tokens as f64),
                states.join("\n")
            );
            Some(Shares { x: p.x_of_step(e.step), shares, tip })
        })
        .collect();
    let note = points.last().map_or("not recorded".to_owned(), |p| format!("{:.0} % unstable", 100.0 * p.shares[1]));
    Cell::Shares { points, note }
}

/// The widths of one layer of every run.
fn widths(placed: &[Placed], members: &[&Placed], set: &str, layer: &str) -> Cell {
    let metric = format!("{WIDTH}.{layer}");
    let lines = members.iter().filter_map(|p| {
        let points: Vec<Point> = p
            .run
            .evals(set)
            .iter()
            .filter_map(|e| {
                // Bounds can overflow; an infinite width has no place.
                let y = e.values.get(&metric)?;
                let tip = point_tip(p, e.step, e.tokens, &format!("{layer}: mean width"), digits(y, 5));
                Some(Point { x: p.x_of_step(e.step), y, tip: Some(tip) })
            })
            .collect();
        let value = digits(points.last()?.y, 3);
        let reach = if reach_of(placed, p) == Reach::Tail { Reach::Tail } else { Reach::All };
        Some(Line { points, value, reach, marks: few_marks(p), ..styled_line(p) })
    });
    Cell::Lines(lines.collect())
}
