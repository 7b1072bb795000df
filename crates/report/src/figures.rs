//! From runs to figures: curves by validation set with the schedule beneath, the plane of old against new data (figures 4
//! and 6 of arXiv 2308.04014), and the training itself.

use temper_base::numbers;
use temper_record::metric::{self, Better, Style};

use crate::chart::{Axis, Band, Figure, Line, Marks, Names, Panel, Point, Reach};
use crate::options::{Placed, ReportOptions, Sets, XAxis, counted};
use crate::scale::Kind;
use crate::stages;
use crate::text::{Format, capital, metric_unit};

/// How much of the run before a branch is shown, as a fraction of what comes after it.
const CONTEXT: f64 = 0.22;
/// Noisy curves of updates are averaged over this many stretches.
const STRETCHES: usize = 120;

pub(crate) fn x_axis(placed: &[Placed], options: &ReportOptions) -> Axis {
    let faint = placed.iter().any(|p| p.faint);
    let what = match &options.x {
        XAxis::Tokens => placed.first().map_or("tokens", |p| counted(p.run)).to_owned(),
        XAxis::Steps => "updates".to_owned(),
        XAxis::Metric(name) => metric::title(name),
    };
    let subject = placed.iter().filter(|p| !p.faint || placed.iter().all(|p| p.faint));
    let (low, high) = subject.map(Placed::span).fold((0.0_f64, 0.0_f64), |r, s| (r.0.min(s.0), r.1.max(s.1)));
    let before = placed.iter().map(|p| p.span().0).fold(low, f64::min);
    Axis {
        label: if faint { format!("{what} since the branch") } else { what },
        format: Format::Count,
        range: Some((if faint { before.max(-CONTEXT * high) } else { low }, high)),
        ..Axis::default()
    }
}

pub(crate) fn point_tip(placed: &Placed, step: u64, tokens: u64, what: &str, value: String) -> String {
    format!("{}, step {step} ({} {})\n{what} {value}", placed.name, numbers::count(tokens as f64), counted(placed.run))
}

/// What the axes follow: everything, except where runs from random weights stand beside continued ones.
pub(crate) fn reach_of(placed: &[Placed], p: &Placed) -> Reach {
    match () {
        _ if p.faint => Reach::Last,
        _ if !p.continued && placed.iter().any(|q| q.continued) => Reach::Tail,
        _ => Reach::All,
    }
}

/// Curves of every validation set, one panel each, and the schedule beneath on the same axis.
pub(crate) fn curves(placed: &[Placed], sets: &Sets, options: &ReportOptions) -> Figure {
    let mut panels = Vec::new();
    for set in &sets.names {
        let what = format!("{set}: {}{}", metric::title(&options.metric), metric_unit(&options.metric));
        let role = match () {
            _ if sets.old.as_ref() == Some(set) && sets.new.is_some() => " on the old data",
            _ if sets.new.as_ref() == Some(set) && sets.old.is_some() => " on the new data",
            _ => "",
        };
        let lines = placed.iter().filter_map(|p| {
            let points: Vec<Point> = p
                .run
                .evals(set)
                .iter()
                .filter_map(|e| {
                    let y = e.values.get(&options.metric)?;
                    let tip = Some(point_tip(
                        p,
                        e.step,
                        e.tokens,
                        &format!("{set}: {}", metric::title(&options.metric)),
                        metric::cell(&options.metric, y),
                    ));
                    Some(Point { x: p.x_of_step(e.step), y, tip })
                })
                .collect();
            let value = points.last().map(|last| metric::cell(&options.metric, last.y))?;
            let value = if p.faint { String::new() } else { value };
            Some(Line { points, marks: Marks::All, value, reach: reach_of(placed, p), ..styled_line(p) })
        });
        panels.push(Panel { title: what + role, height: 250.0, lines: lines.collect(), ..Panel::default() });
    }
    panels.extend(options.beneath.iter().filter_map(|metric| scheduled(placed, metric)));
    let (bands, remark) = match stages::bands(placed) {
        Some(stages) => (stages, "Bands: one run after the other.".to_owned()),
        None => bands(placed),
    };
    Figure {
        name: "curves".to_owned(),
        title: format!("Validation {} of every run", metric::title(&options.metric)),
        description: format!(
            "{} against the amount of training, one panel for each validation set, the schedule beneath.",
            metric::title(&options.metric)
        ),
        x: x_axis(placed, options),
        panels,
        remark,
        bands,
        names: Names::Margin,
        narrow: false,
    }
}

