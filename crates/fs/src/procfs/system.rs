//! What the files outside of process directories are about: the kernel.

use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::Kernel;

use crate::kernfs::Context;

/// Clock ticks per second of every tick count in /proc (USER_HZ).
pub const USER_HZ: u64 = 100;

/// A handle on the kernel that does not keep it alive.
#[derive(Clone)]
pub struct System(Weak<Kernel>);

impl Context for System {}

impl System {
    /// A handle on `kernel`.
    pub fn new(kernel: &Arc<Kernel>) -> System {
        System(Arc::downgrade(kernel))
    }

    /// The kernel. `ENODEV` once it is gone.
    pub fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.0.upgrade().ok_or(Errno::ENODEV)
    }
}

/// Nanoseconds as clock ticks.
pub fn ticks(ns: u64) -> u64 {
    ns / (1_000_000_000 / USER_HZ)
}
