//! The engine's promises to the kernel: events, memory, fork, threads.

mod support;

use std::time::{Duration, Instant};

use abi::{Errno, UserAddr};
use platform::{AddressSpace, Advice, Context, Death, Event, MapOp, Platform, Prot, XState};
use support::{CODE, DATA, read_u64, space, start_regs, syscall, thread};
use systrap::Systrap;

snippet!(
    calls,
    "mov eax, 39",
    "2: syscall",
    "inc rax",
    "mov rbx, rax",
    "mov eax, 60",
    "syscall",
    "ud2"
);
snippet!(
    faults,
    "mov rax, 0x123000",
    "mov rcx, [rax]",
    "ud2",
    "int3",
    "xor ecx, ecx",
    "div ecx",
    "hlt"
);
snippet!(
    forked,
    "mov eax, 57",
    "syscall",
    "mov [rdi], rax",
    "add qword ptr [rdi + 8], 1",
    "mov eax, 60",
    "syscall"
);
snippet!(spin, "3: inc qword ptr [rdi]", "jmp 3b");
snippet!(
    vectors,
    "mov eax, 0x12345678",
    "movd xmm3, eax",
    "vpbroadcastd ymm7, xmm3",
    "4: mov eax, 1000",
    "syscall",
    "vpextrd ecx, xmm7, 2",
    "mov [rdi], ecx",
    "vextracti128 xmm1, ymm7, 1",
    "movd ecx, xmm1",
    "mov [rdi + 4], ecx",
    "jmp 4b"
);

#[test]
fn system_calls_are_events_and_results_reach_the_guest() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, calls());
    let mut context = thread(&*space);
    assert_eq!(syscall(&mut *context), 39);
    assert_eq!(context.regs().rip, CODE + 7);
    context.set_return(41);
    assert_eq!(syscall(&mut *context), 60);
    assert_eq!(context.regs().rbx, 42);
    // Restarting: back by the two bytes of the instruction.
    let regs = context.regs_mut();
    regs.rip -= 2;
    regs.rax = 61;
    assert_eq!(syscall(&mut *context), 61);
    assert!(matches!(context.run(), Event::Fault(f) if f.signal == 4));
}

#[test]
fn exceptions_are_events() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, faults());
    let mut context = thread(&*space);
    let Event::Fault(fault) = context.run() else {
        panic!("fault")
    };
    assert_eq!(
        (fault.signal, fault.code, fault.addr),
        (11, 1, UserAddr(0x123000))
    );
    assert_eq!(fault.trap, 14);
    assert_eq!(fault.error & 7, 4);
    // A page there, and the same instruction goes on.
    space
        .apply(&[support::map(0x123000, 0x1000, Prot::READ)])
        .expect("map");
    let Event::Fault(fault) = context.run() else {
        panic!("fault")
    };
    assert_eq!(fault.signal, 4);
    context.regs_mut().rip += 2;
    let Event::Fault(fault) = context.run() else {
        panic!("fault")
    };
    assert_eq!((fault.signal, fault.code), (5, 0x80));
    let Event::Fault(fault) = context.run() else {
        panic!("fault")
    };
    assert_eq!((fault.signal, fault.code), (8, 1));
    context.regs_mut().rip += 2;
    let Event::Fault(fault) = context.run() else {
        panic!("fault")
    };
    assert_eq!((fault.signal, fault.code, fault.trap), (11, 0x80, 13));
    // An address that cannot be loaded at all.
    context.regs_mut().rip = 1 << 63;
    assert!(matches!(context.run(), Event::Fault(f) if f.signal == 11));
}

