//! Temporary memory without allocation: buffers are taken from the thread's pool and go back when dropped.
//!
//! A buffer is taken, not borrowed, because a thread that waits inside rayon may start another task that wants one.
//!
//! What is in a buffer was written once, as zeros when it was allocated and later by its earlier users, so reading it is
//! no undefined behaviour; it is a wrong number. No kernel hands a buffer out, and under
//! [`poison_outputs`](crate::poison_outputs) every buffer comes full of NaN, so that such a number shows.

use crate::output;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

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
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

/// Takes a buffer of `len` numbers with unspecified content: initialised, but stale.
pub(crate) fn take(len: usize) -> Scratch {
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
    let mut scratch = Scratch { lines, len };
    if output::poisoned() {
        scratch.fill(f32::NAN);
    }
    scratch
}

/// Takes a buffer of `len` zeros.
pub(crate) fn zeros(len: usize) -> Scratch {
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
