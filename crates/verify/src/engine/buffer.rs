//! Memory for numbers that goes back to the thread that let go of it: a tile's coefficients come and go at every layer.

use std::ops::{Deref, DerefMut};

use super::real::Real;

/// Buffers that a thread keeps at most, and numbers of one.
const KEPT: usize = 8;
const LARGEST: usize = 1 << 22;

/// A vector from the thread's pool, to which it returns.
#[derive(Debug)]
pub(crate) struct Buffer<T: Real>(Vec<T>);

impl<T: Real> Buffer<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(T::pool(Vec::pop).unwrap_or_default())
    }
}

impl<T: Real> Drop for Buffer<T> {
    fn drop(&mut self) {
        let mut numbers = std::mem::take(&mut self.0);
        numbers.clear();
        if numbers.capacity() > 0 && numbers.capacity() <= LARGEST {
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
        other.0.extend_from_slice(&self.0);
        other
    }
}

impl<T: Real> Deref for Buffer<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}
