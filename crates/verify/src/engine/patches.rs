//! Coefficients of rows at a value, and the part of a picture that they are in.
//!
//! A neuron of a convolution sees a small part of the layers before it, so that the rows of neighbours have coefficients in a part of a
//! picture only. Numbers come first and rows last, `[channels, height, width, rows]`. Most neurons of a network are never positive in a
//! small box: their numbers are known to be 0, and nothing is spent on them.

use std::ops::Range;

use temper_graph::Window;
use temper_kernels::arch::dispatch;
use temper_kernels::sums::Term;

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

    /// The place in it of a neuron.
    pub fn element(&self, picture: Picture, neuron: usize) -> Option<usize> {
        let (plane, width) = (picture[1] * picture[2], picture[2]);
        let place = self.place([neuron % plane / width, neuron % width])?;
        Some(neuron / plane * self.area() + place)
    }

    /// The neurons in it, in order.
    pub fn neurons(self, picture: Picture) -> impl Iterator<Item = usize> {
        let [channels, height, width] = picture;
        let mut neurons = Vec::with_capacity(channels * self.area());
        for line in (0..channels).flat_map(|c| self.range(0).map(move |y| (c * height + y) * width)) {
            neurons.extend(line + self.at[1]..line + self.at[1] + self.size[1]);
        }
        neurons.into_iter()
    }
}

/// `[channels, height, width, rows]` of a part of a value; 0 elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<T> {
    pub numbers: Vec<T>,
    pub patch: Patch,
    /// Which elements may be other than 0 in some row.
    pub live: Vec<bool>,
}

impl<T: Real> Coefficients<T> {
    /// Nothing but zeros.
    pub fn zeros(picture: Picture, patch: Patch, rows: usize) -> Self {
        let elements = picture[0] * patch.area();
        Self { numbers: vec![T::ZERO; elements * rows], patch, live: vec![false; elements] }
    }

    /// All of a value.
    pub fn whole(picture: Picture, numbers: Vec<T>) -> Self {
        let patch = Patch::whole(picture);
        Self { numbers, patch, live: vec![true; picture[0] * patch.area()] }
    }

    /// The elements that may be other than 0, and their neurons.
    pub fn elements(&self, picture: Picture) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.patch.neurons(picture).enumerate().filter(|(element, _)| self.live[*element])
    }

    /// The same numbers in another part; what it does not hold is left out.
    pub fn to(self, picture: Picture, rows: usize, patch: Patch) -> Self {
        if self.patch == patch {
            return self;
        }
        let mut to = Self::zeros(picture, patch, rows);
        self.each_run(picture, &to.patch.clone(), |from, place, n| {
            to.numbers[place * rows..][..n * rows].copy_from_slice(&self.numbers[from * rows..][..n * rows]);
            to.live[place..][..n].copy_from_slice(&self.live[from..][..n]);
        });
        to
    }

    /// The runs of elements that another part has too: where they begin here and there, and how many.
    fn each_run(&self, picture: Picture, patch: &Patch, mut each: impl FnMut(usize, usize, usize)) {
        let both = |d: usize| {
            let (a, b) = (self.patch.range(d), patch.range(d));
            a.start.max(b.start)..a.end.min(b.end)
        };
        let (rows, columns) = (both(0), both(1));
        if columns.is_empty() {
            return;
        }
        for c in 0..picture[0] {
            for y in rows.clone() {
                let place =
                    |patch: &Patch| c * patch.area() + (y - patch.at[0]) * patch.size[1] + columns.start - patch.at[1];
                each(place(&self.patch), place(patch), columns.len());
            }
        }
    }

    /// The sum of both, in a part that holds both.
    pub fn plus(self, other: Self, picture: Picture, rows: usize) -> Self {
        let patch = self.patch.around(other.patch);
        let mut sum = self.to(picture, rows, patch);
        other.each_run(picture, &patch, |from, place, n| {
            let (to, more) = (&mut sum.numbers[place * rows..][..n * rows], &other.numbers[from * rows..][..n * rows]);
            dispatch(
                #[inline(always)]
                |_| add(to, more),
            );
            sum.live[place..][..n].iter_mut().zip(&other.live[from..]).for_each(|(to, from)| *to |= *from);
        });
        sum
    }

    /// The same of another shape that has the numbers in the same order.
    pub fn shaped(self, from: Picture, to: Picture, rows: usize) -> Self {
        if from == to {
            return self;
        }
        Self { patch: Patch::whole(to), ..self.to(from, rows, Patch::whole(from)) }
    }
}

