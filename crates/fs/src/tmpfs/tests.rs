//! Files in memory, through the operations that the VFS calls.

use std::sync::Arc;

use abi::Errno;
use kernel::vfs::{AttrChange, FileKind, Inode, NewInode, RENAME_EXCHANGE, RENAME_NOREPLACE};

use super::inode::TmpInode;
use super::{Options, mount};
use crate::memory::SandboxMemory;

fn root() -> Arc<Inode> {
    let options = Options::parse(b"mode=0755,size=1m").unwrap();
    mount(
        Arc::new(SandboxMemory::new().unwrap()),
        options.size.unwrap(),
        &options,
    )
    .unwrap()
}

fn new(kind: FileKind) -> NewInode {
    NewInode {
        kind,
        perm: 0o644,
        uid: 1,
        gid: 2,
        rdev: 0,
    }
}

fn store(inode: &Inode, at: Option<u64>, data: &[u8]) -> Result<u64, Errno> {
    inode.ops_as::<TmpInode>().unwrap().0.store(at, data)
}

#[test]
fn names_links_and_counts() {
    let root = root();
    let dir = root.ops.create(b"dir", &new(FileKind::Directory)).unwrap();
    assert_eq!(root.attr().unwrap().nlink, 3);
    let file = dir.ops.create(b"file", &new(FileKind::Regular)).unwrap();
    root.ops.link(b"hard", &file).unwrap();
    assert_eq!(file.attr().unwrap().nlink, 2);
    assert_eq!(
        dir.ops.create(b"file", &new(FileKind::Regular)).err(),
        Some(Errno::EEXIST)
    );
    assert_eq!(root.ops.rmdir(b"dir", &dir), Err(Errno::ENOTEMPTY));
    dir.ops.unlink(b"file", &file).unwrap();
    root.ops.rmdir(b"dir", &dir).unwrap();
    assert_eq!((file.attr().unwrap().nlink, root.attr().unwrap().nlink), (1, 2));
    assert_eq!(dir.attr().unwrap().nlink, 0);
}

#[test]
fn renames_replace_exchange_and_refuse() {
    let root = root();
    let a = root.ops.create(b"a", &new(FileKind::Regular)).unwrap();
    let b = root.ops.create(b"b", &new(FileKind::Regular)).unwrap();
    let dir = root.ops.create(b"dir", &new(FileKind::Directory)).unwrap();
    assert_eq!(
        root.ops.rename(b"a", &root, b"b", RENAME_NOREPLACE),
        Err(Errno::EEXIST)
    );
    assert_eq!(root.ops.rename(b"a", &root, b"dir", 0), Err(Errno::EISDIR));
    assert_eq!(root.ops.rename(b"dir", &root, b"a", 0), Err(Errno::ENOTDIR));
    root.ops
        .rename(b"a", &dir, b"moved", RENAME_EXCHANGE)
        .unwrap_err();
    root.ops.rename(b"a", &root, b"dir", RENAME_EXCHANGE).unwrap();
    assert!(Arc::ptr_eq(&root.ops.lookup(b"a").unwrap(), &dir));
    root.ops.rename(b"dir", &root, b"b", 0).unwrap();
    assert!(Arc::ptr_eq(&root.ops.lookup(b"b").unwrap(), &a));
    assert_eq!(b.attr().unwrap().nlink, 0);
}

#[test]
fn sizes_grow_shrink_and_are_bounded() {
    let root = root();
    let file = root.ops.create(b"f", &new(FileKind::Regular)).unwrap();
    assert_eq!(store(&file, Some(5000), b"x"), Ok(5001));
    assert_eq!(store(&file, None, b"yz"), Ok(5003));
    assert_eq!(store(&file, Some(1 << 20), b"x"), Err(Errno::ENOSPC));
    let resize = |size| {
        file.ops.set_attr(&AttrChange {
            size: Some(size),
            ..AttrChange::default()
        })
    };
    resize(4999).unwrap();
    resize(6000).unwrap();
    let bytes = file.ops_as::<TmpInode>().unwrap().0.bytes().unwrap().clone();
    let mut back = [1; 10];
    bytes.read_at(4998, &mut back).unwrap();
    assert_eq!(back, [0; 10]);
    assert_eq!(resize(u64::MAX), Err(Errno::EFBIG));
}

#[test]
fn options_are_checked() {
    assert_eq!(Options::parse(b"size=2k,uid=7").unwrap().size, Some(2048));
    for bad in [
        &b"sise=1"[..],
        b"size=1x",
        b"mode=9",
        b"uid=-1",
        b"size=99999999999g",
    ] {
        assert_eq!(Options::parse(bad), Err(Errno::EINVAL));
    }
}
