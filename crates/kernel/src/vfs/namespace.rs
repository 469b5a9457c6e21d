//! The mount tree: which mounts are attached where, in which namespace; and the VFS state of a kernel.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use sync::{Mutex, RwLock, rank};

use super::{
    Dentry, DentryCache, DeviceTable, FilesystemType, FsContext, FsState, Inode, Mount, MountFlags, Path,
};
use crate::Kernel;
use crate::cred::UserNs;

/// Mounts that all namespaces of a sandbox may hold together (Linux's fs.mount-max is 100,000 a namespace).
pub(super) const MOUNT_LIMIT: usize = 10_000;

/// The VFS state of a kernel: registered types, the mount trees, caches, devices.
pub struct Vfs {
    /// Registered types.
    pub types: RwLock<Vec<Arc<dyn FilesystemType>>>,
    /// Device nodes' drivers.
    pub devices: DeviceTable,
    /// Recently used dentries.
    pub dcache: DentryCache,
    /// Number of inotify watches in the sandbox: with none, operations raise no events.
    pub watches: AtomicUsize,
    /// Processes that wait for each other's record locks.
    pub(crate) lock_waits: crate::file::lock::LockWaits,
    /// Files with O_ASYNC that have something to tell.
    pub(crate) async_files: crate::file::sigio::AsyncFiles,
    /// Leases in the sandbox: with none, opening a file looks for none.
    pub(crate) leases: AtomicUsize,
    /// Whether the guest has given a file capabilities: if not, writes look for none.
    pub(crate) capable_files: AtomicBool,
    /// File handles that were given out.
    pub handles: super::Handles,
    /// Held over renames between directories.
    pub(crate) rename_lock: Mutex<()>,
    pub(super) mounts: RwLock<MountTable>,
    namespaces: AtomicU64,
    pub(crate) anonymous: OnceLock<Arc<Mount>>,
}

#[derive(Default)]
pub(super) struct MountTable {
    /// The topmost mount on a dentry of a mount: (parent mount's id, dentry's address) -> mount.
    pub(super) by_place: HashMap<(u32, usize), Arc<Mount>>,
    /// All mounts that belong to a namespace, by id.
    pub(super) all: BTreeMap<u32, Arc<Mount>>,
    /// The user namespaces that mount namespaces belong to; the first one when absent.
    pub(super) owners: BTreeMap<u64, Arc<UserNs>>,
}

impl MountTable {
    /// The place on top of what is mounted at a place.
    pub(super) fn topmost(&self, at: &Path) -> Path {
        let mut top = at.clone();
        while let Some(above) = self.by_place.get(&place(&top.mount, &top.dentry)) {
            top = Path {
                mount: above.clone(),
                dentry: above.root.clone(),
            };
        }
        top
    }
}

impl Default for Vfs {
    fn default() -> Self {
        Vfs {
            types: RwLock::new(rank::LEAF, Vec::new()),
            devices: DeviceTable::default(),
            dcache: DentryCache::default(),
            watches: AtomicUsize::new(0),
            lock_waits: crate::file::lock::LockWaits::default(),
            async_files: crate::file::sigio::AsyncFiles::default(),
            leases: AtomicUsize::new(0),
            capable_files: AtomicBool::new(false),
            handles: super::Handles::default(),
            rename_lock: Mutex::new(rank::RENAME, ()),
            mounts: RwLock::new(rank::MOUNTS, MountTable::default()),
            namespaces: AtomicU64::new(0),
            anonymous: OnceLock::new(),
        }
    }
}

pub(super) fn place(mount: &Mount, dentry: &Arc<Dentry>) -> (u32, usize) {
    (mount.id, Arc::as_ptr(dentry).addr())
}

impl Vfs {
    /// Adds a file system type for mount(2).
    pub fn register_type(&self, kind: Arc<dyn FilesystemType>) {
        self.types.write().push(kind);
    }

    /// The file system type of that name. `ENODEV` when there is none.
    pub fn filesystem_type(&self, name: &[u8]) -> Result<Arc<dyn FilesystemType>, Errno> {
        let types = self.types.read();
        let found = types.iter().find(|kind| kind.name().as_bytes() == name);
        found.cloned().ok_or(Errno::ENODEV)
    }

