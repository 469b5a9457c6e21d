//! An open namespace, and what ioctl_ns(2) asks of it.

use std::sync::Arc;

use abi::{Errno, UserAddr};

use super::{CurrentTask, Namespace, PidNs};
use crate::file::{FileDescription, FileOps};
use crate::vfs::{FileKind, anon_path};

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;
const NS_GET_PID_FROM_PIDNS: u32 = 0x8004_b706;
const NS_GET_TGID_FROM_PIDNS: u32 = 0x8004_b707;
const NS_GET_PID_IN_PIDNS: u32 = 0x8004_b708;
const NS_GET_TGID_IN_PIDNS: u32 = 0x8004_b709;

/// An open namespace.
pub struct NsFile(pub Namespace);

impl FileOps for NsFile {
    fn pollable(&self) -> bool {
        false
    }

    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        match (command, &self.0) {
            (NS_GET_NSTYPE, ns) => Ok(i64::try_from(ns.identity().1).unwrap_or(0)),
            (NS_GET_USERNS, ns) | (NS_GET_PARENT, ns @ Namespace::User(_)) => owner(task, ns),
            (NS_GET_PARENT, Namespace::Pid(pid)) => {
                let parent = pid
                    .parent
                    .as_ref()
                    .filter(|parent| parent.is_in(&task.group.pid_ns));
                let parent = parent.ok_or(Errno::EPERM)?;
                install_namespace(task, &Namespace::Pid(parent.clone()))
            }
            (NS_GET_OWNER_UID, Namespace::User(user)) => {
                let uid = task.shown_uid(user.owner.0);
                task.write_struct(UserAddr(arg), &uid).map(|()| 0)
            }
            (NS_GET_PARENT | NS_GET_OWNER_UID, _) => Err(Errno::EINVAL),
            (NS_GET_PID_FROM_PIDNS..=NS_GET_TGID_IN_PIDNS, Namespace::Pid(pid)) => {
                translate(task, pid, command, arg)
            }
            (NS_GET_PID_FROM_PIDNS..=NS_GET_TGID_IN_PIDNS, _) => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }
}

/// The user namespace that a namespace belongs to: `EPERM` when it is not the caller's or inside it.
fn owner(task: &CurrentTask, namespace: &Namespace) -> Result<i64, Errno> {
    let owner = namespace.owner();
    let outermost = matches!(namespace, Namespace::User(user) if user.is_first());
    if outermost || !owner.is_in(&task.cred().user_ns) {
        return Err(Errno::EPERM);
    }
    install_namespace(task, &Namespace::User(owner))
}

/// The number of a task in another pid namespace, or of one of that namespace for the caller. `ESRCH`.
fn translate(task: &CurrentTask, ns: &Arc<PidNs>, command: u32, arg: u64) -> Result<i64, Errno> {
    let (from, to) = match command {
        NS_GET_PID_FROM_PIDNS | NS_GET_TGID_FROM_PIDNS => (ns, &task.group.pid_ns),
        _ => (&task.group.pid_ns, ns),
    };
    let own = u32::try_from(arg).map_err(|_| Errno::ESRCH)?;
    let id = from.kernel_id(own).ok_or(Errno::ESRCH)?;
    let found = task.kernel.pids.read().task(id).ok_or(Errno::ESRCH)?;
    let wanted = match command {
        NS_GET_PID_FROM_PIDNS | NS_GET_PID_IN_PIDNS => found.tid,
        _ => found.tgid(),
    };
    match to.own(wanted) {
        0 => Err(Errno::ESRCH),
        number => Ok(i64::from(number)),
    }
}

/// Opens a namespace for the caller.
pub(crate) fn install_namespace(task: &CurrentTask, namespace: &Namespace) -> Result<i64, Errno> {
    let (kind, _, number) = namespace.identity();
    let name = format!("{kind}:[{number}]");
    let path = anon_path(&task.kernel, &name, number, FileKind::Regular, 0o444);
    let file = FileDescription::new(path, Box::new(NsFile(namespace.clone())), abi::fcntl::O_RDONLY);
    let limit = task.group.fd_limit();
    task.files().install(file, true, 0, limit).map(i64::from)
}
