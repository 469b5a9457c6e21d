//! memfd_create(2).

use abi::fcntl::O_RDWR;
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::FileDescription;
use crate::file::memfd::{self, SEAL_EXEC, SEAL_SEAL};
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
    let shown = format!("/memfd:{} (deleted)", String::from_utf8_lossy(&name));
    let (perm, mut seals) = if flags & MFD_NOEXEC_SEAL != 0 {
        (0o666, SEAL_EXEC)
    } else {
        (0o777, 0)
    };
    if flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) == 0 {
        seals |= SEAL_SEAL;
    }
    let cred = task.cred();
    let path = memfd::create(&task.kernel, &shown, perm, seals, (cred.fsuid, cred.fsgid))?;
    let ops = path.inode()?.ops.open(&path, O_RDWR)?;
    let file = FileDescription::new(path, ops, O_RDWR);
    let limit = task.group.fd_limit();
    let cloexec = flags & MFD_CLOEXEC != 0;
    task.files().install(file, cloexec, 0, limit).map(Fd)
}
