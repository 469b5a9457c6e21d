//! Memory management: the bookkeeping of what a guest mapped. The host does the memory itself.

use std::sync::Arc;

use abi::{Errno, UserAddr};
use platform::AddressSpace;

/// A guest address space (Linux's mm_struct): shared by threads and by vfork(2) children. Completed by the mm developer:
/// areas (VMAs), brk, mmap and kin, limits, /proc/PID/maps.
pub struct Mm {
    /// The engine's side.
    pub space: Arc<dyn AddressSpace>,
}

impl Mm {
    /// An empty address space.
    pub fn new(space: Arc<dyn AddressSpace>) -> Arc<Mm> {
        Arc::new(Mm { space })
    }

    /// Copies from guest memory; all of `buf` or `EFAULT`.
    pub fn read(&self, addr: UserAddr, buf: &mut [u8]) -> Result<(), Errno> {
        if self.space.read(addr, buf)? == buf.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Copies to guest memory; all of `data` or `EFAULT` (a part may have been written).
    pub fn write(&self, addr: UserAddr, data: &[u8]) -> Result<(), Errno> {
        if self.space.write(addr, data)? == data.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }
}
