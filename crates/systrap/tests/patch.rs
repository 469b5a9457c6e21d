//! Patched call sites: the same events, registers and state as through the signal, and answers without an event.

mod support;

use std::time::{Duration, Instant};

use abi::UserAddr;
use platform::{AddressSpace, Event, LocalAnswers, MapFlags, MapOp, MapSource, Platform, Prot, XState};
use support::{CODE, DATA, VDSO, map_vdso, patchable, read_u64, start_regs, syscall, thread};
use systrap::Systrap;

// Each call site is `mov $nr, %eax; syscall`, aligned so that it may be patched under other threads' feet.
snippet!(
    looping,
    "mov eax, 0x12345678",
    "movd xmm3, eax",
    "vpbroadcastd ymm7, xmm3",
    "mov r15, 0x1515151515151515",
    ".balign 8",
    "50: mov eax, 500",
    "syscall",
    "vmovdqu [rdi + 64], ymm7",
    "mov [rdi], rax",
    "inc qword ptr [rdi + 8]",
    "jmp 50b"
);
snippet!(
    asking,
    ".balign 8",
    "51: mov eax, 39",
    "syscall",
    "mov [rdi], rax",
    "inc qword ptr [rdi + 8]",
    "cmp qword ptr [rdi + 8], 1000000",
    "jb 51b",
    "mov eax, 500",
    "syscall",
    "ud2"
);
snippet!(
    asking_all,
    "52: mov eax, 186",
    "syscall",
    "mov [rdi], rax",
    "mov eax, 110",
    "syscall",
    "mov [rdi + 8], rax",
    "mov eax, 102",
    "syscall",
    "mov [rdi + 16], rax",
    "mov eax, 107",
    "syscall",
    "mov [rdi + 24], rax",
    "mov eax, 104",
    "syscall",
    "mov [rdi + 32], rax",
    "mov eax, 108",
    "syscall",
    "mov [rdi + 40], rax",
    "mov eax, 500",
    "syscall",
    "jmp 52b"
);
snippet!(
    asking_forever,
    ".balign 8",
    "53: mov eax, 39",
    "syscall",
    "inc qword ptr [rdi + 8]",
    "cmp eax, 77",
    "je 53b",
    "ud2"
);
snippet!(
    own_gs,
    "54: mov eax, 500",
    "syscall",
    "inc qword ptr [rdi]",
    "jmp 54b"
);
snippet!(stepped, "55: mov eax, 500", "syscall", "inc rbx", "jmp 55b");

fn is_patched(space: &dyn AddressSpace, offset: u64) -> bool {
    let mut byte = [0];
    assert_eq!(space.read(UserAddr(CODE + offset), &mut byte), Ok(1));
    byte[0] == 0xe9
}

/// Where the first site of a snippet is.
fn site(code: &[u8]) -> u64 {
    code.windows(7)
        .position(|w| w[0] == 0xb8 && w[5..] == [0x0f, 0x05])
        .expect("site") as u64
}

#[test]
fn events_are_the_same_before_and_after_patching() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, looping());
    let at = site(looping());
    let mut context = thread(&*space);
    for round in 0..2000u64 {
        assert_eq!(syscall(&mut *context), 500);
        let regs = *context.regs();
        assert_eq!(regs.rip, CODE + at + 7);
        assert_eq!((regs.rcx, regs.rdi, regs.gs_base), (regs.rip, DATA, 0));
        assert_eq!((regs.r15, regs.rsp), (0x1515_1515_1515_1515, start_regs().rsp));
        assert_eq!(regs.r11 & 0x202, 0x202);
        if round > 0 {
            assert_eq!(read_u64(&*space, DATA), round - 1);
            for word in 0..4 {
                assert_eq!(
                    read_u64(&*space, DATA + 64 + 8 * word),
                    0x1234_5678_1234_5678,
                    "round {round}"
                );
            }
        }
        match round % 4 {
            // Restarted, as the kernel does it: two bytes back, with the number.
            1 => {
                let regs = context.regs_mut();
                regs.rip -= 2;
                regs.rax = 500;
                assert_eq!(syscall(&mut *context), 500);
                context.set_return(round);
            }
            2 => {
                let state = context.xstate().expect("xstate");
                assert_eq!(
                    &state.0[160 + 7 * 16..160 + 7 * 16 + 4],
                    &0x1234_5678u32.to_le_bytes()
                );
                context.regs_mut().rax = round;
                context.set_xstate(&state).expect("set");
            }
            3 => context.regs_mut().rax = round,
            _ => context.set_return(round),
        }
    }
    assert!(is_patched(&*space, at));
}

#[test]
fn extended_state_can_be_replaced_at_a_patched_site() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, looping());
    let mut context = thread(&*space);
    for round in 0..200u32 {
        assert_eq!(syscall(&mut *context), 500);
        let mut state = context.xstate().expect("xstate");
        let expected = if round == 0 { 0x1234_5678 } else { round - 1 };
        assert_eq!(&state.0[160 + 7 * 16..160 + 7 * 16 + 4], &expected.to_le_bytes());
        state.0[160 + 7 * 16..160 + 7 * 16 + 4].copy_from_slice(&round.to_le_bytes());
        context.set_xstate(&state).expect("set");
    }
}

