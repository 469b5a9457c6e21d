//! set_mempolicy(2), get_mempolicy(2), mbind(2), migrate_pages(2), move_pages(2) on a machine with one node.

use abi::{AbiField, Errno, UserAddr, page_up};

use super::arg::Flags;
use crate::task::{CurrentTask, Task};

const MPOL_DEFAULT: u32 = 0;
const MPOL_INTERLEAVE: u32 = 3;
const MPOL_LOCAL: u32 = 4;
const MPOL_WEIGHTED_INTERLEAVE: u32 = 6;
const MPOL_MODE_FLAGS: u32 = 0xe000;
const MPOL_F_NODE: u32 = 1;
const MPOL_F_ADDR: u32 = 2;
const MPOL_F_MEMS_ALLOWED: u32 = 4;
/// Most bits of a node mask that are read (Linux: a page's worth).
const MASK_BITS: u64 = 4096 * 8;
/// Most pages of one move_pages(2) here: bounds the loop.
const MOVE_MAX: u64 = 1 << 20;
/// Pages of move_pages(2) looked at together.
const MOVE_STEP: u64 = 512;

/// Reads a node mask: whether it holds node 0. Other nodes do not exist.
fn read_nodes(task: &CurrentTask, mask: UserAddr, bits: u64) -> Result<bool, Errno> {
    // The count says one more than there are.
    let bits = bits.saturating_sub(1);
    if mask.is_null() || bits == 0 {
        return Ok(false);
    }
    if bits > MASK_BITS {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; (bits.div_ceil(64) * 8) as usize];
    task.copy_in(mask, &mut bytes)?;
    let mut words = bytes.chunks_exact(8).map(u64::get);
    let first = words.next().unwrap_or(0);
    if first & !1 != 0 || words.any(|word| word != 0) {
        return Err(Errno::EINVAL);
    }
    Ok(first & 1 != 0)
}

/// Whether the (only) node is in the mask of a policy that may be.
fn check_policy(task: &CurrentTask, mode: u32, mask: UserAddr, bits: u64) -> Result<bool, Errno> {
    let kind = mode & !MPOL_MODE_FLAGS;
    if kind > MPOL_WEIGHTED_INTERLEAVE {
        return Err(Errno::EINVAL);
    }
    let node = read_nodes(task, mask, bits)?;
    match kind {
        MPOL_DEFAULT | MPOL_LOCAL if node => Err(Errno::EINVAL),
        // MPOL_PREFERRED without nodes means local.
        MPOL_DEFAULT | MPOL_LOCAL | 1 => Ok(node),
        _ if !node => Err(Errno::EINVAL),
        _ => Ok(node),
    }
}

/// set_mempolicy(2): with one node every policy is the same, but it is remembered.
pub fn set_mempolicy(task: &CurrentTask, mode: Flags, mask: UserAddr, bits: u64) -> Result<(), Errno> {
    let node = check_policy(task, mode.0, mask, bits)?;
    task.state.lock().mempolicy = (mode.0, node);
    Ok(())
}

/// mbind(2).
pub fn mbind(
    task: &CurrentTask,
    addr: UserAddr,
    len: u64,
    mode: Flags,
    mask: UserAddr,
    bits: u64,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !7 != 0 || !addr.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let len = page_up(len).ok_or(Errno::EINVAL)?;
    addr.0.checked_add(len).ok_or(Errno::EINVAL)?;
    check_policy(task, mode.0, mask, bits).map(|_| ())
}

/// set_mempolicy_home_node(2).
pub fn set_mempolicy_home_node(
    _: &CurrentTask,
    addr: UserAddr,
    len: u64,
    node: u64,
    flags: Flags,
) -> Result<(), Errno> {
    if !addr.is_page_aligned() || flags.0 != 0 || node != 0 {
        return Err(Errno::EINVAL);
    }
    let len = page_up(len).ok_or(Errno::EINVAL)?;
    addr.0.checked_add(len).map(|_| ()).ok_or(Errno::EINVAL)
}

