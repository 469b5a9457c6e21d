//! execve(2) of a file that is the fuzzer's: ELF, scripts, anything.

use super::bytes::Bytes;
use super::syscalls::{guest, take_apart};

pub fn run(data: &[u8]) {
    let guest = guest();
    let mut input = Bytes(data);
    let arguments = input.byte();
    let path = guest.string("/tmp/program");
    let Ok(fd) = guest.call("open", &[path.0, 0o102, 0o777]) else {
        return;
    };
    // A valid header in front for most inputs: the interesting parts come after it.
    let mut file = Vec::new();
    if arguments & 1 == 1 && !input.0.starts_with(b"#!") {
        file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.extend([if arguments & 2 == 0 { 2 } else { 3 }, 0, 62, 0, 1, 0, 0, 0]);
    }
    file.extend(input.0);
    file.truncate(64 << 10);
    let bytes = guest.bytes(&file);
    let _ = guest.call("write", &[fd, bytes.0, file.len() as u64]);
    if arguments & 4 != 0 {
        // The end of a file that is larger than what was written.
        let _ = guest.call("ftruncate", &[fd, 1 << 20]);
    }
    let _ = guest.call("close", &[fd]);
    let list = guest.bytes(&[0; 16]);
    let _ = guest.call("execve", &[path.0, list.0, list.0]);
    take_apart(guest);
}
