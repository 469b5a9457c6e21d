//! mremap(2), remap_file_pages(2).

use abi::{Errno, PAGE_SIZE, UserAddr, page_up};
use bitflags::bitflags;
use platform::MapOp;

use super::area::{Area, AreaFlags, Backing};
use super::map::map_ops;
use super::{Limits, Mm, MmState, TASK_SIZE};
use crate::file::MapPiece;

bitflags! {
    /// Flags of mremap(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RemapFlags: u32 {
        /// MREMAP_MAYMOVE.
        const MAYMOVE = 1;
        /// MREMAP_FIXED.
        const FIXED = 2;
        /// MREMAP_DONTUNMAP.
        const DONTUNMAP = 4;
    }
}

/// How often a remap starts again because another thread changed the area meanwhile.
const RETRIES: usize = 8;

/// A checked request: lengths are in whole pages.
#[derive(Clone, Copy)]
struct Remap {
    old: u64,
    old_len: u64,
    new: u64,
    new_len: u64,
    flags: RemapFlags,
}

impl Remap {
    fn checked(old: UserAddr, old_len: u64, new_len: u64, flags: u32, new: UserAddr) -> Result<Remap, Errno> {
        let flags = RemapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
        let may_move = flags.contains(RemapFlags::MAYMOVE);
        if flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP) && !may_move {
            return Err(Errno::EINVAL);
        }
        if flags.contains(RemapFlags::DONTUNMAP) && old_len != new_len {
            return Err(Errno::EINVAL);
        }
        let old_len = page_up(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_len).ok_or(Errno::EINVAL)?;
        if !old.is_page_aligned() || new_len == 0 || old.0.checked_add(old_len).is_none() {
            return Err(Errno::EINVAL);
        }
        if flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP) {
            if !new.is_page_aligned() || new_len > TASK_SIZE || new.0 > TASK_SIZE - new_len {
                return Err(Errno::EINVAL);
            }
            if flags.contains(RemapFlags::FIXED) && old.0 + old_len > new.0 && new.0 + new_len > old.0 {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Remap {
            old: old.0,
            old_len,
            new: new.0,
            new_len,
            flags,
        })
    }

    fn fixed(&self) -> bool {
        self.flags.contains(RemapFlags::FIXED)
    }
}

/// What the engine needs to show a moved or grown area of a file.
struct Pieces {
    /// Everything, for the new length.
    all: Vec<MapPiece>,
    /// What comes after the old length.
    extension: Vec<MapPiece>,
}

impl Pieces {
    fn of(part: &Area, new_len: u64) -> Result<Pieces, Errno> {
        let of =
            |backing: &Backing, len: u64| Mm::backing_pieces(backing, len, part.shared(), part.access_ever());
        let extension = match new_len.checked_sub(part.len()) {
            Some(more) if more > 0 => of(&part.backing.advanced(part.len()), more)?,
            _ => Vec::new(),
        };
        Ok(Pieces {
            all: of(&part.backing, new_len)?,
            extension,
        })
    }
}

/// Whether nothing has changed between two looks at an area.
fn same(one: &Area, other: &Area) -> bool {
    let backing = match (&one.backing, &other.backing) {
        (Backing::Anonymous, Backing::Anonymous) => true,
        (Backing::File { file: a, offset: x }, Backing::File { file: b, offset: y }) => {
            std::sync::Arc::ptr_eq(a, b) && x == y
        }
        (Backing::Object { object: a, offset: x }, Backing::Object { object: b, offset: y }) => {
            std::sync::Arc::ptr_eq(a, b) && x == y
        }
        _ => false,
    };
    backing && (one.start, one.end, one.prot, one.flags) == (other.start, other.end, other.prot, other.flags)
}

impl Mm {
    /// mremap(2).
    pub fn remap(
        &self,
        old: UserAddr,
        old_len: u64,
        new_len: u64,
        flags: u32,
        new: UserAddr,
        limits: &Limits,
    ) -> Result<UserAddr, Errno> {
        let request = Remap::checked(old, old_len, new_len, flags, new)?;
        let mut gone = Vec::new();
        for _ in 0..RETRIES {
            let area = self.area_at(old).ok_or(Errno::EFAULT)?;
            let pieces = match area.backing {
                Backing::Anonymous => None,
                _ if request.new_len < request.old_len && !request.fixed() => None,
                _ => {
                    let end = (request.old + request.old_len).clamp(request.old, area.end);
                    let mut part = area.clipped(request.old, end.max(request.old + PAGE_SIZE));
                    part.end = end.max(part.start);
                    Some(Pieces::of(&part, request.new_len)?)
                }
            };
            let mut state = self.state.lock();
            if state.areas.find(old.0).is_some_and(|now| same(now, &area)) {
                let done = state.remap(self, &request, &area, pieces, limits, &mut gone);
                drop(state);
                return done.map(UserAddr);
            }
        }
        Err(Errno::ENOMEM)
    }
}

