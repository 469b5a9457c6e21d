//! What bounds an address space: resource limits and the machine's size.

use abi::Errno;

use super::area::AreaFlags;
use super::{Area, AreaMap};
use crate::cred::Caps;
use crate::task::Task;

/// RLIMIT_DATA's index.
const RLIMIT_DATA: usize = 2;
/// RLIMIT_STACK's index.
pub const RLIMIT_STACK: usize = 3;
/// RLIMIT_MEMLOCK's index.
const RLIMIT_MEMLOCK: usize = 8;
/// RLIMIT_AS's index.
const RLIMIT_AS: usize = 9;

/// Limits of the caller, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_MEMLOCK; unlimited with CAP_IPC_LOCK.
    pub locked: u64,
    /// Memory of the machine: no single accounted mapping may be larger (heuristic overcommit, which as on Linux
    /// does not look at the limit of a control group).
    pub machine: u64,
}

impl Limits {
    /// No limit at all (the loader's own mappings).
    pub const NONE: Limits = Limits {
        address_space: u64::MAX,
        data: u64::MAX,
        locked: u64::MAX,
        machine: u64::MAX,
    };

    /// Those of a task.
    pub fn of(task: &Task) -> Limits {
        let (address_space, data, locked) = {
            let state = task.group.state.lock();
            let soft = |index: usize| state.rlimits.get(index).map_or(u64::MAX, |limit| limit.0);
            (soft(RLIMIT_AS), soft(RLIMIT_DATA), soft(RLIMIT_MEMLOCK))
        };
        let locked = if task.cred().has(Caps::IPC_LOCK) {
            u64::MAX
        } else {
            locked
        };
        Limits {
            address_space,
            data,
            locked,
            machine: task.kernel.config.total_memory,
        }
    }

    /// Whether `area` may be added to `areas` after `freed` bytes were taken out of them.
    pub fn check(&self, areas: &AreaMap, area: &Area, freed: u64) -> Result<(), Errno> {
        let len = area.len();
        if areas.total().saturating_sub(freed).saturating_add(len) > self.address_space {
            return Err(Errno::ENOMEM);
        }
        if area.is_data() {
            if areas.data().saturating_sub(freed).saturating_add(len) > self.data {
                return Err(Errno::ENOMEM);
            }
            if len > self.machine && !area.flags.contains(AreaFlags::NORESERVE) {
                return Err(Errno::ENOMEM);
            }
        }
        if area.flags.contains(AreaFlags::LOCKED) && areas.locked().saturating_add(len) > self.locked {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }
}
