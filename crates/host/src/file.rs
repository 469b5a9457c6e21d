//! Files behind descriptors: attributes, data, extended attributes.
//!
//! Every function works on a descriptor that the caller owns; none takes a path. Names in directories are in [`crate::dir`].

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use abi::Errno;

use crate::call::check;

/// What statx(2) says of a file. Times are nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Device it is on, encoded as in stat(2).
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner, as our user namespace shows it.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Device number of a device node, encoded as in stat(2).
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks.
    pub blocks: u64,
    /// Preferred I/O size.
    pub blksize: u32,
    /// Last access.
    pub atime: i64,
    /// Last change of content.
    pub mtime: i64,
    /// Last change of the inode.
    pub ctime: i64,
    /// Creation, if the file system tells.
    pub btime: Option<i64>,
}

/// Linux's encoding of a device number for user space.
fn encode_dev(major: u32, minor: u32) -> u64 {
    u64::from((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

fn nanoseconds(time: &libc::statx_timestamp) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(time.tv_nsec))
}

/// statx(2) of `name` (NUL-terminated; empty for `fd` itself), following nothing.
pub(crate) fn statx(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    debug_assert_eq!(name.last(), Some(&0));
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let mut buf = MaybeUninit::<libc::statx>::uninit();
    // SAFETY: the name is NUL-terminated and the buffer has the structure's size.
    let ret = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            name.as_ptr().cast(),
            flags,
            mask,
            buf.as_mut_ptr(),
        )
    };
    check(ret.into())?;
    // SAFETY: the call succeeded and filled it.
    let raw = unsafe { buf.assume_init() };
    Ok(Stat {
        dev: encode_dev(raw.stx_dev_major, raw.stx_dev_minor),
        ino: raw.stx_ino,
        mode: u32::from(raw.stx_mode),
        nlink: raw.stx_nlink,
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        rdev: encode_dev(raw.stx_rdev_major, raw.stx_rdev_minor),
        size: raw.stx_size,
        blocks: raw.stx_blocks,
        blksize: raw.stx_blksize,
        atime: nanoseconds(&raw.stx_atime),
        mtime: nanoseconds(&raw.stx_mtime),
        ctime: nanoseconds(&raw.stx_ctime),
        btime: (raw.stx_mask & libc::STATX_BTIME != 0).then(|| nanoseconds(&raw.stx_btime)),
    })
}

/// Attributes of an open file (also O_PATH).
pub fn stat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    statx(fd, b"\0")
}

fn offset_of(offset: u64) -> Result<i64, Errno> {
    i64::try_from(offset).map_err(|_| Errno::EINVAL)
}

/// preadv2(2) with one buffer; `offset` of `None` means the file's own position (pipes, sockets).
fn read_with(fd: BorrowedFd<'_>, buf: &mut [u8], offset: Option<u64>, flags: i32) -> Result<usize, Errno> {
    let at = offset.map_or(Ok(-1), offset_of)?;
    let vector = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: the vector describes `buf`, which is writable.
    let got = unsafe { libc::preadv2(fd.as_raw_fd(), &vector, 1, at, flags) };
    check(got as libc::c_long).map(|got| got as usize)
}

/// pwritev2(2), likewise.
fn write_with(fd: BorrowedFd<'_>, data: &[u8], offset: Option<u64>, flags: i32) -> Result<usize, Errno> {
    let at = offset.map_or(Ok(-1), offset_of)?;
    let vector = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: the vector describes `data`, which the call only reads.
    let put = unsafe { libc::pwritev2(fd.as_raw_fd(), &vector, 1, at, flags) };
    check(put as libc::c_long).map(|put| put as usize)
}

/// Reads at `offset`.
pub fn read_at(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let at = offset_of(offset)?;
    // SAFETY: the buffer is writable.
    let got = unsafe { libc::pread64(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), at) };
    check(got as libc::c_long).map(|got| got as usize)
}

/// Writes at `offset`.
pub fn write_at(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize, Errno> {
    let at = offset_of(offset)?;
    // SAFETY: the call only reads the bytes.
    let put = unsafe { libc::pwrite64(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), at) };
    check(put as libc::c_long).map(|put| put as usize)
}

/// Writes at the end of the file, atomically.
pub fn append(fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize, Errno> {
    write_with(fd, data, Some(0), libc::RWF_APPEND)
}

/// Reads from a stream (pipe, socket, terminal) or at the file's own position.
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    read_with(fd, buf, None, 0)
}

/// Writes to a stream or at the file's own position.
pub fn write(fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize, Errno> {
    write_with(fd, data, None, 0)
}

/// Like [`read`], but `EAGAIN` rather than waiting; `EOPNOTSUPP` where the host cannot promise that.
pub fn read_nowait(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    read_with(fd, buf, None, libc::RWF_NOWAIT)
}

/// Where lseek(2) is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// SEEK_SET.
    Start,
    /// SEEK_CUR.
    Current,
    /// SEEK_END.
    End,
    /// SEEK_DATA.
    Data,
    /// SEEK_HOLE.
    Hole,
}

/// lseek(2).
pub fn seek(fd: BorrowedFd<'_>, offset: i64, whence: Seek) -> Result<u64, Errno> {
    let whence = match whence {
        Seek::Start => libc::SEEK_SET,
        Seek::Current => libc::SEEK_CUR,
        Seek::End => libc::SEEK_END,
        Seek::Data => libc::SEEK_DATA,
        Seek::Hole => libc::SEEK_HOLE,
    };
    // SAFETY: no memory is passed.
    check(unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) }).map(|at| at as u64)
}

/// ftruncate(2).
pub fn truncate(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    let size = offset_of(size)?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size) }.into()).map(drop)
}

