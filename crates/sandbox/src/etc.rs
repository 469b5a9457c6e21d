//! Files of the guest's /etc that the sandbox itself reads or completes.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_APPEND, O_CREAT, O_RDONLY, O_WRONLY};
use kernel::io::{SliceSource, VecSink};
use kernel::vfs::{FileKind, LookupFlags, Walker};

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

/// Lets the sandbox's own host name be found, as hosts(5) of an installed system does: many programs look it up.
/// Nothing is written that the host could see: only a file of the private layer is completed.
pub fn name_self(walker: &Walker<'_>, hostname: &[u8]) -> Result<(), Errno> {
    let hosts = b"/etc/hosts";
    let (text, exists) = match walker.resolve(None, hosts, LookupFlags::FOLLOW) {
        Ok(place) if !Arc::ptr_eq(&place.mount, &walker.root.mount) => return Ok(()),
        Ok(_) => (read(walker, hosts)?, true),
        Err(Errno::ENOENT) => (Vec::new(), false),
        Err(errno) => return Err(errno),
    };
    if names(&text, hostname) {
        return Ok(());
    }
    let mut lines = Vec::new();
    if !exists {
        lines.extend_from_slice(b"127.0.0.1\tlocalhost\n::1\tlocalhost\n");
    } else if text.last().is_some_and(|last| *last != b'\n') {
        lines.push(b'\n');
    }
    lines.extend_from_slice(&[b"127.0.1.1\t", hostname, b"\n"].concat());
    let file = walker.open(None, hosts, O_WRONLY | O_APPEND | O_CREAT, 0o644)?;
    let end = text.len() as u64;
    match file.ops().write(&file, end, &mut SliceSource(&lines))? {
        written if written == lines.len() => Ok(()),
        _ => Err(Errno::ENOSPC),
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
