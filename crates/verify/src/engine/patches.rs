//! Coefficients of rows at a value, and the part of a picture that they are in.
//!
//! A neuron of a convolution sees a small part of the layers before it, so that the rows of neighbours have coefficients in a part of a
//! picture only; and most neurons of a network are never positive in a small box, so that theirs are known to be 0. What is left is kept
//! pixel by pixel: a run of one number a row for every neuron, `[neurons, rows]`.

use std::ops::Range;

use temper_graph::Window;
use temper_kernels::arch::dispatch;
use temper_kernels::sums::{self, Offsets, Span};

use super::buffer::Buffer;
use super::real::Real;

/// The picture a value is: channels, height, width. A value that is none has one row of all its numbers.
pub(crate) type Picture = [usize; 3];

/// A part of a picture: its first row and column, its height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patch {
    pub at: [usize; 2],
    pub size: [usize; 2],
}

impl Patch {
    /// All of a picture.
    pub fn whole(picture: Picture) -> Self {
        Self { at: [0, 0], size: [picture[1], picture[2]] }
    }

    /// The smallest that holds both.
    pub fn around(self, other: Self) -> Self {
        let at = [0, 1].map(|d| self.at[d].min(other.at[d]));
        let end = [0, 1].map(|d| (self.at[d] + self.size[d]).max(other.at[d] + other.size[d]));
        Self { at, size: [0, 1].map(|d| end[d] - at[d]) }
    }

    /// What a convolution reads for this part of its output: one pixel at least, even if that is in the padding alone.
    pub fn before(self, window: &Window) -> Self {
        let span = |d: usize| {
            let (step, reach) = (window.stride[d], window.dilation[d] * (window.kernel[d] - 1) + 1);
            let first = (self.at[d] * step).saturating_sub(window.padding[d]).min(window.input[d + 1] - 1);
            let last = (self.at[d] + self.size[d] - 1) * step + reach;
            (first, last.saturating_sub(window.padding[d]).clamp(first + 1, window.input[d + 1]))
        };
        let spans = [span(0), span(1)];
        Self { at: spans.map(|span| span.0), size: spans.map(|span| span.1 - span.0) }
    }

    /// Its rows or columns.
    pub fn range(&self, d: usize) -> Range<usize> {
        self.at[d]..self.at[d] + self.size[d]
    }

    /// Pixels.
    #[inline(always)]
    pub fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// The place in it of a pixel, if it has that.
    pub fn place(&self, pixel: [usize; 2]) -> Option<usize> {
        let inside = (0..2).all(|d| self.range(d).contains(&pixel[d]));
        inside.then(|| (pixel[0] - self.at[0]) * self.size[1] + pixel[1] - self.at[1])
    }

    /// The pixels in it, in order.
    pub fn pixels(self, picture: Picture) -> impl Iterator<Item = usize> {
        self.range(0).flat_map(move |y| self.range(1).map(move |x| y * picture[2] + x))
    }
}

/// Coefficients of the neurons of a part that may have some; 0 elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<T: Real> {
    pub patch: Patch,
    /// Of every pixel, where its neurons begin; and after it all.
    starts: Vec<u32>,
    /// The channel of every neuron, in order within a pixel.
    channels: Vec<u32>,
    /// `[neurons, rows]`.
    pub numbers: Buffer<T>,
}

impl<T: Real> Coefficients<T> {
    /// Of no pixel of a part yet.
    fn begin(patch: Patch) -> Self {
        let mut starts = Vec::with_capacity(patch.area() + 1);
        starts.push(0);
        Self { patch, starts, channels: Vec::new(), numbers: Buffer::new() }
    }

    /// Nothing but zeros.
    pub fn zeros(patch: Patch) -> Self {
        let mut zeros = Self::begin(patch);
        zeros.starts.resize(patch.area() + 1, 0);
        zeros
    }

    /// All of a value, from `[numbers, rows]`.
    pub fn whole(picture: Picture, rows: usize, numbers: &[T]) -> Self {
        let mut whole = Self::new(picture, Patch::whole(picture), rows, |_| true);
        whole.each(picture, rows, |neuron, run| run.copy_from_slice(&numbers[neuron * rows..][..rows]));
        whole
    }

