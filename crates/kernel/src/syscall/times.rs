//! times(2).

use abi::{Errno, UserAddr, abi_struct};

use crate::task::CurrentTask;

/// Nanoseconds of a clock tick as user space counts them (sysconf(_SC_CLK_TCK) is 100).
const TICK: u64 = 10_000_000;

abi_struct! {
    /// `struct tms`.
    struct Tms { user: u64, system: u64, children_user: u64, children_system: u64 }
}

/// times(2): ticks since boot.
pub fn times(task: &CurrentTask, buf: UserAddr) -> Result<u64, Errno> {
    if !buf.is_null() {
        task.update_cpu_time();
        let (user, system) = task.group.cpu_ns();
        let children = task.group.state.lock().children_ns;
        let tms = Tms {
            user: user / TICK,
            system: system / TICK,
            children_user: children.0 / TICK,
            children_system: children.1 / TICK,
        };
        task.write_struct(buf, &tms)?;
    }
    let uptime = u64::try_from(task.kernel.uptime_ns()).unwrap_or(0);
    Ok(uptime / TICK)
}
