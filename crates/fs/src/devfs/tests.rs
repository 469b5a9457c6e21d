//! /dev and its memory devices.

use abi::Errno;
use abi::fcntl::{O_RDONLY, O_RDWR, O_WRONLY};

use crate::testing::{guest, ioctl, names, open, read, readlink, write};

#[test]
fn memory_devices_read_and_write_as_ever() {
    let guest = guest();
    let null = open(&guest, "/dev/null", O_RDWR).unwrap();
    assert_eq!(read(&guest, null, 10).unwrap(), b"");
    assert_eq!(write(&guest, null, b"gone"), Ok(4));
    let zero = open(&guest, "/dev/zero", O_RDWR).unwrap();
    assert_eq!(read(&guest, zero, 5000).unwrap(), vec![0; 5000]);
    assert_eq!(write(&guest, zero, b"gone"), Ok(4));
    let full = open(&guest, "/dev/full", O_RDWR).unwrap();
    assert_eq!(read(&guest, full, 3).unwrap(), [0; 3]);
    assert_eq!(write(&guest, full, b"x"), Err(Errno::ENOSPC));
    let random = open(&guest, "/dev/urandom", O_RDONLY).unwrap();
    let (one, two) = (
        read(&guest, random, 32).unwrap(),
        read(&guest, random, 32).unwrap(),
    );
    assert_eq!((one.len(), two.len()), (32, 32));
    assert_ne!(one, two);
    let mut bits = 0i32;
    ioctl(&guest, random, 0x8004_5200, &mut bits).unwrap();
    assert_eq!(bits, 256);
    let random = open(&guest, "/dev/random", O_WRONLY).unwrap();
    assert_eq!(write(&guest, random, b"more entropy"), Ok(12));
}

#[test]
fn the_usual_names_are_there() {
    let guest = guest();
    let names = names(&guest, "/dev").unwrap();
    for name in [
        "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ] {
        assert!(names.iter().any(|have| have == name), "{name}");
    }
    assert_eq!(readlink(&guest, "/dev/stdin").unwrap(), "/proc/self/fd/0");
    assert_eq!(open(&guest, "/dev/tty", O_RDWR), Err(Errno::ENXIO));
    assert_eq!(open(&guest, "/dev/nothing", O_RDWR), Err(Errno::ENOENT));
}
