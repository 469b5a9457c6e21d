//! ptrace(2).

use std::sync::Arc;

use abi::signal::{SIGKILL, SIGSTOP, SIGTRAP};
use abi::{AbiField, Errno, UserAddr};
use platform::{Registers, XState};

use crate::cred::Caps;
use crate::signal::{SIGINFO_BYTES, SigInfo, SigSet, UNBLOCKABLE, from_bytes, send_to_task, to_bytes};
use crate::task::ptrace::{Resume, StopKind, Trace, TraceStop, options};
use crate::task::{CurrentTask, Instruction, Task};

/// Request numbers.
mod request {
    pub const TRACEME: u64 = 0;
    pub const PEEKTEXT: u64 = 1;
    pub const PEEKDATA: u64 = 2;
    pub const PEEKUSER: u64 = 3;
    pub const POKETEXT: u64 = 4;
    pub const POKEDATA: u64 = 5;
    pub const POKEUSER: u64 = 6;
    pub const CONT: u64 = 7;
    pub const KILL: u64 = 8;
    pub const SINGLESTEP: u64 = 9;
    pub const GETREGS: u64 = 12;
    pub const SETREGS: u64 = 13;
    pub const GETFPREGS: u64 = 14;
    pub const SETFPREGS: u64 = 15;
    pub const ATTACH: u64 = 16;
    pub const DETACH: u64 = 17;
    pub const SYSCALL: u64 = 24;
    pub const SETOPTIONS: u64 = 0x4200;
    pub const GETEVENTMSG: u64 = 0x4201;
    pub const GETSIGINFO: u64 = 0x4202;
    pub const SETSIGINFO: u64 = 0x4203;
    pub const GETREGSET: u64 = 0x4204;
    pub const SETREGSET: u64 = 0x4205;
    pub const SEIZE: u64 = 0x4206;
    pub const INTERRUPT: u64 = 0x4207;
    pub const LISTEN: u64 = 0x4208;
    pub const PEEKSIGINFO: u64 = 0x4209;
    pub const SECCOMP_GET_FILTER: u64 = 0x420c;
    pub const GETSIGMASK: u64 = 0x420a;
    pub const SETSIGMASK: u64 = 0x420b;
    pub const GET_SYSCALL_INFO: u64 = 0x420e;
}

const NT_PRSTATUS: u64 = 1;
const NT_PRFPREG: u64 = 2;
const NT_X86_XSTATE: u64 = 0x202;
/// Bytes of the legacy floating point area.
const FXSAVE: usize = 512;
/// Bytes of `struct user`.
const USER_BYTES: u64 = 912;
/// CF PF AF ZF SF TF DF OF RF AC and the like: what a tracer may change of eflags (FLAG_MASK).
const FLAG_MASK: u64 = 0x5_4dd5;

/// ptrace(2).
pub fn ptrace(task: &CurrentTask, what: u64, pid: i32, addr: u64, data: u64) -> Result<u64, Errno> {
    if what == request::TRACEME {
        return trace_me(task);
    }
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let target = task.find_task(pid)?;
    match what {
        request::ATTACH => return attach(task, &target, None),
        request::SEIZE if addr != 0 => return Err(Errno::EIO),
        request::SEIZE => {
            let options = u32::try_from(data)
                .ok()
                .filter(|options| options & !options::ALL == 0);
            return attach(task, &target, Some(options.ok_or(Errno::EIO)?));
        }
        _ => {}
    }
    if target
        .trace
        .lock()
        .as_ref()
        .is_none_or(|trace| trace.tracer != task.tgid())
    {
        return Err(Errno::ESRCH);
    }
    match what {
        request::KILL => {
            send_to_task(&target, SigInfo::user(SIGKILL, task.tgid(), task.cred().uid));
            return Ok(0);
        }
        request::INTERRUPT => return interrupt(&target),
        _ => {}
    }
    if !with_stop(&target, |_| Ok(true)).unwrap_or(false) {
        return Err(Errno::ESRCH);
    }
    memory_and_control(task, &target, what, addr, data)
}

