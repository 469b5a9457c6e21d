//! Mount options of tmpfs.

use std::fmt::Write;

use abi::{Errno, PAGE_SIZE};
use kernel::cred::IdKind;
use kernel::task::current;

/// What mount(2)'s data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes; 0: unbounded; `None`: half of the memory.
    pub size: Option<u64>,
    /// Inodes; 0: unbounded.
    pub inodes: Option<u64>,
    /// Permission bits of the root directory.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            size: None,
            inodes: None,
            mode: 0o1777,
            uid: 0,
            gid: 0,
        }
    }
}

impl Options {
    /// Parses `size=64m,mode=755,…`; `size=50%` is of `total_memory`, ids are the mounting task's. `EINVAL` for what tmpfs does not know.
    pub fn parse(data: &[u8], total_memory: u64) -> Result<Options, Errno> {
        let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        let mounter = current().map(|task| task.cred());
        let id = |kind, value: &str| {
            let id: u32 = value.parse().map_err(|_| Errno::EINVAL)?;
            match &mounter {
                Some(cred) => cred.user_ns.to_kernel(kind, id).ok_or(Errno::EINVAL),
                None => Ok(id),
            }
        };
        let mut options = Options::default();
        if let Some(cred) = &mounter {
            (options.uid, options.gid) = (cred.fsuid, cred.fsgid);
        }
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            match name {
                "size" => options.size = Some(size(value, total_memory)?),
                "nr_blocks" => {
                    let blocks = size(value, 0)?;
                    options.size = Some(blocks.checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)?);
                }
                "nr_inodes" => options.inodes = Some(size(value, 0)?),
                "mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    options.mode = mode & 0o7777;
                }
                "uid" => options.uid = id(IdKind::User, value)?,
                "gid" => options.gid = id(IdKind::Group, value)?,
                // No effect here: pages and inode numbers are as the engine has them.
                "huge" | "mpol" | "noswap" | "inode32" | "inode64" | "rw" | "ro" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    /// As /proc/mounts shows them.
    pub fn show(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        if let Some(size) = self.size.filter(|size| *size > 0) {
            let _ = write!(text, ",size={}k", size.div_ceil(1024));
        }
        if let Some(inodes) = self.inodes.filter(|inodes| *inodes > 0) {
            let _ = write!(text, ",nr_inodes={inodes}");
        }
        if self.mode != 0o1777 {
            let _ = write!(text, ",mode={:o}", self.mode);
        }
        if self.uid != 0 {
            let _ = write!(text, ",uid={}", self.uid);
        }
        if self.gid != 0 {
            let _ = write!(text, ",gid={}", self.gid);
        }
        text.trim_start_matches(',').to_owned()
    }
}

/// A number with k, m, g, t, or a percentage of `whole`.
fn size(text: &str, whole: u64) -> Result<u64, Errno> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.parse().map_err(|_| Errno::EINVAL)?;
        return (whole / 100).checked_mul(percent).ok_or(Errno::EINVAL);
    }
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        Some(b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}
