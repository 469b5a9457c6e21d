//! What the files outside of process directories are about: the kernel.

use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::Kernel;
use kernel::task::PidNs;

use crate::kernfs::Context;

/// Clock ticks per second of every tick count in /proc (USER_HZ).
pub const USER_HZ: u64 = 100;

/// A handle on the kernel that does not keep it alive.
#[derive(Clone)]
pub struct System {
    kernel: Weak<Kernel>,
    /// The pid namespace whose numbers are shown.
    pub pid_ns: Arc<PidNs>,
}

impl Context for System {}

impl System {
    /// A handle on `kernel`.
    pub fn new(kernel: &Arc<Kernel>) -> System {
        System::of(kernel, PidNs::first())
    }

    /// The same, for the processes of a pid namespace.
    pub fn of(kernel: &Arc<Kernel>, pid_ns: Arc<PidNs>) -> System {
        System {
            kernel: Arc::downgrade(kernel),
            pid_ns,
        }
    }

    /// The kernel. `ENODEV` once it is gone.
    pub fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(Errno::ENODEV)
    }
}

/// Nanoseconds as clock ticks.
pub fn ticks(ns: u64) -> u64 {
    ns / (1_000_000_000 / USER_HZ)
}
