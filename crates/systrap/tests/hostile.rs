//! What hostile guests try. None may hang, crash or fool the sentry.

mod support;

use std::time::{Duration, Instant};

use abi::UserAddr;
use platform::{AddressSpace, Context, Death, Event, Prot};
use support::{CODE, DATA, read_u64, space, syscall, thread};
use systrap::Systrap;

const STUB: u64 = 0x7fff_0000_0000;
const STUB_CODE: u64 = 0x3000;
const COMMANDS: u64 = 0x7fff_0010_0000;
const AREAS: u64 = 0x7fff_1000_0000;
const AREA_LEN: u64 = 0x4_0000;

snippet!(call_rax, "30: syscall", "jmp 30b");
snippet!(int80, "mov eax, 20", "int 0x80", "ud2");
snippet!(
    vsyscall,
    "mov rax, 0xffffffffff600400",
    "xor edi, edi",
    "call rax",
    "mov ebx, 7",
    "mov eax, 60",
    "syscall"
);
snippet!(
    flags,
    "31: push 0x44ed5",
    "popfq",
    "mov eax, 1000",
    "syscall",
    "jmp 31b"
);
snippet!(store, "mov qword ptr [rdi], 0", "ud2");
snippet!(jump, "jmp rdi");
snippet!(altstack_rsp, "mov rsp, rdi", "mov eax, 1000", "syscall", "ud2");
snippet!(scribble, "32: mov [rdi], rsi", "jmp 32b");
snippet!(spin, "33: jmp 33b");
snippet!(
    gs_user,
    "wrgsbase rdi",
    "mov rax, gs:[0]",
    "mov rbx, rax",
    "mov eax, 1000",
    "syscall",
    "ud2"
);

fn is_syscall(context: &mut dyn Context, nr: u64) {
    assert_eq!(context.run(), Event::Syscall);
    assert_eq!(context.regs().rax, nr);
}

/// A context for `code` with these rdi, rsi, rdx, r10.
fn guest(space: &dyn AddressSpace, rax: u64, args: [u64; 4]) -> Box<dyn Context> {
    let mut context = thread(space);
    let regs = context.regs_mut();
    regs.rax = rax;
    [regs.rdi, regs.rsi, regs.rdx, regs.r10] = args;
    context
}

#[test]
fn no_call_passes_through() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, call_rax());
    let mut context = guest(&*space, 0, [0; 4]);
    let area_wake = (202, [AREAS, 1, 1, 0]);
    let calls = [
        (10, [CODE, 0x1000, 7, 0]), // mprotect
        (1, [1, CODE, 1, 0]),       // write
        (15, [0; 4]),               // rt_sigreturn
        (24, [0; 4]),               // sched_yield
        (60, [0; 4]),               // exit
        (231, [0; 4]),              // exit_group
        (56, [0x8400, 0, 0, 0]),    // clone as the helper does
        (9, [0x50_0000, 0x1000, 3, 0x32]),
        (157, [1, 9, 0, 0]),        // prctl as the helper does
        (8, [0, 0, 0, 0]),          // lseek
        (131, [DATA, 0, 0, 0]),     // sigaltstack
        (101, [0; 4]),              // ptrace
        (310, [1, 0, 0, 0]),        // process_vm_readv
        (202, [COMMANDS, 1, 1, 0]), // futex wake of the helper
        (334, [DATA, 32, 0, 7]),    // rseq
        area_wake,                  // even the hand-off's own, from guest code
        (0x4000_0000 | 39, [0; 4]), // x32
        (u64::MAX, [0; 4]),
        (1 << 40, [0; 4]),
    ];
    for (nr, args) in calls {
        let regs = context.regs_mut();
        regs.rax = nr;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10] = args;
        is_syscall(&mut *context, nr);
        assert_eq!(context.regs().syscall_args()[..3], args[..3]);
    }
}

