//! pivot_root(2).

use std::sync::Arc;

use abi::Errno;

use super::arg::CStr;
use super::mount::{is_ours, may_mount};
use crate::task::CurrentTask;
use crate::vfs::{FsContext, LookupFlags, Mount, Path, Walker};

/// pivot_root(2). Tasks whose root or working directory is the old root get the new one.
pub fn pivot_root(task: &CurrentTask, new_root: CStr, put_old: CStr) -> Result<(), Errno> {
    let walker = Walker::of(task);
    may_mount(task)?;
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let new = walker.resolve(None, &task.read_path(new_root.0)?, flags)?;
    let put = walker.resolve(None, &task.read_path(put_old.0)?, flags)?;
    let old = walker.root.clone();
    if Arc::ptr_eq(&new.mount, &old.mount) || Arc::ptr_eq(&put.mount, &old.mount) {
        return Err(Errno::EBUSY);
    }
    if !is_ours(task, &new.mount) || !is_ours(task, &put.mount) || new.mount.is_locked() {
        return Err(Errno::EINVAL);
    }
    let shared = |mount: &Mount| mount.propagation().group != 0;
    let above = |mount: &Mount| mount.parent().is_some_and(|(parent, _)| shared(&parent));
    if shared(&put.mount) || above(&new.mount) || above(&old.mount) {
        return Err(Errno::EINVAL);
    }
    if !old.is_mount_root() || !new.is_mount_root() || new.mount.parent().is_none() {
        return Err(Errno::EINVAL);
    }
    // The old root must become reachable from the new one, which must lie below the old.
    if !put.plain_text(&new).1 || !new.plain_text(&old).1 {
        return Err(Errno::EINVAL);
    }
    task.kernel.vfs.pivot(&new.mount, &old.mount, &put)?;
    let contexts: Vec<Arc<FsContext>> = {
        let tasks: Vec<_> = task.kernel.pids.read().tasks.values().cloned().collect();
        tasks.iter().map(|task| task.fs()).chain([task.fs()]).collect()
    };
    for fs in contexts {
        change_root(&fs, &old, &new);
    }
    Ok(())
}

fn change_root(fs: &FsContext, old: &Path, new: &Path) {
    if fs.root().same(old) {
        fs.set_root(new.clone());
    }
    if fs.cwd().same(old) {
        fs.set_cwd(new.clone());
    }
}
