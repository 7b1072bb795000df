//! `temper plan` of certified training.

use std::fmt::Write;

use serde_json::{Value, json};
use temper::device::Api;
use temper_base::numbers::{count, duration};
use temper_certify::cost::checkpoint_bytes;
use temper_certify::plan::{self, Plan};
use temper_recipe::Recipe;
use temper_record::metric;
use temper_report::Table;
use temper_schedule::sparkline;
use temper_schedule::sparkline::curve;
use temper_train::machine;

use super::{share, share_json, share_text, values, values_json};
use crate::args;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Runs the command.
pub fn run(args: &args::Plan, recipe: &mut Recipe, printer: &Printer) -> Outcome {
    let mut warnings = Vec::new();
    let device = args.device.open(printer)?;
    if args.device.device.api != Api::Cpu {
        printer.warn("memory is counted for the kernels of the processor; another device keeps more", None);
    }
    let mut plan = plan::resolve(recipe, args.from.as_deref(), &device, &mut warnings)?;
    plan::check(&plan, args.from.as_deref(), &device, &mut warnings)?;
    let share = share(args, recipe, plan.config.parameters())?;
    if let Some(share) = &share {
        plan.memory.gradients = share.gradients;
    }
    // A network that does not fit is not timed.
    if !args.no_calibration && machine::memory().is_none_or(|machine| plan.memory.total() < machine.total) {
        printer.say("timing a few updates of this network on this machine ...");
        plan.measure(&device);
    }
    if args.json {
        let mut result = as_json(&plan);
        result["recipe"] = recipe.name().into();
        result["parallel"] = share.as_ref().map(share_json).into();
        result["values"] = values_json(recipe);
        result["warnings"] = warnings.iter().map(|(what, _)| what.as_str()).collect();
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
        return Ok(0);
    }
    let share = share.as_ref().map(share_text).unwrap_or_default();
    printer.data(format_args!("{}\n\n{}{}", values(recipe), text(&plan), share.trim_end()).to_string().trim_end());
    for (what, remedy) in &warnings {
        printer.warn(what, Some(remedy));
    }
    Ok(0)
}

/// The plan as JSON.
fn as_json(plan: &Plan) -> Value {
    let Plan { size, lengths, eps, memory, .. } = plan;
    let phases = plan.phases.iter().map(|phase| {
        json!({
            "name": phase.name, "first_step": phase.first, "last_step": phase.last, "images": phase.images,
            "eps_first": eps.at(phase.first), "eps_last": eps.at(phase.last),
            "lr_first": lengths.schedule.at(phase.first), "lr_last": lengths.schedule.at(phase.last),
            "flops_per_image": plan.flops(phase), "seconds_per_step": phase.measured.map(|(seconds, _)| seconds),
        })
    });
    let seconds = plan.seconds();
    let written = seconds.as_ref().map(|_| plan.checkpoints().1);
    json!({
        "recipe": null, "values": null, "steps": lengths.stop, "horizon_steps": lengths.horizon,
        "images": plan.images(), "images_per_step": lengths.tokens_per_step,
        "steps_per_epoch": plan.epoch,
        "data": {
            "name": size.name, "here": size.here, "shape": size.shape, "classes": size.classes,
            "train": size.train, "holdout": size.holdout, "test": size.test, "normalised": size.normalised,
        },
        "phases": phases.collect::<Vec<_>>(), "parameters": plan.config.parameters(),
        "macs_per_image": plan.config.macs(), "flops_per_epoch": plan.epoch_flops(), "flops": plan.training_flops(),
        "evaluation_flops": 2.0 * plan.evaluation_macs,
        "memory_bytes": {
            "weights": memory.weights, "gradients": memory.gradients, "moments": memory.moments,
            "activations": memory.activations, "scratch": memory.scratch, "images": memory.images,
            "total": memory.total(),
        },
        "checkpoint_bytes": checkpoint_bytes(&plan.config), "checkpoints_kept": plan.kept,
        "seconds": seconds.as_ref().zip(written).map(|(s, written)| s.updates + s.evaluations + written),
        "update_seconds": seconds.as_ref().map(|s| s.updates), "evaluation_seconds": seconds.as_ref().map(|s| s.evaluations),
        "attack_seconds": seconds.as_ref().map(|s| s.attacks), "checkpoint_seconds": written,
        "evaluations": plan.evaluations, "verification_seconds_at_most": plan.verification().map(|(_, seconds)| seconds),
    })
}

