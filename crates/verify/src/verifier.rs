//! One network, ready to be asked about properties: the stages from cheap to dear, each only on the groups of constraints that those
//! before left open.

mod cells;

use std::time::Instant;

use temper_base::{Problem, Result};
use temper_graph::{Computation, Operation, Property};

use crate::attack::{AttackSettings, Thin, attack, confirm};
use crate::branch::{self, End, Limits, Question};
use crate::cascade::{Answer, Arithmetic, Decision, Settings, Stage, Witness};
use crate::engine::{
    Alpha, Ascent, Bounds, Ends, Job, Keep, Lower, Prepared, Region, Rows, Split, Tight, backward, intermediate,
    interval, optimise, optimise_layers, tightened,
};
use crate::proof::Step;
use crate::split_input::{SplitSettings, split_input};
use crate::steps::{flat_leaf, layer_rows, leaf, short, tree};
use crate::store::StageSeconds;

/// A network in the forms that the stages need.
#[derive(Debug)]
pub struct Verifier {
    /// Layer by layer as it was read: what a counterexample is confirmed on.
    layers: Computation,
    /// Merged: what bounds are of.
    merged: Computation,
    single: Prepared<f32>,
    double: Prepared<f64>,
    /// With max pools as ReLUs, which can be split; `None` if there are none.
    split: Option<Box<Verifier>>,
}

/// Constraints that have to be met together to violate: one of them shown to be out of reach excludes them all.
struct Group {
    /// `[rows, outputs]`.
    rows: Vec<f64>,
    /// What is added to each row: it is out of reach if the sum is positive.
    constants: Vec<f64>,
    /// The best bound so far.
    bound: f64,
}

impl Group {
    fn open(&self) -> bool {
        // A bound is never a NaN.
        self.bound <= 0.0
    }

    /// The rows in single precision.
    fn narrow(&self) -> Vec<f32> {
        self.rows.iter().map(|c| *c as f32).collect()
    }

    /// Notes bounds of its rows. The row that excludes it, if it was open before.
    fn raise(&mut self, bounds: &[f64]) -> Option<usize> {
        let open = self.open();
        self.bound = bounds.iter().copied().fold(self.bound, f64::max);
        bounds.iter().position(|bound| open && *bound > 0.0 && *bound == self.bound)
    }
}

/// What a question has come to.
struct State<'a> {
    settings: &'a Settings,
    deadline: Option<Instant>,
    stop: &'a (dyn Fn() -> bool + Sync),
    stage: Stage,
    /// What every stage took until `since`.
    seconds: StageSeconds,
    since: Instant,
    domains: u64,
    /// Whether all properties were attacked.
    attacked: bool,
    /// The least bound with which branching closed something.
    least: f64,
    /// The steps of the proof so far, if one is kept.
    proof: Option<Vec<Step>>,
}

impl State<'_> {
    fn halted(&self) -> bool {
        (self.stop)() || self.late()
    }

    fn late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// When this share of the time left is over. With a budget of domains, nothing but the end of all time is left to the clock.
    fn share(&self, share: f64) -> Option<Instant> {
        let share = if self.settings.max_domains.is_some() { 1.0 } else { share };
        let now = Instant::now();
        self.deadline.map(|deadline| now + deadline.saturating_duration_since(now).mul_f64(share))
    }

    /// Adds steps to the proof.
    fn prove(&mut self, steps: impl FnOnce() -> Vec<Step>) {
        if let Some(proof) = &mut self.proof {
            proof.extend(steps());
        }
    }

    /// Adds a group's tree of one leaf.
    fn close(&mut self, group: usize, leaf: impl FnOnce() -> Vec<Step>) {
        self.prove(|| [vec![Step::Group(group)], leaf()].concat());
    }

    /// Slopes in double precision, as they are written if a proof is kept.
    fn exact(&self, alpha: &Alpha<f32>) -> Alpha<f64> {
        if self.proof.is_some() { short(alpha.to()) } else { alpha.to() }
    }

    fn exact_layer(&self, layer: &Tight<f32>) -> Tight<f64> {
        Tight { value: layer.value, units: layer.units.clone(), alpha: self.exact(&layer.alpha) }
    }

    fn runs(&self, stage: Stage) -> bool {
        self.settings.stages.contains(&stage)
    }

    /// Goes on to another stage.
    fn enter(&mut self, stage: Stage) {
        self.count();
        self.stage = stage;
    }

    /// Counts the time since the last count for the stage.
    fn count(&mut self) {
        let now = Instant::now();
        self.seconds[self.stage as usize] += (now - self.since).as_secs_f64();
        self.since = now;
    }

    fn decision(&mut self, answer: Answer, bound: Option<f64>, begun: Instant) -> Decision {
        self.count();
        Decision {
            answer,
            stage: self.stage,
            arithmetic: self.settings.arithmetic,
            bound,
            domains: self.domains,
            seconds: begun.elapsed().as_secs_f64(),
            stages: self.seconds,
        }
    }
}

