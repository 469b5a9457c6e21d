//! Names in directories, by directory handle: one component at a time, following no link.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;
use crate::file::{self, Stat};

/// One path component, NUL-terminated.
struct Name([u8; 256]);

impl Name {
    /// `ENAMETOOLONG` beyond 255 bytes; `EINVAL` for what is not one component (`.` and `..` included).
    fn new(name: &[u8]) -> Result<Name, Errno> {
        if name.len() > 255 {
            return Err(Errno::ENAMETOOLONG);
        }
        if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 256];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Name(bytes))
    }

    fn as_ptr(&self) -> *const libc::c_char {
        self.0.as_ptr().cast()
    }
}

/// How to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// A handle only (O_PATH), of any kind of file, a symbolic link included.
    Path,
    /// A handle only, of a directory.
    PathDirectory,
    /// To read a regular file.
    Read,
    /// To write.
    Write,
    /// To read and write.
    ReadWrite,
    /// To list a directory.
    List,
}

impl Open {
    fn flags(self) -> i32 {
        // O_NONBLOCK: should the name have become a fifo meanwhile, the open does not hang.
        let data = libc::O_NONBLOCK | libc::O_NOCTTY;
        let flags = match self {
            Open::Path => libc::O_PATH,
            Open::PathDirectory => libc::O_PATH | libc::O_DIRECTORY,
            Open::Read => libc::O_RDONLY | data,
            Open::Write => libc::O_WRONLY | data,
            Open::ReadWrite => libc::O_RDWR | data,
            Open::List => libc::O_RDONLY | libc::O_DIRECTORY,
        };
        flags | libc::O_NOFOLLOW | libc::O_CLOEXEC
    }
}

fn openat(dir: BorrowedFd<'_>, name: *const libc::c_char, flags: i32, perm: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: callers pass a NUL-terminated name.
    let fd = check(unsafe { libc::openat(dir.as_raw_fd(), name, flags, perm) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Opens an existing entry. `ELOOP` for a symbolic link (but with [`Open::Path`]).
pub fn open(dir: BorrowedFd<'_>, name: &[u8], how: Open) -> Result<OwnedFd, Errno> {
    openat(dir, Name::new(name)?.as_ptr(), how.flags(), 0)
}

/// Opens the directory itself to list it.
pub fn open_self(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(dir, c".".as_ptr(), Open::List.flags(), 0)
}

/// Creates a regular file and opens it to read and write; `EEXIST` if the name is taken.
pub fn create(dir: BorrowedFd<'_>, name: &[u8], perm: u32) -> Result<OwnedFd, Errno> {
    let flags = Open::ReadWrite.flags() | libc::O_CREAT | libc::O_EXCL;
    openat(dir, Name::new(name)?.as_ptr(), flags, perm)
}

/// A new regular file without a name in the directory, opened to read and write (O_TMPFILE).
pub fn create_nameless(dir: BorrowedFd<'_>, perm: u32) -> Result<OwnedFd, Errno> {
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
    openat(dir, c".".as_ptr(), flags, perm)
}

/// Whether [`link_handle`] can work: hosts before Linux 6.10 keep it to the privileged.
pub fn can_link_handle(file: BorrowedFd<'_>, dir: BorrowedFd<'_>) -> bool {
    // The file is looked at before the name that cannot be new.
    link_raw(file, c"".as_ptr(), dir, c".".as_ptr(), libc::AT_EMPTY_PATH) == Err(Errno::EEXIST)
}

/// A name for an open file (linkat(2) with AT_EMPTY_PATH).
pub fn link_handle(file: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let name = Name::new(name)?;
    link_raw(file, c"".as_ptr(), dir, name.as_ptr(), libc::AT_EMPTY_PATH)
}

/// Attributes of an entry, which is not followed.
pub fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    file::statx(dir, &Name::new(name)?.0)
}

/// The text of the symbolic link that an O_PATH descriptor is.
pub fn read_link(link: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    read_link_at(link, c"".as_ptr())
}

/// The text of the symbolic link of that name.
pub fn read_link_in(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    read_link_at(dir, Name::new(name)?.as_ptr())
}

fn read_link_at(dir: BorrowedFd<'_>, name: *const libc::c_char) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: callers pass a NUL-terminated name; pointer and length describe `buf`.
    let got = unsafe { libc::readlinkat(dir.as_raw_fd(), name, buf.as_mut_ptr().cast(), buf.len()) };
    buf.truncate(check(got as libc::c_long)? as usize);
    Ok(buf)
}

/// mkdirat(2).
pub fn make_directory(dir: BorrowedFd<'_>, name: &[u8], perm: u32) -> Result<(), Errno> {
    let name = Name::new(name)?;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), perm) }.into()).map(drop)
}

