//! Files without a name, in memory (memfd_create(2)), with seals.

use std::sync::Arc;

use abi::{Errno, PAGE_SIZE, page_up};
use platform::Prot;
use sync::{Mutex, rank};

use super::{FileDescription, FileMemory, FileOps, MapPiece, Whence};
use crate::Kernel;
use crate::io::{Sink, Source};
use crate::mm::memory_pieces;
use crate::vfs::{
    Attr, AttrChange, FileKind, Inode, InodeOps, Path, TimeChange, anon_path, anon_path_of, now_ns,
};

/// F_SEAL_SEAL.
pub const SEAL_SEAL: u32 = 1;
const SEAL_SHRINK: u32 = 2;
const SEAL_GROW: u32 = 4;
const SEAL_WRITE: u32 = 8;
const SEAL_FUTURE_WRITE: u32 = 0x10;
/// F_SEAL_EXEC.
pub const SEAL_EXEC: u32 = 0x20;
const SEALS: u32 = SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_FUTURE_WRITE | SEAL_EXEC;
const FALLOC_FL_KEEP_SIZE: u32 = 1;
const FALLOC_FL_PUNCH_HOLE: u32 = 2;
/// Bytes moved in one step.
const STEP: usize = 64 << 10;
/// Largest size (the storage's own limit may be lower).
const MAX_SIZE: u64 = i64::MAX as u64;

struct State {
    attr: Attr,
    seals: u32,
}

/// The file: its bytes and what may be done with them.
struct Node {
    memory: Arc<dyn FileMemory>,
    state: Mutex<State>,
}

/// The file as an inode.
struct MemInode(Arc<Node>);

/// The file as it is open.
struct MemFile(Arc<Node>);

/// A new file of no bytes, for reading and writing; `perm` are its permission bits, `seals` its first seals.
pub fn create(kernel: &Kernel, name: &str, perm: u32, seals: u32, owner: (u32, u32)) -> Result<Path, Errno> {
    let memory = kernel.memory.create()?;
    let ino = kernel.next_ino();
    let now = now_ns();
    let attr = Attr {
        ino,
        kind: FileKind::Regular,
        perm,
        nlink: 0,
        uid: owner.0,
        gid: owner.1,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: PAGE_SIZE as u32,
        atime: now,
        mtime: now,
        ctime: now,
        btime: Some(now),
    };
    let node = Node {
        memory,
        state: Mutex::new(rank::FS, State { attr, seals }),
    };
    let sb = anon_path(kernel, "", ino, FileKind::Regular, perm)
        .inode()?
        .sb
        .clone();
    let inode = Inode::new(sb, FileKind::Regular, Box::new(MemInode(Arc::new(node))));
    Ok(anon_path_of(kernel, name, inode))
}

impl Node {
    fn attr(&self) -> Attr {
        let mut attr = self.state.lock().attr;
        attr.blocks = self.memory.allocated() / 512;
        attr
    }

    fn resize(&self, state: &mut State, size: u64) -> Result<(), Errno> {
        let old = state.attr.size;
        if (size < old && state.seals & SEAL_SHRINK != 0) || (size > old && state.seals & SEAL_GROW != 0) {
            return Err(Errno::EPERM);
        }
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        // What a mapping left behind the end must read as zeroes once the file grows over it.
        let from = size.min(old);
        let to = page_up(old).unwrap_or(u64::MAX);
        if to > from {
            self.memory.punch(from, to - from)?;
        }
        state.attr.size = size;
        let now = now_ns();
        (state.attr.mtime, state.attr.ctime) = (now, now);
        Ok(())
    }

    fn store(&self, offset: Option<u64>, data: &[u8]) -> Result<u64, Errno> {
        let mut state = self.state.lock();
        if state.seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        let at = offset.unwrap_or(state.attr.size);
        let end = at
            .checked_add(data.len() as u64)
            .filter(|end| *end <= MAX_SIZE)
            .ok_or(Errno::EFBIG)?;
        if end > state.attr.size {
            self.resize(&mut state, end)?;
        }
        self.memory.write_at(at, data)?;
        let now = now_ns();
        (state.attr.mtime, state.attr.ctime) = (now, now);
        Ok(end)
    }

