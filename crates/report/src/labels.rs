//! Finding room for names: beside the ends of lines, and inside a plot where nothing else is.

use crate::text::pixels;

/// Moves places (pixels, downwards) apart so that neighbours are at least `gap` away from each other and all lie within
/// `low..=high`, as near to where they want to be as their order allows. Answers in the order of the question.
pub fn push_apart(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    // Blocks of labels that touch; a block sits at the mean of what its members want.
    let mut blocks: Vec<(f64, Vec<usize>)> = Vec::new();
    let top = |block: &(f64, Vec<usize>)| block.0 - gap * (block.1.len() as f64 - 1.0) / 2.0;
    let centre = |members: &[usize]| {
        let half = gap * (members.len() as f64 - 1.0) / 2.0;
        let mean = members.iter().map(|i| wanted[*i]).sum::<f64>() / members.len() as f64;
        // Too many for the room: begin at the top.
        mean.min(high - half).max(low + half)
    };
    for i in order {
        blocks.push((centre(&[i]), vec![i]));
        while let [.., above, below] = blocks.as_slice() {
            if top(below) - (top(above) + gap * (above.1.len() as f64 - 1.0)) >= gap {
                break;
            }
            let members: Vec<usize> = above.1.iter().chain(&below.1).copied().collect();
            blocks.truncate(blocks.len() - 2);
            blocks.push((centre(&members), members));
        }
    }
    let mut places = vec![0.0; wanted.len()];
    for block in &blocks {
        for (n, i) in block.1.iter().enumerate() {
            places[*i] = top(block) + gap * n as f64;
        }
    }
    places
}

/// A rectangle: left, top, right, bottom.
pub type Box4 = [f64; 4];

fn overlap(a: &Box4, b: &Box4) -> f64 {
    (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0)
}

/// Looks for room inside a plot.
#[derive(Debug, Default)]
pub struct Room {
    /// The plot.
    pub frame: Box4,
    /// Places where lines run.
    pub ink: Vec<(f64, f64)>,
    /// Labels that have been placed.
    pub taken: Vec<Box4>,
}

impl Room {
    /// The left end of the text's base line, near `(x, y)` and clear of everything if possible. From then on the place counts as taken.
    pub fn place_near(&mut self, text: &str, size: f64, (x, y): (f64, f64)) -> (f64, f64) {
        let (w, h) = (pixels(text, size), size * 1.15);
        let mut best: Option<(f64, Box4)> = None;
        for (ring, far) in [9.0, 17.0, 28.0, 44.0].into_iter().enumerate() {
            // Right, left, above, below, and between.
            for (n, (dx, dy)) in
                [(1.0, 0.0), (0.8, -0.8), (0.8, 0.8), (-1.0, 0.0), (-0.8, -0.8), (-0.8, 0.8), (0.0, -1.0), (0.0, 1.0)]
                    .into_iter()
                    .enumerate()
            {
                let (cx, cy) = (x + dx * far, y + dy * (far + h * 0.2));
                let left = if dx > 0.0 {
                    cx
                } else if dx < 0.0 {
                    cx - w
                } else {
                    cx - w / 2.0
                };
                let spot = [left, cy - h / 2.0, left + w, cy + h / 2.0];
                let outside = w * h - overlap(&spot, &self.frame);
                let labels: f64 = self.taken.iter().map(|b| overlap(&spot, b)).sum();
                let inked = self.ink.iter().filter(|(px, py)| {
                    (spot[0] - 3.0..=spot[2] + 3.0).contains(px) && (spot[1] - 1.0..=spot[3] + 1.0).contains(py)
                });
                let cost = outside * 3.0 + labels * 3.0 + inked.count() as f64 * 14.0 + ring as f64 * 12.0 + n as f64;
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, spot));
                }
            }
        }
        let spot = best.map_or([x, y - h, x + w, y], |(_, spot)| spot);
        self.taken.push(spot);
        (spot[0], spot[3] - h * 0.25)
    }
}
