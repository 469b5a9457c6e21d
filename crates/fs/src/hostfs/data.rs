//! Open regular files of a host tree: reads and writes on the real descriptor, by position.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use host::file::{self, Seek};
use kernel::file::{FileDescription, FileOps, MapPiece, Whence};
use kernel::io::{Sink, Source};
use platform::{HostFile, MapSource, Prot};

use super::HostFs;
use super::node::Node;

/// Most bytes moved in one step between the host and a guest.
const STEP: usize = 1 << 20;
/// Buffers up to this size are kept for the thread's next call.
const KEPT: usize = 256 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with a buffer of at least `len` bytes. It may run nested: then the inner one gets a buffer of its own.
pub fn with_buffer<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = work(&mut buffer[..len]);
    if buffer.len() <= KEPT {
        BUFFER.set(buffer);
    }
    result
}

/// Reads from `read_at` into `dst` until that is full or the end is reached.
pub fn read_into(
    dst: &mut dyn Sink,
    mut offset: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while dst.remaining() > 0 {
        let want = dst.remaining().min(STEP);
        let step = with_buffer(want, |buffer| {
            let got = read_at(buffer, offset)?;
            let taken = if got == 0 { 0 } else { dst.write(&buffer[..got])? };
            Ok((got, taken))
        });
        match step {
            Ok((got, taken)) => {
                done += taken;
                offset = offset.saturating_add(taken as u64);
                if got < want || taken < got {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Writes all of `src` with `write`, which gets bytes and how many were written before.
pub fn write_from(
    src: &mut dyn Source,
    mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while src.remaining() > 0 {
        let want = src.remaining().min(STEP);
        let step = with_buffer(want, |buffer| {
            let got = src.read(buffer)?;
            Ok((got, write(&buffer[..got], done as u64)?))
        });
        match step {
            Ok((got, put)) => {
                done += put;
                if got < want || put < got {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// An open regular file.
pub struct HostData {
    fs: Arc<HostFs>,
    node: Arc<Node>,
    fd: Arc<OwnedFd>,
}

impl HostData {
    pub fn new(fs: &Arc<HostFs>, node: &Arc<Node>, fd: Arc<OwnedFd>) -> HostData {
        HostData {
            fs: fs.clone(),
            node: node.clone(),
            fd,
        }
    }
}

impl FileOps for HostData {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        read_into(dst, offset, |buffer, at| {
            file::read_at(self.fd.as_fd(), buffer, at)
        })
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        self.fs.writable()?;
        write_from(src, |data, done| {
            file::write_at(self.fd.as_fd(), data, offset.saturating_add(done))
        })
    }

    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        self.fs.writable()?;
        let done = write_from(src, |data, _| file::append(self.fd.as_fd(), data))?;
        Ok((done, file::stat(self.fd.as_fd())?.size))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            Whence::End => self.node.attr(&self.fs)?.size,
            Whence::Data => return file::seek(self.fd.as_fd(), offset, Seek::Data),
            Whence::Hole => return file::seek(self.fd.as_fd(), offset, Seek::Hole),
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        i64::try_from(at).map_err(|_| Errno::EINVAL)?;
        Ok(at)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn map(
        &self,
        _: &FileDescription,
        offset: u64,
        len: u64,
        shared: bool,
        prot: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        if shared && prot.contains(Prot::WRITE) {
            self.fs.writable().map_err(|_| Errno::EACCES)?;
        }
        let file = HostFile(self.fd.clone());
        Ok(vec![MapPiece {
            len,
            source: MapSource::File { file, offset },
        }])
    }

    fn fsync(&self, _: &FileDescription, data_only: bool) -> Result<(), Errno> {
        if self.fs.options.read_only {
            return Ok(());
        }
        file::sync(self.fd.as_fd(), data_only)
    }

    fn fallocate(&self, _: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.fs.writable()?;
        file::fallocate(self.fd.as_fd(), mode, offset, len)
    }
}