    fn write_all(&self, src: &mut dyn Source, mut at: Option<u64>) -> Result<(usize, u64), Errno> {
        let mut buffer = vec![0; src.remaining().min(STEP)];
        let mut done = 0;
        let mut end = at.unwrap_or_else(|| self.state.lock().attr.size);
        while src.remaining() > 0 {
            let got = match src.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            match self.store(at, buffer.get(..got).unwrap_or_default()) {
                Ok(position) => end = position,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
            done += got;
            at = at.map(|_| end);
        }
        Ok((done, end))
    }
}

impl InodeOps for MemInode {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.0.attr())
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        let mut state = self.0.state.lock();
        if let Some(size) = change.size {
            self.0.resize(&mut state, size)?;
        }
        if let Some(perm) = change.perm {
            if state.seals & SEAL_EXEC != 0 && (perm ^ state.attr.perm) & 0o111 != 0 {
                return Err(Errno::EPERM);
            }
            state.attr.perm = perm;
        }
        let now = now_ns();
        let time = |change: TimeChange| match change {
            TimeChange::Now => now,
            TimeChange::At(at) => at,
        };
        let attr = &mut state.attr;
        attr.uid = change.uid.unwrap_or(attr.uid);
        attr.gid = change.gid.unwrap_or(attr.gid);
        attr.atime = change.atime.map_or(attr.atime, time);
        attr.mtime = change.mtime.map_or(attr.mtime, time);
        attr.ctime = now;
        Ok(())
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(MemFile(self.0.clone())))
    }
}

/// Whether any task has the file mapped shared with a chance to write: then it cannot be sealed against that.
fn mapped_writable(inode: &Arc<Inode>) -> bool {
    let Some(task) = crate::task::current() else {
        return false;
    };
    let tasks: Vec<_> = task.kernel.pids.read().tasks.values().cloned().collect();
    tasks.iter().filter_map(|task| task.mm()).any(|mm| {
        mm.areas().iter().any(|area| {
            area.shared()
                && area.max_prot.contains(Prot::WRITE)
                && area
                    .backing
                    .inode()
                    .is_some_and(|mapped| Arc::ptr_eq(&mapped, inode))
        })
    })
}

impl FileOps for MemFile {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let size = self.0.state.lock().attr.size;
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; dst.remaining().min(left).min(STEP)];
        let mut done = 0;
        while done < left && dst.remaining() > 0 {
            let step = dst.remaining().min(left - done).min(STEP);
            let Some(part) = buffer.get_mut(..step) else { break };
            self.0.memory.read_at(offset + done as u64, part)?;
            match dst.write(part) {
                Ok(taken) => {
                    done += taken;
                    if taken < step {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        self.0.write_all(src, Some(offset)).map(|(done, _)| done)
    }

    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        self.0.write_all(src, None)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let size = self.0.state.lock().attr.size;
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            Whence::End => size,
            Whence::Data | Whence::Hole => {
                let at = u64::try_from(offset).ok().filter(|at| *at < size);
                let at = at.ok_or(Errno::ENXIO)?;
                let found = self.0.memory.seek(at, size, whence == Whence::Data);
                return found.ok_or(Errno::ENXIO);
            }
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        i64::try_from(at).map(|_| at).map_err(|_| Errno::EOVERFLOW)
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
        let seals = self.0.state.lock().seals;
        if shared && prot.contains(Prot::WRITE) && seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        memory_pieces(&*self.0.memory, offset, len)
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn fallocate(&self, _: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        let mut state = self.0.state.lock();
        if mode & FALLOC_FL_PUNCH_HOLE != 0 {
            if state.seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 {
                return Err(Errno::EPERM);
            }
            return self.0.memory.punch(offset, len);
        }
        if end > state.attr.size && state.seals & SEAL_GROW != 0 {
            return Err(Errno::EPERM);
        }
        if mode & FALLOC_FL_KEEP_SIZE == 0 && end > state.attr.size {
            self.0.resize(&mut state, end)?;
        }
        Ok(())
    }

    fn seals(&self, file: &FileDescription, add: Option<u32>) -> Result<u32, Errno> {
        let Some(add) = add else {
            return Ok(self.0.state.lock().seals);
        };
        if !file.writable() {
            return Err(Errno::EPERM);
        }
        if add & !SEALS != 0 {
            return Err(Errno::EINVAL);
        }
        let writable = add & SEAL_WRITE != 0 && mapped_writable(&file.path().inode()?);
        let mut state = self.0.state.lock();
        if state.seals & SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        if writable && state.seals & SEAL_WRITE == 0 {
            return Err(Errno::EBUSY);
        }
        let mut all = state.seals | add;
        // A file that stays executable cannot be changed any more.
        if add & SEAL_EXEC != 0 && state.attr.perm & 0o111 != 0 {
            all |= SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_FUTURE_WRITE;
        }
        state.seals = all;
        Ok(all)
    }
}