/// The plan as text.
fn text(plan: &Plan) -> String {
    let Plan { size, lengths, eps, memory, .. } = plan;
    let mut table = Table::new().text_column("phase");
    for name in ["updates", "epochs", "images", "first eps", "last eps", "first lr", "last lr", "an update"] {
        table = table.number_column("", name);
    }
    for phase in &plan.phases {
        table.row([
            phase.name.to_string(),
            phase.updates().to_string(),
            format!("{:.2}", phase.updates() as f64 / plan.epoch as f64),
            count(phase.images as f64),
            metric::line("eps", eps.at(phase.first)),
            metric::line("eps", eps.at(phase.last)),
            metric::line("lr", lengths.schedule.at(phase.first)),
            metric::line("lr", lengths.schedule.at(phase.last)),
            phase.measured.map_or_else(
                || "-".into(),
                |(seconds, _)| if seconds < 1.0 { format!("{:.0}ms", 1000.0 * seconds) } else { duration(seconds) },
            ),
        ]);
    }
    let mut out = format!("{}\n\n", table.to_text().trim_end());
    let [c, h, w] = size.shape;
    let bytes = |n: u64| format!("{}B", count(n as f64));
    let mut line = |name: &str, text: String| _ = writeln!(out, "{name:12} {text}");
    line(
        "data",
        format!(
            "{}: {} training images of {c}x{h}x{w} in {} classes, {} held out, {} to test",
            size.name, size.train, size.classes, size.holdout, size.test
        ),
    );
    line("pixels", size.normalised.clone());
    let name = plan.spec.network.title();
    line(
        "model",
        format!(
            "{name}: {} parameters, {} multiply-adds an image",
            count(plan.config.parameters() as f64),
            count(plan.config.macs() as f64)
        ),
    );
    line(
        "training",
        format!(
            "{} updates of {} images, {} an epoch: {:.2} epochs",
            lengths.stop,
            lengths.tokens_per_step,
            plan.epoch,
            lengths.stop as f64 / plan.epoch as f64
        ),
    );
    line(
        "arithmetic",
        format!(
            "{:.2e} floating-point operations, {:.2e} an epoch at the end; evaluations at most {:.2e} more",
            plan.training_flops(),
            plan.epoch_flops(),
            2.0 * plan.evaluation_macs
        ),
    );
    line(
        "memory",
        format!(
            "{}: weights {}, gradients {}, moments {}, activations {}, scratch {}, images {}",
            bytes(memory.total()),
            bytes(memory.weights),
            bytes(memory.gradients),
            bytes(memory.moments),
            bytes(memory.activations),
            bytes(memory.scratch),
            bytes(memory.images)
        ),
    );
    let disk = checkpoint_bytes(&plan.config);
    line("disk", format!("{} a checkpoint, {} kept at the end: {}", bytes(disk), plan.kept, bytes(disk * plan.kept)));
    line(
        "time",
        match plan.seconds() {
            None => "not measured".into(),
            Some(seconds) => {
                let fewest = plan.phases.iter().filter_map(|phase| phase.measured).map(|(_, images)| images).min();
                let how =
                    match fewest.filter(|images| (*images as u64) < lengths.tokens_per_step.min(size.train as u64)) {
                        Some(images) => format!("scaled from updates of {images} images"),
                        None => "measured now".into(),
                    };
                let (number, written) = plan.checkpoints();
                format!(
                    "about {}: updates {} ({how}), {} evaluations at most {} (attacks {} of it), {number} checkpoints {}",
                    duration(seconds.updates + seconds.evaluations + written),
                    duration(seconds.updates),
                    plan.evaluations,
                    duration(seconds.evaluations),
                    duration(seconds.attacks),
                    duration(written)
                )
            }
        },
    );
    if let Some((images, most)) = plan.verification() {
        let each = duration(most / images.max(1) as f64);
        let text = format!("at most {} more at the end, {each} for each search on {images} images", duration(most));
        line("verification", text);
    }
    let stop = lengths.stop;
    let rate = sparkline(&lengths.schedule, Some(stop), 64, 4);
    let radius = curve(|n| eps.at(n), eps.at(stop), stop, 64, 4);
    let _ = write!(out, "\nlearning rate\n{}\n\neps\n{}", rate.trim_end(), radius.trim_end());
    out
}
