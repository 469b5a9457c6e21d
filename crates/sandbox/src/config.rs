//! What a sandbox is made from: plain data, and the descriptors that came through the wall.

use std::os::fd::OwnedFd;

use host::tty::WindowSize;

/// What to run and how it sees itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Program and arguments; not empty.
    pub argv: Vec<Vec<u8>>,
    /// The environment, as `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// First directory; `None` means the root. A caller's directory that does not exist inside is an error.
    pub cwd: Option<Vec<u8>>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Host name.
    pub hostname: Vec<u8>,
    /// Absolute path inside and read-only flag of each volume, in the order of [`Handles::volumes`].
    pub volumes: Vec<(Vec<u8>, bool)>,
    /// Log every system call.
    pub strace: bool,
    /// Resource limits of the caller, soft and hard, by RLIMIT_ number.
    pub rlimits: [(u64, u64); 16],
    /// Processors.
    pub cpus: u32,
    /// Text of /proc/cpuinfo, at least its first processor.
    pub cpuinfo: String,
    /// Bytes of memory.
    pub total_memory: u64,
}

/// The host trees: directory handles (O_PATH), or open files for volumes that are single files.
#[derive(Debug)]
pub struct Handles {
    /// The read-only root.
    pub root: OwnedFd,
    /// The volumes; each a directory or a single file.
    pub volumes: Vec<OwnedFd>,
}

/// Where bytes come from and go to.
#[derive(Debug)]
pub struct Io {
    /// Standard input, output and error of the command.
    pub stdio: [OwnedFd; 3],
    /// The terminal among them, if there is one to be relayed.
    pub terminal: Option<Terminal>,
    /// Where logs go; `None` means standard error.
    pub log: Option<OwnedFd>,
}

/// A terminal to be made for the guest, like the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Which of the standard descriptors it takes the place of.
    pub standard: [bool; 3],
    /// Its first window size.
    pub size: WindowSize,
    /// Input, output, control and local flags of its termios.
    pub flags: [u32; 4],
    /// Its control characters.
    pub characters: [u8; 19],
}
