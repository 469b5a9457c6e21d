//! Areas (Linux's VMAs): what a range of guest addresses is, as plain data.

use std::sync::Arc;

use bitflags::bitflags;
use platform::Prot;

use crate::file::{FileDescription, FileMemory};
use crate::vfs::Inode;

bitflags! {
    /// Properties of an area beside its access.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct AreaFlags: u32 {
        /// MAP_SHARED.
        const SHARED = 1;
        /// MAP_GROWSDOWN, and the main stack.
        const GROWSDOWN = 2;
        /// MAP_NORESERVE.
        const NORESERVE = 4;
        /// Counted as locked (mlock(2)).
        const LOCKED = 8;
        /// MADV_DONTFORK.
        const DONTFORK = 0x10;
        /// MADV_WIPEONFORK.
        const WIPEONFORK = 0x20;
        /// MADV_DONTDUMP.
        const DONTDUMP = 0x40;
        /// Huge pages wanted (by us for large areas, or MADV_HUGEPAGE).
        const HUGE = 0x80;
        /// MADV_NOHUGEPAGE.
        const NOHUGE = 0x100;
        /// mseal(2).
        const SEALED = 0x200;
        /// MAP_STACK.
        const STACK = 0x400;
        /// Made by shmat(2).
        const SHM = 0x800;
    }
}

/// Memory that several areas may show: shared anonymous memory and System V segments.
pub struct SharedObject {
    /// The bytes.
    pub memory: Arc<dyn FileMemory>,
    /// Inode number in /proc/PID/maps.
    pub ino: u64,
    /// Name in /proc/PID/maps.
    pub name: Vec<u8>,
}

/// What an area shows.
#[derive(Clone)]
pub enum Backing {
    /// Private zero-filled memory.
    Anonymous,
    /// A shared object from `offset` on.
    Object {
        /// The object.
        object: Arc<SharedObject>,
        /// Bytes.
        offset: u64,
    },
    /// An open file from `offset` on.
    File {
        /// The open file, kept as long as the area.
        file: Arc<FileDescription>,
        /// Bytes.
        offset: u64,
    },
    /// The engine's vDSO and its data.
    Vdso,
}

impl Backing {
    /// The same, `bytes` further on.
    pub fn advanced(&self, bytes: u64) -> Backing {
        let mut later = self.clone();
        match &mut later {
            Backing::Object { offset, .. } | Backing::File { offset, .. } => {
                *offset = offset.wrapping_add(bytes);
            }
            Backing::Anonymous | Backing::Vdso => {}
        }
        later
    }

    /// Whether `next` continues this backing after `bytes`.
    fn continues(&self, bytes: u64, next: &Backing) -> bool {
        match (self, next) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (
                Backing::Object { object, offset },
                Backing::Object {
                    object: other,
                    offset: at,
                },
            ) => Arc::ptr_eq(object, other) && offset.wrapping_add(bytes) == *at,
            (
                Backing::File { file, offset },
                Backing::File {
                    file: other,
                    offset: at,
                },
            ) => Arc::ptr_eq(file, other) && offset.wrapping_add(bytes) == *at,
            _ => false,
        }
    }

    /// The file's inode, when it is a file's.
    pub fn inode(&self) -> Option<Arc<Inode>> {
        match self {
            Backing::File { file, .. } => file.path().inode().ok(),
            _ => None,
        }
    }
}

/// The name that /proc/PID/maps gives to an area without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AreaName {
    /// None.
    #[default]
    None,
    /// `[heap]`.
    Heap,
    /// `[stack]`.
    Stack,
    /// `[vdso]`.
    Vdso,
    /// `[vvar]`.
    Vvar,
}

/// A range of guest addresses with one set of properties.
#[derive(Clone)]
pub struct Area {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Access.
    pub prot: Prot,
    /// What mprotect(2) may ever allow (VM_MAYREAD and so on).
    pub max_prot: Prot,
    /// Properties.
    pub flags: AreaFlags,
    /// Content.
    pub backing: Backing,
    /// Name.
    pub name: AreaName,
}

impl Area {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Never: an area holds at least a page.
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Whether it is MAP_SHARED.
    pub fn shared(&self) -> bool {
        self.flags.contains(AreaFlags::SHARED)
    }

    /// Whether Linux counts it for RLIMIT_DATA: private, writable, not a stack.
    pub fn is_data(&self) -> bool {
        self.prot.contains(Prot::WRITE) && !self.flags.intersects(AreaFlags::SHARED | AreaFlags::GROWSDOWN)
    }

    /// Whether it is private memory without a file.
    pub fn private_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous) && !self.shared()
    }

    /// The access that its file must allow: what it has, and for a shared one writing if mprotect(2) may allow that.
    pub fn access_ever(&self) -> Prot {
        if self.shared() {
            self.prot | (self.max_prot & Prot::WRITE)
        } else {
            self.prot
        }
    }

    /// The part of it inside `[start, end)`, which overlaps it.
    pub fn clipped(&self, start: u64, end: u64) -> Area {
        let (from, to) = (self.start.max(start), self.end.min(end));
        let mut part = self.clone();
        part.backing = self.backing.advanced(from - self.start);
        (part.start, part.end) = (from, to);
        part
    }

    /// Whether `next` can be joined to the end of this area.
    pub fn joins(&self, next: &Area) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && self.max_prot == next.max_prot
            && self.flags == next.flags
            && self.name == next.name
            && self.backing.continues(self.len(), &next.backing)
    }
}
