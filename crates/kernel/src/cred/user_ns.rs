//! User namespaces (user_namespaces(7)): which ids and capabilities mean what to whom.
//!
//! Everywhere in the kernel an id is one of the first namespace ("kernel id"). It is translated where a guest gives or
//! reads one: `to_kernel` and `shown` of the guest's namespace.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use abi::Errno;

use super::{Caps, Credentials};

/// No id: a guest's -1, and what has no meaning in a namespace.
pub const NO_ID: u32 = u32::MAX;
/// What ids without a meaning in a namespace are shown as (/proc/sys/kernel/overflowuid).
const OVERFLOW_ID: u32 = 65_534;
/// Inode number of the first one.
const INITIAL: u64 = 0xeffffffd;
/// Namespaces in one another (Linux's create_user_ns).
const LEVELS_MAX: u32 = 32;
/// Namespaces beside the first (user.max_user_namespaces): each costs some kilobytes.
const NAMESPACES_MAX: usize = 1024;
/// Lines of a map (UID_GID_MAP_MAX_EXTENTS).
const EXTENTS_MAX: usize = 340;
/// Bytes of a map as text: a page, as in Linux.
const MAP_TEXT_MAX: usize = 4096;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static FIRST: LazyLock<Arc<UserNs>> = LazyLock::new(|| {
    Arc::new(UserNs {
        number: INITIAL,
        level: 0,
        parent: None,
        owner: (0, 0),
        creator_had_setfcap: true,
        maps: [OnceLock::new(), OnceLock::new(), OnceLock::new()],
        setgroups: AtomicBool::new(true),
    })
});

/// Which map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// User ids.
    User,
    /// Group ids.
    Group,
    /// Project ids; nothing uses them.
    Project,
}

/// One line of a map: `count` ids from `inside` are those from `kernel` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    inside: u32,
    kernel: u32,
    count: u32,
}

/// `id` of a range that starts at `from`, in the range that starts at `to`.
fn shift(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    let offset = id.checked_sub(from).filter(|offset| *offset < count)?;
    to.checked_add(offset)
}

/// A user namespace.
pub struct UserNs {
    /// Inode number of /proc/PID/ns/user.
    pub number: u64,
    level: u32,
    /// The namespace it was made in.
    pub parent: Option<Arc<UserNs>>,
    /// Effective user and group id (kernel ids) of its maker.
    pub owner: (u32, u32),
    creator_had_setfcap: bool,
    /// Set once; what is not set maps nothing.
    maps: [OnceLock<Vec<Extent>>; 3],
    setgroups: AtomicBool,
}

impl std::fmt::Debug for UserNs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user:[{}]", self.number)
    }
}

impl PartialEq for UserNs {
    fn eq(&self, other: &UserNs) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for UserNs {}

impl Drop for UserNs {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UserNs {
    /// The first one, in which every id is itself.
    pub fn first() -> Arc<UserNs> {
        FIRST.clone()
    }

    /// Whether it is the first one.
    pub fn is_first(&self) -> bool {
        self.parent.is_none()
    }

