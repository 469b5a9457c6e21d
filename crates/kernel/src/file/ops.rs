//! What a kind of file can do. Operations never block: they answer `EAGAIN`, and
//! [`crate::task::CurrentTask::blocking_op`] waits on the queues that `poll` names and retries.

use std::any::Any;
use std::time::Duration;

use abi::Errno;
use platform::{MapSource, Prot};
use sync::{Events, PollTable};

use super::FileDescription;
use crate::io::{Sink, Source};
use crate::task::CurrentTask;

/// lseek(2)'s third argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// SEEK_SET.
    Set,
    /// SEEK_CUR.
    Current,
    /// SEEK_END.
    End,
    /// SEEK_DATA.
    Data,
    /// SEEK_HOLE.
    Hole,
}

/// A piece of a file mapping: `len` bytes shown from `source`, in order.
#[derive(Clone, Debug)]
pub struct MapPiece {
    /// Bytes, a multiple of the page size.
    pub len: u64,
    /// What they show.
    pub source: MapSource,
}

/// Takes directory entries (getdents64(2)).
pub trait DirSink {
    /// Takes an entry; `next` is the position to continue after it (`d_off`). False: it is full, the entry was not taken.
    fn entry(&mut self, name: &[u8], ino: u64, kind: crate::vfs::FileKind, next: u64) -> bool;
}

/// The operations of an open file (Linux's struct file_operations).
///
/// `offset` is meaningful only when [`FileOps::seekable`]; the caller keeps and advances the position.
pub trait FileOps: Any + Send + Sync {
    /// Reads at `offset` into `dst`; 0 at the end. `EAGAIN` when it would have to wait.
    fn read(&self, file: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let _ = (file, offset, dst);
        Err(Errno::EINVAL)
    }

    /// Writes `src` at `offset`. `EAGAIN` when nothing can be taken now.
    fn write(&self, file: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let _ = (file, offset, src);
        Err(Errno::EINVAL)
    }

    /// Writes at the end (O_APPEND), atomically; returns the bytes written and the position after them.
    fn append(&self, file: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let end = file.path().inode()?.attr()?.size;
        let done = self.write(file, end, src)?;
        Ok((done, end.saturating_add(done as u64)))
    }

    /// Whether it has a position: lseek(2), pread(2) work. Others answer `ESPIPE`.
    fn seekable(&self) -> bool {
        false
    }

    /// lseek(2): the new position, given the current one.
    fn seek(&self, file: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let _ = (file, current, whence, offset);
        Err(Errno::ESPIPE)
    }

    /// What it is ready for now. With a table, registers first (on every queue that matters for the table's mask).
    fn poll(&self, file: &FileDescription, table: Option<&mut PollTable>) -> Events {
        let _ = (file, table);
        Events::READABLE | Events::WRITABLE
    }

    /// Whether epoll(7) takes it (regular files and directories: `EPERM`).
    fn pollable(&self) -> bool {
        true
    }

    /// ioctl(2). `ENOTTY`: unknown here (the caller then tries the generic ones).
    fn ioctl(
        &self,
        file: &FileDescription,
        task: &CurrentTask,
        command: u32,
        arg: u64,
    ) -> Result<i64, Errno> {
        let _ = (file, task, command, arg);
        Err(Errno::ENOTTY)
    }

    /// mmap(2): what shows `[offset, offset+len)`. `shared`: MAP_SHARED; `prot` includes WRITE when a shared
    /// mapping may ever become writable. The pieces' lengths add up to `len`.
    fn map(
        &self,
        file: &FileDescription,
        offset: u64,
        len: u64,
        shared: bool,
        prot: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        let _ = (file, offset, len, shared, prot);
        Err(Errno::ENODEV)
    }

    /// getdents64(2) from position `offset` (0 at the start); returns the position to continue from.
    fn readdir(&self, file: &FileDescription, offset: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let _ = (file, offset, sink);
        Err(Errno::ENOTDIR)
    }

    /// fsync(2), fdatasync(2).
    fn fsync(&self, file: &FileDescription, data_only: bool) -> Result<(), Errno> {
        let _ = (file, data_only);
        Err(Errno::EINVAL)
    }

    /// fallocate(2) with its mode bits.
    fn fallocate(&self, file: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (file, mode, offset, len);
        Err(Errno::EOPNOTSUPP)
    }

    /// Called when a descriptor of it is closed (each time), with the closing thread group's id.
    fn flush(&self, file: &FileDescription, tgid: u32) -> Result<(), Errno> {
        let _ = (file, tgid);
        Ok(())
    }

    /// Called once when the last reference to the open file is dropped.
    fn release(&self, file: &FileDescription) {
        let _ = file;
    }

    /// Status flags (O_NONBLOCK, O_ASYNC, O_APPEND) were changed with fcntl(2).
    fn set_flags(&self, file: &FileDescription, flags: u32) -> Result<(), Errno> {
        let _ = (file, flags);
        Ok(())
    }

    /// How long a read that found too little may wait from now on, and how many bytes are there (VTIME of termios(3));
    /// asked again after each wake-up. `None`: for ever.
    fn read_patience(&self, file: &FileDescription) -> Option<(Duration, usize)> {
        let _ = file;
        None
    }

    /// What a read gets once [`FileOps::read_patience`] is over.
    fn read_impatient(&self, file: &FileDescription, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let _ = (file, dst);
        Ok(0)
    }

    /// Whether a blocking write goes on until all bytes were taken (pipes, byte streams, terminals).
    fn writes_all(&self) -> bool {
        false
    }

    /// How long a blocking read (or write) waits before it answers `EAGAIN` (SO_RCVTIMEO, SO_SNDTIMEO); `None`: for ever.
    fn timeout(&self, write: bool) -> Option<std::time::Duration> {
        let _ = write;
        None
    }

    /// F_GET_SEALS and, with `add`, F_ADD_SEALS of fcntl(2): the seals then. `EINVAL`: it takes none.
    fn seals(&self, file: &FileDescription, add: Option<u32>) -> Result<u32, Errno> {
        let _ = (file, add);
        Err(Errno::EINVAL)
    }

    /// Extra lines of /proc/PID/fdinfo/N.
    fn fdinfo(&self, file: &FileDescription) -> String {
        let _ = file;
        String::new()
    }
}
