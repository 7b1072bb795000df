//! From numbers to places on an axis, and the round numbers to write beside it.

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Equal differences take equal room.
    #[default]
    Linear,
    /// Equal ratios take equal room.
    Log,
}

/// An axis: the numbers `low..high` laid out over the pixels `from..to`.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// An axis over at least `low..high`; an empty or reversed span is widened so that everything has a place. A
    /// logarithmic axis whose numbers are not all positive falls back to a linear one.
    pub fn new(kind: Kind, (low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let finite = low.is_finite() && high.is_finite();
        let (mut low, mut high) = if finite { (low.min(high), low.max(high)) } else { (0.0, 1.0) };
        if high - low <= low.abs().max(high.abs()) * 1e-9 {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        let kind = if low > 0.0 { kind } else { Kind::Linear };
        Self { kind, low, high, from, to }
    }

    /// The same axis with some room before and after the numbers, as a fraction of its length.
    pub fn padded(self, before: f64, after: f64) -> Self {
        let (low, high) = (self.forward(self.low), self.forward(self.high));
        let span = high - low;
        Self { low: self.backward(low - span * before), high: self.backward(high + span * after), ..self }
    }

    fn forward(&self, value: f64) -> f64 {
        if self.kind == Kind::Log { value.ln() } else { value }
    }

    fn backward(&self, value: f64) -> f64 {
        if self.kind == Kind::Log { value.exp() } else { value }
    }

    /// The place of a number, in pixels. What cannot be placed (zero on a logarithmic axis) is far outside.
    pub fn place(&self, value: f64) -> f64 {
        let (low, high) = (self.forward(self.low), self.forward(self.high));
        let at = (self.forward(value) - low) / (high - low);
        // Beyond this, renderers lose precision.
        self.from + at.clamp(-100.0, 100.0) * (self.to - self.from)
    }

    /// Whether a number lies on the axis.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The largest number on the axis.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Round numbers on the axis, about one every `every` pixels.
    pub fn ticks(&self, every: f64) -> Vec<f64> {
        let most = ((self.to - self.from).abs() / every).clamp(2.0, 20.0);
        if self.kind == Kind::Log && self.high / self.low > 2.5 {
            self.log_ticks(most)
        } else {
            self.linear_ticks(most)
        }
    }

    fn linear_ticks(&self, most: f64) -> Vec<f64> {
        let rough = (self.high - self.low) / most;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.8).unwrap_or(rough);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        // Dividing by an exact power of ten keeps 0.3 from becoming 0.30000000000000004.
        (first..=last).map(|n| if step < 1.0 { n as f64 / (1.0 / step).round() } else { n as f64 * step }).collect()
    }

    fn log_ticks(&self, most: f64) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let with = |mantissas: &[f64], skip: i32| -> Vec<f64> {
            let power = |d: i32| if d < 0 { 1.0 / 10.0_f64.powi(-d) } else { 10.0_f64.powi(d) };
            let all = decades.clone().filter(|d| d.rem_euclid(skip) == 0);
            all.flat_map(|d| mantissas.iter().map(move |m| m * power(d))).filter(|t| self.contains(*t)).collect()
        };
        let choices: [&[f64]; 5] = [
            &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
            &[1.0, 2.0, 4.0, 6.0, 8.0],
            &[1.0, 2.0, 3.0, 5.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
        ];
        for mantissas in choices {
            let ticks = with(mantissas, 1);
            if ticks.len() as f64 <= most {
                return ticks;
            }
        }
        (1..=40).map(|skip| with(&[1.0], skip)).find(|t| t.len() as f64 <= most).unwrap_or_default()
    }
}
