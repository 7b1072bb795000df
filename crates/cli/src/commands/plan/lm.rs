//! `temper plan` of a language model.

use std::fmt::Write;

use serde_json::{Value, json};
use temper::device::Api;
use temper_base::numbers::{count, duration};
use temper_lm::plan::{self, Seconds};
use temper_recipe::Recipe;
use temper_record::metric;
use temper_report::Table;

use super::{share, share_json, share_text, values, values_json};
use crate::args::Plan;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &Plan, recipe: &mut Recipe, printer: &Printer) -> Outcome {
    let mut warnings = Vec::new();
    let mut plan = plan::resolve(recipe, args.from.as_deref(), &mut warnings)?;
    if args.device.device.api != Api::Cpu {
        plan.on_device();
    }
    let share = share(args, recipe, plan.config.parameters())?;
    if let Some(share) = &share {
        plan.memory.gradients = share.gradients;
    }
    // A model that does not fit is not timed.
    if !args.no_calibration && plan.fits_memory() {
        printer.say("timing a few updates of this model on this machine ...");
        plan.measure(&args.device.open(printer)?);
    }
    let (disk, kept, [periodic, best]) = (plan.checkpoint_bytes(), plan.kept, plan.written);
    let written = periodic + best;

    if args.json {
        let phases: Vec<Value> = plan
            .lengths
            .schedule
            .bands(plan.lengths.stop)
            .into_iter()
            .map(|band| {
                json!({
                    "name": band.name.as_str(), "first_step": band.first, "last_step": band.last,
                    "tokens": (band.last - band.first + 1) * plan.lengths.tokens_per_step,
                    "lr_first": band.start, "lr_last": band.end,
                })
            })
            .collect();
        let result = json!({
            "recipe": recipe.name(), "values": values_json(recipe), "steps": plan.lengths.stop, "horizon_steps": plan.lengths.horizon,
            "tokens": plan.lengths.stop * plan.lengths.tokens_per_step, "tokens_per_step": plan.lengths.tokens_per_step,
            "phases": phases, "parameters": plan.config.parameters(),
            "non_embedding_parameters": plan.config.non_embedding_parameters(), "flops": plan.flops,
            "memory_bytes": {
                "weights": plan.memory.weights, "gradients": plan.memory.gradients, "moments": plan.memory.moments,
                "activations": plan.memory.activations, "scratch": plan.memory.scratch, "total": plan.memory.total(),
            },
            "checkpoint_bytes": disk, "checkpoints_kept": plan.kept, "seconds_per_step": plan.seconds.as_ref().map(|s| s.step),
            "seconds": plan.seconds.as_ref().map(Seconds::total), "update_seconds": plan.seconds.as_ref().map(|s| s.updates),
            "evaluation_seconds": plan.seconds.as_ref().map(|s| s.evaluations),
            "checkpoint_seconds": plan.seconds.as_ref().map(|s| s.checkpoints), "data": plan.survey.json(),
            "parallel": share.as_ref().map(share_json), "evaluations": plan.evaluations, "evaluated_tokens": plan.evaluated, "warnings": warnings.iter().map(|(text, _)| text).collect::<Vec<_>>(),
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
        return Ok(0);
    }

    let mut out = String::new();
    let _ = writeln!(out, "{}\n", values(recipe));
    let mut phases = Table::new().text_column("phase");
    for name in ["updates", "tokens", "first lr", "last lr"] {
        phases = phases.number_column("", name);
    }
    for band in plan.lengths.schedule.bands(plan.lengths.stop) {
        let updates = band.last - band.first + 1;
        phases.row([
            band.name.to_string(),
            updates.to_string(),
            count((updates * plan.lengths.tokens_per_step) as f64),
            metric::line("lr", band.start),
            metric::line("lr", band.end),
        ]);
    }
    let _ = writeln!(out, "{}\n", phases.to_text().trim_end());
    let bytes = |n: u64| format!("{}B", count(n as f64));
    let _ = writeln!(
        out,
        "model        {} parameters, {} without embeddings",
        count(plan.config.parameters() as f64),
        count(plan.config.non_embedding_parameters() as f64)
    );
    let _ = writeln!(
        out,
        "training     {} updates of {} tokens: {} tokens{}",
        plan.lengths.stop,
        plan.lengths.tokens_per_step,
        count((plan.lengths.stop * plan.lengths.tokens_per_step) as f64),
        plan.epoch.map_or(String::new(), |epoch| format!(
            ", {:.2} epochs of the data",
            (plan.lengths.stop * plan.lengths.tokens_per_step) as f64 / epoch as f64
        ))
    );
    out += &plan.survey.text();
    let _ = writeln!(out, "arithmetic   {:.2e} floating-point operations", plan.flops);
    let _ = writeln!(
        out,
        "memory       {}: weights {}, gradients {}, moments {}, activations {}, scratch {}",
        bytes(plan.memory.total()),
        bytes(plan.memory.weights),
        bytes(plan.memory.gradients),
        bytes(plan.memory.moments),
        bytes(plan.memory.activations),
        bytes(plan.memory.scratch)
    );
    out += &share.as_ref().map(share_text).unwrap_or_default();
    let _ = writeln!(out, "disk         {} a checkpoint, {kept} kept at the end: {}", bytes(disk), bytes(disk * kept));
    let _ = match &plan.seconds {
        Some(seconds) => writeln!(
            out,
            "time         about {}: updates {} ({} each, {}), {} evaluations {}, {}{written} checkpoints {}",
            duration(seconds.total()),
            duration(seconds.updates),
            duration(seconds.step),
            if seconds.extrapolated { "extrapolated from one sequence and two blocks" } else { "measured now" },
            plan.evaluations,
            if plan.evaluated.is_some() { duration(seconds.evaluations) } else { "unknown".into() },
            if best > 0 { "up to " } else { "" },
            duration(seconds.checkpoints)
        ),
        None => writeln!(out, "time         not measured"),
    };
    printer.data(out.trim_end());
    printer.data(format_args!(
        "\n{}",
        temper_schedule::sparkline(&plan.lengths.schedule, Some(plan.lengths.stop), 64, 4).trim_end()
    ));
    for (what, remedy) in &warnings {
        printer.warn(what, Some(remedy));
    }
    Ok(0)
}
