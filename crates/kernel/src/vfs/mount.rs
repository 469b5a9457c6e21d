//! A mount: a tree of dentries attached somewhere, with its flags.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use bitflags::bitflags;
use sync::{Mutex, rank};

use super::{Dentry, Inode, Propagation, Superblock};

bitflags! {
    /// Per-mount flags; the numbers of MS_*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct MountFlags: u64 {
        /// MS_RDONLY.
        const RDONLY = 1;
        /// MS_NOSUID.
        const NOSUID = 2;
        /// MS_NODEV.
        const NODEV = 4;
        /// MS_NOEXEC.
        const NOEXEC = 8;
        /// MS_NOSYMFOLLOW.
        const NOSYMFOLLOW = 256;
        /// MS_NOATIME.
        const NOATIME = 1024;
        /// MS_NODIRATIME.
        const NODIRATIME = 2048;
        /// MS_RELATIME.
        const RELATIME = 1 << 21;
        /// Those that a less privileged namespace may not take off.
        const PROTECTING = 1 | 2 | 4 | 8;
    }
}

/// MNT_LOCK_ATIME, as a bit beside the flags.
const LOCK_ATIME: u64 = 1 << 62;

/// A file system type that mount(2) knows.
pub trait FilesystemType: Send + Sync {
    /// Its name in /proc/filesystems.
    fn name(&self) -> &'static str;
    /// Makes an instance and returns its root inode. `data` is mount(2)'s option string.
    fn mount(
        &self,
        kernel: &Arc<crate::Kernel>,
        source: &[u8],
        flags: MountFlags,
        data: &[u8],
    ) -> Result<Arc<Inode>, Errno>;
    /// Whether the root user of a user namespace may mount it (FS_USERNS_MOUNT).
    fn for_user_namespaces(&self) -> bool {
        false
    }
    /// Whether it needs no block device (`nodev` in /proc/filesystems).
    fn nodev(&self) -> bool {
        true
    }
}

/// A file system attached somewhere in the tree.
pub struct Mount {
    /// mount id as in /proc/self/mountinfo.
    pub id: u32,
    /// Root dentry of this mount.
    pub root: Arc<Dentry>,
    /// Device column of /proc/mounts.
    pub source: Vec<u8>,
    /// Where it is attached: parent mount and the dentry there. `None` for a root mount and a detached one.
    pub(crate) at: Mutex<Option<(Weak<Mount>, Arc<Dentry>)>>,
    flags: AtomicU64,
    /// It came from a more privileged mount namespace: it stays where it is, and these flags stay set
    /// (mount_namespaces(7), "Restrictions on mount namespaces").
    locked: AtomicBool,
    locked_flags: AtomicU64,
    propagation: Mutex<Propagation>,
    /// umount2(2) with MNT_EXPIRE has looked at it, and it was not used since.
    expiring: AtomicBool,
    /// The namespace it belongs to; 0: none (anonymous, detached).
    pub(crate) namespace: AtomicU64,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Mount {
    /// A mount of the tree under `root`, not attached yet.
    pub fn new(root: Arc<Dentry>, source: &[u8], flags: MountFlags) -> Arc<Mount> {
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            root,
            source: source.to_vec(),
            at: Mutex::new(rank::LEAF, None),
            flags: AtomicU64::new(flags.bits()),
            locked: AtomicBool::new(false),
            locked_flags: AtomicU64::new(0),
            propagation: Mutex::new(rank::LEAF, Propagation::default()),
            expiring: AtomicBool::new(false),
            namespace: AtomicU64::new(0),
        })
    }

    /// Its flags.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces its flags.
    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// Replaces its flags (remount): `EPERM` when a locked one would go, or the handling of access times change.
    pub fn change_flags(&self, flags: MountFlags) -> Result<(), Errno> {
        let bits = self.locked_flags.load(Ordering::Relaxed);
        let locked = MountFlags::from_bits_truncate(bits) & MountFlags::PROTECTING;
        let atime = MountFlags::NOATIME | MountFlags::RELATIME | MountFlags::NODIRATIME;
        let lost = locked.difference(flags);
        let fixed_atime = bits & LOCK_ATIME != 0;
        if !lost.is_empty() || (fixed_atime && self.flags() & atime != flags & atime) {
            return Err(Errno::EPERM);
        }
        self.set_flags(flags);
        Ok(())
    }

    /// How it takes part in propagation.
    pub fn propagation(&self) -> Propagation {
        *self.propagation.lock()
    }

    /// Changes that; with the mount tree locked for writing unless the mount is not attached yet.
    pub(crate) fn change_propagation(&self, change: impl FnOnce(&mut Propagation)) {
        change(&mut self.propagation.lock());
    }

    /// MNT_EXPIRE: whether the mark was there already.
    pub(crate) fn mark_expiring(&self) -> bool {
        self.expiring.swap(true, Ordering::Relaxed)
    }

    /// It is used: MNT_EXPIRE starts over.
    pub(crate) fn used(&self) {
        if self.expiring.load(Ordering::Relaxed) {
            self.expiring.store(false, Ordering::Relaxed);
        }
    }

    /// Whether it must stay where it is.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// Sets whether it must stay where it is.
    pub(crate) fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::Relaxed);
    }

    /// Locks its present flags: it is copied to a less privileged namespace.
    pub(crate) fn lock_flags(&self) {
        let flags = self.flags() & MountFlags::PROTECTING;
        self.locked_flags
            .fetch_or(flags.bits() | LOCK_ATIME, Ordering::Relaxed);
    }

    /// Another mount of the same tree or a part of it, not attached yet, with the same flags and locks.
    pub(crate) fn copy(&self, root: &Arc<Dentry>) -> Arc<Mount> {
        let new = Mount::new(root.clone(), &self.source, self.flags());
        new.set_locked(self.is_locked());
        let locked = self.locked_flags.load(Ordering::Relaxed);
        new.locked_flags.store(locked, Ordering::Relaxed);
        *new.propagation.lock() = self.propagation();
        new
    }

    /// Where it is attached; `None` for a root or detached mount.
    pub fn parent(&self) -> Option<(Arc<Mount>, Arc<Dentry>)> {
        let at = self.at.lock().clone();
        let (mount, dentry) = at?;
        Some((mount.upgrade()?, dentry))
    }

    /// The file system that it shows.
    pub fn superblock(&self) -> Result<Arc<Superblock>, Errno> {
        self.root.inode().map(|inode| inode.sb.clone())
    }

    /// `EROFS` when nothing may be changed through it.
    pub fn want_write(&self) -> Result<(), Errno> {
        if self.flags().contains(MountFlags::RDONLY) {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }
}
