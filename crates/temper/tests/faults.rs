//! The faults that were found by trying: what users of neighbouring tools report, kills, damaged files, a new user, other programs.
//! Each is a *kind*, and each test fails at c4163c3. What another kind of test holds is named here all the same.
//!
//! | entry | test | places looked through |
//! |---|---|---|

mod common;

#[path = "faults/export.rs"]
mod export;
#[path = "faults/images.rs"]
mod images;
#[path = "faults/lm.rs"]
mod lm;
#[path = "faults/report.rs"]
mod report;
#[path = "faults/runs.rs"]
mod runs;
#[path = "faults/text.rs"]
mod text;
#[path = "faults/verify.rs"]
mod verify;
