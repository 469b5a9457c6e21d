//! Finding the command's program inside, as execvp(3) and a shell do, and what is said when it cannot be run.

use abi::Errno;
use kernel::exec::open_program;
use kernel::vfs::{LookupFlags, Walker};

/// Where programs are looked for when the environment has no PATH (as confstr(_CS_PATH) has it, with the administrator's).
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Exit status and text for a command that cannot be run.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRun {
    /// 127: not found; 126: found, but it cannot be executed.
    pub status: u8,
    /// Why.
    pub errno: Errno,
}

impl NotRun {
    /// What a shell would say of the error.
    pub fn from_errno(errno: Errno) -> NotRun {
        let missing = errno == Errno::ENOENT || errno == Errno::ENOTDIR;
        NotRun {
            status: if missing { 127 } else { 126 },
            errno,
        }
    }

    /// In the words of a shell.
    pub fn as_shell(&self, name: &[u8]) -> String {
        format!(
            "{}: {}",
            String::from_utf8_lossy(name),
            crate::boot::words(self.errno)
        )
    }

    /// In the words that container engines look for.
    pub fn as_runtime(&self, name: &[u8]) -> String {
        let shown = String::from_utf8_lossy(name);
        let why = match self.errno {
            Errno::ENOENT if !name.contains(&b'/') => "executable file not found in $PATH".to_string(),
            Errno::ENOENT => format!("stat {shown}: no such file or directory"),
            other => crate::boot::words(other).to_lowercase(),
        };
        format!("exec: \"{shown}\": {why}")
    }
}
/// The path of `name`: itself if it has a slash, else the first executable of that name in PATH.
pub fn find(walker: &Walker<'_>, name: &[u8], env: &[Vec<u8>]) -> Result<Vec<u8>, NotRun> {
    if name.contains(&b'/') {
        return match open_program(walker, None, name, LookupFlags::FOLLOW) {
            Ok(_) => Ok(name.to_vec()),
            Err(errno) => Err(NotRun::from_errno(errno)),
        };
    }
    let mut worst = Errno::ENOENT;
    if name.is_empty() {
        return Err(NotRun::from_errno(worst));
    }
    for dir in search_path(env).split(|byte| *byte == b':') {
        let mut path = if dir.is_empty() {
            b".".to_vec()
        } else {
            dir.to_vec()
        };
        path.push(b'/');
        path.extend_from_slice(name);
        match open_program(walker, None, &path, LookupFlags::FOLLOW) {
            Ok(_) => return Ok(path),
            // Like execvp(3): one that may not be executed is told only if there is no other.
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(NotRun::from_errno(worst))
}

fn search_path(env: &[Vec<u8>]) -> &[u8] {
    env.iter()
        .find_map(|variable| variable.strip_prefix(b"PATH="))
        .unwrap_or(DEFAULT_PATH)
}
