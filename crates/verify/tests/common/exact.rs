//! Numbers `mantissa * 2^exponent` of any length, and the evaluation of a network in them: nothing rounds.
//!
//! Every double is such a number, and sums and products of such numbers are.

use std::cmp::Ordering;

use temper_graph::{Affine, Computation, Operation};

/// A number. Words of 32 bits, the low one first; no word of 0 at the high end.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    negative: bool,
    words: Vec<u32>,
    exponent: i64,
}

fn trim(mut words: Vec<u32>) -> Vec<u32> {
    while words.last() == Some(&0) {
        words.pop();
    }
    words
}

fn shifted(words: &[u32], by: u64) -> Vec<u32> {
    let (whole, rest) = ((by / 32) as usize, by % 32);
    let mut out = vec![0; whole];
    let mut carry = 0u64;
    for word in words {
        let wide = u64::from(*word) << rest | carry;
        out.push(wide as u32);
        carry = wide >> 32;
    }
    out.push(carry as u32);
    trim(out)
}

fn compared(a: &[u32], b: &[u32]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

fn added(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut carry = 0;
    let sum = |i: usize| {
        let wide = u64::from(*a.get(i).unwrap_or(&0)) + u64::from(*b.get(i).unwrap_or(&0)) + carry;
        carry = wide >> 32;
        wide as u32
    };
    trim((0..=a.len().max(b.len())).map(sum).collect())
}

/// `a - b`, where `a` is the larger.
fn subtracted(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut borrow = 0;
    let difference = |i: usize| {
        let wide = i64::from(a[i]) - i64::from(*b.get(i).unwrap_or(&0)) - borrow;
        borrow = i64::from(wide < 0);
        wide as u32
    };
    trim((0..a.len()).map(difference).collect())
}

impl Exact {
    /// 0.
    pub fn zero() -> Self {
        Self { negative: false, words: Vec::new(), exponent: 0 }
    }

    /// A finite double.
    pub fn of(number: f64) -> Self {
        assert!(number.is_finite());
        let (bits, field) = (number.to_bits() & ((1 << 52) - 1), (number.to_bits() >> 52 & 2047) as i64);
        let mantissa = if field == 0 { bits } else { bits | 1 << 52 };
        let words = trim(vec![mantissa as u32, (mantissa >> 32) as u32]);
        Self { negative: number < 0.0, words, exponent: field.max(1) - 1075 }
    }

    /// `self + other`.
    pub fn plus(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        let words = |x: &Self| shifted(&x.words, (x.exponent - exponent) as u64);
        let (a, b) = (words(self), words(other));
        let (negative, words) = match (self.negative == other.negative, compared(&a, &b)) {
            (true, _) => (self.negative, added(&a, &b)),
            (false, Ordering::Less) => (other.negative, subtracted(&b, &a)),
            (false, _) => (self.negative, subtracted(&a, &b)),
        };
        Self { negative, words, exponent }
    }

    /// `self * other`.
    pub fn times(&self, other: &Self) -> Self {
        let mut words = vec![0u32; self.words.len() + other.words.len() + 1];
        for (i, a) in self.words.iter().enumerate() {
            let mut carry = 0u64;
            for j in 0..other.words.len() + 1 {
                let wide =
                    u64::from(*a) * u64::from(*other.words.get(j).unwrap_or(&0)) + u64::from(words[i + j]) + carry;
                words[i + j] = wide as u32;
                carry = wide >> 32;
            }
        }
        Self { negative: self.negative != other.negative, words: trim(words), exponent: self.exponent + other.exponent }
    }

    /// `-self`.
    pub fn minus(&self) -> Self {
        Self { negative: !self.negative, ..self.clone() }
    }

    /// Which is the larger.
    pub fn order(&self, other: &Self) -> Ordering {
        let difference = self.plus(&other.minus());
        match (difference.words.is_empty(), difference.negative) {
            (true, _) => Ordering::Equal,
            (false, true) => Ordering::Less,
            (false, false) => Ordering::Greater,
        }
    }

    /// Whether it is below 0.
    pub fn is_negative(&self) -> bool {
        self.negative && !self.words.is_empty()
    }

    /// The least double that is not below it; small ones and large ones are not its business.
    pub fn above(&self) -> f64 {
        let (mut value, mut exponent) = (0u128, self.exponent);
        for word in self.words.iter().rev() {
            if value >> 64 == 0 {
                value = value << 32 | u128::from(*word);
            } else {
                // What is cut off counts as a little more.
                value |= u128::from(*word != 0);
                exponent += 32;
            }
        }
        let nearest = value as f64 * (exponent as f64).exp2() * if self.negative { -1.0 } else { 1.0 };
        if Self::of(nearest).order(self) == Ordering::Less { nearest.next_up() } else { nearest }
    }

    fn relu(self) -> Self {
        if self.is_negative() { Self::zero() } else { self }
    }
}

/// Lower and upper ends of every value of a network of dense layers, convolutions, scales, ReLUs, sums and gathers, by intervals. Two
/// equal ends give the value itself.
pub fn intervals(computation: &Computation, lower: &[f64], upper: &[f64]) -> Vec<Vec<[Exact; 2]>> {
    let mut values = vec![lower.iter().zip(upper).map(|(l, u)| [Exact::of(*l), Exact::of(*u)]).collect::<Vec<_>>()];
    for node in computation.nodes() {
        let x = &values[node.inputs[0]];
        let sum = |affine: &Affine, bias: usize, terms: &mut dyn Iterator<Item = (usize, usize)>| {
            let bias = Exact::of(affine.bias[bias]);
            terms.fold([bias.clone(), bias], |[l, u], (i, w)| {
                let weight = Exact::of(affine.weight[w]);
                let [a, b] = if weight.is_negative() { [&x[i][1], &x[i][0]] } else { [&x[i][0], &x[i][1]] };
                [l.plus(&weight.times(a)), u.plus(&weight.times(b))]
            })
        };
        let n = x.len();
        let value = match &node.operation {
            Operation::Dense(affine) => {
                (0..affine.bias.len()).map(|o| sum(affine, o, &mut (0..n).map(|i| (i, o * n + i)))).collect()
            }
            Operation::Scale(affine) => (0..n).map(|i| sum(affine, i, &mut std::iter::once((i, i)))).collect(),
            Operation::Conv { window, groups, affine } => {
                let [rows, columns] = window.output().unwrap();
                let ([channels, height, width], [kh, kw]) = (window.input, window.kernel);
                let (inside, outside) = (channels / groups, affine.bias.len() / groups);
                let place = |o: usize| {
                    let (c, row, column) = (o / (rows * columns), o / columns % rows, o % columns);
                    let mut taps = (0..inside * kh * kw).filter_map(|tap| {
                        let (k, u, v) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                        let (row, column) = (window.sees(0, row, u)?, window.sees(1, column, v)?);
                        let channel = c / outside * inside + k;
                        Some(((channel * height + row) * width + column, c * inside * kh * kw + tap))
                    });
                    sum(affine, c, &mut taps)
                };
                (0..affine.bias.len() * rows * columns).map(place).collect()
            }
            Operation::Relu => x.iter().map(|ends| ends.clone().map(Exact::relu)).collect(),
            Operation::Add => (0..n)
                .map(|i| {
                    node.inputs[1..].iter().fold(x[i].clone(), |[l, u], input| {
                        let [a, b] = &values[*input][i];
                        [l.plus(a), u.plus(b)]
                    })
                })
                .collect(),
            Operation::Gather { from, fill } => from
                .iter()
                .enumerate()
                .map(|(i, from)| {
                    let constant = || Exact::of(fill.get(i).copied().unwrap_or(0.0));
                    from.map_or_else(|| [constant(), constant()], |from| x[from as usize].clone())
                })
                .collect(),
            Operation::MaxPool(_) | Operation::Curve(_) => unimplemented!("{}", node.name),
        };
        values.push(value);
    }
    values
}
