//! Open text files: generated at the first read and again whenever reading starts over at 0, as seq_file does.

use std::sync::Arc;

use abi::Errno;
use kernel::cred::Credentials;
use kernel::file::{FileDescription, FileOps, Whence};
use kernel::io::{Sink, Source};

use super::Node;
use super::snapshot::Snapshot;

/// Most bytes that one write to a knob may bring (Linux: a page).
pub const KNOB_MAX: usize = 4096;

/// Nanoseconds since the epoch.
pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// lseek(2) over a file of `size` bytes; `None`: SEEK_END is refused.
pub(super) fn seek_from(current: u64, size: Option<u64>, whence: Whence, offset: i64) -> Result<u64, Errno> {
    let base = match whence {
        Whence::Set => 0,
        Whence::Current => current,
        Whence::End => size.ok_or(Errno::EINVAL)?,
        Whence::Data | Whence::Hole => return Err(Errno::EINVAL),
    };
    base.checked_add_signed(offset)
        .filter(|at| i64::try_from(*at).is_ok())
        .ok_or(Errno::EINVAL)
}

/// An open generated file.
pub(super) struct TextFile {
    node: Arc<dyn Node>,
    content: Snapshot<Vec<u8>>,
    /// Who opened it; `None`: no task did.
    opener: Option<Arc<Credentials>>,
}

impl TextFile {
    pub(super) fn new(node: Arc<dyn Node>) -> TextFile {
        TextFile {
            node,
            content: Snapshot::new(),
            opener: kernel::task::current().map(|task| task.cred()),
        }
    }

    fn content(&self, restart: bool) -> Result<Arc<Vec<u8>>, Errno> {
        self.content.get(restart, || self.node.text(), Vec::len)
    }
}

impl FileOps for TextFile {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let content = self.content(offset == 0)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let rest = content.get(start..).unwrap_or_default();
        if rest.is_empty() {
            self.content.clear();
        }
        let take = rest.len().min(dst.remaining());
        dst.write(&rest[..take])
    }

    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut data = vec![0; src.remaining().min(KNOB_MAX)];
        let got = src.read(&mut data)?;
        data.truncate(got);
        match &self.opener {
            Some(opener) => self.node.store_as(&data, opener)?,
            None => self.node.store(&data)?,
        }
        self.content.clear();
        Ok(got)
    }

    fn append(&self, file: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        self.write(file, 0, src).map(|done| (done, done as u64))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        seek_from(current, None, whence, offset)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// A written value without the white space around it.
pub fn trimmed(data: &[u8]) -> &[u8] {
    let data = data.split(|byte| *byte == 0).next().unwrap_or_default();
    data.trim_ascii()
}

/// A written decimal number. `EINVAL` when it is none.
pub fn parse_i64(data: &[u8]) -> Result<i64, Errno> {
    std::str::from_utf8(trimmed(data))
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Errno::EINVAL)
}

/// A written decimal number that is not negative. `EINVAL` when it is none.
pub fn parse_u64(data: &[u8]) -> Result<u64, Errno> {
    std::str::from_utf8(trimmed(data))
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Errno::EINVAL)
}
