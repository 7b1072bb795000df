//! Addresses of numbers for the innermost loops. In debug builds an address knows the slice that it came from: whatever is
//! read, written or stepped over is checked against it. In release builds it is a bare pointer.

// `..self` carries the extent, which only debug builds have.
#![allow(clippy::needless_update)]

use crate::output::Slot;
use std::marker::PhantomData;

/// First and last address that [`Ptr::add`] may come to.
#[cfg(debug_assertions)]
#[derive(Clone, Copy)]
struct Extent {
    first: usize,
    end: usize,
}

macro_rules! address {
    ($(#[$about:meta])* $name:ident, $pointer:ty) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name {
            at: $pointer,
            #[cfg(debug_assertions)]
            extent: Extent,
        }

        impl $name {
            #[inline(always)]
            fn within(at: $pointer, _len: usize) -> Self {
                Self {
                    at,
                    #[cfg(debug_assertions)]
                    extent: Extent { first: at.addr(), end: at.addr() + 4 * _len },
                }
            }

            /// `n` numbers further on.
            ///
            /// # Safety
            /// That place is inside the slice or at its end.
            #[inline(always)]
            #[track_caller]
            pub unsafe fn add(self, n: usize) -> Self {
                #[cfg(debug_assertions)]
                {
                    let left = self.extent.end.checked_sub(self.at.addr());
                    assert!(left.is_some_and(|left| n <= left / 4), "{n} numbers further on is outside of the slice");
                }
                // SAFETY: the caller's promise.
                Self { at: unsafe { self.at.add(n) }, ..self }
            }

            /// The bare address of `n` numbers.
            ///
            /// # Safety
            /// They are all inside the slice.
            #[inline(always)]
            #[track_caller]
            pub unsafe fn raw(self, _n: usize) -> $pointer {
                #[cfg(debug_assertions)]
                {
                    let Extent { first, end } = self.extent;
                    let inside = self.at.addr() >= first && self.at.addr() <= end && _n <= (end - self.at.addr()) / 4;
                    assert!(_n == 0 || inside, "{_n} numbers reach outside of the slice");
                }
                self.at
            }
        }
    };
}

address!(
    /// Where numbers are read.
    Ptr, *const f32
);
address!(
    /// Where numbers are written.
    PtrMut, *mut f32
);

impl Ptr {
    /// The first of `numbers`, which the caller keeps borrowed.
    #[inline(always)]
    pub fn new(numbers: &[f32]) -> Self {
        Self::within(numbers.as_ptr(), numbers.len())
    }

    /// `n` numbers further on, even where that is outside of the slice, as after the last step of a loop.
    #[inline(always)]
    pub fn wrapping_add(self, n: usize) -> Self {
        Self { at: self.at.wrapping_add(n), ..self }
    }

    /// `n` numbers further on, or back.
    ///
    /// # Safety
    /// That place is inside the slice or at its end.
    #[inline(always)]
    #[track_caller]
    pub unsafe fn offset(self, n: isize) -> Self {
        #[cfg(debug_assertions)]
        {
            let there = self.at.addr().wrapping_add_signed(4 * n);
            assert!((self.extent.first..=self.extent.end).contains(&there), "{n} numbers on is outside of the slice");
        }
        // SAFETY: the caller's promise.
        Self { at: unsafe { self.at.offset(n) }, ..self }
    }

    /// The number `n` further on.
    ///
    /// # Safety
    /// It is inside the slice.
    #[inline(always)]
    #[track_caller]
    pub unsafe fn get(self, n: usize) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *self.add(n).raw(1) }
    }

    /// Copies `n` numbers to `to`.
    ///
    /// # Safety
    /// They are inside both slices, which do not overlap.
    #[inline(always)]
    #[track_caller]
    pub unsafe fn copy_to(self, to: PtrMut, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(self.raw(n), to.raw(n), n) }
    }
}

impl PtrMut {
    /// The first of `slots`, which the caller keeps borrowed.
    #[inline(always)]
    pub fn new(slots: &mut [Slot]) -> Self {
        Self::within(slots.as_mut_ptr().cast(), slots.len())
    }

    /// The first of `numbers`, which the caller keeps borrowed.
    #[inline(always)]
    pub fn of(numbers: &mut [f32]) -> Self {
        Self::within(numbers.as_mut_ptr(), numbers.len())
    }

    /// The same place, to be read. What is there must have been written.
    #[inline(always)]
    pub fn as_const(self) -> Ptr {
        Ptr {
            at: self.at,
            #[cfg(debug_assertions)]
            extent: self.extent,
        }
    }

    /// Writes the number `n` further on.
    ///
    /// # Safety
    /// It is inside the slice, and nobody else reads or writes it.
    #[inline(always)]
    #[track_caller]
    pub unsafe fn set(self, n: usize, value: f32) {
        // SAFETY: the caller's promise.
        unsafe { self.add(n).raw(1).write(value) }
    }

    /// Writes `n` zeros.
    ///
    /// # Safety
    /// They are inside the slice, and nobody else reads or writes them.
    #[inline(always)]
    #[track_caller]
    pub unsafe fn clear(self, n: usize) {
        // SAFETY: the caller's promise; all bits zero are the number zero.
        unsafe { self.raw(n).write_bytes(0, n) }
    }
}

// SAFETY: an address does nothing by itself; the code that reads or writes there promises that no other does.
unsafe impl Send for Ptr {}
// SAFETY: as above.
unsafe impl Sync for Ptr {}

/// A mutable slice that several tasks write at once, each its own part.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: the only accesses are `part` and `at`, whose callers promise disjoint parts.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above; the elements themselves may move between threads.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares `slice` for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Elements `start..start + len`.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part outside the slice");
        // SAFETY: inside the slice by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

impl Shared<'_, Slot> {
    /// The address of element `start`, for a task whose part is not one run of numbers. Its extent is the whole slice.
    pub fn at(&self, start: usize) -> PtrMut {
        assert!(start <= self.len, "address outside the slice");
        // SAFETY: inside the slice or at its end.
        unsafe { PtrMut::within(self.start.cast(), self.len).add(start) }
    }
}