#[test]
fn calls_from_every_byte_of_the_stub_pass_only_the_hand_off() {
    let engine = Systrap::new().expect("engine");
    let mut code = vec![0; STUB_CODE as usize];
    {
        let space = space(&engine, jump());
        assert_eq!(
            space.read(UserAddr(STUB), &mut code).ok(),
            None,
            "the stub is outside the user range"
        );
    }
    // The stub's own `syscall` instructions, found where the guest would look for them.
    let finder = space(&engine, find_syscalls());
    let mut context = guest(&*finder, 0, [STUB, STUB_CODE, DATA, 0]);
    assert_eq!(syscall(&mut *context), 1000);
    let count = context.regs().rbx as usize;
    assert!(count > 10, "{count}");
    let sites: Vec<u64> = (0..count)
        .map(|n| read_u64(&*finder, DATA + 8 * n as u64))
        .collect();
    for site in sites {
        for (nr, args) in [
            (10, [CODE, 0x1000, 7, 0]),
            (9, [0x50_0000, 0x1000, 3, 0x32]),
            (56, [0x8400, 0, 0, 0]),
            (8, [3, 0, 0, 0]),
            (202, [COMMANDS, 1, 1, 0]),
            (202, [DATA, 0, 0, 0]),
            (202, [AREAS, 9, 0, 0]),
            (157, [4, 0, 0, 0]),
            (15, [0; 4]),
        ] {
            let space = space(&engine, jump());
            let mut context = guest(&*space, nr, args);
            context.regs_mut().rip = site;
            // The call traps inside the stub: the guest has broken the protocol.
            assert_eq!(
                context.run(),
                Event::Died(Death::Protocol),
                "call {nr} at {site:#x}"
            );
        }
    }
}

snippet!(
    find_syscalls,
    "xor ebx, ebx",
    "lea r8, [rdi + rsi - 1]",
    "34: cmp rdi, r8",
    "jae 36f",
    "cmp word ptr [rdi], 0x050f",
    "jne 35f",
    "mov [rdx + 8 * rbx], rdi",
    "inc rbx",
    "35: inc rdi",
    "jmp 34b",
    "36: mov eax, 1000",
    "syscall",
    "ud2"
);

#[test]
fn a_native_exit_is_noticed() {
    let engine = Systrap::new().expect("engine");
    let finder = space(&engine, find_syscalls());
    let mut context = guest(&*finder, 0, [STUB, STUB_CODE, DATA, 0]);
    assert_eq!(syscall(&mut *context), 1000);
    let sites: Vec<u64> = (0..context.regs().rbx)
        .map(|n| read_u64(&*finder, DATA + 8 * n))
        .collect();
    for site in sites.into_iter().step_by(4) {
        let space = space(&engine, spin());
        let mut other = thread(&*space);
        let mut context = guest(&*space, 60, [0; 4]);
        context.regs_mut().rip = site;
        assert!(matches!(context.run(), Event::Died(_)));
        other.interrupter().interrupt();
        while other.run() == Event::Interrupted {
            other.interrupter().interrupt();
        }
    }
}

#[test]
fn thirty_two_bit_entry_faults() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, int80());
    let mut context = thread(&*space);
    for _ in 0..2 {
        let Event::Fault(fault) = context.run() else {
            panic!("fault")
        };
        assert_eq!((fault.signal, fault.trap), (11, 13));
        assert_eq!(context.regs().rip, CODE + 5);
    }
}

#[test]
fn vsyscall_is_an_event_or_a_fault() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, vsyscall());
    let mut context = thread(&*space);
    match context.run() {
        Event::Syscall => {
            assert_eq!(context.regs().rax, 201);
            context.set_return(5);
            assert_eq!(syscall(&mut *context), 60);
            assert_eq!(context.regs().rbx, 7);
        }
        Event::Fault(fault) => assert_eq!(fault.signal, 11),
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_do_not_reach_the_stub() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, flags());
    let mut context = thread(&*space);
    for _ in 0..100 {
        is_syscall(&mut *context, 1000);
        assert_eq!(context.regs().eflags & 0x4_4400, 0x4_4400, "AC, NT, DF");
    }
    // All bits at once; the privileged ones are not loaded. With the trap flag each instruction is an event.
    context.regs_mut().eflags = u64::MAX;
    let Event::Fault(fault) = context.run() else {
        panic!("fault")
    };
    assert_eq!((fault.signal, fault.code), (5, 2));
    assert_eq!(context.regs().eflags & 0x3000, 0, "IOPL");
}

#[test]
fn the_engines_memory_is_out_of_reach() {
    let engine = Systrap::new().expect("engine");
    for target in [
        STUB,
        STUB + STUB_CODE,
        COMMANDS,
        COMMANDS + 0x3000,
        0xffff_ffff_ff60_0000,
    ] {
        let space = space(&engine, store());
        let mut context = guest(&*space, 0, [target, 0, 0, 0]);
        let Event::Fault(fault) = context.run() else {
            panic!("fault at {target:#x}")
        };
        assert_eq!((fault.signal, fault.addr), (11, UserAddr(target)));
    }
}

