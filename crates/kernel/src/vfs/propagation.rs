//! Mount propagation (mount_namespaces(7), "Shared subtrees"): mounts and unmounts that appear in the peers and slaves of the
//! mount they happen in.
//!
//! A peer group is a number. A mount is in at most one (`shared:N` of mountinfo), and receives from at most one (`master:N`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;

use super::namespace::{MOUNT_LIMIT, MountTable, place};
use super::{Dentry, FileKind, Mount, Path, Vfs};
use crate::cred::UserNs;

/// How a mount takes part in propagation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// Its peer group; 0: not shared.
    pub group: u64,
    /// The peer group that it receives from; 0: none.
    pub master: u64,
    /// It cannot be bound elsewhere.
    pub unbindable: bool,
}

/// MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationType {
    /// Private, and not to be bound.
    Unbindable,
    /// Neither gives nor receives.
    Private,
    /// Receives only.
    Slave,
    /// Gives and receives.
    Shared,
}

static NEXT_GROUP: AtomicU64 = AtomicU64::new(1);

fn new_group() -> u64 {
    NEXT_GROUP.fetch_add(1, Ordering::Relaxed)
}

/// Where a mount appears too: a mount that has the same place, and what the copy there takes part in.
struct Target {
    mount: Arc<Mount>,
    /// The peer groups of the copy by those of the original: its own and its master.
    group: GroupKey,
    master: GroupKey,
}

/// Names a peer group of copies: 0 none, 1 that of the originals, others one for each group of slaves.
type GroupKey = u64;

impl MountTable {
    /// What receives from `source`: its peers, its slaves, their peers and slaves and so on.
    fn receivers(&self, source: &Arc<Mount>) -> Vec<Target> {
        let first = source.propagation().group;
        if first == 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut keys: HashMap<u64, GroupKey> = HashMap::from([(first, 1)]);
        let mut open = VecDeque::from([(first, 0)]);
        while let Some((group, master)) = open.pop_front() {
            let own = keys.get(&group).copied().unwrap_or(0);
            for mount in self.all.values().filter(|mount| !Arc::ptr_eq(mount, source)) {
                let theirs = mount.propagation();
                if theirs.group == group {
                    found.push(Target {
                        mount: mount.clone(),
                        group: own,
                        master,
                    });
                } else if theirs.master == group && theirs.group == 0 {
                    found.push(Target {
                        mount: mount.clone(),
                        group: 0,
                        master: own,
                    });
                } else if theirs.master == group && !keys.contains_key(&theirs.group) {
                    keys.insert(theirs.group, keys.len() as GroupKey + 1);
                    open.push_back((theirs.group, own));
                }
            }
        }
        found
    }

    /// Puts an unattached mount at a place where nothing is mounted, or under what is.
    fn put(&mut self, at: &Path, mount: &Arc<Mount>) {
        let covering = self.by_place.get(&place(&at.mount, &at.dentry)).cloned();
        at.dentry.mounts.fetch_add(1, Ordering::Relaxed);
        *mount.at.lock() = Some((Arc::downgrade(&at.mount), at.dentry.clone()));
        let namespace = at.mount.namespace.load(Ordering::Relaxed);
        mount.namespace.store(namespace, Ordering::Relaxed);
        self.by_place.insert(place(&at.mount, &at.dentry), mount.clone());
        self.all.insert(mount.id, mount.clone());
        if let Some(above) = covering {
            at.dentry.mounts.fetch_sub(1, Ordering::Relaxed);
            mount.root.mounts.fetch_add(1, Ordering::Relaxed);
            *above.at.lock() = Some((Arc::downgrade(mount), mount.root.clone()));
            self.by_place.insert(place(mount, &mount.root), above);
        }
    }