#[test]
fn fork_copies_memory_and_runs_on_its_own() {
    let engine = Systrap::new().expect("engine");
    let parent = space(&engine, forked());
    let mut context = thread(&*parent);
    assert_eq!(syscall(&mut *context), 57);
    let child = parent.fork().expect("fork");
    let mut regs = *context.regs();
    regs.rax = 0;
    let xstate = context.xstate().expect("xstate");
    let mut forked = child.new_context(&regs, &xstate).expect("context");
    context.set_return(77);
    assert_eq!(syscall(&mut *context), 60);
    assert_eq!(syscall(&mut *forked), 60);
    assert_eq!((read_u64(&*parent, DATA), read_u64(&*parent, DATA + 8)), (77, 1));
    assert_eq!((read_u64(&*child, DATA), read_u64(&*child, DATA + 8)), (0, 1));
    // And a fork of the fork.
    let grandchild = child.fork().expect("fork");
    let mut third = grandchild
        .new_context(&start_regs(), &XState::default())
        .expect("context");
    assert_eq!(syscall(&mut *third), 57);
    drop(child);
    drop(parent);
    assert_eq!(context.run(), Event::Died(Death::Killed));
    third.set_return(5);
    assert_eq!(syscall(&mut *third), 60);
    assert_eq!(
        (read_u64(&*grandchild, DATA), read_u64(&*grandchild, DATA + 8)),
        (5, 2)
    );
}

#[test]
fn memory_access_stops_at_holes_and_respects_the_range() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, calls());
    let mut buf = vec![0; 0x3000];
    space
        .apply(&[MapOp::Unmap {
            addr: UserAddr(DATA + 0x1000),
            len: 0x1000,
        }])
        .expect("unmap");
    assert_eq!(space.read(UserAddr(DATA + 0x800), &mut buf), Ok(0x800));
    assert_eq!(space.write(UserAddr(DATA + 0x800), &buf), Ok(0x800));
    assert_eq!(space.read(UserAddr(DATA + 0x1000), &mut buf), Err(Errno::EFAULT));
    assert_eq!(space.write(UserAddr(CODE), &[1]), Err(Errno::EFAULT));
    assert_eq!(
        space.write_force(UserAddr(CODE + 0x800), &[7; 0x1000]),
        Ok(0x1000)
    );
    assert_eq!(space.read(UserAddr(CODE + 0x800), &mut buf[..1]), Ok(1));
    assert_eq!(buf[0], 7);
    assert_eq!(space.write(UserAddr(CODE), &[1]), Err(Errno::EFAULT));
    let end = engine.user_range().end;
    for addr in [end.0, end.0 + 0x100000, 0, 0xfff, u64::MAX] {
        assert_eq!(space.read(UserAddr(addr), &mut buf), Err(Errno::EFAULT));
    }
    for addr in [end.0, end.0 - 0x1000, 0x1000] {
        let op = support::map(addr, 0x2000, Prot::READ);
        assert_eq!(space.apply(&[op]), Err((0, Errno::EINVAL)));
    }
}

#[test]
fn batches_say_which_change_failed() {
    let engine = Systrap::new().expect("engine");
    let space = engine.new_address_space().expect("space");
    let rw = Prot::READ | Prot::WRITE;
    let protect = MapOp::Protect {
        addr: UserAddr(0x70_0000),
        len: 0x1000,
        prot: rw,
    };
    let ops = [
        support::map(0x50_0000, 0x1000, rw),
        protect,
        support::map(0x60_0000, 0x1000, rw),
    ];
    assert_eq!(space.apply(&ops), Err((1, Errno::ENOMEM)));
    assert_eq!(space.write(UserAddr(0x50_0000), &[1]), Ok(1));
    assert_eq!(space.write(UserAddr(0x60_0000), &[1]), Err(Errno::EFAULT));
    let many: Vec<MapOp> = (0..1000)
        .map(|i| support::map(0x1000_0000 + i * 0x2000, 0x1000, rw))
        .collect();
    space.apply(&many).expect("a thousand maps");
    assert_eq!(space.write(UserAddr(0x1000_0000 + 999 * 0x2000), &[1]), Ok(1));
    let remap = MapOp::Remap {
        old: UserAddr(0x50_0000),
        old_len: 0x1000,
        new: UserAddr(0x2000_0000),
        new_len: 0x3000,
        keep_old: false,
    };
    let dont_need = MapOp::Advise {
        addr: UserAddr(0x1000_0000),
        len: 0x1000,
        advice: Advice::DontNeed,
    };
    space.apply(&[remap, dont_need]).expect("remap");
    let mut byte = [0];
    assert_eq!(space.read(UserAddr(0x2000_0000), &mut byte), Ok(1));
    assert_eq!(byte, [1]);
    assert_eq!(space.mincore(UserAddr(0x2000_0000), 0x3000), Ok(vec![1, 0, 0]));
}

