//! A file of any kind on tmpfs.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, PAGE_SIZE};
use kernel::file::FileOps;
use kernel::file::memory_file::{MemoryFile, OpenMemoryFile};
use kernel::file::times::FileTimes;
use kernel::vfs::{
    Attr, AttrChange, FileKind, Inode, InodeOps, NewInode, Path, RENAME_EXCHANGE, RENAME_WHITEOUT, Superblock,
};
use sync::{Mutex, rank};

use super::directory::{Entries, OpenDirectory};
use super::{Instance, charge_text, release_text};

/// Bytes of names and values of one file's extended attributes.
const XATTR_LIMIT: usize = 128 << 10;
/// Size of a directory that listings show for each entry (BOGO_DIRENT_SIZE).
const ENTRY_SIZE: u64 = 20;
/// XATTR_CREATE.
const XATTR_CREATE: u32 = 1;
/// XATTR_REPLACE.
const XATTR_REPLACE: u32 = 2;
/// LINK_MAX as on ext4: keeps the count far from overflow.
const LINK_LIMIT: u32 = 65_000;

/// What differs by kind.
enum Body {
    Regular(Arc<MemoryFile>),
    Directory(Mutex<Entries>, FileTimes),
    Symlink(Text, FileTimes),
    /// Device nodes, fifos, sockets.
    Special(FileTimes),
}

/// Bytes on the sentry's heap that count against the sandbox's share of it.
struct Text(Box<[u8]>);

impl Text {
    fn new(bytes: &[u8]) -> Result<Text, Errno> {
        charge_text(bytes.len())?;
        Ok(Text(bytes.into()))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        release_text(self.0.len());
    }
}

struct Meta {
    perm: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    xattrs: BTreeMap<Vec<u8>, Text>,
}

/// A file, directory, link or special file.
pub struct Node {
    instance: Arc<Instance>,
    sb: Arc<Superblock>,
    ino: u64,
    kind: FileKind,
    rdev: u64,
    btime: i64,
    meta: Mutex<Meta>,
    body: Body,
    /// Made without a name by O_TMPFILE: it may still get one.
    unnamed: AtomicBool,
}

impl Node {
    /// A new inode without a name. `target` is a symbolic link's text.
    pub(super) fn create(
        instance: &Arc<Instance>,
        sb: &Arc<Superblock>,
        new: &NewInode,
        target: Option<&[u8]>,
    ) -> Result<Arc<Inode>, Errno> {
        let body = match new.kind {
            FileKind::Regular => {
                let quota = Some(instance.quota.clone());
                Body::Regular(MemoryFile::new(&*instance.memory, quota)?)
            }
            FileKind::Directory => {
                Body::Directory(Mutex::new(rank::FS_INNER, Entries::default()), FileTimes::now())
            }
            FileKind::Symlink => Body::Symlink(Text::new(target.unwrap_or_default())?, FileTimes::now()),
            _ => Body::Special(FileTimes::now()),
        };
        let meta = Meta {
            perm: new.perm,
            uid: new.uid,
            gid: new.gid,
            nlink: if new.kind == FileKind::Directory { 2 } else { 1 },
            xattrs: BTreeMap::new(),
        };
        let node = Node {
            ino: instance.new_ino()?,
            instance: instance.clone(),
            sb: sb.clone(),
            kind: new.kind,
            rdev: new.rdev,
            btime: kernel::vfs::now_ns(),
            meta: Mutex::new(rank::LEAF, meta),
            body,
            unnamed: AtomicBool::new(false),
        };
        Ok(Inode::new(sb.clone(), new.kind, Box::new(node)))
    }

