//! The options of prctl(2) that change what is kept of an address space: PR_SET_MM, PR_SET_MDWE, PR_GET_AUXV and the like.

use std::sync::atomic::Ordering;

use abi::{AbiField, Errno, UserAddr, abi_struct};

use crate::cred::Caps;
use crate::mm::{Area, Backing, Layout, Mm, wish};
use crate::task::{CurrentTask, rlimit};

/// Bytes of the auxiliary vector that Linux keeps (AT_VECTOR_SIZE).
const AUXV_LEN: usize = 26 * 16;
/// PR_SET_MM_ numbers; those from START_CODE to ENV_END name a place.
const START_CODE: u64 = 1;
const START_STACK: u64 = 5;
const ARG_START: u64 = 8;
const ENV_END: u64 = 11;
const AUXV: u64 = 12;
const EXE_FILE: u64 = 13;
const MAP: u64 = 14;
const MAP_SIZE: u64 = 15;
/// PR_MDWE_ bits.
const REFUSE_EXEC_GAIN: u64 = 1;
const NO_INHERIT: u64 = 2;

abi_struct! {
    /// `struct prctl_mm_map`.
    struct MmMap {
        places: [u64; 11], auxv: u64, auxv_size: u32, exe_fd: u32,
    }
}

/// The places in the order of their numbers.
fn places(layout: &Layout) -> [u64; 11] {
    [
        layout.start_code,
        layout.end_code,
        layout.start_data,
        layout.end_data,
        layout.start_stack,
        layout.start_brk,
        layout.brk,
        layout.arg_start,
        layout.arg_end,
        layout.env_start,
        layout.env_end,
    ]
}

fn set_places(layout: &mut Layout, places: [u64; 11]) {
    [
        layout.start_code,
        layout.end_code,
        layout.start_data,
        layout.end_data,
        layout.start_stack,
        layout.start_brk,
        layout.brk,
        layout.arg_start,
        layout.arg_end,
        layout.env_start,
        layout.env_end,
    ] = places;
}

/// `struct prctl_mm_map` has the heap before the stack.
fn from_map(map: &MmMap) -> [u64; 11] {
    let [code, end_code, data, end_data, start_brk, brk, stack, rest @ ..] = map.places;
    let [args, args_end, env, env_end] = rest;
    [
        code, end_code, data, end_data, stack, start_brk, brk, args, args_end, env, env_end,
    ]
}

