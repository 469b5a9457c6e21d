//! Signal frames: what a handler finds on its stack, and rt_sigreturn(2). The layout is that of x86-64 Linux
//! (arch/x86/kernel/signal_64.c, fpu/signal.c): `struct rt_sigframe` below an XSAVE area.

use abi::signal::*;
use abi::{AbiField, Errno, UserAddr, abi_struct};
use platform::{Registers, XState};

use super::altstack::{StackT, within};
use super::{SIGINFO_BYTES, SigAction, SigInfo, SigSet, force_signal, to_bytes};
use crate::task::CurrentTask;

abi_struct! {
    /// `struct sigcontext`.
    struct SigContext {
        r8: u64, r9: u64, r10: u64, r11: u64, r12: u64, r13: u64, r14: u64, r15: u64,
        rdi: u64, rsi: u64, rbp: u64, rbx: u64, rdx: u64, rax: u64, rcx: u64, rsp: u64, rip: u64, eflags: u64,
        cs: u16, gs: u16, fs: u16, ss: u16,
        err: u64, trapno: u64, oldmask: u64, cr2: u64, fpstate: UserAddr, reserved: [u64; 8],
    }
}

abi_struct! {
    /// `struct ucontext`.
    struct UContext { flags: u64, link: u64, stack: StackT, mcontext: SigContext, sigmask: u64 }
}

/// Bytes of `struct rt_sigframe`: return address, ucontext, siginfo.
const FRAME: usize = 8 + UContext::SIZE + SIGINFO_BYTES;
/// Bytes below the stack pointer that a leaf function may use.
const RED_ZONE: u64 = 128;
/// UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS.
const UC_FLAGS: u64 = 1 | 2 | 4;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Bytes of the legacy (FXSAVE) area and of that plus the XSAVE header.
const LEGACY: usize = 512;
const LEGACY_AND_HEADER: usize = LEGACY + 64;
/// Where `struct _fpx_sw_bytes` lies in the legacy area.
const SW_BYTES: usize = 464;
/// CF PF AF ZF SF TF DF OF RF AC: the flags a guest may set by sigreturn (FIX_EFLAGS).
const USER_FLAGS: u64 = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
/// Trap number of a page fault.
const PAGE_FAULT: u64 = 14;
const TF: u64 = 0x100;
const DF: u64 = 0x400;
const RF: u64 = 0x1_0000;
/// Segments of 64-bit user code and data.
const USER_CS: u16 = 0x33;
const USER_SS: u16 = 0x2b;

/// Makes the frame of `info`'s handler and points the registers at the handler. `restart`: the interrupted call's
/// restart error, resolved here by the handler's SA_RESTART. Any error: the stack cannot take the frame.
pub(super) fn push(
    task: &CurrentTask,
    info: &SigInfo,
    action: &SigAction,
    restart: Option<Errno>,
) -> Result<(), Errno> {
    if action.flags & SA_RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let mut regs = *task.context.borrow().regs();
    if let Some(errno) = restart {
        interrupted_call(&mut regs, action, errno);
    }
    let xstate = frame_xstate(task)?;
    let (mask, report, altstack) = {
        let own = task.signals.lock();
        let mask = own.saved_mask.unwrap_or(own.blocked);
        (mask, own.altstack_report(regs.rsp), own.altstack)
    };
    let (frame, fpstate) = place(task, &regs, action, xstate.len())?;
    let context = UContext {
        flags: UC_FLAGS,
        link: 0,
        stack: StackT {
            flags: altstack.2,
            ..report
        },
        mcontext: sigcontext(&regs, info, mask, fpstate),
        sigmask: mask.0,
    };
    let mut bytes = [0; FRAME];
    action.restorer.put(&mut bytes);
    context.put(&mut bytes[8..]);
    bytes[8 + UContext::SIZE..].copy_from_slice(&to_bytes(info));
    task.copy_out(fpstate, &xstate)?;
    task.copy_out(frame, &bytes)?;
    enter(task, regs, info, action, frame);
    Ok(())
}

/// The result that the interrupted call shows under this handler.
fn interrupted_call(regs: &mut Registers, action: &SigAction, errno: Errno) {
    let again =
        errno == Errno::ERESTARTNOINTR || (errno == Errno::ERESTARTSYS && action.flags & SA_RESTART != 0);
    if again {
        regs.rax = regs.orig_rax;
        // The syscall instruction has two bytes.
        regs.rip = regs.rip.wrapping_sub(2);
    } else {
        regs.rax = (-i64::from(Errno::EINTR.raw())) as u64;
    }
}