/// PTRACE_PEEKSIGINFO: copies of pending signals, of the thread or (flag 1) of the process; returns how many.
fn peek_siginfo(task: &CurrentTask, target: &Arc<Task>, args: UserAddr, to: UserAddr) -> Result<u64, Errno> {
    const SHARED: u32 = 1;
    let mut raw = [0; 16];
    task.copy_in(args, &mut raw)?;
    let (offset, flags) = (u64::get(&raw), u32::get(&raw[8..]));
    let count = usize::try_from(i32::get(&raw[12..])).map_err(|_| Errno::EINVAL)?;
    if flags & !SHARED != 0 {
        return Err(Errno::EINVAL);
    }
    let Ok(offset) = usize::try_from(offset) else {
        return Ok(0);
    };
    let pending = if flags & SHARED != 0 {
        target.group.signals.lock().pending.clone()
    } else {
        target.signals.lock().pending.clone()
    };
    let wanted = pending.iter().skip(offset).take(count);
    let bytes: Vec<u8> = wanted.flat_map(to_bytes).collect();
    task.copy_out(to, &bytes)?;
    Ok((bytes.len() / SIGINFO_BYTES) as u64)
}

/// PTRACE_SECCOMP_GET_FILTER: a filter's program, the oldest being number 0; returns its length. `ENOENT` after the last.
fn seccomp_filter(task: &CurrentTask, target: &Task, number: u64, to: UserAddr) -> Result<u64, Errno> {
    if !task.cred().has(Caps::SYS_ADMIN) || task.filtered() {
        return Err(Errno::EACCES);
    }
    let filters = target.seccomp.lock().clone().ok_or(Errno::EINVAL)?;
    if filters.mode() != 2 {
        return Err(Errno::EINVAL);
    }
    let program = filters.program(number).ok_or(Errno::ENOENT)?;
    let bytes = |one: &Instruction| {
        let mut raw = [0; 8];
        one.code.put(&mut raw);
        (raw[2], raw[3]) = (one.jt, one.jf);
        one.k.put(&mut raw[4..]);
        raw
    };
    if !to.is_null() {
        let bytes: Vec<u8> = program.iter().flat_map(bytes).collect();
        task.copy_out(to, &bytes)?;
    }
    Ok(program.len() as u64)
}

fn trace_me(task: &CurrentTask) -> Result<u64, Errno> {
    let mut table = task.kernel.pids.write();
    let parent = table.group(task.tgid()).map_or(0, |entry| entry.parent);
    if parent == 0 {
        return Err(Errno::EPERM);
    }
    // As in Linux, what counts is what the traced process may: its parent did not ask.
    let capable = task.cred().has_own(Caps::SYS_PTRACE);
    task.start_trace(&mut table, Trace::starting(parent, false, 0, capable))
        .map(|()| 0)
}

fn attach(task: &CurrentTask, target: &Arc<Task>, seize: Option<u32>) -> Result<u64, Errno> {
    if target.tgid() == task.tgid() || !task.may_access(target) {
        return Err(Errno::EPERM);
    }
    let capable = task.cred().has_in(&target.cred().user_ns, Caps::SYS_PTRACE);
    let trace = Trace::starting(task.tgid(), seize.is_some(), seize.unwrap_or(0), capable);
    target.start_trace(&mut task.kernel.pids.write(), trace)?;
    if seize.is_none() {
        send_to_task(target, SigInfo::user(SIGSTOP, task.tgid(), task.cred().uid));
    }
    Ok(0)
}

fn interrupt(target: &Arc<Task>) -> Result<u64, Errno> {
    let mut slot = target.trace.lock();
    let trace = slot.as_mut().filter(|trace| trace.seized).ok_or(Errno::EIO)?;
    if trace.stop.as_ref().is_none_or(|stop| stop.listening) {
        trace.interrupt = true;
    }
    drop(slot);
    target.notify_signal();
    Ok(0)
}

