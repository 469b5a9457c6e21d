//! File handles (name_to_handle_at(2)): numbers that find a file again without its name.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Mutex, rank};

use super::{Dentry, Path};

/// Handles remembered; the ones of files that nobody has any more make way first.
const HANDLES_MAX: usize = 4096;
/// File systems whose files are made on demand: a number does not find them again.
const WITHOUT: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup2",
    "devpts",
    "mqueue",
    "pipefs",
    "sockfs",
    "anon_inodefs",
];

/// A file: the device and inode numbers of stat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle {
    /// st_dev.
    pub dev: u64,
    /// st_ino.
    pub ino: u64,
}

/// The files that handles were given out for. As long as one is known by a name or open, its handle finds it.
pub struct Handles(Mutex<BTreeMap<Handle, Weak<Dentry>>>);

impl Default for Handles {
    fn default() -> Self {
        Handles(Mutex::new(rank::LEAF, BTreeMap::new()))
    }
}

impl Handles {
    /// The handle of a file. `EOPNOTSUPP` when its file system has none.
    pub fn give(&self, path: &Path) -> Result<Handle, Errno> {
        let inode = path.inode()?;
        if WITHOUT.contains(&inode.sb.ops.name()) {
            return Err(Errno::EOPNOTSUPP);
        }
        let handle = Handle {
            dev: inode.sb.dev,
            ino: inode.attr()?.ino,
        };
        let mut known = self.0.lock();
        if known.len() >= HANDLES_MAX {
            known.retain(|_, dentry| dentry.strong_count() > 0);
            if known.len() >= HANDLES_MAX {
                known.pop_first();
            }
        }
        known.insert(handle, Arc::downgrade(&path.dentry));
        Ok(handle)
    }

    /// The file of a handle on the file system that `at` is on. `ESTALE` when it is gone or was forgotten.
    pub fn find(&self, at: &Path, handle: Handle) -> Result<Path, Errno> {
        let dentry = self.0.lock().get(&handle).and_then(Weak::upgrade);
        let dentry = dentry
            .filter(|dentry| !dentry.is_deleted())
            .ok_or(Errno::ESTALE)?;
        if at.inode()?.sb.dev != handle.dev {
            return Err(Errno::ESTALE);
        }
        Ok(Path {
            mount: at.mount.clone(),
            dentry,
        })
    }
}
