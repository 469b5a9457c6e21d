//! Bytes that the stub copies out before guest code continues.

mod support;

use abi::{Errno, UserAddr};
use platform::{AddressSpace, Context, Event, LocalAnswers, MapOp};
use support::{DATA, STACK, patchable, read_u64, space, syscall, thread};
use systrap::{Systrap, Tuning};

// r8: what the guest finds at rdi when it continues, r9: the result of its call.
snippet!(
    looking,
    "60: mov eax, 500",
    "syscall",
    "mov r9, rax",
    "mov r8, [rdi]",
    "jmp 60b"
);
// write(2): the sentry reads the bytes at rsi.
snippet!(writing, ".balign 8", "61: mov eax, 1", "syscall", "jmp 61b");

// epoll_ctl(2), clock_nanosleep(2): what r10 and rdx point to.
snippet!(fourth, ".balign 8", "62: mov eax, 233", "syscall", "jmp 62b");
snippet!(third, ".balign 8", "63: mov eax, 230", "syscall", "jmp 63b");

// writev(2), sendmsg(2), recvmsg(2).
snippet!(gathering, ".balign 8", "64: mov eax, 20", "syscall", "jmp 64b");
snippet!(sending, ".balign 8", "65: mov eax, 46", "syscall", "jmp 65b");
snippet!(receiving, ".balign 8", "66: mov eax, 47", "syscall", "jmp 66b");

/// Calls after which the site has been patched.
const WARM: u64 = 100;

fn put(context: &mut dyn Context, space: &dyn AddressSpace, to: u64, data: &[u8]) {
    match context.write(UserAddr(to), data) {
        Err(Errno::ENOSYS) => assert_eq!(space.write(UserAddr(to), data), Ok(data.len())),
        done => assert_eq!(done, Ok(data.len())),
    }
}

/// Reads as the kernel does: what the context does not give comes from the address space.
fn get(context: &mut dyn Context, space: &dyn AddressSpace, from: u64, buf: &mut [u8]) {
    let got = match context.read(UserAddr(from), buf) {
        Err(Errno::ENOSYS) => 0,
        done => done.expect("context"),
    };
    let rest = &mut buf[got..];
    assert_eq!(space.read(UserAddr(from + got as u64), rest), Ok(rest.len()));
}

#[test]
fn bytes_arrive_before_the_guest_continues() {
    for tuning in [
        Tuning::default(),
        Tuning::without("windows"),
        Tuning::without("all"),
    ] {
        let engine = Systrap::tuned(tuning).expect("engine");
        let space = patchable(&engine, looking());
        let mut context = thread(&*space);
        syscall(&mut *context);
        for round in 1..2 * WARM {
            put(&mut *context, &*space, DATA, &round.to_le_bytes());
            // A later copy to the same place wins, wherever it goes.
            put(&mut *context, &*space, DATA + 4, &7u32.to_le_bytes());
            context.set_return(round);
            syscall(&mut *context);
            assert_eq!(context.regs().r8, round | 7 << 32);
            assert_eq!(context.regs().r9, round);
        }
    }
}

#[test]
fn long_and_many_copies_arrive_whole() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, looking());
    let mut context = thread(&*space);
    syscall(&mut *context);
    for round in 0..50u64 {
        let data: Vec<u8> = (0..70_000u64).map(|n| (n * 31 + round) as u8).collect();
        let mut to = DATA + round;
        for (n, piece) in data.chunks(1 + 997 * round as usize).enumerate().take(200) {
            put(&mut *context, &*space, to + n as u64 * 3, piece);
            to += piece.len() as u64;
        }
        syscall(&mut *context);
        let mut to = DATA + round;
        for (n, piece) in data.chunks(1 + 997 * round as usize).enumerate().take(200) {
            let mut found = vec![0; piece.len()];
            assert_eq!(
                space.read(UserAddr(to + n as u64 * 3), &mut found),
                Ok(piece.len())
            );
            assert_eq!(found, piece, "round {round}, piece {n}");
            to += piece.len() as u64;
        }
    }
}

#[test]
fn what_is_pending_can_be_read_and_flushed() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, looking());
    let mut context = thread(&*space);
    syscall(&mut *context);
    assert_eq!(context.write(UserAddr(DATA), &5u64.to_le_bytes()), Ok(8));
    let mut found = [0; 8];
    // What is not on its way does not disturb it.
    get(&mut *context, &*space, DATA + 8, &mut found);
    assert_eq!((u64::from_le_bytes(found), read_u64(&*space, DATA)), (0, 0));
    get(&mut *context, &*space, DATA + 4, &mut found);
    assert_eq!(read_u64(&*space, DATA), 5);
    assert_eq!(context.write(UserAddr(DATA), &5u64.to_le_bytes()), Ok(8));
    get(&mut *context, &*space, DATA, &mut found);
    assert_eq!(u64::from_le_bytes(found), 5);
    assert_eq!(context.write(UserAddr(DATA), &6u64.to_le_bytes()), Ok(8));
    assert_eq!(context.flush(), Ok(()));
    assert_eq!(read_u64(&*space, DATA), 6);
}

