//! Time and activity: /proc/{stat,uptime,interrupts,softirqs,schedstat,pressure}.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use abi::Errno;
use kernel::Kernel;

use super::process::View;
use super::system::{System, ticks};

/// Nanoseconds since the sandbox started (CLOCK_BOOTTIME, which never was suspended: CLOCK_MONOTONIC).
pub fn uptime_ns(kernel: &Kernel) -> u64 {
    kernel.time.monotonic_ns()
}

/// When a process started, on the same clock.
pub fn start_ns(view: &View) -> u64 {
    view.leader.state.lock().start_ns
}

/// User and system time of all processes so far, nanoseconds.
pub fn busy_ns(kernel: &Kernel) -> (u64, u64) {
    let groups: Vec<_> = {
        let pids = kernel.pids.read();
        let entries = pids.groups.values();
        entries
            .map(|entry| (entry.group.clone(), entry.leader.clone()))
            .collect()
    };
    let mut sum = (0u64, 0u64);
    for (group, leader) in groups {
        let (user, system) = super::pid_stat::process_times(&group, &leader);
        let children = group.state.lock().children_ns;
        sum.0 += user + children.0;
        sum.1 += system + children.1;
    }
    sum
}

/// Tasks that run now.
pub fn running(kernel: &Kernel) -> (usize, usize) {
    let pids = kernel.pids.read();
    let running = pids
        .tasks
        .values()
        .filter(|task| task.run_state.load(Ordering::Relaxed) == u32::from(b'R'))
        .count();
    (running, pids.tasks.len())
}

/// /proc/stat.
pub fn show(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let cpus = u64::from(kernel.config.cpus.max(1));
    let up = uptime_ns(&kernel);
    let (user, system) = busy_ns(&kernel);
    let idle = up.saturating_mul(cpus).saturating_sub(user + system);
    let mut out = format!(
        "cpu  {} 0 {} {} 0 0 0 0 0 0\n",
        ticks(user),
        ticks(system),
        ticks(idle)
    );
    for cpu in 0..cpus {
        // Tasks are not tied to processors here: each gets an equal share, the remainder goes to the first.
        let share = |ns: u64| ticks(ns) / cpus + if cpu == 0 { ticks(ns) % cpus } else { 0 };
        let _ = writeln!(
            out,
            "cpu{cpu} {} 0 {} {} 0 0 0 0 0 0",
            share(user),
            share(system),
            share(idle)
        );
    }
    let now = kernel.time.realtime_ns();
    let (running, _) = running(&kernel);
    let forks = kernel.pids.read().last_pid;
    let _ = write!(
        out,
        "intr 0\nctxt 0\nbtime {}\nprocesses {forks}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
        now.saturating_sub(up) / 1_000_000_000,
        running.max(1)
    );
    Ok(out.into_bytes())
}

/// /proc/uptime: seconds since the start, and idle seconds of all processors.
pub fn uptime(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let up = uptime_ns(&kernel);
    let (user, system) = busy_ns(&kernel);
    let idle = up
        .saturating_mul(u64::from(kernel.config.cpus.max(1)))
        .saturating_sub(user + system);
    let shown = |ns: u64| format!("{}.{:02}", ns / 1_000_000_000, ns / 10_000_000 % 100);
    Ok(format!("{} {}\n", shown(up), shown(idle)).into_bytes())
}

/// /proc/interrupts: the header; a sandbox takes none.
pub fn interrupts(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let mut out = String::from("    ");
    for cpu in 0..kernel.config.cpus {
        let _ = write!(out, "       CPU{cpu:<4}");
    }
    out.push('\n');
    Ok(out.into_bytes())
}

/// /proc/softirqs.
pub fn softirqs(at: &System) -> Result<Vec<u8>, Errno> {
    interrupts(at)
}

/// /proc/schedstat.
pub fn schedstat(at: &System) -> Result<Vec<u8>, Errno> {
    at.kernel()?;
    Ok(b"version 17\ntimestamp 0\n".to_vec())
}

/// /proc/pressure/*: nothing stalls.
pub fn pressure(at: &System) -> Result<Vec<u8>, Errno> {
    at.kernel()?;
    Ok(
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
            .to_vec(),
    )
}
