//! personality(2).

use abi::Errno;

use crate::task::CurrentTask;

/// personality(2): remembered; ADDR_NO_RANDOMIZE is acted on by execve(2).
pub fn personality(task: &CurrentTask, persona: u32) -> Result<u32, Errno> {
    let mut state = task.state.lock();
    let old = state.personality;
    if persona != u32::MAX {
        state.personality = persona;
    }
    Ok(old)
}
