//! The sentry: Linux as guests see it, in safe Rust over a [`platform::Platform`].
//!
//! Where things are: `task` (tasks, thread groups, the run loop), `signal`, `mm`, `exec`, `file` (open files,
//! descriptors), `vfs` (mounts, dentries, inodes, path walk), `futex`, `time`, `ipc`, `syscall` (the table, one file per man page).
//! Concrete file systems live above, in crate `fs`.
//! Architecture invariants: no `unsafe`, no host call (checked by `cargo xtask tidy`); a guest's bytes never cause a panic.
#![forbid(unsafe_code)]

pub mod bpf;
mod cpu;
pub mod cred;
pub mod exec;
pub mod file;
pub mod futex;
pub mod io;
pub mod ipc;
mod kernel;
pub mod limits;
pub mod mm;
pub mod random;
pub mod signal;
pub mod socket;
pub mod syscall;
pub mod sysctl;
pub mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod vfs;

pub use cpu::CpuModel;
pub use kernel::{Kernel, KernelConfig, Log, NoLog, UtsNames};
