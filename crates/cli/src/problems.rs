//! What a command comes to.

use temper_base::Problems;

/// The exit code of a command, or everything that is wrong.
pub type Outcome = Result<u8, Problems>;
