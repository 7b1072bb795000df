//! `temper sweep --dry-run`: the tree of runs, or the networks to draw, with what they cost.

use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use temper_base::numbers::{count, duration};
use temper_base::{Listener, Problem};
use temper_certify as certify;
use temper_certify::spec::CertifySpec;
use temper_report::Table;
use temper_sweep::cost::Cost;
use temper_sweep::store::{State, state};
use temper_sweep::tree::{self, Parent, Tree};
use temper_sweep::{Chosen, Sweep};
use temper_train::machine;

use crate::args;
use crate::printer::Printer;
use crate::problems::Outcome;

/// The tree, what it shares, and what it takes.
pub fn runs(args: &args::Sweep, sweep: &Sweep, chosen: &Chosen, tree: &Tree, costs: &[Cost], printer: &Printer) {
    let left: Vec<Cost> = tree
        .nodes
        .iter()
        .zip(costs)
        .filter_map(|(node, cost)| match state(&node.path) {
            State::Done => None,
            State::Partial(step) => Some(cost.remaining_after(step)),
            State::Begun | State::Absent => Some(cost.clone()),
        })
        .collect();
    let total = |of: &dyn Fn(&Cost) -> u64| left.iter().map(of).sum::<u64>();
    let seconds: Option<f64> = left.iter().map(|cost| cost.seconds).sum();
    let memory = costs.iter().map(|cost| cost.memory).max().unwrap_or(0);
    if args.json {
        return printer
            .data(serde_json::to_string_pretty(&plan_json(sweep, chosen, tree, costs, seconds)).expect("plain data"));
    }
    let mut table = Table::new().text_column("run").number_column("", "updates");
    for name in ["trained on", "time", "memory", "disk"] {
        table = table.number_column("", name);
    }
    table = table.text_column("state");
    let first = tree.nodes.first().map(|node| node.seed).unwrap_or(1);
    let mut line = |name: String, index: usize, state: String| {
        let cost = &costs[index];
        table.row([
            name,
            cost.steps.to_string(),
            format!("{} {}", count(cost.amount as f64), cost.unit),
            cost.seconds.map_or("–".into(), duration),
            format!("{}B", count(cost.memory as f64)),
            format!("{}B", count(cost.disk as f64)),
            state,
        ]);
    };
    let standing = |index: usize| match state(&tree.nodes[index].path) {
        State::Done => "done".to_owned(),
        State::Partial(step) => format!("resumes after step {step}"),
        State::Begun | State::Absent => "to do".to_owned(),
    };
    let mut shown = Vec::new();
    for (index, node) in tree.nodes.iter().enumerate().filter(|(_, node)| node.seed == first && node.label == "base") {
        line(format!("base: {}", node.source), index, standing(index));
        shown.push(index);
    }
    for row in tree.rows.iter().filter(|row| row.seed == first) {
        let (variant, node) = (&chosen.variants[row.variant], &tree.nodes[row.node]);
        let place = if variant.setting.is_empty() { String::new() } else { format!("{}: ", variant.setting) };
        let from = match &node.parent {
            None => "",
            Some((Parent::Node(_) | Parent::Run(_), _)) => "└ ",
        };
        let at = match &node.parent {
            Some((_, tree::Point::Step(step))) => format!(" from @{step}"),
            Some((_, tree::Point::Best)) => " from @best".to_owned(),
            _ => String::new(),
        };
        let same = shown.contains(&row.node);
        let standing = if same { format!("the same run as {}", node.label) } else { standing(row.node) };
        line(format!("{from}{place}{}{at}", variant.name), row.node, standing);
        shown.push(row.node);
    }
    printer.data(format_args!("{}\n{}\n", sweep.title, sweep.source));
    printer.data(table.to_text());
    let seeds = tree.rows.iter().map(|row| row.seed).max().unwrap_or(1);
    let free = machine::free_disk(existing(&args.out));
    printer.data(format_args!(
        "{} seeds of this: {} runs, {} to do; {} updates, {}; {} one at a time; {}B of memory a run; {}B of disk{}",
        seeds,
        tree.nodes.len(),
        left.len(),
        total(&|cost| cost.steps),
        amounts(&left),
        seconds.map_or("time not measured".into(), duration),
        count(memory as f64),
        count(total(&|cost| cost.disk) as f64),
        free.map_or(String::new(), |free| format!(", {}B are free", count(free as f64))),
    ));
    if free.is_some_and(|free| total(&|cost| cost.disk) > free) {
        printer
            .warn("this does not fit on the disk", Some("another folder with --out, fewer --seeds, or a smaller size"));
    }
    printer.warnings(&tree.texts.missing);
}

