//! Shared memory without a file of the guest's: MAP_SHARED | MAP_ANONYMOUS.

use std::ops::Range;
use std::sync::Arc;

use abi::{Errno, UserAddr};

use super::area::{Area, Backing, SharedObject};
use super::map::map_ops;
use super::{MapRequest, Mm, Place};
use crate::Kernel;
use crate::file::memory_file::{MemoryFile, OpenMemoryFile};
use crate::file::{FileMemory, MapPiece};
use crate::vfs::Inode;
use platform::{MapSource, Prot};

/// The pieces that show `[offset, offset + len)` of a memory object.
pub fn memory_pieces(memory: &dyn FileMemory, offset: u64, len: u64) -> Result<Vec<MapPiece>, Errno> {
    let piece = |(file, offset, len)| MapPiece {
        len,
        source: MapSource::File { file, offset },
    };
    Ok(memory.map(offset, len)?.into_iter().map(piece).collect())
}

impl Kernel {
    /// Whether any task has the file mapped shared with a chance to write: then it cannot be sealed against that.
    pub fn mapped_writable(&self, inode: &Arc<Inode>) -> bool {
        let tasks: Vec<_> = self.pids.read().tasks.values().cloned().collect();
        let shows = |area: &Area| {
            area.shared()
                && area.max_prot.contains(Prot::WRITE)
                && area
                    .backing
                    .inode()
                    .is_some_and(|mapped| Arc::ptr_eq(&mapped, inode))
        };
        tasks
            .iter()
            .filter_map(|task| task.mm())
            .any(|mm| mm.areas().iter().any(shows))
    }

    /// A file in memory has another size: mappings show the pages of `range` (of the file) as it has them now.
    pub(crate) fn show_resized(&self, file: &MemoryFile, range: Range<u64>) {
        let tasks: Vec<_> = self.pids.read().tasks.values().cloned().collect();
        let mut spaces: Vec<Arc<Mm>> = tasks.iter().filter_map(|task| task.mm()).collect();
        spaces.sort_by_key(|mm| mm.id);
        spaces.dedup_by_key(|mm| mm.id);
        for mm in spaces {
            // A space that its engine cannot change is ending.
            let _ = mm.show_resized(file, &range);
        }
    }

    /// A new shared object.
    pub fn new_shared_object(&self, name: Vec<u8>) -> Result<Arc<SharedObject>, Errno> {
        Ok(Arc::new(SharedObject {
            memory: self.memory.create()?,
            ino: self.next_ino(),
            name,
        }))
    }

    /// Makes the request show new shared memory.
    pub fn share_anonymous(&self, request: &mut MapRequest) -> Result<(), Errno> {
        let object = self.new_shared_object(b"/dev/zero (deleted)".to_vec())?;
        request.pieces = memory_pieces(&*object.memory, 0, request.len)?;
        request.backing = Backing::Object { object, offset: 0 };
        Ok(())
    }
}

impl Mm {
    fn show_resized(&self, file: &MemoryFile, range: &Range<u64>) -> Result<(), Errno> {
        let state = self.state.lock();
        let mut ops = Vec::new();
        for area in state.areas.iter() {
            let Backing::File { file: open, offset } = &area.backing else {
                continue;
            };
            let shown = open.ops_as::<OpenMemoryFile>();
            if !shown.is_some_and(|shown| std::ptr::eq(&*shown.0, file)) {
                continue;
            }
            let first = range.start.max(*offset);
            let last = range.end.min(offset.saturating_add(area.len()));
            if first < last {
                let part = area.clipped(area.start + (first - offset), area.start + (last - offset));
                map_ops(&part, &file.pieces(first, last - first)?, false, &mut ops);
            }
        }
        if ops.is_empty() { Ok(()) } else { self.apply(&ops) }
    }

    /// A request that shows another part of the shared file that is mapped at `start` (remap_file_pages(2)).
    pub fn shared_request(&self, start: UserAddr, len: u64, offset: u64) -> Result<MapRequest, Errno> {
        let area = self.area_at(start).filter(Area::shared).ok_or(Errno::EINVAL)?;
        if start.0 + len > area.end {
            return Err(Errno::EINVAL);
        }
        let access = area.access_ever();
        let backing = match area.backing {
            Backing::Object { object, .. } => Backing::Object { object, offset },
            Backing::File { file, .. } => Backing::File { file, offset },
            Backing::Anonymous | Backing::Vdso => return Err(Errno::EINVAL),
        };
        Ok(MapRequest {
            place: Place::Fixed(start.0),
            len,
            prot: area.prot,
            max_prot: area.max_prot,
            flags: area.flags,
            pieces: Self::backing_pieces(&backing, len, true, access)?,
            backing,
            populate: false,
            name: area.name,
        })
    }

    /// What a backing shows of `len` bytes, as pieces for the engine; empty for anonymous memory.
    /// Called without the lock: files have locks of lower rank.
    pub(super) fn backing_pieces(
        backing: &Backing,
        len: u64,
        shared: bool,
        prot: platform::Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        match backing {
            Backing::Anonymous => Ok(Vec::new()),
            Backing::Object { object, offset } => memory_pieces(&*object.memory, *offset, len),
            Backing::File { file, offset } => file.ops().map(file, *offset, len, shared, prot),
            Backing::Vdso => Err(Errno::EFAULT),
        }
    }
}
