//! devpts: the slaves of open pseudoterminals by number, and `ptmx`. One instance, however often it is mounted.

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::vfs::{AttrChange, FileKind, FilesystemType, Inode, MountFlags, make_dev};
use sync::{Mutex, rank};

use crate::devfs::DeviceNode;
use crate::kernfs::{KernSuper, Listed, Meta, Node, root_inode};
use crate::tty::{SLAVE_MAJOR, TTY_MAJOR, Terminals, Tty};

/// DEVPTS_SUPER_MAGIC.
const MAGIC: u64 = 0x1cd1;

/// The type `devpts`.
pub struct DevPts {
    terminals: Arc<Terminals>,
    root: Mutex<Option<Arc<Inode>>>,
}

impl DevPts {
    /// The type, showing these terminals.
    pub fn new(terminals: Arc<Terminals>) -> DevPts {
        DevPts {
            terminals,
            root: Mutex::new(rank::FS, None),
        }
    }
}

impl FilesystemType for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn for_user_namespaces(&self) -> bool {
        true
    }

    fn mount(
        &self,
        _kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        _data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let make = || instance(&self.terminals);
        let inode = self.root.lock().get_or_insert_with(make).clone();
        self.terminals.set_directory(&inode);
        Ok(inode)
    }
}

/// The root of an instance.
pub fn instance(terminals: &Arc<Terminals>) -> Arc<Inode> {
    let sb = KernSuper::superblock("devpts", MAGIC, false);
    root_inode(&sb, Arc::new(Directory(terminals.clone())))
}

struct Directory(Arc<Terminals>);

impl Node for Directory {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        Ok(Meta::root(0o755))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        if name == b"ptmx" {
            return Ok(Arc::new(DeviceNode {
                perm: 0o666,
                number: (TTY_MAJOR, 2),
            }));
        }
        let text = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let index: u32 = text.parse().map_err(|_| Errno::ENOENT)?;
        if index.to_string() != text {
            return Err(Errno::ENOENT);
        }
        let tty = self.0.get(index).ok_or(Errno::ENOENT)?;
        Ok(Arc::new(SlaveNode(tty)))
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        let mut names = vec![Listed::new("ptmx", FileKind::CharDevice)];
        let numbers = self.0.numbers();
        names.extend(
            numbers
                .iter()
                .map(|index| Listed::new(index.to_string(), FileKind::CharDevice)),
        );
        Ok(names)
    }
}

/// /dev/pts/N.
struct SlaveNode(Arc<Tty>);

impl Node for SlaveNode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }
    fn meta(&self) -> Result<Meta, Errno> {
        let (uid, gid, perm) = self.0.lock().node;
        Ok(Meta {
            perm,
            uid,
            gid,
            size: 0,
            rdev: make_dev(SLAVE_MAJOR, self.0.index),
        })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn std::any::Any).downcast_ref::<Self>();
        other.is_some_and(|other| Arc::ptr_eq(&self.0, &other.0))
    }
    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        let mut state = self.0.lock();
        let (uid, gid, perm) = &mut state.node;
        *uid = change.uid.unwrap_or(*uid);
        *gid = change.gid.unwrap_or(*gid);
        *perm = change.perm.unwrap_or(*perm);
        Ok(())
    }
}