#[test]
fn jumping_into_the_stub_harms_only_the_guest() {
    let engine = Systrap::new().expect("engine");
    let begin = Instant::now();
    for at in (0..STUB_CODE).step_by(7) {
        let space = space(&engine, jump());
        let mut context = guest(&*space, 0, [STUB + at, 0, 0, 0]);
        let interrupter = context.interrupter();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1));
            interrupter.interrupt();
        });
        let _ = context.run();
        waker.join().expect("waker");
        space.kill();
        assert!(matches!(
            context.run(),
            Event::Died(_) | Event::Interrupted | Event::Fault(_) | Event::Syscall
        ));
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
    // The engine still works.
    let space = space(&engine, call_rax());
    is_syscall(&mut *guest(&*space, 39, [0; 4]), 39);
}

#[test]
fn stack_pointers_into_the_thread_area_harm_only_the_guest() {
    let engine = Systrap::new().expect("engine");
    for offset in [0, 0x10, 0x1000, 0x1100, 0x2000, 0x8000, 0x8ff8, 0x9000, 0xffff] {
        for slot in 0..4 {
            let space = space(&engine, altstack_rsp());
            let mut context = guest(&*space, 0, [AREAS + slot * AREA_LEN + offset, 0, 0, 0]);
            let event = context.run();
            assert!(matches!(event, Event::Syscall | Event::Died(_)), "{event:?}");
        }
    }
}

#[test]
fn scribbling_over_thread_areas_never_hangs_the_sentry() {
    let engine = Systrap::new().expect("engine");
    // State words, kick flag, signal, frame pointer, segment bases; of both threads.
    for value in [
        0u64,
        1,
        2,
        3,
        0x101,
        0x102,
        u64::MAX,
        AREAS,
        STUB,
        0x8000_0000_0000_0000,
    ] {
        for offset in [0u64, 4, 8, 0x10, 0x18, 0x20, 0x40, 0x48, 0x108] {
            for slot in 0..3 {
                let space = engine.space().expect("space");
                support::load(&space, scribble());
                let victims: Vec<_> = (0..2).map(|_| thread(&space)).collect();
                let mut context = thread(&space);
                let regs = context.regs_mut();
                (regs.rdi, regs.rsi) = (AREAS + slot * AREA_LEN + offset, value);
                let interrupter = context.interrupter();
                let pid = space.pid();
                let guard = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(1));
                    interrupter.interrupt();
                    std::thread::sleep(Duration::from_millis(3));
                    // SAFETY: plain call with scalar arguments.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                });
                while !matches!(context.run(), Event::Died(_)) {}
                for mut victim in victims {
                    while !matches!(victim.run(), Event::Died(_)) {}
                }
                guard.join().expect("guard");
            }
        }
    }
}

#[test]
fn a_guest_may_use_gs_for_itself() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, gs_user());
    assert_eq!(space.write(UserAddr(DATA), &77u64.to_le_bytes()), Ok(8));
    let mut context = thread(&*space);
    is_syscall(&mut *context, 1000);
    assert_eq!(context.regs().rbx, 77);
    assert_eq!(context.regs().gs_base, DATA);
    let mut context = thread(&*space);
    context.regs_mut().gs_base = 0x1234;
    context.regs_mut().fs_base = 0x5678;
    context.regs_mut().rip = CODE + gs_user().len() as u64 - 9;
    is_syscall(&mut *context, 1000);
    assert_eq!((context.regs().fs_base, context.regs().gs_base), (0x5678, 0x1234));
}

#[test]
fn a_forked_child_does_not_see_its_parents_thread_areas() {
    let engine = Systrap::new().expect("engine");
    let parent = space(&engine, store());
    let first = thread(&*parent);
    let second = thread(&*parent);
    let child = parent.fork().expect("fork");
    let (mut seen, mut faults) = (0, 0);
    for slot in 0..8 {
        let mut context = guest(&*child, 0, [AREAS + slot * AREA_LEN + 0xf000, 0, 0, 0]);
        let Event::Fault(fault) = context.run() else {
            panic!("fault")
        };
        if fault.signal == 4 { seen += 1 } else { faults += 1 }
    }
    assert_eq!(seen, 1, "its own area only");
    assert_eq!(faults, 7);
    drop((first, second));
    let prot = Prot::READ;
    assert!(child.apply(&[support::map(AREAS, 0x1000, prot)]).is_err());
}