#[test]
fn memory_that_cannot_be_written_is_not_promised() {
    let engine = Systrap::new().expect("engine");
    let space = space(&engine, looking());
    let mut context = thread(&*space);
    syscall(&mut *context);
    let end = DATA + support::DATA_LEN;
    for bad in [0, 0x100, support::CODE, end - 4, 0x7fff_1000_0000, u64::MAX - 3] {
        assert_eq!(
            context.write(UserAddr(bad), &[1; 8]),
            Err(Errno::ENOSYS),
            "{bad:#x}"
        );
    }
}

/// Another thread of the guest unmaps the memory between the promise and the copy.
#[test]
fn memory_that_went_away_is_a_bad_address() {
    let engine = Systrap::new().expect("engine");
    for round in 0..3 * WARM {
        let space = patchable(&engine, looking());
        let mut context = thread(&*space);
        for _ in 0..if round % 3 == 0 { WARM } else { 1 } {
            syscall(&mut *context);
        }
        let gone = STACK + 0x1000;
        assert_eq!(context.write(UserAddr(DATA), &9u64.to_le_bytes()), Ok(8));
        assert_eq!(context.write(UserAddr(gone), &[1; 0x1800]), Ok(0x1800));
        space
            .apply(&[MapOp::Unmap {
                addr: UserAddr(gone + 0x1000),
                len: 0x1000,
            }])
            .expect("unmap");
        if round % 2 == 0 {
            context.set_return(1);
            syscall(&mut *context);
            assert_eq!(context.regs().r9 as i64, -i64::from(Errno::EFAULT.raw()));
            assert_eq!(context.regs().r8, 9, "the part before is there");
            syscall(&mut *context);
        } else {
            // As when a signal's frame cannot be written.
            context.regs_mut().rbx = 5;
            assert!(matches!(context.run(), Event::Fault(_)));
        }
    }
}

