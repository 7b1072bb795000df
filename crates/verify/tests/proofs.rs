//! Certificates: proofs of small random networks are accepted, damaged ones and those of wrong claims are not.

#[path = "common/adversarial.rs"]
#[allow(dead_code)]
mod adversarial;
#[path = "common/files.rs"]
mod files;

use std::path::{Path, PathBuf};

use adversarial::{above, chain};
use temper_base::random::Stream;
use temper_graph::computation::Order;
use temper_graph::{Computation, InputBox, LinearConstraint, Operation, Property};
use temper_verify::cascade::{Answer, Arithmetic};
use temper_verify::proof::{Bounds, Header, Rows, Step, read, write};
use temper_verify::verifier::Verifier;
use temper_verify::{ProofVerdict, Settings, Stage, check};

/// A search without any skill: interval bounds, random slopes and multipliers, splits of the widest neuron, then of the widest input.
struct Search<'a> {
    layers: Vec<(&'a [f64], &'a [f64])>,
    /// The bound that the output has to be above.
    bound: f64,
    stream: Stream,
    drawn: u64,
}

#[derive(Clone)]
struct Node {
    input: [Vec<f64>; 2],
    /// Ends of the numbers before every ReLU.
    ends: Vec<[Vec<f64>; 2]>,
    splits: Vec<(usize, usize, bool)>,
}

impl Search<'_> {
    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        (self.stream.at(self.drawn) * 100.0).round() / 100.0
    }

    fn intervals(&self, node: &mut Node) {
        let mut x = node.input.clone();
        for (k, (weight, bias)) in self.layers.iter().enumerate().take(self.layers.len() - 1) {
            let [l, u] = x;
            let end = |o: usize, low: &[f64], high: &[f64]| {
                let row = &weight[o * low.len()..][..low.len()];
                bias[o] + row.iter().enumerate().map(|(i, w)| w * if *w > 0.0 { high[i] } else { low[i] }).sum::<f64>()
            };
            let fresh = |i: usize, side: usize| if side == 0 { end(i, &u, &l) } else { end(i, &l, &u) };
            if node.ends.len() == k {
                node.ends.push([vec![f64::NEG_INFINITY; bias.len()], vec![f64::INFINITY; bias.len()]]);
            }
            for i in 0..bias.len() {
                node.ends[k][0][i] = node.ends[k][0][i].max(fresh(i, 0));
                node.ends[k][1][i] = node.ends[k][1][i].min(fresh(i, 1));
            }
            x = node.ends[k].clone().map(|ends| ends.iter().map(|end| end.max(0.0)).collect());
        }
    }

    fn least(&self, node: &Node, slopes: &[Vec<f64>], beta: &[(usize, usize, f64)]) -> f64 {
        let mut row = vec![1.0];
        let mut least = -self.bound;
        for (k, (weight, bias)) in self.layers.iter().enumerate().rev() {
            let n = weight.len() / bias.len();
            least += row.iter().zip(*bias).map(|(a, b)| a * b).sum::<f64>();
            row = (0..n).map(|i| row.iter().enumerate().map(|(o, a)| a * weight[o * n + i]).sum()).collect();
            let Some(relu) = k.checked_sub(1) else { break };
            for i in 0..n {
                let [l, u] = [node.ends[relu][0][i], node.ends[relu][1][i]];
                let (s, t, a) = match (l >= 0.0, u <= 0.0) {
                    (true, _) => (1.0, 0.0, 1.0),
                    (_, true) => (0.0, 0.0, 0.0),
                    _ => (u / (u - l), -l * u / (u - l), slopes[relu][i]),
                };
                if row[i] < 0.0 {
                    least += row[i] * t;
                    row[i] *= s;
                } else {
                    row[i] *= a;
                }
            }
            for (_, i, beta) in beta.iter().filter(|(k, ..)| *k == relu) {
                let on = node.splits.iter().find(|(k, n, _)| (k, n) == (&relu, i)).unwrap().2;
                row[*i] -= if on { *beta } else { -beta };
            }
        }
        let [l, u] = &node.input;
        least + row.iter().enumerate().map(|(i, a)| if *a >= 0.0 { a * l[i] } else { a * u[i] }).sum::<f64>()
    }

    fn prove(&mut self, steps: &mut Vec<Step>, mut node: Node) {
        let mut slopes: Vec<Vec<f64>> = Vec::new();
        for [l, u] in &node.ends {
            slopes.push(l.iter().zip(u).map(|(l, u)| if *u > -l { 1.0 } else { 0.0 }).collect());
        }
        let mut beta: Vec<(usize, usize, f64)> = Vec::new();
        let mut least = self.least(&node, &slopes, &beta);
        for _ in 0..4 {
            let (mut tried, mut multipliers) = (slopes.clone(), Vec::new());
            tried.iter_mut().flatten().for_each(|slope| *slope = self.draw());
            for (k, i, _) in node.splits.clone() {
                multipliers.push((k, i, self.draw()));
            }
            let found = self.least(&node, &tried, &multipliers);
            if found > least {
                (least, slopes, beta) = (found, tried, multipliers);
            }
        }
        // Halves of splits may be empty.
        let empty = node.ends.iter().any(|[l, u]| l.iter().zip(u).any(|(l, u)| *l > u + 1e-9));
        if least > 1e-6 || empty {
            // All slopes are given: so tighter bounds cannot make it worse.
            if self.draw() < 0.5 {
                let (k, i) = (1, (self.draw() * 4.99) as usize);
                let ends = [i, (i + 2) % 5].into_iter().flat_map(|i| [2 * i, 2 * i + 1]).collect();
                let below = vec![(0, (0..slopes[0].len()).collect())];
                steps.push(Step::Rows(Rows(k, ends, below, vec![slopes[0].clone(); 4])));
                steps.push(Step::Bounds(Bounds::Crown));
            }
            let all = slopes.into_iter().enumerate().map(|(k, values)| (k, (0..values.len()).collect(), values));
            steps.push(Step::Alpha(all.collect()));
            return steps.push(Step::Leaf(vec![(0, 1.0)], beta));
        }
        if self.draw() < 0.5 {
            steps.push(Step::Clip(vec![(0, 0.5)]));
        }
        let mut widest = (0.0, 0, 0);
        for (k, [l, u]) in node.ends.iter().enumerate() {
            for (i, (l, u)) in l.iter().zip(u).enumerate() {
                widest = if u.min(-l) > widest.0 { (u.min(-l), k, i) } else { widest };
            }
        }
        if widest.0 > 0.0 && node.splits.len() < 4 {
            let (_, k, i) = widest;
            steps.push(Step::Split(k, i));
            for side in 0..2 {
                let mut half = node.clone();
                half.ends[k][1 - side][i] = 0.0;
                half.splits.push((k, i, side == 1));
                self.prove(steps, half);
            }
            return;
        }
        let width = |i: usize| node.input[1][i] - node.input[0][i];
        let i = (0..node.input[0].len()).reduce(|a, b| if width(b) > width(a) { b } else { a }).unwrap();
        let middle = f64::from((node.input[0][i] + 0.5 * width(i)) as f32);
        steps.push(Step::Halve(i, middle));
        node.splits.clear();
        for side in 0..2 {
            let mut half = node.clone();
            half.input[1 - side][i] = middle;
            self.intervals(&mut half);
            steps.push(Step::Bounds(Bounds::Interval));
            self.prove(steps, half);
        }
    }
}

