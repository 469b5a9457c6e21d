//! madvise(2).

use std::sync::Arc;

use abi::{Errno, UserAddr, page_up};
use platform::{Advice, MapOp, Prot};

use super::Mm;
use super::area::{Area, AreaFlags, Backing};

/// FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE.
const PUNCH_HOLE: u32 = 3;

/// What a piece of advice does here.
#[derive(Clone, Copy)]
enum Action {
    /// Nothing: the host knows better, or it only concerns speed.
    Accept,
    /// Told to the host.
    Tell(Advice),
    /// Told to the host and noted: flags to add and to remove.
    Note(Option<Advice>, AreaFlags, AreaFlags),
    /// Removes pages of a shared file.
    Punch,
}

fn action(advice: i32) -> Result<Action, Errno> {
    const NONE: AreaFlags = AreaFlags::empty();
    Ok(match advice {
        // MADV_NORMAL, RANDOM, SEQUENTIAL, MERGEABLE, UNMERGEABLE, COLD, PAGEOUT, COLLAPSE.
        0 | 1 | 2 | 12 | 13 | 20 | 21 | 25 => Action::Accept,
        3 => Action::Tell(Advice::WillNeed),
        4 | 24 => Action::Tell(Advice::DontNeed),
        8 => Action::Tell(Advice::Free),
        9 => Action::Punch,
        10 => Action::Note(Some(Advice::DontFork), AreaFlags::DONTFORK, NONE),
        11 => Action::Note(Some(Advice::DoFork), NONE, AreaFlags::DONTFORK),
        14 => Action::Note(Some(Advice::HugePage), AreaFlags::HUGE, AreaFlags::NOHUGE),
        15 => Action::Note(Some(Advice::NoHugePage), AreaFlags::NOHUGE, AreaFlags::HUGE),
        16 => Action::Note(None, AreaFlags::DONTDUMP, NONE),
        17 => Action::Note(None, NONE, AreaFlags::DONTDUMP),
        18 => Action::Note(Some(Advice::WipeOnFork), AreaFlags::WIPEONFORK, NONE),
        19 => Action::Note(Some(Advice::KeepOnFork), NONE, AreaFlags::WIPEONFORK),
        22 => Action::Tell(Advice::PopulateRead),
        23 => Action::Tell(Advice::PopulateWrite),
        // MADV_HWPOISON and MADV_SOFT_OFFLINE among them: tests of a machine's memory, as without CONFIG_MEMORY_FAILURE.
        _ => return Err(Errno::EINVAL),
    })
}

/// Whether the advice may be given for an area.
fn allowed(area: &Area, action: Action, locked_too: bool) -> Result<(), Errno> {
    let locked = area.flags.contains(AreaFlags::LOCKED);
    let fits = match action {
        Action::Tell(Advice::DontNeed) => !matches!(area.backing, Backing::Vdso) && (locked_too || !locked),
        Action::Tell(Advice::Free) => area.private_anonymous() && !locked,
        Action::Note(Some(Advice::WipeOnFork), ..) => area.private_anonymous(),
        Action::Tell(Advice::PopulateRead) => area.prot.intersects(Prot::READ | Prot::EXEC),
        Action::Tell(Advice::PopulateWrite) => area.prot.contains(Prot::WRITE),
        Action::Punch => {
            if locked || matches!(area.backing, Backing::Anonymous | Backing::Vdso) {
                return Err(Errno::EINVAL);
            }
            if !(area.shared() && area.max_prot.contains(Prot::WRITE)) {
                return Err(Errno::EACCES);
            }
            true
        }
        _ => true,
    };
    let sealed = area.flags.contains(AreaFlags::SEALED) && !area.prot.contains(Prot::WRITE);
    if !fits {
        Err(Errno::EINVAL)
    } else if sealed && matches!(action, Action::Tell(Advice::DontNeed | Advice::Free)) && !area.shared() {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}

impl Mm {
    /// madvise(2). Holes are skipped and reported as `ENOMEM` at the end, as in Linux.
    pub fn advise(&self, addr: UserAddr, len: u64, advice: i32) -> Result<(), Errno> {
        let action = action(advice)?;
        if !addr.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let len = page_up(len).ok_or(Errno::EINVAL)?;
        let end = addr.0.checked_add(len).ok_or(Errno::EINVAL)?;
        if len == 0 {
            return Ok(());
        }
        if matches!(action, Action::Punch) {
            return self.punch(addr.0, end);
        }
        const MADV_DONTNEED_LOCKED: i32 = 24;
        let locked_too = advice == MADV_DONTNEED_LOCKED;
        let mut state = self.state.lock();
        let mut ops: Vec<MapOp> = Vec::new();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut refused = Ok(());
        let mut at = addr.0;
        let mut holes = false;
        for area in state.areas.overlapping(addr.0, end) {
            refused = allowed(area, action, locked_too);
            if refused.is_err() {
                break;
            }
            let (from, to) = (area.start.max(addr.0), area.end.min(end));
            holes |= from > at;
            at = to;
            match runs.last_mut() {
                Some(run) if run.1 == from => run.1 = to,
                _ => runs.push((from, to)),
            }
        }
        holes |= at < end && refused.is_ok();
        let told = match action {
            Action::Tell(advice) | Action::Note(Some(advice), ..) => Some(advice),
            _ => None,
        };
        if let Action::Note(..) = action {
            state.areas.check_count(2)?;
        }
        if let Some(advice) = told {
            let op = |(from, to): &(u64, u64)| MapOp::Advise {
                addr: UserAddr(*from),
                len: to - from,
                advice,
            };
            ops.extend(runs.iter().map(op));
        }
        if !ops.is_empty() {
            self.apply(&ops)?;
        }
        if let Action::Note(_, add, remove) = action {
            for (from, to) in runs {
                state.areas.update(from, to, |area| {
                    area.flags = area.flags.difference(remove).union(add)
                });
            }
        }
        refused?;
        if holes { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// MADV_REMOVE: frees the file's pages that the range shows.
    fn punch(&self, start: u64, end: u64) -> Result<(), Errno> {
        let parts: Vec<Area> = {
            let state = self.state.lock();
            let parts = state.areas.overlapping(start, end);
            parts.map(|area| area.clipped(start, end)).collect()
        };
        let mut at = start;
        let mut holes = false;
        // Files are called without the lock.
        for part in parts {
            allowed(&part, Action::Punch, false)?;
            holes |= part.start > at;
            at = part.end;
            match &part.backing {
                Backing::File { file, offset } => {
                    let file = Arc::clone(file);
                    file.ops().fallocate(&file, PUNCH_HOLE, *offset, part.len())?;
                }
                Backing::Object { object, offset } => object.memory.punch(*offset, part.len())?,
                Backing::Anonymous | Backing::Vdso => return Err(Errno::EINVAL),
            }
        }
        if holes || at < end {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }
}
