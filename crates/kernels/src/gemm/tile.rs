//! The innermost product: a tile of C that lives in registers, and the loop of tiles over a block.
//!
//! A tile of MR rows and NV vectors of C takes MR * NV registers; each step of k loads NV vectors of B, broadcasts
//! MR numbers of A and does MR * NV multiply-adds. AVX2 has 16 registers: 6 x 16 takes 12 accumulators, 2 of B and 1 of
//! A, and does 12 multiply-adds for 8 loads. AVX-512 has 32: 8 x 48 takes 24, 3 and 1, and does 24 for 11. Both run near
//! the peak of the processor.
//!
//! Every element of C is one chain of multiply-adds in the order of k, whatever tile it belongs to; so the result depends
//! neither on how C is cut nor on the width of the vectors.

use crate::extent::{Ptr, PtrMut};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Element (i, p) of strip s (MR rows) is at `start + s * strip + i * row + p * step`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub start: Ptr,
    pub strip: usize,
    pub row: usize,
    pub step: usize,
}

/// Row p of panel j (NR contiguous columns) is at `start + j * panel + p * step`. Whole vectors are read, so the
/// columns must be padded to a multiple of [`Level::lanes`].
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub start: Ptr,
    pub panel: usize,
    pub step: usize,
}

/// Where a block goes: rows are `row` apart.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    pub start: PtrMut,
    pub row: usize,
}

/// What is added to the product: nothing, C itself (accumulate), or a bias (rows 0 apart).
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub start: Option<Ptr>,
    pub row: usize,
}

impl Source {
    pub const NONE: Self = Self { start: None, row: 0 };
}

impl Out {
    /// As the source of an accumulation.
    pub fn as_source(self) -> Source {
        Source { start: Some(self.start.as_const()), row: self.row }
    }
}

type Block = unsafe fn(usize, usize, usize, f32, Left, Right, Out, Source);

/// The tile sizes and code for one instruction set.
pub(crate) struct Level {
    /// Rows of a strip of A.
    pub mr: usize,
    /// Columns of a panel of B.
    pub nr: usize,
    /// Columns of a vector; divides `nr`.
    pub lanes: usize,
    /// True if 8 x 8 blocks can be transposed with AVX.
    pub avx: bool,
    block: Block,
}

static PORTABLE: Level = Level { mr: 4, nr: 8, lanes: 8, avx: false, block: block_portable };
#[cfg(target_arch = "x86_64")]
static AVX2: Level = Level { mr: 6, nr: 16, lanes: 8, avx: true, block: block_avx2 };
#[cfg(target_arch = "x86_64")]
static AVX512: Level = Level { mr: 8, nr: 48, lanes: 16, avx: true, block: block_avx512 };

/// The best level of the running processor.
pub(crate) fn best_level() -> &'static Level {
    #[cfg(target_arch = "x86_64")]
    {
        if crate::arch::has_avx512() {
            return &AVX512;
        }
        if crate::arch::has_avx2() {
            return &AVX2;
        }
    }
    &PORTABLE
}

