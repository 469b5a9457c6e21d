//! Host trees, on a temporary directory.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use kernel::vfs::{AttrChange, FileKind, NewInode};

use super::*;

/// A directory that is removed when the test ends.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tegmen-fs-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Scratch(dir)
    }

    pub fn handle(&self) -> OwnedFd {
        fs::File::open(&self.0).unwrap().into()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn own(path: &Path, kind: FileKind, perm: u32) -> NewInode {
    let meta = fs::metadata(path).unwrap();
    NewInode {
        kind,
        perm,
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: 0,
    }
}

fn writable(scratch: &Scratch) -> Arc<Inode> {
    mount(scratch.handle(), Options::default()).unwrap()
}

#[test]
fn names_are_found_and_links_are_not_followed() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), b"hello").unwrap();
    fs::hard_link(scratch.path("file"), scratch.path("twin")).unwrap();
    symlink("/etc/passwd", scratch.path("link")).unwrap();
    let root = writable(&scratch);
    let file = root.ops.lookup(b"file").unwrap();
    let attr = file.attr().unwrap();
    assert_eq!((attr.size, attr.nlink, attr.kind), (5, 2, FileKind::Regular));
    assert!(Arc::ptr_eq(&file, &root.ops.lookup(b"twin").unwrap()));
    let link = root.ops.lookup(b"link").unwrap();
    assert_eq!(link.kind, FileKind::Symlink);
    assert_eq!(link.ops.readlink().unwrap(), b"/etc/passwd");
    assert_eq!(root.ops.lookup(b"none").err(), Some(Errno::ENOENT));
    for odd in [&b".."[..], b".", b"a/b", b""] {
        assert_eq!(root.ops.lookup(odd).err(), Some(Errno::EINVAL));
    }
}

#[test]
fn a_read_only_tree_refuses_changes() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), b"").unwrap();
    let options = Options {
        read_only: true,
        shared: false,
    };
    let root = mount(scratch.handle(), options).unwrap();
    let file = root.ops.lookup(b"file").unwrap();
    let new = own(&scratch.0, FileKind::Regular, 0o644);
    assert_eq!(root.ops.create(b"x", &new).err(), Some(Errno::EROFS));
    assert_eq!(root.ops.unlink(b"file", &file).err(), Some(Errno::EROFS));
    let change = AttrChange {
        size: Some(0),
        ..AttrChange::default()
    };
    assert_eq!(file.ops.set_attr(&change).err(), Some(Errno::EROFS));
}

#[test]
fn changes_reach_the_host() {
    let scratch = Scratch::new();
    let root = writable(&scratch);
    let dir = root
        .ops
        .create(b"dir", &own(&scratch.0, FileKind::Directory, 0o770))
        .unwrap();
    assert_eq!(dir.attr().unwrap().perm, 0o770);
    let file = dir
        .ops
        .create(b"file", &own(&scratch.0, FileKind::Regular, 0o4666))
        .unwrap();
    assert_eq!(file.attr().unwrap().perm, 0o4666);
    let change = AttrChange {
        perm: Some(0o600),
        size: Some(10),
        mtime: Some(kernel::vfs::TimeChange::At(5_000_000_007)),
        ..AttrChange::default()
    };
    file.ops.set_attr(&change).unwrap();
    let attr = file.attr().unwrap();
    assert_eq!((attr.perm, attr.size, attr.mtime), (0o600, 10, 5_000_000_007));
    root.ops
        .symlink(b"link", b"dir/file", &own(&scratch.0, FileKind::Symlink, 0o777))
        .unwrap();
    assert_eq!(
        fs::read_link(scratch.path("link")).unwrap(),
        Path::new("dir/file")
    );
    dir.ops.link(b"twin", &file).unwrap();
    assert_eq!(file.attr().unwrap().nlink, 2);
    dir.ops.rename(b"file", &root, b"moved", 0).unwrap();
    assert!(Arc::ptr_eq(&file, &root.ops.lookup(b"moved").unwrap()));
    assert_eq!(root.ops.rmdir(b"dir", &dir).err(), Some(Errno::ENOTEMPTY));
    dir.ops.unlink(b"twin", &file).unwrap();
    root.ops.rmdir(b"dir", &dir).unwrap();
    assert_eq!(file.attr().unwrap().nlink, 1);
    assert_eq!(fs::read(scratch.path("moved")).unwrap(), [0; 10]);
}

#[test]
fn an_unlinked_file_is_still_known_to_its_users() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), b"hello").unwrap();
    let root = writable(&scratch);
    let file = root.ops.lookup(b"file").unwrap();
    root.ops.unlink(b"file", &file).unwrap();
    assert_eq!(file.attr().unwrap().nlink, 0);
    fs::write(scratch.path("file"), b"other").unwrap();
    assert!(!Arc::ptr_eq(&file, &root.ops.lookup(b"file").unwrap()));
}

