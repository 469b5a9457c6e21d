//! A file opened to read while it was in a lower layer: it follows its copy in the upper one.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_ACCMODE, O_RDONLY};
use kernel::file::{FileDescription, FileOps, MapPiece, Whence};
use kernel::io::Sink;
use platform::Prot;
use std::sync::OnceLock;
use sync::{Events, PollTable};

use super::node::Node;
use super::open_layer;

/// An open lower file.
pub struct OverlayData {
    node: Arc<Node>,
    lower: Arc<FileDescription>,
    upper: OnceLock<Arc<FileDescription>>,
    flags: u32,
}

impl OverlayData {
    pub fn open(node: &Arc<Node>, flags: u32) -> Result<OverlayData, Errno> {
        let flags = flags & !O_ACCMODE | O_RDONLY;
        Ok(OverlayData {
            node: node.clone(),
            lower: open_layer(&node.lower()?, flags)?,
            upper: OnceLock::new(),
            flags,
        })
    }

    /// The file whose bytes are the current ones.
    fn real(&self) -> Result<&Arc<FileDescription>, Errno> {
        if !self.node.is_copied() {
            return Ok(&self.lower);
        }
        if let Some(upper) = self.upper.get() {
            return Ok(upper);
        }
        let upper = self.node.upper().ok_or(Errno::ESTALE)?;
        let opened = open_layer(&upper, self.flags)?;
        Ok(self.upper.get_or_init(|| opened))
    }
}

impl FileOps for OverlayData {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let real = self.real()?;
        real.ops().read(real, offset, dst)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let real = self.real()?;
        real.ops().seek(real, current, whence, offset)
    }

    fn poll(&self, _: &FileDescription, _: Option<&mut PollTable>) -> Events {
        Events::READABLE | Events::WRITABLE
    }

    fn pollable(&self) -> bool {
        false
    }

    fn map(
        &self,
        _: &FileDescription,
        offset: u64,
        len: u64,
        shared: bool,
        prot: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        let real = self.real()?;
        real.ops().map(real, offset, len, shared, prot)
    }

    fn fsync(&self, _: &FileDescription, data_only: bool) -> Result<(), Errno> {
        let real = self.real()?;
        real.ops().fsync(real, data_only)
    }
}
