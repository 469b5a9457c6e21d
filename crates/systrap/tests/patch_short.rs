//! Sites where only the `syscall` itself is replaced, by a short jump to bytes that nobody executes.

mod support;

use std::time::Duration;

use abi::UserAddr;
use platform::{AddressSpace, Event, MapOp, Platform};
use support::{CODE, DATA, VDSO, patchable, read_u64, start_regs, syscall, thread};
use systrap::Systrap;

/// Calls after which a site has been patched.
const WARM: u64 = 60;

// The call's number comes in rbx: a wrapper like syscall(2)'s, filled up with no-ops as compilers do.
snippet!(
    wrapped,
    "90: call 91f",
    "mov [rdi], rax",
    "inc qword ptr [rdi + 8]",
    "jmp 90b",
    ".balign 16, 0xcc",
    "91: mov rax, rbx",
    "syscall",
    "cmp rax, -4096",
    "ja 92f",
    "ret",
    ".byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x0f, 0x1f, 0x44, 0, 0, 0x90",
    "92: neg rax",
    "ret",
    ".balign 16, 0xcc"
);
// Nothing near it is unreachable.
snippet!(
    crowded,
    "93: xor eax, eax",
    "mov ax, 500",
    "syscall",
    "inc qword ptr [rdi + 8]",
    "jmp 93b"
);

/// Where the `syscall` of a snippet is.
fn site(code: &[u8]) -> u64 {
    code.windows(2).position(|w| w == [0x0f, 0x05]).expect("site") as u64
}

fn is_patched(space: &dyn AddressSpace, at: u64) -> bool {
    let mut bytes = [0; 2];
    assert_eq!(space.read(UserAddr(CODE + at), &mut bytes), Ok(2));
    bytes[0] == 0xeb
}

#[test]
fn events_are_the_same_before_and_after() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, wrapped());
    let at = site(wrapped());
    let mut context = thread(&*space);
    context.regs_mut().rbx = 500;
    for round in 0..1000u64 {
        assert_eq!(syscall(&mut *context), context.regs().rbx);
        let regs = *context.regs();
        assert_eq!((regs.rip, regs.rcx), (CODE + at + 2, CODE + at + 2));
        assert_eq!((regs.rdi, regs.gs_base), (DATA, 0));
        assert_eq!(regs.rsp, start_regs().rsp - 8);
        assert_eq!(read_u64(&*space, DATA + 8), round);
        if round > 0 {
            assert_eq!(read_u64(&*space, DATA), round - 1);
        }
        match round % 3 {
            0 => context.set_return(round),
            1 => {
                // Made again, as calls that restart are.
                let regs = context.regs_mut();
                regs.rip -= 2;
                assert_eq!(syscall(&mut *context), context.regs().rbx);
                context.set_return(round);
            }
            _ => {
                context.regs_mut().rax = round;
                context.regs_mut().rbx = [500, 1, u64::MAX, 511, 512][(round % 5) as usize];
            }
        }
    }
    assert!(is_patched(&*space, at));
    assert!(!is_patched(&*space, 0));
}

#[test]
fn what_the_call_points_to_comes_along() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, wrapped());
    let text: Vec<u8> = (0..200).collect();
    assert_eq!(space.write(UserAddr(DATA + 64), &text), Ok(200));
    let mut context = thread(&*space);
    let mut served = 0;
    for n in 0..4 * WARM {
        // write(2), stat(2), openat(2), getpid(2)
        let nr = [1, 4, 257, 39][(n % 4) as usize];
        let regs = context.regs_mut();
        regs.rbx = nr;
        if nr != 4 {
            (regs.rsi, regs.rdx) = (DATA + 64, 200);
        }
        assert_eq!(syscall(&mut *context), nr);
        let at = if nr == 4 { context.regs().rdi } else { DATA + 64 };
        let mut found = vec![0; 64];
        match context.read(UserAddr(at), &mut found) {
            Ok(_) if nr == 4 => assert_eq!(found[8..16], n.to_le_bytes()),
            Ok(_) => {
                assert_eq!(found, text[..64]);
                served += 1;
            }
            Err(error) => assert_eq!(error, abi::Errno::ENOSYS),
        }
        assert!(nr != 39 || found[..] == [0; 64]);
    }
    assert!(served > WARM, "{served}");
}

