//! Credentials: who a task is and what it may do (credentials(7), capabilities(7)).

use bitflags::bitflags;

bitflags! {
    /// A capability set; bit n is capability n of capabilities(7).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Caps: u64 {
        /// CAP_CHOWN.
        const CHOWN = 1 << 0;
        /// CAP_DAC_OVERRIDE.
        const DAC_OVERRIDE = 1 << 1;
        /// CAP_DAC_READ_SEARCH.
        const DAC_READ_SEARCH = 1 << 2;
        /// CAP_FOWNER.
        const FOWNER = 1 << 3;
        /// CAP_FSETID.
        const FSETID = 1 << 4;
        /// CAP_KILL.
        const KILL = 1 << 5;
        /// CAP_SETGID.
        const SETGID = 1 << 6;
        /// CAP_SETUID.
        const SETUID = 1 << 7;
        /// CAP_SETPCAP.
        const SETPCAP = 1 << 8;
        /// CAP_LINUX_IMMUTABLE.
        const LINUX_IMMUTABLE = 1 << 9;
        /// CAP_NET_BIND_SERVICE.
        const NET_BIND_SERVICE = 1 << 10;
        /// CAP_NET_ADMIN.
        const NET_ADMIN = 1 << 12;
        /// CAP_NET_RAW.
        const NET_RAW = 1 << 13;
        /// CAP_IPC_LOCK.
        const IPC_LOCK = 1 << 14;
        /// CAP_IPC_OWNER.
        const IPC_OWNER = 1 << 15;
        /// CAP_SYS_CHROOT.
        const SYS_CHROOT = 1 << 18;
        /// CAP_SYS_PTRACE.
        const SYS_PTRACE = 1 << 19;
        /// CAP_SYS_ADMIN.
        const SYS_ADMIN = 1 << 21;
        /// CAP_SYS_BOOT.
        const SYS_BOOT = 1 << 22;
        /// CAP_SYS_NICE.
        const SYS_NICE = 1 << 23;
        /// CAP_SYS_RESOURCE.
        const SYS_RESOURCE = 1 << 24;
        /// CAP_SYS_TIME.
        const SYS_TIME = 1 << 25;
        /// CAP_SYS_TTY_CONFIG.
        const SYS_TTY_CONFIG = 1 << 26;
        /// CAP_MKNOD.
        const MKNOD = 1 << 27;
        /// CAP_LEASE.
        const LEASE = 1 << 28;
        /// CAP_SETFCAP.
        const SETFCAP = 1 << 31;
        /// Every capability that Linux 6.x knows (0 to 40).
        const ALL = (1 << 41) - 1;
    }
}

/// An immutable set of credentials; a change makes a new one (Linux's struct cred).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective, saved and file system user ids.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// File system user id.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// File system group id.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities in force.
    pub effective: Caps,
    /// Those that may be put in force.
    pub permitted: Caps,
    /// Those kept over execve(2) with file capabilities.
    pub inheritable: Caps,
    /// The limit of what execve(2) can give.
    pub bounding: Caps,
    /// Those kept over execve(2) without file capabilities.
    pub ambient: Caps,
    /// SECBIT_* of capabilities(7).
    pub securebits: u32,
}

impl Credentials {
    /// The given user with all capabilities when it is root, else none.
    pub fn for_user(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        let caps = if uid == 0 { Caps::ALL } else { Caps::empty() };
        Credentials {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups,
            effective: caps,
            permitted: caps,
            inheritable: Caps::empty(),
            bounding: Caps::ALL,
            ambient: Caps::empty(),
            securebits: 0,
        }
    }

    /// Whether the capability is in force.
    pub fn has(&self, cap: Caps) -> bool {
        self.effective.contains(cap)
    }

    /// Whether `gid` is the file system group or a supplementary group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// The credentials after execve(2) of a file with these attributes, and whether the program must distrust its
    /// environment (AT_SECURE). `nosuid`: set-user-ID bits do not count on its mount; `no_new_privs`: they never do.
    /// File capabilities (`security.capability`) are not looked at: such a file gives none.
    pub fn on_exec(&self, attr: &crate::vfs::Attr, nosuid: bool, no_new_privs: bool) -> (Credentials, bool) {
        const S_ISUID: u32 = 0o4000;
        const S_ISGID: u32 = 0o2000;
        const S_IXGRP: u32 = 0o010;
        const SECBIT_NOROOT: u32 = 1;
        const SECBIT_KEEP_CAPS: u32 = 1 << 4;
        let mut new = self.clone();
        if !nosuid && !no_new_privs {
            if attr.perm & S_ISUID != 0 {
                new.euid = attr.uid;
            }
            if attr.perm & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
                new.egid = attr.gid;
            }
        }
        let set_id = new.euid != self.euid || new.egid != self.egid;
        (new.suid, new.fsuid) = (new.euid, new.euid);
        (new.sgid, new.fsgid) = (new.egid, new.egid);
        if set_id {
            new.ambient = Caps::empty();
        }
        let root = self.securebits & SECBIT_NOROOT == 0;
        new.permitted = if root && (new.euid == 0 || new.uid == 0) {
            new.inheritable | new.bounding
        } else {
            new.ambient
        };
        new.effective = if root && new.euid == 0 {
            new.permitted
        } else {
            new.ambient
        };
        new.securebits &= !SECBIT_KEEP_CAPS;
        let secure = set_id || new.uid != new.euid || new.gid != new.egid;
        (new, secure)
    }
}
