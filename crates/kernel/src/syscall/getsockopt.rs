//! getsockopt(2), setsockopt(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use super::socket::lookup;
use crate::socket::filter;
use crate::socket::options::{
    SO_ATTACH_FILTER, SO_BINDTODEVICE, SO_BINDTOIFINDEX, SO_DETACH_FILTER, SO_PEERNAME, bind_to_device,
    bind_to_index,
};
use crate::task::CurrentTask;

/// SOL_SOCKET.
const SOL_SOCKET: i32 = 1;
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
        match name {
            SO_PEERNAME => socket.peer_name(),
            SO_ATTACH_FILTER => return filter::get(task, socket.base(), value, len, room),
            name => socket.base().general_option(name, room),
        }
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
    if level == SOL_SOCKET {
        match name {
            SO_BINDTODEVICE => return bind_to_device(task, socket.base(), &bytes),
            SO_BINDTOIFINDEX => return bind_to_index(task, socket.base(), &bytes),
            SO_ATTACH_FILTER => return filter::attach(task, socket.base(), &bytes),
            SO_DETACH_FILTER => return filter::detach(socket.base(), &bytes),
            _ => {}
        }
        match socket.base().set_general_option(&task.cred(), name, &bytes) {
            Err(Errno::ENOPROTOOPT) => {}
            Ok(changed) => {
                if changed {
                    socket.buffers_changed();
                }
                return socket.general_option_set(name, &bytes);
            }
            Err(error) => return Err(error),
        }
    }
    socket.set_option(task, level, name, &bytes)
}
