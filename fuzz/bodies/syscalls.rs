//! System calls of one task over the scripted platform, with descriptors of every kind: arguments, the memory that they point
//! to, and the order are the fuzzer's. Ioctls, netlink messages, paths and socket options are among them.

use kernel::testing::Guest;
use kernel::vfs::MountFlags;

use super::bytes::Bytes;

/// Calls that end the task, start another, wait with a mask of their own, or take the signal away that keeps calls from waiting.
const LEFT_OUT: &[&str] = &[
    "exit",
    "exit_group",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "reboot",
    "rt_sigprocmask",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigaction",
    "ppoll",
    "pselect6",
    "epoll_pwait",
    "epoll_pwait2",
    "rt_sigreturn",
    "execve",
    "execveat",
    "io_uring_enter",
];
/// Calls in one run.
const MAX_CALLS: usize = 48;
const SIGUSR1: u64 = 10;
const WORDS: [u64; 24] = [
    0,
    1,
    u64::MAX,
    0xffff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    i64::MAX as u64,
    1 << 63,
    4096,
    4095,
    0xffff_ffff_ffff_f000,
    (-100i64) as u64,
    0x7fff_0000_0000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    65536,
    1 << 40,
    1_000_000_000,
    999_999_999,
    255,
    256,
    511,
    0x1f_ffff,
    1 << 32,
];

/// A guest with a writable root, the synthetic file systems, and a descriptor of every kind.
pub fn guest() -> Guest {
    let guest = Guest::with_root(|kernel| {
        fs::register(kernel);
        let kind = kernel.vfs.filesystem_type(b"tmpfs").expect("registered");
        kind.mount(kernel, b"none", MountFlags::empty(), b"")
            .expect("tmpfs")
    });
    let call = |name: &str, args: &[u64]| guest.call(name, args).unwrap_or(0);
    for (dir, kind) in [
        ("/proc", "proc"),
        ("/dev", "devtmpfs"),
        ("/sys", "sysfs"),
        ("/tmp", "tmpfs"),
    ] {
        let (dir, kind) = (guest.string(dir), guest.string(kind));
        call("mkdir", &[dir.0, 0o755]);
        call("mount", &[kind.0, dir.0, kind.0, 0, 0]);
    }
    let action = guest.bytes(&[
        0x00, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    call("rt_sigaction", &[SIGUSR1, action.0, 0, 8]);
    let open = |path: &str, flags: u64| call("open", &[guest.string(path).0, flags, 0o666]);
    open("/tmp/file", 0o102);
    open("/tmp", 0o200_000);
    open("/proc/self/mem", 2);
    open("/proc/self/maps", 0);
    open("/proc", 0o200_000);
    open("/dev/zero", 2);
    open("/dev/ptmx", 0o4002);
    let two = guest.room(8);
    call("pipe2", &[two.0, 0]);
    for (domain, kind) in [(1, 1), (1, 2), (1, 5)] {
        call("socketpair", &[domain, kind, 0, two.0]);
    }
    for (domain, kind, protocol) in [
        (2, 1, 0),
        (2, 2, 0),
        (10, 1, 0),
        (10, 2, 0),
        (16, 3, 0),
        (16, 2, 15),
        (17, 3, 0x300),
        (2, 3, 1),
        (1, 1, 0),
    ] {
        call("socket", &[domain, kind, protocol]);
    }
    call("epoll_create1", &[0]);
    call("eventfd2", &[1, 0]);
    call("timerfd_create", &[1, 0]);
    call("inotify_init1", &[0]);
    call("memfd_create", &[guest.string("m").0, 3]);
    call("pidfd_open", &[1, 0]);
    guest
}

pub fn run(data: &[u8]) {
    let guest = guest();
    let mut input = Bytes(data);
    let rows: Vec<&str> = kernel::syscall::rows()
        .map(|row| row.name)
        .filter(|name| !LEFT_OUT.contains(name))
        .collect();
    for _ in 0..MAX_CALLS {
        if input.is_empty() {
            break;
        }
        let name = rows[input.word(2) as usize % rows.len()];
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = argument(&guest, &mut input);
        }
        // A signal waits for delivery, so that nothing waits for anything else.
        let _ = guest.call("kill", &[1, SIGUSR1]);
        let _ = guest.call(name, &args);
    }
    take_apart(guest);
}

/// A kernel and its tasks hold each other for as long as a sandbox lives: without this, each run would leave its memory behind.
pub fn take_apart(guest: Guest) {
    let _ = guest.call("close_range", &[0, u64::from(u32::MAX), 0]);
    let _ = guest.call("munmap", &[0x10_0000, 4 << 20]);
    let kernel = guest.kernel.clone();
    let (tasks, groups) = {
        let mut table = kernel.pids.write();
        (
            std::mem::take(&mut table.tasks),
            std::mem::take(&mut table.groups),
        )
    };
    // A process and its threads know each other until these end, which they do not here.
    for entry in groups.values() {
        entry.group.signals.lock().threads.clear();
    }
    drop((guest, tasks, groups));
}

fn argument(guest: &Guest, input: &mut Bytes<'_>) -> u64 {
    let choice = input.byte();
    match choice % 8 {
        0 => WORDS[input.byte() as usize % WORDS.len()],
        1 | 2 => u64::from(input.byte() % 40),
        3 => input.word(2),
        4 => input.word(4),
        5 => guest.bad().0,
        // A page at most: the test's memory is bounded.
        _ => {
            let len = input.word(1) as usize * if choice & 64 == 0 { 1 } else { 8 };
            let bytes = input.take(len);
            let mut memory = bytes.to_vec();
            memory.resize(len.max(8), 0);
            if choice & 128 != 0 {
                // Pointers to itself, as vectors and headers have them.
                let at = guest.room(memory.len());
                for (n, word) in memory.chunks_exact_mut(8).enumerate() {
                    if n % 2 == 0 {
                        word.copy_from_slice(&at.0.to_le_bytes());
                    }
                }
            }
            // The guest may have unmapped it meanwhile.
            let at = guest.room(memory.len());
            let _ = guest.task.copy_out(at, &memory);
            at.0
        }
    }
}
