//! Layers on temporary directories.

use std::fs;

use abi::fcntl::{O_RDONLY, O_RDWR};
use kernel::io::SliceSource;
use kernel::vfs::{AttrChange, FilesystemType, NewInode, RENAME_EXCHANGE};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::hostfs::tests::{Scratch, bytes, names, opened};
use crate::hostfs::{self, Options};

struct Layers {
    lower: Scratch,
    upper: Scratch,
}

impl Layers {
    fn new() -> Layers {
        let (lower, upper) = (Scratch::new(), Scratch::new());
        fs::write(lower.path("file"), b"lower").unwrap();
        fs::hard_link(lower.path("file"), lower.path("twin")).unwrap();
        fs::create_dir_all(lower.path("dir/sub")).unwrap();
        fs::write(lower.path("dir/a"), b"a").unwrap();
        fs::write(lower.path("dir/b"), b"b").unwrap();
        fs::write(lower.path("dir/sub/deep"), b"deep").unwrap();
        symlink("dir/a", lower.path("link")).unwrap();
        Layers { lower, upper }
    }

    fn mount(&self) -> Arc<Inode> {
        let read_only = Options {
            read_only: true,
            shared: false,
        };
        let lower = hostfs::mount(self.lower.handle(), read_only).unwrap();
        let upper = hostfs::mount(self.upper.handle(), Options::default()).unwrap();
        mount(vec![lower], upper).unwrap()
    }

    fn new_file(&self, kind: FileKind) -> NewInode {
        let meta = fs::metadata(&self.upper.0).unwrap();
        NewInode {
            kind,
            perm: 0o644,
            uid: meta.uid(),
            gid: meta.gid(),
            rdev: 0,
        }
    }
}

fn at(root: &Arc<Inode>, path: &str) -> Result<Arc<Inode>, Errno> {
    path.split('/')
        .try_fold(root.clone(), |dir, name| dir.ops.lookup(name.as_bytes()))
}

fn write(inode: &Arc<Inode>, offset: u64, text: &[u8]) {
    let file = opened(inode, O_RDWR).unwrap();
    file.ops().write(&file, offset, &mut SliceSource(text)).unwrap();
}

fn listed(inode: &Arc<Inode>) -> Vec<String> {
    let all = names(&opened(inode, O_RDONLY).unwrap(), 3);
    all.into_iter()
        .filter(|name| name != "." && name != "..")
        .collect()
}

#[test]
fn a_write_copies_up_and_open_files_see_it() {
    let layers = Layers::new();
    let root = layers.mount();
    let inode = at(&root, "dir/a").unwrap();
    let before = inode.attr().unwrap();
    let reader = opened(&inode, O_RDONLY).unwrap();
    assert_eq!(bytes(&reader, 0), b"a");
    write(&inode, 1, b"fter");
    assert_eq!(bytes(&reader, 0), b"after");
    let after = inode.attr().unwrap();
    assert_eq!(
        (before.ino, before.nlink, after.size),
        (after.ino, after.nlink, 5)
    );
    assert_eq!(fs::read(layers.lower.path("dir/a")).unwrap(), b"a");
    assert_eq!(fs::read(layers.upper.path("root/dir/a")).unwrap(), b"after");
    // Also when nobody held it meanwhile.
    drop((inode, reader));
    assert_eq!(at(&root, "dir/a").unwrap().attr().unwrap().ino, before.ino);
    assert_eq!(listed(&at(&root, "dir").unwrap()), ["a", "b", "sub"]);
}

#[test]
fn attributes_are_copied() {
    let layers = Layers::new();
    fs::set_permissions(layers.lower.path("file"), fs::Permissions::from_mode(0o4711)).unwrap();
    let root = layers.mount();
    let inode = at(&root, "file").unwrap();
    let before = inode.attr().unwrap();
    let change = AttrChange {
        atime: Some(kernel::vfs::TimeChange::At(1)),
        ..AttrChange::default()
    };
    inode.ops.set_attr(&change).unwrap();
    let after = inode.attr().unwrap();
    assert_eq!(
        (after.perm, after.mtime, after.uid, after.size, after.atime),
        (0o4711, before.mtime, before.uid, before.size, 1)
    );
    assert_eq!(bytes(&opened(&inode, O_RDONLY).unwrap(), 0), b"lower");
}

