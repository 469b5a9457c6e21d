//! Path walks: names, links, directories that move, mounts and roots, in a small tree so that they meet.

use super::bytes::Bytes;
use super::syscalls::{guest, take_apart};

/// Steps of one run.
const MAX_STEPS: usize = 64;
/// Names are few, so that they meet.
const PARTS: [&str; 16] = [
    "a", "b", "c", "..", ".", "", "tmp", "proc", "self", "root", "cwd", "fd", "3", "ns", "exe", "l",
];
const AT_FDCWD: u64 = -100i64 as u64;

pub fn run(data: &[u8]) {
    let guest = guest();
    let mut input = Bytes(data);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let first = path(&mut input);
        let (mut one, mut two) = (first.clone(), Vec::new());
        one.push(0);
        let one = guest.bytes(&one).0;
        let choice = input.byte();
        if matches!(choice % 16, 2..=5 | 8) {
            two = path(&mut input);
            two.push(0);
        }
        let two = guest.bytes(&two).0;
        let dir = match input.byte() % 4 {
            0 => u64::from(input.byte() % 32),
            _ => AT_FDCWD,
        };
        let flags = input.word(2);
        let call = |name: &str, args: &[u64]| {
            let _ = guest.call(name, args);
        };
        match choice % 16 {
            0 | 1 => call("mkdirat", &[dir, one, 0o777]),
            2 => call("symlinkat", &[one, dir, two]),
            3 => call("renameat2", &[dir, one, AT_FDCWD, two, flags & 7]),
            4 => call("linkat", &[dir, one, AT_FDCWD, two, flags & 0x1400]),
            5 => call("mount", &[one, two, 0, 0x1000 | flags & 0x4000, 0]),
            6 => call("chdir", &[one]),
            7 => call("chroot", &[one]),
            8 => {
                let how = [flags & 0o4_110_102, 0o600, u64::from(input.byte() & 0x3f)];
                let how: Vec<u8> = how.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
                let how = guest.bytes(&how).0;
                call("openat2", &[dir, one, how, 24]);
            }
            9 => call("openat", &[dir, one, flags | 0o100, 0o600]),
            10 => call("unlinkat", &[dir, one, flags & 0x200]),
            11 => call("umount2", &[one, flags & 0xf]),
            12 => {
                let room = guest.room(512).0;
                call("readlinkat", &[dir, one, room, 512]);
                call("getcwd", &[room, 512]);
            }
            13 => {
                let room = guest.room(256).0;
                call("statx", &[dir, one, flags & 0x7900, 0x7ff, room]);
            }
            14 => call("mknodat", &[dir, one, 0o10_600, 0]),
            _ => call("close", &[u64::from(input.byte() % 48)]),
        }
    }
    take_apart(guest);
}

fn path(input: &mut Bytes<'_>) -> Vec<u8> {
    let shape = input.byte();
    if shape == 255 {
        // Longer than a path or a name may be.
        let part = vec![b'x'; usize::from(input.byte()) + 100];
        return part.repeat(usize::from(input.byte()) % 24 + 1);
    }
    let mut path = if shape & 1 == 1 { b"/".to_vec() } else { Vec::new() };
    for _ in 0..shape >> 1 & 7 {
        path.extend(PARTS[usize::from(input.byte()) % PARTS.len()].as_bytes());
        path.push(b'/');
    }
    if shape & 16 == 0 {
        path.pop();
    }
    path
}
