//! The memory devices (major 1): null, zero, full, random, urandom (mem(4), null(4), random(4)).

use std::sync::Arc;

use abi::{Errno, UserAddr};
use kernel::Kernel;
use kernel::cred::Caps;
use kernel::file::{FileDescription, FileMemory, FileOps, MapPiece, Whence};
use kernel::io::{Sink, Source};
use kernel::task::CurrentTask;
use kernel::vfs::{DeviceOpener, FileKind, Path};
use platform::{MapSource, Prot};
use sync::{Mutex, rank};

/// Major number of the memory devices.
const MAJOR: u32 = 1;
/// Bytes moved per step.
const STEP: usize = 64 << 10;

const RNDGETENTCNT: u32 = 0x8004_5200;
const RNDADDTOENTCNT: u32 = 0x4004_5201;
const RNDADDENTROPY: u32 = 0x4008_5203;
const RNDCLEARPOOL: u32 = 0x5206;
const RNDRESEEDCRNG: u32 = 0x5207;
/// Bits of entropy that random devices say they have.
const POOL_BITS: i32 = 256;

/// Registers the drivers.
pub fn register(kernel: &Arc<Kernel>) {
    kernel
        .vfs
        .devices
        .register(FileKind::CharDevice, MAJOR, 3..=9, Arc::new(MemOpener));
}

struct MemOpener;

impl DeviceOpener for MemOpener {
    fn open(&self, kernel: &Arc<Kernel>, _: &Path, minor: u32, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Ok(match minor {
            3 => Box::new(Null),
            5 => Box::new(Zero::new(kernel)?),
            7 => Box::new(Full),
            8 | 9 => Box::new(Random),
            _ => return Err(Errno::ENXIO),
        })
    }
}

/// Takes all of a source.
fn swallow(src: &mut dyn Source) -> Result<usize, Errno> {
    // Nobody looks at the bytes, and Linux does not either: a bad address is no error here.
    Ok(src.remaining())
}

fn zeroes(dst: &mut dyn Sink) -> Result<usize, Errno> {
    let block = [0; 4096];
    let mut done = 0;
    while dst.remaining() > 0 {
        let step = block.len().min(dst.remaining());
        let stored = match dst.write(&block[..step]) {
            Ok(stored) => stored,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        done += stored;
        if stored < step {
            break;
        }
    }
    Ok(done)
}

/// Device files accept every seek and stay at 0.
fn seek_nowhere(whence: Whence) -> Result<u64, Errno> {
    match whence {
        Whence::Set | Whence::Current | Whence::End => Ok(0),
        Whence::Data | Whence::Hole => Err(Errno::EINVAL),
    }
}

struct Null;

impl FileOps for Null {
    fn read(&self, _: &FileDescription, _: u64, _: &mut dyn Sink) -> Result<usize, Errno> {
        Ok(0)
    }
    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        swallow(src)
    }
    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        swallow(src).map(|done| (done, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self, _: &FileDescription, _: u64, whence: Whence, _: i64) -> Result<u64, Errno> {
        seek_nowhere(whence)
    }
    fn pollable(&self) -> bool {
        false
    }
}

struct Full;

impl FileOps for Full {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        zeroes(dst)
    }
    fn write(&self, _: &FileDescription, _: u64, _: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::ENOSPC)
    }
    fn append(&self, _: &FileDescription, _: &mut dyn Source) -> Result<(usize, u64), Errno> {
        Err(Errno::ENOSPC)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self, _: &FileDescription, _: u64, whence: Whence, _: i64) -> Result<u64, Errno> {
        seek_nowhere(whence)
    }
    fn pollable(&self) -> bool {
        false
    }
}

/// /dev/zero. Shared mappings show memory of this open file, each a part of its own.
struct Zero {
    memory: Arc<dyn FileMemory>,
    /// Where the next shared mapping begins.
    next: Mutex<u64>,
}

impl Zero {
    fn new(kernel: &Kernel) -> Result<Zero, Errno> {
        Ok(Zero {
            memory: kernel.memory.create()?,
            next: Mutex::new(rank::LEAF, 0),
        })
    }
}

impl FileOps for Zero {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        zeroes(dst)
    }
    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        swallow(src)
    }
    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        swallow(src).map(|done| (done, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self, _: &FileDescription, _: u64, whence: Whence, _: i64) -> Result<u64, Errno> {
        seek_nowhere(whence)
    }
    fn pollable(&self) -> bool {
        false
    }
    fn map(
        &self,
        _: &FileDescription,
        _: u64,
        len: u64,
        shared: bool,
        _: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        if !shared {
            return Ok(vec![MapPiece {
                len,
                source: MapSource::Anonymous,
            }]);
        }
        let start = {
            let mut next = self.next.lock();
            let start = *next;
            *next = start.checked_add(len).ok_or(Errno::ENOMEM)?;
            start
        };
        let pieces = self.memory.map(start, len)?;
        let pieces = pieces.into_iter().map(|(file, offset, len)| MapPiece {
            len,
            source: MapSource::File { file, offset },
        });
        Ok(pieces.collect())
    }
}

struct Random;

impl FileOps for Random {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        while dst.remaining() > 0 {
            let mut block = vec![0; dst.remaining().min(STEP)];
            kernel::random::fill(&mut block);
            let stored = match dst.write(&block) {
                Ok(stored) => stored,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            done += stored;
            if stored < block.len() {
                break;
            }
        }
        Ok(done)
    }
    fn write(&self, _: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut done = 0;
        while src.remaining() > 0 {
            let mut block = vec![0; src.remaining().min(STEP)];
            let got = src.read(&mut block)?;
            kernel::random::seed(&block[..got]);
            done += got;
            if got < block.len() {
                break;
            }
        }
        Ok(done)
    }
    fn append(&self, file: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        self.write(file, 0, src).map(|done| (done, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn seek(&self, _: &FileDescription, _: u64, whence: Whence, _: i64) -> Result<u64, Errno> {
        seek_nowhere(whence)
    }
    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        match command {
            RNDGETENTCNT => task.write_struct(UserAddr(arg), &POOL_BITS).map(|()| 0),
            RNDADDTOENTCNT | RNDADDENTROPY | RNDCLEARPOOL | RNDRESEEDCRNG => {
                if !task.cred().has(Caps::SYS_ADMIN) {
                    return Err(Errno::EPERM);
                }
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}
