//! File systems above the kernel: what guests can mount, and what the sandbox mounts for them.
#![forbid(unsafe_code)]

pub mod hostfs;
pub mod kernfs;
pub mod memory;
pub mod procfs;
pub mod stdio;