/// A scheduled quantity, from 0 up, as the updates recorded it. None if no run has it.
pub(crate) fn scheduled(placed: &[Placed], metric: &str) -> Option<Panel> {
    let lines: Vec<Line> = placed
        .iter()
        .filter_map(|p| {
            let steps = p.run.steps.iter();
            let points: Vec<Point> = steps
                .filter_map(|s| Some(Point { x: p.x_of_step(s.step), y: s.values.get(metric)?, tip: None }))
                .collect();
            (!points.is_empty()).then(|| Line {
                points,
                reach: if p.faint { Reach::Nothing } else { Reach::All },
                marks: few_marks(p),
                ..styled_line(p)
            })
        })
        .collect();
    let subjects = || lines.iter().filter(|l| !l.faint);
    subjects().next()?;
    let top = subjects().flat_map(|l| &l.points).map(|p| p.y).filter(|y| y.is_finite()).fold(0.0, f64::max);
    let y = Axis { range: Some((0.0, top)), ..Axis::default() };
    Some(Panel { title: metric::title(metric), height: 130.0, lines, y, ..Panel::default() })
}

/// A metric of the updates, each point the mean of a short stretch. None if no run has it.
pub(crate) fn averaged(placed: &[Placed], metric: &str, y: Axis) -> Option<Panel> {
    let lines: Vec<Line> = placed
        .iter()
        .filter_map(|p| {
            let all: Vec<(f64, f64)> =
                p.run.steps.iter().filter_map(|s| Some((p.x_of_step(s.step), s.values.get(metric)?))).collect();
            let size = all.len().div_ceil(STRETCHES).max(1);
            let mean = |of: fn(&(f64, f64)) -> f64, chunk: &[(f64, f64)]| {
                chunk.iter().map(of).sum::<f64>() / chunk.len() as f64
            };
            let points: Vec<Point> =
                all.chunks(size).map(|c| Point { x: mean(|p| p.0, c), y: mean(|p| p.1, c), tip: None }).collect();
            let value = points.last().map(|last| metric::cell(metric, last.y))?;
            let value = if p.faint { String::new() } else { value };
            Some(Line { points, value, reach: reach_of(placed, p), marks: few_marks(p), ..styled_line(p) })
        })
        .collect();
    let title = metric::title(metric);
    lines.iter().any(|l| !l.faint).then(|| Panel { title, height: 170.0, y, lines, ..Panel::default() })
}

/// Marks of a dense curve.
pub(crate) fn few_marks(p: &Placed) -> Marks {
    if p.faint { Marks::None } else { Marks::Few }
}

pub(crate) fn styled_line(p: &Placed) -> Line {
    Line { name: p.name.clone(), style: p.style, faint: p.faint, ..Line::default() }
}

/// The phases of the first run that has several, and a remark on whose they are unless they are everybody's.
pub(crate) fn bands(placed: &[Placed]) -> (Vec<Band>, String) {
    let of = |p: &Placed| -> Vec<Band> {
        let phases = p.run.phases.iter();
        phases
            .map(|f| Band {
                name: f.name.clone(),
                from: p.x_of_step(f.first_step.saturating_sub(1)),
                to: p.x_of_step(f.last_step),
            })
            .collect()
    };
    let Some(lead) = placed.iter().filter(|p| !p.faint).find(|p| p.run.phases.len() > 1) else {
        return (Vec::new(), String::new());
    };
    let bands = of(lead);
    let room = (lead.span().1 - lead.span().0).abs() * 0.005;
    let same = |p: &&Placed| {
        let other = of(p);
        other.len() == bands.len()
            && other
                .iter()
                .zip(&bands)
                .all(|(a, b)| a.name == b.name && (a.from - b.from).abs() <= room && (a.to - b.to).abs() <= room)
    };
    let owners: Vec<&str> = placed.iter().filter(|p| !p.faint).filter(same).map(|p| p.name.as_str()).collect();
    let all = owners.len() == placed.iter().filter(|p| !p.faint).count();
    let remark = match owners.len() {
        _ if all => String::new(),
        1..4 => format!("Bands: the phases of {}.", owners.join(", ")),
        n => format!("Bands: the phases of {} and {} others.", owners[0], n - 1),
    };
    (bands, remark)
}

