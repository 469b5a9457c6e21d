//! Operations on names and attributes of a host tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_ACCMODE, O_RDONLY, O_WRONLY};
use host::dir::{self, Open};
use host::file::{self, Stamp, Stat};
use kernel::file::FileOps;
use kernel::vfs::{Attr, AttrChange, FileKind, Inode, InodeOps, NewInode, Path, TimeChange};

use super::HostFs;
use super::data::HostData;
use super::directory::HostDirectory;
use super::node::Node;
use crate::listing::Listing;

/// RENAME_EXCHANGE.
const EXCHANGE: u32 = 2;

/// A file of a host tree.
pub(crate) struct HostInode {
    pub fs: Arc<HostFs>,
    pub node: Arc<Node>,
}

impl HostInode {
    fn directory(&self) -> Result<Arc<OwnedFd>, Errno> {
        self.node.directory(&self.fs)
    }

    /// The file called `name` that was just made here, `file` if it came with a descriptor; gives it to its owner first.
    fn adopt(
        &self,
        name: &[u8],
        dir: &OwnedFd,
        new: &NewInode,
        file: Option<OwnedFd>,
    ) -> Result<Arc<Inode>, Errno> {
        let made = match &file {
            Some(file) => own(file.as_fd(), new),
            None => dir::open(dir.as_fd(), name, Open::Path).and_then(|fd| own(fd.as_fd(), new)),
        };
        self.node.entries_changed();
        let stat = made.inspect_err(|_| {
            // It would have the wrong owner: better none. That it cannot be removed either does not matter then.
            let _ = dir::remove(dir.as_fd(), name, new.kind == FileKind::Directory);
        })?;
        let inode = self.fs.inode(&stat, Some((self.node.clone(), name.into())))?;
        if let (Some(file), Some(made)) = (file, inode.ops_as::<HostInode>()) {
            // Kept for the open that mostly follows.
            let file = Arc::new(file);
            made.node.add_open(&file, Open::ReadWrite);
            self.fs.handles.keep(made.node.id, file);
        }
        Ok(inode)
    }

    /// The entries of this directory, as of now.
    pub fn listing(&self) -> Result<Arc<Listing>, Errno> {
        self.node.listing(&self.fs)
    }

