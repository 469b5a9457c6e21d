//! epoll_ctl(2).

use std::sync::Arc;

use abi::{Errno, UserAddr, abi_struct};
use sync::Events;

use super::arg::Fd;
use crate::file::epoll::{EPOLLET, EPOLLEXCLUSIVE, EPOLLWAKEUP, EpollEvent, EpollFile};
use crate::task::CurrentTask;

abi_struct! {
    /// `struct epoll_event`: packed on x86-64.
    pub(super) struct UserEpollEvent { pub(super) events: u32, pub(super) data: u64 }
}

const EPOLL_CTL_ADD: i32 = 1;
const EPOLL_CTL_DEL: i32 = 2;
const EPOLL_CTL_MOD: i32 = 3;

/// What may come with EPOLLEXCLUSIVE (EPOLLEXCLUSIVE_OK_BITS).
const EXCLUSIVE_OK: u32 = Events::IN.bits()
    | Events::OUT.bits()
    | Events::ERR.bits()
    | Events::HUP.bits()
    | EPOLLWAKEUP
    | EPOLLET
    | EPOLLEXCLUSIVE;

/// epoll_ctl(2).
pub fn epoll_ctl(task: &CurrentTask, epfd: Fd, op: i32, fd: Fd, event: UserAddr) -> Result<(), Errno> {
    let mut wanted = EpollEvent::default();
    if op != EPOLL_CTL_DEL {
        let user: UserEpollEvent = task.read_struct(event)?;
        wanted = EpollEvent {
            events: user.events,
            data: user.data,
        };
    }
    let files = task.files();
    let (watcher, file) = (files.get(epfd.0)?, files.get(fd.0)?);
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    if !file.ops().pollable() {
        return Err(Errno::EPERM);
    }
    let Some(epoll) = watcher.ops_as::<EpollFile>() else {
        return Err(Errno::EINVAL);
    };
    if Arc::ptr_eq(&watcher, &file) {
        return Err(Errno::EINVAL);
    }
    if op != EPOLL_CTL_DEL && wanted.events & EPOLLEXCLUSIVE != 0 {
        let nested = op == EPOLL_CTL_ADD && file.ops_as::<EpollFile>().is_some();
        if op == EPOLL_CTL_MOD || nested || wanted.events & !EXCLUSIVE_OK != 0 {
            return Err(Errno::EINVAL);
        }
    }
    // Never 0: that is how a fired one-shot looks.
    wanted.events |= Events::ALWAYS.bits();
    let epoll = epoll.epoll();
    match op {
        EPOLL_CTL_ADD => epoll.add(fd.0, &file, wanted),
        EPOLL_CTL_DEL => epoll.delete(fd.0, &file),
        EPOLL_CTL_MOD => epoll.modify(fd.0, &file, wanted),
        _ => Err(Errno::EINVAL),
    }
}
