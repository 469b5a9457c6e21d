//! File events for inotify(7): which inodes are watched, and what the VFS tells them.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use sync::{Mutex, rank};

use super::{Dentry, FileKind, Inode, Path, Vfs};
use crate::file::inotify::Inotify;

macro_rules! events {
    ($($name:ident = $value:expr;)*) => { $(#[doc = stringify!($name)] pub const $name: u32 = $value;)* };
}

events! {
    IN_ACCESS = 0x1;
    IN_MODIFY = 0x2;
    IN_ATTRIB = 0x4;
    IN_CLOSE_WRITE = 0x8;
    IN_CLOSE_NOWRITE = 0x10;
    IN_OPEN = 0x20;
    IN_MOVED_FROM = 0x40;
    IN_MOVED_TO = 0x80;
    IN_CREATE = 0x100;
    IN_DELETE = 0x200;
    IN_DELETE_SELF = 0x400;
    IN_MOVE_SELF = 0x800;
    IN_UNMOUNT = 0x2000;
    IN_Q_OVERFLOW = 0x4000;
    IN_IGNORED = 0x8000;
    IN_ONLYDIR = 0x0100_0000;
    IN_DONT_FOLLOW = 0x0200_0000;
    IN_EXCL_UNLINK = 0x0400_0000;
    IN_MASK_CREATE = 0x1000_0000;
    IN_MASK_ADD = 0x2000_0000;
    IN_ISDIR = 0x4000_0000;
    IN_ONESHOT = 0x8000_0000;
    IN_ALL_EVENTS = 0xfff;
}

/// One watch on an inode.
#[derive(Clone)]
pub struct Watch {
    /// Who watches.
    pub instance: Weak<Inotify>,
    /// Its watch descriptor.
    pub wd: i32,
    /// IN_* events and IN_ONESHOT, IN_EXCL_UNLINK.
    pub mask: u32,
}

/// The watches of an inode; attached to it.
pub struct Watches(pub Mutex<Vec<Watch>>);

impl Default for Watches {
    fn default() -> Self {
        Watches(Mutex::new(rank::LEAF, Vec::new()))
    }
}

static COOKIE: AtomicU32 = AtomicU32::new(0);

/// A number that connects IN_MOVED_FROM and IN_MOVED_TO.
pub fn next_cookie() -> u32 {
    COOKIE.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Whether anybody watches anything.
pub fn wanted(vfs: &Vfs) -> bool {
    vfs.watches.load(Ordering::Relaxed) > 0
}

/// Tells those who watch `inode` itself.
pub fn on_inode(vfs: &Vfs, inode: &Arc<Inode>, event: u32) {
    if wanted(vfs) {
        let is_dir = inode.kind == FileKind::Directory;
        deliver(vfs, inode, event, is_dir, 0, &[], false);
    }
}

/// Tells those who watch the directory of an entry called `name`.
pub fn on_child(vfs: &Vfs, dir: &Dentry, event: u32, name: &[u8], is_dir: bool, cookie: u32) {
    if wanted(vfs)
        && let Ok(inode) = dir.inode_ref()
    {
        deliver(vfs, inode, event, is_dir, cookie, name, false);
    }
}

/// Tells those who watch the file and those who watch its directory.
pub fn on_path(vfs: &Vfs, path: &Path, event: u32) {
    if !wanted(vfs) {
        return;
    }
    let Ok(inode) = path.dentry.inode_ref() else {
        return;
    };
    let is_dir = inode.kind == FileKind::Directory;
    if let Some(parent) = path.dentry.parent()
        && let Ok(dir) = parent.inode_ref()
    {
        let name = path.dentry.name();
        deliver(vfs, dir, event, is_dir, 0, &name, path.dentry.is_deleted());
    }
    deliver(vfs, inode, event, is_dir, 0, &[], false);
}

fn deliver(
    vfs: &Vfs,
    inode: &Arc<Inode>,
    event: u32,
    is_dir: bool,
    cookie: u32,
    name: &[u8],
    unlinked: bool,
) {
    // A directory's own attributes are told, too.
    if !name.is_empty() || event == IN_ATTRIB {
        crate::file::sigio::on_directory(inode, event);
    }
    let Some(watches) = inode.attached::<Watches>() else {
        return;
    };
    let due: Vec<Watch> = {
        let list = watches.0.lock();
        list.iter()
            .filter(|watch| watch.mask & event != 0 && !(unlinked && watch.mask & IN_EXCL_UNLINK != 0))
            .cloned()
            .collect()
    };
    let flag = if is_dir { IN_ISDIR } else { 0 };
    for watch in due {
        let Some(instance) = watch.instance.upgrade() else {
            continue;
        };
        let shown = if matches!(event, IN_DELETE_SELF | IN_MOVE_SELF) {
            event
        } else {
            event | flag
        };
        instance.push(watch.wd, shown, cookie, name);
        if watch.mask & IN_ONESHOT != 0 {
            instance.remove(vfs, watch.wd);
        }
    }
}

/// The inode is gone: its watches end (IN_IGNORED).
pub fn forget_watches(vfs: &Vfs, inode: &Arc<Inode>) {
    let Some(watches) = inode.attached::<Watches>() else {
        return;
    };
    let all: Vec<Watch> = watches.0.lock().clone();
    for watch in all {
        if let Some(instance) = watch.instance.upgrade() {
            instance.remove(vfs, watch.wd);
        }
    }
}
