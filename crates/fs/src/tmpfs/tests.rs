//! System calls on a tmpfs root.

use abi::Errno;
use kernel::testing::Guest;

use super::{Options, TmpFs, new_root};

const AT_FDCWD: u64 = -100i64 as u64;
const O_RDWR: u64 = 2;
const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
const O_TRUNC: u64 = 0o1000;
const O_APPEND: u64 = 0o2000;
const O_DIRECTORY: u64 = 0o200000;
const O_NOFOLLOW: u64 = 0o400000;
const O_PATH: u64 = 0o10000000;
const O_TMPFILE: u64 = 0o20200000;

fn guest() -> Guest {
    guest_with(Options {
        mode: 0o755,
        ..Options::default()
    })
}

fn guest_with(options: Options) -> Guest {
    let guest = Guest::with_root(|kernel| new_root(kernel, &options).unwrap());
    guest.kernel.vfs.register_type(std::sync::Arc::new(TmpFs));
    guest
}

trait Shell {
    fn open(&self, path: &str, flags: u64) -> Result<u64, Errno>;
    fn path(&self, call: &str, path: &str, rest: &[u64]) -> Result<u64, Errno>;
    fn paths(&self, call: &str, old: &str, new: &str) -> Result<u64, Errno>;
    fn write(&self, fd: u64, data: &[u8]) -> Result<u64, Errno>;
    fn get(&self, fd: u64, len: usize) -> Vec<u8>;
    fn file(&self, path: &str, data: &[u8]);
    fn content(&self, path: &str) -> Vec<u8>;
    fn cwd(&self) -> String;
    fn names(&self, path: &str) -> Vec<String>;
    fn mode(&self, path: &str) -> u32;
}

impl Shell for Guest {
    fn open(&self, path: &str, flags: u64) -> Result<u64, Errno> {
        let path = self.string(path);
        self.call("openat", &[AT_FDCWD, path.0, flags, 0o644])
    }
    fn path(&self, call: &str, path: &str, rest: &[u64]) -> Result<u64, Errno> {
        let mut args = vec![self.string(path).0];
        args.extend(rest);
        self.call(call, &args)
    }
    fn paths(&self, call: &str, old: &str, new: &str) -> Result<u64, Errno> {
        let (old, new) = (self.string(old), self.string(new));
        self.call(call, &[old.0, new.0])
    }
    fn write(&self, fd: u64, data: &[u8]) -> Result<u64, Errno> {
        self.call("write", &[fd, self.bytes(data).0, data.len() as u64])
    }
    fn get(&self, fd: u64, len: usize) -> Vec<u8> {
        let room = self.room(len);
        let got = self.call("read", &[fd, room.0, len as u64]).unwrap();
        self.read(room, got as usize)
    }
    fn file(&self, path: &str, data: &[u8]) {
        let fd = self.open(path, O_RDWR | O_CREAT | O_TRUNC).unwrap();
        self.write(fd, data).unwrap();
        self.call("close", &[fd]).unwrap();
    }
    fn content(&self, path: &str) -> Vec<u8> {
        let fd = self.open(path, 0).unwrap();
        let data = self.get(fd, 4096);
        self.call("close", &[fd]).unwrap();
        data
    }
    fn cwd(&self) -> String {
        let room = self.room(256);
        let len = self.call("getcwd", &[room.0, 256]).unwrap() as usize;
        String::from_utf8(self.read(room, len - 1)).unwrap()
    }
    fn names(&self, path: &str) -> Vec<String> {
        let fd = self.open(path, O_DIRECTORY).unwrap();
        let room = self.room(1024);
        let mut names = Vec::new();
        loop {
            // Small, so that a listing takes several calls.
            let got = self.call("getdents64", &[fd, room.0, 64]).unwrap() as usize;
            if got == 0 {
                break;
            }
            let bytes = self.read(room, got);
            let mut at = 0;
            while at < got {
                let len = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
                let name = &bytes[at + 19..at + len];
                let end = name.iter().position(|byte| *byte == 0).unwrap();
                names.push(String::from_utf8(name[..end].to_vec()).unwrap());
                at += len;
            }
        }
        self.call("close", &[fd]).unwrap();
        names
    }
    fn mode(&self, path: &str) -> u32 {
        let room = self.room(144);
        self.path("stat", path, &[room.0]).unwrap();
        self.read_u32(abi::UserAddr(room.0 + 24))
    }
}