#[test]
fn warm_attributes_cost_no_call_and_shared_ones_are_fresh() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), b"hello").unwrap();
    let cached = writable(&scratch).ops.lookup(b"file").unwrap();
    let options = Options {
        read_only: false,
        shared: true,
    };
    let root = mount(scratch.handle(), options).unwrap();
    let shared = root.ops.lookup(b"file").unwrap();
    fs::write(scratch.path("file"), b"longer than before").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1));
    assert_eq!(cached.attr().unwrap().size, 5);
    assert_eq!(shared.attr().unwrap().size, 18);
    assert!(cached.sb.ops.cacheable() && !shared.sb.ops.cacheable());
}

#[test]
fn more_directories_than_handles() {
    let scratch = Scratch::new();
    let root = writable(&scratch);
    let mut dirs = Vec::new();
    for number in 0..2300 {
        let name = format!("d{number}");
        fs::create_dir(scratch.path(&name)).unwrap();
        let dir = root.ops.lookup(name.as_bytes()).unwrap();
        assert_eq!(dir.ops.lookup(b"none").err(), Some(Errno::ENOENT));
        dirs.push(dir);
    }
    // A directory that was put where another was is not taken for it.
    fs::remove_dir(scratch.path("d0")).unwrap();
    fs::create_dir(scratch.path("d0")).unwrap();
    assert_eq!(dirs[0].ops.lookup(b"none").err(), Some(Errno::ESTALE));
    assert_eq!(dirs[1].ops.lookup(b"none").err(), Some(Errno::ENOENT));
}

#[test]
fn a_chain_deeper_than_the_stack_is_dropped() {
    let scratch = Scratch::new();
    let root = writable(&scratch);
    let mut dir = root.clone();
    let new = own(&scratch.0, FileKind::Directory, 0o755);
    for _ in 0..1000 {
        dir = dir.ops.create(b"d", &new).unwrap();
    }
    let small = std::thread::Builder::new().stack_size(32 << 10);
    small.spawn(move || drop(dir)).unwrap().join().unwrap();
    assert!(root.ops.lookup(b"d").is_ok());
}

/// An open file for calling operations directly.
pub fn opened(inode: &Arc<Inode>, flags: u32) -> Result<Arc<kernel::file::FileDescription>, Errno> {
    use kernel::vfs::{Dentry, Mount, MountFlags, Path};
    let dentry = Dentry::root(b"/", inode.clone());
    let path = Path {
        mount: Mount::new(dentry.clone(), b"none", MountFlags::empty()),
        dentry,
    };
    let ops = inode.ops.open(&path, flags)?;
    Ok(kernel::file::FileDescription::new(path, ops, flags))
}

/// All that can be read from `offset` on.
pub fn bytes(file: &kernel::file::FileDescription, offset: u64) -> Vec<u8> {
    let mut sink = kernel::io::VecSink::new(8 << 20);
    file.ops().read(file, offset, &mut sink).unwrap();
    sink.bytes
}

/// The names in an open directory, `batch` at a time.
pub fn names(file: &kernel::file::FileDescription, batch: usize) -> Vec<String> {
    struct Names(Vec<String>, usize);
    impl kernel::file::DirSink for Names {
        fn entry(&mut self, name: &[u8], _: u64, _: FileKind, _: u64) -> bool {
            let room = self.1 > 0;
            if room {
                self.0.push(String::from_utf8_lossy(name).into_owned());
                self.1 -= 1;
            }
            room
        }
    }
    let mut sink = Names(Vec::new(), batch);
    let mut at = 0;
    loop {
        let next = file.ops().readdir(file, at, &mut sink).unwrap();
        if next == at {
            sink.0.sort();
            return sink.0;
        }
        at = next;
        sink.1 = batch;
    }
}

#[test]
fn data_is_read_and_written() {
    use abi::fcntl::{O_RDONLY, O_RDWR};
    use kernel::file::Whence;
    let scratch = Scratch::new();
    let long: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    fs::write(scratch.path("file"), &long).unwrap();
    let root = writable(&scratch);
    let inode = root.ops.lookup(b"file").unwrap();
    let reader = opened(&inode, O_RDONLY).unwrap();
    assert_eq!(bytes(&reader, 0), long);
    assert_eq!(bytes(&reader, 2_999_998).len(), 2);
    let file = opened(&inode, O_RDWR).unwrap();
    file.ops()
        .write(&file, 1, &mut kernel::io::SliceSource(b"XYZ"))
        .unwrap();
    assert_eq!(&bytes(&reader, 0)[..5], b"\0XYZ\x04");
    let appended = file
        .ops()
        .append(&file, &mut kernel::io::SliceSource(b"end"))
        .unwrap();
    assert_eq!(appended, (3, 3_000_003));
    assert_eq!(inode.attr().unwrap().size, 3_000_003);
    assert_eq!(file.ops().seek(&file, 0, Whence::End, -3), Ok(3_000_000));
    assert_eq!(file.ops().seek(&file, 0, Whence::Hole, 0), Ok(3_000_003));
    assert!(
        file.ops()
            .map(&file, 4096, 4096, true, platform::Prot::all())
            .is_ok()
    );
    root.ops.unlink(b"file", &inode).unwrap();
    assert_eq!(bytes(&reader, 3_000_000), b"end");
    assert_eq!(inode.attr().unwrap().nlink, 0);
}

