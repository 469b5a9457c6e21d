//! Control messages (cmsg(3)): files and credentials that travel with bytes (unix(7)), and what is told of a datagram's
//! way (ip(7), ipv6(7)).

use std::sync::Arc;

use abi::fcntl::O_PATH;
use abi::{AbiField, AbiStruct, Errno, UserAddr, abi_struct};

use super::in_flight::{InFlight, drop_files};
use super::options::SOL_SOCKET;
use crate::cred::{Caps, IdKind};
use crate::file::FileDescription;
use crate::task::{CurrentTask, Task};

const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
/// Files in one message (SCM_MAX_FD).
const MAX_FILES: usize = 253;
/// Bytes of control data in one message (net.core.optmem_max).
const MAX_CONTROL: usize = 131_072;
const HEADER: usize = CmsgHdr::SIZE;

abi_struct! {
    struct CmsgHdr { len: u64, level: i32, kind: i32 }
}
abi_struct! {
    /// `struct ucred`: who sent something.
    pub struct Ucred {
        /// Process id.
        pub pid: u32,
        /// Effective user id.
        pub uid: u32,
        /// Effective group id.
        pub gid: u32,
    }
}

impl Ucred {
    /// Of a socket without a peer, or of the kernel.
    pub const NOBODY: Ucred = Ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };

    /// Of a task.
    pub fn of(task: &Task) -> Ucred {
        let cred = task.cred();
        Ucred {
            pid: task.tgid(),
            uid: cred.euid,
            gid: cred.egid,
        }
    }

    /// As a task sees them: its numbers for them.
    pub fn shown_to(self, task: &Task) -> Ucred {
        if self == Ucred::NOBODY {
            return self;
        }
        Ucred {
            pid: task.own_pid(self.pid),
            uid: task.shown_uid(self.uid),
            gid: task.shown_gid(self.gid),
        }
    }

    /// Of the task that this thread serves.
    pub fn current() -> Ucred {
        crate::task::current().map_or(Ucred::NOBODY, |task| Ucred::of(&task))
    }
}

/// A control message to be given to the receiver.
pub struct Record {
    /// cmsg_level.
    pub level: i32,
    /// cmsg_type.
    pub kind: i32,
    /// Its content.
    pub data: Vec<u8>,
}

/// What a sender asked for its datagram's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Journey {
    /// IP_TTL, IPV6_HOPLIMIT.
    pub hops: Option<i32>,
    /// IP_TOS, IPV6_TCLASS.
    pub class: Option<i32>,
    /// IP_PKTINFO, IPV6_PKTINFO: over which interface.
    pub interface: Option<u32>,
    /// The same: from which address.
    pub source: Option<std::net::IpAddr>,
}

/// What goes with a message besides its bytes.
#[derive(Default)]
pub struct Control {
    /// Sending over an internet family.
    pub journey: Journey,
    /// Receiving: further control messages.
    pub records: Vec<Record>,
    /// Open files.
    pub files: InFlight,
    /// The sender's credentials: when sending, only if the caller named them; when receiving, if the kind has them.
    pub cred: Option<Ucred>,
}

impl Control {
    /// Reads the control messages of sendmsg(2). Only a unix socket (`unix`) sends files and credentials.
    pub fn read(task: &CurrentTask, addr: UserAddr, len: usize, unix: bool) -> Result<Control, Errno> {
        if len > MAX_CONTROL {
            return Err(Errno::ENOBUFS);
        }
        let mut raw = vec![0; len];
        task.copy_in(addr, &mut raw)?;
        let mut control = Control::default();
        let mut files = Vec::new();
        let mut rest = &raw[..];
        while rest.len() >= HEADER {
            let header = CmsgHdr::get(rest);
            let len = usize::try_from(header.len)
                .ok()
                .filter(|len| (HEADER..=rest.len()).contains(len))
                .ok_or(Errno::EINVAL)?;
            if header.level == SOL_SOCKET {
                let data = &rest[HEADER..len];
                match header.kind {
                    SCM_RIGHTS if unix => read_files(task, data, &mut files)?,
                    SCM_CREDENTIALS if unix => control.cred = Some(check_credentials(task, data)?),
                    SCM_RIGHTS | SCM_CREDENTIALS => {}
                    _ => return Err(Errno::EINVAL),
                }
            }
            if !unix {
                control
                    .journey
                    .read(header.level, header.kind, &rest[HEADER..len])?;
            }
            rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
        }
        if !files.is_empty() {
            let cred = task.cred();
            let limit = if cred.has(Caps::SYS_RESOURCE) || cred.has(Caps::SYS_ADMIN) {
                u64::MAX
            } else {
                task.group.fd_limit()
            };
            control.files = InFlight::new(files, limit)?;
        }
        Ok(control)
    }

    /// Writes what was received as control messages and gives the files numbers. Returns the bytes written and whether
    /// something had no room (MSG_CTRUNC).
    pub fn deliver(
        self,
        task: &CurrentTask,
        addr: UserAddr,
        room: usize,
        cloexec: bool,
        pass_credentials: bool,
    ) -> Result<(usize, bool), Errno> {
        let mut out = Writer {
            task,
            addr,
            room,
            used: 0,
            cut: false,
        };
        for record in &self.records {
            out.put(record.level, record.kind, &record.data)?;
        }
        if pass_credentials && let Some(cred) = self.cred {
            out.put(SOL_SOCKET, SCM_CREDENTIALS, &cred.shown_to(task).to_bytes())?;
        }
        self.deliver_files(out, cloexec)
    }