#[test]
fn bytes_written_are_read_back_at_any_offset() {
    let guest = guest();
    let fd = guest.open("/a", O_RDWR | O_CREAT).unwrap();
    assert_eq!(guest.write(fd, b"hello world"), Ok(11));
    assert_eq!(guest.call("lseek", &[fd, 6, 0]), Ok(6));
    assert_eq!(guest.get(fd, 100), b"world");
    assert_eq!(guest.get(fd, 100), b"");
    let data = guest.bytes(b"XY");
    assert_eq!(guest.call("pwrite64", &[fd, data.0, 2, 9000]), Ok(2));
    assert_eq!(
        guest.call("lseek", &[fd, 5000, 3]),
        Ok(8192),
        "a hole ends where data starts"
    );
    assert_eq!(guest.call("lseek", &[fd, 100, 4]), Ok(4096));
    assert_eq!(guest.call("lseek", &[fd, 9002, 3]), Err(Errno::ENXIO));
    let room = guest.room(16);
    assert_eq!(guest.call("pread64", &[fd, room.0, 16, 8998]), Ok(4));
    assert_eq!(guest.read(room, 4), b"\0\0XY");
    assert_eq!(
        guest.call("pread64", &[fd, room.0, 16, -1i64 as u64]),
        Err(Errno::EINVAL)
    );
    assert_eq!(guest.call("ftruncate", &[fd, 5]), Ok(0));
    assert_eq!(guest.content("/a"), b"hello");
    assert_eq!(guest.call("ftruncate", &[fd, 8]), Ok(0));
    assert_eq!(guest.content("/a"), b"hello\0\0\0");
}

#[test]
fn bad_addresses_give_efault_and_part_counts() {
    let guest = guest();
    let fd = guest.open("/a", O_RDWR | O_CREAT).unwrap();
    assert_eq!(guest.call("write", &[fd, guest.bad().0, 5]), Err(Errno::EFAULT));
    assert_eq!(guest.write(fd, b"hello"), Ok(5));
    let end = guest.unterminated();
    assert_eq!(
        guest.call("pread64", &[fd, end.0, 5, 0]),
        Ok(1),
        "one byte before the unmapped page"
    );
    assert_eq!(
        guest.call("pread64", &[fd, guest.bad().0, 5, 0]),
        Err(Errno::EFAULT)
    );
    assert_eq!(guest.call("read", &[77, end.0, 1]), Err(Errno::EBADF));
}

#[test]
fn append_goes_to_the_end_whatever_the_position() {
    let guest = guest();
    guest.file("/a", b"one");
    let fd = guest.open("/a", O_RDWR | O_APPEND).unwrap();
    assert_eq!(guest.write(fd, b"two"), Ok(3));
    assert_eq!(guest.call("lseek", &[fd, 0, 1]), Ok(6));
    assert_eq!(guest.content("/a"), b"onetwo");
}