#[test]
fn a_new_file_lives_no_longer_than_it_is_open_or_has_a_name() {
    let scratch = Scratch::new();
    let root = writable(&scratch);
    let new = own(&scratch.0, FileKind::Regular, 0o400);
    // Made and opened: its mode forbids to write, whoever made it may nevertheless.
    let inode = root.ops.create(b"new", &new).unwrap();
    let file = opened(&inode, abi::fcntl::O_RDWR).unwrap();
    file.ops()
        .write(&file, 0, &mut kernel::io::SliceSource(b"text"))
        .unwrap();
    assert_eq!(inode.attr().unwrap().size, 4);
    drop(file);
    assert_eq!(fs::read(scratch.path("new")).unwrap(), b"text");
    assert_eq!(inode.attr().unwrap().perm, 0o400);
    // Made and never opened, then removed: who has its inode may still ask.
    let inode = root.ops.create(b"other", &new).unwrap();
    root.ops.unlink(b"other", &inode).unwrap();
    for number in 0..3000 {
        let name = format!("more{number}");
        root.ops.create(name.as_bytes(), &new).unwrap();
    }
    assert_eq!(inode.attr().unwrap().nlink, 0);
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 2600, "{open} descriptors");
}

#[test]
fn listings_survive_small_steps_and_changes() {
    let scratch = Scratch::new();
    for number in 0..100 {
        fs::write(scratch.path(&format!("f{number}")), b"").unwrap();
    }
    let root = writable(&scratch);
    let open = opened(&root, 0).unwrap();
    let once = names(&open, 1000);
    assert_eq!(once.len(), 102);
    assert_eq!(names(&open, 1), once);
    let victim = root.ops.lookup(b"f7").unwrap();
    root.ops.unlink(b"f7", &victim).unwrap();
    assert_eq!(names(&open, 10).len(), 101);
}

/// What somebody else does to the tree; events of this process do not count.
fn by_others(program: &str, path: &Path) {
    let status = std::process::Command::new(program).arg(path).status().unwrap();
    assert!(status.success());
    // As long as a change may go unnoticed.
    std::thread::sleep(std::time::Duration::from_millis(1));
}

#[test]
fn shared_directories_are_remembered_until_the_host_changes_them() {
    watch_changes();
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("dir")).unwrap();
    let options = Options {
        shared: true,
        ..Options::default()
    };
    let root = mount(scratch.handle(), options).unwrap();
    let dir = root.ops.lookup(b"dir").unwrap();
    let Some(state) = dir.ops.watch() else {
        // A host without such events.
        return;
    };
    let new = own(&scratch.path("dir"), FileKind::Regular, 0o644);
    dir.ops.create(b"ours", &new).unwrap();
    assert_eq!(dir.ops.watch(), Some(state), "own changes begin nothing new");
    by_others("touch", &scratch.path("dir/theirs"));
    let later = dir.ops.watch().unwrap();
    assert_ne!(later, state);
    by_others("rm", &scratch.path("dir/ours"));
    assert_ne!(dir.ops.watch().unwrap(), later);
    let links = dir.attr().unwrap().nlink;
    by_others("mkdir", &scratch.path("dir/sub"));
    assert_eq!(dir.attr().unwrap().nlink, links + 1);
}

#[test]
fn names_in_shared_trees_follow_the_host() {
    watch_changes();
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("dir")).unwrap();
    let options = Options {
        shared: true,
        ..Options::default()
    };
    let kernel = crate::testing::guest().kernel.clone();
    let root = mount(scratch.handle(), options).unwrap();
    let root = kernel
        .vfs
        .mount_root(root, b"volume", kernel::vfs::MountFlags::empty());
    let walker = kernel::vfs::Walker::as_root(&kernel, root);
    let found = |name: &str| {
        let path = format!("/dir/{name}");
        let flags = kernel::vfs::LookupFlags::FOLLOW;
        walker
            .resolve(None, path.as_bytes(), flags)
            .map(|path| path.dentry)
    };
    for _ in 0..2 {
        assert_eq!(found("a").err(), Some(Errno::ENOENT));
    }
    by_others("touch", &scratch.path("dir/a"));
    let first = found("a").unwrap();
    assert!(Arc::ptr_eq(&first, &found("a").unwrap()));
    by_others("rm", &scratch.path("dir/a"));
    assert_eq!(found("a").err(), Some(Errno::ENOENT));
    assert!(first.is_deleted());
    walker.mkdir(None, b"/dir/a", 0o755).unwrap();
    assert_eq!(found("a").unwrap().inode().unwrap().kind, FileKind::Directory);
    by_others("rmdir", &scratch.path("dir/a"));
    by_others("touch", &scratch.path("dir/a"));
    assert_eq!(found("a").unwrap().inode().unwrap().kind, FileKind::Regular);
}
