//! File leases (fcntl(2), "Leases"): their holders hear of opens and truncations that would not agree with them, first.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::FileDescription;
use super::sigio::{self, Reason};
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::vfs::{FileKind, Inode};

/// F_RDLCK, F_WRLCK, F_UNLCK.
const READ: u64 = 0;
const WRITE: u64 = 1;
const UNLOCK: u64 = 2;
/// Most leases on one file.
const LEASES_PER_FILE: usize = 4096;
/// fs.lease-break-time.
const BREAK_SECONDS: i64 = 45;

struct Lease {
    file: Weak<FileDescription>,
    id: u64,
    fd: i32,
    write: bool,
    /// It is being broken: what may be left of it (a read lease or nothing), and until when.
    breaking: Option<(Option<()>, Instant)>,
}

impl Lease {
    /// Whether opening the file (to write) is against it.
    fn conflicts(&self, write: bool) -> bool {
        self.write || write
    }
}

/// The leases of a file; attached to its inode.
struct Leases {
    list: Mutex<Vec<Lease>>,
    changed: WaitQueue,
}

impl Default for Leases {
    fn default() -> Self {
        Leases {
            list: Mutex::new(rank::LEAF, Vec::new()),
            changed: WaitQueue::new(),
        }
    }
}

/// F_GETLEASE.
pub fn get(file: &FileDescription) -> Result<i64, Errno> {
    let Some(leases) = file.path().inode()?.attached::<Leases>() else {
        return Ok(UNLOCK as i64);
    };
    let list = leases.list.lock();
    let own = list.iter().find(|lease| lease.id == file.id());
    Ok(match own {
        None => UNLOCK,
        Some(Lease {
            breaking: Some((None, _)),
            ..
        }) => UNLOCK,
        Some(Lease {
            breaking: Some((Some(()), _)),
            ..
        }) => READ,
        Some(lease) => u64::from(lease.write),
    } as i64)
}

