//! What each fuzz target does with its bytes. Used by `fuzz/fuzz_targets` and, with the corpus and a few thousand mutations of it,
//! by an ordinary test (`crates/sandbox/tests/fuzz.rs`).

pub mod bpf;
mod bytes;
pub mod config;
pub mod filters;
pub mod forwarded;
pub mod frames;
pub mod netlink;
pub mod notify;
pub mod packets;
pub mod paths;
pub mod proc_files;
pub mod programs;
pub mod relay;
pub mod rtnetlink;
pub mod signals;
pub mod stub;
pub mod syscalls;

/// Name of a target, and its body.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("bpf", bpf::run),
    ("config", config::run),
    ("filters", filters::run),
    ("forwarded", forwarded::run),
    ("frames", frames::run),
    ("netlink", netlink::run),
    ("notify", notify::run),
    ("packets", packets::run),
    ("paths", paths::run),
    ("proc_files", proc_files::run),
    ("programs", programs::run),
    ("relay", relay::run),
    ("rtnetlink", rtnetlink::run),
    ("signals", signals::run),
    ("stub", stub::run),
    ("syscalls", syscalls::run),
];
