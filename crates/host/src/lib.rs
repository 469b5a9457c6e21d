//! The only crate (with `systrap`) that talks to the host kernel.
//!
//! Each module wraps the calls of one Linux noun as safe functions over owned descriptors; errors are [`abi::Errno`].
//! Architecture invariant: a host call that the running sentry makes has a row in the sentry's seccomp profile.

mod call;
pub mod caps;
pub mod clock;
pub mod dir;
pub mod fanotify;
pub mod fd;
pub mod file;
pub mod futex;
pub mod inet;
pub mod inet_socket;
pub mod machine;
pub mod mem;
pub mod memfd;
pub mod mount;
pub mod ns;
pub mod packet;
pub mod poll;
pub mod prctl;
pub mod process;
pub mod rlimit;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod surface;
pub mod tty;
pub mod vm;

pub(crate) use call::{check, last_errno};
