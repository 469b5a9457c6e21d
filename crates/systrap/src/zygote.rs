//! Making the zygote: a process that holds nothing but the stub, from which all guest processes are forked.

use std::arch::asm;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use abi::Errno;
use host::mem::Shared;
use host::process;

use crate::channel::Channel;
use crate::engine::Engine;
use crate::layout::{STUB_ADDR, STUB_LEN};
use crate::patch::Patches;
use crate::process::Process;
use crate::regions::Regions;
use crate::stub::Stub;

/// Where to put the copy of the stub that the zygote starts in: far from its final place.
const BOUNCE_HINT: u64 = 0x1000_0000_0000;
/// CLONE_VM | CLONE_VFORK | CLONE_FILES, no exit signal.
const INTERMEDIATE_FLAGS: u64 = 0x4500;
/// CLONE_PARENT | CLONE_FILES.
const ZYGOTE_FLAGS: u64 = 0x8400;

/// Makes the zygote and waits until its helper answers.
pub fn spawn(engine: Arc<Engine>) -> Result<Arc<Process>, Errno> {
    let stub = Stub::build()?;
    let channel = Channel::new()?;
    let bounce = Shared::map_code(&stub.file, BOUNCE_HINT, STUB_LEN)?;
    if bounce.start() as u64 + STUB_LEN as u64 >= STUB_ADDR {
        return Err(Errno::ENOMEM);
    }
    let signals = process::BlockedSignals::new();
    // SAFETY: the stub file is mapped at `bounce` and both descriptors are open.
    let pid = unsafe {
        clone_zygote(
            bounce.start() as u64,
            stub.zygote,
            stub.file.as_raw_fd(),
            channel.number() as i32,
        )
    };
    drop(signals);
    let process = Process::adopt(pid?, channel, engine, Regions::default(), Patches::default())?;
    process.await_start()?;
    Ok(process)
}

/// Forks through an intermediate that shares our memory: by that the zygote inherits no rseq registration, and,
/// made with CLONE_PARENT from a process without an exit signal, neither it nor its forks send SIGCHLD.
///
/// # Safety
/// `bounce` must be a mapping of the stub, and the descriptors those of the stub's and a channel's file.
unsafe fn clone_zygote(bounce: u64, entry: u64, stub_fd: i32, channel_fd: i32) -> Result<i32, Errno> {
    let mut zygote: i64 = 0;
    let intermediate: i64;
    // SAFETY: the intermediate runs while this thread is suspended, writes only `zygote`, uses no stack and exits.
    // The zygote runs on its own copy of memory, jumps into the stub and never comes back.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 3f",
            "mov eax, 56",
            "mov rdi, {flags}",
            "xor esi, esi",
            "xor edx, edx",
            "xor r10d, r10d",
            "xor r8d, r8d",
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "jmp r15",
            "2:",
            "mov [r9], rax",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "ud2",
            "3:",
            flags = const ZYGOTE_FLAGS,
            inlateout("rax") libc::SYS_clone => intermediate,
            inlateout("rdi") INTERMEDIATE_FLAGS => _,
            inlateout("rsi") 0u64 => _,
            inlateout("rdx") 0u64 => _,
            inlateout("r10") 0u64 => _,
            inlateout("r8") 0u64 => _,
            in("r9") &raw mut zygote,
            in("r12") bounce,
            in("r13") i64::from(stub_fd),
            in("r14") i64::from(channel_fd),
            in("r15") bounce + entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if intermediate < 0 {
        return Err(Errno::from_raw(-intermediate as i32));
    }
    process::wait_pid(intermediate as i32)?;
    if zygote < 0 {
        Err(Errno::from_raw(-zygote as i32))
    } else {
        Ok(zygote as i32)
    }
}
