//! An open host descriptor: reads and writes that do not wait.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use host::file::{self, Seek};
use kernel::file::pipe::raise_sigpipe;
use kernel::file::{FileDescription, FileOps, MapPiece, Whence};
use kernel::io::{Sink, Source};
use kernel::vfs::FileKind;
use platform::{HostFile, MapSource, Prot};
use sync::{Events, Mutex, PollTable, rank};

use super::poller::{Poller, Watch};
use crate::hostfs::transfer::{read_into, with_buffer, write_from};

/// Most bytes read from a stream at once.
const STEP: usize = 64 << 10;
/// Bytes that a stream takes without waiting once the host says it is writable (PIPE_BUF).
const SURE: usize = 4096;

/// A host descriptor.
pub struct Stream {
    watch: Arc<Watch>,
    kind: FileKind,
    /// The host's own position of a regular file, which is shared with the caller's other commands.
    position: Option<Mutex<u64>>,
    /// Held while a write finds room and fills it.
    writing: Mutex<()>,
}

impl Stream {
    pub fn new(poller: &Arc<Poller>, fd: OwnedFd, kind: FileKind, position: Option<u64>) -> Stream {
        Stream {
            watch: poller.watch(fd),
            kind,
            position: position.map(|at| Mutex::new(rank::LEAF, at)),
            writing: Mutex::new(rank::FILE_OP, ()),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.watch.fd()
    }

    pub fn is_file(&self) -> bool {
        self.kind == FileKind::Regular
    }

    /// After reading or writing `done` bytes at `offset`: moves the host's position along, unless it was elsewhere (pread, pwrite).
    fn advance(&self, offset: u64, done: usize) {
        if let Some(position) = &self.position {
            let mut position = position.lock();
            if *position == offset {
                *position = offset.saturating_add(done as u64);
                self.publish(*position);
            }
        }
    }

    /// After appending: the position is the end, wherever it was.
    fn move_to(&self, end: u64) {
        if let Some(position) = &self.position {
            *position.lock() = end;
            self.publish(end);
        }
    }

    fn publish(&self, position: u64) {
        if let Ok(at) = i64::try_from(position) {
            // Nothing is lost but the place where the next command goes on.
            let _ = file::seek(self.fd(), at, Seek::Start);
        }
    }

    fn read_stream(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let got = match file::read_nowait(self.fd(), buffer) {
            Err(Errno::EOPNOTSUPP) => {
                let events = self.watch.ready(Events::READABLE);
                if !events.intersects(Events::READABLE | Events::ALWAYS) {
                    return Err(Errno::EAGAIN);
                }
                file::read(self.fd(), buffer)
            }
            other => other,
        };
        if got == Err(Errno::EAGAIN) {
            // Has a wake-up come when there is something.
            self.watch.ready(Events::READABLE);
        }
        got
    }

    /// Writes all of `data`, at most [`SURE`] bytes, which the host has said it has room for.
    fn write_stream(&self, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            // Should another process have taken the room meanwhile, this waits for its reader.
            let put = file::write(self.fd(), data)?;
            data = &data[put..];
        }
        Ok(())
    }
}

/// An open file of a stream.
pub struct StreamFile(pub Arc<Stream>);

impl FileOps for StreamFile {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let stream = &self.0;
        if stream.position.is_some() {
            let done = read_into(dst, offset, |buffer, at| file::read_at(stream.fd(), buffer, at))?;
            stream.advance(offset, done);
            return Ok(done);
        }
        with_buffer(dst.remaining().min(STEP), |buffer| {
            let got = stream.read_stream(buffer)?;
            if got == 0 {
                Ok(0)
            } else {
                dst.write(&buffer[..got])
            }
        })
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let stream = &self.0;
        if stream.position.is_some() {
            let done = write_from(src, |data, done| {
                file::write_at(stream.fd(), data, offset.saturating_add(done))
            })?;
            stream.advance(offset, done);
            return Ok(done);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        // What was read from a source must be written: so no more is read than there surely is room for.
        let _alone = stream.writing.lock();
        let mut done = 0;
        while src.remaining() > 0 {
            let events = stream.watch.ready(Events::WRITABLE);
            if !events.intersects(Events::WRITABLE | Events::ALWAYS) {
                break;
            }
            let mut buffer = [0; SURE];
            let step = src.read(&mut buffer).and_then(|got| {
                stream.write_stream(&buffer[..got])?;
                Ok(got)
            });
            match step {
                Ok(0) => break,
                Ok(got) => done += got,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => {
                    if error == Errno::EPIPE {
                        raise_sigpipe();
                    }
                    return Err(error);
                }
            }
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn append(&self, file: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let stream = &self.0;
        if stream.position.is_none() {
            return self.write(file, 0, src).map(|done| (done, 0));
        }
        let done = write_from(src, |data, _| file::append(stream.fd(), data))?;
        let end = file::stat(stream.fd())?.size;
        // Whoever shares the open file goes on behind what was appended.
        stream.move_to(end);
        Ok((done, end))
    }

    fn seekable(&self) -> bool {
        self.0.position.is_some()
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let Some(position) = &self.0.position else {
            return Err(Errno::ESPIPE);
        };
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            Whence::End => file::stat(self.0.fd())?.size,
            Whence::Data => file::seek(self.0.fd(), offset, Seek::Data)?,
            Whence::Hole => file::seek(self.0.fd(), offset, Seek::Hole)?,
        };
        let offset = match whence {
            Whence::Data | Whence::Hole => 0,
            _ => offset,
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        *position.lock() = at;
        self.0.publish(at);
        Ok(at)
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.0.watch.queue);
        }
        self.0.watch.ready(Events::READABLE | Events::WRITABLE)
    }

    fn pollable(&self) -> bool {
        self.0.kind != FileKind::Regular
    }

    fn map(
        &self,
        _: &FileDescription,
        offset: u64,
        len: u64,
        _: bool,
        _: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        if self.0.kind != FileKind::Regular {
            return Err(Errno::ENODEV);
        }
        let fd = self.0.fd().try_clone_to_owned().map_err(Errno::from)?;
        let file = HostFile(Arc::new(fd));
        Ok(vec![MapPiece {
            len,
            source: MapSource::File { file, offset },
        }])
    }

    fn fsync(&self, _: &FileDescription, data_only: bool) -> Result<(), Errno> {
        file::sync(self.0.fd(), data_only)
    }

    fn fallocate(&self, _: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if self.0.kind != FileKind::Regular {
            return Err(Errno::ESPIPE);
        }
        file::fallocate(self.0.fd(), mode, offset, len)
    }
}
