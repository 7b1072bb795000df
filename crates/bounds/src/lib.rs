//! Sound enclosures of what an image classifier can answer when every pixel may move by eps, and what follows from them.
//!
//! * [`boxes`]: the input: a batch and the box around every image of it.
//! * [`losses`]: the robust loss and the warmup regularisers.

pub mod boxes;
pub mod losses;
