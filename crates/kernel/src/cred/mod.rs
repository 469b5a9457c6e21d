//! Credentials: who a task is and what it may do (credentials(7), capabilities(7)).

mod change;
mod exec;
mod user_ns;

pub use exec::FileCaps;
pub use user_ns::{IdKind, NO_ID, UserNs};

use std::sync::Arc;

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
        /// CAP_SYS_MODULE.
        const SYS_MODULE = 1 << 16;
        /// CAP_SYS_RAWIO.
        const SYS_RAWIO = 1 << 17;
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
        /// CAP_AUDIT_WRITE.
        const AUDIT_WRITE = 1 << 29;
        /// CAP_AUDIT_CONTROL.
        const AUDIT_CONTROL = 1 << 30;
        /// CAP_SETFCAP.
        const SETFCAP = 1 << 31;
        /// CAP_MAC_OVERRIDE.
        const MAC_OVERRIDE = 1 << 32;
        /// CAP_SYSLOG.
        const SYSLOG = 1 << 34;
        /// CAP_WAKE_ALARM.
        const WAKE_ALARM = 1 << 35;
        /// CAP_CHECKPOINT_RESTORE.
        const CHECKPOINT_RESTORE = 1 << 40;
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
    /// The user namespace: capabilities hold over it and what belongs to it.
    pub user_ns: Arc<UserNs>,
}

impl Credentials {
    /// The given user with all capabilities when it is root, else none.
    pub fn for_user(uid: u32, gid: u32, mut groups: Vec<u32>) -> Self {
        // As setgroups(2) keeps them.
        groups.sort_unstable();
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
            user_ns: UserNs::first(),
        }
    }

    /// Whether the capability is in force over the whole sandbox: in the first user namespace (Linux's capable).
    pub fn has(&self, cap: Caps) -> bool {
        self.effective.contains(cap) && self.user_ns.is_first()
    }

    /// Whether `gid` is the file system group or a supplementary group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }
}

/// SECBIT_ flags of capabilities(7).
pub mod securebits {
    /// SECBIT_NOROOT.
    pub const NOROOT: u32 = 1;
    /// SECBIT_NO_SETUID_FIXUP.
    pub const NO_SETUID_FIXUP: u32 = 1 << 2;
    /// SECBIT_KEEP_CAPS.
    pub const KEEP_CAPS: u32 = 1 << 4;
    /// SECBIT_KEEP_CAPS_LOCKED.
    pub const KEEP_CAPS_LOCKED: u32 = 1 << 5;
    /// SECBIT_NO_CAP_AMBIENT_RAISE.
    pub const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
    /// Every flag.
    pub const ALL: u32 = 0xff;
    /// Every _LOCKED flag.
    pub const LOCKS: u32 = 0xaa;
}
