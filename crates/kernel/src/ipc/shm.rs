//! System V shared memory: segments are shared objects of the kernel, attached like any shared mapping.

use std::sync::{Arc, Weak};

use abi::{Errno, UserAddr, page_up};
use platform::Prot;
use sync::{Mutex, rank};

use super::IpcTable;
use super::perm::{Found, Ids, Perm, find_or_absent};
use crate::cred::{Caps, Credentials};
use crate::mm::{AreaFlags, AreaName, Backing, Limits, MapRequest, Place, SharedObject, memory_pieces};
use crate::task::CurrentTask;

/// Segments of the sandbox (SHMMNI).
pub const SHMMNI: usize = 4096;
/// Largest segment (SHMMAX).
pub const SHMMAX: u64 = u64::MAX - (1 << 24);
/// Smallest segment (SHMMIN).
pub const SHMMIN: u64 = 1;
/// The segment is gone once nobody has it attached.
pub const SHM_DEST: u32 = 0o1000;
/// SHM_LOCK was done.
pub const SHM_LOCKED: u32 = 0o2000;
const SHM_HUGETLB: u32 = 0o4000;
const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100_000;

/// A segment.
pub struct Segment {
    /// Bytes asked for.
    pub size: u64,
    /// Changeable state.
    pub state: Mutex<SegmentState>,
}

/// The changeable part of a segment.
pub struct SegmentState {
    /// Permissions.
    pub perm: Perm,
    /// Its memory; kept only by its attachments once it was removed.
    memory: Memory,
    /// Last attach, seconds.
    pub atime: i64,
    /// Last detach.
    pub dtime: i64,
    /// Last change.
    pub ctime: i64,
    /// Creator's process.
    pub cpid: u32,
    /// Process of the last attach or detach.
    pub lpid: u32,
}

enum Memory {
    Kept(Arc<SharedObject>),
    Removed(Weak<SharedObject>),
}

impl SegmentState {
    /// The memory and how many areas show it; `None` when it was removed and the last one has gone.
    pub fn memory(&self) -> Option<(Arc<SharedObject>, u64)> {
        let (object, own) = match &self.memory {
            Memory::Kept(object) => (object.clone(), 2),
            Memory::Removed(object) => (object.upgrade()?, 1),
        };
        let attached = Arc::strong_count(&object).saturating_sub(own) as u64;
        Some((object, attached))
    }
}

impl IpcTable {
    /// Segments that still exist: those removed and detached everywhere are taken out on the way.
    fn shm_table<T>(&self, look: impl FnOnce(&mut Ids<Segment>) -> T) -> T {
        let mut table = self.segments.lock();
        let gone: Vec<i32> = table
            .iter()
            .filter(|(_, segment)| segment.state.lock().memory().is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            table.remove(id, super::perm::IPC_PRIVATE);
        }
        look(&mut table)
    }

    /// A segment by identifier.
    pub fn segment(&self, id: i32) -> Result<Arc<Segment>, Errno> {
        self.shm_table(|table| table.get(id))
    }

    /// A segment by slot (SHM_STAT), with its identifier.
    pub fn segment_at(&self, slot: i32) -> Result<(i32, Arc<Segment>), Errno> {
        self.shm_table(|table| table.at(slot))
    }

    /// Number of segments and the highest slot.
    pub fn segment_count(&self) -> (usize, u32) {
        self.shm_table(|table| (table.count(), table.highest()))
    }

    /// Pages of all segments: their sizes, and what is in memory.
    pub fn segment_pages(&self) -> (u64, u64) {
        let segments: Vec<Arc<Segment>> =
            self.shm_table(|table| table.iter().map(|(_, segment)| segment.clone()).collect());
        let mut sums = (0u64, 0u64);
        for segment in segments {
            sums.0 = sums.0.saturating_add(segment.size.div_ceil(abi::PAGE_SIZE));
            if let Some((object, _)) = segment.state.lock().memory() {
                sums.1 += object.memory.allocated() / abi::PAGE_SIZE;
            }
        }
        sums
    }

    /// Removes a segment: its key finds nothing any more, and it ends with its last attachment.
    pub fn remove_segment(&self, id: i32, cred: &Credentials) -> Result<(), Errno> {
        let mut table = self.segments.lock();
        let segment = table.get(id)?;
        let mut state = segment.state.lock();
        state.perm.check_owner(cred)?;
        table.forget_key(state.perm.key);
        state.perm.key = super::perm::IPC_PRIVATE;
        state.perm.mode |= SHM_DEST;
        if let Memory::Kept(object) = &state.memory {
            let weak = Arc::downgrade(object);
            state.memory = Memory::Removed(weak);
        }
        let gone = state.memory().is_none();
        drop(state);
        if gone {
            table.remove(id, super::perm::IPC_PRIVATE);
        }
        Ok(())
    }
}

