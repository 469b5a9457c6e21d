//! Copying a whole tree into an empty directory, for mounts that start with what they cover (tmpcopyup).

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_DIRECTORY, O_RDONLY};
use kernel::file::DirSink;
use kernel::vfs::{FileKind, Inode};

use super::copy_up::{copy_content, make};
use super::open_layer;

/// Most files that one copy takes; an image's directory of run-time files has few.
const MAX_FILES: usize = 100_000;
/// Deepest directory.
const MAX_DEPTH: usize = 64;

struct Names(Vec<Vec<u8>>);

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _: u64, _: FileKind, _: u64) -> bool {
        if !matches!(name, b"." | b"..") {
            self.0.push(name.to_vec());
        }
        self.0.len() <= MAX_FILES
    }
}

/// Copies what is in the directory `from`, and its attributes, to `to`. `EFBIG` when it is too much.
pub fn copy_tree(from: &Arc<Inode>, to: &Arc<Inode>) -> Result<(), Errno> {
    let mut left = MAX_FILES;
    copy_directory(from, to, &mut left, 0)
}

fn copy_directory(from: &Arc<Inode>, to: &Arc<Inode>, left: &mut usize, depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::EFBIG);
    }
    for name in names(from)? {
        *left = left.checked_sub(1).ok_or(Errno::EFBIG)?;
        let source = from.ops.lookup(&name)?;
        let attr = source.attr()?;
        let copy = make(to, &name, &source, &attr)?;
        match attr.kind {
            // It gets its attributes when nothing is made in it any more.
            FileKind::Directory => copy_directory(&source, &copy, left, depth + 1)?,
            kind => copy_content(&source, &copy, kind == FileKind::Regular)?,
        }
    }
    copy_content(from, to, false)
}

fn names(dir: &Arc<Inode>) -> Result<Vec<Vec<u8>>, Errno> {
    let file = open_layer(dir, O_RDONLY | O_DIRECTORY)?;
    let mut sink = Names(Vec::new());
    let mut at = 0;
    loop {
        let next = file.ops().readdir(&file, at, &mut sink)?;
        if sink.0.len() > MAX_FILES {
            return Err(Errno::EFBIG);
        }
        if next == at {
            return Ok(sink.0);
        }
        at = next;
    }
}