impl Verifier {
    /// Prepares a network.
    pub fn new(computation: &Computation) -> Self {
        let merged = computation.merged();
        let pools = merged.nodes().iter().any(|node| matches!(node.operation, Operation::MaxPool(_)));
        let split = pools.then(|| Box::new(Self::of(computation, merged.max_pools_as_relus(), None)));
        Self::of(computation, merged, split)
    }

    fn of(layers: &Computation, merged: Computation, split: Option<Box<Self>>) -> Self {
        Self { single: Prepared::new(&merged), double: Prepared::new(&merged), layers: layers.clone(), merged, split }
    }

    /// The network as it was given.
    pub fn computation(&self) -> &Computation {
        &self.layers
    }

    /// Decides whether an input of any of these properties violates it. `stop` is asked between passes, and ends the search.
    ///
    /// # Errors
    /// Properties of another network.
    pub fn decide(
        &self,
        properties: &[Property],
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Decision> {
        self.decide_and_keep(properties, settings, stop, false).map(|(decision, _)| decision)
    }

    /// The same, with the steps of a proof of an `Unsat` for [`proof::write`](crate::proof::write), except in plain arithmetic. They are
    /// the search's claim; whether they hold is for [`check`](crate::check()) to say. Max pools are ReLUs from the first stage on, and
    /// slopes have few digits: what is just provable may not be so in this way.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub fn decide_with_proof(
        &self,
        properties: &[Property],
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<(Decision, Option<Vec<Step>>)> {
        self.decide_and_keep(properties, settings, stop, true)
    }

    fn decide_and_keep(
        &self,
        properties: &[Property],
        settings: &Settings,
        stop: &(dyn Fn() -> bool + Sync),
        keep: bool,
    ) -> Result<(Decision, Option<Vec<Step>>)> {
        let begun = Instant::now();
        let (inputs, outputs) = (self.layers.inputs(), self.layers.outputs());
        for property in properties {
            if (property.input().lower.len(), property.outputs()) != (inputs, outputs) {
                let why = format!(
                    "it speaks of {} inputs and {} outputs; the network has {inputs} and {outputs}",
                    property.input().lower.len(),
                    property.outputs()
                );
                return Err(Problem::input("verify", "property", why));
            }
        }
        let deadline = settings.timeout.map(|timeout| begun + timeout);
        let (stage, seconds, since) = (Stage::Ibp, StageSeconds::default(), begun);
        let (domains, attacked, least) = (0, false, f64::INFINITY);
        let proof = (keep && settings.arithmetic != Arithmetic::Real).then(Vec::new);
        let mut state = State { settings, deadline, stop, stage, seconds, since, domains, attacked, least, proof };
        let mut bound = f64::INFINITY;
        let mut answer = Answer::Unsat;
        if state.runs(Stage::Attack) && self.layers.inputs() <= SplitSettings::default().inputs {
            state.enter(Stage::Attack);
            if let Some(witness) = properties.iter().find_map(|property| self.attack(property, 1, &state)) {
                return Ok((state.decision(Answer::Sat(witness), None, begun), None));
            }
            state.attacked = true;
        }
        if state.runs(Stage::Bab)
            && let Some((answer, least)) = self.split_inputs(properties, &mut state)
        {
            let bound = least.is_finite().then_some(least);
            let proof = state.proof.take().filter(|_| answer == Answer::Unsat);
            return Ok((state.decision(answer, bound, begun), proof));
        }
        for (number, property) in properties.iter().enumerate() {
            state.prove(|| vec![Step::Box(number)]);
            let (found, least) = self.property(property, &mut state);
            bound = bound.min(least);
            match found {
                Answer::Unsat => {}
                Answer::Sat(_) => {
                    answer = found;
                    break;
                }
                // What is open stays open, but a later property may be violated.
                Answer::Unknown(_) | Answer::Timeout if answer == Answer::Unsat => answer = found,
                Answer::Unknown(_) | Answer::Timeout => {}
            }
        }
        let proof = state.proof.take().filter(|_| answer == Answer::Unsat);
        Ok((state.decision(answer, bound.is_finite().then_some(bound), begun), proof))
    }

    /// The answer for one property, and the least bound of its groups.
    fn property(&self, property: &Property, state: &mut State) -> (Answer, f64) {
        let outputs = property.outputs();
        let group = |constraints: &Vec<temper_graph::LinearConstraint>| {
            let mut rows = vec![0.0; constraints.len() * outputs];
            for (row, constraint) in rows.chunks_mut(outputs.max(1)).zip(constraints) {
                constraint.terms.iter().for_each(|(output, coefficient)| row[*output] += coefficient);
            }
            let constants = constraints.iter().map(|constraint| -constraint.bound).collect();
            Group { rows, constants, bound: f64::NEG_INFINITY }
        };
        let mut groups: Vec<Group> = property.violations().iter().map(group).collect();
        let answer = self.stages(property, &mut groups, state);
        (answer, groups.iter().map(|group| group.bound).fold(f64::INFINITY, f64::min))
    }

    fn stages(&self, property: &Property, groups: &mut [Group], state: &mut State) -> Answer {
        if groups.is_empty() {
            return Answer::Unsat;
        }
        if let Some(split) = self.split.as_deref().filter(|_| state.proof.is_some()) {
            return split.stages(property, groups, state);
        }
        let closed = |groups: &[Group]| !groups.iter().any(Group::open);
        let ended = |state: &State, tried: &str| {
            if state.late() { Answer::Timeout } else { Answer::Unknown(tried.into()) }
        };
        if state.runs(Stage::Attack) && !state.attacked {
            state.enter(Stage::Attack);
            if let Some(witness) = self.attack(property, 1, state) {
                return Answer::Sat(witness);
            }
        }
        let deepest = [Stage::Bab, Stage::Alpha, Stage::Crown].into_iter().find(|stage| state.runs(*stage));
        match (state.runs(Stage::Ibp), deepest) {
            (false, None) => return Answer::Unknown("no counterexample was found".into()),
            (false, Some(_)) => state.enter(Stage::Crown),
            (true, _) => state.enter(Stage::Ibp),
        }
        let claim = state.settings.arithmetic;
        // The checker of proofs knows no forms: what they alone can show would have none.
        let region = region(property, state.proof.is_none());
        let intervals = interval(&self.double, region.clone(), claim);
        if state.runs(Stage::Ibp) {
            self.intervals(groups, &intervals, state);
            if closed(groups) {
                return Answer::Unsat;
            }
        }
        if state.halted() {
            return ended(state, "it was told to stop");
        }
        let Some(deepest) = deepest else { return Answer::Unknown("intervals are too wide".into()) };
        state.enter(Stage::Crown);
        // With the intervals as intermediate bounds it is cheap, and often enough.
        self.linear(groups, &intervals, Lower::Adaptive, state);
        if closed(groups) {
            return Answer::Unsat;
        }
        let stop = || state.halted();
        let mut bounds = intermediate(&self.double, region, claim, Some(&intervals), &stop);
        state.prove(|| vec![Step::Bounds(crate::proof::Bounds::Crown)]);
        for rule in [Lower::Adaptive, Lower::Zero] {
            self.linear(groups, &bounds, rule, state);
        }
        if closed(groups) {
            return Answer::Unsat;
        }
        if state.halted() {
            return ended(state, "it was told to stop");
        }
        if deepest == Stage::Crown {
            return Answer::Unknown("linear bounds are not tight enough".into());
        }
        let few = cells::few_vary(property);
        if let Some(split) = self.split.as_deref().filter(|_| deepest == Stage::Bab && !few) {
            // Its stages begin anew: its intermediate values are others.
            return split.stages(property, groups, state);
        }
        let mut narrow = bounds.to::<f32>();
        let mut alphas = match self.optimise(property, groups, &bounds, &narrow, state) {
            Ok(alphas) => alphas,
            Err(witness) => return Answer::Sat(witness),
        };
        if closed(groups) {
            return Answer::Unsat;
        }
        let mut layers = Vec::new();
        if !(few && deepest == Stage::Bab)
            && let Some(tighter) = self.layers(property, groups, &bounds, &narrow, state)
        {
            (bounds, layers) = tighter;
            narrow = bounds.to::<f32>();
            alphas = match self.optimise(property, groups, &bounds, &narrow, state) {
                Ok(alphas) => alphas,
                Err(witness) => return Answer::Sat(witness),
            };
            if closed(groups) {
                return Answer::Unsat;
            }
        }
        if state.halted() {
            return ended(state, "it was told to stop");
        }
        if deepest == Stage::Alpha {
            return Answer::Unknown("optimised slopes are not enough".into());
        }
        if state.runs(Stage::Attack) {
            state.enter(Stage::Attack);
            if let Some(witness) = self.attack(property, 5, state) {
                return Answer::Sat(witness);
            }
        }
        state.enter(Stage::Bab);
        if few || self.has_cells() {
            return self.cells(property, groups, alphas, &bounds, &layers, state);
        }
        self.branch(property, groups, &narrow, &alphas, &bounds, state)
    }

    /// Interval bounds of the constraints.
    fn intervals(&self, groups: &mut [Group], bounds: &Bounds<f64>, state: &mut State) {
        let ends = bounds.ends(self.double.output());
        for (i, group) in groups.iter_mut().enumerate() {
            let row = |(row, constant): (&[f64], &f64)| {
                let terms = row.iter().zip(ends.lower.iter().zip(&ends.upper)).filter(|(c, _)| **c != 0.0);
                let below = |sum: f64, (c, (l, u)): (&f64, (&f64, &f64))| {
                    (sum + (c * if *c > 0.0 { l } else { u }).next_down()).next_down()
                };
                terms.fold(*constant, below)
            };
            let found: Vec<f64> = group.rows.chunks(ends.lower.len()).zip(&group.constants).map(row).collect();
            let known = |bound: &f64| if bound.is_nan() { f64::NEG_INFINITY } else { *bound };
            if let Some(row) = group.raise(&found.iter().map(known).collect::<Vec<_>>()) {
                // Linear bounds with this slope are at least as tight as intervals.
                state.close(i, || flat_leaf(&self.double, row));
            }
        }
    }

    /// Linear bounds of the open groups.
    fn linear(&self, groups: &mut [Group], bounds: &Bounds<f64>, lower: Lower, state: &mut State) {
        let open: Vec<usize> = (0..groups.len()).filter(|group| groups[*group].open()).collect();
        let job = |i: &usize| Job {
            constants: &groups[*i].constants,
            lower,
            ..Job::new(bounds, self.double.output(), Rows::Dense(&groups[*i].rows))
        };
        let pushed = backward(&self.double, &open.iter().map(job).collect::<Vec<_>>(), Keep::default());
        for (i, pushed) in open.into_iter().zip(pushed) {
            if let Some(row) = groups[i].raise(&pushed.bound) {
                state.close(i, || match lower {
                    Lower::Zero => flat_leaf(&self.double, row),
                    _ => vec![Step::Leaf(vec![(row, 1.0)], Vec::new())],
                });
            }
        }
    }
}

/// The inputs of a property; whether forms over them may tighten bounds.
fn region(property: &Property, forms: bool) -> Region<f64> {
    let input = property.input();
    let ball = property.ball().map(|ball| (ball.centre.clone(), ball.radius));
    Region { ends: Ends::outward(&input.lower, &input.upper), ball, forms }
}

/// Steps of the optimiser for the whole box.
const ROOT: Ascent =
    Ascent { iterations: 20, alpha_rate: 0.1, beta_rate: 0.05, decay: 0.98, threshold: 0.0, any: true };

/// Steps for intermediate bounds.
const LAYERS: Ascent = Ascent { alpha_rate: 0.25, any: false, ..ROOT };

/// The share of the time left that a search for counterexamples may take.
const ATTACK_SHARE: f64 = 0.25;

/// The share of the time left that intermediate bounds may take.
const JOINT_SHARE: f64 = 0.2;

impl Verifier {
    /// Optimised slopes for the open groups: the slopes of each, or a counterexample that the bounds pointed at.
    fn optimise(
        &self,
        property: &Property,
        groups: &mut [Group],
        bounds: &Bounds<f64>,
        narrow: &Bounds<f32>,
        state: &mut State,
    ) -> Result<Vec<Option<Alpha<f32>>>, Witness> {
        state.enter(Stage::Alpha);
        let open: Vec<usize> = (0..groups.len()).filter(|group| groups[*group].open()).collect();
        let held: Vec<(Vec<f64>, Vec<f32>)> = open
            .iter()
            .map(|i| (groups[*i].constants.clone(), groups[*i].rows.iter().map(|c| *c as f32).collect()))
            .collect();
        let jobs: Vec<Job<f32>> = held
            .iter()
            .map(|(constants, rows)| Job { constants, ..Job::new(narrow, self.single.output(), Rows::Dense(rows)) })
            .collect();
        let stop = || state.halted();
        let best = optimise(&self.single, &jobs, &ROOT, &stop);
        let exact: Vec<Alpha<f64>> = best.iter().map(|best| state.exact(&best.alpha)).collect();
        let rows: Vec<(Vec<f64>, Vec<f64>)> =
            open.iter().map(|i| (groups[*i].rows.clone(), groups[*i].constants.clone())).collect();
        let jobs: Vec<Job<f64>> = rows
            .iter()
            .zip(&exact)
            .map(|((rows, constants), alpha)| Job {
                constants,
                alpha: Some(alpha),
                ..Job::new(bounds, self.double.output(), Rows::Dense(rows))
            })
            .collect();
        let pushed = backward(&self.double, &jobs, Keep::default());
        let mut alphas: Vec<Option<Alpha<f32>>> = groups.iter().map(|_| None).collect();
        for (((i, best), pushed), alpha) in open.into_iter().zip(best).zip(pushed).zip(&exact) {
            if let Some(row) = groups[i].raise(&pushed.bound) {
                state.close(i, || leaf(&self.double, bounds, row, alpha, None));
            }
            if groups[i].open() && state.runs(Stage::Attack) {
                for point in best.point.chunks(self.single.inputs()) {
                    if let Some(witness) = self.confirm(property, point, state.settings.thin) {
                        return Err(witness);
                    }
                }
            }
            alphas[i] = Some(best.alpha);
        }
        Ok(alphas)
    }

