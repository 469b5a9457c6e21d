//! sendmmsg(2).

use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use super::send::send_one;
use super::socket::lookup;
use crate::task::CurrentTask;

/// Most messages in one call (UIO_MAXIOV).
pub(super) const MOST: u32 = 1024;
/// Bytes of struct mmsghdr, and where its length is.
pub(super) const STRIDE: u64 = 64;
pub(super) const LENGTH_AT: u64 = 56;

/// sendmmsg(2): as many as can be sent; an error only when not even the first can.
pub fn sendmmsg(
    task: &CurrentTask,
    fd: Fd,
    vector: UserAddr,
    count: u32,
    flags: Flags,
) -> Result<u32, Errno> {
    let (file, socket) = lookup(task, fd)?;
    let mut done = 0;
    while done < count.min(MOST) {
        let at = vector.add(u64::from(done) * STRIDE)?;
        let sent = send_one(task, &file, &socket, at, flags.0).and_then(|sent| {
            let sent = u32::try_from(sent).unwrap_or(u32::MAX);
            task.write_struct(at.add(LENGTH_AT)?, &sent)
        });
        match sent {
            Ok(()) => done += 1,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
