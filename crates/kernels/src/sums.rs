//! Weighted sums of runs of numbers, where most weights may be left out.
//!
//! A linear map of many rows at once, rows last: an output is a run of one number a row, the sum of runs of the input times a weight each.
//! Which runs enter a sum is listed, so that a convolution needs no columns, and what is known to be zero costs nothing. As in
//! `gemm/tile.rs`, a tile of sums lives in registers, and every sum is one chain of multiply-adds in the order of its list: so it depends
//! neither on what else is summed nor on the width of the vectors.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::arch::{Isa, has_avx2, has_avx512};

/// Floats that can be summed.
pub trait Float: Copy {
    #[doc(hidden)]
    fn run(job: Job<'_, Self>);
}

/// One term of a sum: the place of its weight, counted from the sum's own, and the run of the input.
pub type Term = [u32; 2];

/// What is summed, its places checked.
#[doc(hidden)]
pub struct Job<'a, T> {
    rows: usize,
    weights: &'a [T],
    sums: &'a [Term],
    terms: &'a [Term],
    from: &'a [T],
    /// Borrowed by [`sums`] for as long as this lives.
    to: *mut T,
}

/// For every sum `[w, o]`, run `o` of `to` becomes the sum over the terms `[k, i]` of weight `w + k` times run `i` of `from`. Runs have
/// `rows` numbers; those of `to` that no sum names are left alone.
///
/// # Panics
/// If a place lies outside of its slice.
pub fn sums<T: Float>(rows: usize, weights: &[T], sums: &[Term], terms: &[Term], from: &[T], to: &mut [T]) {
    let most = |list: &[Term]| {
        list.iter().fold([0, 0], |most, term| [most[0].max(term[0] as usize), most[1].max(term[1] as usize)])
    };
    let ([w, o], [k, i]) = (most(sums), most(terms));
    if sums.is_empty() || rows == 0 {
        return;
    }
    assert!((o + 1) * rows <= to.len(), "sums: a run of the output");
    assert!(terms.is_empty() || w + k < weights.len(), "sums: a weight");
    assert!(terms.is_empty() || (i + 1) * rows <= from.len(), "sums: a run of the input");
    T::run(Job { rows, weights, sums, terms, from, to: to.as_mut_ptr() });
}

