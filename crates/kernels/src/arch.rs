//! The instruction set, found once at run time, and a way to compile one body for it.
//!
//! [`dispatch`] calls a closure inside a function for which AVX-512, or else AVX2 and FMA, is switched on, if the
//! processor has it. A closure marked `#[inline(always)]` becomes part of that function, so the compiler vectorises it
//! with 16 or 8 lanes; the same body is compiled once more for any processor. Multiply-add goes through [`Isa::fma`],
//! because `f32::mul_add` without the instruction is a slow library call.

use std::sync::atomic::{AtomicU8, Ordering};

/// What kernels are written for, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// What any processor of the target has.
    Portable,
    /// AVX2 and FMA: 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ and VL besides: 16 lanes, 32 registers.
    Avx512,
}

impl InstructionSet {
    /// All of them, in ascending order.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "the instructions that every processor of its kind has",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        }
    }
}

/// What [`pretend_at_most`] was told.
static CEILING: AtomicU8 = AtomicU8::new(InstructionSet::Avx512 as u8);

/// From now on the whole process acts as if the processor had nothing above `ceiling`: for ranks on unequal machines, for tests and benchmarks.
pub fn pretend_at_most(ceiling: InstructionSet) {
    CEILING.store(ceiling as u8, Ordering::Relaxed);
}

/// The best instruction set of the running processor.
pub fn instruction_set() -> InstructionSet {
    if has_avx512() {
        InstructionSet::Avx512
    } else if has_avx2() {
        InstructionSet::Avx2
    } else {
        InstructionSet::Portable
    }
}

fn allowed(set: InstructionSet) -> bool {
    CEILING.load(Ordering::Relaxed) >= set as u8
}

/// What the running processor offers; a constant in each copy of a dispatched body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa {
    fused: bool,
}

impl Isa {
    const FUSED: Self = Self { fused: true };
    /// What may be assumed of any processor of the target.
    pub const PORTABLE: Self = Self { fused: cfg!(any(target_feature = "fma", target_arch = "aarch64")) };

    /// `a * b + c`, rounded once where the processor can.
    #[inline(always)]
    pub fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        if self.fused { a.mul_add(b, c) } else { a * b + c }
    }

    /// [`fma`](Self::fma) in double precision.
    #[inline(always)]
    pub fn fma_double(self, a: f64, b: f64, c: f64) -> f64 {
        if self.fused { a.mul_add(b, c) } else { a * b + c }
    }
}

/// True if the processor has AVX2 and FMA.
#[inline]
pub fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        allowed(InstructionSet::Avx2) && has!("avx2") && has!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// True if the processor has 16-lane vectors, besides AVX2 and FMA.
#[inline]
pub fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        allowed(InstructionSet::Avx512) && wide && has_avx2()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Runs `body` compiled for the processor at hand. Write it as `dispatch(#[inline(always)] |isa| ...)`.
#[inline]
pub fn dispatch<R>(body: impl FnOnce(Isa) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<R>(body: impl FnOnce(Isa) -> R) -> R {
            body(Isa::FUSED)
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(body: impl FnOnce(Isa) -> R) -> R {
            body(Isa::FUSED)
        }
        if has_avx512() {
            // SAFETY: the features were just found on this processor.
            return unsafe { avx512(body) };
        }
        if has_avx2() {
            // SAFETY: as above.
            return unsafe { avx2(body) };
        }
    }
    body(Isa::PORTABLE)
}
