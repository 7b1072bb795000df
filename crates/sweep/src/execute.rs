//! Trains every run of a tree to its end: parents before branches, several side by side if the user asks for it.
//!
//! A run that fails takes its branches with it and nothing else. A signal stops all at a checkpoint; whatever ends the
//! process, the same command resumes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use temper_base::numbers::duration;
use temper_base::{Listener, Problem, Problems, Result};
use temper_train::trainer::{End, Interrupt};

use crate::one::{Front, Job, News};
use crate::store::{State, Store, state};
use crate::tree::{Node, Parent, Tree};

/// How often a waiting sweep looks again, and how often the bar moves by itself.
const MOMENT: Duration = Duration::from_millis(300);

/// How the runs ended.
pub struct Ended {
    /// What went wrong with which run.
    pub failed: Vec<(usize, Problems)>,
    /// The signal that stopped the sweep.
    pub signal: Option<i32>,
}

/// What is left to do.
struct Queue {
    waiting: VecDeque<usize>,
    state: Vec<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Running,
    Done,
    Failed,
}

enum Next {
    Run(usize),
    /// Its parent failed.
    Lost(usize),
    /// Something that others are at has to end first.
    Wait,
    Nothing,
}

impl Queue {
    fn next(&mut self, nodes: &[Node]) -> Next {
        let place = |index: usize| match &nodes[index].parent {
            Some((Parent::Node(parent), _)) => self.state[*parent],
            _ => Place::Done,
        };
        let found = self.waiting.iter().position(|index| matches!(place(*index), Place::Done | Place::Failed));
        let Some(at) = found else {
            return if self.waiting.is_empty() { Next::Nothing } else { Next::Wait };
        };
        let index = self.waiting.remove(at).expect("just found");
        match self.state_of_parent(nodes, index) {
            Place::Failed => {
                self.state[index] = Place::Failed;
                Next::Lost(index)
            }
            _ => {
                self.state[index] = Place::Running;
                Next::Run(index)
            }
        }
    }

    fn state_of_parent(&self, nodes: &[Node], index: usize) -> Place {
        match &nodes[index].parent {
            Some((Parent::Node(parent), _)) => self.state[*parent],
            _ => Place::Done,
        }
    }
}

