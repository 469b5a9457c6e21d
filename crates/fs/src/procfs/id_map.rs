//! /proc/PID/{uid_map,gid_map,projid_map,setgroups} (user_namespaces(7)).

use std::sync::Arc;

use abi::Errno;
use kernel::cred::{Caps, Credentials, IdKind, UserNs};
use kernel::task::current;
use kernel::vfs::FileKind;

use super::process::Process;
use crate::kernfs::{Context, Meta, Node, trimmed};

/// Which file: a map, or `setgroups`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// A map of ids.
    Map(IdKind),
    /// Whether setgroups(2) is allowed.
    Setgroups,
}

/// The node of a file of a process.
pub struct IdMap {
    at: Process,
    file: File,
}

impl IdMap {
    /// Of `at`.
    pub fn node(at: &Process, file: File) -> Arc<dyn Node> {
        Arc::new(IdMap { at: at.clone(), file })
    }

    fn user_ns(&self) -> Result<Arc<UserNs>, Errno> {
        Ok(self.at.task()?.cred().user_ns.clone())
    }

    /// Whose ids were answered by the engine itself ask again.
    fn refresh(&self, ns: &UserNs) -> Result<(), Errno> {
        let kernel = self.at.kernel()?;
        let tasks: Vec<_> = kernel.pids.read().tasks.values().cloned().collect();
        for task in tasks.iter().filter(|task| *task.cred().user_ns == *ns) {
            task.state.lock().answers_changed = true;
            task.notify_signal();
        }
        Ok(())
    }
}

impl Node for IdMap {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn meta(&self) -> Result<Meta, Errno> {
        let (uid, gid) = self.at.owner()?;
        Ok(Meta {
            uid,
            gid,
            ..Meta::root(0o644)
        })
    }

    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn std::any::Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.file == other.file && self.at.same(&other.at))
    }

    fn text(&self) -> Result<Vec<u8>, Errno> {
        let ns = self.user_ns()?;
        let reader = current().map_or_else(UserNs::first, |task| task.cred().user_ns.clone());
        let kernel = self.at.kernel()?;
        Ok(match (self.file, &kernel.config.id_maps) {
            (File::Map(IdKind::User), Some((users, _))) if ns.is_first() => users.clone().into_bytes(),
            (File::Map(IdKind::Group), Some((_, groups))) if ns.is_first() => groups.clone().into_bytes(),
            (File::Map(kind), _) => ns.map_text(kind, &reader).into_bytes(),
            (File::Setgroups, _) if ns.may_setgroups() => b"allow\n".to_vec(),
            (File::Setgroups, _) => b"deny\n".to_vec(),
        })
    }

    fn store_as(&self, data: &[u8], opener: &Credentials) -> Result<(), Errno> {
        let ns = self.user_ns()?;
        let writer = current().ok_or(Errno::EPERM)?.cred();
        match self.file {
            File::Map(kind) => ns.set_map(kind, data, [&writer, opener])?,
            File::Setgroups => {
                if !opener.has_in(&ns, Caps::SYS_ADMIN) {
                    return Err(Errno::EPERM);
                }
                let allow = match trimmed(data) {
                    b"allow" => true,
                    b"deny" => false,
                    _ => return Err(Errno::EINVAL),
                };
                ns.set_setgroups(allow)?;
            }
        }
        self.refresh(&ns)
    }
}
