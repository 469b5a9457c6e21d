//! The home directory of a container's user, by its own /etc/passwd: container runtimes set HOME where nobody else has.

use abi::Errno;
use abi::fcntl::O_RDONLY;
use kernel::io::VecSink;
use kernel::vfs::{FileKind, LookupFlags, Walker};

/// Longest passwd file that is read.
const MAX_PASSWD: usize = 1 << 20;
/// Bytes read at a time.
const STEP: usize = 16 << 10;

/// Adds HOME to an environment that has none, or an empty one.
pub fn set(walker: &Walker<'_>, uid: u32, env: &mut Vec<Vec<u8>>) {
    let has = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix(b"HOME="))
        .is_some_and(|home| !home.is_empty());
    if has {
        return;
    }
    env.retain(|variable| !variable.starts_with(b"HOME="));
    let passwd = read(walker, b"/etc/passwd").unwrap_or_default();
    let home = of(&passwd, uid).unwrap_or(b"/");
    env.push([b"HOME=", home].concat());
}

/// The home directory of a user in the text of a passwd file (passwd(5)).
fn of(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    let wanted = uid.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let found = fields.nth(2) == Some(wanted.as_bytes());
        let home = fields.nth(2)?;
        (found && !home.is_empty()).then_some(home)
    })
}

/// A regular file's bytes. `EFBIG` when there are too many.
fn read(walker: &Walker<'_>, path: &[u8]) -> Result<Vec<u8>, Errno> {
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
        if bytes.len() > MAX_PASSWD {
            return Err(Errno::EFBIG);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_home_is_the_sixth_field() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\na:x:7:7::/home/a:\nb:x:8:8:::\n";
        assert_eq!(of(passwd, 0), Some(&b"/root"[..]));
        assert_eq!(of(passwd, 7), Some(&b"/home/a"[..]));
        assert_eq!(of(passwd, 8), None);
        assert_eq!(of(passwd, 9), None);
        assert_eq!(of(b"", 0), None);
    }
}