    /// Room for those neurons of a whole value that count, pixel by pixel: whatever was left there.
    pub fn room(picture: Picture, rows: usize, counts: &[bool]) -> Self {
        let mut room = Self::begin(Patch::whole(picture));
        for counts in counts.chunks(picture[0]) {
            room.channels.extend((0..).zip(counts).filter(|(_, counts)| **counts).map(|(c, _)| c));
            room.close();
        }
        room.numbers.more(room.channels.len() * rows);
        room
    }

    /// Zeros for those neurons of a part that count.
    pub fn new(picture: Picture, patch: Patch, rows: usize, counts: impl Fn(usize) -> bool) -> Self {
        let plane = picture[1] * picture[2];
        let mut new = Self::begin(patch);
        for pixel in patch.pixels(picture) {
            new.channels.extend((0..picture[0]).filter(|c| counts(c * plane + pixel)).map(|c| c as u32));
            new.close();
        }
        new.numbers.zeros(new.channels.len() * rows);
        new
    }

    /// Every neuron with its numbers, in order.
    #[inline(always)]
    pub fn each(&mut self, picture: Picture, rows: usize, mut each: impl FnMut(usize, &mut [T])) {
        let neurons = self.neurons(picture);
        neurons.into_iter().zip(self.numbers.chunks_exact_mut(rows)).for_each(|(neuron, run)| each(neuron, run));
    }

    /// Every pixel with the channels and the numbers of its neurons, in order.
    #[inline(always)]
    pub fn each_pixel(&mut self, picture: Picture, rows: usize, mut each: impl FnMut(usize, &[u32], &mut [T])) {
        for (place, pixel) in self.patch.pixels(picture).enumerate() {
            let runs = self.runs(place);
            if !runs.is_empty() {
                each(pixel, &self.channels[runs.clone()], &mut self.numbers[runs.start * rows..runs.end * rows]);
            }
        }
    }

    /// The neurons of the next pixel are complete.
    fn close(&mut self) {
        self.starts.push(self.channels.len() as u32);
    }

    /// The places of a pixel's neurons.
    fn runs(&self, place: usize) -> Range<usize> {
        self.starts[place] as usize..self.starts[place + 1] as usize
    }

    /// The neurons, in order.
    pub fn neurons(&self, picture: Picture) -> Vec<usize> {
        let plane = picture[1] * picture[2];
        let mut neurons = Vec::with_capacity(self.channels.len());
        for (place, pixel) in self.patch.pixels(picture).enumerate() {
            neurons.extend(self.channels[self.runs(place)].iter().map(|c| *c as usize * plane + pixel));
        }
        neurons
    }

    /// The place of a neuron's run.
    pub fn find(&self, picture: Picture, neuron: usize) -> Option<usize> {
        let (plane, width) = (picture[1] * picture[2], picture[2]);
        let runs = self.runs(self.patch.place([neuron % plane / width, neuron % width])?);
        let at = self.channels[runs.clone()].binary_search(&((neuron / plane) as u32)).ok()?;
        Some(runs.start + at)
    }

    /// `[numbers, rows]` of the whole value.
    pub fn all(&self, picture: Picture, rows: usize) -> Vec<T> {
        let mut all = vec![T::ZERO; picture.iter().product::<usize>() * rows];
        for (neuron, run) in self.neurons(picture).into_iter().zip(self.numbers.chunks_exact(rows)) {
            all[neuron * rows..][..rows].copy_from_slice(run);
        }
        all
    }

    /// The same numbers in another part; what it does not hold is left out.
    pub fn to(self, rows: usize, patch: Patch) -> Self {
        if self.patch == patch {
            return self;
        }
        let mut to = Self::begin(patch);
        for pixel in patch.range(0).flat_map(|y| patch.range(1).map(move |x| [y, x])) {
            if let Some(place) = self.patch.place(pixel) {
                let runs = self.runs(place);
                to.channels.extend_from_slice(&self.channels[runs.clone()]);
                to.numbers.extend_from_slice(&self.numbers[runs.start * rows..runs.end * rows]);
            }
            to.close();
        }
        to
    }