/// The extended state as the frame shows it: XSAVE area with the software bytes filled in, then MAGIC2.
fn frame_xstate(task: &CurrentTask) -> Result<Vec<u8>, Errno> {
    let (size, features) = task.kernel.platform.xstate_layout();
    let size = size.max(LEGACY_AND_HEADER);
    let mut bytes = task.context.borrow_mut().xstate()?.0;
    if bytes.is_empty() {
        bytes.resize(size, 0);
        // The initial state: FCW and MXCSR with its mask.
        0x37f_u16.put(&mut bytes);
        0x1f80_u32.put(&mut bytes[24..]);
        0xffff_u32.put(&mut bytes[28..]);
    }
    bytes.resize(size, 0);
    let size32 = u32::try_from(size).map_err(|_| Errno::EFAULT)?;
    bytes[SW_BYTES..LEGACY].fill(0);
    FP_XSTATE_MAGIC1.put(&mut bytes[SW_BYTES..]);
    (size32 + 4).put(&mut bytes[SW_BYTES + 4..]);
    features.put(&mut bytes[SW_BYTES + 8..]);
    size32.put(&mut bytes[SW_BYTES + 16..]);
    bytes.extend_from_slice(&FP_XSTATE_MAGIC2.to_le_bytes());
    Ok(bytes)
}