fn prove(computation: &Computation, property: &Property, seed: u64) -> Vec<Step> {
    let layers = computation.nodes().iter().filter_map(|node| match &node.operation {
        Operation::Dense(affine) => Some((affine.weight.as_slice(), affine.bias.as_slice())),
        _ => None,
    });
    let bound = property.violations()[0][0].bound;
    let mut search = Search { layers: layers.collect(), bound, stream: Stream::named(seed, "search"), drawn: 0 };
    let input = [property.input().lower.clone(), property.input().upper.clone()];
    let mut root = Node { input, ends: Vec::new(), splits: Vec::new() };
    search.intervals(&mut root);
    let mut steps = vec![Step::Box(0), Step::Group(0)];
    search.prove(&mut steps, root);
    steps
}

/// A random network, a box, and the least output that was found in it.
fn random(seed: u64) -> (Computation, [Vec<f64>; 2], f64) {
    let stream = Stream::named(seed, "proofs");
    let mut next = 0;
    let mut draw = |n: usize| {
        next += n as u64;
        (0..n as u64).map(|i| f64::from((stream.at(next + i) * 2.0 - 1.0) as f32)).collect::<Vec<f64>>()
    };
    let sizes = [3, 6, 5, 1];
    let layers: Vec<_> = sizes.windows(2).map(|pair| (draw(pair[0] * pair[1]), draw(pair[1]))).collect();
    let computation = chain(3, &layers);
    let lower: Vec<f64> = draw(3).iter().map(|x| (x * 16.0).round() / 16.0).collect();
    let upper: Vec<f64> = lower.iter().map(|l| l + 0.5).collect();
    let point = |i: u64| {
        let at = |d: u64| if i < 8 { (i >> d & 1) as f64 } else { stream.at(1000 + 3 * i + d) };
        (0..3).map(|d| lower[d] + (upper[d] - lower[d]) * at(d as u64)).collect::<Vec<f64>>()
    };
    let least = (0..500).map(|i| computation.evaluate(&point(i), Order::Forward)[0]).fold(f64::INFINITY, f64::min);
    (computation, [lower, upper], least)
}

/// A proof with its files, of a bound that is this much below the least output that was found.
struct Proof {
    onnx: Vec<u8>,
    vnnlib: String,
    steps: Vec<Step>,
    least: f64,
    input: [Vec<f64>; 2],
}

fn proof(seed: u64, below: f64) -> Proof {
    let (computation, input, least) = random(seed);
    let [lower, upper] = input.clone();
    let property = above(lower, upper, least - below);
    let steps = prove(&computation, &property, seed);
    Proof { onnx: files::onnx(&computation), vnnlib: files::vnnlib(&property), steps, least, input }
}

impl Proof {
    fn text(&self, claim: Arithmetic) -> String {
        write(&Header::new(claim, &self.onnx, self.vnnlib.as_bytes()), &self.steps)
    }