/// Works on the stop that the tracee sits in. `ESRCH` when it runs.
fn with_stop<T>(target: &Task, work: impl FnOnce(&mut TraceStop) -> Result<T, Errno>) -> Result<T, Errno> {
    let mut slot = target.trace.lock();
    let stop = slot.as_mut().and_then(|trace| trace.stop.as_mut());
    match stop.filter(|stop| stop.resumed.is_none()) {
        Some(stop) => work(stop),
        None => Err(Errno::ESRCH),
    }
}

fn memory_and_control(
    task: &CurrentTask,
    target: &Arc<Task>,
    what: u64,
    addr: u64,
    data: u64,
) -> Result<u64, Errno> {
    let at = UserAddr(data);
    match what {
        request::PEEKTEXT | request::PEEKDATA => {
            let mut word = [0; 8];
            let mm = target.mm().ok_or(Errno::ESRCH)?;
            mm.read(UserAddr(addr), &mut word).map_err(|_| Errno::EIO)?;
            task.copy_out(at, &word).map(|()| 0)
        }
        request::POKETEXT | request::POKEDATA => {
            let mm = target.mm().ok_or(Errno::ESRCH)?;
            match mm.space.write_force(UserAddr(addr), &data.to_le_bytes()) {
                Ok(8) => Ok(0),
                _ => Err(Errno::EIO),
            }
        }
        request::SETOPTIONS => {
            let options = u32::try_from(data)
                .ok()
                .filter(|options| options & !options::ALL == 0);
            let options = options.ok_or(Errno::EINVAL)?;
            if let Some(trace) = target.trace.lock().as_mut() {
                trace.options = options;
            }
            Ok(0)
        }
        request::GETEVENTMSG => {
            let message = target.trace.lock().as_ref().map_or(0, |trace| trace.message);
            task.write_struct(at, &message).map(|()| 0)
        }
        request::PEEKSIGINFO => peek_siginfo(task, target, UserAddr(addr), at),
        request::SECCOMP_GET_FILTER => seccomp_filter(task, target, addr, at),
        request::CONT => resume(target, Resume::Run, data),
        request::SYSCALL => resume(target, Resume::ToSyscall, data),
        request::SINGLESTEP => resume(target, Resume::Step, data),
        request::LISTEN => listen(target),
        request::DETACH => {
            let signal = u32::try_from(data)
                .ok()
                .filter(|signal| *signal <= 64)
                .ok_or(Errno::EIO)?;
            target.end_trace(&mut task.kernel.pids.write(), signal);
            Ok(0)
        }
        request::GETSIGMASK if addr != 8 => Err(Errno::EINVAL),
        request::GETSIGMASK => {
            let mask = target.signals.lock().blocked;
            task.write_struct(at, &mask.0).map(|()| 0)
        }
        request::SETSIGMASK if addr != 8 => Err(Errno::EINVAL),
        request::SETSIGMASK => {
            let mask = SigSet(task.read_struct(at)?);
            target.signals.lock().blocked = mask.without(UNBLOCKABLE);
            Ok(0)
        }
        request::GETSIGINFO => {
            let info = with_stop(target, |stop| {
                // A group stop has no siginfo; that is how tracers tell it apart.
                if stop.kind == StopKind::Group {
                    Err(Errno::EINVAL)
                } else {
                    Ok(stop.info)
                }
            })?;
            task.copy_out(at, &to_bytes(&info)).map(|()| 0)
        }
        request::SETSIGINFO => {
            let mut bytes = [0; SIGINFO_BYTES];
            task.copy_in(at, &mut bytes)?;
            *target.trace_info.lock() = Some(from_bytes(&bytes));
            Ok(0)
        }
        request::GET_SYSCALL_INFO => syscall_info(task, target, addr, at),
        _ => registers(task, target, what, addr, data),
    }
}

fn resume(target: &Arc<Task>, how: Resume, signal: u64) -> Result<u64, Errno> {
    let signal = u32::try_from(signal)
        .ok()
        .filter(|signal| *signal <= 64)
        .ok_or(Errno::EIO)?;
    {
        let mut slot = target.trace.lock();
        let trace = slot.as_mut().ok_or(Errno::ESRCH)?;
        trace.resume = how;
        if let Some(stop) = trace.stop.as_mut() {
            stop.resumed = Some(signal);
        }
    }
    target.waiter.notify();
    Ok(0)
}

