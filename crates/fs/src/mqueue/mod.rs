//! mqueue: POSIX message queues by name (mq_overview(7)). Reading one tells its size, unlinking removes it.
//! Queues are made by mq_open(3) only.

use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::Kernel;
use kernel::cred::Caps;
use kernel::ipc::mq::Mq;
use kernel::task::current;
use kernel::vfs::{FileKind, FilesystemType, Inode, MountFlags};

use crate::kernfs::{KernSuper, Listed, Meta, Node, root_inode};

/// MQUEUE_MAGIC.
const MAGIC: u64 = 0x1980_0202;
/// Size that stat(2) shows of a queue.
const SHOWN_SIZE: u64 = 80;

/// The type `mqueue`.
pub struct MqueueFs;

impl FilesystemType for MqueueFs {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn for_user_namespaces(&self) -> bool {
        true
    }

    fn mount(
        &self,
        kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        _data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let sb = KernSuper::superblock("mqueue", MAGIC, false);
        Ok(root_inode(&sb, Arc::new(Directory(Arc::downgrade(kernel)))))
    }
}

struct Directory(Weak<Kernel>);

impl Directory {
    fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.0.upgrade().ok_or(Errno::ENODEV)
    }
}

impl Node for Directory {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        Ok(Meta::root(0o1777))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let kernel = self.kernel()?;
        let ipc = kernel.current_ipc();
        let queue = ipc.mqs.lock().get(name).cloned();
        Ok(Arc::new(QueueNode(queue.ok_or(Errno::ENOENT)?)))
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        let kernel = self.kernel()?;
        let ipc = kernel.current_ipc();
        let queues = ipc.mqs.lock();
        let names = queues.keys();
        Ok(names
            .map(|name| Listed::new(name.clone(), FileKind::Regular))
            .collect())
    }
    fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        let kernel = self.kernel()?;
        let gone = {
            let ipc = kernel.current_ipc();
            let mut queues = ipc.mqs.lock();
            let owner = queues.get(name).ok_or(Errno::ENOENT)?.owner.0;
            let mine = |cred: &kernel::cred::Credentials| cred.fsuid == owner || cred.has(Caps::FOWNER);
            if current().is_some_and(|task| !mine(&task.cred())) {
                return Err(Errno::EPERM);
            }
            queues.remove(name)
        };
        drop(gone);
        Ok(())
    }
}

struct QueueNode(Arc<Mq>);

impl Node for QueueNode {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }
    fn meta(&self) -> Result<Meta, Errno> {
        let (uid, gid, perm) = self.0.owner;
        Ok(Meta {
            perm,
            uid,
            gid,
            size: SHOWN_SIZE,
            rdev: 0,
        })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn std::any::Any).downcast_ref::<Self>();
        other.is_some_and(|other| Arc::ptr_eq(&self.0, &other.0))
    }
    fn text(&self) -> Result<Vec<u8>, Errno> {
        let bytes = self.0.bytes();
        Ok(format!(
            "QSIZE:{bytes:<10} NOTIFY:{:<5} SIGNO:{:<5} NOTIFY_PID:{:<6}\n",
            0, 0, 0
        )
        .into_bytes())
    }
}
