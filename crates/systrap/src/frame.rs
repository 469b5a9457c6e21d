//! The signal frame in a thread area: registers of a stopped guest thread, as the host's kernel laid them out.
//!
//! The stub restores everything from this frame, so changing the frame changes the guest's registers.

use abi::Errno;
use platform::Registers;

use crate::area::Area;
use crate::layout::{area, uc};
use crate::xstate::{self, Layout};

/// Flags of EFLAGS that user code may have (FIX_EFLAGS of Linux, and ID): others are not loaded.
const USER_FLAGS: u64 = 0x25_0dd5;
/// Flags that are always set: IF and the reserved bit.
const FIXED_FLAGS: u64 = 0x202;
/// Selectors of 64-bit user code, in the frame's order cs, gs, fs, ss.
const SEGMENTS: u64 = 0x002b_0000_0000_0033;

/// Where a fresh thread's frame goes: the top of the alternate stack, as the host would put it.
pub fn initial_offset(layout: Layout) -> usize {
    let fpstate = (area::STACK_END - layout.len - 64) & !63;
    (fpstate - uc::LEN) & !15
}

/// Checks a frame address that the guest thread reported; returns its offset in the area.
pub fn check(area: &Area, address: u64) -> Option<usize> {
    let offset = usize::try_from(address.checked_sub(area.address())?).ok()?;
    if offset == area::FAST {
        return Some(offset);
    }
    // Below the frame the stub needs room for what it pushes.
    let fits = (area::STACK + 256..=area::STACK_END - uc::LEN).contains(&offset);
    (fits && offset.is_multiple_of(8)).then_some(offset)
}

/// Reads the registers.
pub fn read(area: &Area, at: usize) -> Registers {
    let get = |offset| area.get(at + offset);
    Registers {
        r8: get(uc::R8),
        r9: get(uc::R8 + 8),
        r10: get(uc::R8 + 16),
        r11: get(uc::R8 + 24),
        r12: get(uc::R8 + 32),
        r13: get(uc::R8 + 40),
        r14: get(uc::R8 + 48),
        r15: get(uc::R8 + 56),
        rdi: get(uc::RDI),
        rsi: get(uc::RSI),
        rbp: get(uc::RBP),
        rbx: get(uc::RBX),
        rdx: get(uc::RDX),
        rax: get(uc::RAX),
        rcx: get(uc::RCX),
        rsp: get(uc::RSP),
        rip: get(uc::RIP),
        eflags: get(uc::EFLAGS),
        cs: get(uc::SEGMENTS) & 0xffff,
        ss: get(uc::SEGMENTS) >> 48,
        fs_base: area.get(area::FS_BASE),
        gs_base: area.get(area::GS_BASE),
        orig_rax: u64::MAX,
        ds: 0,
        es: 0,
        fs: 0,
        gs: 0,
    }
}

/// Writes the registers, flags and selectors made harmless. The segment bases are the caller's business.
pub fn write(area: &Area, at: usize, r: &Registers) {
    let words = [
        (uc::R8, r.r8),
        (uc::R8 + 8, r.r9),
        (uc::R8 + 16, r.r10),
        (uc::R8 + 24, r.r11),
        (uc::R8 + 32, r.r12),
        (uc::R8 + 40, r.r13),
        (uc::R8 + 48, r.r14),
        (uc::R8 + 56, r.r15),
        (uc::RDI, r.rdi),
        (uc::RSI, r.rsi),
        (uc::RBP, r.rbp),
        (uc::RBX, r.rbx),
        (uc::RDX, r.rdx),
        (uc::RAX, r.rax),
        (uc::RCX, r.rcx),
        (uc::RSP, r.rsp),
        (uc::RIP, r.rip),
        (uc::EFLAGS, r.eflags & USER_FLAGS | FIXED_FLAGS),
        (uc::SEGMENTS, SEGMENTS),
    ];
    for (offset, value) in words {
        area.set(at + offset, value);
    }
}

/// Flags that `syscall` does not leave to the program that made it: with them, a call is not left the simple way.
const ODD_FLAGS: u64 = 0x4_4500;

/// Whether a call that came through a patched site may be left as it came: registers but rax untouched.
pub fn is_simple(r: &Registers) -> bool {
    r.eflags & ODD_FLAGS == 0
}

/// Makes the frame of a thread that has not run yet.
pub fn create(area: &Area, at: usize, layout: Layout) {
    let fpstate = (area::STACK_END - layout.len - 64) & !63;
    area.set(at + uc::FPSTATE, area.address() + fpstate as u64);
    area.copy_in(fpstate, &xstate::initial(layout));
    area.set(
        area::FAST + uc::FPSTATE,
        area.address() + area::FAST_XSTATE as u64,
    );
}

fn fpstate(area: &Area, at: usize, layout: Layout) -> Result<usize, Errno> {
    if at == area::FAST {
        return Ok(area::FAST_XSTATE);
    }
    let address = area.get(at + uc::FPSTATE);
    let offset = address.checked_sub(area.address()).ok_or(Errno::ESRCH)?;
    let offset = usize::try_from(offset).map_err(|_| Errno::ESRCH)?;
    let fits = offset >= area::STACK && offset <= area::STACK_END - layout.len && offset.is_multiple_of(64);
    fits.then_some(offset).ok_or(Errno::ESRCH)
}

/// Reads the extended state; `ESRCH` when the guest has destroyed its frame.
pub fn read_xstate(area: &Area, at: usize, layout: Layout) -> Result<Vec<u8>, Errno> {
    let from = fpstate(area, at, layout)?;
    let mut image = vec![0; layout.len];
    area.copy_out(from, &mut image);
    image[xstate::SOFTWARE].fill(0);
    image[xstate::XSTATE_BV + 8..xstate::MIN_LEN].fill(0);
    Ok(image)
}

/// Writes the extended state; see [`xstate::checked`].
pub fn write_xstate(area: &Area, at: usize, layout: Layout, image: &[u8]) -> Result<(), Errno> {
    let image = xstate::checked(layout, image)?;
    let to = fpstate(area, at, layout)?;
    area.copy_in(to, &image);
    Ok(())
}
