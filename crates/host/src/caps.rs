//! capabilities(7) of the calling thread.

use abi::Errno;

use crate::call::check;

/// A capability by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap(pub u8);

impl Cap {
    /// Give files to other users.
    pub const CHOWN: Cap = Cap(0);
    /// Pass by file permissions.
    pub const DAC_OVERRIDE: Cap = Cap(1);
    /// Pass by read and search permissions.
    pub const DAC_READ_SEARCH: Cap = Cap(2);
    /// Act as the owner of any file.
    pub const FOWNER: Cap = Cap(3);
    /// Keep set-user-ID bits when writing.
    pub const FSETID: Cap = Cap(4);
    /// Give capabilities to files.
    pub const SETFCAP: Cap = Cap(31);
    /// Change group ids.
    pub const SETGID: Cap = Cap(6);
    /// Change user ids.
    pub const SETUID: Cap = Cap(7);
    /// Administer the system: mounts, namespaces.
    pub const SYS_ADMIN: Cap = Cap(21);
}

/// Numbers above the last capability of any known kernel.
const MAX_CAP: u8 = 63;
/// _LINUX_CAPABILITY_VERSION_3.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Whether `cap` is in the effective set of the caller.
pub fn has(cap: Cap) -> bool {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout of version 3.
    let ret = unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) };
    let word = data[usize::from(cap.0 / 32)].effective;
    ret == 0 && word & (1 << (cap.0 % 32)) != 0
}

/// Leaves the caller with exactly `keep`, in its permitted, effective and bounding sets; ambient and inheritable become empty.
///
/// Capabilities of `keep` that the caller lacks are left out, not an error.
pub fn keep_only(keep: &[Cap]) -> Result<(), Errno> {
    bound(keep)?;
    restrict(keep)
}

/// Leaves the caller without any capability. What an ordinary user's bounding set has, which only the privileged can change, stays:
/// together with no_new_privs it gives nothing.
pub fn give_up() -> Result<(), Errno> {
    match bound(&[]) {
        Ok(()) | Err(Errno::EPERM) => restrict(&[]),
        other => other,
    }
}

/// Limits the bounding set.
fn bound(keep: &[Cap]) -> Result<(), Errno> {
    for cap in 0..=MAX_CAP {
        if keep.contains(&Cap(cap)) {
            continue;
        }
        // SAFETY: no memory is passed.
        let ret = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0, 0, 0) };
        match check(ret.into()) {
            Ok(_) => {}
            // Past the last capability of this kernel.
            Err(Errno::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Limits the other sets.
fn restrict(keep: &[Cap]) -> Result<(), Errno> {
    let clear_all = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear_all, 0, 0, 0) }.into())?;

    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout of version 3.
    check(unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) })?;
    for (index, word) in data.iter_mut().enumerate() {
        let mask = keep
            .iter()
            .filter(|cap| usize::from(cap.0 / 32) == index)
            .fold(0u32, |mask, cap| mask | 1 << (cap.0 % 32));
        word.permitted &= mask;
        word.effective = word.permitted;
        word.inheritable = 0;
    }
    // SAFETY: header and data have the layout of version 3.
    check(unsafe { libc::syscall(libc::SYS_capset, &mut header, data.as_ptr()) }).map(drop)
}
