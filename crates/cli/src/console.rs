//! What a person sees while it trains: a bar on a terminal, one aligned line now and then, and every
//! evaluation.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use temper_base::numbers::{count, duration};
use temper_base::{Problem, Result, files};
use temper_data::text::claim;
use temper_record::console::{Unit, console_line_in};
use temper_record::event::{Event, Values};
use temper_record::metric;
use temper_record::{RunDir, begun};
use temper_train::run::leave_nothing;
use temper_train::trainer::Watch;

use crate::printer::{self, Printer};

/// The answer to a signal while a run trains.
const STOPPING: &str = "stopping: taking a checkpoint first (once more to stop at once)";

/// The signals that a run answers with a checkpoint, once it trains.
#[derive(Clone)]
pub struct Signals {
    seen: Arc<AtomicUsize>,
    /// Whether a checkpoint was asked for: SIGUSR1, which a batch system can send before its limit.
    asked: Arc<AtomicBool>,
    stage: Arc<Stage>,
    answer: Arc<Answer>,
}

/// How far the command is. Whoever leaves the first stage decides: the run that begins to train, or the signal that ends it before.
#[derive(Default)]
struct Stage(AtomicU8);

impl Stage {
    const BEFORE: u8 = 0;
    /// There is something to take a checkpoint of.
    const TRAINING: u8 = 1;
    /// The process is being ended, and takes along what it has made.
    const ENDING: u8 = 2;

    /// Whether the first stage was left for this one just now.
    fn leave_for(&self, next: u8) -> bool {
        self.0.compare_exchange(Self::BEFORE, next, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn is(&self, stage: u8) -> bool {
        self.0.load(Ordering::SeqCst) == stage
    }

    /// Training begins, unless the process is being ended: then this waits for that.
    fn train(&self) {
        while !self.leave_for(Self::TRAINING) && self.is(Self::ENDING) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether a signal or a deadline is ending this process. What its other threads meet meanwhile, files that are gone for instance, is
/// no error.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Waits for the end of the process if a signal is ending it.
pub fn wait_if_ending() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What Temper prints on a signal that does not end the process at once.
struct Answer {
    words: &'static str,
    said: Mutex<bool>,
}

impl Answer {
    /// Says it, once.
    fn give(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut said, true) {
            printer::last_words(self.words);
        }
    }
}

impl Signals {
    /// Begins to listen. A second signal ends the process at once, as it would without us.
    pub fn listen() -> Result<Self> {
        Self::listen_and(STOPPING, || None)
    }

    /// As [`listen`](Self::listen), for commands that do not train: from now on Temper answers a signal with these words.
    pub fn listen_and_answer(words: &'static str) -> Result<Self> {
        let signals = Self::listen_and(words, || None)?;
        signals.stage.train();
        Ok(signals)
    }

    /// As [`listen`](Self::listen), but as long as the run in `out` does not train, its text still being tokenised, a signal ends
    /// the process at once and takes along what it has made. So does a deadline, once it is a second ago.
    pub fn listen_and_leave_nothing(out: &Path, deadline: Option<Instant>) -> Result<Self> {
        let at_signal = out.to_owned();
        let signals = Self::listen_and(STOPPING, move || Some(stopped_before_it_began(&at_signal)))?;
        if let Some(deadline) = deadline {
            let (stage, out) = (signals.stage.clone(), out.to_owned());
            let wait = move || {
                let mut until = deadline + Duration::from_secs(1);
                while stage.is(Stage::BEFORE) {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                    // Whatever else comes before the first update takes no time worth stopping for.
                    if claim::is_at_work(&out) && stage.leave_for(Stage::ENDING) {
                        ENDING.store(true, Ordering::SeqCst);
                        printer::last_words(&stopped_before_it_began(&out));
                        std::process::exit(75);
                    }
                    until = Instant::now() + Duration::from_millis(100);
                }
            };
            std::thread::Builder::new().spawn(wait).map_err(|cause| Problem::no_threads(1, cause))?;
        }
        Ok(signals)
    }

    /// `before` is what is done at a signal while nothing trains: it ends the process if it finds last words.
    fn listen_and(words: &'static str, before: impl FnOnce() -> Option<String> + Send + 'static) -> Result<Self> {
        let (seen, armed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            let listen = || -> std::io::Result<()> {
                // Order matters: the shutdown looks at the flag before this signal sets it.
                signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())?;
                signal_hook::flag::register(signal, armed.clone())?;
                signal_hook::flag::register_usize(signal, seen.clone(), signal as usize)?;
                Ok(())
            };
            listen().map_err(cannot_listen)?;
        }
        let asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGUSR1, asked.clone()).map_err(cannot_listen)?;
        let stage = Arc::new(Stage::default());
        let answer = Arc::new(Answer { words, said: Mutex::new(false) });
        let (at_signal, to_signal) = (stage.clone(), answer.clone());
        end_at_signal(move || {
            if !at_signal.leave_for(Stage::ENDING) {
                // Said here, not by the loop: an update or a batch of an evaluation may take a while.
                to_signal.give();
                return None;
            }
            let words = before();
            if words.is_none() {
                at_signal.0.store(Stage::BEFORE, Ordering::SeqCst);
            }
            words
        })?;
        Ok(Self { seen, asked, stage, answer })
    }

    /// Answers the signal that arrived, unless that was done: before the last words of whatever it ends.
    pub fn answer_signal(&self) {
        self.answer.give();
    }

    /// The signal that arrived.
    pub fn seen_signal(&self) -> Option<i32> {
        match self.seen.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }
}

/// Removes what there is of a run that does not train yet, as the last thing that this process does. Returns its last words.
fn stopped_before_it_began(out: &Path) -> String {
    // The lock holds the number of the process whose run this is.
    let ours = fs::read_to_string(out.join(".lock")).is_ok_and(|id| id == std::process::id().to_string());
    files::make_no_more();
    let run = RunDir::unchecked(out);
    // What another thread was making just now may still appear.
    let removed = ours
        && begun::only_begun(&run)
        && (0..75).any(|_| {
            leave_nothing(&run) || {
                std::thread::sleep(Duration::from_millis(2));
                false
            }
        });
    let end = if removed { "; its directory is removed" } else { "" };
    format!("stopped before the run began{end}")
}

/// From now on a signal ends the process, after `clean` has removed what is not finished and found the last words. If it
/// finds none, the process continues, and signals no longer end it.
pub fn end_at_signal(clean: impl FnOnce() -> Option<String> + Send + 'static) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(cannot_listen)?;
    let wait = move || {
        let Some(signal) = signals.forever().next() else { return };
        ENDING.store(true, Ordering::SeqCst);
        if let Some(words) = clean() {
            printer::last_words(&words);
            std::process::exit(128 + signal);
        }
        ENDING.store(false, Ordering::SeqCst);
    };
    std::thread::Builder::new().spawn(wait).map(drop).map_err(|cause| Problem::no_threads(1, cause))
}

pub fn cannot_listen(cause: std::io::Error) -> Problem {
    Problem::machine("listen for signals", "SIGINT, SIGTERM and SIGUSR1", cause)
}

/// Prints events.
pub struct Console<'p> {
    printer: &'p Printer,
    signals: Signals,
    every: u64,
    stop: u64,
    unit: Unit,
    /// When this command finished its first update, and which one that was.
    first: Option<(Instant, u64)>,
    /// Prefix of every line, for several runs in one process.
    name: String,
}

