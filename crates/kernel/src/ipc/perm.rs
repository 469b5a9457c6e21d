//! Permissions and identifiers of System V objects (sysvipc(7), ipc_perm).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use abi::{Errno, abi_struct};

use crate::cred::{Caps, Credentials, IdKind, UserNs};

/// IPC_PRIVATE: a key that never finds anything.
pub const IPC_PRIVATE: i32 = 0;
/// IPC_CREAT.
pub const IPC_CREAT: u32 = 0o1000;
/// IPC_EXCL.
pub const IPC_EXCL: u32 = 0o2000;
/// IPC_NOWAIT.
pub const IPC_NOWAIT: u32 = 0o4000;
/// Identifiers are a slot and how often identifiers were given out (IPCMNI).
const SLOTS: u32 = 32768;

abi_struct! {
    /// `struct ipc64_perm`.
    pub struct UserPerm {
        pub key: i32, pub uid: u32, pub gid: u32, pub cuid: u32, pub cgid: u32, pub mode: u32,
        pub seq: u16, pub pad: [u8; 6], pub unused: [u64; 2],
    }
}

/// Who may do what with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perm {
    /// Key; IPC_PRIVATE once it was removed.
    pub key: i32,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// Permission bits and flags.
    pub mode: u32,
    /// The user namespace of its IPC namespace: capabilities over that one count.
    user_ns: Arc<UserNs>,
}

impl Perm {
    /// For a new object.
    pub fn new(key: i32, cred: &Credentials, flags: u32) -> Perm {
        Perm {
            key,
            uid: cred.euid,
            gid: cred.egid,
            cuid: cred.euid,
            cgid: cred.egid,
            mode: flags & 0o777,
            user_ns: crate::task::current()
                .map_or_else(UserNs::first, |task| task.namespaces.lock().ipc.user_ns.clone()),
        }
    }