#[test]
fn a_guest_with_gs_calls_from_the_trampoline() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, wrapped());
    let at = site(wrapped());
    let mut context = thread(&*space);
    context.regs_mut().rbx = 500;
    for _ in 0..WARM {
        syscall(&mut *context);
    }
    assert!(is_patched(&*space, at));
    for (n, gs_base) in [DATA, 0x1234, 1 << 46, 0, DATA].into_iter().enumerate() {
        context.regs_mut().gs_base = gs_base;
        for round in 0..20 {
            assert_eq!(syscall(&mut *context), 500);
            let regs = *context.regs();
            assert_eq!(
                (regs.rip, regs.rcx),
                (CODE + at + 2, CODE + at + 2),
                "{n} {round}"
            );
            assert_eq!(regs.gs_base, gs_base);
            context.set_return(round);
        }
    }
}

#[test]
fn interrupts_race_with_calls() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, wrapped());
    let mut context = thread(&*space);
    context.regs_mut().rbx = 500;
    let interrupter = context.interrupter();
    let kicker = std::thread::spawn(move || {
        for n in 0..5000u32 {
            interrupter.interrupt();
            if n % 3 == 0 {
                std::thread::sleep(Duration::from_micros(10));
            }
        }
    });
    let (mut calls, mut interrupts) = (0u64, 0u64);
    while !kicker.is_finished() || calls < 1000 {
        match context.run() {
            Event::Syscall => {
                assert_eq!(read_u64(&*space, DATA + 8), calls);
                assert!(calls == 0 || read_u64(&*space, DATA) == calls - 1);
                context.set_return(calls);
                calls += 1;
            }
            Event::Interrupted => interrupts += 1,
            other => panic!("{other:?}"),
        }
    }
    kicker.join().expect("kicker");
    assert!(interrupts > 0);
}

#[test]
fn threads_may_be_there_meanwhile() {
    let engine = Systrap::new().expect("engine");
    for _ in 0..20 {
        let space = patchable(&engine, wrapped());
        std::thread::scope(|scope| {
            for n in 0..3u64 {
                let space = &space;
                scope.spawn(move || {
                    let mut context = thread(&**space);
                    context.regs_mut().rbx = 500;
                    context.regs_mut().rdi = DATA + 64 * n;
                    for round in 0..300 {
                        assert_eq!(syscall(&mut *context), 500);
                        assert_eq!(read_u64(&**space, DATA + 64 * n + 8), round);
                        context.set_return(round);
                    }
                });
            }
        });
    }
}

#[test]
fn a_site_without_room_stays() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, crowded());
    let mut context = thread(&*space);
    for round in 0..WARM {
        assert_eq!(syscall(&mut *context), 500);
        assert_eq!(read_u64(&*space, DATA + 8), round);
    }
    let mut code = vec![0; crowded().len()];
    assert_eq!(space.read(UserAddr(CODE), &mut code), Ok(code.len()));
    assert_eq!(code, crowded());
}

#[test]
fn unmapping_the_vdso_takes_patches_back() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, wrapped());
    let at = site(wrapped());
    let mut context = thread(&*space);
    context.regs_mut().rbx = 500;
    for _ in 0..WARM {
        syscall(&mut *context);
    }
    assert!(is_patched(&*space, at));
    let child = space.fork().expect("fork");
    let state = context.xstate().expect("xstate");
    let mut forked = child.new_context(context.regs(), &state).expect("context");
    let unmap = MapOp::Unmap {
        addr: UserAddr(VDSO),
        len: engine.vdso().expect("vdso").len,
    };
    space.apply(&[unmap]).expect("unmap");
    assert!(!is_patched(&*space, at) && is_patched(&*child, at));
    for _ in 0..WARM {
        assert_eq!(syscall(&mut *context), 500);
        assert_eq!(syscall(&mut *forked), 500);
    }
}
