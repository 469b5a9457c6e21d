//! getsockopt(2), setsockopt(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use super::socket::lookup;
use crate::socket::options::{SO_BINDTODEVICE, bind_to_device};
use crate::task::CurrentTask;

/// SOL_SOCKET.
const SOL_SOCKET: i32 = 1;
const SO_DETACH_FILTER: i32 = 27;
/// Longest option value that is read.
const MAX_VALUE: usize = 4096;

/// getsockopt(2).
pub fn getsockopt(
    task: &CurrentTask,
    fd: Fd,
    level: i32,
    name: i32,
    value: UserAddr,
    len: UserAddr,
) -> Result<(), Errno> {
    let (_file, socket) = lookup(task, fd)?;
    let room: i32 = task.read_struct(len)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let general = if level == SOL_SOCKET {
        socket.base().general_option(name)
    } else {
        Err(Errno::ENOPROTOOPT)
    };
    let mut asked = [0; 4];
    let asked = &mut asked[..room.min(4)];
    if general == Err(Errno::ENOPROTOOPT) {
        task.copy_in(value, asked)?;
    }
    if let Some(answer) = socket.option_of(level, name, asked) {
        let bytes = answer?;
        let bytes = &bytes[..bytes.len().min(room)];
        task.copy_out(value, bytes)?;
        return task.write_struct(len, &u32::try_from(bytes.len()).unwrap_or(0));
    }
    let bytes = match general {
        Err(Errno::ENOPROTOOPT) => socket.option(level, name)?,
        done => done?,
    };
    let bytes = &bytes[..bytes.len().min(room)];
    task.copy_out(value, bytes)?;
    task.write_struct(len, &u32::try_from(bytes.len()).unwrap_or(0))
}

/// setsockopt(2).
pub fn setsockopt(
    task: &CurrentTask,
    fd: Fd,
    level: i32,
    name: i32,
    value: UserAddr,
    len: i32,
) -> Result<(), Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    let (_file, socket) = lookup(task, fd)?;
    let mut bytes = vec![0; len.min(MAX_VALUE)];
    task.copy_in(value, &mut bytes)?;
    if level == SOL_SOCKET && name == SO_DETACH_FILTER {
        // SO_ATTACH_FILTER is not there, so there is none to take off.
        return Err(Errno::ENOENT);
    }
    if level == SOL_SOCKET && name == SO_BINDTODEVICE {
        return bind_to_device(task, socket.base(), &bytes);
    }
    if level == SOL_SOCKET {
        match socket.base().set_general_option(&task.cred(), name, &bytes) {
            Err(Errno::ENOPROTOOPT) => {}
            Ok(true) => {
                socket.buffers_changed();
                return Ok(());
            }
            done => return done.map(|_| ()),
        }
    }
    socket.set_option(task, level, name, &bytes)
}