    /// A descriptor for extended attributes; only files and directories can be opened for that.
    fn for_xattr(&self) -> Result<Arc<OwnedFd>, Errno> {
        match self.node.kind {
            FileKind::Regular => self.node.reach(&self.fs, Open::Read),
            FileKind::Directory => self.node.reach(&self.fs, Open::List),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn open_data(&self, path: &Path, flags: u32) -> Result<Box<dyn FileOps>, Errno> {
        let _ = path;
        let how = match flags & O_ACCMODE {
            O_RDONLY => Open::Read,
            O_WRONLY => Open::Write,
            _ => Open::ReadWrite,
        };
        let writes = how != Open::Read;
        if writes {
            self.fs.writable()?;
        }
        // Nobody writes: all readers may share one descriptor, for it is read by position.
        let shareable = self.fs.options.read_only && !self.fs.options.shared;
        if shareable && let Some(fd) = self.fs.handles.get(self.node.id) {
            return Ok(Box::new(HostData::new(&self.fs, &self.node, fd)));
        }
        let fd = self.node.reach(&self.fs, how)?;
        if shareable {
            self.fs.handles.keep(self.node.id, fd.clone());
        } else {
            self.node.add_open(&fd, how);
            // A new file's first descriptor; it is to live no longer than the guest's.
            self.fs.handles.forget(self.node.id);
        }
        Ok(Box::new(HostData::new(&self.fs, &self.node, fd)))
    }
}

impl InodeOps for HostInode {
    fn attr(&self) -> Result<Attr, Errno> {
        self.node.attr(&self.fs)
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        self.fs.writable()?;
        if let Some(size) = change.size {
            let fd = self.node.reach(&self.fs, Open::Write)?;
            file::truncate(fd.as_fd(), size)?;
        }
        let fd = self.node.reach(&self.fs, Open::Path)?;
        if change.uid.is_some() || change.gid.is_some() {
            file::chown(fd.as_fd(), change.uid, change.gid)?;
        }
        if let Some(perm) = change.perm {
            file::chmod(fd.as_fd(), perm)?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            file::set_times(fd.as_fd(), stamp(change.atime), stamp(change.mtime))?;
        }
        self.node.changed();
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        if self.node.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let dir = self.directory()?;
        let stat = dir::stat(dir.as_fd(), name)?;
        self.fs.inode(&stat, Some((self.node.clone(), name.into())))
    }

    fn watch(&self) -> Option<u64> {
        self.node.watch(&self.fs)
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        self.fs.writable()?;
        let dir = self.directory()?;
        let mut file = None;
        match new.kind {
            FileKind::Regular => file = Some(dir::create(dir.as_fd(), name, new.perm)?),
            FileKind::Directory => dir::make_directory(dir.as_fd(), name, new.perm)?,
            FileKind::Fifo | FileKind::Socket => {
                dir::make_node(dir.as_fd(), name, new.kind.mode_bits() | new.perm, 0)?;
            }
            // A whiteout is no device.
            FileKind::CharDevice if new.rdev == 0 => {
                dir::make_node(dir.as_fd(), name, new.kind.mode_bits() | new.perm, 0)?;
            }
            // No device of the host can be made, so none of the guest's own is put there either.
            _ => return Err(Errno::EPERM),
        }
        self.adopt(name, &dir, new, file)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        self.fs.writable()?;
        let dir = self.directory()?;
        dir::make_link(dir.as_fd(), name, target)?;
        self.adopt(name, &dir, new, None)
    }

    fn link(&self, name: &[u8], target: &Arc<Inode>) -> Result<(), Errno> {
        self.fs.writable()?;
        let target = target.ops_as::<HostInode>().ok_or(Errno::EXDEV)?;
        let dir = self.directory()?;
        match target.node.place() {
            Some((from, old_name)) => {
                let from = from.directory(&self.fs)?;
                dir::link(from.as_fd(), &old_name, dir.as_fd(), name)?;
            }
            None => {
                let file = target.node.reach(&self.fs, Open::ReadWrite)?;
                dir::link_handle(file.as_fd(), dir.as_fd(), name)?;
            }
        }
        target.node.stay_at((self.node.clone(), name.into()));
        target.node.changed();
        self.node.entries_changed();
        Ok(())
    }

    fn unlink(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        self.fs.writable()?;
        let dir = self.directory()?;
        let place = (self.node.clone(), name.into());
        let victim = victim.ops_as::<HostInode>();
        if let Some(victim) = victim {
            victim.node.leave_place(&self.fs, &place);
        }
        let done = dir::remove(dir.as_fd(), name, false);
        if let (Err(_), Some(victim)) = (done, victim) {
            victim.node.stay_at(place);
        }
        self.node.entries_changed();
        done
    }

    fn rmdir(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        self.fs.writable()?;
        let dir = self.directory()?;
        let place = (self.node.clone(), name.into());
        let victim = victim.ops_as::<HostInode>();
        if let Some(victim) = victim {
            victim.node.leave_place(&self.fs, &place);
        }
        let done = dir::remove(dir.as_fd(), name, true);
        if let Some(victim) = victim {
            if done.is_err() {
                victim.node.stay_at(place);
            }
            victim.node.entries_changed();
            self.fs.handles.forget(victim.node.id);
        }
        self.node.entries_changed();
        done
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<Inode>, new_name: &[u8], flags: u32) -> Result<(), Errno> {
        self.fs.writable()?;
        let to = new_dir.ops_as::<HostInode>().ok_or(Errno::EXDEV)?;
        let (from_fd, to_fd) = (self.directory()?, to.directory()?);
        let (old, new) = (
            (self.node.clone(), name.into()),
            (to.node.clone(), new_name.into()),
        );
        let known = |dir: &OwnedFd, name: &[u8]| {
            let stat = dir::stat(dir.as_fd(), name).ok()?;
            self.fs.known(&stat)
        };
        let moving = known(&from_fd, name);
        let replaced = known(&to_fd, new_name);
        if let Some(replaced) = &replaced
            && flags & EXCHANGE == 0
        {
            replaced.leave_place(&self.fs, &new);
        }
        let done = dir::rename(from_fd.as_fd(), name, to_fd.as_fd(), new_name, flags);
        match (done, flags & EXCHANGE != 0) {
            (Ok(()), exchange) => {
                if let Some(node) = moving {
                    node.moved(&old, new.clone());
                }
                if let (true, Some(node)) = (exchange, replaced) {
                    node.moved(&new, old);
                }
            }
            (Err(_), false) => {
                if let Some(node) = replaced {
                    node.stay_at(new);
                }
            }
            (Err(_), true) => {}
        }
        self.node.entries_changed();
        to.node.entries_changed();
        done
    }

    fn tmpfile(&self, new: &NewInode) -> Result<Arc<Inode>, Errno> {
        self.fs.writable()?;
        let dir = self.directory()?;
        let file = dir::create_nameless(dir.as_fd(), new.perm)?;
        // A file that could not be given a name later is of no use to those who ask for one.
        if !dir::can_link_handle(file.as_fd(), dir.as_fd()) {
            return Err(Errno::EOPNOTSUPP);
        }
        let stat = own(file.as_fd(), new)?;
        let inode = self.fs.inode(&stat, None)?;
        let made = inode.ops_as::<HostInode>().ok_or(Errno::EIO)?;
        let file = Arc::new(file);
        made.node.add_open(&file, Open::ReadWrite);
        made.node.state.lock().pinned = Some(file);
        Ok(inode)
    }

    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        if self.node.kind != FileKind::Symlink {
            return Err(Errno::EINVAL);
        }
        if let Some(text) = &self.node.state.lock().text {
            return Ok(text.to_vec());
        }
        let text = match self.node.place() {
            // The name still leads to it: nobody changes the tree.
            Some((parent, name)) if self.fs.options.read_only && !self.fs.options.shared => {
                dir::read_link_in(parent.directory(&self.fs)?.as_fd(), &name)?
            }
            _ => dir::read_link(self.node.reach(&self.fs, Open::Path)?.as_fd())?,
        };
        self.node.state.lock().text = Some(text.as_slice().into());
        Ok(text)
    }

    fn open(&self, path: &Path, flags: u32) -> Result<Box<dyn FileOps>, Errno> {
        match self.node.kind {
            FileKind::Directory => Ok(Box::new(HostDirectory::new(&self.fs, &self.node))),
            FileKind::Regular => self.open_data(path, flags),
            FileKind::Symlink => Err(Errno::ELOOP),
            _ => Err(Errno::ENXIO),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let exclusive = !self.fs.options.shared;
        if exclusive && self.list_xattr().is_ok_and(|names| names.is_empty()) {
            return Err(Errno::ENODATA);
        }
        file::get_xattr(self.for_xattr()?.as_fd(), name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.fs.writable()?;
        file::set_xattr(self.for_xattr()?.as_fd(), name, value, flags)?;
        self.node.changed();
        self.node.state.lock().plain = false;
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.fs.writable()?;
        file::remove_xattr(self.for_xattr()?.as_fd(), name)?;
        self.node.changed();
        Ok(())
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>, Errno> {
        if !self.fs.options.shared && self.node.state.lock().plain {
            return Ok(Vec::new());
        }
        let names = match self.for_xattr() {
            Ok(fd) => match file::list_xattr(fd.as_fd()) {
                Err(Errno::EOPNOTSUPP) => Vec::new(),
                other => other?,
            },
            Err(Errno::EOPNOTSUPP) => Vec::new(),
            Err(error) => return Err(error),
        };
        if names.is_empty() {
            self.node.state.lock().plain = true;
        }
        Ok(names)
    }
}

/// Gives a new file its owner and permission bits.
fn own(fd: BorrowedFd<'_>, new: &NewInode) -> Result<Stat, Errno> {
    let stat = file::stat(fd)?;
    let uid = (stat.uid != new.uid).then_some(new.uid);
    let gid = (stat.gid != new.gid).then_some(new.gid);
    let owned = uid.is_some() || gid.is_some();
    if owned {
        file::chown(fd, uid, gid)?;
    }
    // chown(2) clears setuid bits, and the host's umask may have cleared others.
    let wrong = new.kind != FileKind::Symlink && (owned || stat.mode & 0o7777 != new.perm);
    if wrong {
        file::chmod(fd, new.perm)?;
    }
    if owned || wrong { file::stat(fd) } else { Ok(stat) }
}

fn stamp(change: Option<TimeChange>) -> Stamp {
    match change {
        None => Stamp::Keep,
        Some(TimeChange::Now) => Stamp::Now,
        Some(TimeChange::At(at)) => Stamp::At(at),
    }
}
