//! process_vm_readv(2), process_vm_writev(2).

use std::sync::Arc;

use abi::{Errno, UserAddr};

use crate::mm::Mm;
use crate::task::{CurrentTask, UserIoVec};

/// Bytes copied at a time.
const STEP: usize = 64 << 10;

/// The address space of another process that the caller may trace (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS).
fn target(task: &CurrentTask, pid: i32) -> Result<Arc<Mm>, Errno> {
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    if pid == task.own_tid() || pid == task.own_tgid() {
        return Ok(task.mm_ref());
    }
    let other = task.find_task(pid)?;
    if other.tgid() != task.tgid() && !task.may_access(&other) {
        return Err(Errno::EPERM);
    }
    other.mm().ok_or(Errno::ESRCH)
}

/// Hands pairs of equally long ranges of two vectors to `copy`, which says how many bytes it moved; ends when that is
/// fewer. An error after some bytes is not told.
fn transfer(
    local: &[UserIoVec],
    remote: &[UserIoVec],
    mut copy: impl FnMut(UserAddr, UserAddr, usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let (mut local, mut remote) = (local.iter(), remote.iter());
    let (mut here, mut there) = (local.next().copied(), remote.next().copied());
    let mut total = 0;
    while let (Some(to), Some(from)) = (here.as_mut(), there.as_mut()) {
        if to.len == 0 {
            here = local.next().copied();
            continue;
        }
        if from.len == 0 {
            there = remote.next().copied();
            continue;
        }
        let step = to.len.min(from.len).min(STEP);
        let done = match copy(to.addr, from.addr, step) {
            Ok(done) => done,
            Err(errno) if total == 0 => return Err(errno),
            Err(_) => break,
        };
        total += done;
        if done < step {
            break;
        }
        for range in [to, from] {
            range.addr = UserAddr(range.addr.0.wrapping_add(done as u64));
            range.len -= done;
        }
    }
    Ok(total)
}

fn vectors(
    task: &CurrentTask,
    local: (UserAddr, u64),
    remote: (UserAddr, u64),
    flags: u64,
) -> Result<[Vec<UserIoVec>; 2], Errno> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let read = |(addr, count): (UserAddr, u64)| {
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        task.read_iovecs(addr, count)
    };
    Ok([read(local)?, read(remote)?])
}

/// process_vm_readv(2).
pub fn process_vm_readv(
    task: &CurrentTask,
    pid: i32,
    local: UserAddr,
    local_count: u64,
    remote: UserAddr,
    remote_count: u64,
    flags: u64,
) -> Result<usize, Errno> {
    let [to, from] = vectors(task, (local, local_count), (remote, remote_count), flags)?;
    let mm = target(task, pid)?;
    let mut buffer = vec![0; STEP];
    transfer(&to, &from, |to, from, len| {
        let buffer = buffer.get_mut(..len).ok_or(Errno::EFAULT)?;
        let read = mm.space.read(from, buffer)?;
        task.copy_out_some(to, buffer.get(..read).unwrap_or_default())
    })
}

/// process_vm_writev(2).
pub fn process_vm_writev(
    task: &CurrentTask,
    pid: i32,
    local: UserAddr,
    local_count: u64,
    remote: UserAddr,
    remote_count: u64,
    flags: u64,
) -> Result<usize, Errno> {
    let [from, to] = vectors(task, (local, local_count), (remote, remote_count), flags)?;
    let mm = target(task, pid)?;
    let mut buffer = vec![0; STEP];
    transfer(&from, &to, |from, to, len| {
        let buffer = buffer.get_mut(..len).ok_or(Errno::EFAULT)?;
        let read = task.copy_in_some(from, buffer)?;
        mm.space.write(to, buffer.get(..read).unwrap_or_default())
    })
}