/// fallocate(2) with its mode bits.
pub fn fallocate(fd: BorrowedFd<'_>, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
    let (offset, len) = (offset_of(offset)?, offset_of(len)?);
    // SAFETY: no memory is passed.
    check(unsafe { libc::fallocate(fd.as_raw_fd(), mode as i32, offset, len) }.into()).map(drop)
}

/// Frees the pages of a range, which then reads as zeroes.
pub fn punch_hole(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    fallocate(fd, mode as u32, offset, len)
}

/// fsync(2) or fdatasync(2).
pub fn sync(fd: BorrowedFd<'_>, data_only: bool) -> Result<(), Errno> {
    let raw = fd.as_raw_fd();
    // SAFETY: no memory is passed.
    let ret = unsafe {
        if data_only {
            libc::fdatasync(raw)
        } else {
            libc::fsync(raw)
        }
    };
    check(ret.into()).map(drop)
}

/// syncfs(2).
pub fn sync_filesystem(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syncfs(fd.as_raw_fd()) }.into()).map(drop)
}

/// Changes the owner, also of an O_PATH descriptor; `None` leaves one as it is.
pub fn chown(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let (uid, gid) = (uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX));
    let raw = fd.as_raw_fd();
    // SAFETY: the empty name is NUL-terminated.
    check(unsafe { libc::fchownat(raw, c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) }.into()).map(drop)
}

/// Changes the permission bits, also of an O_PATH descriptor (Linux 6.6; before that `ENOSYS`).
pub fn chmod(fd: BorrowedFd<'_>, perm: u32) -> Result<(), Errno> {
    const SYS_FCHMODAT2: libc::c_long = 452;
    let (raw, flags) = (fd.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the empty name is NUL-terminated.
    check(unsafe { libc::syscall(SYS_FCHMODAT2, raw, c"".as_ptr(), perm, flags) }).map(drop)
}

/// A new time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// As it is.
    Keep,
    /// The host's current time.
    Now,
    /// Nanoseconds since the epoch.
    At(i64),
}

impl Stamp {
    fn raw(self) -> libc::timespec {
        let (tv_sec, tv_nsec) = match self {
            Stamp::Keep => (0, libc::UTIME_OMIT),
            Stamp::Now => (0, libc::UTIME_NOW),
            Stamp::At(at) => (at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000)),
        };
        libc::timespec { tv_sec, tv_nsec }
    }
}

/// utimensat(2), also of an O_PATH descriptor.
pub fn set_times(fd: BorrowedFd<'_>, atime: Stamp, mtime: Stamp) -> Result<(), Errno> {
    let times = [atime.raw(), mtime.raw()];
    let raw = fd.as_raw_fd();
    // SAFETY: the empty name is NUL-terminated, and there are two times.
    check(unsafe { libc::utimensat(raw, c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) }.into()).map(drop)
}

/// statfs(2): the numbers that guests are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// f_type.
    pub magic: u64,
    /// f_bsize.
    pub block_size: u64,
    /// f_blocks, f_bfree, f_bavail.
    pub blocks: [u64; 3],
    /// f_files, f_ffree.
    pub files: [u64; 2],
    /// f_namelen.
    pub name_max: u64,
}

/// fstatfs(2), also of an O_PATH descriptor.
pub fn statfs(fd: BorrowedFd<'_>) -> Result<StatFs, Errno> {
    let mut buf = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the buffer has the structure's size.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), buf.as_mut_ptr()) }.into())?;
    // SAFETY: the call succeeded and filled it.
    let raw = unsafe { buf.assume_init() };
    Ok(StatFs {
        magic: raw.f_type as u64,
        block_size: raw.f_bsize as u64,
        blocks: [raw.f_blocks, raw.f_bfree, raw.f_bavail],
        files: [raw.f_files, raw.f_ffree],
        name_max: raw.f_namelen as u64,
    })
}

/// Longest value and list of extended attributes (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const XATTR_MAX: usize = 64 << 10;

fn xattr_name(name: &[u8]) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

/// fgetxattr(2); not for O_PATH descriptors.
pub fn get_xattr(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let name = xattr_name(name)?;
    let mut buf = vec![0u8; XATTR_MAX];
    // SAFETY: the name is NUL-terminated; pointer and length describe `buf`.
    let got = unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    buf.truncate(check(got as libc::c_long)? as usize);
    Ok(buf)
}

/// fsetxattr(2).
pub fn set_xattr(fd: BorrowedFd<'_>, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
    let name = xattr_name(name)?;
    let (data, len) = (value.as_ptr().cast(), value.len());
    // SAFETY: the name is NUL-terminated; pointer and length describe `value`.
    check(unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), data, len, flags as i32) }.into()).map(drop)
}

/// fremovexattr(2).
pub fn remove_xattr(fd: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let name = xattr_name(name)?;
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) }.into()).map(drop)
}

/// flistxattr(2): the names.
pub fn list_xattr(fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buf = vec![0u8; XATTR_MAX];
    // SAFETY: pointer and length describe `buf`.
    let got = unsafe { libc::flistxattr(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    buf.truncate(check(got as libc::c_long)? as usize);
    let names = buf.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// How a descriptor was opened; O_PATH gives neither access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// It can be read.
    pub reads: bool,
    /// It can be written.
    pub writes: bool,
    /// Every write goes to the end.
    pub appends: bool,
}

/// The access mode of a descriptor.
pub fn access(fd: BorrowedFd<'_>) -> Result<Access, Errno> {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())? as i32;
    let (mode, handle) = (flags & libc::O_ACCMODE, flags & libc::O_PATH != 0);
    Ok(Access {
        reads: !handle && mode != libc::O_WRONLY,
        writes: !handle && mode != libc::O_RDONLY,
        appends: flags & libc::O_APPEND != 0,
    })
}
