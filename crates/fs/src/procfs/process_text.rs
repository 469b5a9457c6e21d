//! The smaller files of a process directory.

use std::fmt::Write;
use std::sync::Arc;

use abi::{Errno, PAGE_SIZE};
use kernel::cred::{Caps, IdKind};
use kernel::task::{Task, current};
use kernel::vfs::{Follow, Path};

use super::process::{Process, View};
use crate::kernfs::{parse_i64, parse_u64};

/// Longest name of a task (TASK_COMM_LEN without the NUL).
const COMM_MAX: usize = 15;
/// Most bytes of arguments or environment shown.
const STRINGS_MAX: u64 = 2 << 20;

/// A task's name as text.
pub fn comm_of(view: &View) -> String {
    let task = view.task.as_ref().unwrap_or(&view.leader);
    String::from_utf8_lossy(&task.comm.lock()).into_owned()
}

/// /proc/PID/comm.
pub fn comm(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let mut name = view.task.as_ref().unwrap_or(&view.leader).comm.lock().clone();
    name.push(b'\n');
    Ok(name)
}

/// Writing /proc/PID/comm: only by a thread of the same process.
pub fn set_comm(at: &Process, data: &[u8]) -> Result<(), Errno> {
    let task = at.task()?;
    if current().is_none_or(|me| me.tgid() != task.tgid()) {
        return Err(Errno::EINVAL);
    }
    let name = data
        .split(|byte| matches!(byte, 0 | b'\n'))
        .next()
        .unwrap_or_default();
    *task.comm.lock() = name[..name.len().min(COMM_MAX)].to_vec();
    Ok(())
}

/// The process's controlling terminal as stat shows it: device number and foreground process group.
pub fn terminal(at: &Process, view: &View) -> (i32, i32) {
    let pids = view.kernel.pids.read();
    let Some(terminal) = pids.terminals.get(&view.session) else {
        return (0, -1);
    };
    let number = |value: u64| i32::try_from(value).unwrap_or(0);
    (
        number(terminal.device()),
        number(u64::from(at.number(terminal.foreground()))),
    )
}

/// The tracer's thread id; 0: none.
pub fn tracer(at: &Process, view: &View) -> u32 {
    let Some(task) = &view.task else { return 0 };
    let tracer = task.trace.lock().as_ref().map_or(0, |trace| trace.tracer);
    at.number(tracer)
}

/// Seccomp mode and number of filters.
pub fn seccomp(view: &View) -> (u32, u32) {
    match &view.task {
        Some(task) if task.filtered() => (2, 1),
        _ => (0, 0),
    }
}

/// Guest bytes of a process from `start` to `end`, as far as they can be read.
fn guest_bytes(at: &Process, range: (u64, u64)) -> Result<Vec<u8>, Errno> {
    let Some(mm) = at.mm()? else {
        return Ok(Vec::new());
    };
    let len = range.1.saturating_sub(range.0).min(STRINGS_MAX);
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| Errno::EINVAL)?];
    let got = mm.space.read(abi::UserAddr(range.0), &mut bytes).unwrap_or(0);
    bytes.truncate(got);
    Ok(bytes)
}

/// /proc/PID/cmdline: the arguments, each with its NUL. A program that overwrote its argument area past the last NUL
/// (setproctitle) is shown up to the first NUL, from the environment's area too.
pub fn cmdline(at: &Process) -> Result<Vec<u8>, Errno> {
    let Some(mm) = at.mm()? else {
        return Ok(Vec::new());
    };
    let totals = super::meminfo::MmTotals::of(Some(&mm));
    let args = guest_bytes(at, totals.args)?;
    if args.last().is_none_or(|last| *last == 0) {
        return Ok(args);
    }
    let whole = guest_bytes(at, (totals.args.0, totals.env.1.max(totals.args.1)))?;
    let end = whole
        .iter()
        .position(|byte| *byte == 0)
        .map_or(whole.len(), |nul| nul + 1);
    Ok(whole[..end].to_vec())
}