    /// Intermediate bounds whose slopes were optimised layer by layer, with these slopes; `None` if nothing came of it.
    fn layers(
        &self,
        property: &Property,
        groups: &[Group],
        bounds: &Bounds<f64>,
        narrow: &Bounds<f32>,
        state: &mut State,
    ) -> Option<(Bounds<f64>, Vec<Tight<f32>>)> {
        let until = state.share(JOINT_SHARE);
        let stop = || (state.stop)() || until.is_some_and(|until| Instant::now() >= until);
        let open: Vec<&Group> = groups.iter().filter(|group| group.open()).collect();
        let rows: Vec<f32> = open.iter().flat_map(|group| group.rows.iter().map(|c| *c as f32)).collect();
        let constants: Vec<f64> = open.iter().flat_map(|group| group.constants.iter().copied()).collect();
        let job = Job { constants: &constants, ..Job::new(narrow, self.single.output(), Rows::Dense(&rows)) };
        let (_, layers) = optimise_layers(&self.single, &job, &LAYERS, &stop);
        let exact: Vec<_> = layers.iter().map(|layer| state.exact_layer(layer)).collect();
        let halted = || state.halted();
        let found = tightened(
            &self.double,
            region(property, state.proof.is_none()),
            state.settings.arithmetic,
            Some(bounds),
            &exact,
            &halted,
        );
        if state.halted() {
            return None;
        }
        state.prove(|| {
            let given = exact.iter().filter_map(|layer| layer_rows(&self.double, layer));
            given.chain([Step::Bounds(crate::proof::Bounds::Crown)]).collect()
        });
        Some((found, layers))
    }

