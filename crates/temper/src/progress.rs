//! How far tokenising has come, and counts as sentences have them.

use temper_base::listener::Meter;
use temper_base::numbers::count;
use temper_data::{Amount, Progress};

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
