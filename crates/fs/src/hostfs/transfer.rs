//! Bytes between host descriptors and guests, through a buffer of the thread.

use std::cell::Cell;

use abi::Errno;
use kernel::io::{Sink, Source};

/// Most bytes written in one step: longer writes of guests need not be atomic.
const WRITE_STEP: usize = 1 << 20;
/// Most bytes read in one step: a buffer that is kept, and that the processor's caches hold until they are copied on.
const READ_STEP: usize = KEPT;
/// Buffers up to this size are kept for the thread's next call.
const KEPT: usize = 256 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with a buffer of at least `len` bytes. It may run nested: then the inner one gets a buffer of its own.
pub fn with_buffer<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = work(&mut buffer[..len]);
    if buffer.len() <= KEPT {
        BUFFER.set(buffer);
    }
    result
}

/// Reads from `read_at` into `dst` until that is full or the end is reached.
pub fn read_into(
    dst: &mut dyn Sink,
    mut offset: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while dst.remaining() > 0 {
        let want = dst.remaining().min(READ_STEP);
        let step = with_buffer(want, |buffer| {
            let got = read_at(buffer, offset)?;
            let taken = if got == 0 { 0 } else { dst.write(&buffer[..got])? };
            Ok((got, taken))
        });
        match step {
            Ok((got, taken)) => {
                done += taken;
                offset = offset.saturating_add(taken as u64);
                if got < want || taken < got {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Writes all of `src` with `write`, which gets bytes and how many were written before.
pub fn write_from(
    src: &mut dyn Source,
    mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while src.remaining() > 0 {
        let want = src.remaining().min(WRITE_STEP);
        let step = with_buffer(want, |buffer| {
            let got = src.read(buffer)?;
            Ok((got, write(&buffer[..got], done as u64)?))
        });
        match step {
            Ok((got, put)) => {
                done += put;
                if got < want || put < got {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}
