//! getrlimit(2), setrlimit(2).

use abi::Errno;

use crate::call::check;

/// The limits that the jail sets.
#[derive(Clone, Copy, Debug)]
pub enum Resource {
    /// Open descriptors.
    NoFile,
    /// Size of core dumps.
    Core,
    /// Bytes in POSIX message queues.
    MsgQueue,
}

impl Resource {
    fn number(self) -> libc::__rlimit_resource_t {
        match self {
            Resource::NoFile => libc::RLIMIT_NOFILE,
            Resource::Core => libc::RLIMIT_CORE,
            Resource::MsgQueue => libc::RLIMIT_MSGQUEUE,
        }
    }
}

/// Soft and hard limit, by the numbers of RLIMIT_* (0 to 15).
pub fn get_raw(resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writing.
    check(unsafe { libc::getrlimit(resource, &mut limit) }.into())?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Soft and hard limit.
pub fn get(resource: Resource) -> Result<(u64, u64), Errno> {
    get_raw(resource.number())
}

/// Sets soft and hard limit.
pub fn set(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` is valid for reading.
    check(unsafe { libc::setrlimit(resource.number(), &limit) }.into()).map(drop)
}
