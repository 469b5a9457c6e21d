//! What each fuzz target does with its bytes. Used by `fuzz/fuzz_targets` and, with the corpus and a few thousand mutations of it,
//! by an ordinary test (`crates/sandbox/tests/fuzz.rs`).

mod bytes;
pub mod config;
pub mod filters;
pub mod frames;
pub mod netlink;
pub mod packets;
pub mod paths;
pub mod proc_files;
pub mod programs;
pub mod signals;
pub mod stub;
pub mod syscalls;

/// Name of a target, and its body.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("config", config::run),
    ("filters", filters::run),
    ("frames", frames::run),
    ("netlink", netlink::run),
    ("packets", packets::run),
    ("paths", paths::run),
    ("proc_files", proc_files::run),
    ("programs", programs::run),
    ("signals", signals::run),
    ("stub", stub::run),
    ("syscalls", syscalls::run),
];
