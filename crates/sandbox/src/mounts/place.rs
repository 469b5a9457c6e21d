//! Places to mount on, made where they are missing.

use abi::Errno;
use kernel::vfs::{LookupFlags, Path, Walker};

/// The directory at a path inside; it and those above it are made where they are missing.
pub fn directory(walker: &Walker<'_>, path: &[u8]) -> Result<Path, Errno> {
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    match walker.resolve(None, path, flags) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    let mut made = Vec::new();
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        made.push(b'/');
        made.extend_from_slice(name);
        match walker.mkdir(None, &made, 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    walker.resolve(None, path, flags)
}

/// The path of the directory that a path is in.
pub fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).filter(|dir| !dir.is_empty()).unwrap_or(b"/")
}

/// The directory that a path is in.
pub fn directory_of(walker: &Walker<'_>, path: &[u8]) -> Result<Path, Errno> {
    directory(walker, parent(path))
}

/// The file at a path inside; made, empty, where it is missing.
pub fn file(walker: &Walker<'_>, path: &[u8]) -> Result<Path, Errno> {
    match walker.resolve(None, path, LookupFlags::FOLLOW) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    directory_of(walker, path)?;
    walker.open(None, path, abi::fcntl::O_CREAT | abi::fcntl::O_WRONLY, 0o644)?;
    walker.resolve(None, path, LookupFlags::FOLLOW)
}
