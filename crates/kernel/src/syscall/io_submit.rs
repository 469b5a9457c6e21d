//! io_submit(2), io_cancel(2).

use std::sync::Arc;

use abi::{AbiField, Errno, UserAddr, abi_struct};
use sync::Events;

use super::arg::Flags;
use super::readv;
use crate::file::aio::{AioContext, IoEvent, PollRequest};
use crate::file::eventfd::EventFd;
use crate::file::{self, FileDescription};
use crate::io::{Sink, Source};
use crate::task::{CurrentTask, UserBuffers};
use crate::vfs::FileKind;

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;
const IOCB_CMD_FSYNC: u16 = 2;
const IOCB_CMD_FDSYNC: u16 = 3;
const IOCB_CMD_POLL: u16 = 5;
const IOCB_CMD_PREADV: u16 = 7;
const IOCB_CMD_PWRITEV: u16 = 8;
/// aio_resfd names an eventfd to be told.
const IOCB_FLAG_RESFD: u32 = 1;
/// Offset of aio_key, which the kernel sets to 0.
const KEY_OFFSET: u64 = 8;

abi_struct! {
    /// `struct iocb`.
    struct IoCb {
        data: u64,
        key: u32,
        rw_flags: u32,
        opcode: u16,
        reqprio: u16,
        fildes: i32,
        buf: u64,
        nbytes: u64,
        offset: i64,
        reserved2: u64,
        flags: u32,
        resfd: i32,
    }
}

/// io_submit(2): how many requests were taken; the error of the first one when it was none.
pub fn io_submit(task: &CurrentTask, id: UserAddr, count: i64, list: UserAddr) -> Result<u64, Errno> {
    let count = u64::try_from(count).map_err(|_| Errno::EINVAL)?;
    let context = task.mm_ref().aio.get(id)?;
    for done in 0..count {
        let one = || {
            let addr: u64 = task.read_struct(list.add(done.saturating_mul(8))?)?;
            submit(task, &context, UserAddr(addr))
        };
        if let Err(error) = one() {
            return if done > 0 { Ok(done) } else { Err(error) };
        }
    }
    Ok(count)
}

/// io_cancel(2). As on Linux the event of what was ended comes with io_getevents(2), and the call says `EINPROGRESS`.
pub fn io_cancel(task: &CurrentTask, id: UserAddr, iocb: UserAddr, _result: UserAddr) -> Result<(), Errno> {
    let key: u32 = task.read_struct(iocb.add(KEY_OFFSET)?)?;
    if key != 0 {
        return Err(Errno::EINVAL);
    }
    task.mm_ref().aio.get(id)?.cancel(iocb.0)?;
    Err(Errno::EINPROGRESS)
}

fn submit(task: &CurrentTask, context: &AioContext, addr: UserAddr) -> Result<(), Errno> {
    let iocb: IoCb = task.read_struct(addr)?;
    if iocb.reserved2 != 0 || i64::try_from(iocb.nbytes).is_err() {
        return Err(Errno::EINVAL);
    }
    context.check_room()?;
    let file = task.fd(iocb.fildes)?;
    let notify = if iocb.flags & IOCB_FLAG_RESFD == 0 {
        None
    } else {
        let counter = task.fd(iocb.resfd)?;
        counter.ops_as::<EventFd>().ok_or(Errno::EINVAL)?;
        Some(counter)
    };
    task.write_struct(addr.add(KEY_OFFSET)?, &0u32)?;
    let event = IoEvent {
        data: iocb.data,
        obj: addr.0,
        res: 0,
        res2: 0,
    };
    if iocb.opcode == IOCB_CMD_POLL {
        let events = poll_events(&file, &iocb)?;
        context.add_poll(PollRequest {
            events,
            file,
            event,
            notify,
        });
        return Ok(());
    }
    let result = match iocb.opcode {
        IOCB_CMD_PREAD | IOCB_CMD_PREADV => transfer(task, &file, &iocb, false)?,
        IOCB_CMD_PWRITE | IOCB_CMD_PWRITEV => transfer(task, &file, &iocb, true)?,
        IOCB_CMD_FSYNC | IOCB_CMD_FDSYNC => sync(&file, &iocb)?,
        _ => return Err(Errno::EINVAL),
    };
    let res = match result {
        Ok(done) => i64::try_from(done).unwrap_or(i64::MAX),
        // A request is not restarted.
        Err(error) if error.is_restart() => -i64::from(Errno::EINTR.raw()),
        Err(error) => -i64::from(error.raw()),
    };
    context.complete(IoEvent { res, ..event }, notify.as_deref());
    Ok(())
}

/// Reads or writes. The outer errors are the submission's, the inner one the request's.
fn transfer(
    task: &CurrentTask,
    file: &Arc<FileDescription>,
    iocb: &IoCb,
    write: bool,
) -> Result<Result<usize, Errno>, Errno> {
    if !(if write { file.writable() } else { file.readable() }) {
        return Err(Errno::EBADF);
    }
    let inode = file.path().inode()?;
    if inode.kind == FileKind::Directory {
        return Err(Errno::EINVAL);
    }
    let mut buffers = buffers(task, iocb)?;
    let offset = u64::try_from(iocb.offset).map_err(|_| Errno::EINVAL)?;
    let at = file.ops().seekable().then_some(offset);
    let events = if write { Events::WRITABLE } else { Events::READABLE };
    match readv::check_flags(file, iocb.rw_flags, events) {
        // RWF_NOWAIT is the request's own affair.
        Err(Errno::EAGAIN) => return Ok(Err(Errno::EAGAIN)),
        other => other?,
    }
    if write {
        Source::check(&buffers)?;
        let place = readv::placement(Flags(iocb.rw_flags));
        Ok(file::write_placed(task, file, at, place, &mut buffers))
    } else {
        Sink::check(&buffers)?;
        Ok(file::read(task, file, at, &mut buffers))
    }
}

fn buffers<'a>(task: &'a CurrentTask, iocb: &IoCb) -> Result<UserBuffers<'a>, Errno> {
    let addr = UserAddr(iocb.buf);
    let length = usize::try_from(iocb.nbytes).map_err(|_| Errno::EINVAL)?;
    match iocb.opcode {
        IOCB_CMD_PREADV | IOCB_CMD_PWRITEV => Ok(task.buffers(task.read_iovecs(addr, length)?)),
        _ => Ok(task.buffer(addr, length)),
    }
}

fn sync(file: &FileDescription, iocb: &IoCb) -> Result<Result<usize, Errno>, Errno> {
    if iocb.buf != 0 || iocb.offset != 0 || iocb.nbytes != 0 || iocb.rw_flags != 0 {
        return Err(Errno::EINVAL);
    }
    match file.ops().fsync(file, iocb.opcode == IOCB_CMD_FDSYNC) {
        Err(Errno::EINVAL) => Err(Errno::EINVAL),
        other => Ok(other.map(|()| 0)),
    }
}

fn poll_events(file: &FileDescription, iocb: &IoCb) -> Result<Events, Errno> {
    let events = u16::try_from(iocb.buf).map_err(|_| Errno::EINVAL)?;
    if iocb.offset != 0 || iocb.nbytes != 0 || iocb.rw_flags != 0 || !file.ops().pollable() {
        return Err(Errno::EINVAL);
    }
    Ok(Events::from_bits_truncate(u32::from(events)) | Events::ALWAYS)
}

const _: () = assert!(<IoCb as AbiField>::SIZE == 64);
