//! Runs that are stopped, killed, moved or damaged.
