//! Notice of changes that others make to directories (fanotify(7)), as any user may have it: marks on single directories,
//! and events that tell neither a file nor a stranger's process id.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;

/// What is told of a marked directory: names that come and go, and its own attributes. Of data nothing is told.
const MASK: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR;

/// fanotify_init(2)'s flags. With FAN_REPORT_DIR_FID events carry no descriptor.
const GROUP: u32 = libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_DIR_FID | libc::FAN_NONBLOCK | libc::FAN_CLOEXEC;

/// Bytes of events taken at once.
const EVENTS: usize = 16 << 10;

/// A queue of events. To be made by a process without privilege on the host: the queue of a privileged one may do more.
pub fn new_group() -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers.
    let fd = check(unsafe { libc::fanotify_init(GROUP, libc::O_RDONLY as u32) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// From now on changes of the directory are told.
pub fn mark(group: BorrowedFd<'_>, dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR;
    // SAFETY: the path is NUL-terminated.
    let ret = unsafe { libc::fanotify_mark(group.as_raw_fd(), flags, MASK, dir.as_raw_fd(), c".".as_ptr()) };
    check(ret.into()).map(drop)
}

/// Takes all marks off.
pub fn unmark_all(group: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no path is passed.
    let ret =
        unsafe { libc::fanotify_mark(group.as_raw_fd(), libc::FAN_MARK_FLUSH, 0, -1, std::ptr::null()) };
    check(ret.into()).map(drop)
}

/// Takes all events that wait; whether one of them was not caused by the process `own`. Events that were lost count.
pub fn others_changed(group: BorrowedFd<'_>, own: u32) -> Result<bool, Errno> {
    let mut others = false;
    let mut buf = [0u8; EVENTS];
    loop {
        // SAFETY: pointer and length describe `buf`.
        let got = unsafe { libc::read(group.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
        match check(got as libc::c_long) {
            Ok(got) => others |= any_other(&buf[..got as usize], own),
            Err(Errno::EAGAIN) => return Ok(others),
            Err(error) => return Err(error),
        }
    }
}

/// Whether an event of the list (struct fanotify_event_metadata) is another process's.
fn any_other(mut events: &[u8], own: u32) -> bool {
    const HEAD: usize = size_of::<libc::fanotify_event_metadata>();
    while events.len() >= HEAD {
        let len = u32::from_le_bytes([events[0], events[1], events[2], events[3]]) as usize;
        // The process id is the last field.
        let pid = u32::from_le_bytes([
            events[HEAD - 4],
            events[HEAD - 3],
            events[HEAD - 2],
            events[HEAD - 1],
        ]);
        if pid != own || len < HEAD || len > events.len() {
            return true;
        }
        events = &events[len..];
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use super::*;

    #[test]
    fn own_changes_are_told_from_others() {
        let dir = std::env::temp_dir().join(format!("tegmen-fanotify-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let handle = std::fs::File::open(&dir).unwrap();
        let Ok(group) = new_group() else {
            // Hosts that keep it to the privileged have no such queue.
            std::fs::remove_dir(&dir).unwrap();
            return;
        };
        mark(group.as_fd(), handle.as_fd()).unwrap();
        let own = std::process::id();
        let others = || others_changed(group.as_fd(), own).unwrap();
        assert!(!others());
        std::fs::write(dir.join("mine"), b"").unwrap();
        assert!(!others());
        assert!(
            Command::new("rm")
                .arg(dir.join("mine"))
                .status()
                .unwrap()
                .success()
        );
        assert!(others());
        unmark_all(group.as_fd()).unwrap();
        assert!(
            Command::new("touch")
                .arg(dir.join("theirs"))
                .status()
                .unwrap()
                .success()
        );
        assert!(!others());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