    /// A new one made by `maker` in its own. `EPERM` when the maker has no ids in its own, `ENOSPC`.
    fn below(maker: &Credentials, number: u64) -> Result<Arc<UserNs>, Errno> {
        let parent = &maker.user_ns;
        if parent.level + 1 >= LEVELS_MAX {
            return Err(Errno::ENOSPC);
        }
        let known = parent.to_own(IdKind::User, maker.euid).is_some()
            && parent.to_own(IdKind::Group, maker.egid).is_some();
        if COUNT.fetch_add(1, Ordering::Relaxed) >= NAMESPACES_MAX {
            COUNT.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        let new = Arc::new(UserNs {
            number,
            level: parent.level + 1,
            parent: Some(parent.clone()),
            owner: (maker.euid, maker.egid),
            creator_had_setfcap: maker.effective.contains(Caps::SETFCAP),
            maps: [OnceLock::new(), OnceLock::new(), OnceLock::new()],
            setgroups: AtomicBool::new(parent.may_setgroups()),
        });
        if known { Ok(new) } else { Err(Errno::EPERM) }
    }

    fn map(&self, kind: IdKind) -> &[Extent] {
        let [user, group, project] = &self.maps;
        let map = match kind {
            IdKind::User => user,
            IdKind::Group => group,
            IdKind::Project => project,
        };
        map.get().map_or(&[], Vec::as_slice)
    }

    /// The kernel's id for one of this namespace; `None` when it has no meaning here.
    pub fn to_kernel(&self, kind: IdKind, id: u32) -> Option<u32> {
        if self.is_first() {
            return (id != NO_ID).then_some(id);
        }
        let mut extents = self.map(kind).iter();
        extents.find_map(|e| shift(id, e.inside, e.kernel, e.count))
    }

    /// This namespace's id for one of the kernel; `None` when it has none here.
    pub fn to_own(&self, kind: IdKind, id: u32) -> Option<u32> {
        if self.is_first() {
            return (id != NO_ID).then_some(id);
        }
        let mut extents = self.map(kind).iter();
        extents.find_map(|e| shift(id, e.kernel, e.inside, e.count))
    }

    /// A user id as it is shown here.
    pub fn shown_uid(&self, id: u32) -> u32 {
        self.shown(IdKind::User, id)
    }

    /// A group id as it is shown here.
    pub fn shown_gid(&self, id: u32) -> u32 {
        self.shown(IdKind::Group, id)
    }

    fn shown(&self, kind: IdKind, id: u32) -> u32 {
        if self.is_first() {
            return id;
        }
        self.to_own(kind, id).unwrap_or(OVERFLOW_ID)
    }

    /// The kernel's id of its root user, when it has one.
    pub fn root(&self) -> Option<u32> {
        self.to_kernel(IdKind::User, 0)
    }

    /// Whether it is `other` or lies in it.
    pub fn is_in(&self, other: &UserNs) -> bool {
        let mut at = Some(self);
        while let Some(ns) = at {
            if ns == other {
                return true;
            }
            at = ns.parent.as_deref();
        }
        false
    }

    /// Whether `root` (a kernel id) is root here or in a namespace around it: file capabilities made by that one count.
    pub fn has_root(&self, root: u32) -> bool {
        let mut at = Some(self);
        while let Some(ns) = at {
            if ns.root() == Some(root) {
                return true;
            }
            at = ns.parent.as_deref();
        }
        false
    }

    /// Whether /proc/PID/setgroups says "allow".
    pub fn may_setgroups(&self) -> bool {
        self.setgroups.load(Ordering::Relaxed)
    }

    /// Whether setgroups(2) works: allowed, and the map of groups is there.
    pub fn groups_ready(&self) -> bool {
        self.is_first() || (self.may_setgroups() && !self.map(IdKind::Group).is_empty())
    }

    /// Writes "allow" or "deny" to /proc/PID/setgroups. `EPERM` when it is too late.
    pub fn set_setgroups(&self, allow: bool) -> Result<(), Errno> {
        if allow == self.may_setgroups() {
            return Ok(());
        }
        if allow || self.is_first() || !self.map(IdKind::Group).is_empty() {
            return Err(Errno::EPERM);
        }
        self.setgroups.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The text of /proc/PID/{uid,gid,projid}_map as a reader in `reader` sees it.
    pub fn map_text(&self, kind: IdKind, reader: &UserNs) -> String {
        if self.is_first() {
            return format!("{:10} {:10} {:10}\n", 0, 0, u32::MAX);
        }
        let outer = match &reader.parent {
            Some(parent) if self == reader => parent,
            _ => reader,
        };
        let line = |e: &Extent| {
            let lower = outer.to_own(kind, e.kernel).unwrap_or(NO_ID);
            format!("{:10} {:10} {:10}\n", e.inside, lower, e.count)
        };
        self.map(kind).iter().map(line).collect()
    }

    /// Sets a map from its text, once; `writers`: who writes, and who opened the file.
    pub fn set_map(&self, kind: IdKind, text: &[u8], writers: [&Credentials; 2]) -> Result<(), Errno> {
        let parent = self.parent.as_ref().ok_or(Errno::EPERM)?;
        let near = |cred: &Credentials| *cred.user_ns == *self || cred.user_ns == *parent;
        if !writers.into_iter().all(near) || !self.map(kind).is_empty() {
            return Err(Errno::EPERM);
        }
        if text.len() >= MAP_TEXT_MAX {
            return Err(Errno::EINVAL);
        }
        let privileged = |cred: &Credentials| cred.has_in(self, Caps::SYS_ADMIN);
        if kind != IdKind::Project && !writers.into_iter().all(privileged) {
            return Err(Errno::EPERM);
        }
        let mut map = parse_map(text)?;
        if !writers.into_iter().all(|cred| self.may_map(kind, &map, cred)) {
            return Err(Errno::EPERM);
        }
        for extent in &mut map {
            let (first, last) = (extent.kernel, extent.kernel + (extent.count - 1));
            let (from, to) = (parent.to_kernel(kind, first), parent.to_kernel(kind, last));
            // The whole range must be one in the parent.
            match (from, to) {
                (Some(from), Some(to)) if to.checked_sub(from) == Some(extent.count - 1) => {
                    extent.kernel = from
                }
                _ => return Err(Errno::EPERM),
            }
        }
        let [user, group, project] = &self.maps;
        let place = match kind {
            IdKind::User => user,
            IdKind::Group => group,
            IdKind::Project => project,
        };
        place.set(map).map_err(|_| Errno::EPERM)
    }

    /// Linux's new_idmap_permitted; ids of `map` are still those of the parent.
    fn may_map(&self, kind: IdKind, map: &[Extent], cred: &Credentials) -> bool {
        let Some(parent) = &self.parent else { return false };
        let covers_root = map.iter().any(|e| e.kernel == 0);
        if kind == IdKind::User && covers_root {
            let had = if *cred.user_ns == *self {
                self.creator_had_setfcap
            } else {
                cred.has_in(parent, Caps::SETFCAP)
            };
            if !had {
                return false;
            }
        }
        if let [one] = map
            && one.count == 1
            && self.owner.0 == cred.euid
        {
            let own = match kind {
                IdKind::User => parent.to_kernel(kind, one.kernel) == Some(cred.euid),
                IdKind::Group => {
                    !self.may_setgroups() && parent.to_kernel(kind, one.kernel) == Some(cred.egid)
                }
                IdKind::Project => false,
            };
            if own {
                return true;
            }
        }
        match kind {
            IdKind::User => cred.has_in(parent, Caps::SETUID),
            IdKind::Group => cred.has_in(parent, Caps::SETGID),
            IdKind::Project => true,
        }
    }
}

/// The lines of a map: three numbers each, ranges that do not overlap.
fn parse_map(text: &[u8]) -> Result<Vec<Extent>, Errno> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let text = text.split('\0').next().unwrap_or_default();
    let mut map: Vec<Extent> = Vec::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let mut words = line.split_ascii_whitespace().map(str::parse::<u32>);
        let mut number = || words.next().and_then(Result::ok).ok_or(Errno::EINVAL);
        let extent = Extent {
            inside: number()?,
            kernel: number()?,
            count: number()?,
        };
        let ends = |first: u32| first.checked_add(extent.count).filter(|end| *end > first);
        let fits = ends(extent.inside).is_some() && ends(extent.kernel).is_some();
        let apart =
            |a: u32, b: u32, count: u32| a >= b.saturating_add(count) || b >= a.saturating_add(extent.count);
        let overlaps = map.iter().any(|other| {
            !apart(extent.inside, other.inside, other.count)
                || !apart(extent.kernel, other.kernel, other.count)
        });
        if words.next().is_some() || !fits || overlaps || map.len() >= EXTENTS_MAX {
            return Err(Errno::EINVAL);
        }
        map.push(extent);
    }
    Ok(map)
}

impl Credentials {
    /// Whether the capability is in force over `ns` and what belongs to it (Linux's ns_capable).
    pub fn has_in(&self, ns: &UserNs, cap: Caps) -> bool {
        let mut at = ns;
        loop {
            if *at == *self.user_ns {
                return self.effective.contains(cap);
            }
            // A namespace that is not inside one's own.
            let Some(parent) = at.parent.as_deref().filter(|_| at.level > self.user_ns.level) else {
                return false;
            };
            // Who made a namespace has every capability in it, from outside.
            if *parent == *self.user_ns && at.owner.0 == self.euid {
                return true;
            }
            at = parent;
        }
    }

