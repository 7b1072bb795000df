//! The two kinds of floats that bounds are computed in, and what they need of the kernels.

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{AddAssign, Div, Neg, Sub};

use temper_graph::Window;
use temper_graph::computation::Number;
use temper_kernels::conv::{Shape, Sums, forward};
use temper_kernels::ends::End;
pub(crate) use temper_kernels::gemm::Layout;
use temper_kernels::sums::Float;
use temper_kernels::{double, gemm};

/// A float that bounds are computed in: `f32` to search, `f64` to certify.
pub trait Real:
    Number
    + End
    + Float
    + Sub<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + Default
    + Debug
    + Send
    + Sync
    + 'static
{
    /// One.
    const ONE: Self;
    /// Whether the sound claims can be computed in it.
    const CHARGES: bool;
    /// As a double.
    fn double(self) -> f64;
    /// Its magnitude.
    fn magnitude(self) -> Self;
    /// The smaller of two.
    fn least(self, other: Self) -> Self;
    /// The larger of two.
    fn largest(self, other: Self) -> Self;
    /// The largest number of this kind that is not above a double.
    fn below(value: f64) -> Self;
    /// `c[m, n] = op(a)[m, k] op(b)[k, n]`.
    #[allow(clippy::too_many_arguments)]
    fn product(m: usize, n: usize, k: usize, a: &[Self], al: Layout, b: &[Self], bl: Layout, c: &mut [Self]);
    /// What is done with the thread's buffers that nobody has.
    fn pool<R: Default>(with: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R;
    /// `rows` convolutions without bias, where there is a kernel for them.
    fn convolve(window: &Window, groups: usize, weight: &[Self], rows: usize, x: &[Self]) -> Option<Vec<Self>>;
}

impl Real for f32 {
    const ONE: Self = 1.0;
    const CHARGES: bool = false;
    #[inline(always)]
    fn double(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn least(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    #[inline(always)]
    fn largest(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn below(value: f64) -> Self {
        let near = value as f32;
        if f64::from(near) > value { near.next_down() } else { near }
    }
    fn product(m: usize, n: usize, k: usize, a: &[Self], al: Layout, b: &[Self], bl: Layout, c: &mut [Self]) {
        gemm::gemm(m, n, k, 1.0, a, al, b, bl, c, false);
    }
    fn pool<R: Default>(with: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R {
        thread_local!(static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) });
        // At the thread's end it may be gone.
        POOL.try_with(|pool| with(&mut pool.borrow_mut())).unwrap_or_default()
    }
    fn convolve(window: &Window, groups: usize, weight: &[Self], rows: usize, x: &[Self]) -> Option<Vec<Self>> {
        Some(forward(x, weight, None, square(window, groups, weight.len(), rows)?, Sums::Plain))
    }
}

/// The shape of a convolution that the kernels know.
fn square(window: &Window, groups: usize, weights: usize, images: usize) -> Option<Shape> {
    let Window { input: [inputs, height, width], kernel: [kernel, kw], stride: [stride, sw], padding, dilation } =
        *window;
    let [padded, rest @ ..] = padding;
    let known = kernel == kw && stride == sw && rest == [padded; 3] && dilation == [1; 2];
    let outputs = weights / (inputs / groups * kernel * kw);
    known.then_some(Shape {
        slabs: 1,
        images,
        inputs,
        outputs,
        groups,
        size: [height, width],
        kernel,
        stride,
        padding: padded,
    })
}

impl Real for f64 {
    const ONE: Self = 1.0;
    const CHARGES: bool = true;
    #[inline(always)]
    fn double(self) -> f64 {
        self
    }
    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn least(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    #[inline(always)]
    fn largest(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn below(value: f64) -> Self {
        value
    }
    fn product(m: usize, n: usize, k: usize, a: &[Self], al: Layout, b: &[Self], bl: Layout, c: &mut [Self]) {
        double::product(m, n, k, a, al, b, bl, c);
    }
    fn pool<R: Default>(with: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R {
        thread_local!(static POOL: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) });
        // At the thread's end it may be gone.
        POOL.try_with(|pool| with(&mut pool.borrow_mut())).unwrap_or_default()
    }
    fn convolve(_: &Window, _: usize, _: &[Self], _: usize, _: &[Self]) -> Option<Vec<Self>> {
        None
    }
}

/// The unit roundoff of doubles.
pub(crate) const UNIT: f64 = f64::EPSILON / 2.0;
/// The unit roundoff of single precision.
pub(crate) const UNIT32: f64 = f32::EPSILON as f64 / 2.0;

/// What a sum of `n` products in any order is off by, as a share of the sum of their magnitudes.
pub(crate) fn gamma(n: usize, unit: f64) -> f64 {
    let share = n as f64 * unit;
    // A sum of so many terms has no bound of this kind.
    if share >= 0.5 { f64::INFINITY } else { share / (1.0 - share) * (1.0 + 8.0 * UNIT) }
}

/// A number not below the exact sum of `n` magnitudes of which this is the computed one.
pub(crate) fn above(sum: f64, n: usize) -> f64 {
    (sum * (1.0 + 4.0 * (n as f64 + 4.0) * UNIT)).next_up()
}