/// F_SETLEASE.
pub fn set(task: &CurrentTask, file: &Arc<FileDescription>, fd: i32, kind: u64) -> Result<(), Errno> {
    let inode = file.path().inode()?;
    let cred = task.cred();
    if cred.fsuid != inode.attr()?.uid && !cred.has(Caps::LEASE) {
        return Err(Errno::EACCES);
    }
    if inode.kind != FileKind::Regular || !matches!(kind, READ | WRITE | UNLOCK) {
        return Err(Errno::EINVAL);
    }
    if kind == UNLOCK {
        return remove(file, &inode);
    }
    let (others, writers) = opens(task, file, &inode);
    if (kind == READ && writers) || (kind == WRITE && others) {
        return Err(Errno::EAGAIN);
    }
    let leases = inode.attach(Leases::default);
    {
        let mut list = leases.list.lock();
        let foreign = list.iter().any(|lease| lease.id != file.id());
        if (kind == WRITE && foreign) || list.iter().any(|lease| lease.id != file.id() && lease.write) {
            return Err(Errno::EAGAIN);
        }
        let full = list.len() >= LEASES_PER_FILE;
        match list.iter_mut().find(|lease| lease.id == file.id()) {
            // What is being broken may become weaker only, and nothing is left of it when the opener writes.
            Some(lease) if matches!(lease.breaking, Some((None, _))) => return Err(Errno::EAGAIN),
            Some(lease) if lease.breaking.is_some() && kind == WRITE => return Err(Errno::EAGAIN),
            Some(lease) => {
                lease.write = kind == WRITE;
                if matches!(lease.breaking, Some((Some(()), _))) {
                    lease.breaking = None;
                }
            }
            None if full => return Err(Errno::ENOLCK),
            None => {
                list.push(Lease {
                    file: Arc::downgrade(file),
                    id: file.id(),
                    fd,
                    write: kind == WRITE,
                    breaking: None,
                });
                task.kernel.vfs.leases.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    sigio::claim(task, file);
    leases.changed.wake(Events::all());
    Ok(())
}

fn remove(file: &FileDescription, inode: &Inode) -> Result<(), Errno> {
    let leases = inode.attached::<Leases>().ok_or(Errno::EAGAIN)?;
    let mut list = leases.list.lock();
    let before = list.len();
    list.retain(|lease| lease.id != file.id());
    let gone = before != list.len();
    drop(list);
    if !gone {
        return Err(Errno::EAGAIN);
    }
    // The count of all leases stays: it says only that there were some.
    leases.changed.wake(Events::all());
    Ok(())
}

/// The file is closed for good.
pub(super) fn release(file: &FileDescription) {
    if let Ok(inode) = file.path().dentry.inode_ref()
        && inode.kind == FileKind::Regular
    {
        let _ = remove(file, inode);
    }
}

/// Whether the file is open elsewhere, and whether it is open to write anywhere. Looks at all descriptors of all
/// processes: leases are rare, opens are not.
fn opens(task: &CurrentTask, file: &Arc<FileDescription>, inode: &Arc<Inode>) -> (bool, bool) {
    let tasks: Vec<_> = task.kernel.pids.read().tasks.values().cloned().collect();
    let (mut others, mut writers) = (false, file.writable());
    let mut seen = Vec::new();
    for other in tasks {
        let files = other.files();
        if seen.iter().any(|known| Arc::ptr_eq(known, &files)) {
            continue;
        }
        for fd in files.numbers() {
            let Ok(open) = files.get(fd) else { continue };
            let same = open
                .path()
                .dentry
                .inode_ref()
                .is_ok_and(|own| Arc::ptr_eq(own, inode));
            if same && open.id() != file.id() {
                others = true;
                writers |= open.writable();
            }
        }
        seen.push(files);
    }
    (others, writers)
}

/// The file is about to be opened (or truncated: `write`): leases against that are broken first, and their holders
/// waited for. `EAGAIN` when the caller does not want to wait.
pub fn break_for(task: &CurrentTask, inode: &Arc<Inode>, write: bool, wait: bool) -> Result<(), Errno> {
    if task.kernel.vfs.leases.load(Ordering::Relaxed) == 0 || inode.kind != FileKind::Regular {
        return Ok(());
    }
    let Some(leases) = inode.attached::<Leases>() else {
        return Ok(());
    };
    let seconds = task.kernel.sysctls.number("fs/lease-break-time", BREAK_SECONDS);
    let patience = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let until = Instant::now() + patience;
    let mut tell = Vec::new();
    for lease in leases
        .list
        .lock()
        .iter_mut()
        .filter(|lease| lease.conflicts(write))
    {
        let left = (!write).then_some(());
        match &mut lease.breaking {
            // A writer takes what a reader would have left.
            Some((known, _)) => *known = known.and(left),
            None => {
                lease.breaking = Some((left, until));
                tell.push((lease.file.clone(), lease.fd));
            }
        }
    }
    for (file, fd) in tell {
        if let Some(file) = file.upgrade() {
            sigio::signal_owner(&task.kernel, &file, fd, Reason::Message);
        }
    }
    if !leases.list.lock().iter().any(|lease| lease.conflicts(write)) {
        return Ok(());
    }
    if !wait {
        return Err(Errno::EAGAIN);
    }
    let free = || {
        let mut list = leases.list.lock();
        let now = Instant::now();
        // Who does not answer in time loses it.
        list.retain_mut(|lease| match lease.breaking {
            Some((None, until)) if until <= now => false,
            Some((Some(()), until)) if until <= now => {
                (lease.write, lease.breaking) = (false, None);
                true
            }
            _ => true,
        });
        if list.iter().any(|lease| lease.conflicts(write)) {
            Err(Errno::EAGAIN)
        } else {
            Ok(())
        }
    };
    // Leases that were being broken before end earlier: look again each second.
    loop {
        let next = until.min(Instant::now() + Duration::from_secs(1));
        match task.wait_on(&leases.changed, Some(next), free) {
            Err(Errno::ETIMEDOUT) => {}
            done => return done,
        }
    }
}
