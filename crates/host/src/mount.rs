//! Mounts by descriptor: open_tree(2), mount_setattr(2), fsmount(2), move_mount(2), pivot_root(2).

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use abi::Errno;

use crate::call::{c_path, check};

/// What a tree allows besides `nosuid` and `nodev`, which always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing can be changed through it.
    ReadOnly,
    /// Files can be changed as their owners and modes allow.
    ReadWrite,
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the callers pass a descriptor that the kernel has just made for them.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Cuts the caller's mount namespace off from later changes outside (MS_PRIVATE, recursively).
pub fn make_private() -> Result<(), Errno> {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    let none = std::ptr::null();
    // SAFETY: the target is a C string, the rest may be null for this flag.
    check(unsafe { libc::mount(none, c"/".as_ptr(), none, flags, std::ptr::null()) }.into()).map(drop)
}

/// A detached copy of the mounts at and below `path`: what `mount --rbind` would show elsewhere.
pub fn clone_tree(path: &Path) -> Result<OwnedFd, Errno> {
    open_tree(path, libc::AT_RECURSIVE as u32)
}

/// A detached copy of the mount at `path` alone (`mount --bind`). `EINVAL` in a namespace whose mounts are locked together.
pub fn clone_mount(path: &Path) -> Result<OwnedFd, Errno> {
    open_tree(path, 0)
}

fn open_tree(path: &Path, recursive: u32) -> Result<OwnedFd, Errno> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: the path is a C string.
    check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) }).map(owned)
}

/// Restricts a tree, with everything mounted below it.
pub fn restrict(tree: BorrowedFd<'_>, access: Access) -> Result<(), Errno> {
    set_attributes(tree, access, libc::AT_RECURSIVE)
}

/// Restricts a mount, but not those below it.
pub fn restrict_one(mount: BorrowedFd<'_>, access: Access) -> Result<(), Errno> {
    set_attributes(mount, access, 0)
}

fn set_attributes(tree: BorrowedFd<'_>, access: Access, recursive: libc::c_int) -> Result<(), Errno> {
    let mut set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if access == Access::ReadOnly {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // SAFETY: the path is an empty C string and `attr` has the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// A new file system, detached, with these options (`""` as value: a flag).
pub fn new_filesystem(kind: &CStr, options: &[(&CStr, &CStr)]) -> Result<OwnedFd, Errno> {
    const SET_STRING: u32 = 1;
    const CREATE: u32 = 6;
    const CLOEXEC: u32 = 1;
    // SAFETY: the name is a C string.
    let context = owned(check(unsafe {
        libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC)
    })?);
    let fd = context.as_raw_fd();
    for (key, value) in options {
        // SAFETY: key and value are C strings.
        check(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                fd,
                SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        })?;
    }
    let none: *const libc::c_char = std::ptr::null();
    // SAFETY: this command takes no strings.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, CREATE, none, none, 0) })?;
    let attr = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, attr) }).map(owned)
}

/// Attaches a detached tree at `name` below the directory `at` (`"."`: at the directory itself).
pub fn attach(tree: BorrowedFd<'_>, at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    const F_EMPTY_PATH: u32 = 4;
    // SAFETY: both paths are C strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            at.as_raw_fd(),
            name.as_ptr(),
            F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Attaches a detached tree over what `place` is a handle of, a directory or another file.
pub fn attach_over(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    const F_EMPTY_PATH: u32 = 4;
    const T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: both paths are empty C strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            F_EMPTY_PATH | T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Opens a path inside `root` as a handle (O_PATH): links are followed as if `root` were the root directory (openat2(2)).
pub fn open_inside(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let mut how: libc::open_how = {
        // SAFETY: a structure of numbers, for which zero is allowed.
        unsafe { MaybeUninit::zeroed().assume_init() }
    };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path is a C string and `how` has the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &how,
            size_of::<libc::open_how>(),
        )
    })
    .map(owned)
}

/// Whether something is mounted at `name` of the directory `at`. A name that does not exist is no mount point.
pub fn is_mount_point(at: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the name is a C string and `found` has room for the structure.
    match check(unsafe { libc::statx(at.as_raw_fd(), name.as_ptr(), flags, 0, found.as_mut_ptr()) }.into()) {
        // SAFETY: zeroed at first, and any bytes are a valid structure of numbers.
        Ok(_) => Ok(unsafe { found.assume_init() }.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// mkdirat(2), mode 0755.
pub fn make_dir(at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the name is a C string.
    check(unsafe { libc::mkdirat(at.as_raw_fd(), name.as_ptr(), 0o755) }.into()).map(drop)
}

/// Creates an empty file, mode 0644.
pub fn make_file(at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: the name is a C string.
    check(unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags, 0o644) }.into())
        .map(|fd| drop(owned(fd)))
}

/// Opens a directory or file by one name, following no link, as a handle for `*at` calls (O_PATH).
pub fn open_handle(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name is a C string.
    check(unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags) }.into()).map(owned)
}

/// Opens a file by one name, following no link, for its bytes.
pub fn open_file(at: BorrowedFd<'_>, name: &CStr, access: Access) -> Result<OwnedFd, Errno> {
    let mode = if access == Access::ReadOnly {
        libc::O_RDONLY
    } else {
        libc::O_RDWR
    };
    let flags = mode | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the name is a C string.
    check(unsafe { libc::openat(at.as_raw_fd(), name.as_ptr(), flags) }.into()).map(owned)
}

/// Opens a path of the caller's, links followed, as a handle (O_PATH).
pub fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    let path = c_path(path)?;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    check(unsafe { libc::open(path.as_ptr(), flags) }.into()).map(owned)
}

/// Makes `tree` the caller's root and current directory, and detaches the old root with all that is mounted in it.
///
/// `scratch` is any directory; the tree is mounted over it for the moment of the change.
pub fn pivot_into(tree: BorrowedFd<'_>, scratch: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(tree, scratch, c".")?;
    let here = c".".as_ptr();
    // SAFETY: no memory is passed.
    check(unsafe { libc::fchdir(tree.as_raw_fd()) }.into())?;
    // SAFETY: both paths are C strings. With "." twice the old root ends up mounted over the new one (pivot_root(2), NOTES).
    check(unsafe { libc::syscall(libc::SYS_pivot_root, here, here) })?;
    // SAFETY: the path is a C string.
    check(unsafe { libc::umount2(here, libc::MNT_DETACH) }.into())?;
    // SAFETY: the path is a C string.
    check(unsafe { libc::chdir(c"/".as_ptr()) }.into()).map(drop)
}
