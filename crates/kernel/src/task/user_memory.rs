//! Guest memory from a system call: copies in and out, strings, vectors.

use abi::{AbiField, Errno, UserAddr};
use platform::HostFile;

use super::CurrentTask;
use crate::io::{Sink, Source};

/// Longest path that a call takes (PATH_MAX), with its NUL.
pub const PATH_MAX: usize = 4096;
/// Most elements of an iovec array (UIO_MAXIOV).
pub const IOV_MAX: usize = 1024;
/// Most bytes one read or write moves (MAX_RW_COUNT).
pub const MAX_RW_COUNT: usize = 0x7fff_f000;
/// Bytes per step of a long copy through the sentry.
const STRING_STEP: usize = 256;

/// One element of an iovec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIoVec {
    /// Start.
    pub addr: UserAddr,
    /// Bytes.
    pub len: usize,
}

impl CurrentTask {
    /// Copies `buf.len()` guest bytes at `addr`; `EFAULT` when not all can be read.
    pub fn copy_in(&self, addr: UserAddr, buf: &mut [u8]) -> Result<(), Errno> {
        if self.copy_in_some(addr, buf)? == buf.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Copies guest bytes until a bad page; returns how many. `EFAULT` when there is not even one (and one was wanted).
    pub fn copy_in_some(&self, addr: UserAddr, buf: &mut [u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let got = match self.context.borrow_mut().read(addr, buf) {
            Err(Errno::ENOSYS) => 0,
            other => other?,
        };
        if got == buf.len() {
            return Ok(got);
        }
        let rest = UserAddr(addr.0.wrapping_add(got as u64));
        match self.mm.borrow().space.read(rest, &mut buf[got..]) {
            Ok(more) => Ok(got + more),
            Err(_) if got > 0 => Ok(got),
            error => error,
        }
    }

    /// Copies `data` to guest memory; `EFAULT` when not all can be written.
    pub fn copy_out(&self, addr: UserAddr, data: &[u8]) -> Result<(), Errno> {
        if self.copy_out_some(addr, data)? == data.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Copies `data` until a bad page; returns how many bytes. `EFAULT` when there is not even one.
    pub fn copy_out_some(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        match self.context.borrow_mut().write(addr, data) {
            Err(Errno::ENOSYS) => self.mm.borrow().space.write(addr, data),
            other => other,
        }
    }

    /// Reads a structure.
    pub fn read_struct<T: AbiField>(&self, addr: UserAddr) -> Result<T, Errno> {
        let mut bytes = vec![0; T::SIZE];
        self.copy_in(addr, &mut bytes)?;
        Ok(T::get(&bytes))
    }

    /// Writes a structure.
    pub fn write_struct<T: AbiField>(&self, addr: UserAddr, value: &T) -> Result<(), Errno> {
        let mut bytes = vec![0; T::SIZE];
        value.put(&mut bytes);
        self.copy_out(addr, &bytes)
    }

    /// Reads a NUL-terminated string without its NUL, of less than `max` bytes; `too_long` when there is no NUL by then.
    pub fn read_cstring(&self, addr: UserAddr, max: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        let mut at = addr;
        while out.len() < max {
            // Never beyond a page end in one step: the string may end just before an unmapped page.
            let to_page_end = (abi::PAGE_SIZE - at.0 % abi::PAGE_SIZE) as usize;
            let mut step = [0; STRING_STEP];
            let want = STRING_STEP.min(to_page_end).min(max - out.len());
            let got = self.copy_in_some(at, &mut step[..want])?;
            if let Some(end) = step[..got].iter().position(|byte| *byte == 0) {
                out.extend_from_slice(&step[..end]);
                return Ok(out);
            }
            out.extend_from_slice(&step[..got]);
            at = at.add(got as u64)?;
        }
        Err(too_long)
    }

    /// Reads a path argument: `ENAMETOOLONG` beyond PATH_MAX. An empty path is returned as it is.
    pub fn read_path(&self, addr: UserAddr) -> Result<Vec<u8>, Errno> {
        self.read_cstring(addr, PATH_MAX, Errno::ENAMETOOLONG)
    }

    /// Reads an iovec array: `EINVAL` beyond IOV_MAX elements or when a length is negative.
    pub fn read_iovecs(&self, addr: UserAddr, count: usize) -> Result<Vec<UserIoVec>, Errno> {
        if count > IOV_MAX {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; count * 16];
        self.copy_in(addr, &mut bytes)?;
        let mut total = 0usize;
        let mut vectors = Vec::with_capacity(count);
        for raw in bytes.chunks_exact(16) {
            let len = u64::get(&raw[8..]);
            if i64::try_from(len).is_err() {
                return Err(Errno::EINVAL);
            }
            let len = (len as usize).min(MAX_RW_COUNT - total);
            total += len;
            vectors.push(UserIoVec {
                addr: UserAddr(u64::get(raw)),
                len,
            });
        }
        Ok(vectors)
    }

    /// Guest memory as a sink or source.
    pub fn buffers(&self, vectors: Vec<UserIoVec>) -> UserBuffers<'_> {
        let remaining = vectors.iter().map(|vector| vector.len).sum();
        UserBuffers {
            task: self,
            vectors: Vectors::Many(vectors),
            index: 0,
            done: 0,
            remaining,
            asked: 0,
        }
    }

    /// One guest buffer as a sink or source; longer ones are cut to what Linux moves in one call.
    pub fn buffer(&self, addr: UserAddr, len: usize) -> UserBuffers<'_> {
        let asked = len as u64;
        let len = len.min(MAX_RW_COUNT);
        UserBuffers {
            task: self,
            vectors: Vectors::One(UserIoVec { addr, len }),
            index: 0,
            done: 0,
            remaining: len,
            asked,
        }
    }
}

/// The common single buffer needs no allocation.
enum Vectors {
    One(UserIoVec),
    Many(Vec<UserIoVec>),
}

impl Vectors {
    fn get(&self, index: usize) -> Option<&UserIoVec> {
        match self {
            Vectors::One(vector) => (index == 0).then_some(vector),
            Vectors::Many(vectors) => vectors.get(index),
        }
    }
}

/// Guest buffers, consumed from the front.
pub struct UserBuffers<'a> {
    task: &'a CurrentTask,
    vectors: Vectors,
    index: usize,
    done: usize,
    remaining: usize,
    /// The length of a single buffer before it was cut.
    asked: u64,
}

