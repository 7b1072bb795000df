//! Coefficients of rows at a value, and the windows of a picture that they are in.
//!
//! A neuron of a convolution sees a small part of the layers before it, so that its row has coefficients in a window only; each row of
//! a tile has its window where its neuron is. Numbers come first and rows last, `[channels, height, width, rows]`: so a convolution is
//! one product for all rows and places, and whatever is added is added in runs.

use temper_graph::Window;
use temper_kernels::arch::dispatch;

use super::real::{Layout, Real};

/// Windows of one size, one a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Patch {
    /// Height and width.
    pub size: [usize; 2],
    /// Of every row, the place of the window's first pixel in the picture; it may lie outside.
    pub at: Vec<[isize; 2]>,
}

/// `[channels, height, width, rows]` of windows, 0 outside the picture; or `[numbers, rows]` of all of a value.
#[derive(Debug, Clone)]
pub(crate) struct Coefficients<T> {
    pub numbers: Vec<T>,
    pub patch: Option<Patch>,
}

/// The picture a value is: channels, height, width. A value that is none has one row of all its numbers.
pub(crate) type Picture = [usize; 3];

impl Patch {
    /// Of every place of the window and every row, the pixel, or -1 outside the picture.
    pub fn table(&self, picture: Picture) -> Vec<i32> {
        let [_, height, width] = picture;
        let mut table = Vec::with_capacity(self.size[0] * self.size[1] * self.at.len());
        for y in 0..self.size[0] as isize {
            for x in 0..self.size[1] as isize {
                table.extend(self.at.iter().map(|[top, left]| {
                    let (row, column) = (top + y, left + x);
                    let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
                    if inside { (row * width as isize + column) as i32 } else { -1 }
                }));
            }
        }
        table
    }

    /// The window of the input that a convolution reads for this one, and the convolution from there to here.
    pub fn before(&self, window: &Window) -> (Self, Window) {
        let reach = |d: usize| (self.size[d] - 1) * window.stride[d] + window.dilation[d] * (window.kernel[d] - 1) + 1;
        let first = |at: &[isize; 2]| [0, 1].map(|d| at[d] * window.stride[d] as isize - window.padding[d] as isize);
        let size = [reach(0), reach(1)];
        let patch = Self { size, at: self.at.iter().map(first).collect() };
        (patch, Window { input: [window.input[0], size[0], size[1]], padding: [0; 4], ..*window })
    }

    /// Windows that hold both, if their places differ alike in all rows.
    fn union(&self, other: &Self) -> Option<Self> {
        let apart = |(a, b): (&[isize; 2], &[isize; 2])| [b[0] - a[0], b[1] - a[1]];
        let mut all = self.at.iter().zip(&other.at).map(apart);
        let first = all.next()?;
        if !all.all(|apart| apart == first) {
            return None;
        }
        let low = first.map(|apart| apart.min(0));
        let high = |d: usize| (self.size[d] as isize).max(first[d] + other.size[d] as isize);
        let size = [0, 1].map(|d| (high(d) - low[d]) as usize);
        Some(Self { size, at: self.at.iter().map(|at| [at[0] + low[0], at[1] + low[1]]).collect() })
    }

    /// Whether windows save enough to be worth it.
    pub fn small(&self, picture: Picture) -> bool {
        4 * self.size[0] * self.size[1] < 3 * picture[1] * picture[2]
    }
}