/// A vector register. All functions are unsafe because they need the instruction set they stand for.
trait Lanes: Copy {
    type E: Copy;
    const N: usize;
    unsafe fn splat(x: Self::E) -> Self;
    unsafe fn load(from: *const Self::E) -> Self;
    unsafe fn store(self, to: *mut Self::E);
    /// `self * b + c`.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// The first `n` numbers, then others that do not matter.
    #[inline(always)]
    unsafe fn load_first(from: *const Self::E, n: usize, zero: Self::E) -> Self {
        let mut part = [zero; 16];
        // SAFETY: the caller's promise; a vector has 16 numbers at most.
        unsafe {
            std::ptr::copy_nonoverlapping(from, part.as_mut_ptr(), n);
            Self::load(part.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut Self::E, n: usize, zero: Self::E) {
        let mut part = [zero; 16];
        // SAFETY: as above.
        unsafe {
            self.store(part.as_mut_ptr());
            std::ptr::copy_nonoverlapping(part.as_ptr(), to, n);
        }
    }
}

macro_rules! x86_lanes {
    ($type:ty, $e:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, { $($more:tt)* }) => {
        #[cfg(target_arch = "x86_64")]
        // SAFETY (all): one instruction each; the caller has checked that the processor has it.
        impl Lanes for $type {
            type E = $e;
            const N: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(x: $e) -> Self {
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $e) -> Self {
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $e) {
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn fma(self, b: Self, c: Self) -> Self {
                unsafe { $fma(self, b, c) }
            }
            $($more)*
        }
    };
}

macro_rules! masked {
    ($e:ty, $mask:ty, $load:ident, $store:ident) => {
        #[inline(always)]
        unsafe fn load_first(from: *const $e, n: usize, _: $e) -> Self {
            unsafe { $load((1 << n) - 1 as $mask, from) }
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut $e, n: usize, _: $e) {
            unsafe { $store(to, (1 << n) - 1 as $mask, self) }
        }
    };
}

x86_lanes!(__m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, {});
x86_lanes!(__m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, {});
x86_lanes!(__m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, {
    masked!(f32, __mmask16, _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps);
});
x86_lanes!(__m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd, {
    masked!(f64, __mmask8, _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd);
});

macro_rules! portable {
    ($e:ty, $lanes:literal, $fma:ident) => {
        impl Lanes for [$e; $lanes] {
            type E = $e;
            const N: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(x: $e) -> Self {
                [x; $lanes]
            }
            #[inline(always)]
            unsafe fn load(from: *const $e) -> Self {
                // SAFETY: the caller's promise.
                unsafe { from.cast::<Self>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $e) {
                // SAFETY: as above.
                unsafe { to.cast::<Self>().write_unaligned(self) }
            }
            #[inline(always)]
            unsafe fn fma(self, b: Self, c: Self) -> Self {
                std::array::from_fn(|i| Isa::PORTABLE.$fma(self[i], b[i], c[i]))
            }
        }
    };
}

portable!(f32, 8, fma);
portable!(f64, 4, fma_double);

macro_rules! float {
    ($e:ty, $wide:ty, $middle:ty, $narrow:ty) => {
        impl Float for $e {
            fn run(job: Job<'_, Self>) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                    fn avx512(job: Job<'_, $e>) {
                        // SAFETY: `sums` checked the places.
                        unsafe { all::<$wide>(job, 0.0) }
                    }
                    #[target_feature(enable = "avx2,fma")]
                    fn avx2(job: Job<'_, $e>) {
                        // SAFETY: as above.
                        unsafe { all::<$middle>(job, 0.0) }
                    }
                    if has_avx512() {
                        // SAFETY: the features were just found on this processor.
                        return unsafe { avx512(job) };
                    }
                    if has_avx2() {
                        // SAFETY: as above.
                        return unsafe { avx2(job) };
                    }
                }
                // SAFETY: `sums` checked the places.
                unsafe { all::<$narrow>(job, 0.0) }
            }
        }
    };
}

float!(f32, __m512, __m256, [f32; 8]);
float!(f64, __m512d, __m256d, [f64; 4]);

/// All sums: three vectors of rows at a time, then what is left.
#[inline(always)]
unsafe fn all<V: Lanes>(job: Job<'_, V::E>, zero: V::E) {
    let mut at = 0;
    // SAFETY: rows at .. at + 3 vectors at most, which are there.
    unsafe {
        while at < job.rows {
            let left = job.rows - at;
            at += match left.div_ceil(V::N) {
                1 => blocks::<V, 1>(&job, at, left, zero),
                2 => blocks::<V, 2>(&job, at, left, zero),
                // Two and two are better than three and one.
                4 => blocks::<V, 2>(&job, at, 2 * V::N, zero),
                _ => blocks::<V, 3>(&job, at, left.min(3 * V::N), zero),
            };
        }
    }
}

/// All sums of `n` rows from `at` on; returns `n`.
#[inline(always)]
unsafe fn blocks<V: Lanes, const NV: usize>(job: &Job<'_, V::E>, at: usize, n: usize, zero: V::E) -> usize {
    let last = n - (NV - 1) * V::N;
    let mut sums = job.sums;
    // SAFETY: the caller's promise.
    unsafe {
        while !sums.is_empty() {
            let (some, rest) = sums.split_at(match sums.len() {
                8.. => 8,
                4.. => 4,
                2.. => 2,
                _ => 1,
            });
            match (some.len(), last == V::N) {
                (8, true) => tile::<V, 8, NV, false>(job, some, at, last, zero),
                (8, false) => tile::<V, 8, NV, true>(job, some, at, last, zero),
                (4, true) => tile::<V, 4, NV, false>(job, some, at, last, zero),
                (4, false) => tile::<V, 4, NV, true>(job, some, at, last, zero),
                (2, true) => tile::<V, 2, NV, false>(job, some, at, last, zero),
                (2, false) => tile::<V, 2, NV, true>(job, some, at, last, zero),
                (_, true) => tile::<V, 1, NV, false>(job, some, at, last, zero),
                (_, false) => tile::<V, 1, NV, true>(job, some, at, last, zero),
            }
            sums = rest;
        }
    }
    n
}

/// `R` sums of `NV` vectors of rows, of whose last `last` numbers count.
#[inline(always)]
unsafe fn tile<V: Lanes, const R: usize, const NV: usize, const CUT: bool>(
    job: &Job<'_, V::E>,
    sums: &[Term],
    at: usize,
    last: usize,
    zero: V::E,
) {
    let base: [usize; R] = std::array::from_fn(|i| sums[i][0] as usize);
    // SAFETY: `sums` checked every place; rows at .. at + n are inside of every run.
    unsafe {
        let (weights, from) = (job.weights.as_ptr(), job.from.as_ptr().add(at));
        let mut sum = [[V::splat(zero); NV]; R];
        for [k, i] in job.terms {
            let (weights, run) = (weights.add(*k as usize), from.add(*i as usize * job.rows));
            let mut row = [V::splat(zero); NV];
            for (v, row) in row.iter_mut().enumerate() {
                let run = run.add(v * V::N);
                *row = if CUT && v + 1 == NV { V::load_first(run, last, zero) } else { V::load(run) };
            }
            for (i, sum) in sum.iter_mut().enumerate() {
                let x = V::splat(*weights.add(base[i]));
                for (sum, row) in sum.iter_mut().zip(row) {
                    *sum = x.fma(row, *sum);
                }
            }
        }
        for (sum, place) in sum.iter().zip(sums) {
            let run = job.to.add(place[1] as usize * job.rows + at);
            for (v, sum) in sum.iter().enumerate() {
                let run = run.add(v * V::N);
                if CUT && v + 1 == NV { sum.store_first(run, last, zero) } else { sum.store(run) }
            }
        }
    }
}