#[test]
fn the_stub_answers_what_it_knows() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, asking());
    let mut context = thread(&*space);
    let answers = LocalAnswers {
        enabled: true,
        pid: 77,
        ..LocalAnswers::default()
    };
    context.set_local_answers(&answers);
    let mut events = 0;
    while syscall(&mut *context) == 39 {
        events += 1;
        context.set_return(77);
    }
    assert!(events < 100, "{events} events");
    assert_eq!(
        (read_u64(&*space, DATA), read_u64(&*space, DATA + 8)),
        (77, 1_000_000)
    );
    assert_eq!(context.local_calls() + events, 1_000_000);
    // Switched off, each is an event again.
    context.set_local_answers(&LocalAnswers {
        enabled: false,
        ..answers
    });
    context.regs_mut().rip = CODE;
    assert_eq!(space.write(UserAddr(DATA + 8), &0u64.to_le_bytes()), Ok(8));
    for _ in 0..100 {
        assert_eq!(syscall(&mut *context), 39);
        context.set_return(78);
    }
}

#[test]
fn every_answer_is_the_right_one() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, asking_all());
    let mut context = thread(&*space);
    let answers = LocalAnswers {
        enabled: true,
        pid: 1,
        tid: 2,
        ppid: 0,
        uid: 4,
        euid: 5,
        gid: 6,
        egid: 7,
        private_futex: false,
    };
    context.set_local_answers(&answers);
    for _ in 0..100 {
        loop {
            let value = match syscall(&mut *context) {
                186 => 2,
                110 => 33,
                102 => 4,
                107 => 5,
                104 => 6,
                108 => 7,
                _ => break,
            };
            context.set_return(value);
        }
        let seen: Vec<u64> = (0..6).map(|n| read_u64(&*space, DATA + 8 * n)).collect();
        assert_eq!(seen, [2, 33, 4, 5, 6, 7]);
    }
    assert!(context.local_calls() > 300);
}

#[test]
fn interrupts_between_site_and_answer_are_delivered_and_harmless() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, asking_forever());
    let mut context = thread(&*space);
    context.set_local_answers(&LocalAnswers {
        enabled: true,
        pid: 77,
        ..LocalAnswers::default()
    });
    let interrupter = context.interrupter();
    let kicker = std::thread::spawn(move || {
        for _ in 0..3000 {
            interrupter.interrupt();
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    let mut interrupts = 0;
    while !kicker.is_finished() {
        context.interrupter().interrupt();
        match context.run() {
            Event::Interrupted => interrupts += 1,
            Event::Syscall => context.set_return(77),
            other => panic!("{other:?}"),
        }
        let rip = context.regs().rip;
        assert!((CODE..CODE + 0x100).contains(&rip), "{rip:#x}");
    }
    kicker.join().expect("kicker");
    assert!(interrupts > 100);
}

#[test]
fn interrupts_race_with_patched_calls() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, looping());
    let mut context = thread(&*space);
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
                if calls > 0 {
                    assert_eq!(read_u64(&*space, DATA), calls - 1);
                    for word in 0..4 {
                        assert_eq!(read_u64(&*space, DATA + 64 + 8 * word), 0x1234_5678_1234_5678);
                    }
                }
                if calls % 5 == 0 {
                    let state = context.xstate().expect("xstate");
                    context.set_xstate(&state).expect("set");
                }
                context.set_return(calls);
                calls += 1;
            }
            Event::Interrupted => {
                interrupts += 1;
                if calls > 0 && interrupts % 3 == 0 {
                    let state = context.xstate().expect("xstate");
                    assert_eq!(
                        &state.0[160 + 7 * 16..160 + 7 * 16 + 4],
                        &0x1234_5678u32.to_le_bytes()
                    );
                    context.set_xstate(&state).expect("set");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    kicker.join().expect("kicker");
    assert!(interrupts > 0);
}

#[test]
fn forked_children_keep_patches_and_add_their_own() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, looping());
    let mut context = thread(&*space);
    for n in 0..50 {
        assert_eq!(syscall(&mut *context), 500);
        context.set_return(n);
    }
    let child = space.fork().expect("fork");
    let state = context.xstate().expect("xstate");
    let mut forked = child.new_context(context.regs(), &state).expect("context");
    drop(context);
    drop(space);
    for n in 50..100 {
        forked.set_return(n);
        assert_eq!(syscall(&mut *forked), 500);
        assert_eq!(read_u64(&*child, DATA), n);
        assert_eq!(read_u64(&*child, DATA + 64), 0x1234_5678_1234_5678);
    }
}

