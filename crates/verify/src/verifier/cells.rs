//! Branch and bound over cells whose intermediate bounds are computed anew: dearer than to keep those of the whole box, but in deep
//! dense networks these are what makes the bounds loose, and all groups share the cells. What a cell leaves open is searched with its
//! bounds kept, for a while; then the cell is split where relaxation costs most, be it directly or by way of intermediate bounds. Where
//! few inputs vary, an input is halved instead: intermediate bounds over half a box are tighter everywhere.

use temper_graph::Property;

use super::{Group, ROOT, State, Verifier};
use crate::branch::{End, Limits};
use crate::cascade::{Answer, Witness};
use crate::engine::{
    Alpha, Ascent, Beta, Bounds, Job, Keep, Pushed, Rows, Split, Tight, backward, gradients, optimise, renewed,
};
use crate::proof::{self, Step};
use crate::split_input::SplitSettings;
use crate::steps::{leaf, relu, short_multipliers, tree};

/// ReLUs of networks for which it is worth the cost.
const NEURONS: usize = 4096;
/// Domains of a search in a cell.
const DOMAINS: u64 = 256;
/// By how much a bound that is worth a search falls with every cell that is not: searches in vain stay a share of the work, and a single
/// one does not keep all later cells from being searched.
const EASED: f64 = 1.02;
/// Neurons of a ReLU that are asked on which inputs they depend.
const DEAREST: usize = 64;
/// Steps for the groups in a cell.
const STEPS: Ascent = Ascent { iterations: 10, beta_rate: 0.2, ..ROOT };

struct Cell {
    splits: Vec<Split>,
    /// Until they are computed, those of the cell it was split from.
    bounds: Bounds<f64>,
    /// Groups, each with its slopes.
    open: Vec<(usize, Alpha<f32>)>,
}

/// Whether few enough inputs vary for splits of the input. A ball is not split: bounds over half of one are not tighter.
pub(super) fn few_vary(property: &Property) -> bool {
    let ends = property.input().lower.iter().zip(&property.input().upper);
    property.ball().is_none() && ends.filter(|(l, u)| l.next_up() < **u).count() <= SplitSettings::default().inputs
}

/// Numbers over the neurons of every node.
type Scores = Vec<Vec<f64>>;

impl Verifier {
    /// Whether cells are worth their cost: networks that are small, and deep enough for intermediate bounds to matter.
    pub(super) fn has_cells(&self) -> bool {
        let net = &self.single;
        net.relus().map(|node| net.len(net.reads(node))).sum::<usize>() <= NEURONS && net.relus().count() > 2
    }