impl<T: Real> Coefficients<T> {
    /// The same numbers in other windows; what these do not hold is left out.
    pub fn to(&self, picture: Picture, rows: usize, patch: Option<&Patch>) -> Self {
        if self.patch.as_ref() == patch {
            return self.clone();
        }
        let whole = [picture[1], picture[2]];
        let size = |patch: Option<&Patch>| patch.map_or(whole, |patch| patch.size);
        let at = |patch: Option<&Patch>, row: usize| patch.map_or([0, 0], |patch| patch.at[row]);
        let (from_size, to_size) = (size(self.patch.as_ref()), size(patch));
        let mut numbers = vec![T::ZERO; picture[0] * to_size[0] * to_size[1] * rows];
        for row in 0..rows {
            let (from, to) = (at(self.patch.as_ref(), row), at(patch, row));
            // The rows and columns of the picture that both hold.
            let span = |d: usize| {
                let first = from[d].max(to[d]).max(0);
                let end = (from[d] + from_size[d] as isize).min(to[d] + to_size[d] as isize).min(whole[d] as isize);
                first..end
            };
            for c in 0..picture[0] {
                for y in span(0) {
                    let line = |at: [isize; 2], size: [usize; 2]| (c * size[0]) as isize + y - at[0];
                    let (from_line, to_line) = (line(from, from_size), line(to, to_size));
                    for x in span(1) {
                        let source = (from_line * from_size[1] as isize + x - from[1]) as usize * rows + row;
                        let place = (to_line * to_size[1] as isize + x - to[1]) as usize * rows + row;
                        numbers[place] = self.numbers[source];
                    }
                }
            }
        }
        Self { numbers, patch: patch.cloned() }
    }

    /// The sum of both, in windows that hold both.
    pub fn plus(self, other: Self, picture: Picture, rows: usize) -> Self {
        let patch = match (&self.patch, &other.patch) {
            (Some(a), Some(b)) => a.union(b).filter(|patch| patch.small(picture)),
            _ => None,
        };
        let mut sum = if self.patch == patch { self } else { self.to(picture, rows, patch.as_ref()) };
        let other = if other.patch == patch { other } else { other.to(picture, rows, patch.as_ref()) };
        add(&mut sum.numbers, &other.numbers);
        sum
    }

    /// Sets what lies outside the picture to 0.
    pub fn cut(&mut self, picture: Picture, rows: usize) {
        let Some(patch) = &self.patch else { return };
        let outside = |at: &[isize; 2]| {
            let end = [0, 1].map(|d| at[d] + patch.size[d] as isize);
            at[0] < 0 || at[1] < 0 || end[0] > picture[1] as isize || end[1] > picture[2] as isize
        };
        if rows == 0 || !patch.at.iter().any(outside) {
            return;
        }
        let table = patch.table(picture);
        for plane in self.numbers.chunks_mut(table.len()) {
            plane.iter_mut().zip(&table).filter(|(_, at)| **at < 0).for_each(|(number, _)| *number = T::ZERO);
        }
    }
}

/// `to += from`.
pub(crate) fn add<T: Real>(to: &mut [T], from: &[T]) {
    dispatch(
        #[inline(always)]
        |_| to.iter_mut().zip(from).for_each(|(to, from)| *to += *from),
    );
}

/// Products that stay in the second-level cache.
const COLUMNS: usize = 1 << 16;

/// Rows of the output that are worked on together.
fn bands(window: &Window, taps: usize, rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let [height, width] = window.output().expect("a checked window");
    let band = (COLUMNS / (taps * width * rows).max(1)).clamp(1, height);
    (0..height).step_by(band).map(move |first| first..(first + band).min(height))
}

/// The transposed convolution of `[outputs, height, width, rows]`.
pub(crate) fn push<T: Real>(window: &Window, groups: usize, weight: &[T], rows: usize, y: &[T]) -> Vec<T> {
    let Window { input: [channels, height, width], kernel: [kh, kw], .. } = *window;
    let [out_height, out_width] = window.output().expect("a checked window");
    let (inside, line) = (channels / groups, out_width * rows);
    let taps = inside * kh * kw;
    let outputs = weight.len() / taps.max(1) / groups;
    let mut x = vec![T::ZERO; channels * height * width * rows];
    let (mut columns, mut part) = (Vec::new(), Vec::new());
    for group in 0..groups {
        let weight = &weight[group * outputs * taps..][..outputs * taps];
        for band in bands(window, taps, rows) {
            let n = band.len() * line;
            part.clear();
            for o in 0..outputs {
                let first = ((group * outputs + o) * out_height + band.start) * line;
                part.extend_from_slice(&y[first..][..n]);
            }
            columns.resize(taps * n, T::ZERO);
            T::product(taps, n, outputs, weight, Layout::Transposed, &part, Layout::Normal, &mut columns);
            dispatch(
                #[inline(always)]
                |_| {
                    each_run(window, taps, band.clone(), |tap, out, at, count, stride| {
                        let columns = &columns[tap * n + out * rows..];
                        let first = (group * inside * height * width + at) * rows;
                        runs(&mut x[first..], columns, count, stride, rows, |x, column| *x += *column);
                    });
                },
            );
        }
    }
    x
}

