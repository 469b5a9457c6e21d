//! sysinfo(2), syslog(2).

use abi::{Errno, UserAddr, abi_struct};

use crate::cred::Caps;
use crate::task::CurrentTask;

abi_struct! {
    /// `struct sysinfo`; sizes in units of `mem_unit` bytes.
    struct SysInfo {
        uptime: i64, loads: [u64; 3], totalram: u64, freeram: u64, sharedram: u64, bufferram: u64, totalswap: u64,
        freeswap: u64, procs: u16, pad: [u16; 3], totalhigh: u64, freehigh: u64, mem_unit: u32, end: u32,
    }
}

/// sysinfo(2). Load averages are 0.
pub fn sysinfo(task: &CurrentTask, info: UserAddr) -> Result<(), Errno> {
    let kernel = &task.kernel;
    let leaders: Vec<_> = {
        let table = kernel.pids.read();
        table.groups.values().map(|entry| entry.leader.clone()).collect()
    };
    let spaces = leaders.iter().filter_map(|task| task.mm());
    let used: u64 = spaces.map(|mm| mm.resident().0).sum();
    let procs = kernel.pids.read().tasks.len();
    let uptime = kernel.time.monotonic_ns() / 1_000_000_000;
    let total = kernel.total_memory();
    task.write_struct(
        info,
        &SysInfo {
            uptime: i64::try_from(uptime).unwrap_or(i64::MAX),
            totalram: total,
            freeram: total.saturating_sub(used),
            procs: u16::try_from(procs).unwrap_or(u16::MAX),
            mem_unit: 1,
            ..SysInfo::default()
        },
    )
}

/// syslog(2): an empty kernel log, which the privileged may read and set up.
pub fn syslog(task: &CurrentTask, action: i32, _: UserAddr, len: i32) -> Result<i32, Errno> {
    const READ: i32 = 2;
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const SIZE_BUFFER: i32 = 10;
    if !(0..=SIZE_BUFFER).contains(&action) {
        return Err(Errno::EINVAL);
    }
    if !task.cred().has(Caps::SYSLOG) && !task.cred().has(Caps::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    match action {
        READ | READ_ALL | READ_CLEAR if len < 0 => Err(Errno::EINVAL),
        SIZE_BUFFER => Ok(1 << 17),
        _ => Ok(0),
    }
}