fn amounts(left: &[Cost]) -> String {
    let of = |unit: &str| -> u64 { left.iter().filter(|cost| cost.unit == unit).map(|cost| cost.amount).sum() };
    let parts = ["tokens", "images"].map(|unit| (of(unit), unit));
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{} {unit}", count(*n as f64))).collect();
    if parts.is_empty() { "nothing".into() } else { parts.join(" and ") }
}

/// The nearest folder that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."))
}

fn plan_json(sweep: &Sweep, chosen: &Chosen, tree: &Tree, costs: &[Cost], seconds: Option<f64>) -> Value {
    let nodes = tree.nodes.iter().zip(costs).map(|(node, cost)| {
        let (standing, step) = match state(&node.path) {
            State::Done => ("done", cost.steps),
            State::Partial(step) => ("partial", step),
            State::Begun | State::Absent => ("to-do", 0),
        };
        json!({
            "run": node.path.display().to_string(), "label": node.label, "seed": node.seed, "recipe": node.source,
            "overrides": node.overrides, "from": node.parent_name(tree), "state": standing, "step": step,
            "steps": cost.steps, cost.unit: cost.amount, "parameters": cost.parameters, "flops": cost.flops,
            "seconds": cost.seconds, "memory_bytes": cost.memory, "disk_bytes": cost.disk,
        })
    });
    let rows = tree.rows.iter().map(|row| {
        let variant = &chosen.variants[row.variant];
        json!({
            "setting": variant.setting, "variant": variant.name, "seed": row.seed,
            "run": tree.nodes[row.node].path.display().to_string(),
        })
    });
    json!({
        "sweep": sweep.name, "size": chosen.size.name, "seconds_to_do": seconds,
        "runs": nodes.collect::<Vec<_>>(), "variants": rows.collect::<Vec<_>>(),
        "missing": tree.texts.missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// A sweep that draws networks and trains none.
pub fn networks(
    args: &args::Sweep,
    sweep: &Sweep,
    chosen: &Chosen,
    recipes: &[(usize, u64, CertifySpec)],
    missing: &[Problem],
    device: &Device,
    printer: &Printer,
) -> Outcome {
    let mut table = Table::new().text_column("network").number_column("", "parameters").number_column("", "to draw");
    table = table.text_column("first weights");
    for setting in &chosen.size.settings {
        let of = |index: &usize| chosen.variants[*index].setting == setting.name;
        let here: Vec<&(usize, u64, CertifySpec)> = recipes.iter().filter(|(index, ..)| of(index)).collect();
        let Some((_, first, spec)) = here.first() else { continue };
        let mut recipe = spec.run.recipe.clone();
        let parameters = certify::plan::resolve(&mut recipe, None, device, &mut Vec::new())?.config.parameters();
        let names: Vec<&str> = here
            .iter()
            .filter(|(_, seed, _)| seed == first)
            .map(|(index, ..)| chosen.variants[*index].name.as_str())
            .collect();
        table.row([setting.name.clone(), count(parameters as f64), here.len().to_string(), names.join(", ")]);
    }
    if args.json {
        let networks = recipes.iter().map(|(index, seed, _)| {
            let variant = &chosen.variants[*index];
            json!({ "setting": variant.setting, "variant": variant.name, "seed": seed, "recipe": variant.recipe })
        });
        printer.data(
            serde_json::to_string_pretty(&json!({
                "sweep": sweep.name, "size": chosen.size.name, "networks": networks.collect::<Vec<_>>(),
                "missing": missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }))
            .expect("plain data"),
        );
        return Ok(0);
    }
    printer.data(format_args!("{}\n{}\n", sweep.title, sweep.source));
    printer.data(table.to_text());
    printer.data(format_args!(
        "{} networks to draw and measure, one at a time, in memory; the sweep trains nothing and keeps no run",
        recipes.len()
    ));
    printer.warnings(missing);
    Ok(0)
}