/// /proc/PID/environ.
pub fn environ(at: &Process) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    let mm = at.mm()?;
    guest_bytes(at, super::meminfo::MmTotals::of(mm.as_deref()).env)
}

/// /proc/PID/auxv.
pub fn auxv(at: &Process) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    let mm = at.mm()?;
    Ok(super::meminfo::MmTotals::of(mm.as_deref()).auxv)
}

/// The working directory.
pub fn cwd(at: &Process) -> Result<Path, Errno> {
    Ok(at.task()?.fs().cwd())
}

/// The root directory.
pub fn root(at: &Process) -> Result<Path, Errno> {
    Ok(at.task()?.fs().root())
}

/// The program.
pub fn exe(at: &Process) -> Result<Path, Errno> {
    let mm = at.mm()?.ok_or(Errno::ENOENT)?;
    Ok(mm.exe().ok_or(Errno::ENOENT)?.path().clone())
}

/// A magic link's destination, for those who may look.
pub fn place(at: &Process, which: fn(&Process) -> Result<Path, Errno>) -> Result<Follow, Errno> {
    at.may_access()?;
    which(at).map(Follow::Path)
}

/// A magic link's text.
pub fn place_text(at: &Process, which: fn(&Process) -> Result<Path, Errno>) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    Ok(path_text(&which(at)?))
}

/// A path as the reader sees it from its root.
pub fn path_text(path: &Path) -> Vec<u8> {
    match current() {
        Some(reader) => path.text(&reader.fs().root()),
        None => path.text(path),
    }
}

/// /proc/PID/cgroup: one group, the root of what the sandbox sees.
pub fn cgroup(at: &Process) -> Result<Vec<u8>, Errno> {
    at.view()?;
    Ok(b"0::/\n".to_vec())
}

/// /proc/PID/io.
pub fn io(at: &Process) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    at.view()?;
    Ok(
        b"rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"
            .to_vec(),
    )
}

/// Names and units of the limits, by RLIMIT_ number.
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

/// /proc/PID/limits.
pub fn limits(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let rlimits = view.group.state.lock().rlimits;
    let value = |limit: u64| match limit {
        u64::MAX => "unlimited".to_string(),
        other => other.to_string(),
    };
    let mut out = format!(
        "{:<25} {:<20} {:<20} {:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    for ((name, unit), (soft, hard)) in LIMITS.iter().zip(rlimits) {
        let _ = write!(out, "{name:<25} {:<20} {:<20} ", value(soft), value(hard));
        let _ = if unit.is_empty() {
            writeln!(out)
        } else {
            writeln!(out, "{unit:<10}")
        };
    }
    Ok(out.into_bytes())
}

/// /proc/PID/oom_score: the share of memory in thousandths, shifted by the adjustment.
pub fn oom_score(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let mm = view.task.as_ref().and_then(|task| task.mm());
    let resident = super::meminfo::MmTotals::of(mm.as_deref()).resident;
    let share = resident / PAGE_SIZE * 1000 / (view.kernel.total_memory() / PAGE_SIZE).max(1);
    let adjust = i64::from(view.group.state.lock().oom_score_adj);
    let badness = (1000 + adjust + i64::try_from(share).unwrap_or(1000)).max(0);
    let score = badness * 2 / 3;
    Ok(format!("{score}\n").into_bytes())
}

/// /proc/PID/oom_score_adj.
pub fn oom_score_adj(at: &Process) -> Result<Vec<u8>, Errno> {
    let adjust = at.view()?.group.state.lock().oom_score_adj;
    Ok(format!("{adjust}\n").into_bytes())
}

/// Writing /proc/PID/oom_score_adj: kept and shown, without an effect (the host picks among sandboxes, not processes).
/// Less than before takes CAP_SYS_RESOURCE.
pub fn set_oom_score_adj(at: &Process, data: &[u8]) -> Result<(), Errno> {
    let view = at.view()?;
    let value = i32::try_from(parse_i64(data)?).map_err(|_| Errno::EINVAL)?;
    if !(-1000..=1000).contains(&value) {
        return Err(Errno::EINVAL);
    }
    let mut state = view.group.state.lock();
    let privileged = || current().is_none_or(|me| me.cred().has(Caps::SYS_RESOURCE));
    if value < state.oom_score_adj && !privileged() {
        return Err(Errno::EACCES);
    }
    state.oom_score_adj = value;
    Ok(())
}