fn listen(target: &Arc<Task>) -> Result<u64, Errno> {
    {
        let mut slot = target.trace.lock();
        let trace = slot.as_mut().filter(|trace| trace.seized).ok_or(Errno::EIO)?;
        let stop = trace.stop.as_mut().ok_or(Errno::ESRCH)?;
        if stop.code >> 8 != crate::task::ptrace::event::STOP {
            return Err(Errno::EIO);
        }
        stop.listening = true;
    }
    target.waiter.notify();
    Ok(0)
}

/// PTRACE_GET_SYSCALL_INFO: `struct ptrace_syscall_info`, cut to `size` bytes; returns its full size.
fn syscall_info(task: &CurrentTask, target: &Task, size: u64, at: UserAddr) -> Result<u64, Errno> {
    const AUDIT_ARCH: u32 = 0xc000_003e;
    let (kind, code, regs) = with_stop(target, |stop| Ok((stop.kind, stop.code, stop.regs)))?;
    let mut bytes = vec![0; 24];
    AUDIT_ARCH.put(&mut bytes[4..]);
    regs.rip.put(&mut bytes[8..]);
    regs.rsp.put(&mut bytes[16..]);
    match kind {
        StopKind::SyscallEntry => {
            bytes[0] = 1;
            bytes.extend_from_slice(&regs.orig_rax.to_le_bytes());
            for arg in regs.syscall_args() {
                bytes.extend_from_slice(&arg.to_le_bytes());
            }
        }
        StopKind::SyscallExit => {
            bytes[0] = 2;
            bytes.extend_from_slice(&regs.rax.to_le_bytes());
            bytes.push(u8::from((-4095..0).contains(&(regs.rax as i64))));
        }
        _ => debug_assert!(code & 0xff != SIGTRAP as i32 | 0x80),
    }
    let take = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
    task.copy_out(at, bytes.get(..take).unwrap_or_default())?;
    Ok(bytes.len() as u64)
}

/// Requests that read or change registers.
fn registers(task: &CurrentTask, target: &Task, what: u64, addr: u64, data: u64) -> Result<u64, Errno> {
    let at = UserAddr(data);
    match what {
        request::PEEKUSER => {
            let slot = user_slot(addr)?;
            let bytes = with_stop(target, |stop| Ok(bytes_of(&stop.regs)))?;
            let word = slot.and_then(|slot| bytes.get(slot..)).map_or(0, u64::get);
            task.write_struct(at, &word).map(|()| 0)
        }
        request::POKEUSER => {
            let slot = user_slot(addr)?;
            with_stop(target, |stop| {
                let mut bytes = bytes_of(&stop.regs);
                if let Some(place) = slot.and_then(|slot| bytes.get_mut(slot..)) {
                    data.put(place);
                    set_registers(task, stop, &bytes)?;
                }
                Ok(0)
            })
        }
        request::GETREGS => {
            let bytes = with_stop(target, |stop| Ok(bytes_of(&stop.regs)))?;
            task.copy_out(at, &bytes).map(|()| 0)
        }
        request::SETREGS => {
            let mut bytes = vec![0; Registers::SIZE];
            task.copy_in(at, &mut bytes)?;
            with_stop(target, |stop| set_registers(task, stop, &bytes).map(|()| 0))
        }
        request::GETFPREGS => {
            let bytes = with_stop(target, |stop| Ok(state_bytes(task, &stop.xstate)))?;
            task.copy_out(at, bytes.get(..FXSAVE).unwrap_or_default())
                .map(|()| 0)
        }
        request::SETFPREGS => {
            let mut bytes = vec![0; FXSAVE];
            task.copy_in(at, &mut bytes)?;
            with_stop(target, |stop| set_state(task, stop, &bytes).map(|()| 0))
        }
        request::GETREGSET | request::SETREGSET => regset(task, target, what == request::SETREGSET, addr, at),
        _ => Err(Errno::EIO),
    }
}