#[test]
fn open_answers_linux_errnos() {
    let guest = guest();
    guest.file("/f", b"x");
    guest.path("mkdir", "/d", &[0o755]).unwrap();
    guest.paths("symlink", "/f", "/l").unwrap();
    guest.paths("symlink", "/loop", "/loop").unwrap();
    guest.paths("symlink", "/new", "/dangling").unwrap();
    assert_eq!(guest.open("/none", 0), Err(Errno::ENOENT));
    assert_eq!(guest.open("", 0), Err(Errno::ENOENT));
    assert_eq!(guest.open("/f/x", 0), Err(Errno::ENOTDIR));
    assert_eq!(guest.open("/f/", 0), Err(Errno::ENOTDIR));
    assert_eq!(guest.open("/d", O_RDWR), Err(Errno::EISDIR));
    assert_eq!(guest.open("/d/", O_RDWR | O_CREAT), Err(Errno::EISDIR));
    assert_eq!(guest.open("/n/", O_RDWR | O_CREAT), Err(Errno::EISDIR));
    assert_eq!(guest.open("/f", O_DIRECTORY), Err(Errno::ENOTDIR));
    assert_eq!(guest.open("/f", O_RDWR | O_CREAT | O_EXCL), Err(Errno::EEXIST));
    assert_eq!(guest.open("/l", O_NOFOLLOW), Err(Errno::ELOOP));
    assert_eq!(guest.open("/loop", 0), Err(Errno::ELOOP));
    assert_eq!(
        guest.open("/dangling", O_RDWR | O_CREAT | O_EXCL),
        Err(Errno::EEXIST)
    );
    assert_eq!(guest.open(&"/x".repeat(3000), 0), Err(Errno::ENAMETOOLONG));
    assert_eq!(
        guest.open(&format!("/{}", "n".repeat(256)), 0),
        Err(Errno::ENAMETOOLONG)
    );
    let fd = guest.open("/dangling", O_RDWR | O_CREAT).unwrap();
    guest.write(fd, b"made").unwrap();
    assert_eq!(
        guest.content("/new"),
        b"made",
        "O_CREAT goes through a dangling link"
    );
    let path = guest.open("/l", O_PATH | O_NOFOLLOW).unwrap();
    assert_eq!(guest.call("read", &[path, guest.room(4).0, 4]), Err(Errno::EBADF));
    let room = guest.room(64);
    let empty = guest.string("");
    assert_eq!(guest.call("readlinkat", &[path, empty.0, room.0, 64]), Ok(2));
    assert_eq!(guest.read(room, 2), b"/f");
    let bad = guest.unterminated();
    guest.task.copy_out(bad, b"x").unwrap();
    assert_eq!(guest.call("open", &[bad.0, 0, 0]), Err(Errno::EFAULT));
}

#[test]
fn names_are_made_moved_and_removed() {
    let guest = guest();
    guest.path("mkdir", "/d", &[0o755]).unwrap();
    guest.path("mkdir", "/d/e/", &[0o755]).unwrap();
    assert_eq!(guest.path("mkdir", "/d", &[0o755]), Err(Errno::EEXIST));
    assert_eq!(guest.path("mkdir", "/", &[0o755]), Err(Errno::EEXIST));
    guest.file("/d/a", b"A");
    guest.paths("link", "/d/a", "/b").unwrap();
    assert_eq!(guest.content("/b"), b"A");
    assert_eq!(guest.path("rmdir", "/d", &[]), Err(Errno::ENOTEMPTY));
    assert_eq!(guest.path("rmdir", "/b", &[]), Err(Errno::ENOTDIR));
    assert_eq!(guest.path("rmdir", "/d/.", &[]), Err(Errno::EINVAL));
    assert_eq!(guest.path("unlink", "/d", &[]), Err(Errno::EISDIR));
    assert_eq!(guest.paths("rename", "/d", "/d/e/f"), Err(Errno::EINVAL));
    assert_eq!(guest.paths("rename", "/d/e", "/d"), Err(Errno::ENOTEMPTY));
    assert_eq!(guest.paths("rename", "/b", "/d"), Err(Errno::EISDIR));
    assert_eq!(guest.paths("rename", "/d", "/b"), Err(Errno::ENOTDIR));
    guest.paths("rename", "/d/a", "/c").unwrap();
    assert_eq!(guest.names("/d"), [".", "..", "e"]);
    guest.paths("rename", "/d/e", "/e").unwrap();
    guest.path("rmdir", "/d", &[]).unwrap();
    assert_eq!(guest.open("/d", 0), Err(Errno::ENOENT));
    guest.path("unlink", "/b", &[]).unwrap();
    assert_eq!(guest.names("/"), [".", "..", "c", "e"]);
    assert_eq!(guest.content("/c"), b"A");
}

#[test]
fn rename_flags_swap_and_protect() {
    let guest = guest();
    guest.file("/a", b"A");
    guest.path("mkdir", "/d", &[0o755]).unwrap();
    guest.file("/d/b", b"B");
    let (a, b) = (guest.string("/a"), guest.string("/d/b"));
    let rename = |flags| guest.call("renameat2", &[AT_FDCWD, a.0, AT_FDCWD, b.0, flags]);
    assert_eq!(rename(1), Err(Errno::EEXIST));
    assert_eq!(rename(3), Err(Errno::EINVAL));
    assert_eq!(rename(2), Ok(0));
    assert_eq!(guest.content("/a"), b"B");
    assert_eq!(guest.content("/d/b"), b"A");
}

