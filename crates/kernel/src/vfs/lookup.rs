//! One name in one directory: the dentry cache first, then the file system.

use std::sync::Arc;

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
        return lookup_uncached(dir, inode, name);
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
        return lookup_uncached(dir, inode, name);
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

/// A directory whose names change behind our back: ask every time, but keep the dentry of an unchanged file
/// (mounts and working directories hang on it).
fn lookup_uncached(dir: &Arc<Dentry>, inode: &Arc<Inode>, name: &[u8]) -> Result<Arc<Dentry>, Errno> {
    let known = dir.cached_child(name);
    if let Some(known) = &known
        && known.is_mountpoint()
    {
        return Ok(known.clone());
    }
    match inode.ops.lookup(name) {
        Ok(child) => {
            if let Some(known) = known
                && known.inode_ref().is_ok_and(|seen| Arc::ptr_eq(seen, &child))
            {
                return Ok(known);
            }
            let dentry = Dentry::child(name, Some(dir.clone()), Some(child));
            dir.adopt(name, &dentry);
            Ok(dentry)
        }
        Err(Errno::ENOENT) => {
            if let Some(known) = known {
                known.unhash();
            }
            Ok(Dentry::child(name, Some(dir.clone()), None))
        }
        Err(error) => Err(error),
    }
}
