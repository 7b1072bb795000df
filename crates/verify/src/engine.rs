//! Bounds of a network's outputs over a set of inputs, on plain slices: intervals, linear bounds pushed backwards (CROWN), their
//! optimisation over slopes (alpha) and multipliers of splits (beta), in single or double precision, and in double precision with every
//! rounding accounted for.
//!
//! | file | what |
//! |---|---|
//! | `prepared` | a computation in one kind of floats; linear maps applied to many rows |
//! | `interval` | bounds of every value, and intervals |
//! | `batch` | intervals of several inputs at once, and what rounding is charged |
//! | `zonotope` | bounds of every value by forms over few inputs, pushed forwards |
//! | `backward` | rows pushed back to the input |
//! | `curve` | lines below and above sigmoid and tanh |
//! | `intermediate` | bounds of what ReLUs and max pools read |
//! | `forward` | gradients by one pass of a point |
//! | `optimise` | slopes, splits and multipliers, and the search for the best |
//! | `layers` | slopes of intermediate bounds, optimised layer by layer |
//! | `lines` | the lines of ReLUs, and which neurons need some |
//! | `relu` | a ReLU on the way back |
//! | `patches` | coefficients in parts of a picture; convolutions of many rows |
//! | `buffer` | memory for coefficients |
//! | `real` | what is asked of a float; errors of sums |
//!
//! Results depend neither on the number of threads nor on what is bounded together.

mod backward;
mod batch;
mod buffer;
mod curve;
mod forward;
mod intermediate;
mod interval;
mod layers;
mod lines;
mod optimise;
mod patches;
mod prepared;
mod real;
mod relu;
mod zonotope;

pub use backward::{Job, Keep, Lower, Pushed, Rows, backward};
pub use forward::{Gradients, gradients};
pub use intermediate::{Tight, intermediate, intermediates, renewed, tightened};
pub(crate) use interval::LARGEST;
pub use interval::{Bounds, Ends, Region, interval, intervals, output_intervals};
pub use layers::optimise_layers;
pub use optimise::{Alpha, Ascent, Beta, Layer, Optimised, Split, optimise};
pub use prepared::Prepared;
pub use real::Real;
pub use zonotope::zonotope;