#[test]
fn an_open_file_outlives_its_name() {
    let guest = guest();
    let fd = guest.open("/a", O_RDWR | O_CREAT).unwrap();
    guest.write(fd, b"kept").unwrap();
    guest.path("unlink", "/a", &[]).unwrap();
    guest.file("/a", b"other");
    guest.call("lseek", &[fd, 0, 0]).unwrap();
    assert_eq!(guest.get(fd, 10), b"kept");
    let file = guest.task.fd(fd as i32).unwrap();
    assert_eq!(file.path().text(&guest.walker().root), b"/a (deleted)");
}

#[test]
fn the_working_directory_follows_renames_and_bounds_hold() {
    let guest = guest();
    guest.path("mkdir", "/d", &[0o755]).unwrap();
    guest.path("mkdir", "/d/e", &[0o755]).unwrap();
    guest.path("chdir", "/d/e", &[]).unwrap();
    assert_eq!(guest.cwd(), "/d/e");
    guest.paths("rename", "/d", "/x").unwrap();
    assert_eq!(guest.cwd(), "/x/e");
    guest.path("chdir", "../../../..", &[]).unwrap();
    assert_eq!(guest.cwd(), "/");
    guest.path("chroot", "/x", &[]).unwrap();
    assert_eq!(guest.open("/../../x", 0), Err(Errno::ENOENT));
    assert!(guest.open("/e", 0).is_ok());
    guest.path("chdir", "/e", &[]).unwrap();
    guest.path("rmdir", "/e", &[]).unwrap();
    let room = guest.room(64);
    assert_eq!(guest.call("getcwd", &[room.0, 64]), Err(Errno::ENOENT));
    assert_eq!(guest.open("f", O_RDWR | O_CREAT), Err(Errno::ENOENT));
}

#[test]
fn permissions_hold_for_users() {
    let guest = guest();
    guest.file("/secret", b"s");
    guest.path("chmod", "/secret", &[0o600]).unwrap();
    guest.path("mkdir", "/tmp", &[0]).unwrap();
    guest.path("chmod", "/tmp", &[0o1777]).unwrap();
    guest.file("/tmp/roots", b"r");
    guest.path("mkdir", "/shut", &[0o700]).unwrap();
    guest.become_user(1000, 1000);
    assert_eq!(guest.open("/secret", 0), Err(Errno::EACCES));
    assert_eq!(guest.path("chmod", "/secret", &[0o666]), Err(Errno::EPERM));
    assert_eq!(guest.open("/new", O_RDWR | O_CREAT), Err(Errno::EACCES));
    assert_eq!(guest.open("/shut/x", 0), Err(Errno::EACCES));
    assert_eq!(
        guest.path("unlink", "/tmp/roots", &[]),
        Err(Errno::EPERM),
        "sticky"
    );
    assert_eq!(guest.path("access", "/secret", &[4]), Err(Errno::EACCES));
    assert_eq!(guest.path("access", "/tmp", &[7]), Ok(0));
    guest.file("/tmp/mine", b"m");
    guest.path("chmod", "/tmp/mine", &[0o4755]).unwrap();
    assert_eq!(guest.mode("/tmp/mine"), 0o104755);
    let fd = guest.open("/tmp/mine", O_RDWR).unwrap();
    guest.write(fd, b"x").unwrap();
    assert_eq!(guest.mode("/tmp/mine"), 0o100755, "a write takes setuid off");
    assert_eq!(guest.path("chown", "/tmp/mine", &[0, 0]), Err(Errno::EPERM));
    guest.path("unlink", "/tmp/mine", &[]).unwrap();
    // A new file may be opened for writing whatever its mode says.
    let path = guest.string("/tmp/ro");
    assert!(
        guest
            .call("openat", &[AT_FDCWD, path.0, O_RDWR | O_CREAT, 0o400])
            .is_ok()
    );
}

