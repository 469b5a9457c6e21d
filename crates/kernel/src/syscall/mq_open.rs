//! mq_open(3), mq_unlink(3), mq_timedsend(3), mq_timedreceive(3), mq_notify(3), mq_getsetattr(2).

use std::sync::Arc;
use std::time::Instant;

use abi::fcntl::{O_ACCMODE, O_CLOEXEC, O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_WRONLY};
use abi::{Errno, UserAddr, abi_struct};

use super::arg::{CStr, Fd, Flags, Mode};
use crate::file::FileDescription;
use crate::ipc::mq::{COOKIE, MSG_MAX, MSGSIZE_MAX, Mq, MqAttr, MqFile, Notify, PRIO_MAX, QUEUES_MAX};
use crate::socket::{AF_NETLINK, socket_of};
use crate::task::CurrentTask;
use crate::vfs::{FileKind, anon_path};

const NAME_MAX: usize = 255;
const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD: i32 = 2;

abi_struct! {
    /// The fields of `struct sigevent` that count here.
    struct SigEvent { value: u64, signal: i32, notify: i32 }
}

/// A queue's name: the library has taken its leading slash off.
fn read_name(task: &CurrentTask, name: CStr) -> Result<Vec<u8>, Errno> {
    let name = task.read_path(name.0)?;
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if name.contains(&b'/') || matches!(name.as_slice(), b"." | b"..") {
        return Err(Errno::EACCES);
    }
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    Ok(name)
}

/// mq_open(3).
pub fn mq_open(
    task: &CurrentTask,
    name: CStr,
    flags: Flags,
    mode: Mode,
    attr: UserAddr,
) -> Result<Fd, Errno> {
    let attr: Option<MqAttr> = if attr.is_null() || flags.0 & O_CREAT == 0 {
        None
    } else {
        Some(task.read_struct(attr)?)
    };
    let name = read_name(task, name)?;
    let access = flags.0 & O_ACCMODE;
    if access == O_ACCMODE {
        return Err(Errno::EINVAL);
    }
    let queue = find_or_make(task, &name, flags.0, mode.0, attr, access)?;
    let path = queue.path.clone();
    let file = FileDescription::new(path, Box::new(MqFile(queue)), access | (flags.0 & O_NONBLOCK));
    // The library asks for close-on-exec; the kernel always sets it.
    let limit = task.group.fd_limit();
    let _ = flags.0 & O_CLOEXEC;
    task.files().install(file, true, 0, limit).map(Fd)
}

fn find_or_make(
    task: &CurrentTask,
    name: &[u8],
    flags: u32,
    mode: u32,
    attr: Option<MqAttr>,
    access: u32,
) -> Result<Arc<Mq>, Errno> {
    let cred = task.cred();
    let umask = task.fs().get().umask;
    let ipc = task.ipc();
    let mut mqs = ipc.mqs.lock();
    if let Some(queue) = mqs.get(name) {
        if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
            return Err(Errno::EEXIST);
        }
        let wanted = match access {
            O_RDONLY => 4,
            O_WRONLY => 2,
            _ => 6,
        };
        queue.check(&cred, wanted)?;
        return Ok(queue.clone());
    }
    if flags & O_CREAT == 0 {
        return Err(Errno::ENOENT);
    }
    if mqs.len() >= QUEUES_MAX {
        return Err(Errno::ENOSPC);
    }
    let (maxmsg, msgsize) = match attr {
        Some(attr) => {
            Mq::check_attr(&attr, &cred)?;
            (attr.maxmsg, attr.msgsize)
        }
        None => (MSG_MAX, MSGSIZE_MAX),
    };
    drop(mqs);
    let perm = mode & !umask & 0o777;
    let shown = format!("/{}", String::from_utf8_lossy(name));
    let kernel = &task.kernel;
    let path = anon_path(kernel, &shown, kernel.next_ino(), FileKind::Regular, perm);
    let owner = (cred.fsuid, cred.fsgid, perm);
    let made = Mq::new(&task.ipc().mq_bytes, maxmsg, msgsize, path, owner)?;
    // Another may have made it meanwhile; then that one is it, unless the caller must have been the first.
    mqs = ipc.mqs.lock();
    let queue = mqs.entry(name.to_vec()).or_insert_with(|| made.clone()).clone();
    if !Arc::ptr_eq(&queue, &made) && flags & O_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    Ok(queue)
}

/// mq_unlink(3).
pub fn mq_unlink(task: &CurrentTask, name: CStr) -> Result<(), Errno> {
    let name = read_name(task, name)?;
    let cred = task.cred();
    let ipc = task.ipc();
    let mut mqs = ipc.mqs.lock();
    let queue = mqs.get(&name).ok_or(Errno::ENOENT)?;
    // The directory is sticky: only the owner removes.
    if queue.owner.0 != cred.fsuid && !cred.has(crate::cred::Caps::FOWNER) {
        return Err(Errno::EACCES);
    }
    let gone = mqs.remove(&name);
    drop(mqs);
    drop(gone);
    Ok(())
}

