//! What execve(2) does to credentials: set-user-ID, set-group-ID and file capabilities (capabilities(7)).

use abi::{AbiField, Errno};

use super::{Caps, Credentials, IdKind, UserNs, securebits};
use crate::vfs::Attr;

/// VFS_CAP_REVISION_MASK and two of the revisions.
const VERSION: u32 = 0xff00_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;

/// The content of a file's `security.capability` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCaps {
    /// Permitted.
    pub permitted: Caps,
    /// Inheritable.
    pub inheritable: Caps,
    /// Whether the new permitted set is in force at once.
    pub effective: bool,
    /// The root user (kernel id) of the namespace that they are for.
    pub root: u32,
}

impl FileCaps {
    /// What is stored for an attribute that a program in `ns` sets: version 2 becomes version 3 with the root user of
    /// that namespace, version 3's root user the kernel's id. `None`: as it is. `EINVAL`, `EPERM`.
    pub fn stored(bytes: &[u8], ns: &UserNs) -> Result<Option<Vec<u8>>, Errno> {
        let version = bytes.get(..4).map(u32::get).ok_or(Errno::EINVAL)?;
        let root = match (version & VERSION, bytes.len()) {
            (VERSION_2, 20) if ns.is_first() => return Ok(None),
            (VERSION_2, 20) => 0,
            (VERSION_3, 24) => u32::get(&bytes[20..]),
            _ => return Err(Errno::EINVAL),
        };
        let root = ns.to_kernel(IdKind::User, root).ok_or(Errno::EINVAL)?;
        let mut new = bytes.to_vec();
        new.truncate(20);
        if root != 0 {
            (version & !VERSION | VERSION_3).put(&mut new);
            new.extend_from_slice(&root.to_le_bytes());
        } else {
            (version & !VERSION | VERSION_2).put(&mut new);
        }
        Ok(Some(new))
    }

    /// The attribute as a program in `ns` sees it. `EOVERFLOW` when its root user has no meaning there.
    pub fn shown(mut bytes: Vec<u8>, ns: &UserNs) -> Result<Vec<u8>, Errno> {
        let version = bytes.get(..4).map_or(0, u32::get);
        match (version & VERSION, bytes.len()) {
            (VERSION_3, 24) => {
                let root = u32::get(&bytes[20..]);
                if ns.has_root(root) {
                    bytes.truncate(20);
                    (version & !VERSION | VERSION_2).put(&mut bytes);
                    return Ok(bytes);
                }
                let shown = ns.to_own(IdKind::User, root).ok_or(Errno::EOVERFLOW)?;
                shown.put(&mut bytes[20..]);
                Ok(bytes)
            }
            _ => Ok(bytes),
        }
    }

    /// From the attribute (versions 1 to 3; version 3 names the root user of a user namespace). `None`: unknown.
    pub fn parse(bytes: &[u8]) -> Option<FileCaps> {
        let (len, words) = match bytes.get(..4).map(u32::get)? & 0xff00_0000 {
            0x0100_0000 => (12, 1),
            0x0200_0000 => (20, 2),
            0x0300_0000 => (24, 2),
            _ => return None,
        };
        if bytes.len() != len {
            return None;
        }
        let root = bytes.get(20..24).map_or(0, u32::get);
        let (mut permitted, mut inheritable) = (0_u64, 0_u64);
        for (word, pair) in bytes[4..].chunks_exact(8).take(words).enumerate() {
            permitted |= u64::from(u32::get(pair)) << (32 * word);
            inheritable |= u64::from(u32::get(&pair[4..])) << (32 * word);
        }
        Some(FileCaps {
            permitted: Caps::from_bits_truncate(permitted),
            inheritable: Caps::from_bits_truncate(inheritable),
            effective: u32::get(bytes) & 1 != 0,
            root,
        })
    }
}