    fn check(&self, text: &str) -> ProofVerdict {
        check(text, &self.onnx, &self.vnnlib)
    }
}

fn holds(verdict: &ProofVerdict) -> bool {
    matches!(verdict, ProofVerdict::Holds(_))
}

/// The certificates of `golden/certificates` are written anew: then `golden/check_exact.py` has to be run.
#[test]
#[ignore = "writes files"]
fn write_certificates() {
    let folder = golden();
    std::fs::create_dir_all(&folder).unwrap();
    let put = |name: &str, onnx: &[u8], vnnlib: &str, steps: &[Step]| {
        let text = write(&Header::new(Arithmetic::Sound, onnx, vnnlib.as_bytes()), steps);
        for (end, bytes) in [("onnx", onnx), ("vnnlib", vnnlib.as_bytes()), ("jsonl", text.as_bytes())] {
            std::fs::write(folder.join(format!("{name}.{end}")), bytes).unwrap();
        }
    };
    for seed in 0..6 {
        let proof = proof(seed, 0.05);
        put(&seed.to_string(), &proof.onnx, &proof.vnnlib, &proof.steps);
    }
    for (seed, sizes) in [(0, [24, 10, 8, 2].as_slice()), (2, &[24, 10, 8, 2]), (1, &[24, 8, 8, 8, 2])] {
        let (computation, property) = wide(seed, sizes, 0.3);
        let (stage, steps) = searched(&computation, &property, Arithmetic::Sound).expect("a proof");
        println!("{stage:?}, {} steps", steps.len());
        put(&format!("search_{seed}"), &files::onnx(&computation), &files::vnnlib(&property), &steps);
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/certificates")
}

#[test]
fn bounds_are_those_of_exact_fractions() {
    let text = |name: &str| std::fs::read_to_string(golden().join(name)).unwrap();
    let exact: serde_json::Value = serde_json::from_str(&text("exact.json")).unwrap();
    for (name, numbers) in exact.as_object().unwrap() {
        let onnx = std::fs::read(golden().join(format!("{name}.onnx"))).unwrap();
        let verdict = check(&text(&format!("{name}.jsonl")), &onnx, &text(&format!("{name}.vnnlib")));
        let ProofVerdict::Holds(checked) = verdict else { panic!("{name}: {verdict:?}") };
        let bound = numbers["bound"].as_f64().unwrap();
        assert!(checked.bound <= bound && checked.bound > bound - 1e-12, "{name}: {} and {bound}", checked.bound);
        assert_eq!(numbers["leaves"], checked.leaves);
    }
}

#[test]
fn proofs_are_accepted() {
    let (mut leaves, mut splits) = (0, [0, 0]);
    for seed in 0..100 {
        let proof = proof(seed, 0.05);
        for claim in [Arithmetic::Sound, Arithmetic::Float32] {
            let verdict = proof.check(&proof.text(claim));
            let ProofVerdict::Holds(checked) = &verdict else { panic!("seed {seed}: {verdict:?}") };
            assert!(checked.bound > 0.0 && checked.arithmetic == claim && checked.boxes == 1);
            leaves += checked.leaves;
        }
        let text = proof.text(Arithmetic::Sound);
        assert_eq!(read(&text).unwrap().1, proof.steps);
        for step in &proof.steps {
            splits[0] += usize::from(matches!(step, Step::Split(..)));
            splits[1] += usize::from(matches!(step, Step::Halve(..)));
        }
    }
    assert!(leaves > 400 && splits[0] > 50 && splits[1] > 20, "{leaves} leaves, {splits:?} splits");
}

/// Damage that no proof survives, whatever its numbers: structure, ranges and names. Numbers within their range may change and leave a
/// proof; that no such change makes a wrong proof is the next test.
fn damage(proof: &Proof, kind: u64, draw: &mut impl FnMut(usize) -> usize) -> Option<String> {
    let mut steps = proof.steps.clone();
    let places = |wanted: fn(&Step) -> bool| (0..steps.len()).filter(|i| wanted(&steps[*i])).collect::<Vec<_>>();
    let leaves = places(|step| matches!(step, Step::Leaf(..)));
    let splits = places(|step| matches!(step, Step::Split(..) | Step::Halve(..)));
    let alphas = places(|step| matches!(step, Step::Alpha(..)));
    let betas = places(|step| matches!(step, Step::Leaf(_, beta) if !beta.is_empty()));
    let leaf = leaves[draw(leaves.len())];
    let pick =
        |from: &[usize], draw: &mut dyn FnMut(usize) -> usize| (!from.is_empty()).then(|| from[draw(from.len())]);
    match kind {
        // A leaf is missing, or one too many.
        0 => drop(steps.remove(leaf)),
        1 => steps.insert(leaf, steps[leaf].clone()),
        // A split is missing, or one too many.
        2 => drop(steps.remove(pick(&splits, draw)?)),
        3 => steps.insert(leaf, Step::Split(0, 0)),
        // What is split does not exist.
        4 => steps[pick(&splits, draw)?] = Step::Split(draw(2), 6 + draw(1000)),
        5 => steps[pick(&splits, draw)?] = Step::Split(2 + draw(1000), 0),
        // Slopes of a ReLU, or a clip by a row, that does not exist.
        6 if draw(2) == 0 => steps.insert(leaf, Step::Alpha(vec![(2 + draw(9), vec![0], vec![0.5])])),
        6 => steps.insert(leaf, Step::Clip(vec![(1 + draw(9), 0.5)])),
        7 => steps[pick(&splits, draw)?] = Step::Halve(3 + draw(100), 0.0),
        // A slope outside of [0, 1], or for no neuron, or none for a neuron.
        8..=10 => {
            let Step::Alpha(all) = &mut steps[pick(&alphas, draw)?] else { return None };
            let (_, neurons, values) = &mut all[0];
            match kind {
                8 => values[0] = [-0.01, 1.01, 7.0, -1e9][draw(4)],
                9 => neurons[0] = 6 + draw(100),
                _ => drop(values.pop()),
            }
        }
        // A multiplier below 0, or of a neuron that was not split.
        11 | 12 => {
            let Step::Leaf(_, beta) = &mut steps[pick(&betas, draw)?] else { return None };
            if kind == 11 { beta[0].2 = -0.01 - draw(100) as f64 } else { beta[0].1 = 6 + draw(100) }
        }
        // A row that does not exist, a weight below 0, no row, only rows with the weight 0.
        13 => steps[leaf] = Step::Leaf(vec![(1 + draw(9), 1.0)], vec![]),
        14 => steps[leaf] = Step::Leaf(vec![(0, -1.0)], vec![]),
        15 => steps[leaf] = Step::Leaf(vec![], vec![]),
        16 => steps[leaf] = Step::Leaf(vec![(0, 0.0)], vec![]),
        // Another order of boxes and groups, more or fewer of them.
        17 => steps.swap(0, 1),
        18 => steps[0] = Step::Box(1 + draw(9)),
        19 => steps[1] = Step::Group(1 + draw(9)),
        20 => steps.push(Step::Box(1)),
        21 => steps.push(Step::Group(1)),
        22 => steps.truncate(draw(steps.len())),
        23 => steps.push(Step::End(steps.len() + 1)),
        _ => {}
    }
    let text = write(&Header::new(Arithmetic::Sound, &proof.onnx, proof.vnnlib.as_bytes()), &steps);
    let first = text.lines().next().unwrap().len();
    Some(match kind {
        // A byte of the header: format, claim, hashes.
        24 => {
            let at = draw(first);
            let byte = text.as_bytes()[at];
            let other = if byte == b'0' { "1" } else { "0" };
            [&text[..at], other, &text[at + 1..]].concat()
        }
        // Cut off in the middle, lines lost, lines behind the end, a byte that is in no number.
        25 => text[..draw(text.len() - 2)].into(),
        26 => {
            let lost = draw(text.lines().count());
            text.lines().enumerate().filter(|(i, _)| *i != lost).map(|(_, line)| format!("{line}\n")).collect()
        }
        27 => text + "{\"end\":3}\n",
        28 => {
            let at = draw(text.len());
            if text.as_bytes()[at].is_ascii_whitespace() {
                return None;
            }
            [&text[..at], "#", &text[at + 1..]].concat()
        }
        _ => text,
    })
}

#[test]
fn a_thousand_damaged_proofs_are_rejected() {
    let proofs: Vec<Proof> = (0..20).map(|seed| proof(seed, 0.05)).filter(|proof| proof.steps.len() < 1000).collect();
    let (stream, mut drawn, mut done) = (Stream::named(1, "damage"), 0, [0; 29]);
    let mut draw = |n: usize| {
        drawn += 1;
        (stream.at(drawn) * n as f64) as usize
    };
    for round in 0.. {
        let (proof, kind) = (&proofs[draw(proofs.len())], round % 29);
        if let Some(text) = damage(proof, kind, &mut draw) {
            let verdict = proof.check(&text);
            assert!(!holds(&verdict), "kind {kind}: {verdict:?}\n{text}");
            done[kind as usize] += 1;
        }
        if done.iter().all(|n| *n >= 36) {
            break;
        }
    }
    assert!(done.iter().sum::<usize>() >= 1000);
}

#[test]
fn no_damage_makes_a_proof_of_what_is_wrong() {
    let (stream, mut drawn, mut parsed) = (Stream::named(2, "damage"), 0, 0);
    let mut draw = |n: usize| {
        drawn += 1;
        (stream.at(drawn) * n as f64) as usize
    };
    for seed in 0..50 {
        // The same proof for a bound that an input violates.
        let mut proof = proof(seed, 0.05);
        if proof.steps.len() > 400 {
            continue;
        }
        let [lower, upper] = proof.input.clone();
        proof.vnnlib = files::vnnlib(&above(lower, upper, proof.least + 1e-9));
        let text = proof.text(Arithmetic::Sound);
        assert!(!holds(&proof.check(&text)), "seed {seed}");
        for round in 0..60 {
            let mut bytes = text.clone().into_bytes();
            let header = text.lines().next().unwrap().len() + 1;
            for _ in 0..1 + draw(3) {
                let at = header + draw(bytes.len() - header);
                // A digit becomes another one, half of the time any other byte something else.
                if bytes[at].is_ascii_digit() {
                    bytes[at] = b'0' + draw(10) as u8;
                } else if draw(2) == 0 && round % 3 == 0 {
                    bytes[at] = 32 + draw(95) as u8;
                }
            }
            // Two steps change places.
            if round % 4 == 0 {
                let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
                let (a, b) = (1 + draw(lines.len() - 3), 1 + draw(lines.len() - 3));
                let mut swapped = lines.clone();
                swapped.swap(a, b);
                bytes = swapped.join(&b'\n');
            }
            let Ok(damaged) = String::from_utf8(bytes) else { continue };
            parsed += usize::from(read(&damaged).is_ok());
            let verdict = proof.check(&damaged);
            assert!(!holds(&verdict), "seed {seed}: {verdict:?}\n{damaged}");
        }
    }
    assert!(parsed > 1000, "{parsed} could be read");
}

#[test]
fn files_cut_off_or_changed_are_no_end_of_the_checker() {
    let proof = proof(3, 0.05);
    let again = |onnx: &[u8], vnnlib: &str| {
        check(&write(&Header::new(Arithmetic::Sound, onnx, vnnlib.as_bytes()), &proof.steps), onnx, vnnlib)
    };
    assert!(holds(&again(&proof.onnx, &proof.vnnlib)));
    for at in 0..proof.onnx.len() {
        let cut = again(&proof.onnx[..at], &proof.vnnlib);
        // Only what stands behind the graph may be missing.
        assert!(!holds(&cut) || at + 8 > proof.onnx.len(), "{at}: {cut:?}");
        for other in [0, 1, 127, 128, 255, proof.onnx[at] ^ 8, proof.onnx[at] ^ 16] {
            let mut changed = proof.onnx.clone();
            changed[at] = other;
            again(&changed, &proof.vnnlib);
        }
    }
    for at in 0..proof.vnnlib.len() {
        assert!(!holds(&again(&proof.onnx, &proof.vnnlib[..at])) || at + 3 > proof.vnnlib.len(), "{at}");
        for other in ["(", ")", "9", "-", ";", " ", "X"] {
            again(&proof.onnx, &[&proof.vnnlib[..at], other, &proof.vnnlib[at + 1..]].concat());
        }
    }
}

#[test]
fn searches_by_input_splits_leave_proofs() {
    let mut splits = 0;
    for seed in 0..40 {
        let (computation, [lower, upper], least) = random(seed);
        let property = above(lower, upper, least - 0.01);
        let (onnx, vnnlib) = (files::onnx(&computation), files::vnnlib(&property));
        let verifier = Verifier::new(&computation);
        for arithmetic in [Arithmetic::Sound, Arithmetic::Float32] {
            let settings = Settings { arithmetic, stages: vec![Stage::Bab], ..Settings::default() };
            let properties = std::slice::from_ref(&property);
            let (decision, steps) = verifier.decide_with_proof(properties, &settings, &|| false).unwrap();
            let Some(steps) = steps else {
                assert_ne!(decision.answer, Answer::Unsat, "seed {seed}: no proof");
                continue;
            };
            let header = Header::new(arithmetic, &onnx, vnnlib.as_bytes());
            let verdict = check(&write(&header, &steps), &onnx, &vnnlib);
            assert!(holds(&verdict), "seed {seed}, {arithmetic:?}: {verdict:?}");
            splits += steps.iter().filter(|step| matches!(step, Step::Halve(..))).count();
            let leaf = steps.iter().rposition(|step| matches!(step, Step::Leaf(..))).unwrap();
            let less = [&steps[..leaf], &steps[leaf + 1..]].concat();
            assert!(!holds(&check(&write(&header, &less), &onnx, &vnnlib)), "seed {seed}: a leaf is missing");
        }
    }
    assert!(splits > 20, "{splits} splits");
}

/// A random network with more inputs than are split, a box, and groups: each row is this much below what was found there.
fn wide(seed: u64, sizes: &[usize], below: f64) -> (Computation, Property) {
    let stream = Stream::named(seed, "wide");
    let mut next = 0;
    let mut draw = |n: usize, scale: f64| {
        next += n as u64;
        (0..n as u64).map(|i| f64::from(((stream.at(next + i) * 2.0 - 1.0) * scale) as f32)).collect::<Vec<f64>>()
    };
    let layers: Vec<_> = sizes
        .windows(2)
        .map(|pair| (draw(pair[0] * pair[1], 1.5 / (pair[0] as f64).sqrt()), draw(pair[1], 0.2)))
        .collect();
    let (inputs, outputs) = (sizes[0], sizes[sizes.len() - 1]);
    let computation = chain(inputs, &layers);
    let centre = draw(inputs, 1.0);
    let [lower, upper] = [-0.25, 0.25].map(|by| centre.iter().map(|x| x + by).collect::<Vec<f64>>());
    let point = |i: u64| {
        let at = |d: u64| stream.at(100_000 + inputs as u64 * i + d).round();
        (0..inputs).map(|d| lower[d] + (upper[d] - lower[d]) * at(d as u64)).collect::<Vec<f64>>()
    };
    let mut least = vec![f64::INFINITY; outputs];
    for i in 0..500 {
        let found = computation.evaluate(&point(i), Order::Forward);
        least.iter_mut().zip(found).for_each(|(least, y)| *least = least.min(y));
    }
    let row = |(i, least): (usize, &f64)| vec![LinearConstraint::at_most(vec![(i, 1.0)], least - below)];
    let groups = least.iter().enumerate().map(row).collect();
    (computation, Property::new(InputBox::exact(lower, upper), groups, outputs).unwrap())
}

/// What a search found, with its proof.
fn searched(computation: &Computation, property: &Property, arithmetic: Arithmetic) -> Option<(Stage, Vec<Step>)> {
    let stages = vec![Stage::Ibp, Stage::Crown, Stage::Alpha, Stage::Bab];
    let settings = Settings { arithmetic, stages, max_domains: Some(2000), ..Settings::default() };
    let verifier = Verifier::new(computation);
    let (decision, steps) = verifier.decide_with_proof(std::slice::from_ref(property), &settings, &|| false).unwrap();
    assert_eq!(steps.is_some(), decision.answer == Answer::Unsat, "{decision:?}");
    steps.map(|steps| (decision.stage, steps))
}

#[test]
fn searches_leave_proofs() {
    let (mut stages, mut splits, mut cells) = (std::collections::BTreeMap::new(), 0, 0);
    let sizes: [&[usize]; 2] = [&[24, 10, 8, 2], &[24, 12, 12, 12, 3]];
    for (seed, below) in (0..24).flat_map(|seed| [3.0, 1.0, 0.3].map(|below| (seed, below))) {
        let (computation, property) = wide(seed, sizes[seed as usize % 2], below);
        let (onnx, vnnlib) = (files::onnx(&computation), files::vnnlib(&property));
        let arithmetic = [Arithmetic::Sound, Arithmetic::Float32][seed as usize / 2 % 2];
        let Some((stage, steps)) = searched(&computation, &property, arithmetic) else { continue };
        let verdict = check(&write(&Header::new(arithmetic, &onnx, vnnlib.as_bytes()), &steps), &onnx, &vnnlib);
        let ProofVerdict::Holds(checked) = verdict else { panic!("seed {seed}, {below}: {verdict:?}") };
        assert_eq!(checked.arithmetic, arithmetic);
        *stages.entry(stage.name()).or_insert(0) += 1;
        splits += steps.iter().filter(|step| matches!(step, Step::Split(..))).count();
        cells += steps.iter().filter(|step| matches!(step, Step::Bounds(_))).count().saturating_sub(2);
    }
    println!("{stages:?}, {splits} splits, {cells} cells");
    assert!(stages.len() == 4 && splits > 500 && cells > 10, "{stages:?}, {splits} splits, {cells} cells");
}

#[test]
fn damaged_proofs_of_searches_are_rejected() {
    let (stream, mut drawn, mut done) = (Stream::named(3, "damage"), 0, 0);
    let mut draw = |n: usize| {
        drawn += 1;
        (stream.at(drawn) * n as f64) as usize
    };
    for seed in 0..12 {
        let (computation, property) = wide(seed, &[24, 10, 8, 2], 0.3);
        let (onnx, vnnlib) = (files::onnx(&computation), files::vnnlib(&property));
        let Some((_, steps)) = searched(&computation, &property, Arithmetic::Sound) else { continue };
        let rejected = |steps: &[Step], onnx: &[u8], vnnlib: &str| {
            let verdict = check(&write(&Header::new(Arithmetic::Sound, onnx, vnnlib.as_bytes()), steps), onnx, vnnlib);
            assert!(!holds(&verdict), "seed {seed}: {verdict:?}");
        };
        // A bound that an input violates, and a network that does: whatever numbers are changed besides.
        let higher = |rows: &Vec<LinearConstraint>| {
            rows.iter().map(|row| LinearConstraint { bound: row.bound + 0.3 + 1e-6, ..row.clone() }).collect()
        };
        let wrong = property.violations().iter().map(higher).collect();
        let wrong = files::vnnlib(&Property::new(property.input().clone(), wrong, 2).unwrap());
        let mut nodes = computation.nodes().to_vec();
        let Some(Operation::Dense(affine)) = nodes.last_mut().map(|node| &mut node.operation) else { panic!() };
        affine.bias.iter_mut().for_each(|bias| *bias = f64::from((*bias - 0.31) as f32));
        let other = files::onnx(&Computation::new(vec![24], nodes).unwrap());
        rejected(&steps, &onnx, &wrong);
        rejected(&steps, &other, &vnnlib);
        for _ in 0..20 {
            let (mut damaged, at) = (steps.clone(), draw(steps.len()));
            match &mut damaged[at] {
                Step::Alpha(all) => {
                    all.iter_mut().flat_map(|slopes| &mut slopes.2).for_each(|slope| *slope = draw(101) as f64 / 100.0);
                }
                Step::Leaf(_, beta) => beta.iter_mut().for_each(|beta| beta.2 *= draw(200) as f64 / 100.0),
                Step::Split(_, neuron) => *neuron = draw(8),
                _ => continue,
            }
            done += 1;
            rejected(&damaged, &onnx, &wrong);
            rejected(&damaged, &other, &vnnlib);
            // Lost, or twice.
            if !matches!(steps[at], Step::Alpha(_)) {
                rejected(&[&steps[..at], &steps[at + 1..]].concat(), &onnx, &vnnlib);
                rejected(&[&steps[..=at], &steps[at..]].concat(), &onnx, &vnnlib);
            }
        }
    }
    assert!(done > 50, "{done} proofs with other numbers");
}

#[test]
fn proofs_of_properties_of_version_2() {
    let (mut splits, mut found) = ([0, 0], 0);
    for seed in 0..16 {
        // Few inputs are halved, of many the ReLUs are split.
        let (computation, property) = if seed % 2 == 0 {
            let (computation, [lower, upper], least) = random(seed);
            (computation, above(lower, upper, least - 0.05))
        } else {
            wide(seed, &[24, 10, 8, 2], 0.3)
        };
        let onnx = files::onnx(&computation);
        for single in [false, true] {
            let arithmetic = if single { Arithmetic::Float32 } else { Arithmetic::Sound };
            let Some((_, steps)) = searched(&computation, &property, arithmetic) else { continue };
            let vnnlib = files::vnnlib_2(&property, single);
            let text = |claim, vnnlib: &str, steps: &[Step]| {
                let text = write(&Header::new(claim, &onnx, vnnlib.as_bytes()), steps);
                check(&text, &onnx, vnnlib)
            };
            let verdict = text(arithmetic, &vnnlib, &steps);
            assert!(holds(&verdict), "seed {seed}: {verdict:?}\n{vnnlib}");
            found += 1;
            splits[0] += steps.iter().filter(|step| matches!(step, Step::Split(..))).count();
            splits[1] += steps.iter().filter(|step| matches!(step, Step::Halve(..))).count();
            // What holds over the real numbers says nothing of floats.
            let other = text(Arithmetic::Sound, &vnnlib, &steps);
            assert_eq!(holds(&other), !single, "seed {seed}: {other:?}");
            // A leaf less, another file, and a bound that some input violates.
            let leaf = steps.iter().rposition(|step| matches!(step, Step::Leaf(..))).unwrap();
            assert!(!holds(&text(arithmetic, &vnnlib, &[&steps[..leaf], &steps[leaf + 1..]].concat())), "seed {seed}");
            let own = write(&Header::new(arithmetic, &onnx, vnnlib.as_bytes()), &steps);
            assert!(!holds(&check(&own, &onnx, &(vnnlib.clone() + "(assert (<= out[0] 0.0))\n"))), "seed {seed}");
            let higher = |rows: &Vec<LinearConstraint>| {
                rows.iter().map(|row| LinearConstraint { bound: row.bound + 0.31, ..row.clone() }).collect()
            };
            let wrong = property.violations().iter().map(higher).collect();
            let wrong = Property::new(property.input().clone(), wrong, property.outputs()).unwrap();
            assert!(!holds(&text(arithmetic, &files::vnnlib_2(&wrong, single), &steps)), "seed {seed}");
        }
    }
    assert!(found > 10 && splits[0] > 10 && splits[1] > 10, "{found} proofs, {splits:?} splits");
}

/// Boxes and groups of a property of two inputs and three outputs.
fn reading(text: &str) -> Vec<Property> {
    check::reading(text, 2, 3).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

/// The head of version 2.0; the body says `X[0,1]` and `out[1]` for version 1.0's `X_1` and `Y_1`.
fn twins(body: &str) -> [String; 2] {
    let ends =
        "(assert (>= X_0 0.0)) (assert (<= X_0 1.0))\n(assert (>= X_1 -0.5)) (assert (<= X_1 0.1)) ; a comment (\n";
    let names = ["X_0", "X_1", "Y_0", "Y_1", "Y_2"];
    let old: String = names.iter().map(|name| format!("(declare-const {name} Real)\n")).collect();
    let new = ["X[0, 0]", "X[0,1]", "out[0]", "out[ 1 ]", "out[2]"];
    let head =
        "(vnnlib-version <2.0>)\n(declare-network f (declare-input X real [1, 2]) (declare-output out real [3]))\n";
    let renamed = names.iter().zip(new).fold(format!("{ends}{body}"), |text, (old, new)| text.replace(old, new));
    [format!("{old}{ends}{body}"), format!("{head}{renamed}")]
}

#[test]
fn a_property_means_the_same_in_both_versions() {
    for (body, groups) in [
        ("(assert (<= Y_0 Y_1))(assert (<= Y_0 Y_2))(assert (>= Y_2 3.5))", vec![vec![3]]),
        ("(assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0) (<= Y_2 0.001))))", vec![vec![1, 2]]),
        (
            "(assert (or (and (<= X_0 0.25)) (and (>= X_0 0.75) (<= X_1 0.0))))(assert (or (<= Y_0 Y_1) (<= Y_0 Y_2)))",
            vec![vec![1, 1], vec![1, 1]],
        ),
        ("(assert (or (and (<= X_0 0.5) (<= Y_0 1.0)) (and (>= X_0 0.5) (>= Y_0 2.0))))", vec![vec![1], vec![1]]),
        ("(assert (>= X_0 2.0))(assert (<= Y_0 0.0))", vec![]),
        ("(assert (< X_0 0.5)) (assert (> X_0 0.25)) (assert (== Y_0 Y_2))", vec![vec![2]]),
        ("(assert (< (+ (* 0.5 Y_0) (- Y_1) 0.25) (* 2.0 Y_2)))", vec![vec![1]]),
    ] {
        let [old, new] = twins(body);
        let (old, new) = (reading(&old), reading(&new));
        assert_eq!(old, new, "{body}");
        let sizes: Vec<Vec<usize>> =
            new.iter().map(|property| property.violations().iter().map(Vec::len).collect()).collect();
        assert_eq!(sizes, groups, "{body}");
    }
    // 0.5 y0 - y1 - 2 y2 <= -0.25, times ten.
    let [_, new] = twins("(assert (< (+ (* 0.5 Y_0) (- Y_1) 0.25) (* 2.0 Y_2)))");
    let read = reading(&new);
    let [row] = &read[0].violations()[0][..] else { panic!("one row") };
    assert_eq!((&row.terms[..], row.bound), (&[(0, 5.0), (1, -10.0), (2, -20.0)][..], -2.5));
    // Next to a variable in single precision the nearest float is covered too.
    let near = f64::from(0.1f32);
    let [_, new] = twins("(assert (<= Y_0 0.1))");
    let [real, single] = [new.clone(), new.replace("real", "float32")].map(|text| reading(&text).remove(0));
    let ends = |property: &Property| (property.input().upper[1], property.violations()[0][0].bound);
    assert!(ends(&real).0 > 0.1 && ends(&real).0 < near && ends(&real).1 < near);
    assert_eq!(ends(&single), (near, near));
    // A third and a tenth are no doubles: ends lie outside.
    let [_, new] = twins("(assert (and (<= (* 3.0 X_0) 1.0) (>= (* -0.7 X_1) -0.07) (<= (* -1.0 X_0) -0.1)))");
    let property = reading(&new).remove(0);
    let (lower, upper) = (&property.input().lower, &property.input().upper);
    assert!(upper[0] > 1.0 / 3.0 && upper[0] < 1.0 / 3.0 + 1e-15 && upper[1] > 0.1 && upper[1] < 0.1 + 1e-15);
    assert!(lower[0] < 0.1 && lower[0] > 0.1 - 1e-15);
}

#[test]
fn what_is_not_read_of_a_property_is_named() {
    let [_, new] = twins("");
    for (body, why) in [
        ("(assert (!= out[0] 1.0))", "!="),
        ("(assert (<= (* out[0] out[1]) 1.0))", "a product of variables"),
        ("(assert (<= out[3] 1.0))", "out[3]"),
        ("(assert (<= other 1.0))", "other"),
        ("(assert (<= X[0,0] out[0]))", "inputs with outputs"),
        ("(assert (<= (+ X[0,0] X[0,1]) 1.0))", "several inputs"),
        ("(assert (<= (/ out[0] 2.0) 1.0))", "the operator /"),
        ("(assert (<= (* 1e-399 X[0,0]) 0.0))", "too small"),
        ("(assert (<= 0.0 1.0))", "constants"),
        ("(declare-network g (declare-input Z real [1]))", "second network"),
        ("(declare-const X_0 Real)", "both versions"),
        ("(check-sat)", "check-sat"),
    ] {
        let found = check::reading(&format!("{new}{body}"), 2, 3).unwrap_err();
        assert!(found.contains(why), "{body}: {found}");
    }
    for (from, to, why) in [
        ("<2.0>", "<3.0>", "<3.0>"),
        ("real [3]", "float64 [3]", "float64"),
        ("[1, 2]", "[1, 3]", "[1, 3]"),
        ("(declare-output out real [3])", "(declare-hidden h real [3] \"h\")", "declare-hidden"),
        ("(declare-output out real [3])", "", "declare all inputs and outputs"),
        ("(declare-output", "(declare-input", "numbers"),
        ("declare-network f", "declare-network f (equal-to g)", "equal-to"),
    ] {
        let found = check::reading(&new.replace(from, to), 2, 3).unwrap_err();
        assert!(found.contains(why), "{to}: {found}");
    }
    // Cut anywhere, it is refused or something else that is whole; never a panic.
    for end in 0..new.len() {
        let _ = check::reading(&new[..end], 2, 3);
    }
}

/// Too large to be split input by input. Without a proof, forms over the inputs tighten bounds, of which the checker knows nothing: a
/// search for a proof has to do without.
#[test]
fn large_networks_of_few_inputs_leave_proofs() {
    let (computation, property) = wide(5, &[3, 2100, 12, 2100, 12, 2], 0.05);
    let (onnx, vnnlib) = (files::onnx(&computation), files::vnnlib(&property));
    let (_, steps) = searched(&computation, &property, Arithmetic::Sound).expect("a proof");
    let verdict = check(&write(&Header::new(Arithmetic::Sound, &onnx, vnnlib.as_bytes()), &steps), &onnx, &vnnlib);
    assert!(holds(&verdict), "{verdict:?}");
    assert!(steps.iter().filter(|step| matches!(step, Step::Halve(..))).count() > 3);
}
