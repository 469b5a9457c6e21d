//! Changes of user and group ids, and what they do to capabilities (capabilities(7), "Effect of user ID changes").

use abi::Errno;

use super::{Caps, Credentials, securebits};

/// Capabilities that go with the file system user id.
const FILE_CAPS: Caps = Caps::CHOWN
    .union(Caps::MKNOD)
    .union(Caps::DAC_OVERRIDE)
    .union(Caps::DAC_READ_SEARCH)
    .union(Caps::FOWNER)
    .union(Caps::FSETID)
    .union(Caps::LINUX_IMMUTABLE)
    .union(Caps::MAC_OVERRIDE);

/// "Leave it as it is" in setresuid(2) and kin.
const KEEP: u32 = u32::MAX;

impl Credentials {
    fn has_uid(&self, uid: u32) -> bool {
        [self.uid, self.euid, self.suid].contains(&uid)
    }

    fn has_gid(&self, gid: u32) -> bool {
        [self.gid, self.egid, self.sgid].contains(&gid)
    }

    /// Whether the kernel id is root's in the credentials' namespace.
    pub(super) fn is_root(&self, uid: u32) -> bool {
        self.user_ns.root() == Some(uid)
    }

    /// Capabilities after a change of real, effective and saved user id from `old`.
    fn fix_up_caps(&mut self, old: &Credentials) {
        if old.securebits & securebits::NO_SETUID_FIXUP != 0 {
            return;
        }
        let any_root = |cred: &Credentials| {
            [cred.uid, cred.euid, cred.suid]
                .iter()
                .any(|uid| old.is_root(*uid))
        };
        if any_root(old) && !any_root(self) {
            if old.securebits & securebits::KEEP_CAPS == 0 {
                self.permitted = Caps::empty();
                self.effective = Caps::empty();
            }
            self.ambient = Caps::empty();
        }
        if old.is_root(old.euid) && !old.is_root(self.euid) {
            self.effective = Caps::empty();
        }
        if !old.is_root(old.euid) && old.is_root(self.euid) {
            self.effective = self.permitted;
        }
    }

    fn with_uids(&self, uid: u32, euid: u32, suid: u32) -> Credentials {
        let mut new = self.clone();
        (new.uid, new.euid, new.suid, new.fsuid) = (uid, euid, suid, euid);
        new.fix_up_caps(self);
        new
    }

    fn with_gids(&self, gid: u32, egid: u32, sgid: u32) -> Credentials {
        let mut new = self.clone();
        (new.gid, new.egid, new.sgid, new.fsgid) = (gid, egid, sgid, egid);
        new
    }

    /// setuid(2).
    pub fn setuid(&self, uid: u32) -> Result<Credentials, Errno> {
        if uid == KEEP {
            return Err(Errno::EINVAL);
        }
        if self.has_own(Caps::SETUID) {
            Ok(self.with_uids(uid, uid, uid))
        } else if uid == self.uid || uid == self.suid {
            Ok(self.with_uids(self.uid, uid, self.suid))
        } else {
            Err(Errno::EPERM)
        }
    }

    /// setgid(2).
    pub fn setgid(&self, gid: u32) -> Result<Credentials, Errno> {
        if gid == KEEP {
            return Err(Errno::EINVAL);
        }
        if self.has_own(Caps::SETGID) {
            Ok(self.with_gids(gid, gid, gid))
        } else if gid == self.gid || gid == self.sgid {
            Ok(self.with_gids(self.gid, gid, self.sgid))
        } else {
            Err(Errno::EPERM)
        }
    }

    /// setreuid(2).
    pub fn setreuid(&self, real: u32, effective: u32) -> Result<Credentials, Errno> {
        let privileged = self.has_own(Caps::SETUID);
        if !privileged
            && ((real != KEEP && real != self.uid && real != self.euid)
                || (effective != KEEP && !self.has_uid(effective)))
        {
            return Err(Errno::EPERM);
        }
        let uid = if real == KEEP { self.uid } else { real };
        let euid = if effective == KEEP { self.euid } else { effective };
        let saves = real != KEEP || (effective != KEEP && effective != self.uid);
        Ok(self.with_uids(uid, euid, if saves { euid } else { self.suid }))
    }

    /// setregid(2).
    pub fn setregid(&self, real: u32, effective: u32) -> Result<Credentials, Errno> {
        let privileged = self.has_own(Caps::SETGID);
        if !privileged
            && ((real != KEEP && real != self.gid && real != self.egid)
                || (effective != KEEP && !self.has_gid(effective)))
        {
            return Err(Errno::EPERM);
        }
        let gid = if real == KEEP { self.gid } else { real };
        let egid = if effective == KEEP { self.egid } else { effective };
        let saves = real != KEEP || (effective != KEEP && effective != self.gid);
        Ok(self.with_gids(gid, egid, if saves { egid } else { self.sgid }))
    }

