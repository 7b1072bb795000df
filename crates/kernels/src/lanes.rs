//! Vector registers of three instruction sets, for kernels that are written once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::arch::Isa;

/// A vector register. All functions are unsafe because they need the instruction set they stand for.
pub(crate) trait Lanes: Copy {
    type E: Copy;
    const N: usize;
    /// Sums of three vectors that the registers hold.
    const MOST: usize;
    unsafe fn splat(x: Self::E) -> Self;
    unsafe fn load(from: *const Self::E) -> Self;
    unsafe fn store(self, to: *mut Self::E);
    /// `self * b + c`.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    /// `self` where it is the larger, else `b`: also where one is no number.
    unsafe fn max(self, b: Self) -> Self;
    /// `self` where it is the smaller, else `b`.
    unsafe fn min(self, b: Self) -> Self;
}

macro_rules! x86_lanes {
    ($type:ty, $e:ty, $lanes:literal, $most:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $($name:ident: $two:ident),*) => {
        #[cfg(target_arch = "x86_64")]
        // SAFETY (all): one instruction each; the caller has checked that the processor has it.
        impl Lanes for $type {
            type E = $e;
            const N: usize = $lanes;
            const MOST: usize = $most;
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
            $(
                #[inline(always)]
                unsafe fn $name(self, b: Self) -> Self {
                    unsafe { $two(self, b) }
                }
            )*
        }
    };
}

x86_lanes!(__m256, f32, 8, 4, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
    add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, max: _mm256_max_ps, min: _mm256_min_ps);
x86_lanes!(__m256d, f64, 4, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd,
    add: _mm256_add_pd, sub: _mm256_sub_pd, mul: _mm256_mul_pd, max: _mm256_max_pd, min: _mm256_min_pd);
x86_lanes!(__m512, f32, 16, 8, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
    add: _mm512_add_ps, sub: _mm512_sub_ps, mul: _mm512_mul_ps, max: _mm512_max_ps, min: _mm512_min_ps);
x86_lanes!(__m512d, f64, 8, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd,
    add: _mm512_add_pd, sub: _mm512_sub_pd, mul: _mm512_mul_pd, max: _mm512_max_pd, min: _mm512_min_pd);

macro_rules! portable {
    ($e:ty, $lanes:literal, $fma:ident) => {
        impl Lanes for [$e; $lanes] {
            type E = $e;
            const N: usize = $lanes;
            const MOST: usize = 4;
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
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                std::array::from_fn(|i| self[i] + b[i])
            }
            #[inline(always)]
            unsafe fn sub(self, b: Self) -> Self {
                std::array::from_fn(|i| self[i] - b[i])
            }
            #[inline(always)]
            unsafe fn mul(self, b: Self) -> Self {
                std::array::from_fn(|i| self[i] * b[i])
            }
            #[inline(always)]
            unsafe fn max(self, b: Self) -> Self {
                std::array::from_fn(|i| if self[i] > b[i] { self[i] } else { b[i] })
            }
            #[inline(always)]
            unsafe fn min(self, b: Self) -> Self {
                std::array::from_fn(|i| if self[i] < b[i] { self[i] } else { b[i] })
            }
        }
    };
}

portable!(f32, 8, fma);
portable!(f64, 4, fma_double);

/// Calls `$body::<V>($arg, ...)` with the widest vectors of `$e` that the processor has; an argument may have a value of its own.
macro_rules! widest {
    (f32, $($call:tt)*) => {
        widest!(@ f32, std::arch::x86_64::__m512, std::arch::x86_64::__m256, [f32; 8], $($call)*)
    };
    (f64, $($call:tt)*) => {
        widest!(@ f64, std::arch::x86_64::__m512d, std::arch::x86_64::__m256d, [f64; 4], $($call)*)
    };
    (@ $e:ty, $wide:ty, $middle:ty, $narrow:ty, $body:ident($($arg:ident: $type:ty $(= $value:expr)?),*)) => {{
        $($(let $arg: $type = $value;)?)*
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($arg: $type),*) {
                // SAFETY: the caller's.
                unsafe { $body::<$wide>($($arg),*) }
            }
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) {
                // SAFETY: the caller's.
                unsafe { $body::<$middle>($($arg),*) }
            }
            if crate::arch::has_avx512() {
                // SAFETY: the features were just found on this processor.
                return unsafe { avx512($($arg),*) };
            }
            if crate::arch::has_avx2() {
                // SAFETY: as above.
                return unsafe { avx2($($arg),*) };
            }
        }
        // SAFETY: the caller's.
        unsafe { $body::<$narrow>($($arg),*) }
    }};
}
pub(crate) use widest;