/// mknodat(2) of a fifo, a socket or a 0:0 device (what an unprivileged user may make).
pub fn make_node(dir: BorrowedFd<'_>, name: &[u8], mode: u32, rdev: u64) -> Result<(), Errno> {
    let name = Name::new(name)?;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, rdev) }.into()).map(drop)
}

/// symlinkat(2).
pub fn make_link(dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Result<(), Errno> {
    let name = Name::new(name)?;
    let target = CString::new(target).map_err(|_| Errno::EINVAL)?;
    // SAFETY: both texts are NUL-terminated.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }.into()).map(drop)
}

/// linkat(2) of an entry of another directory, which is not followed.
pub fn link(
    from: BorrowedFd<'_>,
    old_name: &[u8],
    dir: BorrowedFd<'_>,
    new_name: &[u8],
) -> Result<(), Errno> {
    let (old, new) = (Name::new(old_name)?, Name::new(new_name)?);
    link_raw(from, old.as_ptr(), dir, new.as_ptr(), 0)
}

fn link_raw(
    from: BorrowedFd<'_>,
    old: *const libc::c_char,
    dir: BorrowedFd<'_>,
    new: *const libc::c_char,
    flags: i32,
) -> Result<(), Errno> {
    // SAFETY: callers pass NUL-terminated names.
    let ret = unsafe { libc::linkat(from.as_raw_fd(), old, dir.as_raw_fd(), new, flags) };
    check(ret.into()).map(drop)
}

/// unlinkat(2): `directory` chooses rmdir.
pub fn remove(dir: BorrowedFd<'_>, name: &[u8], directory: bool) -> Result<(), Errno> {
    let name = Name::new(name)?;
    let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) }.into()).map(drop)
}

/// renameat2(2).
pub fn rename(
    from: BorrowedFd<'_>,
    old_name: &[u8],
    to: BorrowedFd<'_>,
    new_name: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    let (old, new) = (Name::new(old_name)?, Name::new(new_name)?);
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: both names are NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_renameat2, from, old.as_ptr(), to, new.as_ptr(), flags) })
        .map(drop)
}

/// Room for a good many entries.
pub const LIST_BYTES: usize = 64 << 10;
/// Bytes before the name in a `struct linux_dirent64`.
const DIRENT_HEAD: usize = 19;

/// Tells `each` of all entries from the descriptor's position on, but `.` and `..`: name, inode number and type (DT_*).
/// `buf` is for the host's answers, as large as [`LIST_BYTES`].
pub fn list(
    dir: BorrowedFd<'_>,
    buf: &mut [u8],
    mut each: impl FnMut(&[u8], u64, u8) -> Result<(), Errno>,
) -> Result<(), Errno> {
    loop {
        let raw = dir.as_raw_fd();
        // SAFETY: pointer and length describe `buf`.
        let got = unsafe { libc::syscall(libc::SYS_getdents64, raw, buf.as_mut_ptr(), buf.len()) };
        let mut rest = &buf[..check(got)? as usize];
        if rest.is_empty() {
            return Ok(());
        }
        while rest.len() > DIRENT_HEAD {
            let ino = u64::from_le_bytes(rest[..8].try_into().map_err(|_| Errno::EIO)?);
            let len = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let record = rest
                .get(..len)
                .filter(|r| r.len() > DIRENT_HEAD)
                .ok_or(Errno::EIO)?;
            let name = record[DIRENT_HEAD..]
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default();
            if !matches!(name, b"." | b"..") {
                each(name, ino, record[18])?;
            }
            rest = &rest[len..];
        }
    }
}
