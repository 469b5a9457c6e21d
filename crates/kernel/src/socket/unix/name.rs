//! Names of unix sockets: paths, the abstract namespace, autobind.

use std::sync::{Arc, Weak};

use abi::Errno;

use super::{Bound, Phase, UnixSocket};
use crate::socket::address::UnixName;
use crate::task::CurrentTask;
use crate::vfs::{FileKind, Inode, LookupFlags, Walker, permission};

/// Names that autobind tries: five hexadecimal digits.
const AUTOBIND_NAMES: u32 = 0x10_0000;
const MAY_WRITE: u32 = 2;

impl UnixSocket {
    /// bind(2); without a name it gets a free abstract one.
    pub(super) fn bind_name(&self, task: &CurrentTask, name: Option<UnixName>) -> Result<(), Errno> {
        if self.state.lock().name.is_some() {
            // A second autobind does nothing.
            return if name.is_none() {
                Ok(())
            } else {
                Err(Errno::EINVAL)
            };
        }
        match name {
            None => self.autobind(),
            Some(UnixName::Abstract(name)) => {
                if !self.claim(&name) {
                    return Err(Errno::EADDRINUSE);
                }
                self.named(UnixName::Abstract(name), None)
            }
            Some(UnixName::Path(path)) => {
                let perm = 0o777 & !task.fs().get().umask;
                let made = Walker::of(task).mknod(None, &path, FileKind::Socket, perm, 0);
                let inode = match made {
                    Err(Errno::EEXIST) => return Err(Errno::EADDRINUSE),
                    other => other?.inode()?,
                };
                let bound = Arc::new(Bound(self.me.clone()));
                inode.attached.lock().objects.push(bound);
                self.named(UnixName::Path(path), Some(inode))
            }
        }
    }

    fn named(&self, name: UnixName, inode: Option<Arc<Inode>>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.name.is_some() || matches!(state.phase, Phase::Closed) {
            drop(state);
            self.release_name(Some(&name), inode);
            return Err(Errno::EINVAL);
        }
        state.name = Some(name);
        state.inode = inode;
        Ok(())
    }

    /// Gives the socket a free abstract name.
    pub(super) fn autobind(&self) -> Result<(), Errno> {
        if self.state.lock().name.is_some() {
            return Ok(());
        }
        // Starts where it is likely free.
        let start = u32::try_from(self.base.ino % u64::from(AUTOBIND_NAMES)).unwrap_or(0);
        for step in 0..AUTOBIND_NAMES {
            let name = format!("{:05x}", (start + step) % AUTOBIND_NAMES).into_bytes();
            if self.claim(&name) {
                return self.named(UnixName::Abstract(name), None);
            }
        }
        Err(Errno::ENOSPC)
    }

    fn claim(&self, name: &[u8]) -> bool {
        let mut names = self.base.net.names.lock();
        let taken = names.get(name).is_some_and(|weak| weak.strong_count() > 0);
        if !taken {
            names.insert(name.to_vec(), self.me.clone());
        }
        !taken
    }

    /// Gives the name up: an abstract one is free again, a path stays without a socket.
    pub(super) fn release_name(&self, name: Option<&UnixName>, inode: Option<Arc<Inode>>) {
        if let Some(UnixName::Abstract(name)) = name {
            let mut names = self.base.net.names.lock();
            if names.get(name).is_some_and(|weak| Weak::ptr_eq(weak, &self.me)) {
                names.remove(name);
            }
        }
        if let Some(inode) = inode {
            inode.attached.lock().objects.retain(|object| {
                object
                    .downcast_ref::<Bound>()
                    .is_none_or(|bound| !Weak::ptr_eq(&bound.0, &self.me))
            });
        }
    }

    /// The socket with this name. `ECONNREFUSED` when there is none (any more).
    pub(super) fn find(&self, task: &CurrentTask, name: &UnixName) -> Result<Arc<UnixSocket>, Errno> {
        let found = match name {
            UnixName::Abstract(name) => self.base.net.names.lock().get(name).and_then(Weak::upgrade),
            UnixName::Path(path) => {
                let walker = Walker::of(task);
                let inode = walker.resolve(None, path, LookupFlags::FOLLOW)?.inode()?;
                permission(&walker.cred, &inode, MAY_WRITE)?;
                if inode.kind != FileKind::Socket {
                    return Err(Errno::ECONNREFUSED);
                }
                let attached = inode.attached.lock();
                attached
                    .objects
                    .iter()
                    .find_map(|object| object.downcast_ref::<Bound>()?.0.upgrade())
            }
        };
        found.ok_or(Errno::ECONNREFUSED)
    }
}