/// Runs the tree with `jobs` runs at a time. `weights` say how long each run takes, in any unit.
///
/// # Errors
/// If no thread can be started. What goes wrong with a run is in [`Ended::failed`].
pub fn run(
    tree: &Tree,
    store: &Store,
    jobs: usize,
    weights: &[f64],
    front: &dyn Front,
    listener: &dyn Listener,
) -> Result<Ended, Problems> {
    let states: Vec<Place> = tree
        .nodes
        .iter()
        .map(|node| if state(&node.path) == State::Done { Place::Done } else { Place::Waiting })
        .collect();
    let waiting = (0..tree.nodes.len()).filter(|index| states[*index] == Place::Waiting).collect();
    let threads = (rayon::current_num_threads() / jobs).max(1);
    // One job alone uses the program's own threads.
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pools: Vec<_> = (0..jobs)
        .map(|_| (jobs > 1).then(pool).transpose())
        .collect::<Result<_, _>>()
        .map_err(|cause| Problem::no_threads(threads * jobs, cause))?;
    let mut show = Show::new(tree, &states, weights, listener);
    let queue = (Mutex::new(Queue { waiting, state: states }), Condvar::new());
    let (sender, news) = mpsc::channel();
    let mut ended = Ended { failed: Vec::new(), signal: None };
    std::thread::scope(|scope| {
        for (number, pool) in pools.iter().enumerate() {
            let (sender, queue) = (sender.clone(), &queue);
            let work = move || worker(tree, store, queue, front, &sender, pool.as_ref());
            match (std::thread::Builder::new().spawn_scoped(scope, work), number) {
                (Ok(_), _) => {}
                (Err(cause), 0) => return Err(Problem::no_threads(jobs, cause)),
                // No number depends on how many runs are at work.
                (Err(cause), _) => {
                    listener.warn(&format_args!("{number} runs at a time, not {jobs}: no more threads: {cause}"), None);
                    break;
                }
            }
        }
        drop(sender);
        loop {
            match news.recv_timeout(MOMENT) {
                Ok(News::Ended(index, Err(problems))) => {
                    show.failed(index, &problems);
                    ended.failed.push((index, problems));
                }
                Ok(news) => show.hear(news),
                Err(RecvTimeoutError::Timeout) => show.draw(),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    })?;
    listener.end();
    ended.signal = front.signal();
    Ok(ended)
}

fn worker(
    tree: &Tree,
    store: &Store,
    (queue, moved): &(Mutex<Queue>, Condvar),
    front: &dyn Front,
    news: &Sender<News>,
    pool: Option<&rayon::ThreadPool>,
) {
    let tell = |what: News| _ = news.send(what);
    loop {
        if front.signal().is_some() {
            return;
        }
        let mut guard = queue.lock().expect("no holder panics");
        let index = match guard.next(&tree.nodes) {
            Next::Nothing => return,
            Next::Wait => {
                drop(moved.wait_timeout(guard, MOMENT).expect("no holder panics"));
                continue;
            }
            Next::Lost(index) => {
                drop(guard);
                let why = "the run that it branches from failed";
                tell(News::Ended(index, Err(Problem::training("run variant", &tree.nodes[index].label, why).into())));
                continue;
            }
            Next::Run(index) => index,
        };
        drop(guard);
        let node = &tree.nodes[index];
        let settle = |place: Place| {
            queue.lock().expect("no holder panics").state[index] = place;
            moved.notify_all();
        };
        let settled = |lock: Option<_>| match lock {
            Some(lock) => store.settle_run(&node.hash, &node.path).map(|()| Some(lock)),
            None => Ok(None),
        };
        let lock = match store.lock(&node.hash).and_then(settled) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                // Another sweep trains it: this one does something else first.
                tell(News::Waits(index));
                let mut guard = queue.lock().expect("no holder panics");
                guard.state[index] = Place::Waiting;
                guard.waiting.push_back(index);
                drop(moved.wait_timeout(guard, MOMENT).expect("no holder panics"));
                continue;
            }
            Err(problem) => {
                settle(Place::Failed);
                tell(News::Ended(index, Err(problem.into())));
                continue;
            }
        };
        let job = Job {
            index,
            recipe: node.recipe.clone(),
            parent: node.parent_name(tree),
            store,
            hash: &node.hash,
            path: &node.path,
        };
        let go = || job.train_run(front, news);
        let result = catch_unwind(AssertUnwindSafe(|| pool.map_or_else(go, |pool| pool.install(go))));
        drop(lock);
        // The hook has said where it happened.
        let result =
            result.unwrap_or_else(|_| Err(Problem::machine("run variant", &node.label, "it ended in a bug").into()));
        settle(match &result {
            Ok(End::Done) => Place::Done,
            Ok(End::Stopped(_)) => Place::Waiting,
            Err(_) => Place::Failed,
        });
        tell(News::Ended(index, result));
    }
}

/// What a person sees of the whole tree.
struct Show<'a> {
    tree: &'a Tree,
    listener: &'a dyn Listener,
    weights: &'a [f64],
    /// Part of each run that is done.
    parts: Vec<f64>,
    /// Which runs are at work: from where, to where.
    running: Vec<(usize, u64, u64)>,
    waits: Vec<usize>,
    failed: usize,
    /// Part of the whole that was done when this sitting began.
    before: f64,
    begun: Instant,
    began: Vec<Option<Instant>>,
}

