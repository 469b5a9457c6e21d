//! Guests for tests: snippets of machine code placed in guest memory, and what a kernel would do with them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use abi::UserAddr;
use platform::{AddressSpace, Context, Event, MapFlags, MapOp, MapSource, Platform, Prot, Registers, XState};
use systrap::Systrap;

/// Where code, data and stacks go.
pub const CODE: u64 = 0x40_0000;
pub const DATA: u64 = 0x80_0000;
pub const DATA_LEN: u64 = 0x10_0000;
pub const STACK: u64 = 0x100_0000;
pub const STACK_LEN: u64 = 0x10_0000;
/// Where the vDSO goes, and behind it the trampolines: near the code, so that its sites are within reach.
pub const VDSO: u64 = 0x2000_0000;

/// Defines a function that returns the bytes of a snippet of assembly.
#[macro_export]
macro_rules! snippet {
    ($name:ident, $($line:literal),+ $(,)?) => {
        std::arch::global_asm!(
            concat!(".pushsection .rodata.", stringify!($name), ",\"a\""),
            concat!("snippet_", stringify!($name), "_start:"),
            $($line,)+
            concat!("snippet_", stringify!($name), "_end:"),
            ".popsection"
        );
        fn $name() -> &'static [u8] {
            unsafe extern "C" {
                #[link_name = concat!("snippet_", stringify!($name), "_start")]
                static START: u8;
                #[link_name = concat!("snippet_", stringify!($name), "_end")]
                static END: u8;
            }
            // SAFETY: both symbols delimit bytes in this program's read-only data.
            unsafe {
                let len = (&raw const END).offset_from(&raw const START) as usize;
                std::slice::from_raw_parts(&raw const START, len)
            }
        }
    };
}

pub fn map(addr: u64, len: u64, prot: Prot) -> MapOp {
    MapOp::Map {
        addr: UserAddr(addr),
        len,
        prot,
        flags: MapFlags::empty(),
        source: MapSource::Anonymous,
    }
}

/// An address space with `code` at [`CODE`] and writable data and stack.
pub fn space(engine: &Systrap, code: &[u8]) -> Arc<dyn AddressSpace> {
    let space = engine.new_address_space().expect("address space");
    load(&*space, code);
    space
}

pub fn load(space: &dyn AddressSpace, code: &[u8]) {
    let rw = Prot::READ | Prot::WRITE;
    space
        .apply(&[
            map(CODE, 0x1_0000, Prot::READ | Prot::EXEC),
            map(DATA, DATA_LEN, rw),
            map(STACK, STACK_LEN, rw),
        ])
        .expect("maps");
    assert_eq!(space.write_force(UserAddr(CODE), code), Ok(code.len()));
}

/// Maps the vDSO: only then are sites patched.
pub fn map_vdso(engine: &Systrap, space: &dyn AddressSpace, at: u64) {
    let map = MapOp::Map {
        addr: UserAddr(at),
        len: engine.vdso().expect("vdso").len,
        prot: Prot::READ | Prot::EXEC,
        flags: MapFlags::empty(),
        source: MapSource::Vdso,
    };
    space.apply(&[map]).expect("map");
}

/// An address space as [`space`] makes it, with the vDSO.
pub fn patchable(engine: &Systrap, code: &[u8]) -> Arc<dyn AddressSpace> {
    let space = space(engine, code);
    map_vdso(engine, &*space, VDSO);
    space
}

pub fn start_regs() -> Registers {
    Registers {
        rip: CODE,
        rsp: STACK + STACK_LEN,
        rdi: DATA,
        eflags: 0x202,
        cs: 0x33,
        ss: 0x2b,
        ..Registers::default()
    }
}

pub fn thread(space: &dyn AddressSpace) -> Box<dyn Context> {
    space
        .new_context(&start_regs(), &XState::default())
        .expect("context")
}

/// Runs to the next system call and returns its number.
pub fn syscall(context: &mut dyn Context) -> u64 {
    assert_eq!(context.run(), Event::Syscall);
    assert_eq!(context.regs().rax, context.regs().orig_rax);
    context.regs().orig_rax
}

pub fn read_u64(space: &dyn AddressSpace, addr: u64) -> u64 {
    let mut raw = [0; 8];
    assert_eq!(space.read(UserAddr(addr), &mut raw), Ok(8));
    u64::from_le_bytes(raw)
}