    /// Gives the files numbers, as many as there is room for.
    fn deliver_files(mut self, mut out: Writer<'_>, cloexec: bool) -> Result<(usize, bool), Errno> {
        let mut files = self.files.take();
        if files.is_empty() {
            return Ok((out.used, out.cut));
        }
        let fits = out.room.saturating_sub(out.used).saturating_sub(HEADER) / 4;
        let surplus = files.split_off(fits.min(files.len()));
        out.cut |= !surplus.is_empty();
        let task = out.task;
        let (table, limit) = (task.files(), task.group.fd_limit());
        let mut numbers = Vec::new();
        let mut unplaced = surplus;
        for file in files {
            match table.install(file.clone(), cloexec, 0, limit) {
                Ok(fd) => numbers.push(fd),
                Err(_) => {
                    out.cut = true;
                    unplaced.push(file);
                }
            }
        }
        drop_files(unplaced);
        if !numbers.is_empty() {
            let data: Vec<u8> = numbers.iter().flat_map(|fd| fd.to_le_bytes()).collect();
            out.put(SOL_SOCKET, SCM_RIGHTS, &data)?;
        }
        Ok((out.used, out.cut))
    }
}

/// Writes control messages one after the other (put_cmsg of the kernel).
struct Writer<'a> {
    task: &'a CurrentTask,
    addr: UserAddr,
    room: usize,
    used: usize,
    /// Something had no room.
    cut: bool,
}

impl Writer<'_> {
    fn put(&mut self, level: i32, kind: i32, data: &[u8]) -> Result<(), Errno> {
        let left = self.room - self.used;
        if left < HEADER {
            self.cut = true;
            return Ok(());
        }
        let len = (HEADER + data.len()).min(left);
        self.cut |= len < HEADER + data.len();
        let header = CmsgHdr {
            len: len as u64,
            level,
            kind,
        };
        let mut bytes = header.to_bytes();
        bytes.extend_from_slice(&data[..len - HEADER]);
        self.task.copy_out(self.addr.add(self.used as u64)?, &bytes)?;
        self.used += len.next_multiple_of(8).min(left);
        Ok(())
    }
}

impl Journey {
    fn sent_from(&mut self, interface: u32, source: std::net::IpAddr) {
        self.interface = (interface != 0).then_some(interface);
        self.source = (!source.is_unspecified()).then_some(source);
    }

    /// Takes a control message of the internet levels; others are ignored.
    fn read(&mut self, level: i32, kind: i32, data: &[u8]) -> Result<(), Errno> {
        const IPPROTO_IP: i32 = 0;
        const IPPROTO_IPV6: i32 = 41;
        let value = || match data {
            [byte] if level == IPPROTO_IP => Ok(i32::from(*byte)),
            [_, _, _, _] => Ok(i32::get(data)),
            _ => Err(Errno::EINVAL),
        };
        match (level, kind) {
            (IPPROTO_IP, 2) | (IPPROTO_IPV6, 52) => self.hops = Some(value()?),
            (IPPROTO_IP, 1) | (IPPROTO_IPV6, 67) => self.class = Some(value()?),
            (IPPROTO_IP, 8) if data.len() >= 12 => {
                let source: [u8; 4] = [data[4], data[5], data[6], data[7]];
                self.sent_from(u32::get(data), source.into());
            }
            (IPPROTO_IPV6, 50) if data.len() >= 20 => {
                let source = <[u8; 16]>::try_from(&data[..16]).map_err(|_| Errno::EINVAL)?;
                self.sent_from(
                    u32::get(&data[16..]),
                    std::net::IpAddr::from(source).to_canonical(),
                );
            }
            (IPPROTO_IP, 8) | (IPPROTO_IPV6, 50) => return Err(Errno::EINVAL),
            _ => return Ok(()),
        }
        let fine = self.hops.is_none_or(|hops| (-1..=255).contains(&hops))
            && self.class.is_none_or(|class| (-1..=255).contains(&class));
        if fine { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

fn read_files(task: &CurrentTask, data: &[u8], files: &mut Vec<Arc<FileDescription>>) -> Result<(), Errno> {
    if files.len() + data.len() / 4 > MAX_FILES {
        return Err(Errno::EINVAL);
    }
    let table = task.files();
    for raw in data.chunks_exact(4) {
        let file = table.get(i32::get(raw))?;
        if file.flags() & O_PATH != 0 && file.path().inode().is_err() {
            return Err(Errno::EBADF);
        }
        files.push(file);
    }
    Ok(())
}

/// Whether the task may claim these credentials (scm_check_creds).
fn check_credentials(task: &CurrentTask, data: &[u8]) -> Result<Ucred, Errno> {
    if data.len() != Ucred::SIZE {
        return Err(Errno::EINVAL);
    }
    let given = Ucred::get(data);
    let cred = task.cred();
    let ids = &cred.user_ns;
    let claim = Ucred {
        pid: task.kernel_pid(given.pid).unwrap_or(0),
        uid: ids.to_kernel(IdKind::User, given.uid).ok_or(Errno::EINVAL)?,
        gid: ids.to_kernel(IdKind::Group, given.gid).ok_or(Errno::EINVAL)?,
    };
    let pid = claim.pid == task.tgid() || cred.has_in(&task.group.pid_ns.user_ns, Caps::SYS_ADMIN);
    let uid = [cred.uid, cred.euid, cred.suid].contains(&claim.uid) || cred.has_own(Caps::SETUID);
    let gid = [cred.gid, cred.egid, cred.sgid].contains(&claim.gid) || cred.has_own(Caps::SETGID);
    if !(pid && uid && gid) {
        return Err(Errno::EPERM);
    }
    if claim.pid != task.tgid() && !task.kernel.pids.read().tasks.contains_key(&claim.pid) {
        return Err(Errno::ESRCH);
    }
    Ok(claim)
}