impl Credentials {
    /// The credentials after executing a file with these attributes, and whether the program runs in secure mode
    /// (AT_SECURE). `nosuid`: the mount ignores set-ID bits and file capabilities, as no_new_privs does.
    pub fn on_exec(
        &self,
        attr: &Attr,
        file: Option<FileCaps>,
        nosuid: bool,
        no_new_privs: bool,
    ) -> (Credentials, bool) {
        const S_ISUID: u32 = 0o4000;
        const S_ISGID: u32 = 0o2000;
        const S_IXGRP: u32 = 0o010;
        let mut new = self.clone();
        let raise = !nosuid && !no_new_privs;
        // Ids without a meaning in the namespace are not taken.
        let mapped = self.user_ns.to_own(IdKind::User, attr.uid).is_some()
            && self.user_ns.to_own(IdKind::Group, attr.gid).is_some();
        if raise && mapped && attr.perm & S_ISUID != 0 {
            new.euid = attr.uid;
        }
        if raise && mapped && attr.perm & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
            new.egid = attr.gid;
        }
        let set_id = new.euid != self.euid || new.egid != self.egid;
        (new.suid, new.fsuid) = (new.euid, new.euid);
        (new.sgid, new.fsgid) = (new.egid, new.egid);
        let file = file.filter(|caps| raise && self.user_ns.has_root(caps.root));
        let (mut permitted, mut effective) = match file {
            Some(caps) => (
                (self.inheritable & caps.inheritable) | (self.bounding & caps.permitted),
                caps.effective,
            ),
            None => (Caps::empty(), false),
        };
        let root_rules = self.securebits & securebits::NOROOT == 0;
        // A set-user-ID-root file with capabilities of its own gets those only.
        let own_caps = file.is_some() && !self.is_root(new.uid) && self.is_root(new.euid);
        if root_rules && !own_caps {
            if self.is_root(new.euid) || self.is_root(new.uid) {
                permitted = self.inheritable | self.bounding;
            }
            effective |= self.is_root(new.euid);
        }
        if file.is_some() || set_id {
            new.ambient = Caps::empty();
        }
        if no_new_privs {
            permitted &= self.permitted;
        }
        permitted |= new.ambient;
        new.permitted = permitted;
        new.effective = if effective { permitted } else { new.ambient };
        new.securebits &= !securebits::KEEP_CAPS;
        let gained = !self.is_root(new.uid) && (effective || file.is_some()) && !permitted.is_empty();
        (
            new,
            set_id || gained || self.uid != self.euid || self.gid != self.egid,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::FileKind;

    fn program(perm: u32, uid: u32) -> Attr {
        Attr {
            ino: 1,
            kind: FileKind::Regular,
            perm,
            nlink: 1,
            uid,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: 0,
            mtime: 0,
            ctime: 0,
            btime: None,
        }
    }

    #[test]
    fn a_set_user_id_program_of_root_gets_everything_unless_forbidden() {
        let user = Credentials::for_user(1000, 1000, Vec::new());
        let (new, secure) = user.on_exec(&program(0o4755, 0), None, false, false);
        assert_eq!(
            (new.uid, new.euid, new.suid, new.effective),
            (1000, 0, 0, Caps::ALL)
        );
        assert!(secure);
        for (nosuid, no_new_privs) in [(true, false), (false, true)] {
            let (new, secure) = user.on_exec(&program(0o4755, 0), None, nosuid, no_new_privs);
            assert_eq!((new.euid, new.effective), (1000, Caps::empty()));
            assert!(!secure);
        }
    }

    #[test]
    fn file_capabilities_give_what_they_name() {
        let mut bytes = vec![0; 20];
        0x0200_0001_u32.put(&mut bytes);
        (1_u32 << 13).put(&mut bytes[4..]);
        let caps = FileCaps::parse(&bytes).unwrap();
        assert_eq!((caps.permitted, caps.effective), (Caps::NET_RAW, true));
        let user = Credentials::for_user(1000, 1000, Vec::new());
        let (new, secure) = user.on_exec(&program(0o755, 0), Some(caps), false, false);
        assert_eq!((new.permitted, new.effective), (Caps::NET_RAW, Caps::NET_RAW));
        assert!(secure);
        assert_eq!(FileCaps::parse(&bytes[..19]), None);
    }

    #[test]
    fn without_new_privileges_root_gets_back_nothing_that_it_gave_up() {
        let mut root = Credentials::for_user(0, 0, Vec::new());
        root.permitted = Caps::CHOWN;
        let (new, _) = root.on_exec(&program(0o755, 0), None, false, true);
        assert_eq!((new.permitted, new.effective), (Caps::CHOWN, Caps::CHOWN));
    }

    #[test]
    fn root_without_a_capability_in_its_bounding_set_does_not_get_it() {
        let mut root = Credentials::for_user(0, 0, Vec::new());
        root.bounding -= Caps::SYS_ADMIN;
        let (new, _) = root.on_exec(&program(0o755, 0), None, false, false);
        assert!(!new.has(Caps::SYS_ADMIN) && new.has(Caps::CHOWN));
    }
}
