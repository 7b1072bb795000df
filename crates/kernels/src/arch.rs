//! The instruction set, found once at run time, and a way to compile one body for it.
//!
//! [`dispatch`] calls a closure inside a function for which AVX2 and FMA are switched on, if the processor has them.
//! A closure marked `#[inline(always)]` becomes part of that function, so the compiler vectorises it with 8 lanes;
//! the same body is compiled a second time for any processor. Multiply-add goes through [`Isa::fma`], because
//! `f32::mul_add` without the instruction is a slow library call.

/// What the running processor offers; a constant in each of the two copies of a dispatched body.
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
}

/// True if the processor has AVX2 and FMA.
#[inline]
pub fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
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
        has_avx2() && std::arch::is_x86_feature_detected!("avx512f")
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
    if has_avx2() {
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(body: impl FnOnce(Isa) -> R) -> R {
            body(Isa::FUSED)
        }
        // SAFETY: both features were just found on this processor.
        return unsafe { avx2(body) };
    }
    body(Isa::PORTABLE)
}
