//! /proc/PID/{stat,statm,status}.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use abi::{Errno, PAGE_SIZE};
use kernel::cred::UserNs;
use kernel::signal::SigInfo;
use kernel::task::{Task, ThreadGroup, current};

use super::meminfo::MmTotals;
use super::process::{Process, View};
use super::system::ticks;

/// The state letter: a zombie's, else the thread's own.
fn state_letter(view: &View) -> char {
    match &view.task {
        None => 'Z',
        // The reader itself runs, whatever it noted before it slept last.
        Some(task) if current().is_some_and(|me| me.tid == task.tid) => 'R',
        Some(task) => char::from_u32(task.run_state.load(Ordering::Relaxed)).unwrap_or('R'),
    }
}

fn state_name(letter: char) -> &'static str {
    match letter {
        'R' => "R (running)",
        'S' => "S (sleeping)",
        'D' => "D (disk sleep)",
        'T' => "T (stopped)",
        't' => "t (tracing stop)",
        'X' => "X (dead)",
        'Z' => "Z (zombie)",
        _ => "I (idle)",
    }
}

/// User and system time in nanoseconds: of one thread, or of the process with its exited threads.
pub fn cpu_times(at: &Process, view: &View) -> (u64, u64) {
    let Some(task) = &view.task else {
        return view.group.cpu_ns();
    };
    if at.is_thread() {
        return task.cpu_ns();
    }
    process_times(&view.group, task)
}

/// User and system time of a process with this living thread, in nanoseconds.
pub fn process_times(group: &ThreadGroup, task: &Task) -> (u64, u64) {
    let (user, system) = group.cpu_ns();
    // A thread's own count lags while it stays in guest code; the engine's count of the whole process does not.
    let before = task.state.lock().exec_user_ns;
    let engine = task.mm().map_or(0, |mm| mm.space.cpu_time().as_nanos());
    let engine = u64::try_from(engine).unwrap_or(u64::MAX);
    (user.max(before.saturating_add(engine)), system)
}

