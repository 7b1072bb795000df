//! Bounds of a network's outputs over a set of inputs, on plain slices: intervals, linear bounds pushed backwards (CROWN), their
//! optimisation over slopes (alpha) and multipliers of splits (beta), in single or double precision, and in double precision with every
//! rounding accounted for.
//!
//! | file | what |
//! |---|---|
//! | `prepared` | a computation in one kind of floats; linear maps applied to many rows |
//! | `interval` | intervals of every value, and what rounding is charged |
//! | `backward` | rows pushed back to the input |
//! | `intermediate` | bounds of what ReLUs and max pools read |
//! | `forward` | gradients by one pass of a point |
//! | `optimise` | slopes, splits and multipliers, and the search for the best |
//! | `joint` | slopes of intermediate bounds, optimised for the rows at the end |
//! | `lines` | the lines of ReLUs, and which neurons need some |
//! | `patches` | coefficients in parts of a picture; convolutions of many rows |
//! | `real` | what is asked of a float; errors of sums |
//!
//! Results depend neither on the number of threads nor on what is bounded together.

mod backward;
mod forward;
mod intermediate;
mod interval;
mod joint;
mod lines;
mod optimise;
mod patches;
mod prepared;
mod real;

pub use backward::{Job, Keep, Lower, Pushed, Rows, backward};
pub use forward::{Gradients, gradients};
pub use intermediate::{Tight, intermediate, intermediates, tightened};
pub use interval::{Bounds, Ends, Region, interval, intervals, output_intervals};
pub use joint::{Joint, optimise_jointly, optimise_layers};
pub use optimise::{Alpha, Ascent, Beta, Layer, Optimised, Split, optimise};
pub use prepared::Prepared;
pub use real::Real;
