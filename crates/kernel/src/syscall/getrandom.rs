//! getrandom(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;

const GRND_NONBLOCK: u32 = 1;
const GRND_RANDOM: u32 = 2;
const GRND_INSECURE: u32 = 4;
/// Bytes made per step.
const STEP: usize = 4096;

/// getrandom(2).
pub fn getrandom(task: &CurrentTask, buf: UserAddr, len: usize, flags: Flags) -> Result<usize, Errno> {
    let flags = flags.0;
    let known = GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE;
    let both = GRND_RANDOM | GRND_INSECURE;
    if flags & !known != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let len = len.min(i32::MAX as usize);
    let mut bytes = vec![0; len.min(STEP)];
    let mut done = 0;
    while done < len {
        let step = bytes.get_mut(..(len - done).min(STEP)).unwrap_or_default();
        crate::random::fill(step);
        match task.copy_out_some(buf.add(done as u64)?, step) {
            Ok(got) => {
                done += got;
                if got < step.len() {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        if task.needs_attention() {
            break;
        }
    }
    Ok(done)
}