    /// Attaches `mount` at `at` (topmost there), and copies of it and of `below` wherever `at.mount` propagates to.
    /// `ENOSPC`, with nothing changed.
    pub(super) fn graft(&mut self, at: &Path, mount: &Arc<Mount>, below: &[Arc<Mount>]) -> Result<(), Errno> {
        let receivers = self.receivers(&at.mount);
        let visible = receivers
            .into_iter()
            .filter(|target| at.dentry.is_below(&target.mount.root));
        let targets: Vec<Target> = visible.collect();
        // What is attached already counts in `all`.
        let copies = targets.len().saturating_mul(1 + below.len());
        if self.all.len().saturating_add(1 + copies) > MOUNT_LIMIT {
            return Err(Errno::ENOSPC);
        }
        let tree: Vec<&Arc<Mount>> = std::iter::once(mount).chain(below).collect();
        if at.mount.propagation().group != 0 {
            for one in &tree {
                one.change_propagation(|own| {
                    if own.group == 0 {
                        own.group = new_group();
                    }
                });
            }
        }
        let mut groups: HashMap<(GroupKey, u32), u64> = HashMap::new();
        for one in &tree {
            groups.insert((1, one.id), one.propagation().group);
        }
        let source_owner = self.owner(at.mount.namespace.load(Ordering::Relaxed));
        self.put(at, mount);
        for one in below {
            let namespace = mount.namespace.load(Ordering::Relaxed);
            one.namespace.store(namespace, Ordering::Relaxed);
        }
        for target in targets {
            let foreign = self.owner(target.mount.namespace.load(Ordering::Relaxed)) != source_owner;
            self.put_copy(&target, at, &tree, &mut groups, foreign);
        }
        Ok(())
    }

    /// A copy of the tree at the same place of a receiver. `foreign`: that belongs to another user namespace.
    fn put_copy(
        &mut self,
        target: &Target,
        at: &Path,
        tree: &[&Arc<Mount>],
        groups: &mut HashMap<(GroupKey, u32), u64>,
        foreign: bool,
    ) {
        let mut copies: HashMap<u32, Arc<Mount>> = HashMap::new();
        for (index, one) in tree.iter().enumerate() {
            let copy = one.copy(&one.root);
            let mut group_of = |key: GroupKey| match key {
                0 => 0,
                key => *groups.entry((key, one.id)).or_insert_with(new_group),
            };
            let (group, master) = (group_of(target.group), group_of(target.master));
            copy.change_propagation(|own| (own.group, own.master) = (group, master));
            copy.set_locked(index != 0 && (foreign || one.is_locked()));
            if foreign {
                copy.lock_flags();
            }
            let above = match (index, one.parent()) {
                (0, _) => Some(Path {
                    mount: target.mount.clone(),
                    dentry: at.dentry.clone(),
                }),
                (_, Some((parent, dentry))) => copies.get(&parent.id).map(|mount| Path {
                    mount: mount.clone(),
                    dentry,
                }),
                _ => None,
            };
            if let Some(above) = above {
                self.put(&above, &copy);
                copies.insert(one.id, copy);
            }
        }
    }

    fn owner(&self, namespace: u64) -> Arc<UserNs> {
        self.owners.get(&namespace).cloned().unwrap_or_else(UserNs::first)
    }

    /// What goes with an unmount of `victims` in the receivers of their parents: the same mount at the same place, unless
    /// something that stays is mounted on it.
    pub(super) fn unmounted_with(&self, victims: &[Arc<Mount>]) -> Vec<Arc<Mount>> {
        let mut candidates: BTreeMap<u32, Arc<Mount>> = BTreeMap::new();
        for victim in victims {
            let Some((parent, dentry)) = victim.parent() else {
                continue;
            };
            for target in self.receivers(&parent) {
                let there = self.by_place.get(&place(&target.mount, &dentry));
                if let Some(there) = there.filter(|there| Arc::ptr_eq(&there.root, &victim.root)) {
                    candidates.insert(there.id, there.clone());
                }
            }
        }
        for victim in victims {
            candidates.remove(&victim.id);
        }
        if candidates.is_empty() {
            return Vec::new();
        }
        let mut children: HashMap<u32, Vec<Arc<Mount>>> = HashMap::new();
        for mount in self.all.values() {
            if let Some((parent, _)) = mount.parent() {
                children.entry(parent.id).or_default().push(mount.clone());
            }
        }
        let gone: HashSet<u32> = victims.iter().map(|mount| mount.id).collect();
        let mut open: Vec<Arc<Mount>> = candidates.values().cloned().collect();
        while let Some(mount) = open.pop() {
            let goes = |id: u32| candidates.contains_key(&id) || gone.contains(&id);
            let parent = mount.parent().map(|(parent, _)| parent);
            let freed = !mount.is_locked() || parent.as_ref().is_some_and(|parent| goes(parent.id));
            let own = children.get(&mount.id).map_or(&[][..], Vec::as_slice);
            if freed && own.iter().all(|child| goes(child.id)) || candidates.remove(&mount.id).is_none() {
                continue;
            }
            // It stays: so does what it is mounted on, and what is locked to it.
            let held = parent.into_iter().chain(own.iter().cloned());
            open.extend(held.filter(|other| candidates.contains_key(&other.id)));
        }
        candidates.into_values().collect()
    }

