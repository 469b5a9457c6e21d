//! Open regular files of a host tree: reads and writes on the real descriptor, by position.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use host::file::{self, Seek};
use kernel::file::{FileDescription, FileOps, MapPiece, Whence};
use kernel::io::{Sink, Source};
use platform::{HostFile, MapSource, Prot};

use super::HostFs;
use super::node::Node;
use super::transfer::{read_into, write_from};

/// An open regular file.
pub struct HostData {
    fs: Arc<HostFs>,
    node: Arc<Node>,
    file: HostFile,
}

impl HostData {
    pub fn new(fs: &Arc<HostFs>, node: &Arc<Node>, fd: Arc<OwnedFd>) -> HostData {
        HostData {
            fs: fs.clone(),
            node: node.clone(),
            file: HostFile(fd),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.file.0.as_fd()
    }
}

impl FileOps for HostData {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if let Some(done) = dst.write_from_file(&self.file, offset, dst.remaining()) {
            return done;
        }
        read_into(dst, offset, |buffer, at| file::read_at(self.fd(), buffer, at))
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        self.fs.writable()?;
        write_from(src, |data, done| {
            file::write_at(self.fd(), data, offset.saturating_add(done))
        })
    }

    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        self.fs.writable()?;
        let done = write_from(src, |data, _| file::append(self.fd(), data))?;
        Ok((done, file::stat(self.fd())?.size))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            Whence::End => self.node.attr(&self.fs)?.size,
            Whence::Data => return file::seek(self.fd(), offset, Seek::Data),
            Whence::Hole => return file::seek(self.fd(), offset, Seek::Hole),
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
        let file = self.file.clone();
        Ok(vec![MapPiece {
            len,
            source: MapSource::File { file, offset },
        }])
    }

    fn fsync(&self, _: &FileDescription, data_only: bool) -> Result<(), Errno> {
        if self.fs.options.read_only {
            return Ok(());
        }
        file::sync(self.fd(), data_only)
    }

    fn fallocate(&self, _: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.fs.writable()?;
        file::fallocate(self.fd(), mode, offset, len)
    }
}
