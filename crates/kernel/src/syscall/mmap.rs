//! mmap(2), munmap(2).

use std::sync::Arc;

use abi::{Errno, PAGE_SIZE, UserAddr, page_up};
use platform::Prot;

use super::arg::{Fd, Flags};
use crate::file::FileDescription;
use crate::mm::{AreaFlags, AreaName, Backing, Limits, MapRequest, Place};
use crate::task::CurrentTask;
use crate::vfs::MountFlags;

const MAP_SHARED: u32 = 1;
const MAP_PRIVATE: u32 = 2;
const MAP_SHARED_VALIDATE: u32 = 3;
const MAP_TYPE: u32 = 0xf;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_32BIT: u32 = 0x40;
const MAP_GROWSDOWN: u32 = 0x100;
const MAP_DENYWRITE: u32 = 0x800;
const MAP_EXECUTABLE: u32 = 0x1000;
const MAP_LOCKED: u32 = 0x2000;
const MAP_NORESERVE: u32 = 0x4000;
const MAP_POPULATE: u32 = 0x8000;
const MAP_NONBLOCK: u32 = 0x1_0000;
const MAP_STACK: u32 = 0x2_0000;
const MAP_HUGETLB: u32 = 0x4_0000;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
/// What MAP_SHARED_VALIDATE accepts (LEGACY_MAP_MASK and the validated ones; MAP_SYNC needs DAX).
const MAP_KNOWN: u32 = MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_32BIT
    | MAP_GROWSDOWN
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_FIXED_NOREPLACE
    | (0x1f << 26);

/// mmap(2).
pub fn mmap(
    task: &CurrentTask,
    addr: UserAddr,
    len: u64,
    prot: Flags,
    flags: Flags,
    fd: Fd,
    offset: u64,
) -> Result<UserAddr, Errno> {
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let flags = flags.0;
    let file = if flags & MAP_ANONYMOUS == 0 {
        let file = task.files().get(fd.0)?;
        if file.flags() & abi::fcntl::O_PATH != 0 {
            return Err(Errno::EBADF);
        }
        Some(file)
    } else {
        None
    };
    if flags & MAP_HUGETLB != 0 {
        // No huge page pool: what an unprivileged Linux without one answers.
        return Err(if file.is_some() {
            Errno::EINVAL
        } else {
            Errno::ENOMEM
        });
    }
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let len = page_up(len).ok_or(Errno::ENOMEM)?;
    if offset
        .checked_add(len)
        .is_none_or(|end| file.is_some() && i64::try_from(end).is_err())
    {
        return Err(Errno::EOVERFLOW);
    }
    let mut request = MapRequest {
        len,
        prot: Prot::from_bits_truncate(prot.0),
        max_prot: Prot::all(),
        place: place(addr, flags),
        flags: area_flags(flags),
        backing: Backing::Anonymous,
        pieces: Vec::new(),
        populate: flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE,
        name: AreaName::None,
    };
    match file {
        Some(file) => map_file(&mut request, flags, file, offset)?,
        None => match flags & MAP_TYPE {
            MAP_SHARED if flags & MAP_GROWSDOWN != 0 => return Err(Errno::EINVAL),
            MAP_SHARED => task.kernel.share_anonymous(&mut request)?,
            MAP_PRIVATE => {}
            _ => return Err(Errno::EINVAL),
        },
    }
    task.mm_ref().map(request, &Limits::of(task))
}

fn place(addr: UserAddr, flags: u32) -> Place {
    if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::NoReplace(addr.0)
    } else if flags & MAP_FIXED != 0 {
        Place::Fixed(addr.0)
    } else if flags & MAP_32BIT != 0 {
        Place::Low(addr.0)
    } else {
        Place::Hint(addr.0)
    }
}

fn area_flags(flags: u32) -> AreaFlags {
    let mut area = AreaFlags::empty();
    area.set(
        AreaFlags::SHARED,
        matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE),
    );
    area.set(AreaFlags::GROWSDOWN, flags & MAP_GROWSDOWN != 0);
    area.set(AreaFlags::STACK, flags & MAP_STACK != 0);
    area.set(AreaFlags::NORESERVE, flags & MAP_NORESERVE != 0);
    area.set(AreaFlags::LOCKED, flags & MAP_LOCKED != 0);
    area
}

/// Checks the file against the request as do_mmap does, and asks it for its pieces.
fn map_file(
    request: &mut MapRequest,
    flags: u32,
    file: Arc<FileDescription>,
    offset: u64,
) -> Result<(), Errno> {
    match flags & MAP_TYPE {
        MAP_SHARED => {}
        MAP_SHARED_VALIDATE if flags & !MAP_KNOWN == 0 => {}
        MAP_SHARED_VALIDATE => return Err(Errno::EOPNOTSUPP),
        MAP_PRIVATE => {}
        _ => return Err(Errno::EINVAL),
    }
    let shared = request.flags.contains(AreaFlags::SHARED);
    if shared && request.prot.contains(Prot::WRITE) && !file.writable() {
        return Err(Errno::EACCES);
    }
    if !file.readable() {
        return Err(Errno::EACCES);
    }
    if file.path().mount.flags().contains(MountFlags::NOEXEC) {
        if request.prot.contains(Prot::EXEC) {
            return Err(Errno::EPERM);
        }
        request.max_prot.remove(Prot::EXEC);
    }
    if flags & MAP_GROWSDOWN != 0 {
        return Err(Errno::EINVAL);
    }
    // A shared mapping may become writable later when the descriptor allows it.
    let mut ever = request.prot;
    if shared && file.writable() {
        ever |= Prot::WRITE;
    } else if shared {
        request.max_prot.remove(Prot::WRITE);
    }
    request.pieces = match file.ops().map(&file, offset, request.len, shared, ever) {
        Err(Errno::EPERM) if shared && !request.prot.contains(Prot::WRITE) => {
            // Sealed against writing: a read-only shared mapping remains possible.
            request.max_prot.remove(Prot::WRITE);
            file.ops().map(&file, offset, request.len, shared, request.prot)?
        }
        pieces => pieces?,
    };
    request.backing = Backing::File { file, offset };
    Ok(())
}

/// munmap(2).
pub fn munmap(task: &CurrentTask, addr: UserAddr, len: u64) -> Result<(), Errno> {
    task.mm_ref().unmap(addr, len)
}
