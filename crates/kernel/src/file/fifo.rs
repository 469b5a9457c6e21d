//! fifo(7): opening a named pipe waits for the other side.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::fcntl::{O_ACCMODE, O_NONBLOCK, O_RDONLY, O_WRONLY};

use super::FileOps;
use super::pipe::Pipe;
use crate::task::CurrentTask;
use crate::vfs::Inode;

/// The pipe behind a fifo, made at the first open; it lives as long as the inode, its content as long as an end is open.
fn pipe_of(inode: &Inode) -> Arc<Pipe> {
    let mut attached = inode.attached.lock();
    let found = attached
        .objects
        .iter()
        .find_map(|object| object.clone().downcast::<Pipe>().ok());
    found.unwrap_or_else(|| {
        let pipe = Pipe::new();
        attached.objects.push(pipe.clone());
        pipe
    })
}

/// Opens a fifo with open(2)'s flags. Waits for a reader or writer unless O_NONBLOCK; `ENXIO` for a
/// non-blocking writer without readers.
pub fn open(task: &CurrentTask, inode: &Arc<Inode>, flags: u32) -> Result<Box<dyn FileOps>, Errno> {
    let pipe = pipe_of(inode);
    // A pipe(2) that is opened again through /proc/PID/fd waits for nobody (fs/pipe.c: fifo_open's `is_pipe`).
    let anonymous = inode.sb.ops.name() == crate::vfs::ANONYMOUS_FS;
    let nonblocking = flags & O_NONBLOCK != 0;
    let waits = !nonblocking && !anonymous;
    match flags & O_ACCMODE {
        O_RDONLY => {
            let before = pipe.writer_opens.load(Ordering::SeqCst);
            let end = pipe.end(true, false);
            if waits {
                task.wait_on(&pipe.opened, None, || {
                    let came = pipe.writer_opens.load(Ordering::SeqCst) != before;
                    if came || pipe.writers() > 0 {
                        Ok(())
                    } else {
                        Err(Errno::EAGAIN)
                    }
                })?;
            }
            Ok(Box::new(end))
        }
        O_WRONLY => {
            if nonblocking && !anonymous && pipe.readers() == 0 {
                return Err(Errno::ENXIO);
            }
            let before = pipe.reader_opens.load(Ordering::SeqCst);
            let end = pipe.end(false, true);
            if waits {
                task.wait_on(&pipe.opened, None, || {
                    let came = pipe.reader_opens.load(Ordering::SeqCst) != before;
                    if came || pipe.readers() > 0 {
                        Ok(())
                    } else {
                        Err(Errno::EAGAIN)
                    }
                })?;
            }
            Ok(Box::new(end))
        }
        _ => Ok(Box::new(pipe.end(true, true))),
    }
}