/// `to += from`.
#[inline(always)]
pub(crate) fn add<T: Real>(to: &mut [T], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
}

/// Of every pixel of a part, the channels of a group that count.
struct Channels {
    list: Vec<u32>,
    ends: Vec<usize>,
}

impl Channels {
    /// `counts` is of the channel and the place in the part.
    fn new(patch: &Patch, channels: usize, counts: impl Fn(usize, usize) -> bool) -> Self {
        let (mut list, mut ends) = (vec![0; patch.area() * channels], Vec::with_capacity(patch.area() + 1));
        let mut n = 0;
        ends.push(0);
        for place in 0..patch.area() {
            for c in 0..channels {
                // Without a branch, which nobody could foresee.
                list[n] = c as u32;
                n += usize::from(counts(c, place));
            }
            ends.push(n);
        }
        Self { list, ends }
    }

    #[inline(always)]
    fn at(&self, place: usize) -> &[u32] {
        &self.list[self.ends[place]..self.ends[place + 1]]
    }
}

/// A convolution of numbers with rows last, ready for both directions.
#[derive(Debug)]
pub(crate) struct Conv<T> {
    pub window: Window,
    pub groups: usize,
    /// Of a group, going back: `[outputs, kernel, inputs]`.
    back: Vec<T>,
    /// Of a group, going forward: `[inputs, kernel, outputs]`.
    ahead: Vec<T>,
    /// Channels of a group: of the input, of the output.
    channels: [usize; 2],
    pub output: Picture,
}

impl<T: Real> Conv<T> {
    pub fn new(window: Window, groups: usize, weight: &[T]) -> Self {
        let taps = window.kernel[0] * window.kernel[1];
        let inputs = window.input[0] / groups;
        let outputs = weight.len() / (inputs * taps).max(1) / groups;
        let [height, width] = window.output().expect("a checked window");
        let (mut back, mut ahead) = (weight.to_vec(), weight.to_vec());
        for (i, weight) in weight.iter().enumerate() {
            let (tap, c, o) = (i % taps, i / taps % inputs, i / taps / inputs);
            let first = o / outputs * outputs * inputs * taps;
            back[first + (o % outputs * taps + tap) * inputs + c] = *weight;
            ahead[first + (c * taps + tap) * outputs + o % outputs] = *weight;
        }
        Self { window, groups, back, ahead, channels: [inputs, outputs], output: [groups * outputs, height, width] }
    }