/// Where frame and extended state go (Linux's get_sigframe). `EFAULT` when the alternate stack would overflow.
fn place(
    task: &CurrentTask,
    regs: &Registers,
    action: &SigAction,
    xstate: usize,
) -> Result<(UserAddr, UserAddr), Errno> {
    let own = task.signals.lock();
    let (start, size, _) = own.altstack;
    let nested = own.on_altstack(regs.rsp);
    let mut sp = regs.rsp.wrapping_sub(RED_ZONE);
    let mut entering = false;
    if action.flags & SA_ONSTACK != 0 && own.altstack_flags(regs.rsp) == 0 {
        sp = start.0.wrapping_add(size);
        entering = true;
    }
    drop(own);
    let fpstate = sp.wrapping_sub(xstate as u64) & !63;
    let frame = (fpstate.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
    if (nested || entering) && !within(frame, start.0, size) {
        return Err(Errno::EFAULT);
    }
    if frame > fpstate {
        return Err(Errno::EFAULT);
    }
    Ok((UserAddr(frame), UserAddr(fpstate)))
}

fn sigcontext(regs: &Registers, info: &SigInfo, mask: SigSet, fpstate: UserAddr) -> SigContext {
    SigContext {
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        rdi: regs.rdi,
        rsi: regs.rsi,
        rbp: regs.rbp,
        rbx: regs.rbx,
        rdx: regs.rdx,
        rax: regs.rax,
        rcx: regs.rcx,
        rsp: regs.rsp,
        rip: regs.rip,
        eflags: regs.eflags,
        cs: USER_CS,
        gs: 0,
        fs: 0,
        ss: USER_SS,
        err: info.trap.1,
        trapno: info.trap.0,
        oldmask: mask.0,
        cr2: if info.trap.0 == PAGE_FAULT { info.addr.0 } else { 0 },
        fpstate,
        reserved: [0; 8],
    }
}

/// Sets registers, extended state, mask and alternate stack for the handler.
fn enter(task: &CurrentTask, mut regs: Registers, info: &SigInfo, action: &SigAction, frame: UserAddr) {
    regs.rdi = u64::from(info.signal);
    regs.rax = 0;
    regs.rsi = frame.0 + 8 + UContext::SIZE as u64;
    regs.rdx = frame.0 + 8;
    regs.rip = action.handler;
    regs.rsp = frame.0;
    regs.eflags &= !(DF | RF | TF);
    regs.orig_rax = u64::MAX;
    {
        let mut context = task.context.borrow_mut();
        *context.regs_mut() = regs;
        // The handler starts with the initial state; a refusal would leave the interrupted one, which is the guest's own.
        let _ = context.set_xstate(&XState::default());
    }
    let mut blocked = {
        let mut own = task.signals.lock();
        own.saved_mask = None;
        if own.altstack.2 & SS_AUTODISARM != 0 {
            own.altstack = (UserAddr::NULL, 0, SS_DISABLE);
        }
        own.blocked.union(action.mask)
    };
    task.temporary_mask.set(false);
    if action.flags & SA_NODEFER == 0 {
        blocked = blocked.union(SigSet::of(info.signal));
    }
    task.set_signal_mask(blocked);
}

/// rt_sigreturn(2): takes everything back from the frame at the stack pointer. Always `EJUSTRETURN`; a bad frame is SIGSEGV.
pub fn sigreturn(task: &CurrentTask) -> Result<u64, Errno> {
    if restore(task).is_err() {
        force_signal(task, SigInfo::kernel(SIGSEGV));
    }
    Err(Errno::EJUSTRETURN)
}

fn restore(task: &CurrentTask) -> Result<(), Errno> {
    let mut regs = *task.context.borrow().regs();
    // The handler's return popped the return address.
    let context: UContext = task.read_struct(UserAddr(regs.rsp))?;
    let xstate = read_xstate(task, context.mcontext.fpstate)?;
    let saved = &context.mcontext;
    let range = task.kernel.platform.user_range();
    if saved.rip >= range.end.0 || saved.cs | 3 != USER_CS {
        return Err(Errno::EFAULT);
    }
    copy_registers(&mut regs, saved);
    {
        let mut guest = task.context.borrow_mut();
        guest.set_xstate(&xstate)?;
        *guest.regs_mut() = regs;
    }
    task.set_signal_mask(SigSet(context.sigmask));
    // As in Linux, a stack that cannot be set is left as it is.
    let _ = task.signals.lock().set_altstack(&context.stack, regs.rsp);
    Ok(())
}

fn copy_registers(regs: &mut Registers, saved: &SigContext) {
    regs.r8 = saved.r8;
    regs.r9 = saved.r9;
    regs.r10 = saved.r10;
    regs.r11 = saved.r11;
    regs.r12 = saved.r12;
    regs.r13 = saved.r13;
    regs.r14 = saved.r14;
    regs.r15 = saved.r15;
    regs.rdi = saved.rdi;
    regs.rsi = saved.rsi;
    regs.rbp = saved.rbp;
    regs.rbx = saved.rbx;
    regs.rdx = saved.rdx;
    regs.rax = saved.rax;
    regs.rcx = saved.rcx;
    regs.rsp = saved.rsp;
    regs.rip = saved.rip;
    regs.eflags = (regs.eflags & !USER_FLAGS) | (saved.eflags & USER_FLAGS);
    regs.orig_rax = u64::MAX;
}

/// Reads and checks the frame's extended state. No pointer: the initial state. Without valid magic: the legacy part only.
fn read_xstate(task: &CurrentTask, at: UserAddr) -> Result<XState, Errno> {
    if at.is_null() {
        return Ok(XState::default());
    }
    let (size, features) = task.kernel.platform.xstate_layout();
    let size = size.max(LEGACY_AND_HEADER);
    let mut bytes = vec![0; size];
    task.copy_in(at, &mut bytes[..LEGACY])?;
    let magic = u32::get(&bytes[SW_BYTES..]);
    let extended = u32::get(&bytes[SW_BYTES + 4..]) as usize;
    let wanted = u64::get(&bytes[SW_BYTES + 8..]);
    let given = u32::get(&bytes[SW_BYTES + 16..]) as usize;
    let plausible =
        magic == FP_XSTATE_MAGIC1 && given >= LEGACY_AND_HEADER && given <= size && given <= extended;
    let whole = plausible && {
        let end: u32 = task.read_struct(at.add(given as u64)?)?;
        end == FP_XSTATE_MAGIC2
    };
    if whole {
        task.copy_in(at.add(LEGACY as u64)?, &mut bytes[LEGACY..given])?;
        let present = u64::get(&bytes[LEGACY..]);
        // XRSTOR faults for these 16 bytes and ignores those after them.
        let rest_zero = bytes[LEGACY + 8..LEGACY + 24].iter().all(|byte| *byte == 0);
        bytes[LEGACY + 24..LEGACY_AND_HEADER].fill(0);
        if present & !features != 0 || !rest_zero {
            return Err(Errno::EINVAL);
        }
        (present & wanted).put(&mut bytes[LEGACY..]);
    } else {
        // FP and SSE.
        3_u64.put(&mut bytes[LEGACY..]);
    }
    // Reserved MXCSR bits fault.
    if u32::get(&bytes[24..]) & !0xffff != 0 {
        return Err(Errno::EINVAL);
    }
    bytes[SW_BYTES..LEGACY].fill(0);
    Ok(XState(bytes))
}
