//! What execve(2) does to credentials: set-user-ID, set-group-ID and file capabilities (capabilities(7)).

use abi::AbiField;

use super::{Caps, Credentials, securebits};
use crate::vfs::Attr;

/// The content of a file's `security.capability` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCaps {
    /// Permitted.
    pub permitted: Caps,
    /// Inheritable.
    pub inheritable: Caps,
    /// Whether the new permitted set is in force at once.
    pub effective: bool,
}

impl FileCaps {
    /// From the attribute (versions 1 to 3; version 3 is for another user namespace unless its root is 0). `None`: unknown.
    pub fn parse(bytes: &[u8]) -> Option<FileCaps> {
        let (len, words) = match bytes.get(..4).map(u32::get)? & 0xff00_0000 {
            0x0100_0000 => (12, 1),
            0x0200_0000 => (20, 2),
            0x0300_0000 => (24, 2),
            _ => return None,
        };
        if bytes.len() != len || (len == 24 && u32::get(&bytes[20..]) != 0) {
            return None;
        }
        let (mut permitted, mut inheritable) = (0_u64, 0_u64);
        for (word, pair) in bytes[4..].chunks_exact(8).take(words).enumerate() {
            permitted |= u64::from(u32::get(pair)) << (32 * word);
            inheritable |= u64::from(u32::get(&pair[4..])) << (32 * word);
        }
        Some(FileCaps {
            permitted: Caps::from_bits_truncate(permitted),
            inheritable: Caps::from_bits_truncate(inheritable),
            effective: u32::get(bytes) & 1 != 0,
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
        if raise && attr.perm & S_ISUID != 0 {
            new.euid = attr.uid;
        }
        if raise && attr.perm & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
            new.egid = attr.gid;
        }
        let set_id = new.euid != self.euid || new.egid != self.egid;
        (new.suid, new.fsuid) = (new.euid, new.euid);
        (new.sgid, new.fsgid) = (new.egid, new.egid);
        let file = file.filter(|_| raise);
        let (mut permitted, mut effective) = match file {
            Some(caps) => (
                (self.inheritable & caps.inheritable) | (self.bounding & caps.permitted),
                caps.effective,
            ),
            None => (Caps::empty(), false),
        };
        let root_rules = self.securebits & securebits::NOROOT == 0;
        // A set-user-ID-root file with capabilities of its own gets those only.
        let own_caps = file.is_some() && new.uid != 0 && new.euid == 0;
        if root_rules && !own_caps {
            if new.euid == 0 || new.uid == 0 {
                permitted = self.inheritable | self.bounding;
            }
            effective |= new.euid == 0;
        }
        if file.is_some() || set_id {
            new.ambient = Caps::empty();
        }
        permitted |= new.ambient;
        new.permitted = permitted;
        new.effective = if effective { permitted } else { new.ambient };
        new.securebits &= !securebits::KEEP_CAPS;
        let gained = new.uid != 0 && (effective || file.is_some()) && !permitted.is_empty();
        (
            new,
            set_id || gained || self.uid != self.euid || self.gid != self.egid,
        )
    }
}