#[test]
fn the_size_limit_and_tmpfile_work() {
    let guest = guest_with(Options {
        size: Some(8192),
        ..Options::default()
    });
    let fd = guest.open("/a", O_RDWR | O_CREAT).unwrap();
    assert_eq!(guest.write(fd, &[1; 8192]), Ok(8192));
    assert_eq!(guest.write(fd, &[1; 1]), Err(Errno::ENOSPC));
    guest.call("ftruncate", &[fd, 4096]).unwrap();
    assert_eq!(guest.call("lseek", &[fd, 0, 2]), Ok(4096));
    assert_eq!(guest.write(fd, &[1; 8192]), Ok(4096), "what fits is written");
    guest.path("unlink", "/a", &[]).unwrap();
    guest.call("close", &[fd]).unwrap();
    let fd = guest.open("/", O_RDWR | O_TMPFILE).unwrap();
    assert_eq!(guest.write(fd, &[2; 8192]), Ok(8192), "the pages came back");
    let (empty, name) = (guest.string(""), guest.string("/named"));
    let link = |flags| guest.call("linkat", &[fd, empty.0, AT_FDCWD, name.0, flags]);
    assert_eq!(link(0x1000), Ok(0));
    assert_eq!(guest.content("/named").len(), 4096);
}

#[test]
fn mounts_cover_and_uncover() {
    let guest = guest();
    guest.path("mkdir", "/m", &[0o755]).unwrap();
    guest.file("/m/under", b"u");
    let (none, target, kind) = (guest.string("none"), guest.string("/m"), guest.string("tmpfs"));
    let data = guest.string("mode=700,size=1m");
    guest
        .call("mount", &[none.0, target.0, kind.0, 0, data.0])
        .unwrap();
    assert_eq!(guest.mode("/m"), 0o040700);
    assert_eq!(guest.open("/m/under", 0), Err(Errno::ENOENT));
    guest.file("/m/over", b"o");
    assert_eq!(guest.paths("rename", "/m/over", "/over"), Err(Errno::EXDEV));
    assert_eq!(guest.path("rmdir", "/m", &[]), Err(Errno::EBUSY));
    guest.path("chdir", "/m", &[]).unwrap();
    assert_eq!(guest.cwd(), "/m");
    assert_eq!(guest.path("umount2", "/m", &[0]), Err(Errno::EBUSY));
    guest.path("chdir", "..", &[]).unwrap();
    assert_eq!(guest.cwd(), "/");
    // Shown elsewhere too, and made read-only there.
    guest.path("mkdir", "/b", &[0o755]).unwrap();
    let bind = guest.string("/b");
    guest.call("mount", &[target.0, bind.0, 0, 4096, 0]).unwrap();
    assert_eq!(guest.content("/b/over"), b"o");
    guest.call("mount", &[0, bind.0, 0, 4096 | 32 | 1, 0]).unwrap();
    assert_eq!(guest.open("/b/over", O_RDWR), Err(Errno::EROFS));
    assert_eq!(guest.open("/b/x", O_RDWR | O_CREAT), Err(Errno::EROFS));
    assert!(guest.open("/m/over", O_RDWR).is_ok());
    assert_eq!(guest.path("umount2", "/b", &[0]), Ok(0));
    assert_eq!(guest.path("umount2", "/m", &[2]), Ok(0));
    assert_eq!(guest.content("/m/under"), b"u");
}

#[test]
fn mounts_in_a_namespace_of_ones_own_stay_there() {
    let guest = guest();
    guest.path("mkdir", "/m", &[0o755]).unwrap();
    let (target, kind) = (guest.string("/m"), guest.string("tmpfs"));
    guest.call("mount", &[kind.0, target.0, kind.0, 0, 0]).unwrap();
    let before = guest.task.fs();
    guest.path("chdir", "/m", &[]).unwrap();
    const CLONE_NEWNS: u64 = 0x20000;
    guest.call("unshare", &[CLONE_NEWNS]).unwrap();
    assert_eq!(guest.cwd(), "/m");
    guest.path("chdir", "/", &[]).unwrap();
    guest.file("/m/both", b"b");
    guest.call("mount", &[kind.0, target.0, kind.0, 0, 0]).unwrap();
    assert_eq!(guest.names("/m"), [".", ".."]);
    let own = std::mem::replace(&mut *guest.task.fs.lock(), before);
    drop(own);
    assert_eq!(guest.names("/m"), [".", "..", "both"]);
    // Trees of namespaces that nobody is in are dropped on the way.
    let home = guest.task.fs();
    for _ in 0..20_000 {
        *guest.task.fs.lock() = home.clone();
        guest.call("unshare", &[CLONE_NEWNS]).unwrap();
    }
}