    /// The sum of both, in a part that holds both.
    pub fn plus(mut self, other: Self, rows: usize) -> Self {
        if self.patch == other.patch && self.starts == other.starts && self.channels == other.channels {
            dispatch(
                #[inline(always)]
                |_| add(&mut self.numbers, &other.numbers),
            );
            return self;
        }
        let patch = self.patch.around(other.patch);
        let mut sum = Self::begin(patch);
        for pixel in patch.range(0).flat_map(|y| patch.range(1).map(move |x| [y, x])) {
            let mut both = [&self, &other].map(|of| (of, of.patch.place(pixel).map_or(0..0, |place| of.runs(place))));
            let next = |(of, runs): &(&Self, Range<usize>)| Some(of.channels[runs.clone().next()?]);
            while let Some(channel) = both.iter().filter_map(next).min() {
                let to = sum.numbers.zeros(rows);
                sum.channels.push(channel);
                for both in both.iter_mut().filter(|both| next(both) == Some(channel)) {
                    add(to, &both.0.numbers[both.1.start * rows..][..rows]);
                    both.1.start += 1;
                }
            }
            sum.close();
        }
        sum
    }

    /// The same of another shape that has the numbers in the same order.
    pub fn shaped(self, from: Picture, to: Picture, rows: usize) -> Self {
        if from == to {
            return self;
        }
        let plane = to[1] * to[2];
        let mut neurons: Vec<(usize, usize)> = self.neurons(from).into_iter().zip(0..).collect();
        neurons.sort_unstable_by_key(|(neuron, _)| (neuron % plane, neuron / plane));
        let mut shaped = Self::begin(Patch::whole(to));
        let mut left = neurons.as_slice();
        for pixel in 0..plane {
            let (here, rest) = left.split_at(left.iter().take_while(|(neuron, _)| neuron % plane == pixel).count());
            for (neuron, run) in here {
                shaped.channels.push((neuron / plane) as u32);
                shaped.numbers.extend_from_slice(&self.numbers[run * rows..][..rows]);
            }
            shaped.close();
            left = rest;
        }
        shaped
    }

    /// Those neurons that count alone.
    pub fn some_neurons(self, picture: Picture, rows: usize, counts: impl Fn(usize) -> bool) -> Self {
        let neurons = self.neurons(picture);
        if neurons.iter().all(|neuron| counts(*neuron)) {
            return self;
        }
        let mut some = Self::begin(self.patch);
        for place in 0..self.patch.area() {
            for run in self.runs(place).filter(|run| counts(neurons[*run])) {
                some.channels.push(self.channels[run]);
                some.numbers.extend_from_slice(&self.numbers[run * rows..][..rows]);
            }
            some.close();
        }
        some
    }

    /// Some channels alone.
    fn some(&self, channels: Range<u32>, rows: usize) -> Self {
        let mut some = Self::begin(self.patch);
        for place in 0..self.patch.area() {
            for run in self.runs(place).filter(|run| channels.contains(&self.channels[*run])) {
                some.channels.push(self.channels[run] - channels.start);
                some.numbers.extend_from_slice(&self.numbers[run * rows..][..rows]);
            }
            some.close();
        }
        some
    }

    /// What has so many channels each, one behind the other.
    fn join(parts: &[Self], channels: usize, rows: usize) -> Self {
        let mut all = Self::begin(parts[0].patch);
        for place in 0..all.patch.area() {
            for (part, first) in parts.iter().zip((0..).step_by(channels)) {
                let runs = part.runs(place);
                all.channels.extend(part.channels[runs.clone()].iter().map(|c| first as u32 + c));
                all.numbers.extend_from_slice(&part.numbers[runs.start * rows..runs.end * rows]);
            }
            all.close();
        }
        all
    }
}

/// The place of a neuron of a picture that is kept pixel by pixel.
pub(crate) fn place([channels, height, width]: Picture, neuron: usize) -> usize {
    let plane = height * width;
    neuron % plane * channels + neuron / plane
}

/// `to += from`.
#[inline(always)]
pub(crate) fn add<T: Real>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
}

/// A convolution of numbers with rows last, ready for both directions.
#[derive(Debug)]
pub(crate) struct Conv<T> {
    pub window: Window,
    pub groups: usize,
    pub output: Picture,
    back: Taps<T>,
    ahead: Taps<T>,
    /// Magnitudes of the weights of `ahead`.
    ahead_absolute: Vec<T>,
}