impl<'p> Console<'p> {
    /// A line every `every` updates of a run that goes from `first` to `stop`. From now on it trains.
    pub fn new(
        printer: &'p Printer,
        signals: Signals,
        name: &str,
        unit: Unit,
        every: u64,
        first: u64,
        stop: u64,
    ) -> Self {
        let before = signals.seen_signal();
        signals.stage.train();
        if before.is_some() {
            signals.answer_signal();
        }
        printer.begin_bar(stop, "{bar:20} {pos}/{len}  {wide_msg}");
        printer.bar(first, "");
        let name = if name.is_empty() { String::new() } else { format!("{name:10} ") };
        Self { printer, signals, every: every.max(1), stop, unit, first: None, name }
    }

    /// One set a line; the averages over sets are for the record.
    fn evaluation(&self, step: u64, set: &str, values: &Values) {
        if set.starts_with("mean:") {
            return;
        }
        let shown = |name: &str| metric::line(name, values.get(name).unwrap_or(f64::NAN));
        let bits = values.get("bits_per_byte").map(|_| format!("  bits/byte {}", shown("bits_per_byte")));
        self.printer.say(format_args!(
            "{}eval {step:>8}  {set:12} loss {}  perplexity {}{}",
            self.name,
            shown("loss"),
            shown("perplexity"),
            bits.unwrap_or_default()
        ));
    }

    /// Metrics from the last one on are left out where the terminal is too narrow for them.
    fn line(&self, event: &Event) {
        let line = |event: &Event| format!("{}{}", self.name, console_line_in(event, self.unit));
        let fits = |line: &String| self.printer.columns().is_none_or(|columns| line.chars().count() <= columns);
        let long = line(event);
        let short = match event {
            Event::Step { step, tokens, values } if !fits(&long) => {
                let first = |kept| values.iter().take(kept).collect();
                let with = |kept| Event::Step { step: *step, tokens: *tokens, values: first(kept) };
                (1..values.iter().count()).rev().map(|kept| line(&with(kept))).find(fits)
            }
            _ => None,
        };
        self.printer.say_shorter(&long, short.as_ref().unwrap_or(&long));
    }

    /// The time left counts this command's updates, with the evaluations and checkpoints between them.
    fn bar(&mut self, step: u64, values: &Values) {
        let (now, number) = (Instant::now(), |name: &str| values.get(name).unwrap_or(f64::NAN));
        let (begun, first) = *self.first.get_or_insert((now, step));
        let rate = match self.unit {
            Unit::Tokens => number("tokens_per_s"),
            Unit::Images => number("images_per_s"),
        };
        let mut message =
            format!("loss {}  {} {}/s", metric::line("loss", number("loss")), count(rate), self.unit.name());
        if step > first {
            let left = (now - begun).as_secs_f64() / (step - first) as f64 * self.stop.saturating_sub(step) as f64;
            message = format!("{} left  {message}", duration(left));
        }
        self.printer.bar(step, message);
    }
}

impl Watch for Console<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { step, values, .. } => {
                self.bar(*step, values);
                if *step == 1 || *step == self.stop || step.is_multiple_of(self.every) {
                    self.line(event);
                }
            }
            Event::Warning { message, hint, .. } => self.printer.warn(message, hint.as_deref()),
            Event::Eval { step, set, values, .. } if self.unit == Unit::Tokens => self.evaluation(*step, set, values),
            Event::Checkpoint { .. } | Event::Phase { .. } | Event::Start(_) => {}
            _ => self.line(event),
        }
    }

    fn evaluating(&mut self, set: &str) {
        self.printer.bar_message(format_args!("evaluating on {set}"));
    }

    fn checkpoint_asked(&self) -> bool {
        self.signals.asked.swap(false, Ordering::Relaxed)
    }

    fn signal(&self) -> Option<i32> {
        self.signals.seen_signal()
    }
}

impl Drop for Console<'_> {
    fn drop(&mut self) {
        self.printer.end_bar();
    }
}
