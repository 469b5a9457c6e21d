//! Guest addresses and page arithmetic.

use std::fmt;

use crate::Errno;

/// Bytes in a guest page.
pub const PAGE_SIZE: u64 = 4096;

/// First address beyond what user space can have (TASK_SIZE_MAX).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Rounds down to a page boundary.
pub const fn page_down(value: u64) -> u64 {
    value & !(PAGE_SIZE - 1)
}

/// Rounds up to a page boundary; `None` when that overflows.
pub const fn page_up(value: u64) -> Option<u64> {
    match value.checked_add(PAGE_SIZE - 1) {
        Some(v) => Some(page_down(v)),
        None => None,
    }
}

/// An address that a guest gave or was given: an allegation, never a host pointer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UserAddr(pub u64);

impl UserAddr {
    /// The null address.
    pub const NULL: UserAddr = UserAddr(0);

    /// Whether this is the null address.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// This address plus `bytes`; `EFAULT` on overflow.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn add(self, bytes: u64) -> Result<UserAddr, Errno> {
        self.0.checked_add(bytes).map(UserAddr).ok_or(Errno::EFAULT)
    }

    /// Whether `len` bytes from here on lie in user space (access_ok): `EFAULT`.
    pub fn check_range(self, len: u64) -> Result<(), Errno> {
        match self.0.checked_add(len) {
            Some(end) if end <= USER_END => Ok(()),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Rounded down to its page.
    pub const fn page(self) -> UserAddr {
        UserAddr(page_down(self.0))
    }

    /// Whether the address is a multiple of the page size.
    pub const fn is_page_aligned(self) -> bool {
        self.0.is_multiple_of(PAGE_SIZE)
    }
}

impl fmt::Debug for UserAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