/// As validate_prctl_map_addr: every place is one of user space, pairs are in order, RLIMIT_DATA holds.
fn check(task: &CurrentTask, mm: &Mm, places: &[u64; 11]) -> Result<(), Errno> {
    let range = mm.range();
    if places.iter().any(|at| !(range.start.0..range.end.0).contains(at)) {
        return Err(Errno::EINVAL);
    }
    let [
        code,
        end_code,
        data,
        end_data,
        _,
        start_brk,
        brk,
        args,
        args_end,
        env,
        env_end,
    ] = *places;
    let ordered =
        code < end_code && data <= end_data && start_brk <= brk && args <= args_end && env <= env_end;
    let used = (brk.wrapping_sub(start_brk)).saturating_add(end_data.wrapping_sub(data));
    let limit = task.group.rlimit(rlimit::DATA);
    if !ordered || limit != u64::MAX && used > limit {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// PR_SET_MM.
pub(super) fn set_mm(task: &CurrentTask, what: u64, addr: u64, arg4: u64, arg5: u64) -> Result<u64, Errno> {
    if arg5 != 0 || arg4 != 0 && !matches!(what, AUXV | MAP | MAP_SIZE) {
        return Err(Errno::EINVAL);
    }
    let mm = task.mm_ref();
    match what {
        MAP_SIZE => {
            let size = MmMap::SIZE as u32;
            return task.write_struct(UserAddr(addr), &size).map(|()| 0);
        }
        MAP => return set_map(task, &mm, UserAddr(addr), arg4),
        _ if !task.cred().has(Caps::SYS_RESOURCE) => return Err(Errno::EPERM),
        EXE_FILE => return set_exe(task, &mm, addr as i32),
        AUXV => {
            let auxv = read_auxv(task, UserAddr(addr), arg4)?;
            mm.set_layout(|layout| layout.auxv = auxv);
            return Ok(0);
        }
        _ => {}
    }
    let range = mm.range();
    let index = what.wrapping_sub(START_CODE) as usize;
    if !(range.start.0..range.end.0).contains(&addr) || !(START_CODE..=ENV_END).contains(&what) {
        return Err(Errno::EINVAL);
    }
    let mut new = places(&mm.layout());
    if let Some(place) = new.get_mut(index) {
        *place = addr;
    }
    check(task, &mm, &new)?;
    let points_to_strings = what == START_STACK || what >= ARG_START;
    let mapped_above = || mm.areas().iter().any(|area| area.end > addr);
    if points_to_strings && !mapped_above() {
        return Err(Errno::EFAULT);
    }
    mm.set_layout(|layout| set_places(layout, new));
    Ok(0)
}

fn set_map(task: &CurrentTask, mm: &Mm, at: UserAddr, size: u64) -> Result<u64, Errno> {
    if size != MmMap::SIZE as u64 {
        return Err(Errno::EINVAL);
    }
    let map: MmMap = task.read_struct(at)?;
    let new = from_map(&map);
    check(task, mm, &new)?;
    let auxv = match map.auxv_size {
        0 => None,
        _ if map.auxv == 0 => return Err(Errno::EINVAL),
        size => Some(read_auxv(task, UserAddr(map.auxv), u64::from(size))?),
    };
    if map.exe_fd != u32::MAX {
        if !task.cred().has_own(Caps::SYS_ADMIN | Caps::CHECKPOINT_RESTORE) {
            return Err(Errno::EPERM);
        }
        set_exe(task, mm, map.exe_fd as i32)?;
    }
    mm.set_layout(|layout| {
        set_places(layout, new);
        if let Some(auxv) = auxv {
            layout.auxv = auxv;
        }
    });
    Ok(0)
}

/// A new auxiliary vector, which ends with AT_NULL whatever it held.
fn read_auxv(task: &CurrentTask, at: UserAddr, size: u64) -> Result<Vec<u8>, Errno> {
    if size > AUXV_LEN as u64 {
        return Err(Errno::EINVAL);
    }
    let mut auxv = vec![0; size as usize];
    task.copy_in(at, &mut auxv)?;
    auxv.resize(AUXV_LEN, 0);
    if let Some(last) = auxv.get_mut(AUXV_LEN - 16..) {
        last.fill(0);
    }
    Ok(auxv)
}

/// Another program file: one that may be executed, once nothing of the old one is mapped.
fn set_exe(task: &CurrentTask, mm: &Mm, fd: i32) -> Result<u64, Errno> {
    let file = task.fd(fd)?;
    crate::vfs::may_execute(&task.cred(), file.path())?;
    let old = mm.exe();
    let mapped = |area: &Area| match (&area.backing, &old) {
        (Backing::File { file, .. }, Some(old)) => file.path().same(old.path()),
        _ => false,
    };
    if mm.areas().iter().any(mapped) {
        return Err(Errno::EBUSY);
    }
    mm.set_exe(Some(file));
    Ok(0)
}

/// PR_GET_AUXV: as much as fits; the result is how long it is.
pub(super) fn get_auxv(task: &CurrentTask, at: UserAddr, len: u64) -> Result<u64, Errno> {
    let mut auxv = task.mm_ref().layout().auxv;
    auxv.resize(AUXV_LEN, 0);
    let len = len.min(AUXV_LEN as u64) as usize;
    task.copy_out(at, auxv.get(..len).unwrap_or_default())?;
    Ok(AUXV_LEN as u64)
}

/// Sets or clears a wish about the address space.
pub(super) fn set_wish(task: &CurrentTask, bit: u32, on: bool) -> Result<u64, Errno> {
    let mm = task.mm_ref();
    if on {
        mm.wishes.fetch_or(bit, Ordering::SeqCst);
    } else {
        mm.wishes.fetch_and(!bit, Ordering::SeqCst);
    }
    Ok(0)
}

/// Whether a wish is set.
pub(super) fn wished(task: &CurrentTask, bit: u32) -> bool {
    task.mm_ref().wishes.load(Ordering::SeqCst) & bit != 0
}

/// PR_GET_MDWE.
pub(super) fn get_mdwe(task: &CurrentTask) -> u64 {
    let bit = |wish: u32, bit: u64| if wished(task, wish) { bit } else { 0 };
    bit(wish::NO_EXEC_GAIN, REFUSE_EXEC_GAIN) | bit(wish::NOT_FOR_CHILDREN, NO_INHERIT)
}

/// PR_SET_MDWE: memory that may be executed is not written. Once for all.
pub(super) fn set_mdwe(task: &CurrentTask, bits: u64) -> Result<u64, Errno> {
    if !matches!(bits, 0 | 1 | 3) {
        return Err(Errno::EINVAL);
    }
    let now = get_mdwe(task);
    if now != 0 && now != bits {
        return Err(Errno::EPERM);
    }
    if bits & REFUSE_EXEC_GAIN != 0 {
        set_wish(task, wish::NO_EXEC_GAIN, true)?;
    }
    if bits & NO_INHERIT != 0 {
        set_wish(task, wish::NOT_FOR_CHILDREN, true)?;
    }
    Ok(0)
}
