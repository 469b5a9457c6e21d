//! socketpair(2).

use abi::fcntl::O_CLOEXEC;
use abi::{Errno, UserAddr};

use super::arg::Flags;
use super::pipe::install_pair;
use super::socket::split_type;
use crate::socket::{self, AF_INET, AF_INET6, AF_UNIX, unix};
use crate::task::CurrentTask;

/// socketpair(2): unix sockets only.
pub fn socketpair(
    task: &CurrentTask,
    family: i32,
    kind: Flags,
    protocol: i32,
    fds: UserAddr,
) -> Result<(), Errno> {
    let (kind, flags) = split_type(kind)?;
    if family == i32::from(AF_INET) || family == i32::from(AF_INET6) {
        return Err(Errno::EOPNOTSUPP);
    }
    if family != i32::from(AF_UNIX) {
        return Err(Errno::EAFNOSUPPORT);
    }
    let (one, two) = unix::create_pair(&task.kernel, &task.net(), kind, protocol)?;
    let pair = (
        socket::install(&task.kernel, one, flags),
        socket::install(&task.kernel, two, flags),
    );
    install_pair(task, pair, flags & O_CLOEXEC != 0, fds)
}
