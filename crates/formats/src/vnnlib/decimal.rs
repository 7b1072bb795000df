//! Decimal numbers as files have them, exactly: which doubles lie just below and above.

use std::cmp::Ordering;

/// `mantissa * 10^exponent`; of longer numbers the first digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Decimal {
    mantissa: i128,
    exponent: i32,
    /// There are more digits, so that its magnitude is larger by less than `10^exponent`.
    longer: bool,
    /// The double that a longer number is exactly: one written with all its digits.
    double: Option<f64>,
}

/// Digits that are kept.
const DIGITS: i128 = 10i128.pow(36);

impl Decimal {
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0, longer: false, double: None };
    pub const ONE: Self = Self { mantissa: 1, exponent: 0, longer: false, double: None };

    /// `-?digits(.digits)?([eE][+-]?digits)?`; `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("\"{text}\" is no number");
        let (number, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().map_err(|_| bad())?),
            None => (text, 0),
        };
        let digits = number.strip_prefix('-').unwrap_or(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        if whole.is_empty() || fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        {
            return Err(bad());
        }
        let (mut mantissa, mut beyond, mut longer) = (0i128, 0i32, false);
        let fraction = fraction.trim_end_matches('0');
        for digit in whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')) {
            if beyond == 0 && mantissa < DIGITS {
                mantissa = mantissa * 10 + digit;
            } else {
                beyond += 1;
                longer |= digit != 0;
            }
        }
        let exponent = exponent.checked_sub(fraction.len() as i32).and_then(|e| e.checked_add(beyond));
        let exponent = exponent.filter(|e| e.abs() <= 400).ok_or_else(bad)?;
        let sign = if number.starts_with('-') { -1 } else { 1 };
        let written = (whole.trim_start_matches('0'), fraction);
        let is_all_of = |double: &f64| {
            let (whole, fraction) = all_digits(*double);
            (whole.trim_start_matches('0'), fraction.trim_end_matches('0')) == written
        };
        let double = longer.then(|| number.parse().ok()).flatten().filter(|double| number == text && is_all_of(double));
        Ok(Self { mantissa: sign * mantissa, exponent, longer, double })
    }

    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    pub fn negative(self) -> Self {
        Self { mantissa: -self.mantissa, double: self.double.map(|double| -double), ..self }
    }

    /// `None` beyond 38 digits.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.is_zero() {
            return Some(other);
        }
        if other.is_zero() {
            return Some(self);
        }
        if self.longer || other.longer {
            return None;
        }
        let exponent = self.exponent.min(other.exponent);
        let mantissa = self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?;
        Some(Self { mantissa, exponent, ..Self::ZERO })
    }

    pub fn times(self, other: Self) -> Option<Self> {
        if self.longer || other.longer {
            return [(self, other), (other, self)].into_iter().find(|(_, one)| *one == Self::ONE).map(|(own, _)| own);
        }
        let exponent = self.exponent.checked_add(other.exponent).filter(|e| e.abs() <= 400)?;
        Some(Self { mantissa: self.mantissa.checked_mul(other.mantissa)?, exponent, ..Self::ZERO })
    }

    pub fn exponent(self) -> i32 {
        if self.is_zero() { 0 } else { self.exponent }
    }

    /// The mantissa at a smaller exponent.
    pub fn scaled(self, exponent: i32) -> Option<i128> {
        if self.is_zero() {
            return Some(0);
        }
        if self.longer {
            return None;
        }
        let by = 10i128.checked_pow(self.exponent.checked_sub(exponent)?.try_into().ok()?)?;
        self.mantissa.checked_mul(by)
    }

    /// The same times a power of ten.
    pub fn shifted(self, by: i32) -> Self {
        if by == 0 { self } else { Self { exponent: self.exponent + by, double: None, ..self } }
    }

    /// The largest double that is not above it and the least that is not below.
    pub fn between(self) -> [f64; 2] {
        if let Some(double) = self.double {
            return [double; 2];
        }
        let nearest = |mantissa: i128| -> f64 { format!("{mantissa}e{}", self.exponent).parse().expect("a number") };
        let own = Self { longer: false, ..self };
        let between = |own: Self| match own.compare(nearest(own.mantissa)) {
            Ordering::Equal => [nearest(own.mantissa); 2],
            Ordering::Less => [nearest(own.mantissa).next_down(), nearest(own.mantissa)],
            Ordering::Greater => [nearest(own.mantissa), nearest(own.mantissa).next_up()],
        };
        if !self.longer {
            return between(own);
        }
        // It lies between the digits that are kept and the next number of so many digits.
        let outer = Self { mantissa: own.mantissa + own.mantissa.signum(), ..own };
        let [a, b] = [between(own), between(outer)];
        [a[0].min(b[0]), a[1].max(b[1])]
    }

    /// How it compares to a double, exactly.
    fn compare(self, double: f64) -> Ordering {
        if double.is_infinite() {
            return if double > 0.0 { Ordering::Less } else { Ordering::Greater };
        }
        if self.is_zero() || double == 0.0 || self.is_negative() != (double < 0.0) {
            // The signs decide.
            let sign = if double == 0.0 { 0.0 } else { double.signum() };
            return (self.mantissa.signum() as f64).total_cmp(&sign);
        }
        let magnitude = self.compare_whole(double).unwrap_or_else(|| self.compare_digits(double));
        if self.is_negative() { magnitude.reverse() } else { magnitude }
    }

    /// How the magnitudes compare, by whole numbers, where these are few enough: `M 10^-k` and `m 2^e` stand to each other as
    /// `M 2^(-e - k)` and `m 5^k`.
    fn compare_whole(self, double: f64) -> Option<Ordering> {
        let k = u32::try_from(-self.exponent).ok().filter(|k| *k <= 31)?;
        let exponent = ((double.to_bits() >> 52) & 0x7ff) as i32;
        if exponent == 0 {
            return None;
        }
        let m = double.to_bits() & ((1 << 52) - 1) | 1 << 52;
        let (left, right) = (self.mantissa.unsigned_abs(), u128::from(m) * 5u128.pow(k));
        let shift = 1075 - exponent - k as i32;
        let by = |number: u128| {
            let shift = shift.unsigned_abs();
            (shift < number.leading_zeros()).then(|| number << shift)
        };
        Some(if shift >= 0 { by(left)?.cmp(&right) } else { left.cmp(&by(right)?) })
    }

    /// The same by all their digits.
    fn compare_digits(self, double: f64) -> Ordering {
        let (whole, fraction) = self.digits();
        let (double_whole, double_fraction) = all_digits(double);
        let length = fraction.len().max(double_fraction.len());
        let pad = |text: &str| format!("{text:0<length$}");
        let own = (whole.len(), whole.clone(), pad(&fraction));
        let other = (double_whole.len(), double_whole, pad(&double_fraction));
        own.cmp(&other)
    }

    /// The digits before and behind the point, without sign and leading zeros.
    fn digits(self) -> (String, String) {
        let digits = self.mantissa.unsigned_abs().to_string();
        if self.exponent >= 0 {
            return (digits + &"0".repeat(self.exponent as usize), String::new());
        }
        let places = (-self.exponent) as usize;
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        (whole.to_owned(), fraction.to_owned())
    }
}

