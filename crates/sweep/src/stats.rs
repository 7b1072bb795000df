//! Mean, spread, and how well a mean is known.

/// Mean and sample standard deviation of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// How many numbers.
    pub n: usize,
    /// Their mean; NaN of none.
    pub mean: f64,
    /// Their sample standard deviation (n - 1 in the divisor); `None` of fewer than two.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of these numbers.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        // From the first on: numbers that are all equal have that mean, and no spread, to the last bit.
        let first = values.first().copied().unwrap_or(f64::NAN);
        let mean = first + values.iter().map(|value| value - first).sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { n, mean, sd: (n > 1).then(|| (squares / (n as f64 - 1.0)).sqrt()) }
    }

    /// Half the width of the 95 % confidence interval of the mean: Student's t with n - 1 degrees of freedom, times the standard
    /// error. `None` of fewer than two numbers, of which nothing is known.
    pub fn half_width(&self) -> Option<f64> {
        self.sd.map(|sd| t95(self.n - 1) * sd / (self.n as f64).sqrt())
    }
}

/// The two-sided 95 % quantile of Student's t.
pub fn t95(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    // Above: the first terms of the expansion around the normal quantile.
    let far = 1.96 + 2.372 / degrees as f64 + 2.82 / (degrees as f64).powi(2);
    TABLE.get(degrees.max(1) - 1).copied().unwrap_or(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread() {
        let spread = Spread::of(&[1.0, 2.0, 3.0]);
        assert_eq!((spread.n, spread.mean, spread.sd), (3, 2.0, Some(1.0)));
        // 4.303 / sqrt(3)
        assert!((spread.half_width().unwrap() - 2.4843).abs() < 1e-3);
        assert_eq!(Spread::of(&[5.0]).half_width(), None);
        for (degrees, quantile) in [(30, 2.042), (31, 2.0395), (60, 2.0003), (120, 1.9799)] {
            assert!((t95(degrees) - quantile).abs() < 1e-3, "{degrees}");
        }
        assert!(Spread::of(&[]).mean.is_nan());
        assert_eq!(Spread::of(&[88.65; 3]).sd, Some(0.0));
    }
}
