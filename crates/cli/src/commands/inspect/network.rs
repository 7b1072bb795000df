//! `temper inspect FILE.onnx`: the layers of a network as a verifier sees them, what they do to the intervals of a box, and how many of its
//! ReLUs may have either sign there.

use std::path::Path;

use serde_json::json;
use temper_base::{Problem, Result};
use temper_formats::{onnx, vnnlib};
use temper_graph::{Affine, Computation, Curve, Node, Operation, Window};
use temper_report::Table;
use temper_verify::Arithmetic;
use temper_verify::engine::{Ends, Prepared, intermediate, interval};

use crate::args;
use crate::printer::Printer;
use crate::problems::Outcome;

/// Shows the network.
pub fn run(args: &args::Inspect, printer: &Printer) -> Outcome {
    if args.eps.is_some() {
        let problem = Problem::input("inspect", "--eps", "a network comes without images to put boxes around");
        return Err(problem.hint("--property FILE.vnnlib gives a box").into());
    }
    if !args.overrides.set.is_empty() {
        let problem =
            Problem::input("inspect", "--set", "values can be overridden only for a recipe, not for a network");
        return Err(problem.hint("leave --set out").into());
    }
    let model = onnx::read(Path::new(&args.run))?;
    let net = &model.computation.merged();
    let (ends, place) = region(args.property.as_deref(), net)?;
    let prepared = Prepared::<f32>::new(net);
    let intervals = interval(&prepared, ends.clone(), Arithmetic::Real);
    let linear = intermediate(&prepared, ends, Arithmetic::Real, Some(&intervals), &|| false);
    let unstable = |i: usize| -> Option<[usize; 2]> {
        let relu = net.nodes()[i].operation == Operation::Relu;
        relu.then(|| [&intervals, &linear].map(|bounds| bounds.ends(net.nodes()[i].inputs[0]).unstable().count()))
    };
    let width = |value: usize| mean_width(intervals.ends(value));
    // As of a run: what a layer with weights makes of the width of what it reads through a ReLU.
    let gain = |i: usize| {
        let affine = matches!(net.nodes()[i].operation, Operation::Dense(_) | Operation::Conv { .. });
        affine.then(|| width(i + 1) / width(before(net, net.nodes()[i].inputs[0])))
    };
    let relus = |pick: usize| (0..net.nodes().len()).filter_map(unstable).map(|counts| counts[pick]).sum::<usize>();
    let neurons: usize = (0..net.nodes().len()).filter(|i| unstable(*i).is_some()).map(|i| net.len(i + 1)).sum();
    let parameters: usize = net.nodes().iter().map(parameters).sum();
    if args.json {
        let layers = net.nodes().iter().enumerate().map(|(i, node)| {
            let counts = unstable(i);
            json!({
                "layer": node.name, "operation": operation(&node.operation), "shape": node.shape, "reads": node.inputs,
                "parameters": self::parameters(node), "gain": gain(i), "width": width(i + 1),
                "unstable_by_intervals": counts.map(|c| c[0]), "unstable_by_linear_bounds": counts.map(|c| c[1]),
            })
        });
        let result = json!({
            "network": args.run, "producer": model.producer, "opset": model.opset, "float64": model.float64,
            "input": { "name": model.input_name, "shape": model.input_shape },
            "output": { "name": model.output_name, "shape": model.output_shape },
            "parameters": parameters, "relus": neurons, "box": place, "layers": layers.collect::<Vec<_>>(),
        });
        printer.data(serde_json::to_string_pretty(&result).expect("plain data"));
        return Ok(0);
    }
    let share = |count: usize, of: usize| format!("{:.1} %", 100.0 * count as f64 / of.max(1) as f64);
    let mut table = Table::new().text_column("layer").text_column("operation").text_column("shape");
    let unstable_by = ["intervals", "linear bounds"].map(|by| ("unstable by", by));
    for (group, name) in [("", "parameters"), ("", "gain"), ("", "width")].into_iter().chain(unstable_by) {
        table = table.number_column(group, name);
    }
    for (i, node) in net.nodes().iter().enumerate() {
        let number = |n: usize| if n == 0 { String::new() } else { n.to_string() };
        let [a, b] = unstable(i).map_or_else(Default::default, |counts| counts.map(|n| share(n, net.len(i + 1))));
        let reads = if node.inputs == [i] { String::new() } else { sources(net, &node.inputs) };
        let operation = operation(&node.operation) + &reads;
        let parameters = number(self::parameters(node));
        let finite = |x: f64, digits: usize| if x.is_finite() { format!("{x:.digits$}") } else { "-".into() };
        let gain = gain(i).map_or_else(String::new, |gain| finite(gain, 3));
        table.row([node.name.clone(), operation, shape(&node.shape), parameters, gain, finite(width(i + 1), 4), a, b]);
    }
    printer.data(format_args!(
        "{}: {}, opset {}{}\n{} {} to {} {}, {parameters} parameters\n\n{}\n\n{neurons} ReLUs over {place}: {} may have either sign by \
         intervals, {} by linear bounds",
        args.run,
        if model.producer.is_empty() { "ONNX" } else { &model.producer },
        model.opset,
        if model.float64 { ", float64" } else { "" },
        model.input_name,
        shape(&model.input_shape),
        model.output_name,
        shape(&model.output_shape),
        table.to_text().trim_end(),
        relus(0),
        relus(1),
    ));
    printer.say("\ngain: mean width of the layer's intervals over that of the pre-activation it reads");
    Ok(0)
}

