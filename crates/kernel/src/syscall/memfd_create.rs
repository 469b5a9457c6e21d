//! memfd_create(2).

use abi::fcntl::O_RDWR;
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::memfd;
use crate::file::memory_file::F_SEAL_EXEC;
use crate::task::CurrentTask;

const MFD_CLOEXEC: u32 = 1;
const MFD_ALLOW_SEALING: u32 = 2;
const MFD_HUGETLB: u32 = 4;
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 0x10;
/// Longest name, with its NUL.
const NAME_MAX: usize = 250;

/// memfd_create(2).
pub fn memfd_create(task: &CurrentTask, name: UserAddr, flags: Flags) -> Result<Fd, Errno> {
    let flags = flags.0;
    if flags & MFD_HUGETLB != 0 {
        // No huge page pool.
        return Err(Errno::ENOSYS);
    }
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC) != 0
        || flags & MFD_EXEC != 0 && flags & MFD_NOEXEC_SEAL != 0
    {
        return Err(Errno::EINVAL);
    }
    let name = task.read_cstring(name, NAME_MAX, Errno::EINVAL)?;
    let (perm, seals) = match flags & (MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING) {
        0 => (0o777, None),
        MFD_ALLOW_SEALING => (0o777, Some(0)),
        _ => (0o666, Some(F_SEAL_EXEC)),
    };
    let name = String::from_utf8_lossy(&name);
    let file = memfd::create(&task.kernel, &name, O_RDWR, seals, perm)?;
    let limit = task.group.fd_limit();
    let cloexec = flags & MFD_CLOEXEC != 0;
    task.files().install(file, cloexec, 0, limit).map(Fd)
}
