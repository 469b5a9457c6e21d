//! A socket as an open file.

use std::sync::Arc;
use std::time::Duration;

use abi::fcntl::{O_NONBLOCK, O_RDWR};
use abi::{Errno, UserAddr};
use sync::{Events, PollTable};

use super::{AF_INET, AF_INET6, AF_PACKET, Kind, Outgoing, SocketOps, interface, msg};
use crate::Kernel;
use crate::cred::Caps;
use crate::file::pipe::raise_sigpipe;
use crate::file::{FileDescription, FileOps, sigio};
use crate::io::{Sink, Source};
use crate::task::{CurrentTask, Namespace, install_namespace};
use crate::vfs::FileKind;

const FIONREAD: u32 = 0x541b;
const SIOCOUTQ: u32 = 0x5411;
const SIOCATMARK: u32 = 0x8905;
const SIOCOUTQNSD: u32 = 0x894b;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
const FIOGETOWN: u32 = 0x8903;
const SIOCGPGRP: u32 = 0x8904;
const SIOCGSTAMP: u32 = 0x8906;
const SIOCGSTAMPNS: u32 = 0x8907;
const SIOCGSTAMP_NEW: u32 = 0x8010_8906;
const SIOCGSTAMPNS_NEW: u32 = 0x8010_8907;
const SIOCGSKNS: u32 = 0x894c;

/// An open socket. Dropping it closes the socket.
pub struct SocketFile(Arc<dyn SocketOps>);

impl SocketFile {
    /// The socket.
    pub fn socket(&self) -> &Arc<dyn SocketOps> {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Makes an open file of a socket. `flags`: O_NONBLOCK.
pub fn install(kernel: &Kernel, socket: Arc<dyn SocketOps>, flags: u32) -> Arc<FileDescription> {
    let ino = socket.base().ino;
    let path = crate::vfs::anon_path(kernel, &format!("socket:[{ino}]"), ino, FileKind::Socket, 0o777);
    let ops = Box::new(SocketFile(socket.clone()));
    let file = FileDescription::new(path, ops, O_RDWR | (flags & O_NONBLOCK));
    *socket.base().file.lock() = Arc::downgrade(&file);
    file
}

/// The socket of an open file. `ENOTSOCK` when it is none.
pub fn socket_of(file: &FileDescription) -> Result<&Arc<dyn SocketOps>, Errno> {
    file.ops_as::<SocketFile>()
        .map(SocketFile::socket)
        .ok_or(Errno::ENOTSOCK)
}

impl FileOps for SocketFile {
    fn read(&self, file: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let flags = if file.nonblocking() { msg::DONTWAIT } else { 0 };
        self.0.receive(dst, flags).map(|incoming| incoming.stored)
    }

    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut message = Outgoing {
            src,
            to: None,
            task: None,
            control: super::Control::default(),
            flags: 0,
        };
        let sent = self.0.send(&mut message);
        if sent == Err(Errno::EPIPE) && self.0.base().kind == Kind::Stream {
            raise_sigpipe();
        }
        sent
    }

    fn writes_all(&self) -> bool {
        self.0.base().kind == Kind::Stream
    }

    fn timeout(&self, write: bool) -> Option<Duration> {
        timeout(&*self.0, write)
    }

    fn read_patience(&self, _: &FileDescription) -> Option<(Duration, usize)> {
        timeout(&*self.0, false).map(|time| (time, 0))
    }

    fn read_impatient(&self, _: &FileDescription, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EAGAIN)
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        self.0.poll(table)
    }

    fn map(
        &self,
        _: &FileDescription,
        offset: u64,
        len: u64,
        _: bool,
        _: platform::Prot,
    ) -> Result<Vec<crate::file::MapPiece>, Errno> {
        self.0.map(offset, len)
    }

    fn ioctl(
        &self,
        file: &FileDescription,
        task: &CurrentTask,
        command: u32,
        arg: u64,
    ) -> Result<i64, Errno> {
        let number = |count: usize| {
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            task.write_struct(UserAddr(arg), &count).map(|()| 0)
        };
        match command {
            FIONREAD => number(self.0.readable_bytes()?),
            SIOCOUTQ => number(self.0.unsent_bytes()?),
            SIOCOUTQNSD => number(self.0.unsent_here()?),
            SIOCATMARK => number(usize::from(self.0.at_mark()?)),
            FIOSETOWN | SIOCSPGRP => {
                let pid: i32 = task.read_struct(UserAddr(arg))?;
                sigio::set_owner(task, file, pid).map(|()| 0)
            }
            FIOGETOWN | SIOCGPGRP => {
                let pid = sigio::owner_of(task, file);
                task.write_struct(UserAddr(arg), &pid).map(|()| 0)
            }
            SIOCGSTAMP | SIOCGSTAMP_NEW => stamp(&*self.0, task, arg, 1000),
            SIOCGSTAMPNS | SIOCGSTAMPNS_NEW => stamp(&*self.0, task, arg, 1),
            SIOCGSKNS => {
                let net = &self.0.base().net;
                if !net.permits(&task.cred(), Caps::NET_ADMIN) {
                    return Err(Errno::EPERM);
                }
                install_namespace(task, &Namespace::Net(net.clone()))
            }
            _ => interface::ioctl(&self.0.base().net, task, command, UserAddr(arg)),
        }
    }
}

/// SIOCGSTAMP and SIOCGSTAMPNS: when the message came that was received last, in parts of `part` nanoseconds. `ENOENT` before
/// the first one that came after somebody had asked, `ENOTTY` for families without times.
fn stamp(socket: &dyn SocketOps, task: &CurrentTask, arg: u64, part: i64) -> Result<i64, Errno> {
    let base = socket.base();
    if !matches!(base.family, AF_INET | AF_INET6 | AF_PACKET) {
        return Err(Errno::ENOTTY);
    }
    let time = base.options.lock().last_stamp()?;
    let (sec, nsec) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
    task.write_struct(UserAddr(arg), &[sec, nsec / part]).map(|()| 0)
}

/// How long a call waits on a socket: not at all, for SO_RCVTIMEO or SO_SNDTIMEO, or for ever.
pub fn timeout(socket: &dyn SocketOps, write: bool) -> Option<Duration> {
    let options = socket.base().options.lock();
    if write {
        options.send_timeout
    } else {
        options.receive_timeout
    }
}