/// get_mempolicy(2).
pub fn get_mempolicy(
    task: &CurrentTask,
    mode: UserAddr,
    mask: UserAddr,
    bits: u64,
    addr: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    let flags = flags.0;
    if flags & !(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED) != 0 || (!mask.is_null() && bits == 0) {
        return Err(Errno::EINVAL);
    }
    if flags & MPOL_F_MEMS_ALLOWED != 0 && flags & (MPOL_F_NODE | MPOL_F_ADDR) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & MPOL_F_ADDR != 0 {
        task.mm_ref().area_at(addr).ok_or(Errno::EFAULT)?;
    } else if !addr.is_null() {
        return Err(Errno::EINVAL);
    }
    let (policy, node) = task.state.lock().mempolicy;
    // The number of the node is 0.
    let told = match flags & MPOL_F_NODE {
        0 => policy,
        _ if flags & MPOL_F_ADDR == 0 && policy & !MPOL_MODE_FLAGS != MPOL_INTERLEAVE => {
            return Err(Errno::EINVAL);
        }
        _ => 0,
    };
    if !mode.is_null() {
        task.write_struct(mode, &told)?;
    }
    if !mask.is_null() {
        let bytes = bits.min(MASK_BITS).div_ceil(64) * 8;
        let mut nodes = vec![0; bytes as usize];
        if (flags & MPOL_F_MEMS_ALLOWED != 0 || node)
            && let Some(first) = nodes.first_mut()
        {
            *first = 1;
        }
        task.copy_out(mask, &nodes)?;
    }
    Ok(())
}

/// The task that a call names (0: the caller), if the caller may look into it.
fn target(task: &CurrentTask, pid: i32) -> Result<std::sync::Arc<Task>, Errno> {
    if pid == 0 {
        return Ok(task.task().clone());
    }
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let other = task.kernel.pids.read().task(pid).ok_or(Errno::ESRCH)?;
    if task.may_access(&other) {
        Ok(other)
    } else {
        Err(Errno::EPERM)
    }
}

/// migrate_pages(2): everything is where it may be.
pub fn migrate_pages(
    task: &CurrentTask,
    pid: i32,
    bits: u64,
    old: UserAddr,
    new: UserAddr,
) -> Result<(), Errno> {
    read_nodes(task, old, bits)?;
    read_nodes(task, new, bits)?;
    target(task, pid).map(|_| ())
}

/// move_pages(2): tells the node of each page (0), `ENOENT` for pages that are not there.
pub fn move_pages(
    task: &CurrentTask,
    pid: i32,
    count: u64,
    pages: UserAddr,
    nodes: UserAddr,
    status: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !6 != 0 {
        return Err(Errno::EINVAL);
    }
    if count > MOVE_MAX {
        return Err(Errno::E2BIG);
    }
    let mm = target(task, pid)?.mm().ok_or(Errno::ESRCH)?;
    let mut done = 0;
    while done < count {
        let step = (count - done).min(MOVE_STEP);
        let mut addresses = vec![0; step as usize * 8];
        task.copy_in(pages.add(done * 8)?, &mut addresses)?;
        if !nodes.is_null() {
            let mut wanted = vec![0; step as usize * 4];
            task.copy_in(nodes.add(done * 4)?, &mut wanted)?;
            if wanted.chunks_exact(4).any(|node| i32::get(node) != 0) {
                return Err(Errno::ENODEV);
            }
        }
        let mut answers = Vec::with_capacity(step as usize * 4);
        for raw in addresses.chunks_exact(8) {
            let page = UserAddr(u64::get(raw)).page();
            let state = match mm.residency(page, abi::PAGE_SIZE) {
                Ok(resident) if resident.first().is_some_and(|byte| byte & 1 != 0) => 0,
                Ok(_) => -Errno::ENOENT.raw(),
                Err(_) => -Errno::EFAULT.raw(),
            };
            answers.extend_from_slice(&state.to_le_bytes());
        }
        task.copy_out(status.add(done * 4)?, &answers)?;
        done += step;
    }
    Ok(())
}