fn queue_of(file: &FileDescription) -> Result<&Arc<Mq>, Errno> {
    file.ops_as::<MqFile>().map(|file| &file.0).ok_or(Errno::EBADF)
}

fn deadline(task: &CurrentTask, timeout: UserAddr) -> Result<Option<Instant>, Errno> {
    let ns = super::futex::read_time(task, timeout)?;
    Ok(ns.map(|ns| task.kernel.time.deadline_at(true, ns)))
}

/// Waits on the queue unless the descriptor is non-blocking.
fn wait<T>(
    task: &CurrentTask,
    file: &FileDescription,
    queue: &Mq,
    deadline: Option<Instant>,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if file.nonblocking() {
        return attempt();
    }
    task.wait_on(queue.wait_queue(), deadline, attempt)
}

/// mq_timedsend(3).
pub fn mq_timedsend(
    task: &CurrentTask,
    fd: Fd,
    message: UserAddr,
    len: usize,
    prio: u32,
    timeout: UserAddr,
) -> Result<(), Errno> {
    let deadline = deadline(task, timeout)?;
    if prio >= PRIO_MAX {
        return Err(Errno::EINVAL);
    }
    let file = task.files().get(fd.0)?;
    let queue = queue_of(&file)?;
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    if i64::try_from(len).map_or(true, |len| len > queue.msgsize) {
        return Err(Errno::EMSGSIZE);
    }
    let mut text = vec![0; len];
    task.copy_in(message, &mut text)?;
    let sender = (task.tgid(), task.cred().uid);
    wait(task, &file, queue, deadline, || queue.send(&text, prio, sender))
}

/// mq_timedreceive(3).
pub fn mq_timedreceive(
    task: &CurrentTask,
    fd: Fd,
    message: UserAddr,
    len: usize,
    prio: UserAddr,
    timeout: UserAddr,
) -> Result<usize, Errno> {
    let deadline = deadline(task, timeout)?;
    let file = task.files().get(fd.0)?;
    let queue = queue_of(&file)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    if i64::try_from(len).is_ok_and(|len| len < queue.msgsize) {
        return Err(Errno::EMSGSIZE);
    }
    let (text, priority) = wait(task, &file, queue, deadline, || queue.receive())?;
    if !prio.is_null() {
        task.write_struct(prio, &priority)?;
    }
    task.copy_out(message, &text)?;
    Ok(text.len())
}

/// mq_notify(3). The library builds SIGEV_THREAD on a netlink socket, whose descriptor comes as the signal.
pub fn mq_notify(task: &CurrentTask, fd: Fd, event: UserAddr) -> Result<(), Errno> {
    let notify = if event.is_null() {
        None
    } else {
        let event: SigEvent = task.read_struct(event)?;
        let mut thread = None;
        let signal = match event.notify {
            SIGEV_NONE => 0,
            SIGEV_SIGNAL => u32::try_from(event.signal)
                .ok()
                .filter(|signal| (1..=64).contains(signal))
                .ok_or(Errno::EINVAL)?,
            SIGEV_THREAD => {
                let mut cookie = [0; COOKIE];
                task.copy_in(UserAddr(event.value), &mut cookie)?;
                let socket = task.fd(event.signal)?;
                if socket_of(&socket)?.base().family != AF_NETLINK {
                    return Err(Errno::EINVAL);
                }
                thread = Some((socket, cookie));
                0
            }
            _ => return Err(Errno::EINVAL),
        };
        Some(Notify {
            group: task.group.clone(),
            signal,
            value: event.value,
            thread,
        })
    };
    let file = task.files().get(fd.0)?;
    queue_of(&file)?.notify(task.tgid(), notify)
}

/// mq_getsetattr(2).
pub fn mq_getsetattr(task: &CurrentTask, fd: Fd, new: UserAddr, old: UserAddr) -> Result<(), Errno> {
    let new: Option<MqAttr> = if new.is_null() {
        None
    } else {
        Some(task.read_struct(new)?)
    };
    let nonblock = i64::from(O_NONBLOCK);
    if new.is_some_and(|attr| attr.flags & !nonblock != 0) {
        return Err(Errno::EINVAL);
    }
    let file = task.files().get(fd.0)?;
    let queue = queue_of(&file)?;
    let before = MqAttr {
        flags: i64::from(file.flags()) & nonblock,
        maxmsg: queue.maxmsg,
        msgsize: queue.msgsize,
        curmsgs: queue.count(),
        reserved: [0; 4],
    };
    if let Some(attr) = new {
        let set = if attr.flags != 0 { O_NONBLOCK } else { 0 };
        file.set_flags((file.flags() & !O_NONBLOCK) | set);
    }
    if !old.is_null() {
        task.write_struct(old, &before)?;
    }
    Ok(())
}
