//! uname(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

/// Bytes of each field of struct new_utsname.
const FIELD: usize = 65;
/// The Linux release whose interfaces guests may expect.
pub const RELEASE: &str = "6.12.0-tegmen";
/// The version line.
pub const VERSION: &str = "#1 SMP Tegmen";

/// uname(2).
pub fn uname(task: &CurrentTask, buf: UserAddr) -> Result<(), Errno> {
    let uts = task.namespaces.lock().uts.clone();
    let names = uts.lock().clone();
    let fields = [
        "Linux",
        &names.nodename,
        RELEASE,
        VERSION,
        "x86_64",
        &names.domainname,
    ];
    let mut bytes = vec![0; FIELD * fields.len()];
    for (slot, text) in bytes.chunks_exact_mut(FIELD).zip(fields) {
        let take = text.len().min(FIELD - 1);
        slot[..take].copy_from_slice(&text.as_bytes()[..take]);
    }
    task.copy_out(buf, &bytes)
}