/// All digits of a double, before and behind the point, without its sign.
pub(crate) fn all_digits(double: f64) -> (String, String) {
    // It is a whole number of 2^(exponent - 52): so many digits say all of it.
    let exponent = ((double.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let places = (52 - exponent.max(-1022)).max(0) as usize;
    let text = format!("{:.places$}", double.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    (whole.to_owned(), fraction.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn neighbours_of_a_decimal() {
        let between = |text: &str| Decimal::parse(text).unwrap().between();
        assert_eq!(between("0.5"), [0.5, 0.5]);
        assert_eq!(between("-2"), [-2.0, -2.0]);
        assert_eq!(between("0.1"), [0.1f64.next_down(), 0.1]);
        assert_eq!(between("-0.1"), [-0.1, (-0.1f64).next_up()]);
        assert_eq!(between("0.3"), [0.3, 0.3f64.next_up()]);
        assert_eq!(between("1e-3"), between("0.001"));
        assert_eq!(between("0.5000000000000000000000000001"), [0.5, 0.5f64.next_up()]);
        assert_eq!(between("12345678.25"), [12345678.25; 2]);
        assert!(between("1e300")[0].next_up() >= between("1e300")[1]);
        assert_eq!(between("0"), [0.0, 0.0]);
        // A double with all its digits, and one digit beside it.
        let (whole, fraction) = super::all_digits(0.1);
        assert_eq!(
            (between(&format!("{whole}.{fraction}")), between(&format!("-{whole}.{fraction}00"))),
            ([0.1; 2], [-0.1; 2])
        );
        assert_eq!(between(&format!("{whole}.{fraction}1"))[1], 0.1f64.next_up());
        // Sixty digits of a third.
        let [below, above] = between(&format!("0.{}", "3".repeat(60)));
        assert!(below <= 1.0 / 3.0 && 1.0 / 3.0 <= above && above <= below.next_up().next_up());
        // Both ways of comparing agree, next to the doubles and away from them.
        for i in 0..20_000i128 {
            let mantissa = (i * i * 7_919_993 + i) * 10i128.pow((i % 12) as u32);
            let decimal = Decimal { mantissa, exponent: -(i % 32) as i32, ..Decimal::ZERO };
            let near: f64 = format!("{mantissa}e{}", decimal.exponent).parse().unwrap();
            for double in
                [near, near.next_down(), near.next_up(), near * 3.0].into_iter().filter(|double| *double > 0.0)
            {
                let found = decimal.compare_whole(double).unwrap_or_else(|| decimal.compare_digits(double));
                assert_eq!(found, decimal.compare_digits(double), "{decimal:?} {double}");
            }
        }
        for text in ["", "-", "1.", ".5", "0x1", "1e", "nan", "--1", "1.2.3"] {
            assert!(Decimal::parse(text).is_err(), "{text}");
        }
    }
}