#[test]
fn words_are_compared_and_exchanged_without_faults_for_the_engine() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, calls());
    assert_eq!(space.write(UserAddr(DATA), &5u32.to_le_bytes()), Ok(4));
    assert_eq!(space.load_u32(UserAddr(DATA)), Ok(5));
    assert_eq!(space.compare_exchange_u32(UserAddr(DATA), 4, 9), Ok(5));
    assert_eq!(space.compare_exchange_u32(UserAddr(DATA), 5, 0xffff_fff0), Ok(5));
    assert_eq!(space.load_u32(UserAddr(DATA)), Ok(0xffff_fff0));
    assert_eq!(
        space.compare_exchange_u32(UserAddr(DATA), 0xffff_fff0, 1),
        Ok(0xffff_fff0)
    );
    for bad in [0x7000_0000, CODE] {
        assert_eq!(
            space.compare_exchange_u32(UserAddr(bad), 0, 1),
            Err(Errno::EFAULT)
        );
    }
    assert_eq!(space.load_u32(UserAddr(DATA)), Ok(1));
    assert_eq!(space.futex_wake(UserAddr(DATA), 1, u32::MAX), Ok(0));
}

#[test]
fn extended_state_survives_events_and_can_be_changed() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, vectors());
    let mut context = thread(&*space);
    for round in 0..1000u32 {
        assert_eq!(syscall(&mut *context), 1000);
        if round > 0 {
            assert_eq!(read_u64(&*space, DATA), 0x1234_5678_1234_5678, "round {round}");
        }
    }
    let mut state = context.xstate().expect("xstate");
    assert_eq!(state.0.len(), engine.xstate_layout().0);
    assert_eq!(
        &state.0[160 + 7 * 16..160 + 7 * 16 + 4],
        &0x1234_5678u32.to_le_bytes()
    );
    state.0[160 + 7 * 16 + 8..160 + 7 * 16 + 12].copy_from_slice(&0xabcdu32.to_le_bytes());
    context.set_xstate(&state).expect("set");
    assert_eq!(syscall(&mut *context), 1000);
    assert_eq!(read_u64(&*space, DATA), 0x1234_5678_0000_abcd);
    // Reserved bits are refused.
    state.0[512 + 8] = 1;
    assert_eq!(context.set_xstate(&state), Err(Errno::EINVAL));
    state.0[512 + 8] = 0;
    state.0[512 + 7] = 0x40;
    assert_eq!(context.set_xstate(&state), Err(Errno::EINVAL));
}

#[test]
fn an_interrupt_ends_the_current_or_the_next_run() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, spin());
    let mut context = thread(&*space);
    let interrupter = context.interrupter();
    interrupter.interrupt();
    let rip = context.regs().rip;
    assert_eq!(context.run(), Event::Interrupted);
    assert_eq!(context.regs().rip, rip);
    let kicker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        interrupter.interrupt();
    });
    assert_eq!(context.run(), Event::Interrupted);
    assert!(read_u64(&*space, DATA) > 0);
    kicker.join().expect("kicker");
}