    /// Whether all accesses in `wanted` (permission bits in any of the three places) are granted: `EACCES`.
    pub fn check(&self, cred: &Credentials, wanted: u32) -> Result<(), Errno> {
        let wanted = (wanted >> 6) | (wanted >> 3) | wanted;
        let member = |gid: u32| cred.egid == gid || cred.groups.contains(&gid);
        let granted = if cred.euid == self.cuid || cred.euid == self.uid {
            self.mode >> 6
        } else if member(self.cgid) || member(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 7 != 0 && !cred.has_in(&self.user_ns, Caps::IPC_OWNER) {
            return Err(Errno::EACCES);
        }
        Ok(())
    }

    /// Whether the caller may change or remove it: `EPERM`.
    pub fn check_owner(&self, cred: &Credentials) -> Result<(), Errno> {
        if cred.euid == self.uid || cred.euid == self.cuid || cred.has_in(&self.user_ns, Caps::SYS_ADMIN) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// IPC_SET. `EINVAL` for ids without a meaning for the caller.
    pub fn set(&mut self, new: &UserPerm, caller: &Credentials) -> Result<(), Errno> {
        let ids = &caller.user_ns;
        let uid = ids.to_kernel(IdKind::User, new.uid).ok_or(Errno::EINVAL)?;
        let gid = ids.to_kernel(IdKind::Group, new.gid).ok_or(Errno::EINVAL)?;
        (self.uid, self.gid) = (uid, gid);
        self.mode = (self.mode & !0o777) | (new.mode & 0o777);
        Ok(())
    }

    /// As a guest sees it.
    pub fn user(&self, id: i32, reader: &Credentials) -> UserPerm {
        let ids = &reader.user_ns;
        UserPerm {
            key: self.key,
            uid: ids.shown_uid(self.uid),
            gid: ids.shown_gid(self.gid),
            cuid: ids.shown_uid(self.cuid),
            cgid: ids.shown_gid(self.cgid),
            mode: self.mode,
            seq: u16::try_from(id as u32 / SLOTS).unwrap_or(u16::MAX),
            ..UserPerm::default()
        }
    }
}

/// Objects of one kind by identifier and by key.
pub struct Ids<T> {
    objects: BTreeMap<u32, (i32, Arc<T>)>,
    keys: HashMap<i32, u32>,
    /// How many identifiers were given out.
    given: u32,
    limit: usize,
}

impl<T> Ids<T> {
    /// An empty table of at most `limit` objects.
    pub fn new(limit: usize) -> Ids<T> {
        Ids {
            objects: BTreeMap::new(),
            keys: HashMap::new(),
            given: 0,
            limit,
        }
    }

    /// The object with this identifier: `EINVAL` when there is none (any more).
    pub fn get(&self, id: i32) -> Result<Arc<T>, Errno> {
        let slot = u32::try_from(id).map_err(|_| Errno::EINVAL)? % SLOTS;
        match self.objects.get(&slot) {
            Some((known, object)) if *known == id => Ok(object.clone()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The object in a slot, with its identifier (the *_STAT commands).
    pub fn at(&self, slot: i32) -> Result<(i32, Arc<T>), Errno> {
        let slot = u32::try_from(slot).map_err(|_| Errno::EINVAL)?;
        self.objects.get(&slot).cloned().ok_or(Errno::EINVAL)
    }

    /// The identifier of a key.
    pub fn find(&self, key: i32) -> Option<(i32, Arc<T>)> {
        let slot = self.keys.get(&key).filter(|_| key != IPC_PRIVATE)?;
        self.objects.get(slot).cloned()
    }

    /// Number of objects.
    pub fn count(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The highest slot in use; 0 when there is none.
    pub fn highest(&self) -> u32 {
        self.objects.keys().next_back().copied().unwrap_or(0)
    }

    /// All objects with their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = &(i32, Arc<T>)> {
        self.objects.values()
    }

    /// Enters a new object: `ENOSPC` when there are too many.
    pub fn insert(&mut self, key: i32, object: Arc<T>) -> Result<i32, Errno> {
        if self.objects.len() >= self.limit {
            return Err(Errno::ENOSPC);
        }
        let slot = (0..SLOTS).find(|slot| !self.objects.contains_key(slot));
        let slot = slot.ok_or(Errno::ENOSPC)?;
        let round = self.given % (i32::MAX as u32 / SLOTS);
        self.given = self.given.wrapping_add(1);
        let id = i32::try_from(round * SLOTS + slot).map_err(|_| Errno::ENOSPC)?;
        self.objects.insert(slot, (id, object));
        if key != IPC_PRIVATE {
            self.keys.insert(key, slot);
        }
        Ok(id)
    }

    /// Makes a key find nothing any more.
    pub fn forget_key(&mut self, key: i32) {
        self.keys.remove(&key);
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: i32, key: i32) {
        if let Ok(slot) = u32::try_from(id).map(|id| id % SLOTS)
            && self.objects.get(&slot).is_some_and(|(known, _)| *known == id)
        {
            self.objects.remove(&slot);
            if key != IPC_PRIVATE {
                self.keys.remove(&key);
            }
        }
    }
}

/// What a *get call does with a key: the object that is there, or to make one.
pub enum Found<T> {
    /// It exists; the caller checks its size and permissions.
    Existing(i32, Arc<T>),
    /// To be made.
    Absent,
}

/// The rules of IPC_CREAT and IPC_EXCL.
pub fn find_or_absent<T>(ids: &Ids<T>, key: i32, flags: u32) -> Result<Found<T>, Errno> {
    match ids.find(key) {
        Some(_) if flags & (IPC_CREAT | IPC_EXCL) == IPC_CREAT | IPC_EXCL => Err(Errno::EEXIST),
        Some((id, object)) => Ok(Found::Existing(id, object)),
        None if key != IPC_PRIVATE && flags & IPC_CREAT == 0 => Err(Errno::ENOENT),
        None => Ok(Found::Absent),
    }
}
