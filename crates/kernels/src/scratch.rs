//! Temporary memory without allocation: buffers are taken from the thread's pool and go back when dropped; and room for
//! outputs that is not cleared first.
//!
//! A buffer is taken, not borrowed, because a thread that waits inside rayon may start another task that wants one.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers a thread keeps at most.
const KEEP: usize = 16;

/// A buffer of `f32`, aligned to 64 bytes, whose content is whatever was left in it.
pub struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

/// Takes a buffer of `len` numbers with unspecified content.
pub fn take(len: usize) -> Scratch {
    let needed = len.div_ceil(16);
    let mut lines = POOL.with_borrow_mut(|pool| {
        // The smallest that fits, else the largest, which then grows.
        let fits = (0..pool.len()).filter(|&i| pool[i].len() >= needed).min_by_key(|&i| pool[i].len());
        let best = fits.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
        best.map(|i| pool.swap_remove(i)).unwrap_or_default()
    });
    if lines.len() < needed {
        lines.clear();
        lines.resize(needed, Line([0.0; 16]));
    }
    Scratch { lines, len }
}

/// Takes a buffer of `len` zeros.
pub fn zeros(len: usize) -> Scratch {
    let mut scratch = take(len);
    scratch.fill(0.0);
    scratch
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // At thread exit the pool may be gone already; then the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEEP {
                pool.push(lines);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is 16 `f32` without padding, and `take` made sure that there are `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// What [`poison_outputs`] was told.
static POISON: AtomicBool = AtomicBool::new(false);

/// For tests alone: from now on the outputs of all kernels begin as NaN, so that a number which a kernel does not write shows.
#[doc(hidden)]
pub fn poison_outputs() {
    POISON.store(true, Ordering::Relaxed);
}

/// Room for the output of a kernel, which must write every number of it: clearing it first would take as long as a simple
/// kernel.
#[allow(clippy::uninit_vec)]
pub fn unwritten(len: usize) -> Vec<f32> {
    if POISON.load(Ordering::Relaxed) {
        return vec![f32::NAN; len];
    }
    let mut room = Vec::with_capacity(len);
    // SAFETY: the capacity is there, any bits are an f32, and the kernel writes before anyone reads.
    unsafe { room.set_len(len) };
    room
}

/// A mutable slice that several tasks write at once, each its own part.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the only access is `part`, whose callers promise disjoint parts.
unsafe impl Sync for Shared<'_> {}
// SAFETY: as above; `f32` itself may move between threads.
unsafe impl Send for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Shares `slice` for as long as it is borrowed.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: std::marker::PhantomData }
    }

    /// Elements `start..start + len`.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "part outside the slice");
        // SAFETY: inside the slice by the assertion; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