#[test]
fn pivot_root_swaps_the_tree() {
    let guest = guest();
    guest.path("mkdir", "/new", &[0o755]).unwrap();
    let (target, kind) = (guest.string("/new"), guest.string("tmpfs"));
    guest.call("mount", &[kind.0, target.0, kind.0, 0, 0]).unwrap();
    guest.path("mkdir", "/new/old", &[0o755]).unwrap();
    guest.paths("pivot_root", "/new", "/new/old").unwrap();
    assert_eq!(guest.names("/"), [".", "..", "old"]);
    assert_eq!(guest.names("/old"), [".", "..", "new"]);
    assert_eq!(guest.path("umount2", "/old", &[2]), Ok(0));
    assert_eq!(guest.names("/old"), [".", ".."]);
}

#[test]
fn openat2_confines_a_walk() {
    let guest = guest();
    guest.path("mkdir", "/d", &[0o755]).unwrap();
    guest.file("/d/f", b"f");
    guest.file("/out", b"o");
    guest.paths("symlink", "/out", "/d/abs").unwrap();
    guest.paths("symlink", "../out", "/d/up").unwrap();
    let dir = guest.open("/d", O_PATH).unwrap();
    let open = |path: &str, resolve: u64| {
        let mut how = [0u8; 24];
        how[16..].copy_from_slice(&resolve.to_le_bytes());
        let (path, how) = (guest.string(path), guest.bytes(&how));
        guest.call("openat2", &[dir, path.0, how.0, 24]).map(|_| ())
    };
    const BENEATH: u64 = 8;
    const IN_ROOT: u64 = 0x10;
    assert_eq!(open("f", BENEATH), Ok(()));
    assert_eq!(open("abs", BENEATH), Err(Errno::EXDEV));
    assert_eq!(open("up", BENEATH), Err(Errno::EXDEV));
    assert_eq!(open("/out", BENEATH), Err(Errno::EXDEV));
    assert_eq!(open("/f", IN_ROOT), Ok(()));
    assert_eq!(open("../f", IN_ROOT), Ok(()));
    assert_eq!(open("abs", IN_ROOT), Err(Errno::ENOENT));
    assert_eq!(open("up", 4), Err(Errno::ELOOP));
    assert_eq!(open("up", 0), Ok(()));
    assert_eq!(open("up", 0x100), Err(Errno::EINVAL));
}

#[test]
fn extended_attributes_and_times() {
    let guest = guest();
    guest.file("/a", b"");
    let (path, name) = (guest.string("/a"), guest.string("user.k"));
    let value = guest.bytes(b"value");
    let get = |size: u64, room: u64| guest.call("getxattr", &[path.0, name.0, room, size]);
    assert_eq!(get(0, 0), Err(Errno::ENODATA));
    assert_eq!(
        guest.call("setxattr", &[path.0, name.0, value.0, 5, 2]),
        Err(Errno::ENODATA)
    );
    assert_eq!(guest.call("setxattr", &[path.0, name.0, value.0, 5, 0]), Ok(0));
    assert_eq!(get(0, 0), Ok(5));
    assert_eq!(get(2, value.0), Err(Errno::ERANGE));
    let room = guest.room(64);
    assert_eq!(guest.call("listxattr", &[path.0, room.0, 64]), Ok(7));
    assert_eq!(guest.call("removexattr", &[path.0, name.0]), Ok(0));
    assert_eq!(get(0, 0), Err(Errno::ENODATA));
    let mut times = Vec::new();
    for number in [5i64, 7, 0, 0x3fff_fffe] {
        times.extend(number.to_le_bytes());
    }
    let times = guest.bytes(&times);
    guest.call("utimensat", &[AT_FDCWD, path.0, times.0, 0]).unwrap();
    let stat = guest.room(144);
    guest.call("stat", &[path.0, stat.0]).unwrap();
    assert_eq!(guest.read_u64(abi::UserAddr(stat.0 + 72)), 5);
    assert_eq!(guest.read_u64(abi::UserAddr(stat.0 + 80)), 7);
    assert!(guest.read_u64(abi::UserAddr(stat.0 + 88)) > 1_000_000_000);
}