/// Bit masks of signals as status and stat show them.
#[derive(Default)]
struct SignalMasks {
    pending: u64,
    shared: u64,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

fn set_of(pending: &[SigInfo]) -> u64 {
    pending
        .iter()
        .filter(|info| (1..=64).contains(&info.signal))
        .fold(0, |set, info| set | 1 << (info.signal - 1))
}

impl SignalMasks {
    fn of(view: &View) -> SignalMasks {
        let mut masks = SignalMasks::default();
        let actions = view.group.actions.lock().clone();
        for (index, action) in actions.lock().iter().enumerate() {
            match action.handler {
                0 => {}
                1 => masks.ignored |= 1 << index,
                _ => masks.caught |= 1 << index,
            }
        }
        masks.shared = set_of(&view.group.signals.lock().pending);
        if let Some(task) = &view.task {
            let signals = task.signals.lock();
            masks.pending = set_of(&signals.pending);
            masks.blocked = signals.blocked.0;
        }
        masks
    }
}

/// The task's name; a zombie's is what its last thread had, when known.
fn comm(view: &View) -> String {
    super::process_text::comm_of(view)
}

/// /proc/PID/stat.
pub fn stat(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let totals = MmTotals::of(view.task.as_ref().and_then(|task| task.mm()).as_deref());
    // Addresses are for those who may trace; others see 0.
    let shown = at.may_access().is_ok();
    let address = |value: u64| if shown { value } else { 0 };
    let masks = SignalMasks::of(&view);
    let (user, system) = cpu_times(at, &view);
    let (children, rss_limit) = {
        let state = view.group.state.lock();
        (state.children_ns, state.rlimits[5].0)
    };
    let state = view.task.as_ref().unwrap_or(&view.leader).state.lock().clone();
    let (policy, rt) = (state.sched.policy, state.sched.priority);
    let priority = state.sched.shown_priority(state.nice);
    let (tty, foreground) = super::process_text::terminal(at, &view);
    let exit_code = view.zombie.filter(|_| shown).unwrap_or(0);
    let start = ticks(super::stat::start_ns(&view));
    let mut out = String::new();
    let _ = write!(
        out,
        "{} ({}) {} {} {} {} {tty} {foreground} {} 0 0 0 0 {} {} {} {} {priority} {} {} 0 {start} {} {} {rss_limit}",
        at.number(at.tid),
        comm(&view),
        state_letter(&view),
        at.number(view.parent),
        at.number(view.pgrp),
        at.number(view.session),
        TASK_FLAGS,
        ticks(user),
        ticks(system),
        ticks(children.0),
        ticks(children.1),
        state.nice,
        view.threads.len().max(1),
        totals.size,
        totals.resident / PAGE_SIZE,
    );
    let _ = write!(
        out,
        " {} {} {} 0 0 {} {} {} {} 0 0 0 {} 0 {rt} {policy} 0 0 0 {} {} {} {} {} {} {} {exit_code}",
        address(totals.code.0),
        address(totals.code.1),
        address(totals.start_stack),
        masks.pending & 0x7fff_ffff,
        masks.blocked & 0x7fff_ffff,
        masks.ignored & 0x7fff_ffff,
        masks.caught & 0x7fff_ffff,
        if at.is_thread() {
            -1
        } else {
            i64::from(view.exit_signal)
        },
        address(totals.data.0),
        address(totals.data.1),
        address(totals.brk),
        address(totals.args.0),
        address(totals.args.1),
        address(totals.env.0),
        address(totals.env.1),
    );
    out.push('\n');
    Ok(out.into_bytes())
}

/// PF_RANDOMIZE, as every ordinary program has it.
const TASK_FLAGS: u32 = 0x0040_0000;

/// /proc/PID/statm.
pub fn statm(at: &Process) -> Result<Vec<u8>, Errno> {
    let totals = MmTotals::of(at.mm()?.as_deref());
    let pages = |bytes: u64| bytes / PAGE_SIZE;
    Ok(format!(
        "{} {} {} {} 0 {} 0\n",
        pages(totals.size),
        pages(totals.resident),
        pages(totals.shared_resident),
        pages(totals.text),
        pages(totals.data_bytes + totals.stack)
    )
    .into_bytes())
}

/// A name with backslashes and newlines escaped, as status shows it.
fn escaped(comm: &str) -> String {
    comm.replace('\\', "\\\\").replace('\n', "\\n")
}

/// /proc/PID/status.
pub fn status(at: &Process) -> Result<Vec<u8>, Errno> {
    let view = at.view()?;
    let umask = view.task.as_ref().map(|task| task.fs().state.lock().umask);
    let mut out = format!("Name:\t{}\n", escaped(&comm(&view)));
    if let Some(umask) = umask {
        let _ = writeln!(out, "Umask:\t{umask:04o}");
    }
    let _ = write!(
        out,
        "State:\t{}\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t{}\n",
        state_name(state_letter(&view)),
        at.number(at.pid),
        at.number(at.tid),
        at.number(view.parent),
        super::process_text::tracer(at, &view),
    );
    status_ids(&mut out, at, &view);
    let mm = view.task.as_ref().and_then(|task| task.mm());
    if let Some(mm) = mm {
        status_memory(&mut out, &MmTotals::of(Some(&mm)), mm.wants_huge_pages());
    }
    status_signals(&mut out, &view);
    status_caps(&mut out, &view);
    Ok(out.into_bytes())
}

fn status_ids(out: &mut String, at: &Process, view: &View) {
    let c = view.task.as_ref().unwrap_or(&view.leader).cred();
    let ids = current().map_or_else(UserNs::first, |reader| reader.cred().user_ns.clone());
    let uids = [c.uid, c.euid, c.suid, c.fsuid].map(|uid| ids.shown_uid(uid));
    let gids = [c.gid, c.egid, c.sgid, c.fsgid].map(|gid| ids.shown_gid(gid));
    let groups = c.groups.iter().map(|gid| ids.shown_gid(*gid));
    let tabbed = |ids: [u32; 4]| ids.map(|id| id.to_string()).join("\t");
    let fd_size = view
        .task
        .as_ref()
        .and_then(|task| task.files().numbers().last().copied())
        .map_or(0, |last| (last as u32 + 1).next_multiple_of(64));
    let groups: String = groups.map(|gid| format!("{gid} ")).collect();
    let _ = write!(
        out,
        "Uid:\t{}\nGid:\t{}\nFDSize:\t{fd_size}\nGroups:\t{groups}\nNStgid:{}\nNSpid:{}\nNSpgid:{}\nNSsid:{}\nKthread:\t0\n",
        tabbed(uids),
        tabbed(gids),
        at.numbers(view, at.pid),
        at.numbers(view, at.tid),
        at.numbers(view, view.pgrp),
        at.numbers(view, view.session)
    );
}

fn status_memory(out: &mut String, totals: &MmTotals, huge: bool) {
    let rows = [
        ("VmPeak", totals.size),
        ("VmSize", totals.size),
        ("VmLck", totals.locked),
        ("VmPin", 0),
        ("VmHWM", totals.resident),
        ("VmRSS", totals.resident),
        ("RssAnon", totals.resident.saturating_sub(totals.shared_resident)),
        ("RssFile", totals.shared_resident),
        ("RssShmem", 0),
        ("VmData", totals.data_bytes),
        ("VmStk", totals.stack),
        ("VmExe", totals.text),
        ("VmLib", totals.library),
        ("VmPTE", totals.resident / 512 + PAGE_SIZE),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ];
    for (name, bytes) in rows {
        let _ = writeln!(out, "{name}:\t{:8} kB", bytes / 1024);
    }
    let _ = write!(
        out,
        "CoreDumping:\t0\nTHP_enabled:\t{}\nuntag_mask:\t0xffffffffffffffff\n",
        u8::from(huge)
    );
}

fn status_signals(out: &mut String, view: &View) {
    let masks = SignalMasks::of(view);
    let queued = view.group.signals.lock().pending.len();
    let limit = view.group.rlimit(11);
    let _ = write!(
        out,
        "Threads:\t{}\nSigQ:\t{queued}/{limit}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
        view.threads.len().max(1),
        masks.pending,
        masks.shared,
        masks.blocked,
        masks.ignored,
        masks.caught
    );
}

fn status_caps(out: &mut String, view: &View) {
    let c = view.task.as_ref().unwrap_or(&view.leader).cred();
    let caps = [c.inheritable, c.permitted, c.effective, c.bounding, c.ambient];
    for (name, set) in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .iter()
        .zip(caps)
    {
        let _ = writeln!(out, "{name}:\t{:016x}", set.bits());
    }
    let task = view.task.as_ref().unwrap_or(&view.leader);
    let mask = task.affinity();
    let state = task.state.lock().clone();
    let (seccomp, filters) = super::process_text::seccomp(view);
    let _ = write!(
        out,
        "NoNewPrivs:\t{}\nSeccomp:\t{seccomp}\nSeccomp_filters:\t{filters}\nSpeculation_Store_Bypass:\tthread vulnerable\nSpeculationIndirectBranch:\tconditional enabled\nCpus_allowed:\t{}\nCpus_allowed_list:\t{}\nMems_allowed:\t00000001\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
        u32::from(state.no_new_privs),
        hex_mask(mask),
        cpu_list(mask),
        state.switches.0,
        state.switches.1
    );
}

/// A mask as groups of 32 bits, highest first.
fn hex_mask(mask: u64) -> String {
    match mask >> 32 {
        0 => format!("{mask:08x}"),
        high => format!("{high:08x},{:08x}", mask & 0xffff_ffff),
    }
}

/// A mask as ranges: `0-3,5`.
pub fn cpu_list(mask: u64) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in (0..64).filter(|cpu| mask & (1 << cpu) != 0) {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == cpu => *end = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let shown = ranges.iter().map(|(start, end)| {
        if start == end {
            start.to_string()
        } else {
            format!("{start}-{end}")
        }
    });
    shown.collect::<Vec<_>>().join(",")
}
