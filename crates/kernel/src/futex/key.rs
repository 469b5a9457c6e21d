//! What a futex word is, across address spaces.

use std::sync::Arc;

use abi::{Errno, UserAddr};

use crate::mm::{Backing, Mm};

/// The identity of a futex word. Shared ones are named by what is mapped; whoever waits keeps that alive by its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// FUTEX_PRIVATE_FLAG: an address in one address space.
    Private {
        /// [`Mm::id`].
        mm: u64,
        /// Address.
        addr: u64,
    },
    /// A shared operation on private memory.
    Local {
        /// [`Mm::id`].
        mm: u64,
        /// Address.
        addr: u64,
    },
    /// A place in a shared file or object.
    Shared {
        /// The inode or object.
        object: usize,
        /// Bytes from its start.
        offset: u64,
    },
}

/// A futex word as a task sees it.
#[derive(Clone)]
pub struct Word {
    /// The address space.
    pub mm: Arc<Mm>,
    /// Where it is there.
    pub addr: UserAddr,
    /// What it is.
    pub key: Key,
}

impl Word {
    /// The word at `addr`: `EINVAL` when it is not aligned, `EFAULT` when a shared one is not mapped.
    pub fn new(mm: Arc<Mm>, addr: UserAddr, private: bool) -> Result<Word, Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if addr.0 >= crate::mm::TASK_SIZE {
            return Err(Errno::EFAULT);
        }
        let (id, at) = (mm.id, addr.0);
        let key = if private {
            Key::Private { mm: id, addr: at }
        } else {
            shared_key(&mm, addr)?
        };
        Ok(Word { mm, addr, key })
    }

    /// Its value now.
    pub fn load(&self) -> Result<u32, Errno> {
        self.mm.space.load_u32(self.addr)
    }

    /// Stores `new` if the value is `old`; returns whether it was.
    pub fn swap(&self, old: u32, new: u32) -> Result<bool, Errno> {
        Ok(self.mm.space.compare_exchange_u32(self.addr, old, new)? == old)
    }
}

fn shared_key(mm: &Mm, addr: UserAddr) -> Result<Key, Errno> {
    let area = mm.area_at(addr).ok_or(Errno::EFAULT)?;
    if area.prot.is_empty() {
        return Err(Errno::EFAULT);
    }
    let local = Key::Local {
        mm: mm.id,
        addr: addr.0,
    };
    if !area.shared() {
        return Ok(local);
    }
    let inside = addr.0 - area.start;
    Ok(match &area.backing {
        Backing::File { file, offset } => {
            // A page beyond the file's end has no word.
            mm.space.load_u32(addr)?;
            Key::Shared {
                object: Arc::as_ptr(&file.path().inode()?) as usize,
                offset: offset.wrapping_add(inside),
            }
        }
        Backing::Object { object, offset } => Key::Shared {
            object: Arc::as_ptr(object) as usize,
            offset: offset.wrapping_add(inside),
        },
        Backing::Anonymous | Backing::Vdso => local,
    })
}
