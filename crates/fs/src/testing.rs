//! A guest with /proc, /dev, /dev/pts and /sys, for the tests of this crate.

use std::sync::Arc;

use abi::{AbiField, Errno};
use kernel::testing::Guest;
use kernel::vfs::{FileKind, LookupFlags, MountFlags, Walker};

use crate::kernfs::table::node;
use crate::kernfs::{Context, Entry, KernSuper, StaticDir, root_inode};

#[derive(Clone)]
struct Empty;

impl Context for Empty {}

macro_rules! places {
    ($($name:literal)*) => { &[$(
        node($name, FileKind::Directory, |_| Arc::new(StaticDir::new(Empty, &[]))),
    )*] };
}

static ROOT: &[Entry<Empty>] = places!["dev" "proc" "sys"];

/// A guest whose synthetic file systems are mounted.
pub fn guest() -> Guest {
    let guest = Guest::with_root(|_| {
        let sb = KernSuper::superblock("test", 0, true);
        root_inode(&sb, Arc::new(StaticDir::new(Empty, ROOT)))
    });
    let root = guest.task.fs().root();
    let walker = Walker::as_root(&guest.kernel, root);
    crate::register(&guest.kernel);
    for (name, at) in [
        ("proc", "/proc"),
        ("devtmpfs", "/dev"),
        ("devpts", "/dev/pts"),
        ("sysfs", "/sys"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        let Ok(kind) = guest.kernel.vfs.filesystem_type(name.as_bytes()) else {
            continue;
        };
        let flags = MountFlags::empty();
        let inode = kind.mount(&guest.kernel, name.as_bytes(), flags, b"").unwrap();
        let at = walker
            .resolve(None, at.as_bytes(), LookupFlags::FOLLOW)
            .unwrap_or_else(|error| panic!("{at}: {error}"));
        guest
            .kernel
            .vfs
            .mount_at(&at, inode, name.as_bytes(), flags)
            .unwrap();
    }
    guest
}

/// open(2).
pub fn open(guest: &Guest, path: &str, flags: u32) -> Result<i32, Errno> {
    let path = guest.string(path);
    let fd = guest.call("openat", &[(-100i64) as u64, path.0, u64::from(flags), 0])?;
    Ok(i32::try_from(fd).unwrap())
}

/// read(2).
pub fn read(guest: &Guest, fd: i32, len: usize) -> Result<Vec<u8>, Errno> {
    let room = guest.room(len);
    let got = guest.call("read", &[fd as u64, room.0, len as u64])?;
    Ok(guest.read(room, usize::try_from(got).unwrap()))
}

/// write(2).
pub fn write(guest: &Guest, fd: i32, data: &[u8]) -> Result<u64, Errno> {
    let at = guest.bytes(data);
    guest.call("write", &[fd as u64, at.0, data.len() as u64])
}

/// close(2).
pub fn close(guest: &Guest, fd: i32) {
    guest.call("close", &[fd as u64]).unwrap();
}

/// The whole of a file.
pub fn slurp(guest: &Guest, path: &str) -> Result<String, Errno> {
    let fd = open(guest, path, 0)?;
    let mut all = Vec::new();
    loop {
        let piece = match read(guest, fd, 4096) {
            Ok(piece) => piece,
            Err(error) => {
                close(guest, fd);
                return Err(error);
            }
        };
        if piece.is_empty() {
            break;
        }
        all.extend(piece);
    }
    close(guest, fd);
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// readlink(2).
pub fn readlink(guest: &Guest, path: &str) -> Result<String, Errno> {
    let path = guest.string(path);
    let room = guest.room(4096);
    let got = guest.call("readlinkat", &[(-100i64) as u64, path.0, room.0, 4096])?;
    let bytes = guest.read(room, usize::try_from(got).unwrap());
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Names in a directory, without `.` and `..`.
pub fn names(guest: &Guest, path: &str) -> Result<Vec<String>, Errno> {
    let fd = open(guest, path, abi::fcntl::O_DIRECTORY)?;
    let mut names = Vec::new();
    loop {
        let room = guest.room(4096);
        let got = guest.call("getdents64", &[fd as u64, room.0, 4096])?;
        if got == 0 {
            break;
        }
        let bytes = guest.read(room, usize::try_from(got).unwrap());
        let mut at = 0;
        while at < bytes.len() {
            let len = usize::from(u16::get(&bytes[at + 16..]));
            let name = &bytes[at + 19..at + len];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            names.push(String::from_utf8_lossy(&name[..end]).into_owned());
            at += len;
        }
    }
    close(guest, fd);
    names.retain(|name| name != "." && name != "..");
    Ok(names)
}

/// ioctl(2) with a structure in and out.
pub fn ioctl<T: AbiField>(guest: &Guest, fd: i32, command: u32, value: &mut T) -> Result<u64, Errno> {
    let mut bytes = vec![0; T::SIZE];
    value.put(&mut bytes);
    let at = guest.bytes(&bytes);
    let done = guest.call("ioctl", &[fd as u64, u64::from(command), at.0])?;
    *value = T::get(&guest.read(at, T::SIZE));
    Ok(done)
}

/// ioctl(2) with a number.
pub fn ioctl_number(guest: &Guest, fd: i32, command: u32, value: u64) -> Result<u64, Errno> {
    guest.call("ioctl", &[fd as u64, u64::from(command), value])
}
