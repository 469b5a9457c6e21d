//! Device nodes: which driver opens which number.

use std::ops::RangeInclusive;
use std::sync::Arc;

use abi::Errno;
use sync::{RwLock, rank};

use super::{FileKind, Path};
use crate::Kernel;
use crate::file::FileOps;

/// Opens device nodes of the numbers it is registered for.
pub trait DeviceOpener: Send + Sync {
    /// open(2) of the node at `path`; `minor` tells which device. For the caller see [`crate::task::current`].
    fn open(
        &self,
        kernel: &Arc<Kernel>,
        path: &Path,
        minor: u32,
        flags: u32,
    ) -> Result<Box<dyn FileOps>, Errno>;
}

struct Entry {
    kind: FileKind,
    major: u32,
    minors: RangeInclusive<u32>,
    opener: Arc<dyn DeviceOpener>,
}

/// Drivers by kind of node and number.
pub struct DeviceTable(RwLock<Vec<Entry>>);

impl Default for DeviceTable {
    fn default() -> Self {
        DeviceTable(RwLock::new(rank::LEAF, Vec::new()))
    }
}

impl DeviceTable {
    /// Registers a driver; `kind` is `CharDevice` or `BlockDevice`. The latest registration for a number counts.
    pub fn register(
        &self,
        kind: FileKind,
        major: u32,
        minors: RangeInclusive<u32>,
        opener: Arc<dyn DeviceOpener>,
    ) {
        self.0.write().push(Entry {
            kind,
            major,
            minors,
            opener,
        });
    }

    /// The driver of a node. `ENXIO` when there is none.
    pub(crate) fn find(
        &self,
        kind: FileKind,
        major: u32,
        minor: u32,
    ) -> Result<Arc<dyn DeviceOpener>, Errno> {
        let entries = self.0.read();
        let found = entries
            .iter()
            .rev()
            .find(|entry| entry.kind == kind && entry.major == major && entry.minors.contains(&minor));
        found.map(|entry| entry.opener.clone()).ok_or(Errno::ENXIO)
    }
}

/// Linux's encoding of a device number (new_encode_dev, as in st_rdev).
pub const fn make_dev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12)
}

/// Major number of an encoded device number.
pub const fn major(dev: u64) -> u32 {
    ((dev >> 8) & 0xfff) as u32
}

/// Minor number of an encoded device number.
pub const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & 0xfff00)) as u32
}