    /// Whether the capability is in force in the credentials' own namespace.
    pub fn has_own(&self, cap: Caps) -> bool {
        self.effective.contains(cap)
    }

    /// Whether the capability counts for a file with this owner and group: both must have a meaning in the credentials'
    /// namespace (capable_wrt_inode_uidgid).
    pub fn has_over(&self, cap: Caps, uid: u32, gid: u32) -> bool {
        self.effective.contains(cap)
            && self.user_ns.to_own(IdKind::User, uid).is_some()
            && self.user_ns.to_own(IdKind::Group, gid).is_some()
    }

    /// In a new user namespace with this number (CLONE_NEWUSER): every capability there, none outside.
    pub fn in_new_user_ns(&self, number: u64) -> Result<Credentials, Errno> {
        let ns = UserNs::below(self, number)?;
        Ok(self.in_user_ns(ns))
    }

    /// The same user in another namespace (Linux's set_cred_user_ns).
    pub fn in_user_ns(&self, ns: Arc<UserNs>) -> Credentials {
        Credentials {
            user_ns: ns,
            securebits: 0,
            inheritable: Caps::empty(),
            permitted: Caps::ALL,
            effective: Caps::ALL,
            ambient: Caps::empty(),
            bounding: Caps::ALL,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> Credentials {
        Credentials::for_user(1000, 1000, Vec::new())
    }

    #[test]
    fn a_user_maps_its_own_id_and_has_capabilities_over_nothing_else() {
        let outside = user();
        let inside = outside.in_new_user_ns(7).unwrap();
        assert_eq!(inside.user_ns.shown_uid(1000), 65_534);
        let ns = inside.user_ns.clone();
        assert_eq!(
            ns.set_map(IdKind::User, b"0 1001 1\n", [&inside, &inside]),
            Err(Errno::EPERM)
        );
        ns.set_map(IdKind::User, b"5 1000 1", [&outside, &outside])
            .unwrap();
        assert_eq!(
            ns.set_map(IdKind::User, b"5 1000 1", [&outside, &outside]),
            Err(Errno::EPERM)
        );
        assert_eq!((ns.shown_uid(1000), ns.shown_uid(0)), (5, 65_534));
        assert!(inside.has_own(Caps::SYS_ADMIN) && !inside.has(Caps::SYS_ADMIN));
        assert!(outside.has_in(&ns, Caps::SYS_ADMIN));
        assert!(!user_of(2000).has_in(&ns, Caps::SYS_ADMIN));
        assert!(!inside.has_over(Caps::CHOWN, 0, 0));
    }

    fn user_of(uid: u32) -> Credentials {
        Credentials::for_user(uid, uid, Vec::new())
    }

    #[test]
    fn groups_are_mapped_without_privilege_only_when_setgroups_is_denied() {
        let outside = user();
        let inside = outside.in_new_user_ns(8).unwrap();
        let ns = inside.user_ns.clone();
        let map = |text: &[u8]| ns.set_map(IdKind::Group, text, [&inside, &inside]);
        assert_eq!(map(b"0 1000 1"), Err(Errno::EPERM));
        ns.set_setgroups(false).unwrap();
        assert_eq!(ns.set_setgroups(true), Err(Errno::EPERM));
        assert_eq!(map(b"0 1001 1"), Err(Errno::EPERM));
        map(b"0 1000 1\n").unwrap();
        assert!(!ns.groups_ready());
    }

    #[test]
    fn maps_with_ranges_that_overlap_or_wrap_are_refused() {
        for text in [
            "",
            "0 0",
            "0 0 0",
            "0 0 1 1",
            "0 4294967295 2",
            "0 0 2\n1 5 1",
            "0 0 2\n5 1 1",
            "x 0 1",
            "0 0 1\n\n",
        ] {
            assert_eq!(parse_map(text.as_bytes()).err(), Some(Errno::EINVAL), "{text:?}");
        }
        assert_eq!(parse_map(b"  0   100000 65536\n70000 5 1\n").unwrap().len(), 2);
    }

    #[test]
    fn a_namespace_in_a_namespace_maps_only_what_the_outer_one_knows() {
        let root = Credentials::for_user(0, 0, Vec::new());
        let one = root.in_new_user_ns(9).unwrap();
        one.user_ns
            .set_map(IdKind::User, b"0 100000 1000", [&root, &root])
            .unwrap();
        one.user_ns
            .set_map(IdKind::Group, b"0 100000 1000", [&root, &root])
            .unwrap();
        let one = Credentials {
            euid: 100_000,
            egid: 100_000,
            ..one
        };
        let two = one.in_new_user_ns(10).unwrap();
        let map = |text: &[u8]| two.user_ns.set_map(IdKind::User, text, [&one, &one]);
        assert_eq!(map(b"0 990 20"), Err(Errno::EPERM));
        map(b"0 10 20").unwrap();
        assert_eq!(two.user_ns.to_kernel(IdKind::User, 1), Some(100_011));
        assert_eq!(
            two.user_ns
                .map_text(IdKind::User, &one.user_ns)
                .split_whitespace()
                .nth(1),
            Some("10")
        );
        assert!(two.user_ns.is_in(&one.user_ns) && !one.user_ns.is_in(&two.user_ns));
    }
}