/// The convolution of `[channels, height, width, rows]`, without bias.
pub(crate) fn pull<T: Real>(window: &Window, groups: usize, weight: &[T], rows: usize, x: &[T]) -> Vec<T> {
    let Window { input: [channels, height, width], kernel: [kh, kw], .. } = *window;
    let [out_height, out_width] = window.output().expect("a checked window");
    let (inside, line) = (channels / groups, out_width * rows);
    let taps = inside * kh * kw;
    let outputs = weight.len() / taps.max(1) / groups;
    let mut y = vec![T::ZERO; groups * outputs * out_height * line];
    let (mut columns, mut part) = (Vec::new(), Vec::new());
    for group in 0..groups {
        let weight = &weight[group * outputs * taps..][..outputs * taps];
        for band in bands(window, taps, rows) {
            let n = band.len() * line;
            columns.clear();
            columns.resize(taps * n, T::ZERO);
            each_run(window, taps, band.clone(), |tap, out, at, count, stride| {
                let columns = &mut columns[tap * n + out * rows..];
                let x = &x[(group * inside * height * width + at) * rows..];
                for i in 0..if stride == 1 { 1 } else { count } {
                    let length = if stride == 1 { count * rows } else { rows };
                    columns[i * rows..][..length].copy_from_slice(&x[i * stride * rows..][..length]);
                }
            });
            part.resize(outputs * n, T::ZERO);
            T::product(outputs, n, taps, weight, Layout::Normal, &columns, Layout::Normal, &mut part);
            for o in 0..outputs {
                let first = ((group * outputs + o) * out_height + band.start) * line;
                y[first..][..n].copy_from_slice(&part[o * n..][..n]);
            }
        }
    }
    y
}

/// Every tap and row of a band of a convolution's output with the pixels that it sees: the tap, the first place within the band, the
/// first pixel, how many, and the pixels from one to the next.
#[inline(always)]
fn each_run(
    window: &Window,
    taps: usize,
    band: std::ops::Range<usize>,
    mut each: impl FnMut(usize, usize, usize, usize, usize),
) {
    let Window { input: [_, height, width], kernel: [kh, kw], stride: [_, stride], padding, dilation } = *window;
    let out_width = window.output().expect("a checked window")[1];
    for i in 0..taps {
        // Taps from below, as bands come from above: so a pixel's sum has one order, whatever the bands.
        let (c, u, v) = (i / (kh * kw), kh - 1 - i / kw % kh, i % kw);
        let tap = (c * kh + u) * kw + v;
        // The first place that sees a column, and the end of those that do.
        let offset = v * dilation[1];
        let first = padding[1].saturating_sub(offset).div_ceil(stride);
        let end = (width + padding[1]).saturating_sub(offset).div_ceil(stride).min(out_width);
        if first >= end {
            continue;
        }
        let column = first * stride + offset - padding[1];
        for (i, y) in band.clone().enumerate() {
            if let Some(row) = window.sees(0, y, u) {
                each(tap, i * out_width + first, (c * height + row) * width + column, end - first, stride);
            }
        }
    }
}

/// Meets `count` runs of `rows` numbers, those of `to` `stride` runs apart.
#[inline(always)]
fn runs<T>(to: &mut [T], from: &[T], count: usize, stride: usize, rows: usize, each: impl Fn(&mut T, &T)) {
    if stride == 1 {
        to[..count * rows].iter_mut().zip(&from[..count * rows]).for_each(|(to, from)| each(to, from));
        return;
    }
    for i in 0..count {
        let to = &mut to[i * stride * rows..][..rows];
        to.iter_mut().zip(&from[i * rows..][..rows]).for_each(|(to, from)| each(to, from));
    }
}
