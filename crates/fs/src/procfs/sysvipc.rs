//! /proc/sysvipc/{msg,sem,shm}: the System V objects, as ipcs(1) reads them.

use std::fmt::Write;

use abi::{Errno, PAGE_SIZE};

use super::system::System;

/// Message queues.
pub fn msg(at: &System) -> Result<Vec<u8>, Errno> {
    let mut out = String::from(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n",
    );
    let kernel = at.kernel()?;
    let queues: Vec<_> = {
        let ipc = kernel.current_ipc();
        let table = ipc.queues.lock();
        table.iter().map(|(id, queue)| (*id, queue.clone())).collect()
    };
    for (id, queue) in queues {
        let state = queue.state.lock();
        let perm = &state.perm;
        let _ = writeln!(
            out,
            "{:10} {id:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
            perm.key,
            perm.mode & 0o777,
            state.bytes,
            state.messages.len(),
            state.lspid,
            state.lrpid,
            perm.uid,
            perm.gid,
            perm.cuid,
            perm.cgid,
            state.stime,
            state.rtime,
            state.ctime
        );
    }
    Ok(out.into_bytes())
}

/// Semaphore sets.
pub fn sem(at: &System) -> Result<Vec<u8>, Errno> {
    let mut out = String::from(
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
    );
    let kernel = at.kernel()?;
    let sets: Vec<_> = {
        let ipc = kernel.current_ipc();
        let table = ipc.semaphores.lock();
        table.iter().map(|(id, set)| (*id, set.clone())).collect()
    };
    for (id, set) in sets {
        let state = set.state.lock();
        let perm = &state.perm;
        let _ = writeln!(
            out,
            "{:10} {id:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}",
            perm.key,
            perm.mode & 0o777,
            state.semaphores.len(),
            perm.uid,
            perm.gid,
            perm.cuid,
            perm.cgid,
            state.otime,
            state.ctime
        );
    }
    Ok(out.into_bytes())
}

/// Shared memory segments.
pub fn shm(at: &System) -> Result<Vec<u8>, Errno> {
    let mut out = String::from(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n",
    );
    let kernel = at.kernel()?;
    let segments: Vec<_> = {
        let ipc = kernel.current_ipc();
        let table = ipc.segments.lock();
        table.iter().map(|(id, segment)| (*id, segment.clone())).collect()
    };
    for (id, segment) in segments {
        let state = segment.state.lock();
        let Some((object, attached)) = state.memory() else {
            continue;
        };
        let perm = &state.perm;
        let resident = object.memory.allocated().next_multiple_of(PAGE_SIZE);
        let _ = writeln!(
            out,
            "{:10} {id:10}  {:4o} {:21} {:5} {:5}  {attached:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {resident:21} {:21}",
            perm.key,
            perm.mode,
            segment.size,
            state.cpid,
            state.lpid,
            perm.uid,
            perm.gid,
            perm.cuid,
            perm.cgid,
            state.atime,
            state.dtime,
            state.ctime,
            0
        );
    }
    Ok(out.into_bytes())
}
