//! Files of /proc and /sys: reads and writes at any offset of each file that is there.

use std::cell::OnceCell;

use kernel::testing::Guest;

use super::bytes::Bytes;
use super::syscalls::{guest, take_apart};

/// Steps of one run.
const MAX_STEPS: usize = 32;
/// How deep the trees are listed.
const MAX_DEPTH: usize = 6;
const O_DIRECTORY: u64 = 0o200_000;
const DT_DIR: u8 = 4;
const DT_LNK: u8 = 10;

thread_local! {
    static FILES: OnceCell<Vec<String>> = const { OnceCell::new() };
}

pub fn run(data: &[u8]) {
    let guest = guest();
    let files = FILES.with(|files| {
        let list = || {
            let mut found = Vec::new();
            for root in ["/proc", "/sys", "/dev"] {
                list(root, 0, &mut found);
            }
            assert!(found.len() > 100, "{found:?}");
            found
        };
        files.get_or_init(list).clone()
    });
    let mut input = Bytes(data);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let file = &files[input.word(2) as usize % files.len()];
        let shape = input.byte();
        let path = guest.string(file);
        // Nothing waits: opens of fifos and terminals neither.
        let Ok(fd) = guest.call("open", &[path.0, 0o4000 | u64::from(shape % 3), 0]) else {
            continue;
        };
        for _ in 0..shape >> 2 & 3 {
            let op = input.byte();
            let len = usize::from(input.byte()) << (op >> 5 & 3);
            let offset = match op >> 3 & 3 {
                0 => input.word(8),
                _ => input.word(1),
            };
            // A signal waits, so that nothing waits for anything else.
            let _ = guest.call("kill", &[1, 10]);
            match op & 7 {
                0..=3 => {
                    let text = guest.bytes(input.take(len)).0;
                    let len = len.min(4096) as u64;
                    let _ = match op & 1 {
                        0 => guest.call("write", &[fd, text, len]),
                        _ => guest.call("pwrite64", &[fd, text, len, offset]),
                    };
                }
                4 | 5 => {
                    let room = guest.room(len).0;
                    let _ = guest.call("pread64", &[fd, room, len as u64, offset]);
                }
                6 => {
                    let _ = guest.call("lseek", &[fd, offset, u64::from(op >> 6)]);
                }
                _ => {
                    let room = guest.room(256).0;
                    let _ = guest.call("ioctl", &[fd, offset, room]);
                }
            }
        }
        let _ = guest.call("close", &[fd]);
    }
    take_apart(guest);
}

/// The files below a directory. Each directory with a guest of its own, whose memory is bounded.
fn list(dir: &str, depth: usize, found: &mut Vec<String>) {
    let guest = guest();
    let mut below = Vec::new();
    if let Ok(fd) = guest.call("open", &[guest.string(dir).0, O_DIRECTORY, 0]) {
        below = entries(&guest, fd);
    }
    take_apart(guest);
    for (name, kind) in below {
        let path = format!("{dir}/{name}");
        match kind {
            DT_DIR if depth < MAX_DEPTH => list(&path, depth + 1, found),
            DT_DIR | DT_LNK => {}
            _ => found.push(path),
        }
    }
}

fn entries(guest: &Guest, fd: u64) -> Vec<(String, u8)> {
    let room = guest.room(8192);
    let mut all = Vec::new();
    while let Ok(len @ 1..) = guest.call("getdents64", &[fd, room.0, 8192]) {
        let bytes = guest.read(room, len as usize);
        let mut rest = &bytes[..];
        while rest.len() > 19 {
            let size = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let name: Vec<u8> = rest[19..size]
                .iter()
                .copied()
                .take_while(|byte| *byte != 0)
                .collect();
            let name = String::from_utf8_lossy(&name).into_owned();
            if name != "." && name != ".." {
                all.push((name, rest[18]));
            }
            rest = &rest[size..];
        }
    }
    all
}