/// The way of every run through the plane of old against new data. None without two sets.
pub(crate) fn plane(placed: &[Placed], sets: &Sets, options: &ReportOptions) -> Option<Figure> {
    let (old, new) = (sets.old.as_ref()?, sets.new.as_ref()?);
    let metric = &options.plane;
    let name = metric::title(metric);
    let lines: Vec<Line> = placed
        .iter()
        .filter_map(|p| {
            let there = p.run.evals(new);
            let points: Vec<Point> = p
                .run
                .evals(old)
                .iter()
                .filter_map(|e| {
                    let x = e.values.get(metric)?;
                    let y = there.iter().find(|o| o.step == e.step)?.values.get(metric)?;
                    let tip = format!(
                        "{}, step {} ({} tokens)\n{old}: {name} {}\n{new}: {name} {}",
                        p.name,
                        e.step,
                        numbers::count(e.tokens as f64),
                        metric::cell(metric, x),
                        metric::cell(metric, y)
                    );
                    Some(Point { x, y, tip: Some(tip) })
                })
                .collect();
            let reach = reach_of(placed, p);
            let marks = if p.faint { Marks::None } else { Marks::Way };
            (!points.is_empty()).then(|| Line { points, marks, reach, ..styled_line(p) })
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    // Perplexities differ by factors.
    let axis = |label: String, of: fn(&Point) -> f64| {
        let values = lines.iter().flat_map(|line| &line.points).map(of).filter(|value| value.is_finite());
        let format = if values.fold(0.0, f64::max) >= 1e4 { Format::Each } else { Format::Plain };
        Axis { label, kind: Kind::Log, format, ..Axis::default() }
    };
    let better = match metric::named(metric).better {
        Better::Lower => "  ← better",
        Better::Higher => "  → better",
        Better::Neither => "",
    };
    let x = axis(format!("{old} (old data): {name}{better}"), |point| point.x);
    let y = axis(format!("{new} (new data): {name}{better}"), |point| point.y);
    Some(Figure {
        name: "plane".to_owned(),
        title: capital(&format!("{name} on {old} (old data) against {new} (new data)")),
        description:
            "Every run's way from its first evaluation (hollow) to its last (filled); better is down and to the left."
                .to_owned(),
        x,
        panels: vec![Panel { height: 520.0, y, lines, ..Panel::default() }],
        names: Names::Inside,
        ..Figure::default()
    })
}

/// The training itself: loss, gradient norm and speed of the updates, averaged over short stretches.
pub(crate) fn training(placed: &[Placed], options: &ReportOptions) -> Option<Figure> {
    let panel = |metric: &String| {
        let format = if metric::named(metric).style == Style::Rate { Format::Count } else { Format::Plain };
        let panel = averaged(placed, metric, Axis { format, ..Axis::default() })?;
        Some(Panel { title: format!("{}{}", metric::title(metric), metric_unit(metric)), ..panel })
    };
    let panels: Vec<Panel> = options.training.iter().filter_map(panel).collect();
    (!panels.is_empty()).then(|| Figure {
        name: "training".to_owned(),
        title: "Training".to_owned(),
        description: "Metrics of the updates, each point the mean of a short stretch.".to_owned(),
        x: x_axis(placed, options),
        panels,
        names: Names::Margin,
        ..Figure::default()
    })
}