#[test]
fn hard_links_stay_one_file() {
    let layers = Layers::new();
    let root = layers.mount();
    let file = at(&root, "file").unwrap();
    assert!(Arc::ptr_eq(&file, &at(&root, "twin").unwrap()));
    write(&file, 0, b"L");
    assert_eq!(
        bytes(&opened(&at(&root, "twin").unwrap(), O_RDONLY).unwrap(), 0),
        b"Lower"
    );
    // The name that the copy has in the upper layer.
    root.ops.unlink(b"twin", &file).unwrap();
    assert_eq!(at(&root, "twin").err(), Some(Errno::ENOENT));
    assert_eq!(file.attr().unwrap().nlink, 1);
    drop(file);
    let file = at(&root, "file").unwrap();
    assert_eq!(bytes(&opened(&file, O_RDONLY).unwrap(), 0), b"Lower");
    root.ops.link(b"again", &file).unwrap();
    assert_eq!(at(&root, "again").unwrap().attr().unwrap().nlink, 2);
}

#[test]
fn removed_names_stay_hidden_and_can_be_taken_again() {
    let layers = Layers::new();
    let root = layers.mount();
    let dir = at(&root, "dir").unwrap();
    assert_eq!(root.ops.rmdir(b"dir", &dir).err(), Some(Errno::ENOTEMPTY));
    let before = dir.attr().unwrap().mtime;
    for name in ["a", "b"] {
        let victim = at(&dir, name).unwrap();
        dir.ops.unlink(name.as_bytes(), &victim).unwrap();
    }
    assert!(dir.attr().unwrap().mtime > before);
    let sub = at(&dir, "sub").unwrap();
    sub.ops.unlink(b"deep", &at(&sub, "deep").unwrap()).unwrap();
    dir.ops.rmdir(b"sub", &sub).unwrap();
    assert_eq!(listed(&dir), [""; 0]);
    root.ops.rmdir(b"dir", &dir).unwrap();
    drop((dir, sub));
    assert_eq!(at(&root, "dir").err(), Some(Errno::ENOENT));
    assert_eq!(listed(&root), ["file", "link", "twin"]);
    let new = root
        .ops
        .create(b"dir", &layers.new_file(FileKind::Directory))
        .unwrap();
    assert_eq!(listed(&new), [""; 0]);
    assert_eq!(at(&root, "dir/a").err(), Some(Errno::ENOENT));
    assert!(layers.lower.path("dir/sub/deep").exists());
}

#[test]
fn a_lower_directory_moves_with_all_it_holds() {
    let layers = Layers::new();
    let root = layers.mount();
    let ino = at(&root, "dir/sub").unwrap().attr().unwrap().ino;
    root.ops.rename(b"dir", &root, b"moved", 0).unwrap();
    assert_eq!(at(&root, "dir").err(), Some(Errno::ENOENT));
    let sub = at(&root, "moved/sub").unwrap();
    assert_eq!(sub.attr().unwrap().ino, ino);
    write(&at(&sub, "deep").unwrap(), 0, b"D");
    sub.ops
        .create(b"new", &layers.new_file(FileKind::Regular))
        .unwrap();
    assert_eq!(listed(&at(&root, "moved/sub").unwrap()), ["deep", "new"]);
    assert_eq!(
        fs::read(layers.upper.path("root/moved/sub/deep")).unwrap(),
        b"Deep"
    );
    let moved = at(&root, "moved").unwrap();
    moved.ops.rename(b"a", &root, b"file", 0).unwrap();
    assert_eq!(
        bytes(&opened(&at(&root, "file").unwrap(), O_RDONLY).unwrap(), 0),
        b"a"
    );
    assert_eq!(at(&root, "twin").unwrap().attr().unwrap().nlink, 1);
    assert_eq!(listed(&moved), ["b", "sub"]);
    moved.ops.rename(b"b", &root, b"link", RENAME_EXCHANGE).unwrap();
    assert_eq!(at(&root, "moved/b").unwrap().ops.readlink().unwrap(), b"dir/a");
    assert_eq!(at(&root, "link").unwrap().kind, FileKind::Regular);
}