    /// Its inode number.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// A directory's entries. `ENOTDIR` for other kinds.
    pub fn entries(&self) -> Result<&Mutex<Entries>, Errno> {
        match &self.body {
            Body::Directory(entries, _) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn times(&self) -> &FileTimes {
        match &self.body {
            Body::Regular(file) => &file.times,
            Body::Directory(_, times) | Body::Symlink(_, times) | Body::Special(times) => times,
        }
    }

    /// Changes the number of links; the inode changed.
    fn relink(&self, change: impl FnOnce(u32) -> u32) {
        let mut meta = self.meta.lock();
        meta.nlink = change(meta.nlink);
        drop(meta);
        self.times().changed();
    }

    /// Enters a new child.
    fn enter(&self, name: &[u8], child: &Arc<Inode>) -> Result<(), Errno> {
        let mut entries = self.entries()?.lock();
        if entries.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        entries.insert(name, child.clone());
        drop(entries);
        if child.kind == FileKind::Directory {
            self.relink(|links| links.saturating_add(1));
        }
        self.times().modified();
        Ok(())
    }

    /// Takes a child out; `victim` must be what the name means.
    fn take_out(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        let mut entries = self.entries()?.lock();
        if !entries.get(name).is_some_and(|inode| Arc::ptr_eq(inode, victim)) {
            return Err(Errno::ENOENT);
        }
        let gone = entries.remove(name);
        drop(entries);
        drop(gone);
        self.times().modified();
        Ok(())
    }
}

fn node(inode: &Inode) -> Result<&Node, Errno> {
    inode.ops_as::<Node>().ok_or(Errno::EXDEV)
}

impl InodeOps for Node {
    fn attr(&self) -> Result<Attr, Errno> {
        let (size, blocks) = match &self.body {
            Body::Regular(file) => (file.size(), file.blocks()),
            Body::Directory(entries, _) => ((entries.lock().len() as u64 + 2) * ENTRY_SIZE, 0),
            Body::Symlink(target, _) => (target.0.len() as u64, 0),
            Body::Special(_) => (0, 0),
        };
        let times = self.times();
        let meta = self.meta.lock();
        Ok(Attr {
            ino: self.ino,
            kind: self.kind,
            perm: meta.perm,
            nlink: meta.nlink,
            uid: meta.uid,
            gid: meta.gid,
            rdev: self.rdev,
            size,
            blocks,
            blksize: PAGE_SIZE as u32,
            atime: times.atime.load(Ordering::Relaxed),
            mtime: times.mtime.load(Ordering::Relaxed),
            ctime: times.ctime.load(Ordering::Relaxed),
            btime: Some(self.btime),
        })
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        if let Some(size) = change.size {
            match &self.body {
                Body::Regular(file) => file.truncate(size)?,
                Body::Directory(..) => return Err(Errno::EISDIR),
                _ => return Err(Errno::EINVAL),
            }
        }
        let mut meta = self.meta.lock();
        meta.perm = change.perm.unwrap_or(meta.perm);
        meta.uid = change.uid.unwrap_or(meta.uid);
        meta.gid = change.gid.unwrap_or(meta.gid);
        drop(meta);
        self.times().apply(change);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        self.entries()?.lock().get(name).cloned().ok_or(Errno::ENOENT)
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let child = Node::create(&self.instance, &self.sb, new, None)?;
        self.enter(name, &child)?;
        Ok(child)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let child = Node::create(&self.instance, &self.sb, new, Some(target))?;
        self.enter(name, &child)?;
        Ok(child)
    }

    fn link(&self, name: &[u8], target: &Arc<Inode>) -> Result<(), Errno> {
        let linked = node(target)?;
        let named = !linked.unnamed.swap(false, Ordering::SeqCst);
        let links = linked.meta.lock().nlink;
        if links == 0 && named {
            return Err(Errno::ENOENT);
        }
        if links >= LINK_LIMIT {
            return Err(Errno::EMLINK);
        }
        self.enter(name, target)?;
        linked.relink(|links| links + 1);
        Ok(())
    }

    fn unlink(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        self.take_out(name, victim)?;
        node(victim)?.relink(|links| links.saturating_sub(1));
        Ok(())
    }

    fn rmdir(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        let gone = node(victim)?;
        if !gone.entries()?.lock().is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.take_out(name, victim)?;
        gone.relink(|_| 0);
        self.relink(|links| links.saturating_sub(1));
        Ok(())
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<Inode>, new_name: &[u8], flags: u32) -> Result<(), Errno> {
        let target = node(new_dir)?;
        let moving = self.lookup(name)?;
        let replaced = target.lookup(new_name).ok();
        if flags & RENAME_EXCHANGE != 0 {
            let other = replaced.ok_or(Errno::ENOENT)?;
            self.entries()?.lock().insert(name, other.clone());
            target.entries()?.lock().insert(new_name, moving.clone());
            self.count_moved(&other, target, -1);
            self.count_moved(&moving, target, 1);
            node(&other)?.times().changed();
        } else {
            if let Some(old) = &replaced {
                self.replace(target, new_name, old)?;
            }
            let whiteout = if flags & RENAME_WHITEOUT != 0 {
                Some(self.whiteout()?)
            } else {
                None
            };
            let gone = {
                let mut entries = self.entries()?.lock();
                match whiteout {
                    Some(whiteout) => entries.insert(name, whiteout),
                    None => entries.remove(name),
                }
            };
            drop(gone);
            target.entries()?.lock().insert(new_name, moving.clone());
            self.count_moved(&moving, target, 1);
        }
        self.times().modified();
        target.times().modified();
        node(&moving)?.times().changed();
        Ok(())
    }

    fn tmpfile(&self, new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let inode = Node::create(&self.instance, &self.sb, new, None)?;
        let own = node(&inode)?;
        own.unnamed.store(true, Ordering::SeqCst);
        own.meta.lock().nlink = 0;
        Ok(inode)
    }

    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        match &self.body {
            Body::Symlink(target, _) => Ok(target.0.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        match &self.body {
            Body::Regular(file) => Ok(Box::new(OpenMemoryFile(file.clone()))),
            Body::Directory(..) => Ok(Box::new(OpenDirectory)),
            Body::Symlink(..) => Err(Errno::ELOOP),
            Body::Special(_) => Err(Errno::ENXIO),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let meta = self.meta.lock();
        let value = meta.xattrs.get(name).ok_or(Errno::ENODATA)?;
        Ok(value.0.to_vec())
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let mut meta = self.meta.lock();
        let exists = meta.xattrs.contains_key(name);
        if exists && flags & XATTR_CREATE != 0 {
            return Err(Errno::EEXIST);
        }
        if !exists && flags & XATTR_REPLACE != 0 {
            return Err(Errno::ENODATA);
        }
        let others = meta.xattrs.iter().filter(|(own, _)| own.as_slice() != name);
        let used: usize = others.map(|(name, value)| name.len() + value.0.len()).sum();
        if used + name.len() + value.len() > XATTR_LIMIT {
            return Err(Errno::ENOSPC);
        }
        meta.xattrs.insert(name.to_vec(), Text::new(value)?);
        drop(meta);
        self.times().changed();
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        let gone = self.meta.lock().xattrs.remove(name);
        self.times().changed();
        gone.map(|_| ()).ok_or(Errno::ENODATA)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(self.meta.lock().xattrs.keys().cloned().collect())
    }
}

impl Node {
    /// A directory that moved from here to `target` takes its `..` link along (`by` of 1), or comes back (-1).
    fn count_moved(&self, moved: &Inode, target: &Node, by: i32) {
        if moved.kind == FileKind::Directory && !std::ptr::eq(self, target) {
            self.relink(|links| links.saturating_add_signed(-by));
            target.relink(|links| links.saturating_add_signed(by));
        }
    }

    /// The file at `name` gives way to another.
    fn replace(&self, target: &Node, name: &[u8], old: &Arc<Inode>) -> Result<(), Errno> {
        if old.kind == FileKind::Directory {
            target.rmdir(name, old)
        } else {
            target.unlink(name, old)
        }
    }

    /// What RENAME_WHITEOUT leaves behind: character device 0/0.
    fn whiteout(&self) -> Result<Arc<Inode>, Errno> {
        let new = NewInode {
            kind: FileKind::CharDevice,
            perm: 0,
            uid: 0,
            gid: 0,
            rdev: 0,
        };
        Node::create(&self.instance, &self.sb, &new, None)
    }

    fn children(&mut self) -> Vec<Arc<Inode>> {
        match &mut self.body {
            Body::Directory(entries, _) => entries.get_mut().take_all().collect(),
            _ => Vec::new(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.instance.inode_gone();
        // A deep tree must not be dropped by recursion.
        let mut pending = self.children();
        while let Some(next) = pending.pop() {
            if let Some(mut inode) = Arc::into_inner(next)
                && let Some(own) = (&mut *inode.ops as &mut dyn Any).downcast_mut::<Node>()
            {
                pending.append(&mut own.children());
            }
        }
    }
}