#[test]
fn buffers_of_every_length_are_read() {
    let engine = Systrap::new().expect("engine");
    let space = patchable(&engine, writing());
    let mut context = thread(&*space);
    context.set_local_answers(&LocalAnswers::default());
    for _ in 0..WARM {
        syscall(&mut *context);
    }
    let data: Vec<u8> = (0..250_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(space.write(UserAddr(DATA), &data), Ok(data.len()));
    let end = DATA + support::DATA_LEN;
    let bulk = 0x3_0000;
    let lengths = [
        0u64,
        1,
        255,
        256,
        257,
        4096,
        bulk - 1,
        bulk,
        bulk + 1,
        240_000,
        u64::MAX,
    ];
    for (n, len) in lengths.into_iter().enumerate() {
        let start = DATA + n as u64;
        context.regs_mut().rsi = start;
        context.regs_mut().rdx = len;
        syscall(&mut *context);
        let mut found = vec![0; len.min(240_000) as usize];
        for (n, piece) in found.chunks_mut(70_000).enumerate() {
            get(&mut *context, &*space, start + 70_000 * n as u64, piece);
        }
        assert_eq!(found, data[n..n + found.len()], "{len}");
    }
    // Half of it is not there: the sentry is told nothing, and finds out by itself.
    context.regs_mut().rsi = end - 8;
    context.regs_mut().rdx = 16;
    syscall(&mut *context);
    assert_eq!(context.read(UserAddr(end - 8), &mut [0; 16]), Err(Errno::ENOSYS));
}

#[test]
fn what_a_later_argument_points_to_comes_along() {
    let engine = Systrap::new().expect("engine");
    for (code, is_third) in [(fourth(), false), (third(), true)] {
        let space = patchable(&engine, code);
        let mut context = thread(&*space);
        for _ in 0..WARM {
            syscall(&mut *context);
        }
        assert_eq!(space.write(UserAddr(DATA), &[7; 16]), Ok(16));
        let end = DATA + support::DATA_LEN;
        for (at, there) in [
            (DATA, true),
            (end - 16, true),
            (0, false),
            (end, false),
            (1 << 63, false),
            (STACK, true),
        ] {
            let regs = context.regs_mut();
            (regs.rdi, regs.rsi, regs.rdx, regs.r10) = (1, 2, 3, 4);
            *(if is_third { &mut regs.rdx } else { &mut regs.r10 }) = at;
            syscall(&mut *context);
            let mut found = [1; 16];
            let expected = if there { Ok(16) } else { Err(Errno::ENOSYS) };
            assert_eq!(context.read(UserAddr(at), &mut found), expected, "{at:#x}");
            let regs = context.regs();
            assert_eq!((regs.rdi, regs.rsi), (1, 2), "{at:#x}");
            assert_eq!(if is_third { regs.rdx } else { regs.r10 }, at);
            if at == DATA {
                assert_eq!(found, [7; 16]);
            }
        }
    }
}

/// How much of the guest's memory there the area has a copy of; it must be right.
fn comes_along(context: &mut dyn Context, space: &dyn AddressSpace, at: u64, len: usize) -> usize {
    let mut copy = vec![0; len];
    let got = match context.read(UserAddr(at), &mut copy) {
        Err(Errno::ENOSYS) => return 0,
        done => done.expect("context"),
    };
    let mut memory = vec![1; got];
    assert_eq!(space.read(UserAddr(at), &mut memory), Ok(got));
    assert!(copy[..got] == memory, "{at:#x}");
    got
}

/// An array of buffers for the guest.
fn array(buffers: &[(u64, u64)]) -> Vec<u8> {
    let words = buffers.iter().flat_map(|(start, len)| [*start, *len]);
    words.flat_map(u64::to_le_bytes).collect()
}

#[test]
fn what_is_in_the_buffers_of_an_array_comes_along() {
    const HEADER: u64 = DATA + 0x1000;
    const ARRAY: u64 = DATA + 0x2000;
    const BYTES: u64 = DATA + 0x4000;
    let end = DATA + support::DATA_LEN;
    let room = 0x3_0000;
    // Buffers, and how much of what is in each comes along.
    let cases = [
        (vec![(BYTES, 5)], vec![5]),
        (
            vec![(BYTES, 3), (BYTES + 100, 0), (BYTES + 9, 7000)],
            vec![3, 0, 7000],
        ),
        (vec![(BYTES, room)], vec![room]),
        (vec![(BYTES, room), (BYTES + room, 1)], vec![room, 0]),
        (
            vec![(BYTES, 7), (BYTES + 8, room), (BYTES + 2 * room, 9)],
            vec![7, room - 7, 0],
        ),
        (vec![(BYTES, u64::MAX), (BYTES + room, 1)], vec![room, 0]),
        ((0..12).map(|n| (BYTES + n, 1)).collect(), vec![1; 12]),
    ];
    // Arrays that the stub cannot read whole: too long, or with memory that is not there.
    let bad = [
        vec![(BYTES, 1); 13],
        vec![(BYTES, 8), (end - 4, 8)],
        vec![(0, 8)],
        vec![(u64::MAX - 3, 8)],
    ];
    let engine = Systrap::new().expect("engine");
    for (code, is_message, is_filled) in [
        (gathering(), false, true),
        (sending(), true, true),
        (receiving(), true, false),
    ] {
        let space = patchable(&engine, code);
        let mut context = thread(&*space);
        for _ in 0..WARM {
            syscall(&mut *context);
        }
        let data: Vec<u8> = (0..0x7_0000u32).map(|n| (n % 249) as u8).collect();
        assert_eq!(space.write(UserAddr(BYTES), &data), Ok(data.len()));
        let mut make = |buffers: &[(u64, u64)]| {
            let (bytes, count) = (array(buffers), buffers.len() as u64);
            assert_eq!(space.write(UserAddr(ARRAY), &bytes), Ok(bytes.len()));
            let header: Vec<u8> = [1, 2, ARRAY, count, 5, 6, 7]
                .iter()
                .flat_map(|word: &u64| word.to_le_bytes())
                .collect();
            assert_eq!(space.write(UserAddr(HEADER), &header), Ok(56));
            let regs = context.regs_mut();
            (regs.rsi, regs.rdx) = if is_message { (HEADER, 0) } else { (ARRAY, count) };
            syscall(&mut *context);
            let array = comes_along(&mut *context, &*space, ARRAY, bytes.len());
            assert!(array == 0 || array == bytes.len(), "{array}");
            if is_message {
                let header = comes_along(&mut *context, &*space, HEADER, 56);
                assert_eq!(header, if array > 0 { 56 } else { 0 });
            }
            let there = |(at, len): &(u64, u64)| {
                let len = (*len).min(0x10_0000) as usize;
                comes_along(&mut *context, &*space, *at, len) as u64
            };
            (array > 0, buffers.iter().map(there).collect::<Vec<_>>())
        };
        for (buffers, whole) in &cases {
            let (array, all) = make(buffers);
            assert!(array, "{buffers:?}");
            if is_filled {
                assert_eq!(all, *whole, "{buffers:?}");
            } else {
                assert!(all.iter().all(|len| *len == 0), "{buffers:?}");
            }
        }
        for buffers in &bad {
            let (array, all) = make(buffers);
            let expected = !is_filled && buffers.len() <= 12;
            assert_eq!(array, expected, "{buffers:?}");
            assert!(all.iter().all(|len| *len == 0), "{buffers:?}");
        }
        // The array itself is not there.
        let regs = context.regs_mut();
        (regs.rsi, regs.rdx) = (end - 8, 2);
        syscall(&mut *context);
        assert_eq!(context.read(UserAddr(end - 8), &mut [0; 8]), Err(Errno::ENOSYS));
    }
}