    /// A mount leaves its peer group; the slaves of a group that is empty then receive from its master.
    pub(super) fn leave_group(&self, mount: &Mount) {
        let own = mount.propagation();
        let peers = |other: &&Arc<Mount>| other.id != mount.id && other.propagation().group == own.group;
        if own.group != 0 && !self.all.values().any(|other| peers(&other)) {
            for slave in self.all.values() {
                slave.change_propagation(|theirs| {
                    if theirs.master == own.group {
                        theirs.master = own.master;
                    }
                });
            }
        }
        mount.change_propagation(|own| (own.group, own.master) = (0, 0));
    }

    /// MS_SHARED and kin on one mount.
    fn change_type(&self, mount: &Mount, to: PropagationType) {
        let own = mount.propagation();
        if to == PropagationType::Shared {
            mount.change_propagation(|own| {
                own.unbindable = false;
                if own.group == 0 {
                    own.group = new_group();
                }
            });
            return;
        }
        let has_peers = own.group != 0
            && self
                .all
                .values()
                .any(|other| other.id != mount.id && other.propagation().group == own.group);
        self.leave_group(mount);
        let master = match to {
            PropagationType::Slave if has_peers => own.group,
            PropagationType::Slave => own.master,
            _ => 0,
        };
        mount.change_propagation(|own| {
            own.master = master;
            own.unbindable = to == PropagationType::Unbindable;
        });
    }
}

impl Vfs {
    /// Attaches a mount that is not attached anywhere, with all below it. It covers what was mounted there before.
    pub(crate) fn attach_tree(&self, at: &Path, mount: &Arc<Mount>) -> Result<(), Errno> {
        let (point, root) = (at.inode()?.kind, mount.root.inode()?.kind);
        if (point == FileKind::Directory) != (root == FileKind::Directory) {
            return Err(Errno::ENOTDIR);
        }
        let below = self.below(mount, None);
        let mut table = self.mounts.write();
        if at.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        let top = table.topmost(at);
        table.graft(&top, mount, &below)
    }

    /// Changes the propagation type of a mount, with `recursive` of those below it too.
    pub(crate) fn change_propagation_type(&self, mount: &Arc<Mount>, to: PropagationType, recursive: bool) {
        let below = if recursive {
            self.below(mount, None)
        } else {
            Vec::new()
        };
        let table = self.mounts.write();
        for one in std::iter::once(mount).chain(&below) {
            table.change_type(one, to);
        }
    }

    /// The group that a slave in this namespace receives from when its master is not seen there (`propagate_from` of
    /// mountinfo).
    pub fn dominating_group(&self, mount: &Mount, namespace: u64) -> Option<u64> {
        let table = self.mounts.read();
        let members = |group: u64| {
            let all = table.all.values();
            all.filter(move |other| other.propagation().group == group)
        };
        let first = mount.propagation().master;
        let mut group = first;
        while group != 0 {
            let here = |other: &Arc<Mount>| other.namespace.load(Ordering::Relaxed) == namespace;
            if members(group).any(here) {
                return Some(group).filter(|group| *group != first);
            }
            group = members(group)
                .next()
                .map_or(0, |other| other.propagation().master);
        }
        None
    }

    /// Whether a mount of a tree must not be bound or moved under a shared one.
    pub(crate) fn has_unbindable(&self, mount: &Arc<Mount>) -> bool {
        let below = self.below(mount, None);
        std::iter::once(mount)
            .chain(&below)
            .any(|one| one.propagation().unbindable)
    }
}

/// Which of `mounts` (parents before children) a recursive bind takes: not what is unbindable, nor what is below that.
pub(super) fn without_unbindable(mounts: Vec<Arc<Mount>>, root: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut kept: Vec<Arc<Mount>> = Vec::new();
    for mount in mounts {
        let parent = mount
            .parent()
            .map(|(parent, _): (Arc<Mount>, Arc<Dentry>)| parent.id);
        let reached = parent.is_some_and(|id| id == root.id || kept.iter().any(|mount| mount.id == id));
        if reached && !mount.propagation().unbindable {
            kept.push(mount);
        }
    }
    kept
}
