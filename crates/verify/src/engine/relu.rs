//! A ReLU on the way back: coefficients meet its lines.

use temper_kernels::arch::dispatch;
use temper_kernels::sums::LANES;

use super::backward::Kept;
use super::lines::{Row, Seen, Slopes, Tile};
use super::patches::{Coefficients, Picture};
use super::real::{Real, UNIT, above, gamma};

/// Neurons whose terms are summed in the floats of the search before they join a sum of doubles.
const CHUNK: u32 = 32;

/// Sums of a row's terms of neurons, a chunk at a time. Chunks are parts of the whole picture, pixel by pixel: so a sum does not depend on
/// which part of that a tile has.
pub(crate) struct Terms<T> {
    channels: u32,
    plane: u32,
    chunk: u32,
    part: Vec<T>,
    sums: Vec<f64>,
}

impl<T: Real> Terms<T> {
    pub fn new(picture: Picture, rows: usize) -> Self {
        let [channels, plane] = [picture[0], picture[1] * picture[2]].map(|n| n as u32);
        Self { channels, plane, chunk: 0, part: vec![T::ZERO; rows], sums: vec![0.0; rows] }
    }

    /// Where the terms of a neuron are added.
    #[inline(always)]
    pub fn of(&mut self, neuron: usize) -> &mut [T] {
        let neuron = neuron as u32;
        let chunk = (neuron % self.plane * self.channels + neuron / self.plane) / CHUNK;
        if chunk != self.chunk {
            self.flush();
            self.chunk = chunk;
        }
        &mut self.part
    }

    #[inline(always)]
    fn flush(&mut self) {
        let parts = self.part.as_chunks_mut::<LANES>().0.iter_mut();
        for (sums, parts) in self.sums.as_chunks_mut::<LANES>().0.iter_mut().zip(parts) {
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += std::mem::take(part).double());
        }
    }

    /// The sums of all rows.
    pub fn sums(mut self) -> Vec<f64> {
        self.flush();
        self.sums
    }
}

/// A ReLU's step of a tile's rows, neuron by neuron.
pub(crate) struct Relaxing<'t, 'a, 'b, T> {
    tile: &'t Tile<'a, 'b, T>,
    value: usize,
    pub seen: &'t Seen<'a, T>,
    slopes: Slopes<'a, T>,
    row: Row<T>,
    offsets: Terms<T>,
    costs: Vec<f64>,
    kept: Option<Kept<T>>,
}

/// What a step leaves besides coefficients.
pub(crate) struct Relaxed<T> {
    /// What is added to the constants.
    pub sums: Vec<f64>,
    /// What rounding may cost; empty unless it is charged.
    pub costs: Vec<f64>,
    /// The coefficients that were met, if kept.
    pub kept: Option<Kept<T>>,
}

impl<'t, 'a, 'b, T: Real> Relaxing<'t, 'a, 'b, T> {
    pub fn new(tile: &'t Tile<'a, 'b, T>, node: usize, keep: bool) -> Self {
        let value = tile.net.reads(node);
        Self {
            tile,
            value,
            seen: tile.seen(value),
            slopes: tile.slopes(node),
            row: Row::new(tile.width),
            offsets: Terms::new(tile.net.picture[node + 1], tile.width),
            costs: vec![0.0; tile.width],
            kept: keep.then(|| Kept { neurons: Vec::new(), numbers: Vec::new() }),
        }
    }

    /// The coefficients of one neuron.
    #[inline(always)]
    pub fn step(&mut self, neuron: usize, c: &mut [T]) {
        let Self { tile, value, seen, slopes, row, offsets, costs, kept } = self;
        if seen.is_active(neuron) {
            return;
        }
        if seen.is_dead(neuron) {
            return c.fill(T::ZERO);
        }
        if let Some(kept) = kept {
            kept.neurons.push(neuron as u32);
            kept.numbers.extend_from_slice(c);
        }
        let sums = offsets.of(neuron);
        match tile.line(seen, slopes, neuron) {
            Some(line) => relax(c, |_| line.map(|line| [line; LANES]), sums),
            None => {
                row.set(tile, seen, slopes, neuron);
                let lines = [&row.lower, &row.upper, &row.offset].map(|line| line.as_chunks::<LANES>().0);
                relax(c, |chunk| lines.map(|line| line[chunk]), sums);
            }
        }
        if tile.sound {
            for span in &tile.spans {
                let reach = tile.job(span).bounds.ends(*value).reach(neuron);
                let costs = costs[span.clone()].iter_mut().zip(&c[span.clone()]);
                costs.for_each(|(cost, c)| *cost += c.magnitude().double() * reach);
            }
        }
    }

    /// All neurons of coefficients at the output.
    pub fn all(mut self, coefficients: &mut Coefficients<T>, picture: Picture) -> Relaxed<T> {
        dispatch(
            #[inline(always)]
            |_| coefficients.each(picture, self.tile.width, |neuron, c| self.step(neuron, c)),
        );
        self.end()
    }

    /// After the last neuron.
    pub fn end(self) -> Relaxed<T> {
        let Self { tile, value, seen, offsets, mut costs, kept, .. } = self;
        let (sums, terms) = (offsets.sums(), tile.net.len[value]);
        for (span, lines) in tile.spans.iter().zip(&seen.lines) {
            for row in span.clone() {
                // The slopes of the upper lines, which are those of the rounded products; the sum, whose terms have one sign. Where a
                // neuron has one sign nothing is rounded.
                let products = above(above(costs[row], terms + 1) * 2.0 * UNIT, 1);
                let sum = above(above(sums[row].abs(), terms + 1) * gamma(terms + 1, UNIT), 2);
                let small = above(terms as f64 * 1e-322 * lines.reach, lines.kinds.len() + 1);
                costs[row] = above(products + sum + small, 2);
            }
        }
        Relaxed { sums, costs: if tile.sound { costs } else { Vec::new() }, kept }
    }
}

/// A ReLU's step for one neuron of all rows: coefficients that are not negative meet the lower line, others the upper, whose offsets go
/// into the sums. `lines` gives slopes and offsets of some rows.
#[inline(always)]
fn relax<T: Real>(numbers: &mut [T], lines: impl Fn(usize) -> [[T; LANES]; 3], sums: &mut [T]) {
    let chunks = numbers.as_chunks_mut::<LANES>().0.iter_mut().zip(sums.as_chunks_mut::<LANES>().0);
    for (chunk, (c, sums)) in chunks.enumerate() {
        let [a, s, t] = lines(chunk);
        for i in 0..LANES {
            // Not `c >= 0`: a NaN goes on.
            let negative = c[i] < T::ZERO;
            sums[i] += if negative { c[i] * t[i] } else { T::ZERO };
            c[i] = c[i] * if negative { s[i] } else { a[i] };
        }
    }
}