    /// The coefficients of its input that count, of those of its output.
    pub fn push(&self, rows: usize, y: &Coefficients<T>, counts: impl Fn(usize) -> bool) -> Coefficients<T> {
        let Window { input, kernel, stride, padding, dilation } = self.window;
        let patch = y.patch.before(&self.window);
        let mut x = Coefficients::zeros(input, patch, rows);
        // The rows or columns of the output that see one of the input, and the taps that do.
        let seen = |d: usize, at: usize| -> Vec<(usize, usize)> {
            let tap = |tap: usize| {
                let from = (at + padding[d]).checked_sub(tap * dilation[d])?;
                let place = from / stride[d];
                (from.is_multiple_of(stride[d]) && y.patch.range(d).contains(&place))
                    .then(|| (tap, place - y.patch.at[d]))
            };
            (0..kernel[d]).filter_map(tap).collect()
        };
        let columns: Vec<_> = patch.range(1).map(|at| seen(1, at)).collect();
        let [inputs, outputs] = self.channels;
        let taps = kernel[0] * kernel[1];
        let (mut sums, mut terms): (Vec<Term>, Vec<Term>) = (Vec::new(), Vec::new());
        for group in 0..self.groups {
            let weights = &self.back[group * self.back.len() / self.groups..][..self.back.len() / self.groups];
            let area = y.patch.area();
            let live = Channels::new(&y.patch, outputs, |o, place| y.live[(group * outputs + o) * area + place]);
            let pixels: Vec<usize> = patch.neurons([1, input[1], input[2]]).collect();
            let plane = input[1] * input[2];
            let wanted = Channels::new(&patch, inputs, |c, place| counts((group * inputs + c) * plane + pixels[place]));
            for (i, at) in patch.range(0).enumerate() {
                let lines = seen(0, at);
                for (j, columns) in columns.iter().enumerate() {
                    let place = i * patch.size[1] + j;
                    if wanted.at(place).is_empty() {
                        continue;
                    }
                    terms.clear();
                    for (u, line) in &lines {
                        for (v, column) in columns {
                            let place = line * y.patch.size[1] + column;
                            let tap = u * kernel[1] + v;
                            let step = [taps * inputs, area].map(|n| n as u32);
                            let first = [tap * inputs, group * outputs * area + place].map(|n| n as u32);
                            let of = |o: &u32| [first[0] + o * step[0], first[1] + o * step[1]];
                            terms.extend(live.at(place).iter().map(of));
                        }
                    }
                    if terms.is_empty() {
                        continue;
                    }
                    sums.clear();
                    sums.extend(wanted.at(place).iter().map(|c| {
                        let element = (group * inputs + *c as usize) * patch.area() + place;
                        x.live[element] = true;
                        [*c, element as u32]
                    }));
                    T::sums(rows, weights, &sums, &terms, &y.numbers, &mut x.numbers);
                }
            }
        }
        x
    }

    /// The outputs in a part that count, without bias, of what is there of its input.
    pub fn pull(
        &self,
        rows: usize,
        x: &Coefficients<T>,
        patch: Patch,
        counts: impl Fn(usize) -> bool,
    ) -> Coefficients<T> {
        let Window { kernel, .. } = self.window;
        let mut y = Coefficients::zeros(self.output, patch, rows);
        // The rows or columns of the input that one of the output sees.
        let seen = |d: usize, at: usize| -> Vec<(usize, usize)> {
            let tap = |tap: usize| {
                let place = self.window.sees(d, at, tap).filter(|place| x.patch.range(d).contains(place))?;
                Some((tap, place - x.patch.at[d]))
            };
            (0..kernel[d]).filter_map(tap).collect()
        };
        let columns: Vec<_> = patch.range(1).map(|at| seen(1, at)).collect();
        let [inputs, outputs] = self.channels;
        let taps = kernel[0] * kernel[1];
        let (mut sums, mut terms): (Vec<Term>, Vec<Term>) = (Vec::new(), Vec::new());
        for group in 0..self.groups {
            let weights = &self.ahead[group * self.ahead.len() / self.groups..][..self.ahead.len() / self.groups];
            let area = x.patch.area();
            let live = Channels::new(&x.patch, inputs, |c, place| x.live[(group * inputs + c) * area + place]);
            for (i, at) in patch.range(0).enumerate() {
                let lines = seen(0, at);
                for (j, columns) in columns.iter().enumerate() {
                    let place = i * patch.size[1] + j;
                    sums.clear();
                    sums.extend((0..outputs).filter_map(|o| {
                        let channel = group * outputs + o;
                        let neuron = (channel * self.output[1] + at) * self.output[2] + patch.at[1] + j;
                        let element = channel * patch.area() + place;
                        counts(neuron).then(|| {
                            y.live[element] = true;
                            [o as u32, element as u32]
                        })
                    }));
                    if sums.is_empty() {
                        continue;
                    }
                    terms.clear();
                    for (u, line) in &lines {
                        for (v, column) in columns {
                            let place = line * x.patch.size[1] + column;
                            let tap = u * kernel[1] + v;
                            let step = [taps * outputs, area].map(|n| n as u32);
                            let first = [tap * outputs, group * inputs * area + place].map(|n| n as u32);
                            let of = |c: &u32| [first[0] + c * step[0], first[1] + c * step[1]];
                            terms.extend(live.at(place).iter().map(of));
                        }
                    }
                    T::sums(rows, weights, &sums, &terms, &x.numbers, &mut y.numbers);
                }
            }
        }
        y
    }
}