    /// Splits the box into cells until no group is open in any.
    pub(super) fn cells(
        &self,
        property: &Property,
        groups: &mut [Group],
        alphas: Vec<Option<Alpha<f32>>>,
        bounds: &Bounds<f64>,
        layers: &[Tight<f32>],
        state: &mut State,
    ) -> Answer {
        let open = |(i, alpha): (usize, Option<Alpha<f32>>)| Some((i, alpha.filter(|_| groups[i].open())?));
        let open = alphas.into_iter().enumerate().filter_map(open).collect();
        let mut cells = vec![Cell { splits: Vec::new(), bounds: bounds.clone(), open }];
        let (few, mut root) = (few_vary(property), true);
        // Groups with a smaller bound are not worth a search: one in vain costs as much as some cells, and these help by far more.
        let mut hopeless = f64::NEG_INFINITY;
        while let Some(mut cell) = cells.pop() {
            if state.late() {
                return Answer::Timeout;
            }
            if (state.stop)() {
                return Answer::Unknown("it was told to stop".into());
            }
            if state.settings.max_domains.is_some_and(|most| state.domains >= most) {
                return Answer::Unknown(format!("{} domains were bounded", state.domains));
            }
            // The bounds of a cell are most of it.
            if (cells.len() * cell.bounds.bytes()) as u64 > state.settings.memory {
                return Answer::Unknown(format!("{} open cells take more memory than they may", cells.len()));
            }
            if !std::mem::take(&mut root) {
                self.again(&mut cell, layers, state);
                state.prove(|| vec![Step::Bounds(proof::Bounds::Crown)]);
            }
            state.domains += 1;
            let narrow = cell.bounds.to::<f32>();
            let mut values = match self.margins(property, groups, &mut cell, &narrow, state) {
                Ok(values) => values,
                Err(witness) => return Answer::Sat(witness),
            };
            if few {
                if !cell.open.is_empty() {
                    let Some((at, middle, halves)) = self.halves(property, groups, &cell, &narrow, &values) else {
                        return Answer::Unknown("a box as thin as doubles allow is not decided".into());
                    };
                    state.prove(|| vec![Step::Halve(at, middle)]);
                    cells.extend(halves);
                }
                continue;
            }
            let splittable =
                self.single.relus().any(|node| narrow.ends(self.single.reads(node)).unstable().next().is_some());
            // The worst first: if it stays open the cell has to be split.
            while let Some(worst) = (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])) {
                let value = values[worst];
                if value <= hopeless && splittable {
                    hopeless *= EASED;
                    break;
                }
                match self.search(property, groups, &cell, worst, &narrow, state) {
                    Ok(true) => hopeless = hopeless.min(value),
                    Ok(false) => {
                        hopeless = hopeless.max(value / 2.0);
                        break;
                    }
                    Err(witness) => return Answer::Sat(witness),
                }
                values.remove(worst);
                cell.open.remove(worst);
            }
            if cell.open.is_empty() {
                continue;
            }
            let Some((node, neuron)) = self.dearest(groups, &cell, &narrow, layers) else {
                return Answer::Unknown("no neuron is left to split in a cell".into());
            };
            // The half that is bounded first comes first in a proof.
            state.prove(|| vec![Step::Split(relu(&self.double, node), neuron)]);
            for active in [true, false] {
                let mut splits = cell.splits.clone();
                splits.push(Split { node, neuron: neuron as u32, active });
                let bounds = cell.bounds.split(self.double.reads(node), neuron, active);
                cells.push(Cell { splits, bounds, open: cell.open.clone() });
            }
        }
        groups.iter_mut().filter(|group| group.open()).for_each(|group| group.bound = state.least);
        Answer::Unsat
    }

    /// Computes a cell's bounds.
    fn again(&self, cell: &mut Cell, layers: &[Tight<f32>], state: &State) {
        let some = |layer: &Tight<f32>| {
            let ends = cell.bounds.ends(layer.value);
            let rows: Vec<usize> =
                (0..layer.units.len()).filter(|row| ends.is_unstable(layer.units[*row].0 as usize)).collect();
            let units = rows.iter().map(|row| layer.units[*row]).collect();
            state.exact_layer(&Tight { value: layer.value, units, alpha: layer.alpha.select(&rows) })
        };
        let layers: Vec<Tight<f64>> = layers.iter().map(some).filter(|layer| !layer.units.is_empty()).collect();
        // What was split last, and nothing before it, is narrower than in the cell that this one was split from.
        let split = cell.splits.last().map_or(0, |split| self.double.reads(split.node));
        cell.bounds = renewed(&self.double, &cell.bounds, split, &layers, &|| state.halted());
    }

    /// Bounds the groups that are open in a cell, and drops those that are closed in double precision. What is left of the bounds.
    fn margins(
        &self,
        property: &Property,
        groups: &[Group],
        cell: &mut Cell,
        narrow: &Bounds<f32>,
        state: &mut State,
    ) -> Result<Vec<f64>, Witness> {
        let held: Vec<(Vec<f32>, Beta<f32>)> =
            cell.open.iter().map(|(i, _)| (groups[*i].narrow(), self.beta(&groups[*i], &cell.splits))).collect();
        let jobs: Vec<Job<'_, f32>> = cell
            .open
            .iter()
            .zip(&held)
            .map(|((i, alpha), (rows, beta))| Job {
                constants: &groups[*i].constants,
                alpha: Some(alpha),
                beta: Some(beta),
                ..Job::new(narrow, self.single.output(), Rows::Dense(rows))
            })
            .collect();
        let best = optimise(&self.single, &jobs, &STEPS, &|| state.halted());
        let beta = |beta: &Beta<f32>| if state.proof.is_some() { short_multipliers(beta.to()) } else { beta.to() };
        let held: Vec<_> = best.iter().map(|best| (state.exact(&best.alpha), beta(&best.beta))).collect();
        let jobs: Vec<Job<'_, f64>> = cell
            .open
            .iter()
            .zip(&held)
            .map(|((i, _), (alpha, beta))| Job {
                constants: &groups[*i].constants,
                alpha: Some(alpha),
                beta: Some(beta),
                ..Job::new(&cell.bounds, self.double.output(), Rows::Dense(&groups[*i].rows))
            })
            .collect();
        let pushed = backward(&self.double, &jobs, Keep::default());
        let (mut open, mut values) = (Vec::new(), Vec::new());
        for ((((i, _), best), pushed), (alpha, beta)) in cell.open.iter().zip(best).zip(pushed).zip(&held) {
            let value = pushed.bound.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if value > 0.0 {
                state.least = state.least.min(value);
                let row = pushed.bound.iter().position(|bound| *bound == value).unwrap_or(0);
                state.close(*i, || leaf(&self.double, &cell.bounds, row, alpha, Some(beta)));
                continue;
            }
            for point in best.point.chunks(self.single.inputs()) {
                if let Some(witness) = self.confirm(property, point, state.settings.thin) {
                    return Err(witness);
                }
            }
            values.push(value);
            open.push((*i, best.alpha));
        }
        cell.open = open;
        Ok(values)
    }

    fn beta(&self, group: &Group, splits: &[Split]) -> Beta<f32> {
        Beta::new(splits.to_vec(), group.constants.len())
    }

    /// Whether a short search with the cell's bounds closes a group in it.
    fn search(
        &self,
        property: &Property,
        groups: &[Group],
        cell: &Cell,
        place: usize,
        narrow: &Bounds<f32>,
        state: &mut State,
    ) -> Result<bool, Witness> {
        let (group, alpha) = &cell.open[place];
        let left = state.settings.max_domains.map_or(u64::MAX, |most| most.saturating_sub(state.domains));
        let limits =
            Limits { deadline: state.deadline, max_domains: Some(DOMAINS.min(left)), memory: state.settings.memory };
        let question = self.question(&groups[*group], (narrow, &cell.bounds), alpha, &cell.splits);
        let (searched, witness) = self.branched(property, &question, limits, state);
        if searched.end == End::Closed {
            state.least = state.least.min(searched.bound);
            state.prove(|| tree(&self.double, *group, searched.leaves, cell.splits.len()));
        }
        match (searched.end, witness) {
            (End::Found, Some(witness)) => Err(witness),
            (end, _) => Ok(end == End::Closed),
        }
    }

    /// The input on whose width the bounds of open groups depend most, its middle, and both halves of a cell; `values` are these bounds.
    /// `None` if nothing is left to halve.
    fn halves(
        &self,
        property: &Property,
        groups: &[Group],
        cell: &Cell,
        narrow: &Bounds<f32>,
        values: &[f64],
    ) -> Option<(usize, f64, [Cell; 2])> {
        let (ends, whole) = (cell.bounds.ends(0), property.input());
        let held: Vec<Vec<f32>> = cell.open.iter().map(|(i, _)| groups[*i].narrow()).collect();
        let jobs: Vec<Job<'_, f32>> = cell
            .open
            .iter()
            .zip(&held)
            .map(|((_, alpha), rows)| Job {
                alpha: Some(alpha),
                ..Job::new(narrow, self.single.output(), Rows::Dense(rows))
            })
            .collect();
        let pushed = backward(&self.single, &jobs, Keep { line: true, lambda: true });
        let scales: Vec<f64> = values.iter().map(|value| 1.0 / (value.abs() + 1e-30)).collect();
        let mut falls = self.promises(narrow, &pushed, &scales);
        for (pushed, scale) in pushed.iter().zip(&scales) {
            for line in pushed.line.chunks(falls.len()) {
                falls.iter_mut().zip(line).for_each(|(fall, c)| *fall += 0.05 * scale * f64::from(c.abs()));
            }
        }
        let score = |i: usize| {
            let width = ends.upper[i] - ends.lower[i];
            // A little for the width itself, so that no input stays whole for ever.
            let part = width / (whole.upper[i] - whole.lower[i]).max(f64::MIN_POSITIVE);
            (falls[i] * width + 0.1 * part, i)
        };
        let middle = |i: usize| 0.5 * ends.lower[i] + 0.5 * ends.upper[i];
        let splits = |i: &usize| ends.lower[*i] < middle(*i) && middle(*i) < ends.upper[*i];
        // The first of equals.
        let (_, at) = (0..ends.lower.len()).filter(splits).map(score).reduce(|a, b| if b.0 > a.0 { b } else { a })?;
        let half = |below: bool| {
            let mut half = ends.clone();
            *if below { &mut half.upper[at] } else { &mut half.lower[at] } = middle(at);
            Cell { splits: Vec::new(), bounds: cell.bounds.narrowed(half), open: cell.open.clone() }
        };
        // The last is taken first, and comes first in a proof.
        Some((at, middle(at), [false, true].map(half)))
    }

    /// Of every input, how fast what relaxation costs the rows falls with its width: by the lines of the dearest neurons of every ReLU.
    fn promises(&self, narrow: &Bounds<f32>, pushed: &[Pushed<f32>], scales: &[f64]) -> Vec<f64> {
        let net = &self.single;
        let mut scores: Scores = (0..net.output()).map(|node| vec![0.0; net.len(node + 1)]).collect();
        for (pushed, scale) in pushed.iter().zip(scales) {
            self.costs(pushed, &vec![*scale; pushed.bound.len()], narrow, &mut scores);
        }
        let mut promises = vec![0.0; net.inputs()];
        for node in net.relus() {
            let (value, scores) = (net.reads(node), &scores[node]);
            let ends = narrow.ends(value);
            let mut dear: Vec<usize> = ends.unstable().filter(|i| scores[*i] > 0.0).collect();
            dear.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            dear.truncate(DEAREST);
            let units: Vec<(u32, bool)> = dear.iter().map(|i| (*i as u32, false)).collect();
            let job = Job::new(narrow, value, Rows::Units(&units));
            let lines = backward(net, &[job], Keep { line: true, lambda: false }).remove(0).line;
            for (i, line) in dear.iter().zip(lines.chunks(net.inputs())) {
                let share = scores[*i] / f64::from(ends.upper[*i] - ends.lower[*i]);
                promises.iter_mut().zip(line).for_each(|(promise, c)| *promise += share * f64::from(c.abs()));
            }
        }
        promises
    }

    /// The neuron whose upper line costs the open groups most.
    fn dearest(
        &self,
        groups: &[Group],
        cell: &Cell,
        narrow: &Bounds<f32>,
        layers: &[Tight<f32>],
    ) -> Option<(usize, usize)> {
        let net = &self.single;
        let mut scores: Scores = (0..net.output()).map(|node| vec![0.0; net.len(node + 1)]).collect();
        let mut by = [scores.clone(), scores.clone()];
        let mut count = |job: Job<'_, f32>, weights: Vec<f64>, by: &mut [Scores; 2]| {
            let (pushed, found) = gradients(net, &[job], Some(std::slice::from_ref(&weights))).remove(0);
            self.costs(&pushed, &weights, narrow, &mut scores);
            for (node, [lower, upper]) in found.ends.iter().enumerate() {
                by[0][node].iter_mut().zip(lower).for_each(|(by, more)| *by += more);
                by[1][node].iter_mut().zip(upper).for_each(|(by, more)| *by += more);
            }
        };
        for (i, alpha) in &cell.open {
            let (rows, beta) = (groups[*i].narrow(), self.beta(&groups[*i], &cell.splits));
            let weights = vec![1.0; groups[*i].constants.len()];
            let job =
                Job { alpha: Some(alpha), beta: Some(&beta), ..Job::new(narrow, net.output(), Rows::Dense(&rows)) };
            count(job, weights, &mut by);
        }
        for layer in layers.iter().rev() {
            let weight = |(row, (number, negative)): (usize, &(u32, bool))| {
                let side = &by[usize::from(*negative)];
                let readers = net.relus().filter(|node| net.reads(*node) == layer.value);
                let sum = readers.map(|node| side[node][*number as usize]).sum::<f64>().abs();
                (sum > 0.0 && sum.is_finite()).then_some((row, sum))
            };
            let (rows, weights): (Vec<usize>, Vec<f64>) = layer.units.iter().enumerate().filter_map(weight).unzip();
            if !rows.is_empty() {
                let units: Vec<(u32, bool)> = rows.iter().map(|row| layer.units[*row]).collect();
                let alpha = layer.alpha.select(&rows);
                let job = Job { alpha: Some(&alpha), ..Job::new(narrow, layer.value, Rows::Units(&units)) };
                count(job, weights, &mut by);
            }
        }
        let neurons = net.relus().flat_map(|node| narrow.ends(net.reads(node)).unstable().map(move |i| (node, i)));
        // The first of equals.
        neurons.reduce(|a, b| if scores[b.0][b.1] > scores[a.0][a.1] { b } else { a })
    }

    /// Adds what the upper lines of neurons cost rows.
    fn costs(&self, pushed: &Pushed<f32>, weights: &[f64], bounds: &Bounds<f32>, scores: &mut Scores) {
        for node in self.single.relus().filter(|node| !pushed.lambda[*node].is_empty()) {
            let ends = bounds.ends(self.single.reads(node));
            for neuron in ends.unstable() {
                let [l, u] = [ends.lower[neuron], ends.upper[neuron]].map(f64::from);
                let rows = pushed.lambda[node].iter().skip(neuron).step_by(ends.lower.len());
                let cost: f64 = rows.zip(weights).map(|(c, weight)| weight * f64::from(-c.min(0.0))).sum();
                scores[node][neuron] += cost * -l * u / (u - l);
            }
        }
    }
}