/// PTRACE_GETREGSET and SETREGSET through the iovec at `vector`.
fn regset(task: &CurrentTask, target: &Task, set: bool, note: u64, vector: UserAddr) -> Result<u64, Errno> {
    let [base, len]: [u64; 2] = task.read_struct(vector)?;
    let full = with_stop(target, |stop| match note {
        NT_PRSTATUS => Ok(bytes_of(&stop.regs)),
        NT_PRFPREG => {
            let mut bytes = state_bytes(task, &stop.xstate);
            bytes.truncate(FXSAVE);
            Ok(bytes)
        }
        NT_X86_XSTATE => Ok(state_bytes(task, &stop.xstate)),
        _ => Err(Errno::EINVAL),
    })?;
    let take = usize::try_from(len).unwrap_or(usize::MAX).min(full.len());
    if set {
        let mut bytes = full;
        task.copy_in(UserAddr(base), bytes.get_mut(..take).unwrap_or_default())?;
        with_stop(target, |stop| match note {
            NT_PRSTATUS => set_registers(task, stop, &bytes),
            _ => set_state(task, stop, &bytes),
        })?;
    } else {
        task.copy_out(UserAddr(base), full.get(..take).unwrap_or_default())?;
    }
    task.write_struct(vector, &[base, take as u64]).map(|()| 0)
}

fn bytes_of(regs: &Registers) -> Vec<u8> {
    let mut bytes = vec![0; Registers::SIZE];
    regs.put(&mut bytes);
    bytes
}

/// A word of `struct user`: where it lies in the registers; `None` for words that read as 0. `EIO` outside or unaligned.
fn user_slot(addr: u64) -> Result<Option<usize>, Errno> {
    if !addr.is_multiple_of(8) || addr >= USER_BYTES {
        return Err(Errno::EIO);
    }
    Ok(usize::try_from(addr).ok().filter(|slot| *slot < Registers::SIZE))
}

/// Takes new registers over; segments and protected flags stay. `EIO` for segment bases outside user space.
fn set_registers(task: &CurrentTask, stop: &mut TraceStop, bytes: &[u8]) -> Result<(), Errno> {
    let new = Registers::get(bytes);
    let end = task.kernel.platform.user_range().end.0;
    if new.fs_base >= end || new.gs_base >= end {
        return Err(Errno::EIO);
    }
    let old = stop.regs;
    stop.regs = Registers {
        eflags: (old.eflags & !FLAG_MASK) | (new.eflags & FLAG_MASK),
        cs: old.cs,
        ss: old.ss,
        ds: old.ds,
        es: old.es,
        fs: old.fs,
        gs: old.gs,
        ..new
    };
    stop.changed = true;
    Ok(())
}

/// The extended state in full length, with the initial state spelled out.
fn state_bytes(task: &CurrentTask, state: &XState) -> Vec<u8> {
    let (size, features) = task.kernel.platform.xstate_layout();
    let mut bytes = state.0.clone();
    if bytes.is_empty() {
        bytes.resize(FXSAVE, 0);
        0x37f_u16.put(&mut bytes);
        0x1f80_u32.put(&mut bytes[24..]);
    }
    bytes.resize(size.max(FXSAVE + 64), 0);
    // Where debuggers find the feature mask (the software bytes).
    features.put(&mut bytes[464..]);
    bytes
}

fn set_state(task: &CurrentTask, stop: &mut TraceStop, bytes: &[u8]) -> Result<(), Errno> {
    let (_, features) = task.kernel.platform.xstate_layout();
    let mut full = state_bytes(task, &stop.xstate);
    let take = bytes.len().min(full.len());
    full[..take].copy_from_slice(&bytes[..take]);
    let present = u64::get(&full[FXSAVE..]) | 3;
    let reserved = full[FXSAVE + 8..FXSAVE + 64].iter().any(|byte| *byte != 0);
    if present & !features != 0 || reserved || u32::get(&full[24..]) & !0xffff != 0 {
        return Err(Errno::EINVAL);
    }
    present.put(&mut full[FXSAVE..]);
    full[464..512].fill(0);
    stop.xstate = XState(full);
    stop.changed = true;
    Ok(())
}