    /// Makes `inode` the root of a new mount namespace; returns the place `/`.
    pub fn mount_root(&self, inode: Arc<Inode>, source: &[u8], flags: MountFlags) -> Path {
        let root = Dentry::root(b"/", inode);
        let mount = Mount::new(root.clone(), source, flags);
        let namespace = self.namespaces.fetch_add(1, Ordering::Relaxed) + 1;
        mount.namespace.store(namespace, Ordering::Relaxed);
        self.mounts.write().all.insert(mount.id, mount.clone());
        Path { mount, dentry: root }
    }

    /// Mounts the file system whose root is `inode` on `at`. `ENOTDIR` when one is a directory and the other is not.
    pub fn mount_at(
        &self,
        at: &Path,
        inode: Arc<Inode>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<Arc<Mount>, Errno> {
        let mount = Mount::new(Dentry::root(b"/", inode), source, flags);
        self.attach_tree(at, &mount)?;
        Ok(mount)
    }

    /// Shows the tree under `from` at `at` too (MS_BIND).
    pub fn bind_at(&self, at: &Path, from: &Path, recursive: bool) -> Result<Arc<Mount>, Errno> {
        let mount = self.clone_tree(from, recursive)?;
        let attached = self.attach_tree(at, &mount);
        if attached.is_err() {
            // Lazy: it does not fail.
            let _ = self.detach(&mount, true);
        }
        attached.map(|()| mount)
    }

    /// A copy of the tree under `from` that is not attached anywhere (OPEN_TREE_CLONE).
    pub(crate) fn clone_tree(&self, from: &Path, recursive: bool) -> Result<Arc<Mount>, Errno> {
        if from.mount.propagation().unbindable {
            return Err(Errno::EINVAL);
        }
        let mount = from.mount.copy(&from.dentry);
        mount.set_locked(false);
        if recursive {
            let below = self.below(&from.mount, Some(&from.dentry));
            let below = super::propagation::without_unbindable(below, &from.mount);
            if let Err(error) = self.copy_mounts(&from.mount, &mount, &below) {
                // Lazy: it does not fail.
                let _ = self.detach(&mount, true);
                return Err(error);
            }
        }
        Ok(mount)
    }

    /// Attaches copies of `mounts` (of the tree of `old`, in order of attachment) at the same places of `new`.
    fn copy_mounts(
        &self,
        old: &Arc<Mount>,
        new: &Arc<Mount>,
        mounts: &[Arc<Mount>],
    ) -> Result<HashMap<u32, Arc<Mount>>, Errno> {
        let mut copies: HashMap<u32, Arc<Mount>> = HashMap::from([(old.id, new.clone())]);
        for mount in mounts {
            let Some((parent, dentry)) = mount.parent() else {
                continue;
            };
            let Some(above) = copies.get(&parent.id).cloned() else {
                continue;
            };
            let copy = mount.copy(&mount.root);
            let at = Path { mount: above, dentry };
            self.attach(&at, &copy)?;
            copies.insert(mount.id, copy);
        }
        Ok(copies)
    }

    /// A copy of the whole tree that `root` belongs to, in a new namespace (CLONE_NEWNS). Returns, for each of
    /// `paths`, the same place in the copy.
    pub fn copy_namespace(&self, paths: &[&Path], owner: &Arc<UserNs>) -> Result<Vec<Path>, Errno> {
        let first = paths.first().ok_or(Errno::EINVAL)?;
        let mut top = first.mount.clone();
        while let Some((parent, _)) = top.parent() {
            top = parent;
        }
        let new_top = top.copy(&top.root);
        let namespace = self.namespaces.fetch_add(1, Ordering::Relaxed) + 1;
        new_top.namespace.store(namespace, Ordering::Relaxed);
        let old = self.below(&top, None);
        {
            let mut table = self.mounts.write();
            table.all.insert(new_top.id, new_top.clone());
            table.owners.insert(namespace, owner.clone());
        }
        let copies = self.copy_mounts(&top, &new_top, &old)?;
        if self.owner_of(top.namespace.load(Ordering::Relaxed)) != *owner {
            let _table = self.mounts.write();
            for copy in copies.values() {
                copy.set_locked(copy.id != new_top.id);
                copy.lock_flags();
                copy.change_propagation(|own| {
                    // What happens there does not come back.
                    if own.group != 0 {
                        (own.group, own.master) = (0, own.group);
                    }
                });
            }
        }
        let moved = paths.iter().map(|path| Path {
            mount: copies.get(&path.mount.id).unwrap_or(&path.mount).clone(),
            dentry: path.dentry.clone(),
        });
        Ok(moved.collect())
    }

    /// Takes apart the mount trees of namespaces that no longer matter.
    fn purge(&self, live: &HashSet<u64>) {
        let (mut gone, mut places) = (Vec::new(), Vec::new());
        {
            let mut table = self.mounts.write();
            let dead = |mount: &Arc<Mount>| match mount.namespace.load(Ordering::Relaxed) {
                // Of a tree that somebody may hold still.
                0 => mount.parent().is_none(),
                namespace => !live.contains(&namespace),
            };
            let victims: Vec<Arc<Mount>> = table.all.values().filter(|mount| dead(mount)).cloned().collect();
            for mount in victims {
                places.extend(Self::detach_one(&mut table, &mount));
                table.all.remove(&mount.id);
                gone.push(mount);
            }
            table.owners.retain(|namespace, _| live.contains(namespace));
        }
        // Dropped without the lock: file systems may end here.
        drop((gone, places));
    }

    /// The root of the mount namespace that a place belongs to.
    pub fn root_of(&self, place: &Path) -> Path {
        let mut top = place.mount.clone();
        while let Some((parent, _)) = top.parent() {
            top = parent;
        }
        let dentry = top.root.clone();
        Path { mount: top, dentry }
    }

    /// The place `/` of the mount namespace that a place belongs to, with what is mounted on it.
    pub fn top_of(&self, place: &Path) -> Path {
        let mut top = self.root_of(place);
        while let Some(above) = self.mounted_on(&top.mount, &top.dentry) {
            let dentry = above.root.clone();
            top = Path { mount: above, dentry };
        }
        top
    }

    /// The user namespace that a mount namespace belongs to.
    pub fn owner_of(&self, namespace: u64) -> Arc<UserNs> {
        let owner = self.mounts.read().owners.get(&namespace).cloned();
        owner.unwrap_or_else(UserNs::first)
    }

    /// The namespace's number that a mount belongs to (the inode number of /proc/PID/ns/mnt is made from it).
    pub fn namespace_of(&self, mount: &Mount) -> u64 {
        mount.namespace.load(Ordering::Relaxed)
    }

    /// Attaches a mount of a tree that is being copied, which propagates nowhere.
    fn attach(&self, at: &Path, mount: &Arc<Mount>) -> Result<(), Errno> {
        let (point, root) = (at.inode()?.kind, mount.root.inode()?.kind);
        if (point == super::FileKind::Directory) != (root == super::FileKind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        let mut table = self.mounts.write();
        if at.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        if table.all.len() >= MOUNT_LIMIT {
            return Err(Errno::ENOSPC);
        }
        let top = table.topmost(at);
        top.dentry.mounts.fetch_add(1, Ordering::Relaxed);
        *mount.at.lock() = Some((Arc::downgrade(&top.mount), top.dentry.clone()));
        let namespace = top.mount.namespace.load(Ordering::Relaxed);
        mount.namespace.store(namespace, Ordering::Relaxed);
        table
            .by_place
            .insert(place(&top.mount, &top.dentry), mount.clone());
        table.all.insert(mount.id, mount.clone());
        Ok(())
    }

    /// Takes a mount off its place; it must have no mounts below (`EBUSY`) unless `lazy`, which takes them off too.
    pub(crate) fn detach(&self, mount: &Arc<Mount>, lazy: bool) -> Result<(), Errno> {
        let below = self.below(mount, None);
        if !below.is_empty() && !lazy {
            return Err(Errno::EBUSY);
        }
        let mut gone = Vec::new();
        {
            let mut table = self.mounts.write();
            let victims: Vec<Arc<Mount>> = std::iter::once(mount).chain(&below).cloned().collect();
            let others = table.unmounted_with(&victims);
            for victim in victims.iter().rev().chain(&others) {
                if victim.is_locked() && !Arc::ptr_eq(victim, mount) {
                    // What it hides stays hidden for who still holds the tree.
                    victim.namespace.store(0, Ordering::Relaxed);
                    table.leave_group(victim);
                } else {
                    gone.extend(Self::detach_one(&mut table, victim));
                }
            }
        }
        drop(gone);
        Ok(())
    }

    /// MNT_EXPIRE: `EBUSY` while anything but the caller's `place` uses the mount.
    pub(crate) fn check_unused(&self, place: &Path) -> Result<(), Errno> {
        const UNUSED: usize = 3;
        let used = Arc::strong_count(&place.mount) > UNUSED || !self.below(&place.mount, None).is_empty();
        if used { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// umount2(2) of an attached mount: `EBUSY` while it is in use, unless `lazy`.
    pub fn unmount(&self, mount: Arc<Mount>, lazy: bool) -> Result<(), Errno> {
        // Held by both tables and by the caller.
        const UNUSED: usize = 3;
        if !lazy && Arc::strong_count(&mount) > UNUSED {
            return Err(Errno::EBUSY);
        }
        let sb = mount.superblock()?;
        self.detach(&mount, lazy)?;
        drop(mount);
        if !self.is_mounted(&sb) {
            self.dcache.drop_where(|dentry| {
                let own = dentry
                    .inode()
                    .or_else(|error| dentry.parent().ok_or(error)?.inode());
                own.is_ok_and(|inode| Arc::ptr_eq(&inode.sb, &sb))
            });
        }
        Ok(())
    }

    fn detach_one(table: &mut MountTable, mount: &Arc<Mount>) -> Option<(Arc<Mount>, Arc<Dentry>)> {
        let (parent, dentry) = mount.at.lock().take()?;
        if let Some(parent) = parent.upgrade() {
            table.by_place.remove(&place(&parent, &dentry));
        }
        dentry.mounts.fetch_sub(1, Ordering::Relaxed);
        table.leave_group(mount);
        table.all.remove(&mount.id);
        mount.namespace.store(0, Ordering::Relaxed);
        Some((mount.clone(), dentry))
    }

    /// Moves an attached mount, with all below it (MS_MOVE).
    pub(crate) fn move_mount(&self, mount: &Arc<Mount>, to: &Path) -> Result<(), Errno> {
        let below = self.below(mount, None);
        let old = {
            let mut table = self.mounts.write();
            let top = table.topmost(to);
            if Arc::ptr_eq(&top.mount, mount) {
                return Err(Errno::ELOOP);
            }
            let old = mount.at.lock().take();
            let Some((parent, dentry)) = old.clone() else {
                return Err(Errno::EINVAL);
            };
            let parent = parent.upgrade();
            if let Some(parent) = &parent {
                table.by_place.remove(&place(parent, &dentry));
            }
            dentry.mounts.fetch_sub(1, Ordering::Relaxed);
            if let Err(error) = table.graft(&top, mount, &below) {
                dentry.mounts.fetch_add(1, Ordering::Relaxed);
                if let Some(parent) = &parent {
                    table.by_place.insert(place(parent, &dentry), mount.clone());
                }
                mount.at.lock().clone_from(&old);
                return Err(error);
            }
            old
        };
        drop(old);
        Ok(())
    }

    /// pivot_root(2)'s change of the tree: `new_root` becomes the top and `old_root` moves to `put_old`.
    pub(crate) fn pivot(
        &self,
        new_root: &Arc<Mount>,
        old_root: &Arc<Mount>,
        put_old: &Path,
    ) -> Result<(), Errno> {
        let old = {
            let mut table = self.mounts.write();
            let old = new_root.at.lock().take();
            if let Some((parent, dentry)) = &old {
                if let Some(parent) = parent.upgrade() {
                    table.by_place.remove(&place(&parent, dentry));
                }
                dentry.mounts.fetch_sub(1, Ordering::Relaxed);
            }
            // The new root takes the old one's place (none, when that was the top of the tree).
            let above = old_root.at.lock().take();
            if let Some((parent, dentry)) = &above
                && let Some(parent) = parent.upgrade()
            {
                table.by_place.insert(place(&parent, dentry), new_root.clone());
            }
            *new_root.at.lock() = above;
            put_old.dentry.mounts.fetch_add(1, Ordering::Relaxed);
            *old_root.at.lock() = Some((Arc::downgrade(&put_old.mount), put_old.dentry.clone()));
            table
                .by_place
                .insert(place(&put_old.mount, &put_old.dentry), old_root.clone());
            old
        };
        drop(old);
        Ok(())
    }

    /// What is mounted on a dentry of a mount.
    pub(crate) fn mounted_on(&self, mount: &Mount, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        if !dentry.is_mountpoint() {
            return None;
        }
        self.mounts.read().by_place.get(&place(mount, dentry)).cloned()
    }

    /// The mounts below `top`, parents before children; with `under`, only those attached at or below that dentry.
    pub(crate) fn below(&self, top: &Arc<Mount>, under: Option<&Arc<Dentry>>) -> Vec<Arc<Mount>> {
        let candidates: Vec<Arc<Mount>> = self.mounts.read().all.values().cloned().collect();
        let mut children: HashMap<u32, Vec<(Arc<Mount>, Arc<Dentry>)>> = HashMap::new();
        for mount in candidates {
            if let Some((parent, dentry)) = mount.parent() {
                children.entry(parent.id).or_default().push((mount, dentry));
            }
        }
        let mut found: Vec<Arc<Mount>> = Vec::new();
        for (mount, dentry) in children.remove(&top.id).unwrap_or_default() {
            if under.is_none_or(|under| dentry.is_below(under)) {
                found.push(mount);
            }
        }
        let mut next = 0;
        while let Some(id) = found.get(next).map(|mount| mount.id) {
            let below = children.remove(&id).unwrap_or_default();
            found.extend(below.into_iter().map(|(mount, _)| mount));
            next += 1;
        }
        found
    }

    /// All mounts of a namespace, parents before children.
    pub fn mounts(&self, namespace: u64) -> Vec<Arc<Mount>> {
        let table = self.mounts.read();
        let all = table.all.values();
        all.filter(|mount| mount.namespace.load(Ordering::Relaxed) == namespace)
            .cloned()
            .collect()
    }

    /// Whether a locked mount covers something in the tree under a place.
    pub(crate) fn hides_by_lock(&self, place: &Path) -> bool {
        let below = self.below(&place.mount, Some(&place.dentry));
        let place = place.mount.id;
        let direct = |mount: &&Arc<Mount>| mount.parent().is_some_and(|(parent, _)| parent.id == place);
        below.iter().filter(direct).any(|mount| mount.is_locked())
    }

    /// The mounts attached at a dentry, in all namespaces.
    fn attached_at(&self, dentry: &Arc<Dentry>) -> Vec<Arc<Mount>> {
        if !dentry.is_mountpoint() {
            return Vec::new();
        }
        let all: Vec<Arc<Mount>> = self.mounts.read().all.values().cloned().collect();
        let here = |mount: &Arc<Mount>| mount.parent().is_some_and(|(_, at)| Arc::ptr_eq(&at, dentry));
        all.into_iter().filter(here).collect()
    }

    /// Whether something is mounted at the dentry in this namespace.
    pub(crate) fn is_local_mountpoint(&self, namespace: u64, dentry: &Arc<Dentry>) -> bool {
        let mounts = self.attached_at(dentry);
        mounts.iter().any(|mount| self.namespace_of(mount) == namespace)
    }

    /// Takes off what other namespaces have mounted at a dentry whose name is gone.
    pub(crate) fn detach_all_at(&self, dentry: &Arc<Dentry>) {
        for mount in self.attached_at(dentry) {
            // Lazy: it does not fail.
            let _ = self.detach(&mount, true);
        }
    }

    /// Whether a superblock is still mounted anywhere.
    pub(crate) fn is_mounted(&self, sb: &Arc<super::Superblock>) -> bool {
        let all: Vec<Arc<Mount>> = self.mounts.read().all.values().cloned().collect();
        all.iter()
            .any(|mount| mount.superblock().is_ok_and(|own| Arc::ptr_eq(&own, sb)))
    }
}

/// Mounts above which those of namespaces without tasks are looked for and dropped.
const PURGE_ABOVE: usize = 256;

/// A file system context in a copy of the mount namespace (CLONE_NEWNS).
/// It belongs to `owner`.
pub fn new_mount_namespace(
    kernel: &Kernel,
    fs: &FsContext,
    owner: &Arc<UserNs>,
) -> Result<Arc<FsContext>, Errno> {
    let vfs = &kernel.vfs;
    let state = fs.get();
    let count = vfs.mounts.read().all.len();
    if count > PURGE_ABOVE {
        let tasks: Vec<_> = kernel.pids.read().tasks.values().cloned().collect();
        let roots = tasks
            .iter()
            .map(|task| task.fs().root())
            .chain([state.root.clone()]);
        let live: HashSet<u64> = roots.map(|root| vfs.namespace_of(&root.mount)).collect();
        vfs.purge(&live);
    }
    let mut moved = vfs.copy_namespace(&[&state.root, &state.cwd], owner)?.into_iter();
    let (Some(root), Some(cwd)) = (moved.next(), moved.next()) else {
        return Err(Errno::EINVAL);
    };
    Ok(FsContext::from_state(FsState { root, cwd, ..state }))
}