/// The box to bound over, and its name.
fn region(property: Option<&Path>, net: &Computation) -> Result<(Ends<f32>, String)> {
    let Some(path) = property else {
        let n = net.inputs();
        return Ok((Ends { lower: vec![0.0; n], upper: vec![1.0; n] }, "inputs from 0 to 1".into()));
    };
    let query = vnnlib::read(path, net.inputs(), net.outputs())?;
    let Some(first) = query.properties.first() else {
        return Err(Problem::input("inspect", path.display(), "its box is empty: no input lies in it"));
    };
    let place = match query.properties.len() {
        1 => format!("the box of {}", path.display()),
        n => format!("the first of {n} boxes of {}", path.display()),
    };
    Ok((Ends::outward(&first.input().lower, &first.input().upper), place))
}

/// Back through what changes neither sign nor scale, to the value before the ReLU.
fn before(net: &Computation, mut value: usize) -> usize {
    while let Some(node) = value.checked_sub(1).map(|i| &net.nodes()[i]) {
        match node.operation {
            Operation::Relu | Operation::Curve(_) => return node.inputs[0],
            Operation::Gather { .. } | Operation::MaxPool(_) => value = node.inputs[0],
            Operation::Dense(_) | Operation::Conv { .. } | Operation::Scale(_) | Operation::Add => break,
        }
    }
    value
}

fn mean_width(ends: &Ends<f32>) -> f64 {
    let widths = ends.lower.iter().zip(&ends.upper).map(|(l, u)| f64::from(*u) - f64::from(*l));
    widths.sum::<f64>() / ends.lower.len().max(1) as f64
}

fn parameters(node: &Node) -> usize {
    match &node.operation {
        Operation::Dense(affine) | Operation::Conv { affine, .. } | Operation::Scale(affine) => numbers(affine),
        Operation::Relu | Operation::Curve(_) | Operation::Add | Operation::MaxPool(_) | Operation::Gather { .. } => 0,
    }
}

fn numbers(affine: &Affine) -> usize {
    affine.weight.len() + affine.bias.len()
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Dense(_) => "dense".into(),
        Operation::Conv { window, groups, .. } => {
            let groups = if *groups > 1 { format!(" in {groups} groups") } else { String::new() };
            format!("conv {}{groups}", sizes(window))
        }
        Operation::Scale(_) => "scale".into(),
        Operation::Relu => "relu".into(),
        Operation::Curve(Curve::Sigmoid) => "sigmoid".into(),
        Operation::Curve(Curve::Tanh) => "tanh".into(),
        Operation::Add => "add".into(),
        Operation::MaxPool(window) => format!("max pool {}", sizes(window)),
        Operation::Gather { .. } => "rearrange".into(),
    }
}

fn sizes(window: &Window) -> String {
    let Window { kernel: [h, w], stride, .. } = *window;
    match stride {
        [1, 1] => format!("{h}x{w}"),
        [down, right] if down == right => format!("{h}x{w} step {down}"),
        [down, right] => format!("{h}x{w} step {down}x{right}"),
    }
}

/// What a node reads that does not stand before it, or not alone.
fn sources(net: &Computation, inputs: &[usize]) -> String {
    let name = |value: &usize| if *value == 0 { "the input" } else { net.nodes()[value - 1].name.as_str() };
    format!(" of {}", inputs.iter().map(name).collect::<Vec<_>>().join(" and "))
}

fn shape(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