impl MmState {
    fn remap(
        &mut self,
        mm: &Mm,
        request: &Remap,
        area: &Area,
        pieces: Option<Pieces>,
        limits: &Limits,
        gone: &mut Vec<Area>,
    ) -> Result<u64, Errno> {
        let Remap {
            old,
            mut old_len,
            new,
            new_len,
            flags,
        } = *request;
        self.check_unsealed(old, old + old_len.max(PAGE_SIZE))?;
        if flags.contains(RemapFlags::FIXED) {
            gone.extend(self.unmap(mm, new, new + new_len)?);
        }
        if old_len > new_len {
            gone.extend(self.unmap(mm, old + new_len, old + old_len)?);
            if !flags.contains(RemapFlags::FIXED) {
                return Ok(old);
            }
            old_len = new_len;
        }
        if old_len == 0 && !area.shared() {
            return Err(Errno::EINVAL);
        }
        let area = self.areas.find(old).cloned().ok_or(Errno::EFAULT)?;
        if matches!(area.backing, Backing::Vdso) || old_len > area.end - old {
            return Err(Errno::EFAULT);
        }
        if old_len == new_len && !flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP) {
            return Ok(old);
        }
        let mut growth = area.clone();
        (growth.start, growth.end) = (0, new_len - old_len);
        if new_len > old_len {
            limits.check(&self.areas, &growth, 0)?;
        } else if flags.contains(RemapFlags::DONTUNMAP) {
            growth.end = new_len;
            limits.check(&self.areas, &growth, 0)?;
        }
        let in_place = !flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP);
        if in_place && old_len > 0 && area.end == old + old_len {
            let end = old.checked_add(new_len).filter(|end| *end <= mm.range.end.0);
            if let Some(end) = end
                && self.areas.is_free(area.end, end)
            {
                self.grow(mm, &area, end, pieces.as_ref())?;
                return Ok(old);
            }
        }
        if !flags.contains(RemapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        // The move may split the old area.
        self.areas.check_count(3)?;
        let target = if flags.contains(RemapFlags::FIXED) {
            if new < mm.range.start.0 || new + new_len > mm.range.end.0 {
                return Err(Errno::ENOMEM);
            }
            new
        } else {
            let (low, high) = (mm.range.start.0, self.layout.mmap_base.min(mm.range.end.0));
            let hint = new & !(PAGE_SIZE - 1);
            if flags.contains(RemapFlags::DONTUNMAP)
                && hint >= low
                && hint + new_len <= mm.range.end.0
                && self.areas.is_free(hint, hint + new_len)
            {
                hint
            } else {
                self.areas
                    .gap_below(new_len, PAGE_SIZE, (low, high), true)
                    .ok_or(Errno::ENOMEM)?
            }
        };
        self.relocate(mm, &area, (old, old_len), (target, new_len), flags, pieces, gone)?;
        Ok(target)
    }

    /// Makes an area longer where it is; the room is free.
    fn grow(&mut self, mm: &Mm, area: &Area, end: u64, pieces: Option<&Pieces>) -> Result<(), Errno> {
        let mut more = area.clone();
        more.backing = area.backing.advanced(area.len());
        (more.start, more.end) = (area.end, end);
        let mut ops = Vec::new();
        match pieces {
            // The last page is enough: the host's mapping that holds it grows.
            None => ops.push(MapOp::Remap {
                old: UserAddr(area.end - PAGE_SIZE),
                old_len: PAGE_SIZE,
                new: UserAddr(area.end - PAGE_SIZE),
                new_len: PAGE_SIZE + more.len(),
                keep_old: false,
            }),
            Some(pieces) => map_ops(&more, &pieces.extension, false, &mut ops),
        }
        mm.apply(&ops)?;
        self.areas.insert(more);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a move has two ends")]
    fn relocate(
        &mut self,
        mm: &Mm,
        area: &Area,
        (old, old_len): (u64, u64),
        (new, new_len): (u64, u64),
        flags: RemapFlags,
        pieces: Option<Pieces>,
        gone: &mut Vec<Area>,
    ) -> Result<(), Errno> {
        let keep_old = flags.contains(RemapFlags::DONTUNMAP);
        let mut moved = area.clone();
        moved.backing = area.backing.advanced(old - area.start);
        (moved.start, moved.end) = (new, new + new_len);
        let mut ops = Vec::new();
        match pieces {
            None => ops.push(MapOp::Remap {
                old: UserAddr(old),
                old_len,
                new: UserAddr(new),
                new_len,
                keep_old,
            }),
            Some(pieces) if area.shared() => {
                map_ops(&moved, &pieces.all, false, &mut ops);
                if !keep_old && old_len > 0 {
                    ops.push(MapOp::Unmap {
                        addr: UserAddr(old),
                        len: old_len,
                    });
                }
            }
            Some(pieces) => {
                // Private pages of a file may have been written: they move piece by piece.
                let mut done = 0;
                for piece in &pieces.all {
                    let len = piece.len.min(old_len.saturating_sub(done));
                    if len > 0 {
                        ops.push(MapOp::Remap {
                            old: UserAddr(old + done),
                            old_len: len,
                            new: UserAddr(new + done),
                            new_len: len,
                            keep_old,
                        });
                    }
                    done += len;
                }
                let mut more = moved.clone();
                more.start = new + old_len;
                if more.start < more.end {
                    map_ops(&more, &pieces.extension, false, &mut ops);
                }
            }
        }
        let done = mm.apply(&ops);
        if done.is_ok() {
            if !keep_old {
                gone.extend(self.areas.remove(old, old + old_len));
            }
            if keep_old {
                moved.flags.remove(AreaFlags::LOCKED);
            }
            self.areas.insert(moved);
        }
        done
    }
}
