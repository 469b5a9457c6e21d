//! Shared memory without a file of the guest's: MAP_SHARED | MAP_ANONYMOUS.

use std::sync::Arc;

use abi::Errno;

use super::area::{Backing, SharedObject};
use super::{MapRequest, Mm};
use crate::Kernel;
use crate::file::{FileMemory, MapPiece};
use platform::MapSource;

/// The pieces that show `[offset, offset + len)` of a memory object.
pub fn memory_pieces(memory: &dyn FileMemory, offset: u64, len: u64) -> Result<Vec<MapPiece>, Errno> {
    let piece = |(file, offset, len)| MapPiece {
        len,
        source: MapSource::File { file, offset },
    };
    Ok(memory.map(offset, len)?.into_iter().map(piece).collect())
}

impl Kernel {
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
