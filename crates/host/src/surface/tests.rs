//! The filter judged as the host would.

use super::*;
use crate::seccomp::{self, Insn};

/// Runs a filter as the host would; the last instruction is always a return.
fn judge(program: &[Insn], nr: i64, args: [u64; 6]) -> u32 {
    let mut data = [0u8; 64];
    data[..4].copy_from_slice(&(nr as u32).to_le_bytes());
    data[4..8].copy_from_slice(&seccomp::ARCH_X86_64.to_le_bytes());
    for (index, arg) in args.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&arg.to_le_bytes());
    }
    let (mut at, mut acc) = (0usize, 0u32);
    loop {
        let insn = program[at];
        let take = |yes: bool| usize::from(if yes { insn.jt } else { insn.jf });
        match insn.code {
            0x20 => acc = u32::from_le_bytes(data[insn.k as usize..][..4].try_into().unwrap()),
            0x54 => acc &= insn.k,
            0x15 => at += take(acc == insn.k),
            0x45 => at += take(acc & insn.k != 0),
            0x06 => return insn.k,
            other => panic!("instruction {other:#x}"),
        }
        at += 1;
    }
}

#[test]
fn the_filter_does_what_the_table_says() {
    let program = sentry_filter(Needs {
        volume: true,
        writable_volume: true,
        control: true,
        host_network: true,
    })
    .unwrap();
    let verdict = |nr, args| judge(&program, nr, args);
    assert_eq!(verdict(libc::SYS_futex, [u64::MAX; 6]), seccomp::ALLOW);
    assert_eq!(verdict(libc::SYS_execve, [0; 6]), seccomp::TRAP);
    assert_eq!(
        verdict(libc::SYS_clone3, [0; 6]),
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32
    );
    let exec = (libc::PROT_READ | libc::PROT_EXEC) as u64;
    assert_eq!(verdict(libc::SYS_mmap, [0, 1, exec, 0, 0, 0]), seccomp::TRAP);
    assert_eq!(verdict(libc::SYS_mmap, [0, 1, 3, 0, 0, 0]), seccomp::ALLOW);
    assert_eq!(verdict(libc::SYS_openat, [0, 0, 0, 0, 0, 0]), seccomp::TRAP);
    assert_eq!(
        verdict(libc::SYS_openat, [0, 0, libc::O_CLOEXEC as u64 | 2, 0, 0, 0]),
        seccomp::ALLOW
    );
    for command in FCNTL {
        assert_eq!(
            verdict(libc::SYS_fcntl, [0, u64::from(*command), 0, 0, 0, 0]),
            seccomp::ALLOW
        );
    }
    assert_eq!(verdict(libc::SYS_fcntl, [0, 8, 0, 0, 0, 0]), seccomp::TRAP);
    assert_eq!(
        verdict(libc::SYS_fcntl, [0, 3 | 1 << 32, 0, 0, 0, 0]),
        seccomp::TRAP
    );
    assert_eq!(
        verdict(libc::SYS_clone, [u64::from(THREAD_FLAGS), 0, 0, 0, 0, 0]),
        seccomp::ALLOW
    );
    assert_eq!(
        verdict(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
        seccomp::TRAP
    );
}

#[test]
fn without_volumes_nothing_is_opened_for_writing() {
    let program = sentry_filter(Needs::default()).unwrap();
    let open = |flags: i32| {
        judge(
            &program,
            libc::SYS_openat,
            [0, 0, (libc::O_CLOEXEC | flags) as u64, 0, 0, 0],
        )
    };
    assert_eq!(open(libc::O_RDONLY | libc::O_NOFOLLOW), seccomp::ALLOW);
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC] {
        assert_eq!(open(flags), seccomp::TRAP);
    }
    assert_eq!(judge(&program, libc::SYS_mkdirat, [0; 6]), seccomp::TRAP);
}

#[test]
fn sockets_of_the_host_are_for_those_who_share_its_network() {
    let shared = sentry_filter(Needs {
        host_network: true,
        ..Needs::default()
    })
    .unwrap();
    let kept = sentry_filter(Needs::default()).unwrap();
    let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64;
    let socket = |filter, family: i32, kind, protocol| {
        judge(filter, libc::SYS_socket, [family as u64, kind, protocol, 0, 0, 0])
    };
    assert_eq!(socket(&shared, libc::AF_INET, kind, 0), seccomp::ALLOW);
    assert_eq!(socket(&kept, libc::AF_INET, kind, 0), seccomp::TRAP);
    for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK] {
        assert_eq!(socket(&shared, family, kind, 0), seccomp::TRAP);
    }
    assert_eq!(
        socket(&shared, libc::AF_INET, libc::SOCK_RAW as u64, 1),
        seccomp::TRAP
    );
    let set = |level: i32, name: i32| {
        judge(
            &shared,
            libc::SYS_setsockopt,
            [3, level as u64, name as u64, 0, 0, 0],
        )
    };
    for (level, name) in SETTABLE {
        assert_eq!(set(*level, *name), seccomp::ALLOW);
    }
    let get = |(level, name): &(i32, i32)| {
        judge(
            &shared,
            libc::SYS_getsockopt,
            [3, *level as u64, *name as u64, 0, 0, 0],
        )
    };
    assert!(
        SETTABLE
            .iter()
            .chain(READABLE)
            .all(|own| get(own) == seccomp::ALLOW)
    );
    assert_eq!(
        get(&(libc::IPPROTO_TCP, libc::TCP_ZEROCOPY_RECEIVE)),
        seccomp::TRAP
    );
    assert_eq!(get(&(libc::IPPROTO_IP, libc::SO_ACCEPTCONN)), seccomp::TRAP);
    for (level, name) in [
        (libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
        (libc::SOL_SOCKET, libc::SO_MARK),
        (libc::IPPROTO_TCP, libc::TCP_ULP),
        (libc::SOL_PACKET, libc::PACKET_RX_RING),
    ] {
        assert_eq!(set(level, name), seccomp::TRAP, "{level} {name}");
    }
    let ioctl = |request: u64| judge(&shared, libc::SYS_ioctl, [3, request, 0, 0, 0, 0]);
    assert_eq!(ioctl(0x541b), seccomp::ALLOW);
    assert_eq!(ioctl(libc::SIOCGIFCONF), seccomp::TRAP);
}

#[test]
fn other_architectures_end_the_process() {
    let program = sentry_filter(Needs {
        volume: true,
        writable_volume: true,
        control: true,
        host_network: true,
    })
    .unwrap();
    assert_eq!((program[0].k, program[2].k), (seccomp::ARCH, seccomp::KILL));
}

#[test]
fn each_call_stands_once() {
    for writable_volume in [false, true] {
        let needs = Needs {
            volume: true,
            writable_volume,
            control: writable_volume,
            host_network: writable_volume,
        };
        let mut numbers: Vec<i64> = needs.rows().map(|row| row.nr).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), needs.rows().count());
    }
}
