//! name_to_handle_at(2), open_by_handle_at(2).

use abi::{AbiField, Errno, UserAddr, abi_struct};

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, At};
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::vfs::{Handle, LookupFlags, OpenHow, Walker};

/// AT_HANDLE_FID: only to compare.
const AT_HANDLE_FID: u32 = 0x200;
/// AT_HANDLE_MNT_ID_UNIQUE: the mount's 64-bit number.
const AT_HANDLE_MNT_ID_UNIQUE: u32 = 1;
/// MAX_HANDLE_SZ.
const MAX_HANDLE_SZ: u32 = 128;
/// The type of handles here.
const HANDLE_TYPE: i32 = 1;
/// Bytes of a handle here: device and inode number.
const HANDLE_BYTES: u32 = 16;

abi_struct! {
    /// `struct file_handle` without its bytes.
    struct FileHandle { bytes: u32, kind: i32 }
}

/// name_to_handle_at(2).
pub fn name_to_handle_at(
    task: &CurrentTask,
    fd: Fd,
    path: CStr,
    out: UserAddr,
    mount_id: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | AT_HANDLE_FID | AT_HANDLE_MNT_ID_UNIQUE) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = At::read(task, fd, path)?.resolve_nofollow(&Walker::of(task), flags.0)?;
    let handle = task.kernel.vfs.handles.give(&place)?;
    let given: FileHandle = task.read_struct(out)?;
    if given.bytes > MAX_HANDLE_SZ {
        return Err(Errno::EINVAL);
    }
    if flags.0 & AT_HANDLE_MNT_ID_UNIQUE != 0 {
        task.write_struct(mount_id, &u64::from(place.mount.id))?;
    } else {
        task.write_struct(mount_id, &place.mount.id)?;
    }
    let head = FileHandle {
        bytes: HANDLE_BYTES,
        kind: HANDLE_TYPE,
    };
    if given.bytes < HANDLE_BYTES {
        task.write_struct(
            out,
            &FileHandle {
                kind: given.kind,
                ..head
            },
        )?;
        return Err(Errno::EOVERFLOW);
    }
    task.write_struct(out, &head)?;
    task.write_struct(out.add(FileHandle::SIZE as u64)?, &[handle.dev, handle.ino])
}

/// open_by_handle_at(2).
pub fn open_by_handle_at(task: &CurrentTask, mount: Fd, handle: UserAddr, flags: Flags) -> Result<Fd, Errno> {
    let walker = Walker::of(task);
    let at = if mount.0 == AT_FDCWD {
        walker.resolve(None, b".", LookupFlags::FOLLOW)?
    } else {
        task.fd(mount.0)?.path().clone()
    };
    if !walker.cred.has(Caps::DAC_READ_SEARCH) {
        return Err(Errno::EPERM);
    }
    let head: FileHandle = task.read_struct(handle)?;
    if head.bytes == 0 || head.bytes > MAX_HANDLE_SZ || head.kind < 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; head.bytes as usize];
    task.copy_in(handle.add(FileHandle::SIZE as u64)?, &mut bytes)?;
    if head.kind != HANDLE_TYPE || head.bytes != HANDLE_BYTES {
        return Err(Errno::ESTALE);
    }
    let [dev, ino] = <[u64; 2]>::get(&bytes);
    let place = task.kernel.vfs.handles.find(&at, Handle { dev, ino })?;
    let how = OpenHow {
        flags: flags.0 & !abi::fcntl::O_CREAT,
        mode: 0,
        resolve: LookupFlags::EMPTY,
    };
    let file = walker.open_how(Some(&place), b"", &how)?;
    let cloexec = flags.0 & abi::fcntl::O_CLOEXEC != 0;
    task.files()
        .install(file, cloexec, 0, task.group.fd_limit())
        .map(Fd)
}
