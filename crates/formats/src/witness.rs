//! Counterexample files.
