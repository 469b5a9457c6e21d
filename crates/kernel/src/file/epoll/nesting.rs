//! Epoll instances that watch epoll instances: no loops, no deep or wide chains (a wake-up walks them all).

use std::sync::Arc;

use abi::Errno;
use sync::{Mutex, rank};

use super::{Epoll, EpollFile};

/// Instances on a path from the outermost to the innermost, beyond the first (EP_MAX_NESTS).
const MAX_DEPTH: usize = 4;
/// Instances that may watch the same instance: bounds the ways a wake-up can take.
const MAX_WATCHERS: usize = 16;

/// Held while the graph of instances is looked at and changed.
static TREE: Mutex<()> = Mutex::new(rank::EPOLL_TREE, ());

/// Lets `outer` watch `inner`: `ELOOP` for a loop or a chain that is too long, `EINVAL` for too many watchers.
pub(super) fn link(outer: &Arc<Epoll>, inner: &Arc<Epoll>) -> Result<(), Errno> {
    let _tree = TREE.lock();
    let below = depth_below(inner, outer, MAX_DEPTH)?;
    let above = depth_above(outer, MAX_DEPTH)?;
    if below + above + 1 > MAX_DEPTH {
        return Err(Errno::ELOOP);
    }
    let mut watchers = inner.watched_by.lock();
    watchers.retain(|weak| weak.strong_count() > 0);
    if watchers.len() >= MAX_WATCHERS {
        return Err(Errno::EINVAL);
    }
    watchers.push(Arc::downgrade(outer));
    Ok(())
}

/// Takes back one `link`.
pub(super) fn unlink(outer: &Arc<Epoll>, inner: &Arc<Epoll>) {
    let mut watchers = inner.watched_by.lock();
    let at = watchers
        .iter()
        .position(|weak| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(outer)));
    if let Some(at) = at {
        watchers.swap_remove(at);
    }
}

/// Links on the longest path down from `from`; `ELOOP` when `target` is on one or it is longer than `left`.
fn depth_below(from: &Arc<Epoll>, target: &Arc<Epoll>, left: usize) -> Result<usize, Errno> {
    if Arc::ptr_eq(from, target) {
        return Err(Errno::ELOOP);
    }
    let mut deepest = 0;
    for file in from.watched_files() {
        if let Some(inner) = file.ops_as::<EpollFile>() {
            let left = left.checked_sub(1).ok_or(Errno::ELOOP)?;
            deepest = deepest.max(1 + depth_below(inner.epoll(), target, left)?);
        }
    }
    Ok(deepest)
}

/// Links on the longest path up from `from`.
fn depth_above(from: &Arc<Epoll>, left: usize) -> Result<usize, Errno> {
    let watchers = from.watched_by.lock().clone();
    let mut highest = 0;
    for outer in watchers.iter().filter_map(std::sync::Weak::upgrade) {
        let left = left.checked_sub(1).ok_or(Errno::ELOOP)?;
        highest = highest.max(1 + depth_above(&outer, left)?);
    }
    Ok(highest)
}