impl UserBuffers<'_> {
    /// The current vector's rest; steps over empty ones.
    fn head(&mut self) -> Option<UserIoVec> {
        while let Some(vector) = self.vectors.get(self.index) {
            if self.done < vector.len {
                let addr = UserAddr(vector.addr.0.wrapping_add(self.done as u64));
                return Some(UserIoVec {
                    addr,
                    len: vector.len - self.done,
                });
            }
            self.index += 1;
            self.done = 0;
        }
        None
    }

    fn check_ranges(&self) -> Result<(), Errno> {
        let check = |vector: &UserIoVec| vector.addr.check_range(vector.len as u64);
        match &self.vectors {
            Vectors::One(vector) => vector.addr.check_range(self.asked),
            Vectors::Many(vectors) => vectors.iter().try_for_each(check),
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        self.remaining -= bytes;
    }
}

impl Sink for UserBuffers<'_> {
    fn check(&self) -> Result<(), Errno> {
        self.check_ranges()
    }

    fn remaining(&self) -> usize {
        self.remaining
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, Errno> {
        let mut stored = 0;
        while stored < data.len() {
            let Some(head) = self.head() else { break };
            let want = head.len.min(data.len() - stored);
            match self.task.copy_out_some(head.addr, &data[stored..stored + want]) {
                Ok(got) => {
                    self.advance(got);
                    stored += got;
                    if got < want {
                        break;
                    }
                }
                Err(error) if stored == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(stored)
    }

    fn write_from_file(&mut self, file: &HostFile, offset: u64, len: usize) -> Option<Result<usize, Errno>> {
        // Bytes that several buffers share are put in place one after the other.
        let head = self.head().filter(|head| head.len >= len)?;
        let mut context = self.task.context.borrow_mut();
        match context.write_from_file(head.addr, len, file, offset) {
            Err(Errno::ENOSYS) => None,
            done => {
                drop(context);
                Some(done.inspect(|got| self.advance(*got)))
            }
        }
    }
}

impl Source for UserBuffers<'_> {
    fn unread(&mut self, bytes: usize) -> bool {
        let mut left = bytes;
        while left > 0 {
            if self.done == 0 {
                let Some(before) = self.index.checked_sub(1) else {
                    return false;
                };
                self.index = before;
                self.done = self.vectors.get(before).map_or(0, |vector| vector.len);
            }
            let step = left.min(self.done);
            self.done -= step;
            self.remaining += step;
            left -= step;
        }
        true
    }

    fn check(&self) -> Result<(), Errno> {
        self.check_ranges()
    }

    fn remaining(&self) -> usize {
        self.remaining
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut filled = 0;
        while filled < buf.len() {
            let Some(head) = self.head() else { break };
            let want = head.len.min(buf.len() - filled);
            match self.task.copy_in_some(head.addr, &mut buf[filled..filled + want]) {
                Ok(got) => {
                    self.advance(got);
                    filled += got;
                    if got < want {
                        break;
                    }
                }
                Err(error) if filled == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(filled)
    }
}
