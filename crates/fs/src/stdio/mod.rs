//! Descriptors of the host as a guest's standard input, output and error: pipes, files, sockets, devices.
//!
//! The host's descriptors are shared with whoever started the sandbox, so their flags stay as they are: each read and write
//! asks not to wait. One thread (`Poller`) waits for all of them. A terminal is not passed: the guest gets one of its own, and [`pump`] moves the bytes.

mod poller;
mod pump;
mod stream;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_APPEND, O_RDONLY, O_RDWR, O_WRONLY};
use host::file::{self, Seek, Stat};
use kernel::Kernel;
use kernel::file::{FileDescription, FileOps};
use kernel::vfs::{Attr, FileKind, Inode, InodeOps, Path, StatFs, Superblock, SuperblockOps, anon_path_of};

pub use poller::{Poller, Watch};
pub use pump::{Pump, pump};
use stream::{Stream, StreamFile};

/// Opens host descriptors for the guest. Those that are the same open file become one.
pub fn open(
    kernel: &Kernel,
    poller: &Arc<Poller>,
    fds: impl IntoIterator<Item = OwnedFd>,
) -> Result<Vec<Arc<FileDescription>>, Errno> {
    let sb = Superblock::new(Box::new(StdioSuper));
    let mut opened: Vec<(Identity, Arc<FileDescription>)> = Vec::new();
    for fd in fds {
        let identity = Identity::of(&fd)?;
        let known = opened.iter().find(|(known, _)| *known == identity);
        let file = match known {
            Some((_, file)) => file.clone(),
            None => open_one(kernel, poller, &sb, fd, &identity)?,
        };
        opened.push((identity, file));
    }
    Ok(opened.into_iter().map(|(_, file)| file).collect())
}

/// What tells open files apart: the same file, opened for the same, at the same position.
#[derive(PartialEq, Eq)]
struct Identity {
    file: (u64, u64),
    mode: u32,
    access: file::Access,
    position: Option<u64>,
}

impl Identity {
    fn of(fd: &OwnedFd) -> Result<Identity, Errno> {
        let stat = file::stat(fd.as_fd())?;
        Ok(Identity {
            file: (stat.dev, stat.ino),
            mode: stat.mode,
            access: file::access(fd.as_fd())?,
            position: file::seek(fd.as_fd(), 0, Seek::Current).ok(),
        })
    }
}

fn open_one(
    kernel: &Kernel,
    poller: &Arc<Poller>,
    sb: &Arc<Superblock>,
    fd: OwnedFd,
    identity: &Identity,
) -> Result<Arc<FileDescription>, Errno> {
    let kind = FileKind::from_mode(identity.mode).unwrap_or(FileKind::Regular);
    let access = &identity.access;
    let mut flags = match (access.reads, access.writes) {
        (true, false) => O_RDONLY,
        (false, true) => O_WRONLY,
        _ => O_RDWR,
    };
    if access.appends {
        flags |= O_APPEND;
    }
    // Files can be read at any position; everything else is a stream.
    let position = identity.position.filter(|_| kind == FileKind::Regular);
    let stream = Arc::new(Stream::new(poller, fd, kind, position));
    let name = match kind {
        FileKind::Fifo => format!("pipe:[{}]", identity.file.1),
        FileKind::Socket => format!("socket:[{}]", identity.file.1),
        _ => String::from("/dev/stdio"),
    };
    // The VFS would open a fifo or device of its own; this inode is opened here, whatever it looks like.
    let inode = Inode::new(
        sb.clone(),
        FileKind::Regular,
        Box::new(StdioInode(stream.clone())),
    );
    let path = anon_path_of(kernel, &name, inode);
    let file = FileDescription::new(path, Box::new(StreamFile(stream)), flags);
    if let Some(position) = position {
        *file.position.lock() = position;
    }
    Ok(file)
}

struct StdioSuper;

impl SuperblockOps for StdioSuper {
    fn name(&self) -> &'static str {
        "stdio"
    }
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs {
            magic: 0x5049_5045,
            block_size: 4096,
            name_max: 255,
            ..StatFs::default()
        })
    }
}

/// A host descriptor as a file that can be opened again (`/dev/stdout`).
struct StdioInode(Arc<Stream>);

impl InodeOps for StdioInode {
    fn attr(&self) -> Result<Attr, Errno> {
        let stat: Stat = file::stat(self.0.fd())?;
        Ok(Attr {
            ino: stat.ino,
            kind: FileKind::from_mode(stat.mode).unwrap_or(FileKind::Regular),
            // Whoever the guest runs as may use what it was handed.
            perm: stat.mode & 0o7777 | 0o666,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: stat.rdev,
            size: stat.size,
            blocks: stat.blocks,
            blksize: stat.blksize,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            btime: stat.btime,
        })
    }

    fn set_attr(&self, change: &kernel::vfs::AttrChange) -> Result<(), Errno> {
        // Only the size of a file that was handed in for writing; the rest belongs to the host.
        match change.size {
            // What is not a file is opened with O_TRUNC, too.
            Some(_) if !self.0.is_file() => Ok(()),
            Some(size) => file::truncate(self.0.fd(), size),
            None => Err(Errno::EPERM),
        }
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(StreamFile(self.0.clone())))
    }
}
