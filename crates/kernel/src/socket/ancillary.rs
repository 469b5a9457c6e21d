//! Control messages (cmsg(3)): files and credentials that travel with bytes (unix(7)).

use std::sync::Arc;

use abi::fcntl::O_PATH;
use abi::{AbiField, AbiStruct, Errno, UserAddr, abi_struct};

use super::in_flight::{InFlight, drop_files};
use super::options::SOL_SOCKET;
use crate::cred::Caps;
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

    /// Of the task that this thread serves.
    pub fn current() -> Ucred {
        crate::task::current().map_or(Ucred::NOBODY, |task| Ucred::of(&task))
    }
}

/// What goes with a message besides its bytes.
#[derive(Default)]
pub struct Control {
    /// Open files.
    pub files: InFlight,
    /// The sender's credentials: when sending, only if the caller named them; when receiving, if the kind has them.
    pub cred: Option<Ucred>,
}

impl Control {
    /// Reads the control messages of sendmsg(2). Only a unix socket (`unix`) sends any; those of other levels are ignored.
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
        mut self,
        task: &CurrentTask,
        addr: UserAddr,
        room: usize,
        cloexec: bool,
        pass_credentials: bool,
    ) -> Result<(usize, bool), Errno> {
        let mut used = 0;
        let mut cut = false;
        if pass_credentials && let Some(cred) = self.cred {
            let data = cred.to_bytes();
            if room >= HEADER + data.len() {
                write_cmsg(task, addr, SCM_CREDENTIALS, &data)?;
                used = (HEADER + data.len()).next_multiple_of(8).min(room);
            } else {
                cut = true;
            }
        }
        let mut files = self.files.take();
        if files.is_empty() {
            return Ok((used, cut));
        }
        let fits = room.saturating_sub(used).saturating_sub(HEADER) / 4;
        let surplus = files.split_off(fits.min(files.len()));
        cut |= !surplus.is_empty();
        let (table, limit) = (task.files(), task.group.fd_limit());
        let mut numbers = Vec::new();
        let mut unplaced = surplus;
        for file in files {
            match table.install(file.clone(), cloexec, 0, limit) {
                Ok(fd) => numbers.push(fd),
                Err(_) => {
                    cut = true;
                    unplaced.push(file);
                }
            }
        }
        drop_files(unplaced);
        if !numbers.is_empty() {
            let data: Vec<u8> = numbers.iter().flat_map(|fd| fd.to_le_bytes()).collect();
            write_cmsg(task, addr.add(used as u64)?, SCM_RIGHTS, &data)?;
            used = (used + (HEADER + data.len()).next_multiple_of(8)).min(room);
        }
        Ok((used, cut))
    }
}

fn write_cmsg(task: &CurrentTask, addr: UserAddr, kind: i32, data: &[u8]) -> Result<(), Errno> {
    let header = CmsgHdr {
        len: (HEADER + data.len()) as u64,
        level: SOL_SOCKET,
        kind,
    };
    let mut bytes = header.to_bytes();
    bytes.extend_from_slice(data);
    task.copy_out(addr, &bytes)
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
    let claim = Ucred::get(data);
    let cred = task.cred();
    let pid = claim.pid == task.tgid() || cred.has(Caps::SYS_ADMIN);
    let uid = [cred.uid, cred.euid, cred.suid].contains(&claim.uid) || cred.has(Caps::SETUID);
    let gid = [cred.gid, cred.egid, cred.sgid].contains(&claim.gid) || cred.has(Caps::SETGID);
    if pid && uid && gid {
        Ok(claim)
    } else {
        Err(Errno::EPERM)
    }
}
