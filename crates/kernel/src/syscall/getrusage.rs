//! getrusage(2).

use abi::{Errno, UserAddr, abi_struct};

use crate::task::CurrentTask;

abi_struct! {
    /// `struct rusage`: times in seconds and microseconds, sizes in KiB.
    pub struct Rusage {
        pub utime: [i64; 2], pub stime: [i64; 2], pub maxrss: i64, pub unused: [i64; 3], pub minflt: i64, pub majflt: i64,
        pub nswap: i64, pub inblock: i64, pub oublock: i64, pub msgsnd: i64, pub msgrcv: i64, pub nsignals: i64,
        pub nvcsw: i64, pub nivcsw: i64,
    }
}

fn timeval(ns: u64) -> [i64; 2] {
    let micros = i64::try_from(ns / 1000).unwrap_or(i64::MAX);
    [micros / 1_000_000, micros % 1_000_000]
}

impl Rusage {
    /// With these CPU times and nothing else.
    pub fn of_cpu((user, system): (u64, u64)) -> Rusage {
        Rusage {
            utime: timeval(user),
            stime: timeval(system),
            ..Rusage::default()
        }
    }
}

const RUSAGE_SELF: i32 = 0;
const RUSAGE_CHILDREN: i32 = -1;
const RUSAGE_THREAD: i32 = 1;

/// getrusage(2).
pub fn getrusage(task: &CurrentTask, who: i32, usage: UserAddr) -> Result<(), Errno> {
    task.update_cpu_time();
    let cpu = match who {
        RUSAGE_SELF => task.group.cpu_ns(),
        RUSAGE_CHILDREN => task.group.state.lock().children_ns,
        RUSAGE_THREAD => task.cpu_ns(),
        _ => return Err(Errno::EINVAL),
    };
    let mut result = Rusage::of_cpu(cpu);
    if who != RUSAGE_CHILDREN {
        let (anonymous, files) = task.mm_ref().resident();
        result.maxrss = i64::try_from((anonymous + files) / 1024).unwrap_or(i64::MAX);
    }
    task.write_struct(usage, &result)
}
