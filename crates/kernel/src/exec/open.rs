//! Opening what is to be executed.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::O_RDONLY;

use super::HEAD;
use super::elf::read_up_to;
use crate::file::FileDescription;
use crate::vfs::{FileKind, LookupFlags, MountFlags, Path, Walker, may_execute};

/// A file that may be executed.
pub struct Program {
    /// Open for reading.
    pub file: Arc<FileDescription>,
    /// Its first bytes, padded with zeroes.
    pub head: [u8; HEAD],
    /// Bytes of `head` that the file has.
    pub head_len: usize,
}

/// Looks `path` up (from `dir`, or the working directory) and opens it for execution.
pub fn open_program(
    walker: &Walker<'_>,
    dir: Option<&Path>,
    path: &[u8],
    flags: LookupFlags,
) -> Result<Program, Errno> {
    let place = walker.resolve(dir, path, flags)?;
    if !flags.contains(LookupFlags::FOLLOW) && place.inode()?.kind == FileKind::Symlink {
        return Err(Errno::ELOOP);
    }
    open_place(walker, place)
}

/// Opens a place for execution: a regular file with an execute permission on a mount that allows it.
pub fn open_place(walker: &Walker<'_>, place: Path) -> Result<Program, Errno> {
    may_execute(&walker.cred, &place)?;
    let ops = place.inode()?.ops.open(&place, O_RDONLY)?;
    let file = FileDescription::new(place, ops, O_RDONLY);
    let bytes = read_up_to(&file, 0, HEAD)?;
    let mut head = [0; HEAD];
    if let Some(slot) = head.get_mut(..bytes.len()) {
        slot.copy_from_slice(&bytes);
    }
    Ok(Program {
        file,
        head,
        head_len: bytes.len(),
    })
}

impl Program {
    /// The bytes of the head that the file really has.
    pub fn head(&self) -> &[u8] {
        self.head.get(..self.head_len).unwrap_or(&self.head)
    }

    /// Whether its mount ignores set-user-ID bits.
    pub fn nosuid(&self) -> bool {
        self.file.path().mount.flags().contains(MountFlags::NOSUID)
    }
}