impl<T: Real> Conv<T> {
    pub fn new(window: Window, groups: usize, weight: &[T]) -> Self {
        let Window { input, kernel: [kh, kw], stride, padding, dilation } = window;
        let taps = kh * kw;
        let inputs = input[0] / groups;
        let outputs = weight.len() / (inputs * taps).max(1) / groups;
        let [height, width] = window.output().expect("a checked window");
        let output = [groups * outputs, height, width];
        // Places of weights are counted from one pixel to the next, in 32 bits.
        let places = [input.iter().product::<usize>() / groups * outputs, outputs * height * width * inputs];
        assert!(places.iter().all(|n| u32::try_from(*n).is_ok()), "a layer below 2^32 products a tap");
        // Taps of a line in the order in which outputs side by side meet one column of the input.
        let mut order: Vec<usize> = (0..kw).collect();
        order.sort_by_key(|tap| (tap % stride[1], kw - tap));
        let mut met = vec![0; kw];
        order.into_iter().enumerate().for_each(|(place, tap)| met[tap] = place);
        let (mut back, mut ahead) = (weight.to_vec(), weight.to_vec());
        for (i, weight) in weight.iter().enumerate() {
            let (tap, c, o) = (i % taps, i / taps % inputs, i / taps / inputs);
            let first = o / outputs * outputs * inputs * taps;
            back[first + ((tap / kw * kw + met[tap % kw]) * outputs + o % outputs) * inputs + c] = *weight;
            ahead[first + (tap * inputs + c) * outputs + o % outputs] = *weight;
        }
        // The rows or columns of the output that see one of the input, and those of the input that one of the output sees.
        let seeing = |d: usize, at: usize| {
            let tap = |tap: usize| {
                let from = (at + padding[d]).checked_sub(tap * dilation[d])?;
                let inside = from.is_multiple_of(stride[d]) && from / stride[d] < output[d + 1];
                inside.then_some([if d == 1 { met[tap] } else { tap }, from / stride[d]])
            };
            (0..window.kernel[d]).rev().filter_map(tap).collect::<Vec<_>>()
        };
        let seen = |d: usize, at: usize| {
            (0..window.kernel[d]).filter_map(|tap| Some([tap, window.sees(d, at, tap)?])).collect::<Vec<_>>()
        };
        Self {
            window,
            groups,
            output,
            ahead_absolute: ahead.iter().map(|weight| weight.magnitude()).collect(),
            back: Taps::new(groups, kw, back, [outputs, inputs], input, seeing),
            ahead: Taps::new(groups, kw, ahead, [inputs, outputs], output, seen),
        }
    }

    /// The coefficients of its input that count, of those of its output; `finish` is given each pixel.
    pub fn push(
        &self,
        rows: usize,
        y: &Coefficients<T>,
        counts: impl Fn(usize) -> bool,
        finish: impl FnMut(usize, &[u32], &mut [T]),
    ) -> Coefficients<T> {
        self.back.apply(rows, &self.back.weights, y, y.patch.before(&self.window), false, counts, finish)
    }

    /// The outputs in a part that count, without bias, of what is there of its input; `finish` is given each pixel. By the magnitudes of
    /// the weights if `absolute`.
    pub fn pull(
        &self,
        rows: usize,
        x: &Coefficients<T>,
        absolute: bool,
        patch: Patch,
        counts: impl Fn(usize) -> bool,
        finish: impl FnMut(usize, &[u32], &mut [T]),
    ) -> Coefficients<T> {
        let weights = if absolute { &self.ahead_absolute } else { &self.ahead.weights };
        self.ahead.apply(rows, weights, x, patch, true, counts, finish)
    }
}

/// A map between pictures, every pixel of whose result reads pixels by taps.
#[derive(Debug)]
struct Taps<T> {
    groups: usize,
    /// Of every group, `[kernel, channels read, channels made]`.
    weights: Vec<T>,
    /// Of a group: channels that are read, and that are made.
    channels: [usize; 2],
    /// What is made.
    picture: Picture,
    /// Of every row that is made: where the weights of taps begin, and rows that are read.
    lines: Vec<Vec<[usize; 2]>>,
    /// Of every column: columns that are read, side by side, and where the weights of the column 0 would begin, if it were one of them.
    columns: Vec<Vec<Span>>,
}

