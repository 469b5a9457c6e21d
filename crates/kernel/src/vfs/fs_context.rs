//! A task's root, working directory and umask.

use std::sync::Arc;

use sync::{Mutex, rank};

use super::Path;

/// A task's root, working directory and umask (Linux's fs_struct), shared with CLONE_FS.
pub struct FsContext {
    /// Guarded together. Replaced paths are to be dropped without this lock.
    pub state: Mutex<FsState>,
}

/// The content of [`FsContext`].
#[derive(Clone)]
pub struct FsState {
    /// chroot(2).
    pub root: Path,
    /// chdir(2).
    pub cwd: Path,
    /// umask(2).
    pub umask: u32,
}

impl FsContext {
    /// A context with root and working directory at `root`, and umask 022.
    pub fn new(root: Path) -> Arc<FsContext> {
        Self::from_state(FsState {
            cwd: root.clone(),
            root,
            umask: 0o022,
        })
    }

    /// A context with this content.
    pub fn from_state(state: FsState) -> Arc<FsContext> {
        Arc::new(FsContext {
            state: Mutex::new(rank::LEAF, state),
        })
    }

    /// A copy (fork(2), unshare(CLONE_FS)).
    pub fn duplicate(&self) -> Arc<FsContext> {
        Self::from_state(self.get())
    }

    /// What it holds now.
    pub fn get(&self) -> FsState {
        self.state.lock().clone()
    }

    /// The root.
    pub fn root(&self) -> Path {
        self.state.lock().root.clone()
    }

    /// The working directory.
    pub fn cwd(&self) -> Path {
        self.state.lock().cwd.clone()
    }

    /// chdir(2), after all checks.
    pub fn set_cwd(&self, cwd: Path) {
        let old = std::mem::replace(&mut self.state.lock().cwd, cwd);
        drop(old);
    }

    /// chroot(2), after all checks.
    pub fn set_root(&self, root: Path) {
        let old = std::mem::replace(&mut self.state.lock().root, root);
        drop(old);
    }

    /// umask(2): sets and returns the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        std::mem::replace(&mut self.state.lock().umask, umask & 0o777)
    }
}
