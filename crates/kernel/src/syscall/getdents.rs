//! getdents64(2), getdents(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use crate::file::{DirSink, FileDescription};
use crate::task::CurrentTask;
use crate::vfs::{FileKind, notify};

/// Bytes that one call returns at most, however large the guest's buffer is.
const ANSWER_LIMIT: usize = 256 << 10;
/// Bytes before the name in both structures.
const HEADER_64: usize = 19;
const HEADER_OLD: usize = 18;

/// Entries in one of the two layouts.
struct Entries {
    bytes: Vec<u8>,
    limit: usize,
    old: bool,
    /// An entry did not fit.
    full: bool,
}

impl DirSink for Entries {
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileKind, next: u64) -> bool {
        // The old layout has the type in its last byte, after the name's NUL.
        let plain = if self.old {
            HEADER_OLD + name.len() + 2
        } else {
            HEADER_64 + name.len() + 1
        };
        let len = plain.next_multiple_of(8);
        if self.bytes.len() + len > self.limit {
            self.full = true;
            return false;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&ino.to_le_bytes());
        self.bytes.extend_from_slice(&next.to_le_bytes());
        // Names have at most 255 bytes.
        self.bytes.extend_from_slice(&(len as u16).to_le_bytes());
        if !self.old {
            self.bytes.push(kind as u8);
        }
        self.bytes.extend_from_slice(name);
        self.bytes.resize(start + len, 0);
        if self.old
            && let Some(last) = self.bytes.last_mut()
        {
            *last = kind as u8;
        }
        true
    }
}

/// getdents64(2).
pub fn getdents64(task: &CurrentTask, fd: Fd, buf: UserAddr, count: u32) -> Result<usize, Errno> {
    list(task, &*task.fd(fd.0)?, buf, count, false)
}

/// getdents(2).
pub fn getdents(task: &CurrentTask, fd: Fd, buf: UserAddr, count: u32) -> Result<usize, Errno> {
    list(task, &*task.fd(fd.0)?, buf, count, true)
}

fn list(
    task: &CurrentTask,
    file: &FileDescription,
    buf: UserAddr,
    count: u32,
    old: bool,
) -> Result<usize, Errno> {
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    let inode = file.path().dentry.inode_ref()?;
    if inode.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    if file.path().dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let mut entries = Entries {
        bytes: Vec::new(),
        limit: (count as usize).min(ANSWER_LIMIT),
        old,
        full: false,
    };
    let mut position = file.position.lock();
    let next = file.ops().readdir(file, *position, &mut entries)?;
    if entries.bytes.is_empty() && entries.full {
        return Err(Errno::EINVAL);
    }
    task.copy_out(buf, &entries.bytes)?;
    *position = next;
    drop(position);
    notify::on_path(&task.kernel.vfs, file.path(), notify::IN_ACCESS);
    Ok(entries.bytes.len())
}