#[test]
fn record_locks_split_and_conflict() {
    let guest = guest();
    let one = guest.open("/a", O_RDWR | O_CREAT).unwrap();
    let two = guest.open("/a", O_RDWR).unwrap();
    let flock = |kind: i16, start: i64, len: i64| {
        let mut bytes = [0u8; 32];
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&start.to_le_bytes());
        bytes[16..24].copy_from_slice(&len.to_le_bytes());
        guest.bytes(&bytes).0
    };
    const OFD_GETLK: u64 = 36;
    const OFD_SETLK: u64 = 37;
    assert_eq!(guest.call("fcntl", &[one, OFD_SETLK, flock(1, 0, 100)]), Ok(0));
    assert_eq!(
        guest.call("fcntl", &[two, OFD_SETLK, flock(0, 50, 10)]),
        Err(Errno::EAGAIN)
    );
    assert_eq!(guest.call("fcntl", &[one, OFD_SETLK, flock(2, 40, 30)]), Ok(0));
    assert_eq!(guest.call("fcntl", &[two, OFD_SETLK, flock(0, 50, 10)]), Ok(0));
    let asked = flock(1, 90, 0);
    assert_eq!(guest.call("fcntl", &[two, OFD_GETLK, asked]), Ok(0));
    assert_eq!(guest.read_u64(abi::UserAddr(asked + 8)), 70);
    assert_eq!(guest.read_u64(abi::UserAddr(asked + 16)), 30);
    guest.call("close", &[one]).unwrap();
    assert_eq!(guest.call("fcntl", &[two, OFD_SETLK, flock(1, 0, 0)]), Ok(0));
    // flock(2) locks are of their own.
    let three = guest.open("/a", O_RDWR).unwrap();
    assert_eq!(guest.call("flock", &[two, 2]), Ok(0));
    assert_eq!(guest.call("flock", &[three, 1 | 4]), Err(Errno::EAGAIN));
    assert_eq!(guest.call("flock", &[two, 8]), Ok(0));
    assert_eq!(guest.call("flock", &[three, 1 | 4]), Ok(0));
}

#[test]
fn watches_hear_of_changes() {
    let guest = guest();
    guest.path("mkdir", "/d", &[0o755]).unwrap();
    let fd = guest.call("inotify_init1", &[0o4000]).unwrap();
    let dir = guest.string("/d");
    assert_eq!(guest.call("inotify_add_watch", &[fd, dir.0, 0xfff]), Ok(1));
    guest.file("/d/f", b"x");
    guest.paths("rename", "/d/f", "/d/g").unwrap();
    guest.path("unlink", "/d/g", &[]).unwrap();
    let room = guest.room(4096);
    let got = guest.call("read", &[fd, room.0, 4096]).unwrap() as usize;
    let bytes = guest.read(room, got);
    let masks: Vec<u32> = bytes
        .chunks_exact(32)
        .map(|event| u32::from_le_bytes(event[4..8].try_into().unwrap()))
        .collect();
    assert_eq!(masks, [0x100, 0x20, 0x2, 0x8, 0x40, 0x80, 0x200]);
    assert_eq!(&bytes[16..18], b"f\0");
    assert_eq!(guest.call("inotify_rm_watch", &[fd, 1]), Ok(0));
    let got = guest.call("read", &[fd, room.0, 4096]).unwrap();
    assert_eq!(got, 16, "IN_IGNORED");
    assert_eq!(guest.call("read", &[fd, room.0, 4096]), Err(Errno::EAGAIN));
}

