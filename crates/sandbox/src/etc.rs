//! Files of the guest's /etc that the sandbox itself reads or completes.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY};
use kernel::io::{SliceSource, VecSink};
use kernel::vfs::{FileKind, LookupFlags, Walker};

use crate::container::{Mount, Source};
use crate::mounts::place;

const HOSTS: &[u8] = b"/etc/hosts";

/// Longest file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;
/// Bytes read at a time.
const STEP: usize = 16 << 10;

/// A regular file's bytes. `EFBIG` when there are too many.
pub fn read(walker: &Walker<'_>, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let place = walker.resolve(None, path, LookupFlags::FOLLOW)?;
    if place.inode()?.kind != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    let file = walker.open(None, path, O_RDONLY, 0)?;
    let mut bytes = Vec::new();
    loop {
        let mut sink = VecSink::new(STEP);
        match file.ops().read(&file, bytes.len() as u64, &mut sink)? {
            0 => return Ok(bytes),
            _ => bytes.append(&mut sink.bytes),
        }
        if bytes.len() > MAX_FILE {
            return Err(Errno::EFBIG);
        }
    }
}

/// The private layer of a sandbox, whose files the sandbox itself may write.
pub struct Layer<'a> {
    walker: &'a Walker<'a>,
    /// Mounts that show trees of the host, where every write would reach it.
    trees: Vec<Arc<kernel::vfs::Mount>>,
}

impl<'a> Layer<'a> {
    /// That of a container whose mounts have been made.
    pub fn new(walker: &'a Walker<'a>, mounts: &[Mount]) -> Layer<'a> {
        let tree = |mount: &Mount| {
            let place = walker.resolve(None, &mount.at, LookupFlags::FOLLOW).ok()?;
            matches!(mount.source, Source::Tree { .. }).then_some(place.mount)
        };
        let trees = mounts.iter().filter_map(tree).collect();
        Layer { walker, trees }
    }

    /// Whether neither a file nor its directory is the host's.
    fn has(&self, path: &[u8]) -> bool {
        let own = |path: &[u8]| match self.walker.resolve(None, path, LookupFlags::FOLLOW) {
            Ok(place) => !self.trees.iter().any(|tree| Arc::ptr_eq(tree, &place.mount)),
            Err(_) => true,
        };
        own(path) && own(place::parent(path))
    }

    /// Writes a file whole; a link that leads nowhere gives way. A file that is the host's stays as it is: who put it
    /// there wants it so.
    pub fn write(&self, path: &[u8], content: &[u8]) -> Result<(), Errno> {
        if !self.has(path) {
            return Ok(());
        }
        let walker = self.walker;
        let file = if walker.resolve(None, path, LookupFlags::FOLLOW).is_ok() {
            walker.open(None, path, O_TRUNC | O_WRONLY, 0)?
        } else {
            place::directory_of(walker, path)?;
            if walker.resolve(None, path, LookupFlags::empty()).is_ok() {
                walker.unlink(None, path)?;
            }
            walker.open(None, path, O_CREAT | O_EXCL | O_WRONLY, 0o644)?
        };
        let mut source = SliceSource(content);
        let mut at = 0;
        while !source.0.is_empty() {
            match file.ops().write(&file, at, &mut source)? {
                0 => return Err(Errno::EIO),
                put => at += put as u64,
            }
        }
        Ok(())
    }

    /// Lets the sandbox's own host name be found, as hosts(5) of an installed system does: many programs look it up.
    pub fn name_self(&self, hostname: &[u8]) -> Result<(), Errno> {
        let mut text = match read(self.walker, HOSTS) {
            Ok(text) => text,
            Err(Errno::ENOENT) => b"127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_vec(),
            Err(errno) => return Err(errno),
        };
        if names(&text, hostname) {
            return Ok(());
        }
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(&[b"127.0.1.1\t", hostname, b"\n"].concat());
        self.write(HOSTS, &text)
    }
}

/// Whether a line of hosts(5) gives `hostname` an address.
fn names(hosts: &[u8], hostname: &[u8]) -> bool {
    hosts.split(|byte| *byte == b'\n').any(|line| {
        let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let mut words = entry
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words.next().is_some() && words.any(|word| word.eq_ignore_ascii_case(hostname))
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_name_counts_after_an_address_only() {
        let hosts = b"127.0.0.1 localhost\n10.0.0.1\tbox.example  Box # other\nalone\n#1.2.3.4 hidden\n";
        for named in [&b"localhost"[..], b"box", b"box.example"] {
            assert!(names(hosts, named));
        }
        for not in [&b"other"[..], b"alone", b"hidden", b"10.0.0.1", b"loc"] {
            assert!(!names(hosts, not));
        }
    }
}
