//! How far tokenising has come.

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
