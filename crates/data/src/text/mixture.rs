//! Which source a sample comes from: error diffusion, at random access.
//!
//! Among the first i samples, a source of weight a against one of weight b has had `round(i a / (a + b))` (halves up),
//! in integers: exact in the long run, never random, and known without looking at the samples before. More than two
//! sources are the leaves of a binary tree whose nodes each divide what they get in this way; it is Huffman's tree of
//! the weights, which keeps every source within 1 of its share in any prefix for up to three sources, and within 2 for
//! any number. The same rule divides replay from the rest.
//!
//! Weights are taken as the shortest decimal that gives the same `f64`, so 0.05 is 5/100 and not 0.05000000000000000277.

/// Divides samples between two parties: the first gets `part / whole` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    part: u128,
    whole: u128,
}

impl Share {
    /// A fraction between 0 and 1.
    pub fn of(fraction: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&fraction) {
            return None;
        }
        let parts = integers(&[fraction, 1.0])?;
        Some(Self { part: parts[0], whole: parts[1] })
    }

    /// How many of the first `samples` the first party gets. `samples` is below 2^53.
    pub fn count(&self, samples: u64) -> u64 {
        // part <= whole < 2^67 (a thousand weights below 10^17), so the products stay below 2^122.
        ((2 * u128::from(samples) * self.part + self.whole) / (2 * self.whole)) as u64
    }
}

/// Weights with the same ratios as whole numbers, all below 10^17; a positive weight stays positive.
/// `None` if one is negative or not finite, or if they are too far apart (about 10^16).
fn integers(weights: &[f64]) -> Option<Vec<u128>> {
    let mut decimals = vec![];
    for &weight in weights {
        if !(weight >= 0.0 && weight.is_finite()) {
            return None;
        }
        // `{:e}` prints the shortest digits that read back as the same number: `5e-2`, `1.25e0`.
        let text = format!("{weight:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let digits: u128 = mantissa.replace('.', "").parse().ok()?;
        let places = mantissa.split_once('.').map_or(0, |(_, places)| places.len() as i32);
        decimals.push((digits, exponent.parse::<i32>().ok()? - places));
    }
    let used = || decimals.iter().filter(|(digits, _)| *digits > 0);
    let lowest = used().map(|(_, e)| *e).min().unwrap_or(0);
    let highest = used().map(|(digits, e)| e + digits.ilog10() as i32).max().unwrap_or(0);
    let unit = lowest.max(highest - 16);
    decimals
        .into_iter()
        .map(|(digits, e)| {
            if digits == 0 {
                return Some(0);
            }
            let scaled = match e - unit {
                up @ 0.. => digits * 10u128.pow(up as u32),
                down => {
                    let divisor = 10u128.checked_pow(down.unsigned_abs()).unwrap_or(u128::MAX / 2);
                    (digits + divisor / 2) / divisor
                }
            };
            (scaled > 0).then_some(scaled)
        })
        .collect()
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(usize),
    Split { share: Share, first: Box<Node>, second: Box<Node> },
}

/// Divides samples between any number of sources by their weights.
#[derive(Debug, Clone)]
pub struct Mixture {
    root: Node,
    sources: usize,
}

impl Mixture {
    /// `None` if there is no weight, one is not a positive finite number, or they are too far apart to divide exactly.
    pub fn new(weights: &[f64]) -> Option<Self> {
        if weights.is_empty() || weights.len() > 1000 || weights.contains(&0.0) {
            return None;
        }
        let mut nodes: Vec<(u128, Node)> =
            integers(weights)?.into_iter().enumerate().map(|(i, w)| (w, Node::Leaf(i))).collect();
        while nodes.len() > 1 {
            // The two lightest, the later one on ties, become one. Stable: the order never depends on anything else.
            nodes.sort_by_key(|node| std::cmp::Reverse(node.0));
            let (second, first) = (nodes.pop().expect("two"), nodes.pop().expect("two"));
            let whole = first.0 + second.0;
            let share = Share { part: first.0, whole };
            let split = Node::Split { share, first: Box::new(first.1), second: Box::new(second.1) };
            nodes.push((whole, split));
        }
        Some(Self { root: nodes.pop()?.1, sources: weights.len() })
    }

    /// How many of the first `samples` each source gets; they sum to `samples`.
    pub fn counts(&self, samples: u64) -> Vec<u64> {
        fn fill(node: &Node, samples: u64, counts: &mut [u64]) {
            match node {
                Node::Leaf(i) => counts[*i] = samples,
                Node::Split { share, first, second } => {
                    let part = share.count(samples);
                    fill(first, part, counts);
                    fill(second, samples - part, counts);
                }
            }
        }
        let mut counts = vec![0; self.sources];
        fill(&self.root, samples, &mut counts);
        counts
    }

    /// The source of sample `i` (from 0), and how many samples of that source come before it.
    pub fn locate(&self, i: u64) -> (usize, u64) {
        let (mut node, mut before) = (&self.root, i);
        loop {
            match node {
                Node::Leaf(source) => return (*source, before),
                Node::Split { share, first, second } => {
                    let part = share.count(before);
                    if share.count(before + 1) > part {
                        (node, before) = (first, part);
                    } else {
                        (node, before) = (second, before - part);
                    }
                }
            }
        }
    }
}