impl<T: Real> Taps<T> {
    /// `seen` gives the taps and places of a row (0) or column (1), places in order.
    fn new(
        groups: usize,
        width: usize,
        weights: Vec<T>,
        channels: [usize; 2],
        picture: Picture,
        seen: impl Fn(usize, usize) -> Vec<[usize; 2]>,
    ) -> Self {
        let tap = channels[0] * channels[1];
        let line = |at: usize| seen(0, at).into_iter().map(|[u, row]| [u * width * tap, row]).collect();
        let columns = |at: usize| {
            let mut spans: Vec<Span> = Vec::new();
            for [v, column] in seen(1, at) {
                let base = (v * tap) as i64 - (column * tap) as i64;
                let column = column as u32;
                match spans.last_mut().filter(|last| last.end == column && last.base == base) {
                    Some(last) => last.end += 1,
                    None => spans.push(Span { first: column, end: column + 1, base }),
                }
            }
            spans
        };
        let (lines, columns) = ((0..picture[1]).map(line).collect(), (0..picture[2]).map(columns).collect());
        Self { groups, weights, channels, picture, lines, columns }
    }

    /// The neurons of a part that count, by weights in the order of these. Where `all`, they are there even if they read nothing.
    #[allow(clippy::too_many_arguments)]
    fn apply(
        &self,
        rows: usize,
        weights: &[T],
        from: &Coefficients<T>,
        patch: Patch,
        all: bool,
        counts: impl Fn(usize) -> bool,
        mut finish: impl FnMut(usize, &[u32], &mut [T]),
    ) -> Coefficients<T> {
        let [read, made] = self.channels;
        if self.groups == 1 {
            return dispatch(
                #[inline(always)]
                |_| self.group(rows, weights, from, patch, all, counts, finish),
            );
        }
        let group = |group: usize| {
            let from = from.some((group * read) as u32..((group + 1) * read) as u32, rows);
            let size = weights.len() / self.groups;
            let first = group * made * self.picture[1] * self.picture[2];
            let counts = |neuron| counts(first + neuron);
            self.group(rows, &weights[group * size..][..size], &from, patch, all, counts, |_, _, _| ())
        };
        let parts: Vec<_> = (0..self.groups).map(group).collect();
        let mut to = Coefficients::join(&parts, made, rows);
        to.each_pixel(self.picture, rows, &mut finish);
        to
    }

    /// The same of one group.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn group(
        &self,
        rows: usize,
        weights: &[T],
        from: &Coefficients<T>,
        patch: Patch,
        all: bool,
        counts: impl Fn(usize) -> bool,
        mut finish: impl FnMut(usize, &[u32], &mut [T]),
    ) -> Coefficients<T> {
        let [read, made] = self.channels;
        let (tap, plane) = ((read * made) as i64, self.picture[1] * self.picture[2]);
        let [height, width] = [0, 1].map(|d| from.patch.range(d));
        // Places of weights grow with those of runs, so that pixels side by side are one span.
        let mut offsets = vec![0; from.channels.len()];
        for place in 0..from.patch.area() {
            for run in from.runs(place) {
                offsets[run] = ((place * read + from.channels[run] as usize) * made) as u32;
            }
        }
        let (offsets, numbers) = (Offsets::new(offsets), &*from.numbers);
        let mut to = Coefficients::begin(patch);
        let (mut wanted, mut spans) = (vec![0u32; made], Vec::new());
        for y in patch.range(0) {
            for x in patch.range(1) {
                let pixel = y * self.picture[2] + x;
                let mut n = 0;
                for c in 0..made {
                    // Without a branch, which nobody could foresee.
                    wanted[n] = c as u32;
                    n += usize::from(counts(c * plane + pixel));
                }
                if n == 0 {
                    to.close();
                    continue;
                }
                spans.clear();
                for [base, row] in self.lines[y].iter().filter(|[_, row]| height.contains(row)) {
                    let before = (row - height.start) * width.len();
                    let base = *base as i64 - (before as i64 - width.start as i64) * tap;
                    for columns in &self.columns[x] {
                        let [first, end] = [columns.first, columns.end]
                            .map(|column| (column as usize).clamp(width.start, width.end) - width.start + before);
                        let [first, end] = [from.starts[first], from.starts[end]];
                        if first < end {
                            spans.push(Span { first, end, base: base + columns.base });
                        }
                    }
                }
                if all || !spans.is_empty() {
                    let runs = to.numbers.more(n * rows);
                    sums::sums(rows, weights, &wanted[..n], &offsets, &spans, numbers, runs);
                    finish(pixel, &wanted[..n], runs);
                    to.channels.extend_from_slice(&wanted[..n]);
                }
                to.close();
            }
        }
        to
    }
}
