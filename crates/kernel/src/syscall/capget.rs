//! capget(2), capset(2).

use abi::{AbiField, Errno, UserAddr, abi_struct};

use crate::cred::Caps;
use crate::task::CurrentTask;

abi_struct! {
    /// `struct __user_cap_header_struct`.
    struct Header { version: u32, pid: i32 }
}

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// Reads the header; the number of 32-bit words of each set. An unknown version is answered with the known one.
fn header(task: &CurrentTask, at: UserAddr) -> Result<(Header, usize), Errno> {
    let header: Header = task.read_struct(at)?;
    match header.version {
        VERSION_1 => Ok((header, 1)),
        VERSION_2 | VERSION_3 => Ok((header, 2)),
        _ => {
            task.write_struct(at, &VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}

/// capget(2).
pub fn capget(task: &CurrentTask, head: UserAddr, data: UserAddr) -> Result<(), Errno> {
    let (header, words) = match header(task, head) {
        // Asking for the version only.
        Err(Errno::EINVAL) if data.is_null() => return Ok(()),
        other => other?,
    };
    if header.pid < 0 {
        return Err(Errno::EINVAL);
    }
    let cred = match header.pid {
        0 => task.cred(),
        pid => {
            let id = task.kernel_pid(pid.unsigned_abs())?;
            let found = task.kernel.pids.read().task_or_zombie(id);
            found.ok_or(Errno::ESRCH)?.cred()
        }
    };
    if data.is_null() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    for word in 0..words {
        for set in [cred.effective, cred.permitted, cred.inheritable] {
            bytes.extend_from_slice(&((set.bits() >> (32 * word)) as u32).to_le_bytes());
        }
    }
    task.copy_out(data, &bytes)
}

/// capset(2).
pub fn capset(task: &CurrentTask, head: UserAddr, data: UserAddr) -> Result<(), Errno> {
    let (header, words) = header(task, head)?;
    if header.pid != 0 && header.pid.unsigned_abs() != task.own_tid() {
        return Err(Errno::EPERM);
    }
    let mut bytes = vec![0; words * 12];
    task.copy_in(data, &mut bytes)?;
    let mut sets = [0_u64; 3];
    for (word, chunk) in bytes.chunks_exact(12).enumerate() {
        for (set, raw) in sets.iter_mut().zip(chunk.chunks_exact(4)) {
            *set |= u64::from(u32::get(raw)) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets.map(Caps::from_bits_truncate);
    let new = task.cred().capset(effective, permitted, inheritable)?;
    task.set_credentials(new);
    Ok(())
}