#[test]
fn lower_directories_are_merged() {
    let (top, layers) = (Scratch::new(), Layers::new());
    fs::create_dir(top.path("dir")).unwrap();
    fs::write(top.path("dir/a"), b"top").unwrap();
    fs::write(top.path("dir/c"), b"c").unwrap();
    let options = Options {
        read_only: true,
        shared: false,
    };
    let lowers = [&top, &layers.lower].map(|dir| hostfs::mount(dir.handle(), options).unwrap());
    let upper = hostfs::mount(layers.upper.handle(), Options::default()).unwrap();
    let root = mount(lowers.to_vec(), upper).unwrap();
    let dir = at(&root, "dir").unwrap();
    assert_eq!(listed(&dir), ["a", "b", "c", "sub"]);
    let a = at(&dir, "a").unwrap();
    assert_eq!(bytes(&opened(&a, O_RDONLY).unwrap(), 0), b"top");
    dir.ops.unlink(b"a", &a).unwrap();
    assert_eq!(at(&dir, "a").err(), Some(Errno::ENOENT));
    assert_eq!(listed(&dir), ["b", "c", "sub"]);
}

#[test]
fn files_are_copied_into_memory_by_several_at_once() {
    let layers = Layers::new();
    let big: Vec<u8> = (0..4_000_000_u32).map(|n| (n / 1000) as u8).collect();
    fs::write(layers.lower.path("dir/big"), &big).unwrap();
    let lower = hostfs::mount(
        layers.lower.handle(),
        Options {
            read_only: true,
            shared: false,
        },
    );
    let kernel = kernel::testing::Guest::new().kernel.clone();
    let upper = crate::tmpfs::TmpFs
        .mount(&kernel, b"upper", MountFlags::empty(), b"")
        .unwrap();
    let root = mount(vec![lower.unwrap()], upper).unwrap();
    std::thread::scope(|scope| {
        for at in 0..4_u64 {
            let root = &root;
            scope.spawn(move || write(&at_big(root), at, &[b'0' + at as u8]));
        }
    });
    let read = bytes(&opened(&at_big(&root), O_RDONLY).unwrap(), 0);
    assert_eq!(&read[..6], b"0123\0\0");
    assert!(read[4..] == big[4..]);
    // Its name went while it was only in the lower layer, but it is open.
    let (dir, victim) = (at(&root, "dir").unwrap(), at(&root, "dir/b").unwrap());
    let open = opened(&victim, O_RDONLY).unwrap();
    dir.ops.unlink(b"b", &victim).unwrap();
    write(&victim, 0, b"B");
    assert_eq!(bytes(&open, 0), b"B");
    assert_eq!(victim.attr().unwrap().nlink, 0);
    assert_eq!(at(&root, "dir/b").err(), Some(Errno::ENOENT));
}

fn at_big(root: &Arc<Inode>) -> Arc<Inode> {
    at(root, "dir/big").unwrap()
}

#[test]
fn a_listing_that_is_out_of_date_is_not_kept() {
    let layers = Layers::new();
    let root = layers.mount();
    let dir = at(&root, "dir").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = listed(&dir);
            }
        });
        let wrong = (0..300).find(|number| {
            let name = format!("new{number}");
            let new = layers.new_file(FileKind::Regular);
            dir.ops.create(name.as_bytes(), &new).unwrap();
            std::thread::yield_now();
            let seen = listed(&dir).contains(&name);
            let made = at(&dir, &name).unwrap();
            dir.ops.unlink(name.as_bytes(), &made).unwrap();
            std::thread::yield_now();
            !seen || listed(&dir).contains(&name)
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(wrong, None);
    });
}