/// /proc/PID/loginuid.
pub fn loginuid(at: &Process) -> Result<Vec<u8>, Errno> {
    let uid = at.task()?.state.lock().login.uid;
    let shown = |reader: Arc<Task>| {
        reader
            .cred()
            .user_ns
            .to_own(IdKind::User, uid)
            .unwrap_or(u32::MAX)
    };
    Ok(current().map_or(uid, shown).to_string().into_bytes())
}

/// Writing /proc/PID/loginuid: a task's own only.
pub fn set_loginuid(at: &Process, data: &[u8]) -> Result<(), Errno> {
    let task = at.task()?;
    let writer = current()
        .filter(|writer| writer.tid == task.tid)
        .ok_or(Errno::EPERM)?;
    let uid = u32::try_from(parse_u64(data)?).map_err(|_| Errno::EINVAL)?;
    match uid {
        u32::MAX => task.log_in(uid),
        _ => task.log_in(
            writer
                .cred()
                .user_ns
                .to_kernel(IdKind::User, uid)
                .ok_or(Errno::EINVAL)?,
        ),
    }
}

/// /proc/PID/sessionid.
pub fn sessionid(at: &Process) -> Result<Vec<u8>, Errno> {
    let session = at.task()?.state.lock().login.session;
    Ok(session.to_string().into_bytes())
}

/// /proc/PID/timerslack_ns.
pub fn timer_slack(at: &Process) -> Result<Vec<u8>, Errno> {
    let slack = at.task()?.state.lock().timer_slack;
    Ok(format!("{slack}\n").into_bytes())
}

/// Writing /proc/PID/timerslack_ns.
pub fn set_timer_slack(at: &Process, data: &[u8]) -> Result<(), Errno> {
    at.may_access()?;
    let slack = parse_u64(data)?;
    at.task()?.state.lock().timer_slack = slack;
    Ok(())
}

/// /proc/PID/oom_adj.
pub fn oom_adj(at: &Process) -> Result<Vec<u8>, Errno> {
    at.view()?;
    Ok(b"0\n".to_vec())
}

/// /proc/PID/personality.
pub fn personality(at: &Process) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    let personality = at.task()?.state.lock().personality;
    Ok(format!("{personality:08x}\n").into_bytes())
}

/// /proc/PID/sched.
pub fn sched(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let (user, system) = super::pid_stat::cpu_times(at, &view);
    let total = user + system;
    Ok(format!(
        "{} ({}, #threads: {})\n-------------------------------------------------------------------\n{:<45}:{:>14}.{:06}\n{:<45}:{:>21}\n",
        comm_of(&view),
        at.number(at.tid),
        view.threads.len().max(1),
        "se.sum_exec_runtime",
        total / 1_000_000,
        total % 1_000_000,
        "policy",
        0
    )
    .into_bytes())
}

/// /proc/PID/schedstat.
pub fn schedstat(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let (user, system) = super::pid_stat::cpu_times(at, &view);
    Ok(format!("{} 0 0\n", user + system).into_bytes())
}

/// /proc/PID/syscall: what it waits in is not told.
pub fn syscall(at: &Process) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    at.task()?;
    Ok(b"running\n".to_vec())
}

/// /proc/PID/task/TID/children: those of the process, shown at its leader.
pub fn children(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let pids = view.kernel.pids.read();
    let entry = pids.group(at.pid).ok_or(Errno::ESRCH)?;
    if at.tid != at.pid {
        return Ok(Vec::new());
    }
    let list: String = entry
        .children
        .iter()
        .map(|pid| format!("{} ", at.number(*pid)))
        .collect();
    Ok(list.into_bytes())
}
