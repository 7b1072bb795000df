//! A ReLU on the way back: coefficients meet its lines, and what they leave the bias of the map below.

use temper_kernels::arch::dispatch;
use temper_kernels::sums::LANES;

use super::backward::Kept;
use super::lines::{Row, Seen, Slopes, Tile};
use super::patches::{Coefficients, Picture};
use super::prepared::Map;
use super::real::{Real, UNIT, above, gamma};

/// Neurons whose terms are summed in the floats of the search before they join a sum of doubles, or those of a pixel.
const CHUNK: usize = 128;

/// Sums of a row's terms of neurons, a chunk of pixels at a time. Chunks are parts of the whole picture: so a sum does not depend on which
/// part of that a tile has.
pub(crate) struct Terms<T> {
    pixels: usize,
    chunk: usize,
    part: Vec<T>,
    sums: Vec<f64>,
}

impl<T: Real> Terms<T> {
    pub fn new(picture: Picture, rows: usize) -> Self {
        Self { pixels: (CHUNK / picture[0]).max(1), chunk: 0, part: vec![T::ZERO; rows], sums: vec![0.0; rows] }
    }

    /// Where the terms of a pixel's neurons are added, by vectors.
    #[inline(always)]
    pub fn of(&mut self, pixel: usize) -> &mut [[T; LANES]] {
        let chunk = pixel / self.pixels;
        if chunk != self.chunk {
            self.flush();
            self.chunk = chunk;
        }
        self.part.as_chunks_mut().0
    }

    /// Adds the numbers of a pixel's neurons, times a number each.
    #[inline(always)]
    pub fn add(&mut self, pixel: usize, channels: &[u32], c: &[T], times: impl Fn(u32) -> T) {
        let c = c.as_chunks::<LANES>().0;
        let vectors = c.len() / channels.len();
        for (vector, sums) in self.of(pixel).iter_mut().enumerate() {
            let mut sum = *sums;
            for (channel, c) in channels.iter().zip(c.chunks_exact(vectors)) {
                let times = times(*channel);
                for i in 0..LANES {
                    sum[i] += c[vector][i] * times;
                }
            }
            *sums = sum;
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        let parts = self.part.as_chunks_mut::<LANES>().0.iter_mut();
        for (sums, parts) in self.sums.as_chunks_mut::<LANES>().0.iter_mut().zip(parts) {
            for i in 0..LANES {
                sums[i] += parts[i].double();
            }
            *parts = [T::ZERO; LANES];
        }
    }

    /// The sums of all rows.
    pub fn sums(mut self) -> Vec<f64> {
        self.flush();
        self.sums
    }
}

/// The products of coefficients with a map's bias.
pub(crate) fn products<T: Real>(map: &Map<T>, y: &mut Coefficients<T>, width: usize) -> Vec<f64> {
    let picture = map.pictures()[1];
    let plane = picture[1] * picture[2];
    let mut terms = Terms::new(picture, width);
    dispatch(
        #[inline(always)]
        |_| {
            y.each_pixel(
                picture,
                width,
                #[inline(always)]
                |pixel, channels, c| {
                    terms.add(pixel, channels, c, |channel| map.bias[map.bias_of(plane, channel, pixel)])
                },
            );
        },
    );
    terms.sums()
}

/// A ReLU's step of a tile's rows, pixel by pixel.
pub(crate) struct Relaxing<'t, 'a, 'b, T> {
    tile: &'t Tile<'a, 'b, T>,
    value: usize,
    pub seen: &'t Seen<'a, T>,
    slopes: Slopes<'a, T>,
    row: Row<T>,
    /// Of a pixel's neurons that are met by the same lines in all rows: their runs, and slopes and offset.
    alike: Vec<(usize, [T; 3])>,
    plane: usize,
    offsets: Terms<T>,
    costs: Vec<f64>,
    kept: Option<Kept<T>>,
    /// The map below, and the products of what arrives there with its bias.
    bias: Option<(&'t Map<T>, Terms<T>)>,
}

/// What a step leaves besides coefficients.
pub(crate) struct Relaxed<T> {
    /// What is added to the constants.
    pub sums: Vec<f64>,
    /// The products with the bias below, if they were asked for.
    pub biases: Option<Vec<f64>>,
    /// What rounding may cost; empty unless it is charged.
    pub costs: Vec<f64>,
    /// The coefficients that were met, if kept.
    pub kept: Option<Kept<T>>,
}

impl<'t, 'a, 'b, T: Real> Relaxing<'t, 'a, 'b, T> {
    pub fn new(tile: &'t Tile<'a, 'b, T>, node: usize, keep: bool, below: Option<&'t Map<T>>) -> Self {
        let (value, picture) = (tile.net.reads(node), tile.net.picture[node + 1]);
        let plane = picture[1] * picture[2];
        Self {
            tile,
            value,
            seen: tile.seen(value),
            slopes: tile.slopes(node),
            row: Row::new(tile.width),
            alike: Vec::new(),
            plane,
            offsets: Terms::new(picture, tile.width),
            costs: vec![0.0; tile.width],
            kept: keep.then(|| Kept { neurons: Vec::new(), numbers: Vec::new() }),
            bias: below.map(|map| (map, Terms::new(picture, tile.width))),
        }
    }

