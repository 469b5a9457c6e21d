//! The vDSO: found like any, and telling the host's time without system calls.

mod support;

use abi::UserAddr;
use platform::{AddressSpace, Event, MapOp, Platform, Prot};
use support::{DATA, map_vdso, read_u64, space, syscall, thread};
use systrap::Systrap;

const VDSO: u64 = 0x20_0000_0000;

// clock_gettime(rbx, rdi) by the function at r12, forever; every call is reported.
snippet!(
    ask,
    "40: mov edi, ebx",
    "mov esi, 0x800000",
    "call r12",
    "mov ebp, eax",
    "mov eax, 1000",
    "syscall",
    "jmp 40b"
);

fn bytes(space: &dyn AddressSpace, at: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    assert_eq!(space.read(UserAddr(at), &mut buf), Ok(len));
    buf
}

/// Looks a function up as a C library does: dynamic section, hash table, names.
fn lookup(space: &dyn AddressSpace, elf: u64, name: &str) -> Option<u64> {
    let headers = bytes(space, elf, 64 + 112);
    assert_eq!(&headers[..4], b"\x7fELF");
    let quad = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().expect("8"));
    let dynamic = elf + quad(&headers, 64 + 56 + 16);
    let mut tags = std::collections::HashMap::new();
    for n in 0.. {
        let tag = read_u64(space, dynamic + 16 * n);
        if tag == 0 {
            break;
        }
        tags.insert(tag, read_u64(space, dynamic + 16 * n + 8));
    }
    let count = read_u64(space, elf + tags[&4]) >> 32;
    for n in 1..count {
        let symbol = bytes(space, elf + tags[&6] + 24 * n, 24);
        let at = u64::from(u32::from_le_bytes(symbol[..4].try_into().expect("4")));
        let text = bytes(space, elf + tags[&5] + at, name.len() + 1);
        if text == [name.as_bytes(), b"\0"].concat() {
            return Some(elf + quad(&symbol, 8));
        }
    }
    None
}

fn host_ns(clock: i32) -> i128 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the timespec is a live, writable reference.
    unsafe { libc::clock_gettime(clock, &mut now) };
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn with_vdso(engine: &Systrap) -> std::sync::Arc<dyn AddressSpace> {
    let space = space(engine, ask());
    map_vdso(engine, &*space, VDSO);
    space
}

#[test]
fn the_clocks_are_the_hosts_and_do_not_go_back() {
    let engine = Systrap::new().expect("engine");
    let space = with_vdso(&engine);
    let elf = VDSO + engine.vdso().expect("vdso").elf_offset;
    let function = lookup(&*space, elf, "__vdso_clock_gettime").expect("function");
    for name in [
        "__vdso_gettimeofday",
        "__vdso_time",
        "__vdso_getcpu",
        "__vdso_clock_getres",
    ] {
        assert!(lookup(&*space, elf, name).is_some(), "{name}");
    }
    let mut context = thread(&*space);
    context.regs_mut().r12 = function;
    let (mut calls, mut direct) = (0, 0);
    let mut last = [0i128; 8];
    for round in 0..30_000 {
        let clock = [0, 1, 7][round % 3];
        context.regs_mut().rbx = clock as u64;
        let before = host_ns(clock);
        let mut event = syscall(&mut *context);
        if event == 228 {
            calls += 1;
            // As the kernel would serve it.
            let now = host_ns(clock);
            let (sec, nsec) = ((now / 1_000_000_000) as u64, (now % 1_000_000_000) as u64);
            let pair = [sec.to_le_bytes(), nsec.to_le_bytes()].concat();
            assert_eq!(space.write(UserAddr(DATA), &pair), Ok(16));
            context.set_return(0);
            event = syscall(&mut *context);
        } else {
            direct += 1;
        }
        let after = host_ns(clock);
        assert_eq!(event, 1000);
        assert_eq!(context.regs().rbp, 0);
        let now =
            i128::from(read_u64(&*space, DATA)) * 1_000_000_000 + i128::from(read_u64(&*space, DATA + 8));
        assert!(now <= after, "ahead by {}", now - after);
        assert!(now >= before - 2_000, "behind by {}", before - now);
        assert!(
            now >= last[clock as usize],
            "back by {}",
            last[clock as usize] - now
        );
        last[clock as usize] = now;
    }
    println!("{calls} system calls, {direct} without");
    let usable = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    if usable.is_ok_and(|name| name.trim() == "tsc") {
        assert!(direct > 20 * calls);
    }
}

#[test]
fn the_clock_page_cannot_be_written() {
    let engine = Systrap::new().expect("engine");
    let space = with_vdso(&engine);
    assert!(space.write(UserAddr(VDSO), &[1]).is_err());
    assert!(space.write_force(UserAddr(VDSO), &[1]).is_err());
    let protect = MapOp::Protect {
        addr: UserAddr(VDSO),
        len: 0x1000,
        prot: Prot::READ | Prot::WRITE,
    };
    assert!(space.apply(&[protect]).is_err());
    // The code can, as a breakpoint, in this address space alone.
    assert_eq!(space.write_force(UserAddr(VDSO + 0x1800), &[0xcc]), Ok(1));
    let other = with_vdso(&engine);
    assert_ne!(bytes(&*other, VDSO + 0x1800, 1), [0xcc]);
}

#[test]
fn unknown_clocks_go_to_the_kernel() {
    let engine = Systrap::new().expect("engine");
    let space = with_vdso(&engine);
    let elf = VDSO + engine.vdso().expect("vdso").elf_offset;
    let function = lookup(&*space, elf, "__vdso_clock_gettime").expect("function");
    let mut context = thread(&*space);
    let regs = context.regs_mut();
    (regs.r12, regs.rbx) = (function, 3);
    assert_eq!(context.run(), Event::Syscall);
    assert_eq!((context.regs().rax, context.regs().rdi), (228, 3));
}
