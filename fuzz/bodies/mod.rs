//! What each fuzz target does with its bytes. Used by `fuzz/fuzz_targets` and, with the corpus and a few thousand mutations of it,
//! by an ordinary test (`crates/sandbox/tests/fuzz.rs`).

mod bytes;
pub mod filters;
pub mod frames;
pub mod packets;
pub mod programs;
pub mod syscalls;

/// Name of a target, and its body.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("filters", filters::run),
    ("frames", frames::run),
    ("packets", packets::run),
    ("programs", programs::run),
    ("syscalls", syscalls::run),
];