    /// Branch and bound for one question, with what it found among the points that bounds pointed at.
    fn branched(
        &self,
        property: &Property,
        question: &Question,
        limits: Limits,
        state: &mut State,
    ) -> (branch::Searched, Option<Witness>) {
        let mut witness = None;
        let mut found = |points: &[&[f32]]| {
            witness = points.iter().find_map(|point| self.confirm(property, point, state.settings.thin));
            witness.is_some()
        };
        let searched = branch::search(question, limits, state.proof.is_some(), &mut found, state.stop);
        state.domains += searched.domains;
        (searched, witness)
    }

    /// Splits what is open.
    fn branch(
        &self,
        property: &Property,
        groups: &mut [Group],
        narrow: &Bounds<f32>,
        alphas: &[Option<Alpha<f32>>],
        bounds: &Bounds<f64>,
        state: &mut State,
    ) -> Answer {
        let mut open: Vec<usize> = (0..groups.len()).filter(|group| groups[*group].open()).collect();
        // Those that promise to be easy first: what they leave of their share of the time goes to the others.
        open.sort_by(|a, b| groups[*b].bound.total_cmp(&groups[*a].bound));
        let mut answer = Answer::Unsat;
        for (done, i) in open.iter().enumerate() {
            let Some(alpha) = &alphas[*i] else { return Answer::Unknown("a group has no slopes".into()) };
            let now = Instant::now();
            let share = |deadline: Instant| now + deadline.saturating_duration_since(now) / (open.len() - done) as u32;
            let limits = Limits {
                deadline: state.deadline.map(share),
                max_domains: state.settings.max_domains.map(|most| most.saturating_sub(state.domains)),
                memory: state.settings.memory,
            };
            let question = self.question(&groups[*i], (narrow, bounds), alpha, &[]);
            let (searched, witness) = self.branched(property, &question, limits, state);
            match searched.end {
                End::Closed => {
                    groups[*i].bound = groups[*i].bound.max(searched.bound);
                    state.prove(|| tree(&self.double, *i, searched.leaves, 0));
                }
                End::Found => return Answer::Sat(witness.expect("a point was found")),
                End::Open(why) => {
                    groups[*i].bound = groups[*i].bound.max(searched.bound);
                    answer = Answer::Unknown(why);
                    break;
                }
                End::Timeout => {
                    groups[*i].bound = groups[*i].bound.max(searched.bound);
                    answer = Answer::Timeout;
                }
            }
        }
        answer
    }

