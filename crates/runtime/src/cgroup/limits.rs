//! Limits that a container asks for, in the terms of the runtime-spec (version 1's), and what they become.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits and weights; `None`: not asked for. Byte counts and times below zero mean "without limit".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together.
    pub memory_and_swap: Option<i64>,
    /// Bytes below which memory is not taken away when it is short.
    pub reservation: Option<i64>,
    /// How eagerly memory goes to swap (version 1).
    pub swappiness: Option<u64>,
    /// Processes wait instead of being killed when memory is out (version 1).
    pub no_oom_killer: Option<bool>,
    /// Relative share of the processors (1024 is usual).
    pub shares: Option<u64>,
    /// Microseconds of processor time in a period.
    pub quota: Option<i64>,
    /// Length of a period in microseconds.
    pub period: Option<u64>,
    /// Microseconds that may be saved up.
    pub burst: Option<u64>,
    /// Real-time microseconds in a period (version 1).
    pub realtime_runtime: Option<i64>,
    /// Length of such a period (version 1).
    pub realtime_period: Option<u64>,
    /// Runs only when nothing else does.
    pub idle: Option<i64>,
    /// Processors, as a list.
    pub cpus: Option<String>,
    /// Memory nodes, as a list.
    pub mems: Option<String>,
    /// Tasks of the container.
    pub pids: Option<i64>,
    /// Relative share of the disks (10 to 1000).
    pub io_weight: Option<u16>,
    /// The same by device.
    pub io_weight_of: Vec<(Device, u16)>,
    /// Bytes or operations a second by device.
    pub io_limits: Vec<(IoLimit, Device, u64)>,
    /// Bytes of huge pages by their size ("2MB").
    pub huge_pages: Vec<(String, u64)>,
    /// Files of version 2, as they are written.
    pub unified: BTreeMap<String, String>,
}

/// Major and minor number of a block device.
pub type Device = (i64, i64);

/// What of a device is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IoLimit {
    /// Bytes read a second.
    ReadBytes,
    /// Bytes written a second.
    WriteBytes,
    /// Reads a second.
    Reads,
    /// Writes a second.
    Writes,
}

/// Host tasks for each guest task: its own host thread, the sentry's thread that serves it, and, where it is a process,
/// its address space's helper.
const HOST_TASKS: i64 = 3;
/// Host tasks of a sandbox without guests, with room for guests that are just ending.
const HOST_TASKS_ALWAYS: i64 = 64;

impl Limits {
    /// The host's limit on tasks. The container's own is kept exactly by the sandbox's kernel; the host's is the second
    /// wall, with room for what the sandbox itself needs.
    pub fn host_tasks(&self) -> Option<i64> {
        // Zero is "not asked for" in the runtime-spec's history, as below zero is "without limit".
        self.pids.map(|pids| {
            if pids <= 0 {
                -1
            } else {
                pids.saturating_mul(HOST_TASKS) + HOST_TASKS_ALWAYS
            }
        })
    }

    /// Takes over what `change` asks for.
    pub fn update(&mut self, change: Limits) {
        macro_rules! take {
            ($($field:ident)*) => { $(if change.$field.is_some() { self.$field = change.$field; })* };
        }
        take!(memory memory_and_swap reservation swappiness no_oom_killer shares quota period burst);
        take!(realtime_runtime realtime_period idle cpus mems pids io_weight);
        if !change.io_weight_of.is_empty() {
            self.io_weight_of = change.io_weight_of;
        }
        if !change.io_limits.is_empty() {
            self.io_limits = change.io_limits;
        }
        if !change.huge_pages.is_empty() {
            self.huge_pages = change.huge_pages;
        }
        self.unified.extend(change.unified);
    }

    /// Whether anything is asked for.
    pub fn any(&self) -> bool {
        *self != Limits::default()
    }
}

/// cpu.weight for a share of version 1, as runc and systemd convert it.
pub fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0 => 0,
        shares => 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142,
    }
}

/// io.weight for a blkio weight.
pub fn io_weight(weight: u16) -> u64 {
    match weight {
        0 => 0,
        weight => 1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_cover_both_ends() {
        assert_eq!([0, 2, 1024, 262_144].map(weight_of_shares), [0, 1, 39, 10_000]);
        assert_eq!([0, 10, 1000].map(io_weight), [0, 1, 10_000]);
    }

    #[test]
    fn the_hosts_tasks_leave_room_for_the_sandbox() {
        let of = |pids| {
            Limits {
                pids: Some(pids),
                ..Limits::default()
            }
            .host_tasks()
        };
        assert_eq!((of(100), of(-1), of(0)), (Some(364), Some(-1), Some(-1)));
        assert_eq!(Limits::default().host_tasks(), None);
    }

    #[test]
    fn an_update_leaves_what_it_does_not_name() {
        let mut limits = Limits {
            memory: Some(1),
            shares: Some(2),
            ..Limits::default()
        };
        limits.update(Limits {
            memory: Some(5),
            ..Limits::default()
        });
        assert_eq!((limits.memory, limits.shares), (Some(5), Some(2)));
    }
}