impl Level {
    /// `c[m, n] = alpha * a[m, k] * b[k, n] + source`.
    ///
    /// # Safety
    /// All addressed elements must be valid, `c` exclusive, and this level one that the processor has.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn block(&self, m: usize, n: usize, k: usize, alpha: f32, a: Left, b: Right, c: Out, source: Source) {
        // SAFETY: the caller's promise.
        unsafe { (self.block)(m, n, k, alpha, a, b, c, source) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(clippy::too_many_arguments)]
unsafe fn block_avx2(m: usize, n: usize, k: usize, alpha: f32, a: Left, b: Right, c: Out, source: Source) {
    // SAFETY: the caller's promise.
    unsafe { block::<__m256, 6, 2>(m, n, k, alpha, a, b, c, source) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
#[allow(clippy::too_many_arguments)]
unsafe fn block_avx512(m: usize, n: usize, k: usize, alpha: f32, a: Left, b: Right, c: Out, source: Source) {
    // SAFETY: the caller's promise.
    unsafe { block::<__m512, 8, 3>(m, n, k, alpha, a, b, c, source) }
}

#[allow(clippy::too_many_arguments)]
unsafe fn block_portable(m: usize, n: usize, k: usize, alpha: f32, a: Left, b: Right, c: Out, source: Source) {
    // SAFETY: the caller's promise.
    unsafe { block::<[f32; 8], 4, 1>(m, n, k, alpha, a, b, c, source) }
}

/// A vector register. All functions are unsafe because they need the instruction set they stand for.
pub(crate) trait Vector: Copy {
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: Ptr) -> Self;
    unsafe fn store(self, to: PtrMut);
    /// `self * b + c`.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
macro_rules! x86_vector {
    ($type:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $mul:ident) => {
        // SAFETY (all): one instruction each; the caller has checked that the processor has it.
        impl Vector for $type {
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: Ptr) -> Self {
                unsafe { $load(from.raw($lanes)) }
            }
            #[inline(always)]
            unsafe fn store(self, to: PtrMut) {
                unsafe { $store(to.raw($lanes), self) }
            }
            #[inline(always)]
            unsafe fn fma(self, b: Self, c: Self) -> Self {
                unsafe { $fma(self, b, c) }
            }
            #[inline(always)]
            unsafe fn mul(self, b: Self) -> Self {
                unsafe { $mul(self, b) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_vector!(__m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_mul_ps);
#[cfg(target_arch = "x86_64")]
x86_vector!(__m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_mul_ps);

impl Vector for [f32; 8] {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(from: Ptr) -> Self {
        // SAFETY: the caller's promise: eight numbers.
        unsafe { from.raw(8).cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: PtrMut) {
        // SAFETY: as above.
        unsafe { to.raw(8).cast::<[f32; 8]>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| crate::arch::Isa::PORTABLE.fma(self[i], b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i])
    }
}

/// The block as a loop over strips of A (which stay in the first-level cache) and panels of B.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block<V: Vector, const MR: usize, const NV: usize>(
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: Left,
    b: Right,
    c: Out,
    source: Source,
) {
    let nr = NV * V::LANES;
    // SAFETY: all offsets stay inside what the caller described; a row count below MR takes a smaller tile, a column
    // count below NR fewer vectors.
    unsafe {
        for (s, i) in (0..m).step_by(MR).enumerate() {
            let a = Left { start: a.start.add(s * a.strip), ..a };
            let rows = MR.min(m - i);
            for (p, j) in (0..n).step_by(nr).enumerate() {
                let b = Right { start: b.start.add(p * b.panel), ..b };
                let c = Out { start: c.start.add(i * c.row + j), ..c };
                let source = Source { start: source.start.map(|start| start.add(i * source.row + j)), ..source };
                let columns = nr.min(n - j);
                if rows == MR && columns == nr {
                    tile::<V, MR, NV>(k, alpha, a, b, c, source);
                } else {
                    edge::<V, MR, NV>(rows, columns, k, alpha, a, b, c, source);
                }
            }
        }
    }
}

/// One tile at the rim of the block: the smallest compiled tile that covers it, through a buffer if a vector is cut.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn edge<V: Vector, const MR: usize, const NV: usize>(
    rows: usize,
    columns: usize,
    k: usize,
    alpha: f32,
    a: Left,
    b: Right,
    c: Out,
    source: Source,
) {
    const WIDEST: usize = 48;
    let mut buffer = [0.0_f32; 8 * WIDEST];
    let vectors = columns.div_ceil(V::LANES);
    let cut = !columns.is_multiple_of(V::LANES);
    // SAFETY: the buffer holds 8 rows of the widest tile; only `columns` of C and of the source are touched.
    unsafe {
        let (mut to, mut from) = (c, source);
        if cut {
            to = Out { start: PtrMut::of(&mut buffer), row: WIDEST };
            if let Some(start) = source.start {
                for i in 0..rows {
                    start.add(i * source.row).copy_to(to.start.add(i * WIDEST), columns);
                }
                from = to.as_source();
            }
        }
        match vectors {
            1 => rows_of::<V, MR, 1>(rows, k, alpha, a, b, to, from),
            2 if NV >= 2 => rows_of::<V, MR, 2>(rows, k, alpha, a, b, to, from),
            _ => rows_of::<V, MR, NV>(rows, k, alpha, a, b, to, from),
        }
        if cut {
            for i in 0..rows {
                to.start.as_const().add(i * WIDEST).copy_to(c.start.add(i * c.row), columns);
            }
        }
    }
}

/// Picks the tile with the right number of rows.
#[inline(always)]
unsafe fn rows_of<V: Vector, const MR: usize, const NV: usize>(
    rows: usize,
    k: usize,
    alpha: f32,
    a: Left,
    b: Right,
    c: Out,
    source: Source,
) {
    // SAFETY: the caller's promise; arms above MR are never taken.
    unsafe {
        match rows {
            1 => tile::<V, 1, NV>(k, alpha, a, b, c, source),
            2 => tile::<V, 2, NV>(k, alpha, a, b, c, source),
            3 => tile::<V, 3, NV>(k, alpha, a, b, c, source),
            4 => tile::<V, 4, NV>(k, alpha, a, b, c, source),
            5 if MR > 5 => tile::<V, 5, NV>(k, alpha, a, b, c, source),
            6 if MR > 6 => tile::<V, 6, NV>(k, alpha, a, b, c, source),
            7 if MR > 7 => tile::<V, 7, NV>(k, alpha, a, b, c, source),
            _ => tile::<V, MR, NV>(k, alpha, a, b, c, source),
        }
    }
}

/// `R` rows and `NV` vectors of C.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize>(
    k: usize,
    alpha: f32,
    a: Left,
    b: Right,
    c: Out,
    source: Source,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = [[V::splat(0.0); NV]; R];
        let (mut ap, mut bp) = (a.start, b.start);
        for _ in 0..k {
            let mut row = [V::splat(0.0); NV];
            for (v, row) in row.iter_mut().enumerate() {
                *row = V::load(bp.add(v * V::LANES));
            }
            for (i, sum) in sum.iter_mut().enumerate() {
                let x = V::splat(ap.get(i * a.row));
                for (sum, row) in sum.iter_mut().zip(row) {
                    *sum = x.fma(row, *sum);
                }
            }
            ap = ap.wrapping_add(a.step);
            bp = bp.wrapping_add(b.step);
        }
        let alpha = V::splat(alpha);
        for (i, sum) in sum.iter().enumerate() {
            for (v, &sum) in sum.iter().enumerate() {
                let value = match source.start {
                    None => sum.mul(alpha),
                    Some(start) => sum.fma(alpha, V::load(start.add(i * source.row + v * V::LANES))),
                };
                value.store(c.start.add(i * c.row + v * V::LANES));
            }
        }
    }
}
