//! Memory for numbers that goes back to the thread that let go of it: a tile's coefficients come and go at every layer.

use std::ops::{Deref, DerefMut};

use super::real::Real;

/// Buffers that a thread keeps at most, and numbers of one.
const KEPT: usize = 8;
const LARGEST: usize = 1 << 22;

/// Numbers in memory from the thread's pool, to which it returns with what is in it.
#[derive(Debug)]
pub(crate) struct Buffer<T: Real> {
    numbers: Vec<T>,
    len: usize,
}

impl<T: Real> Buffer<T> {
    /// An empty one, which takes nothing from the pool yet.
    pub fn new() -> Self {
        Self { numbers: Vec::new(), len: 0 }
    }

    /// So many more, which nobody has written yet: whatever was left there.
    #[inline(always)]
    pub fn more(&mut self, n: usize) -> &mut [T] {
        let first = self.len;
        self.len += n;
        if self.len > self.numbers.len() {
            self.grow(first);
        }
        &mut self.numbers[first..self.len]
    }

    #[cold]
    fn grow(&mut self, kept: usize) {
        if self.numbers.is_empty() {
            self.numbers = T::pool(Vec::pop).unwrap_or_default();
        }
        if self.len > self.numbers.len() {
            self.numbers.resize((2 * kept).max(self.len), T::ZERO);
        }
    }

    /// So many more zeros.
    pub fn zeros(&mut self, n: usize) -> &mut [T] {
        let zeros = self.more(n);
        zeros.fill(T::ZERO);
        zeros
    }

    /// More numbers.
    #[inline(always)]
    pub fn extend_from_slice(&mut self, numbers: &[T]) {
        self.more(numbers.len()).copy_from_slice(numbers);
    }
}

impl<T: Real> Drop for Buffer<T> {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        if !numbers.is_empty() && numbers.len() <= LARGEST {
            T::pool(|pool| {
                if pool.len() < KEPT {
                    pool.push(numbers);
                }
            });
        }
    }
}

impl<T: Real> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut other = Self::new();
        other.extend_from_slice(self);
        other
    }
}

impl<T: Real> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.numbers[..self.len]
    }
}

impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[..self.len]
    }
}
