//! Verdicts, bounds and attacks.
