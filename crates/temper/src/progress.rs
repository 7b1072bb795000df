//! How far a command has come: a bar on a terminal, elsewhere a plain line every few seconds.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Instant;

use temper_base::numbers::{count, duration};
use temper_data::{Amount, Progress};

use crate::printer::Printer;

/// Seconds between two plain lines.
const EVERY: f64 = 5.0;

/// Shows the way to a known end. Dropping it takes the bar away.
pub struct Meter<'p> {
    printer: &'p Printer,
    name: &'static str,
    total: u64,
    clock: Instant,
    /// Seconds after which the last plain line was said.
    said: Cell<f64>,
}

impl<'p> Meter<'p> {
    /// Begins at 0 of `total`.
    pub fn begin(printer: &'p Printer, name: &'static str, total: u64) -> Self {
        printer.begin_bar(total, &format!("{name} {{bar:16}} {{percent:>3}} %  {{wide_msg}}"));
        Self { printer, name, total, clock: Instant::now(), said: Cell::new(0.0) }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    /// Where the end is.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Tells where it is; `message` says what that means. The time left is added.
    pub fn update(&self, position: u64, message: impl Display) {
        let (seconds, position) = (self.seconds(), position.min(self.total));
        if position > 0 && seconds > 1.0 {
            let left = seconds * (self.total - position) as f64 / position as f64;
            self.show(position, format_args!("{} left, {message}", duration(left)));
        } else {
            self.show(position, message);
        }
    }

    /// Tells that the end is reached, and what is going on still.
    pub fn at_end(&self, message: impl Display) {
        self.show(self.total, format_args!("{message}, {}", duration(self.seconds())));
    }

    fn show(&self, position: u64, message: impl Display) {
        self.printer.bar(position, &message);
        let seconds = self.seconds();
        if self.printer.columns().is_none() && seconds - self.said.get() >= EVERY {
            self.said.set(seconds);
            let percent = 100.0 * position as f64 / self.total.max(1) as f64;
            self.printer.say(format_args!("{} {percent:3.0} %  {message}", self.name));
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.printer.end_bar();
    }
}

/// Shows how far tokenising has come: tokens, rate, time left.
pub struct Tokenising<'p>(pub Meter<'p>);

impl Progress for Tokenising<'_> {
    fn update(&self, amount: &Amount) {
        let rate = amount.tokens as f64 / self.0.seconds().max(1e-3);
        let message = format!("{} tokens, {} tokens/s", count(amount.tokens as f64), count(rate));
        self.0.update(amount.input, message);
    }
}

/// A number with its thousands apart: `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 line`, `2,000 lines`.
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}