/// shmget(2).
pub fn get(task: &CurrentTask, key: i32, size: u64, flags: u32) -> Result<i32, Errno> {
    let kernel = &task.kernel;
    let cred = task.cred();
    task.ipc()
        .shm_table(|table| match find_or_absent(table, key, flags)? {
            Found::Existing(id, segment) => {
                if segment.size < size {
                    return Err(Errno::EINVAL);
                }
                segment.state.lock().perm.check(&cred, flags & 0o777)?;
                Ok(id)
            }
            Found::Absent => {
                if !(SHMMIN..=SHMMAX).contains(&size) || page_up(size).is_none() {
                    return Err(Errno::EINVAL);
                }
                if flags & SHM_HUGETLB != 0 {
                    return Err(Errno::ENOMEM);
                }
                if size > kernel.config.total_memory {
                    return Err(Errno::ENOMEM);
                }
                let name = format!("/SYSV{:08x} (deleted)", key as u32);
                let object = kernel.new_shared_object(name.into_bytes())?;
                let state = SegmentState {
                    perm: Perm::new(key, &cred, flags),
                    memory: Memory::Kept(object),
                    atime: 0,
                    dtime: 0,
                    ctime: super::now(kernel),
                    cpid: task.tgid(),
                    lpid: 0,
                };
                let segment = Arc::new(Segment {
                    size,
                    state: Mutex::new(rank::FILE_STATE, state),
                });
                table.insert(key, segment)
            }
        })
}

/// shmat(2).
pub fn attach(task: &CurrentTask, id: i32, addr: UserAddr, flags: u32) -> Result<UserAddr, Errno> {
    let place = if addr.is_null() {
        if flags & SHM_REMAP != 0 {
            return Err(Errno::EINVAL);
        }
        Place::Hint(0)
    } else {
        let mut at = addr;
        if !at.is_page_aligned() {
            if flags & SHM_RND == 0 {
                return Err(Errno::EINVAL);
            }
            at = at.page();
            if at.is_null() && flags & SHM_REMAP != 0 {
                return Err(Errno::EINVAL);
            }
        }
        if flags & SHM_REMAP != 0 {
            Place::Fixed(at.0)
        } else {
            Place::NoReplace(at.0)
        }
    };
    let segment = task.ipc().segment(id)?;
    let mut prot = Prot::READ;
    prot.set(Prot::WRITE, flags & SHM_RDONLY == 0);
    prot.set(Prot::EXEC, flags & SHM_EXEC != 0);
    let bits = |access: Prot, bits: u32| if prot.contains(access) { bits } else { 0 };
    let wanted = bits(Prot::READ, 0o444) | bits(Prot::WRITE, 0o222) | bits(Prot::EXEC, 0o111);
    let object = {
        let state = segment.state.lock();
        state.perm.check(&task.cred(), wanted)?;
        state.memory().ok_or(Errno::EIDRM)?.0
    };
    let len = page_up(segment.size).ok_or(Errno::EINVAL)?;
    let request = MapRequest {
        place,
        len,
        prot,
        max_prot: if prot.contains(Prot::WRITE) {
            Prot::all()
        } else {
            Prot::READ | Prot::EXEC
        },
        flags: AreaFlags::SHARED | AreaFlags::SHM,
        pieces: memory_pieces(&*object.memory, 0, len)?,
        backing: Backing::Object { object, offset: 0 },
        populate: false,
        name: AreaName::None,
    };
    let at = task.mm_ref().map(request, &Limits::of(task)).map_err(|errno| {
        if errno == Errno::EEXIST {
            Errno::EINVAL
        } else {
            errno
        }
    })?;
    let mut state = segment.state.lock();
    state.atime = super::now(&task.kernel);
    state.lpid = task.tgid();
    Ok(at)
}

/// shmdt(2): unmaps what is left of the attachment that began at `addr`.
pub fn detach(task: &CurrentTask, addr: UserAddr) -> Result<(), Errno> {
    let mm = task.mm_ref();
    let first = mm.area_at(addr).ok_or(Errno::EINVAL)?;
    let object = match &first.backing {
        Backing::Object { object, offset: 0 }
            if first.start == addr.0 && first.flags.contains(AreaFlags::SHM) =>
        {
            object.clone()
        }
        _ => return Err(Errno::EINVAL),
    };
    drop(first);
    let mut parts = Vec::new();
    for area in mm.areas() {
        if let Backing::Object {
            object: other,
            offset,
        } = &area.backing
            && Arc::ptr_eq(other, &object)
            && area.start.checked_sub(addr.0) == Some(*offset)
        {
            parts.push((UserAddr(area.start), area.len()));
        }
    }
    for (start, len) in parts {
        mm.unmap(start, len)?;
    }
    note_detach(task, &object);
    Ok(())
}

fn note_detach(task: &CurrentTask, object: &Arc<SharedObject>) {
    let ipc = task.ipc();
    let table = ipc.segments.lock();
    for (_, segment) in table.iter() {
        let mut state = segment.state.lock();
        if let Some((known, _)) = state.memory()
            && Arc::ptr_eq(&known, object)
        {
            state.dtime = super::now(&task.kernel);
            state.lpid = task.tgid();
            return;
        }
    }
}

/// Whether the caller may lock the segment into memory.
pub fn check_lock(perm: &Perm, cred: &Credentials) -> Result<(), Errno> {
    if cred.has(Caps::IPC_LOCK) {
        return Ok(());
    }
    perm.check_owner(cred)
}