impl<'a> Show<'a> {
    fn new(tree: &'a Tree, states: &[Place], weights: &'a [f64], listener: &'a dyn Listener) -> Self {
        let parts = states.iter().map(|place| if *place == Place::Done { 1.0 } else { 0.0 }).collect();
        let now = Instant::now();
        let mut show = Self {
            tree,
            listener,
            weights,
            parts,
            running: Vec::new(),
            waits: Vec::new(),
            failed: 0,
            before: 0.0,
            begun: now,
            began: vec![None; tree.nodes.len()],
        };
        show.before = show.whole();
        listener.begin("", 1000, Duration::from_secs(30));
        show
    }

    fn whole(&self) -> f64 {
        let total: f64 = self.weights.iter().sum();
        self.parts.iter().zip(self.weights).map(|(part, weight)| part * weight).sum::<f64>() / total.max(1e-300)
    }

    fn name(&self, index: usize) -> String {
        format!("{}, seed {}", self.tree.nodes[index].label, self.tree.nodes[index].seed)
    }

    fn done(&self) -> usize {
        self.parts.iter().filter(|part| **part >= 1.0).count()
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Began(index, first, stop) => {
                self.running.push((index, first, stop));
                self.began[index] = Some(Instant::now());
                // Whole only when it has ended.
                self.parts[index] = (first as f64 / stop.max(1) as f64).min(0.9999);
                // What an earlier sitting did is not this one's pace.
                self.before += self.parts[index] * self.weights[index] / self.weights.iter().sum::<f64>().max(1e-300);
                let how = if first > 0 { format!("resumes after step {first}") } else { "begins".to_owned() };
                self.listener.say(&format_args!("{} {how}", self.name(index)));
            }
            News::Step(index, step) => {
                if let Some((_, _, stop)) = self.running.iter().find(|(running, _, _)| *running == index) {
                    // Whole only when it has ended.
                    self.parts[index] = (step as f64 / (*stop).max(1) as f64).min(0.9999);
                }
            }
            News::Warning(index, message) => self.listener.warn(&format_args!("{}: {message}", self.name(index)), None),
            News::Waits(index) if !self.waits.contains(&index) => {
                self.waits.push(index);
                self.listener
                    .say(&format_args!("{} is being trained by another sweep; waiting for it", self.name(index)));
            }
            News::Waits(_) => {}
            News::Ended(index, result) => {
                self.running.retain(|(running, _, _)| *running != index);
                match result {
                    Ok(End::Done) => {
                        self.parts[index] = 1.0;
                        let took = self.began[index].map_or(0.0, |began| began.elapsed().as_secs_f64());
                        let (done, all) = (self.done(), self.parts.len());
                        self.listener.say(&format_args!(
                            "{} done in {} ({done} of {all})",
                            self.name(index),
                            duration(took)
                        ));
                    }
                    Ok(End::Stopped(Interrupt::Signal(_) | Interrupt::TimeLimit)) => {
                        self.listener.say(&format_args!("{} stopped at a checkpoint", self.name(index)));
                    }
                    Err(_) => {}
                }
            }
        }
        self.draw();
    }

    fn failed(&mut self, index: usize, problems: &Problems) {
        self.running.retain(|(running, _, _)| *running != index);
        self.failed += 1;
        for problem in &problems.0 {
            let text = format!("{} failed: {problem}", self.name(index));
            self.listener.warn(&text, self.listener.remedy(problem).as_deref());
        }
    }

    fn draw(&mut self) {
        let (whole, all) = (self.whole(), self.parts.len());
        let (done, running) = (self.done(), self.running.len());
        let mut text = format!("{done} done, {running} running, {} left", all - done - running - self.failed);
        if self.failed > 0 {
            text += &format!(", {} failed", self.failed);
        }
        let gained = whole - self.before;
        if gained > 0.001 {
            let left = self.begun.elapsed().as_secs_f64() * (1.0 - whole) / gained;
            text += &format!(", {} to go", duration(left));
        }
        if let Some((index, _, _)) = self.running.first() {
            text += &format!(": {} {:.0} %", self.name(*index), 100.0 * self.parts[*index]);
        }
        self.listener.progress((1000.0 * whole) as u64, &text);
    }
}