    /// What is asked of branch and bound: to exclude a group over these bounds, in single and in double precision.
    fn question<'a>(
        &'a self,
        group: &'a Group,
        (bounds, exact_bounds): (&'a Bounds<f32>, &'a Bounds<f64>),
        alpha: &'a Alpha<f32>,
        splits: &'a [Split],
    ) -> Question<'a> {
        Question {
            computation: &self.merged,
            net: &self.single,
            exact: &self.double,
            bounds,
            exact_bounds,
            rows: &group.rows,
            constants: &group.constants,
            alpha,
            splits,
        }
    }

    /// A search for a counterexample; `effort` multiplies its starts. Stages after it keep most of the time that is left.
    fn attack(&self, property: &Property, effort: usize, state: &State) -> Option<Witness> {
        let usual = AttackSettings::default();
        let settings = AttackSettings {
            restarts: usual.restarts * effort / 4,
            seed: state.settings.seed.wrapping_add(effort as u64),
            thin: state.settings.thin,
            deadline: state.share(if state.settings.stages == [Stage::Attack] { 1.0 } else { ATTACK_SHARE }),
            ..usual
        };
        attack(&self.layers, property, &settings, state.stop)
    }

    fn confirm(&self, property: &Property, point: &[f32], thin: Thin) -> Option<Witness> {
        let point: Vec<f64> = point.iter().map(|x| f64::from(*x)).collect();
        confirm(&self.layers, property, &point, thin)
    }

    /// Splits the box, where few inputs vary and the network is small. Then that is the shortest way to either answer. A ball is not split.
    fn split_inputs(&self, properties: &[Property], state: &mut State) -> Option<(Answer, f64)> {
        let claim = state.settings.arithmetic;
        // Sums in single precision that may overflow have no end in the intervals, and are not looked for below.
        let overflows = |property: &Property| {
            let bounds = interval(&self.double, region(property, true), claim);
            (0..=self.double.output()).any(|value| bounds.ends(value).upper.iter().any(|end| !end.is_finite()))
        };
        let unfit =
            |property: &Property| property.ball().is_some() || claim == Arithmetic::Float32 && overflows(property);
        if properties.iter().any(unfit) {
            return None;
        }
        let settings = SplitSettings {
            arithmetic: state.settings.arithmetic,
            max_domains: state.settings.max_domains,
            memory: state.settings.memory,
            deadline: state.deadline,
            thin: state.settings.thin,
            proof: state.proof.is_some(),
            ..SplitSettings::default()
        };
        state.count();
        let split = split_input(&self.layers, properties, &settings, state.stop)?;
        state.domains = split.domains;
        if split.answer == Answer::Unsat && settings.proof {
            state.proof = Some(split.proof);
        }
        // What it took counts for the stage that it came to.
        state.stage = if split.domains <= properties.len() as u64 { Stage::Crown } else { Stage::Bab };
        Some((split.answer, split.bound.unwrap_or(f64::INFINITY)))
    }
}
