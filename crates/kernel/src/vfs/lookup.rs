//! One name in one directory: the dentry cache first, then the file system.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;

use super::{Dentry, FileKind, Inode, Vfs};

/// NAME_MAX.
pub const NAME_MAX: usize = 255;

/// The dentry of `name` in `dir`, perhaps negative. The caller checked the search permission.
pub(super) fn lookup(vfs: &Vfs, dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>, Errno> {
    let inode = dir.inode_ref()?;
    if inode.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if !inode.sb.ops.cacheable() {
        let state = inode.ops.watch();
        if let Some(known) = still_known(dir, name, state) {
            return Ok(known);
        }
        let _changing = state.map(|_| inode.dir_lock.lock());
        return lookup_uncached(vfs, dir, inode, name);
    }
    if let Some(found) = dir.cached_child(name) {
        return Ok(found);
    }
    // With the directory held still: else a name removed meanwhile could be entered again.
    let _changing = inode.dir_lock.lock();
    lookup_locked(vfs, dir, name)
}

/// The same with the directory's `dir_lock` held.
pub(super) fn lookup_locked(vfs: &Vfs, dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>, Errno> {
    let inode = dir.inode_ref()?;
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if !inode.sb.ops.cacheable() {
        return lookup_uncached(vfs, dir, inode, name);
    }
    if let Some(found) = dir.cached_child(name) {
        return Ok(found);
    }
    let found = match inode.ops.lookup(name) {
        Ok(child) => Some(child),
        Err(Errno::ENOENT) => None,
        Err(error) => return Err(error),
    };
    let dentry = Dentry::child(name, Some(dir.clone()), found);
    if !dir.is_deleted() {
        dir.adopt(name, &dentry);
        vfs.dcache.insert(&dentry);
    }
    Ok(dentry)
}

/// The dentry of a name that was looked up in this state of its directory.
fn still_known(dir: &Dentry, name: &[u8], state: Option<u64>) -> Option<Arc<Dentry>> {
    let known = dir.cached_child(name)?;
    let fresh = state.is_some_and(|state| known.seen.load(Ordering::Relaxed) == state);
    (fresh || known.is_mountpoint()).then_some(known)
}

/// A directory whose names change behind our back: what was looked up is good while the file system hears of no change;
/// else it is asked every time, but the dentry of an unchanged file is kept (mounts and working directories hang on it). The
/// caller holds the directory's `dir_lock` if the file system hears of changes.
fn lookup_uncached(
    vfs: &Vfs,
    dir: &Arc<Dentry>,
    inode: &Arc<Inode>,
    name: &[u8],
) -> Result<Arc<Dentry>, Errno> {
    let state = inode.ops.watch();
    if let Some(known) = still_known(dir, name, state) {
        return Ok(known);
    }
    let known = dir.cached_child(name);
    let found = match inode.ops.lookup(name) {
        Ok(child) => Some(child),
        Err(Errno::ENOENT) => None,
        Err(error) => return Err(error),
    };
    if let Some(known) = known {
        let same = match (known.inode_ref(), &found) {
            (Ok(seen), Some(child)) => Arc::ptr_eq(seen, child),
            (Err(_), None) => true,
            _ => false,
        };
        if same {
            known.seen.store(state.unwrap_or(0), Ordering::Relaxed);
            return Ok(known);
        }
        if found.is_none() {
            known.unhash();
        } else {
            known.forget();
        }
        vfs.dcache.remove(&known);
    }
    let positive = found.is_some();
    let dentry = Dentry::child(name, Some(dir.clone()), found);
    let remembered = state.is_some() && !dir.is_deleted();
    if remembered {
        dentry.seen.store(state.unwrap_or(0), Ordering::Relaxed);
    }
    if remembered || positive {
        dir.adopt(name, &dentry);
    }
    if remembered {
        vfs.dcache.insert(&dentry);
    }
    Ok(dentry)
}
