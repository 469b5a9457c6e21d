//! All pseudoterminals of a sandbox by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::vfs::Inode;
use sync::{Mutex, rank};

use super::Tty;

/// Most pseudoterminals at a time (Linux's kernel.pty.max default).
pub const TERMINALS_MAX: u32 = 4096;

/// The pseudoterminals whose masters are open.
pub struct Terminals {
    state: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_index: BTreeMap<u32, Arc<Tty>>,
    /// The one that /dev/console opens.
    console: Option<u32>,
    /// The directory with their names.
    directory: Option<Arc<Inode>>,
}

impl Default for Terminals {
    fn default() -> Self {
        Terminals {
            state: Mutex::new(rank::FS, Table::default()),
        }
    }
}

impl Terminals {
    /// A new pair with the lowest free number. `ENOSPC` when there are too many.
    pub fn create(self: &Arc<Self>, kernel: &Arc<Kernel>, owner: (u32, u32)) -> Result<Arc<Tty>, Errno> {
        let mut table = self.state.lock();
        let index = (0..TERMINALS_MAX).find(|index| !table.by_index.contains_key(index));
        let index = index.ok_or(Errno::ENOSPC)?;
        let tty = Tty::new(index, kernel, self, owner);
        table.by_index.insert(index, tty.clone());
        Ok(tty)
    }

    /// The pair of this number.
    pub fn get(&self, index: u32) -> Option<Arc<Tty>> {
        self.state.lock().by_index.get(&index).cloned()
    }

    /// The numbers in use.
    pub fn numbers(&self) -> Vec<u32> {
        self.state.lock().by_index.keys().copied().collect()
    }

    /// The terminal of /dev/console.
    pub fn console(&self) -> Option<Arc<Tty>> {
        let table = self.state.lock();
        table
            .console
            .and_then(|index| table.by_index.get(&index).cloned())
    }

    /// Makes a terminal /dev/console.
    pub fn set_console(&self, index: u32) {
        self.state.lock().console = Some(index);
    }

    /// Where their names are, once devpts is mounted.
    pub fn set_directory(&self, directory: &Arc<Inode>) {
        self.state.lock().directory = Some(directory.clone());
    }

    /// The directory with their names: devpts's, or one that is mounted nowhere.
    pub(super) fn directory(self: &Arc<Self>) -> Arc<Inode> {
        let mounted = self.state.lock().directory.clone();
        mounted.unwrap_or_else(|| crate::devpts::instance(self))
    }

    pub(super) fn remove(&self, index: u32) {
        let gone = self.state.lock().by_index.remove(&index);
        drop(gone);
    }
}