#[test]
fn descriptors_are_duplicated_and_closed() {
    let guest = guest();
    let fd = guest.open("/a", O_RDWR | O_CREAT).unwrap();
    assert_eq!(fd, 0);
    assert_eq!(guest.call("dup", &[fd]), Ok(1));
    assert_eq!(guest.call("dup2", &[fd, 7]), Ok(7));
    assert_eq!(guest.call("dup3", &[fd, 7, 0o2000000]), Ok(7));
    assert_eq!(guest.call("fcntl", &[7, 1, 0]), Ok(1));
    assert_eq!(guest.call("dup2", &[fd, 5000]), Err(Errno::EBADF));
    assert_eq!(guest.call("dup3", &[fd, fd, 0]), Err(Errno::EINVAL));
    assert_eq!(guest.call("fcntl", &[fd, 0, 5]), Ok(5));
    assert_eq!(guest.call("fcntl", &[fd, 0, 2000]), Err(Errno::EINVAL));
    guest.write(fd, b"shared").unwrap();
    assert_eq!(guest.call("lseek", &[7, 0, 1]), Ok(6), "one position");
    assert_eq!(guest.call("close_range", &[1, 5, 0]), Ok(0));
    assert_eq!(guest.call("close", &[1]), Err(Errno::EBADF));
    assert_eq!(guest.call("close", &[7]), Ok(0));
    assert_eq!(guest.call("fcntl", &[fd, 3, 0]), Ok(2 | 0o100000));
    assert_eq!(guest.call("fcntl", &[fd, 4, O_APPEND]), Ok(0));
    assert_eq!(guest.call("fcntl", &[fd, 3, 0]), Ok(2 | 0o100000 | O_APPEND));
}

#[test]
fn deep_trees_are_walked_and_dropped() {
    let guest = guest();
    guest.path("mkdir", "/m", &[0o755]).unwrap();
    let (target, kind) = (guest.string("/m"), guest.string("tmpfs"));
    guest.call("mount", &[kind.0, target.0, kind.0, 0, 0]).unwrap();
    guest.path("chdir", "/m", &[]).unwrap();
    let name = guest.string("d");
    for _ in 0..5000 {
        guest.call("mkdir", &[name.0, 0o755]).unwrap();
        guest.call("chdir", &[name.0]).unwrap();
    }
    let room = guest.room(16 << 10);
    assert_eq!(
        guest.call("getcwd", &[room.0, 16 << 10]),
        Err(Errno::ENAMETOOLONG)
    );
    guest.path("chdir", "/", &[]).unwrap();
    guest.path("umount2", "/m", &[2]).unwrap();
}

#[test]
fn sendfile_and_splice_move_bytes() {
    let guest = guest();
    guest.file("/a", &[7; 100_000]);
    let (a, b) = (
        guest.open("/a", 0).unwrap(),
        guest.open("/b", O_RDWR | O_CREAT).unwrap(),
    );
    assert_eq!(guest.call("sendfile", &[b, a, 0, 1 << 20]), Ok(100_000));
    assert_eq!(guest.call("lseek", &[b, 0, 1]), Ok(100_000));
    let pair = guest.room(8);
    guest.call("pipe2", &[pair.0, 0o4000]).unwrap();
    let (reader, writer) = (guest.read_u32(pair), guest.read_u32(abi::UserAddr(pair.0 + 4)));
    let (reader, writer) = (u64::from(reader), u64::from(writer));
    guest.call("lseek", &[a, 99_990, 0]).unwrap();
    assert_eq!(guest.call("splice", &[a, 0, writer, 0, 100, 0]), Ok(10));
    assert_eq!(guest.call("splice", &[reader, 0, b, 0, 100, 2]), Ok(10));
    assert_eq!(
        guest.call("splice", &[reader, 0, b, 0, 100, 2]),
        Err(Errno::EAGAIN)
    );
    assert_eq!(guest.call("lseek", &[b, 0, 2]), Ok(100_010));
    let offset = guest.bytes(&0u64.to_le_bytes());
    assert_eq!(guest.call("copy_file_range", &[a, offset.0, b, 0, 5, 0]), Ok(5));
    assert_eq!(guest.read_u64(offset), 5);
}
