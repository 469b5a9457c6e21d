//! sethostname(2), setdomainname(2).

use abi::{Errno, UserAddr};

use crate::cred::Caps;
use crate::task::CurrentTask;

/// Longest name (__NEW_UTS_LEN).
const NAME_MAX: usize = 64;

fn read(task: &CurrentTask, name: UserAddr, len: i32) -> Result<String, Errno> {
    let owner = task.namespaces.lock().uts.user_ns.clone();
    if !task.cred().has_in(&owner, Caps::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= NAME_MAX)
        .ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; len];
    task.copy_in(name, &mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(len);
    bytes.truncate(end);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// sethostname(2).
pub fn sethostname(task: &CurrentTask, name: UserAddr, len: i32) -> Result<(), Errno> {
    let name = read(task, name, len)?;
    let uts = task.namespaces.lock().uts.clone();
    uts.lock().nodename = name;
    Ok(())
}

/// setdomainname(2).
pub fn setdomainname(task: &CurrentTask, name: UserAddr, len: i32) -> Result<(), Errno> {
    let name = read(task, name, len)?;
    let uts = task.namespaces.lock().uts.clone();
    uts.lock().domainname = name;
    Ok(())
}