#[test]
fn unmapping_the_vdso_takes_patches_back() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, looping());
    let at = site(looping());
    let mut context = thread(&*space);
    for n in 0..50 {
        assert_eq!(syscall(&mut *context), 500);
        context.set_return(n);
    }
    assert!(is_patched(&*space, at));
    let unmap = MapOp::Unmap {
        addr: UserAddr(VDSO),
        len: engine.vdso().expect("vdso").len,
    };
    space.apply(&[unmap]).expect("unmap");
    assert!(!is_patched(&*space, at));
    for n in 0..50 {
        assert_eq!(syscall(&mut *context), 500);
        context.set_return(n);
    }
}

#[test]
fn guests_with_a_gs_of_their_own_are_served_by_the_signal() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, own_gs());
    let mut context = thread(&*space);
    for _ in 0..50 {
        assert_eq!(syscall(&mut *context), 500);
    }
    for gs_base in [DATA, 0x1234, 1 << 46, 0] {
        context.regs_mut().gs_base = gs_base;
        for _ in 0..20 {
            assert_eq!(syscall(&mut *context), 500);
            assert_eq!(context.regs().gs_base, gs_base);
            assert_eq!(context.regs().rip, CODE + 7);
        }
    }
}

#[test]
fn stepping_over_a_patched_site_ends_behind_the_call() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, stepped());
    let mut context = thread(&*space);
    for _ in 0..50 {
        assert_eq!(syscall(&mut *context), 500);
    }
    assert!(is_patched(&*space, 0));
    context.regs_mut().eflags |= 0x100;
    let begin = Instant::now();
    let (mut steps, mut calls) = (0, 0);
    while calls < 3 {
        match context.run() {
            Event::Syscall => calls += 1,
            Event::Fault(fault) => {
                assert_eq!(fault.signal, 5);
                steps += 1;
            }
            other => panic!("{other:?}"),
        }
        assert!((CODE..CODE + 0x40).contains(&context.regs().rip));
        assert!(begin.elapsed() < Duration::from_secs(5) && steps < 100);
    }
}

snippet!(
    writing,
    "mov r12, rsi",
    "mov r13, rdi",
    "56: mov rsi, r12",
    "mov edi, 1",
    "mov eax, 1",
    "syscall",
    "mov rdi, r13",
    "mov eax, 2",
    "syscall",
    "jmp 56b"
);

#[test]
fn what_a_call_points_to_comes_along() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, writing());
    let text: Vec<u8> = (0..=255).collect();
    assert_eq!(space.write(UserAddr(DATA), &text), Ok(256));
    let end = DATA + support::DATA_LEN;
    assert_eq!(space.write(UserAddr(end - 100), &text[..100]), Ok(100));
    let mut context = thread(&*space);
    let mut served = 0;
    for round in 0..400u64 {
        // Good, near the end of the last page, bad in several ways; in both arguments.
        let (at, readable) = [
            (DATA, 256),
            (end - 100, 100),
            (end, 0),
            (0, 0),
            (1 << 63, 0),
            (1 << 47, 0),
        ][(round % 6) as usize];
        let regs = context.regs_mut();
        (regs.r12, regs.r13, regs.rsi, regs.rdi) = (at, at, at, at);
        regs.rdx = readable.max(1) as u64;
        for nr in [1, 2] {
            assert_eq!(syscall(&mut *context), nr);
            assert_eq!(
                if nr == 1 {
                    context.regs().rsi
                } else {
                    context.regs().rdi
                },
                at
            );
            let mut buf = vec![0; readable.max(1)];
            match context.read(UserAddr(at), &mut buf) {
                Ok(len) => {
                    assert_eq!((len, &buf[..]), (readable, &text[..readable]));
                    served += 1;
                    // Until the call waits for something: after that it may be out of date.
                    assert_eq!(context.read(UserAddr(at), &mut buf[..1]), Ok(1));
                    assert_eq!(context.flush(), Ok(()));
                    assert_eq!(context.read(UserAddr(at), &mut buf), Err(abi::Errno::ENOSYS));
                }
                Err(error) => assert_eq!(error, abi::Errno::ENOSYS),
            }
            context.set_return(0);
        }
    }
    assert!(served > 100, "{served}");
}

#[test]
fn shared_text_is_never_patched() {
    let engine = Systrap::new().expect("engine");
    let space = engine.new_address_space().expect("space");
    support::load(&*space, looping());
    map_vdso(&engine, &*space, VDSO);
    let shared = MapOp::Map {
        addr: UserAddr(CODE),
        len: 0x1000,
        prot: Prot::READ | Prot::WRITE,
        flags: MapFlags::SHARED,
        source: MapSource::Anonymous,
    };
    space.apply(&[shared]).expect("map");
    assert_eq!(space.write(UserAddr(CODE), looping()), Ok(looping().len()));
    let protect = MapOp::Protect {
        addr: UserAddr(CODE),
        len: 0x1000,
        prot: Prot::READ | Prot::EXEC,
    };
    space.apply(&[protect]).expect("protect");
    let mut context = space
        .new_context(&start_regs(), &XState::default())
        .expect("context");
    for n in 0..100 {
        assert_eq!(syscall(&mut *context), 500);
        context.set_return(n);
    }
    assert!(!is_patched(&*space, site(looping())));
}