    /// The coefficients of a pixel's neurons.
    #[inline(always)]
    pub fn step(&mut self, pixel: usize, channels: &[u32], runs: &mut [T]) {
        let (tile, width, seen) = (self.tile, self.tile.width, self.seen);
        let neuron = |channel: &u32| *channel as usize * self.plane + pixel;
        self.alike.clear();
        let mut differ = false;
        for (run, channel) in channels.iter().enumerate() {
            let neuron = neuron(channel);
            if seen.is_active(neuron) {
                continue;
            }
            if let Some(kept) = self.kept.as_mut().filter(|_| !seen.is_dead(neuron)) {
                kept.neurons.push(neuron as u32);
                kept.numbers.extend_from_slice(&runs[run * width..][..width]);
            }
            match tile.line(seen, &self.slopes, neuron) {
                Some(line) => self.alike.push((run, line)),
                None => differ = true,
            }
        }
        if differ {
            for (channel, c) in channels.iter().zip(runs.chunks_exact_mut(width)) {
                self.neuron(pixel, *channel as usize * self.plane + pixel, c);
            }
        } else {
            let runs = runs.as_chunks_mut::<LANES>().0;
            for (vector, sums) in self.offsets.of(pixel).iter_mut().enumerate() {
                let mut sum = *sums;
                for (run, line) in &self.alike {
                    relax(&mut runs[run * (width / LANES) + vector], line.map(|line| [line; LANES]), &mut sum);
                }
                *sums = sum;
            }
        }
        if let Some((map, terms)) = &mut self.bias {
            let plane = self.plane;
            terms.add(
                pixel,
                channels,
                runs,
                #[inline(always)]
                |channel| map.bias[map.bias_of(plane, channel, pixel)],
            );
        }
        if tile.sound {
            for (channel, c) in channels.iter().zip(runs.chunks_exact(width)) {
                let neuron = *channel as usize * self.plane + pixel;
                if !seen.is_active(neuron) {
                    self.cost(neuron, c);
                }
            }
        }
    }

    /// One neuron, row by row.
    #[inline(always)]
    fn neuron(&mut self, pixel: usize, neuron: usize, c: &mut [T]) {
        if self.seen.is_active(neuron) {
            return;
        }
        if self.seen.is_dead(neuron) {
            return c.fill(T::ZERO);
        }
        let row = &mut self.row;
        row.set(self.tile, self.seen, &self.slopes, neuron);
        let lines = [&row.lower, &row.upper, &row.offset].map(|line| line.as_chunks::<LANES>().0);
        let vectors = c.as_chunks_mut::<LANES>().0.iter_mut().zip(self.offsets.of(pixel));
        vectors.enumerate().for_each(|(i, (c, sums))| relax(c, lines.map(|line| line[i]), sums));
    }

    /// What rounding of the products may cost.
    #[inline(always)]
    fn cost(&mut self, neuron: usize, c: &[T]) {
        for span in &self.tile.spans {
            let reach = self.tile.job(span).bounds.ends(self.value).reach(neuron);
            let costs = self.costs[span.clone()].iter_mut().zip(&c[span.clone()]);
            costs.for_each(|(cost, c)| *cost += c.magnitude().double() * reach);
        }
    }

    /// All neurons of coefficients at the output.
    pub fn all(mut self, coefficients: &mut Coefficients<T>, picture: Picture) -> Relaxed<T> {
        dispatch(
            #[inline(always)]
            |_| {
                coefficients.each_pixel(
                    picture,
                    self.tile.width,
                    #[inline(always)]
                    |pixel, channels, c| self.step(pixel, channels, c),
                )
            },
        );
        self.end()
    }

    /// After the last neuron.
    pub fn end(self) -> Relaxed<T> {
        let Self { tile, value, seen, offsets, mut costs, kept, bias, .. } = self;
        let (sums, terms) = (offsets.sums(), tile.net.len[value]);
        if tile.sound {
            for (span, lines) in tile.spans.iter().zip(&seen.lines) {
                let small = above(terms as f64 * 1e-322 * lines.reach, lines.kinds.len() + 1);
                for row in span.clone() {
                    // The slopes of the upper lines, which are those of the rounded products; the sum, whose terms have one sign. Where a
                    // neuron has one sign nothing is rounded.
                    let products = above(above(costs[row], terms + 1) * 2.0 * UNIT, 1);
                    let sum = above(above(sums[row].abs(), terms + 1) * gamma(terms + 1, UNIT), 2);
                    costs[row] = above(products + sum + small, 2);
                }
            }
        } else {
            costs.clear();
        }
        Relaxed { sums, biases: bias.map(|(_, terms)| terms.sums()), costs, kept }
    }
}

/// A ReLU's step for a neuron of some rows: coefficients that are not negative meet the lower line, others the upper, whose offsets go into
/// the sums.
#[inline(always)]
fn relax<T: Real>(c: &mut [T; LANES], [a, s, t]: [[T; LANES]; 3], sums: &mut [T; LANES]) {
    for i in 0..LANES {
        // Not `c >= 0`: a NaN goes on.
        let negative = c[i] < T::ZERO;
        sums[i] += if negative { c[i] * t[i] } else { T::ZERO };
        c[i] = c[i] * if negative { s[i] } else { a[i] };
    }
}
