//! /proc/PID/{fd,fdinfo}/ and /proc/PID/mem.

use std::any::Any;
use std::fmt::Write;
use std::sync::Arc;

use abi::{Errno, UserAddr};
use kernel::cred::Credentials;
use kernel::file::{FileDescription, FileOps, Whence};
use kernel::io::{Sink, Source};
use kernel::mm::Mm;
use kernel::task::current;
use kernel::vfs::{FileKind, Follow, Path};

use super::process::Process;
use super::process_text::path_text;
use crate::kernfs::{Context, Listed, Meta, Node};

/// Bytes moved per step through /proc/PID/mem.
const MEM_STEP: usize = 64 << 10;

fn meta(at: &Process, perm: u32) -> Result<Meta, Errno> {
    let (uid, gid) = at.owner()?;
    Ok(Meta {
        uid,
        gid,
        ..Meta::root(perm)
    })
}

fn open_file(at: &Process, fd: i32) -> Result<Arc<FileDescription>, Errno> {
    at.task()?.files().get(fd).map_err(|_| Errno::ENOENT)
}

/// /proc/PID/fd or /proc/PID/fdinfo.
pub struct FdDir {
    at: Process,
    info: bool,
}

impl FdDir {
    /// The directory of links, or with `info` that of descriptions.
    pub fn new(at: Process, info: bool) -> FdDir {
        FdDir { at, info }
    }
}

impl Node for FdDir {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        meta(&self.at, if self.info { 0o555 } else { 0o500 })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.at.same(&other.at))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let fd = match name {
            b"0" => 0,
            _ => super::root::parse_id(name).ok_or(Errno::ENOENT)?,
        };
        let fd = i32::try_from(fd).map_err(|_| Errno::ENOENT)?;
        open_file(&self.at, fd)?;
        let at = self.at.clone();
        Ok(Arc::new(FdNode {
            at,
            fd,
            info: self.info,
        }))
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        self.at.may_access()?;
        let kind = if self.info {
            FileKind::Regular
        } else {
            FileKind::Symlink
        };
        let numbers = self.at.task()?.files().numbers();
        Ok(numbers
            .iter()
            .map(|fd| Listed::new(fd.to_string(), kind))
            .collect())
    }
    fn permission(&self, _: &Credentials, _: u32) -> Option<Result<(), Errno>> {
        // A process may always look at its own descriptors, even after it changed its user.
        let own = current().is_some_and(|me| me.tgid() == self.at.pid);
        own.then_some(Ok(()))
    }
}

/// /proc/PID/fd/N or /proc/PID/fdinfo/N.
struct FdNode {
    at: Process,
    fd: i32,
    info: bool,
}

impl Node for FdNode {
    fn kind(&self) -> FileKind {
        if self.info {
            FileKind::Regular
        } else {
            FileKind::Symlink
        }
    }
    fn meta(&self) -> Result<Meta, Errno> {
        if self.info {
            return meta(&self.at, 0o444);
        }
        let file = open_file(&self.at, self.fd)?;
        let read = if file.readable() { 0o500 } else { 0o100 };
        let write = if file.writable() { 0o200 } else { 0 };
        meta(&self.at, read | write).map(|meta| Meta { size: 64, ..meta })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.at.same(&other.at) && self.fd == other.fd)
    }
    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        self.at.may_access()?;
        Ok(path_text(open_file(&self.at, self.fd)?.path()))
    }
    fn follow(&self) -> Result<Follow, Errno> {
        self.at.may_access()?;
        Ok(Follow::Path(open_file(&self.at, self.fd)?.path().clone()))
    }
    fn text(&self) -> Result<Vec<u8>, Errno> {
        self.at.may_access()?;
        let entry = self
            .at
            .task()?
            .files()
            .entry(self.fd)
            .map_err(|_| Errno::ENOENT)?;
        let file = &entry.file;
        // Whoever holds the position is moving it; also this very file's reader.
        let position = file.position.try_lock().map_or(0, |position| *position);
        let cloexec = if entry.cloexec { abi::fcntl::O_CLOEXEC } else { 0 };
        let ino = file
            .path()
            .inode()
            .and_then(|inode| inode.attr())
            .map_or(0, |attr| attr.ino);
        let mut out = String::new();
        let _ = write!(
            out,
            "pos:\t{position}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{ino}\n",
            file.flags() | cloexec,
            file.path().mount.id
        );
        out.push_str(&file.ops().fdinfo(file));
        Ok(out.into_bytes())
    }
}

/// /proc/PID/mem.
pub struct MemNode(pub Process);

impl Node for MemNode {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }
    fn meta(&self) -> Result<Meta, Errno> {
        meta(&self.0, 0o600)
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.0.same(&other.0))
    }
    fn open(&self, _: &Path, _: u32) -> Option<Result<Box<dyn FileOps>, Errno>> {
        let open = || -> Result<Box<dyn FileOps>, Errno> {
            self.0.may_access()?;
            Ok(Box::new(MemFile(self.0.mm()?)))
        };
        Some(open())
    }
}

/// The memory that a process had when the file was opened; positions are its addresses.
struct MemFile(Option<Arc<Mm>>);

impl FileOps for MemFile {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let Some(mm) = &self.0 else {
            return Ok(0);
        };
        let mut done = 0;
        while dst.remaining() > 0 {
            let mut step = vec![0; dst.remaining().min(MEM_STEP)];
            let at = offset.checked_add(done as u64).map(UserAddr).ok_or(Errno::EIO)?;
            let got = match mm.space.read(at, &mut step) {
                Ok(got) => got,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EIO),
            };
            let stored = dst.write(&step[..got])?;
            done += stored;
            if stored < step.len() {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let Some(mm) = &self.0 else {
            return Ok(0);
        };
        let mut done = 0;
        while src.remaining() > 0 {
            let mut step = vec![0; src.remaining().min(MEM_STEP)];
            let got = src.read(&mut step)?;
            let at = offset.checked_add(done as u64).map(UserAddr).ok_or(Errno::EIO)?;
            let stored = match mm.space.write_force(at, &step[..got]) {
                Ok(stored) => stored,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EIO),
            };
            done += stored;
            if stored < step.len() {
                break;
            }
        }
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        // Addresses above 2^63 are valid positions here.
        match whence {
            Whence::Set => Ok(offset as u64),
            Whence::Current => Ok(current.wrapping_add(offset as u64)),
            _ => Err(Errno::EINVAL),
        }
    }

    fn pollable(&self) -> bool {
        false
    }
}