#[test]
fn ten_thousand_racing_interrupts_are_all_delivered() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    const KICKS: u32 = 10_000;
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, vectors());
    let mut context = thread(&*space);
    let interrupter = context.interrupter();
    let seen = Arc::new(AtomicU32::new(0));
    let seen_by_kicker = seen.clone();
    let kicker = std::thread::spawn(move || {
        for n in 0..KICKS {
            interrupter.interrupt();
            let start = Instant::now();
            while seen_by_kicker.load(Ordering::SeqCst) <= n {
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "interrupt {n} was lost"
                );
                std::hint::spin_loop();
            }
        }
    });
    let mut calls = 0u64;
    while seen.load(Ordering::SeqCst) < KICKS {
        match context.run() {
            Event::Interrupted => {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            Event::Syscall => {
                if calls > 0 {
                    assert_eq!(read_u64(&*space, DATA), 0x1234_5678_1234_5678);
                }
                calls += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    kicker.join().expect("kicker");
    assert!(calls > 0);
}

#[test]
fn ten_thousand_interrupts_of_a_spinning_guest() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, spin());
    let mut context = thread(&*space);
    for _ in 0..10 {
        let interrupter = context.interrupter();
        let kicker = std::thread::spawn(move || {
            for _ in 0..1000 {
                interrupter.interrupt();
                std::thread::yield_now();
            }
        });
        while !kicker.is_finished() {
            // Keep one pending so that the loop ends.
            context.interrupter().interrupt();
            assert_eq!(context.run(), Event::Interrupted);
        }
        kicker.join().expect("kicker");
    }
}

#[test]
fn five_hundred_threads() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, calls());
    let mut contexts: Vec<Box<dyn Context>> = (0..500).map(|_| thread(&*space)).collect();
    for (index, context) in contexts.iter_mut().enumerate() {
        assert_eq!(syscall(&mut **context), 39);
        context.set_return(index as u64);
    }
    for (index, context) in contexts.iter_mut().enumerate() {
        assert_eq!(syscall(&mut **context), 60);
        assert_eq!(context.regs().rbx, index as u64 + 1);
    }
    drop(contexts);
    // Threads come and go without end.
    for _ in 0..200 {
        let mut some: Vec<_> = (0..40).map(|_| thread(&*space)).collect();
        for context in &mut some {
            assert_eq!(syscall(&mut **context), 39);
        }
    }
}

#[test]
fn a_killed_process_is_an_event_never_a_hang() {
    let engine = Systrap::new().expect("engine");
    for victim in 0..20 {
        let space = engine.space().expect("space");
        support::load(&space, if victim % 2 == 0 { spin() } else { calls() });
        let pid = space.pid();
        let mut context = thread(&space);
        if victim % 2 == 1 {
            assert_eq!(syscall(&mut *context), 39);
        }
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            // SAFETY: plain call with scalar arguments.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        });
        if victim % 2 == 1 {
            killer.join().expect("killer");
            std::thread::sleep(Duration::from_millis(20));
        } else {
            assert_eq!(context.run(), Event::Died(Death::Signal(9)));
            killer.join().expect("killer");
        }
        assert_eq!(context.run(), Event::Died(Death::Signal(9)));
        assert_eq!(context.run(), Event::Died(Death::Signal(9)));
        let op = support::map(0x123000, 0x1000, Prot::READ);
        assert_eq!(space.apply(&[op]), Err((0, Errno::ESRCH)));
        assert_eq!(space.read(UserAddr(DATA), &mut [0]), Err(Errno::ESRCH));
        assert_eq!(space.fork().err(), Some(Errno::ESRCH));
    }
}

#[test]
fn kill_ends_running_guests() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, spin());
    let mut contexts: Vec<_> = (0..4).map(|_| thread(&*space)).collect();
    std::thread::scope(|scope| {
        for context in &mut contexts {
            scope.spawn(move || assert_eq!(context.run(), Event::Died(Death::Killed)));
        }
        std::thread::sleep(Duration::from_millis(20));
        space.kill();
    });
    assert_eq!(
        space.new_context(&start_regs(), &XState::default()).err(),
        Some(Errno::ESRCH)
    );
}

#[test]
fn the_host_process_is_gone_after_the_address_space() {
    let engine = Systrap::new().expect("engine");
    let pids: Vec<i32> = (0..50).map(|_| engine.space().expect("space").pid()).collect();
    let start = Instant::now();
    // SAFETY: plain calls with scalar arguments; signal 0 only asks.
    while pids.iter().any(|pid| unsafe { libc::kill(*pid, 0) } == 0) {
        assert!(start.elapsed() < Duration::from_secs(10), "not reaped");
        std::thread::sleep(Duration::from_millis(1));
    }
}