    /// setresuid(2).
    pub fn setresuid(&self, real: u32, effective: u32, saved: u32) -> Result<Credentials, Errno> {
        let allowed = |id: u32| id == KEEP || self.has_uid(id);
        if !self.has_own(Caps::SETUID) && ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::EPERM);
        }
        let pick = |new: u32, old: u32| if new == KEEP { old } else { new };
        Ok(self.with_uids(
            pick(real, self.uid),
            pick(effective, self.euid),
            pick(saved, self.suid),
        ))
    }

    /// setresgid(2).
    pub fn setresgid(&self, real: u32, effective: u32, saved: u32) -> Result<Credentials, Errno> {
        let allowed = |id: u32| id == KEEP || self.has_gid(id);
        if !self.has_own(Caps::SETGID) && ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::EPERM);
        }
        let pick = |new: u32, old: u32| if new == KEEP { old } else { new };
        Ok(self.with_gids(
            pick(real, self.gid),
            pick(effective, self.egid),
            pick(saved, self.sgid),
        ))
    }

    /// setfsuid(2); `None`: not allowed, nothing changes.
    pub fn setfsuid(&self, uid: u32) -> Option<Credentials> {
        if uid == KEEP || !(self.has_own(Caps::SETUID) || self.has_uid(uid) || uid == self.fsuid) {
            return None;
        }
        let mut new = self.clone();
        new.fsuid = uid;
        if self.securebits & securebits::NO_SETUID_FIXUP == 0 {
            if self.is_root(self.fsuid) && !self.is_root(uid) {
                new.effective -= FILE_CAPS;
            } else if !self.is_root(self.fsuid) && self.is_root(uid) {
                new.effective |= self.permitted & FILE_CAPS;
            }
        }
        Some(new)
    }

    /// setfsgid(2); `None`: not allowed, nothing changes.
    pub fn setfsgid(&self, gid: u32) -> Option<Credentials> {
        if gid == KEEP || !(self.has_own(Caps::SETGID) || self.has_gid(gid) || gid == self.fsgid) {
            return None;
        }
        let mut new = self.clone();
        new.fsgid = gid;
        Some(new)
    }

    /// capset(2).
    pub fn capset(&self, effective: Caps, permitted: Caps, inheritable: Caps) -> Result<Credentials, Errno> {
        let had_all = self.inheritable | self.permitted;
        if !self.has_own(Caps::SETPCAP) && !had_all.contains(inheritable) {
            return Err(Errno::EPERM);
        }
        if !(self.inheritable | self.bounding).contains(inheritable)
            || !self.permitted.contains(permitted)
            || !permitted.contains(effective)
        {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        (new.effective, new.permitted, new.inheritable) = (effective, permitted, inheritable);
        new.ambient &= permitted & inheritable;
        Ok(new)
    }

    /// Whether a program of these credentials is not dumpable although it was before: ids or capabilities changed.
    pub fn raises_over(&self, old: &Credentials) -> bool {
        // Who made the namespace could do as much from outside.
        let subset = if self.user_ns == old.user_ns {
            old.permitted.contains(self.permitted)
        } else {
            self.user_ns.is_in(&old.user_ns)
        };
        (self.euid, self.egid, self.fsuid, self.fsgid) != (old.euid, old.egid, old.fsuid, old.fsgid)
            || !subset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giving_up_root_gives_up_capabilities() {
        let root = Credentials::for_user(0, 0, Vec::new());
        let user = root.setuid(1000).unwrap();
        assert_eq!(
            (user.uid, user.euid, user.suid, user.fsuid),
            (1000, 1000, 1000, 1000)
        );
        assert!(user.permitted.is_empty() && user.effective.is_empty());
        assert_eq!(user.setuid(0), Err(Errno::EPERM));
        assert_eq!(user.setresuid(KEEP, 5, KEEP), Err(Errno::EPERM));
    }

    #[test]
    fn an_effective_id_comes_back_from_the_saved_one() {
        let root = Credentials::for_user(0, 0, Vec::new());
        let low = root.setresuid(KEEP, 1000, KEEP).unwrap();
        assert!(low.effective.is_empty());
        assert_eq!(low.permitted, Caps::ALL);
        let high = low.setresuid(KEEP, 0, KEEP).unwrap();
        assert_eq!(high.effective, Caps::ALL);
    }

    #[test]
    fn capabilities_are_only_given_up() {
        let mut cred = Credentials::for_user(1000, 1000, Vec::new());
        cred.permitted = Caps::KILL;
        assert!(cred.capset(Caps::KILL, Caps::KILL, Caps::empty()).is_ok());
        assert_eq!(
            cred.capset(Caps::KILL, Caps::KILL | Caps::CHOWN, Caps::empty()),
            Err(Errno::EPERM)
        );
    }
}
