//! What a sandbox is made from: plain data, and the descriptors that came through the wall.

use std::os::fd::OwnedFd;

use fs::cgroupfs::figures::Figure;
use host::tty::WindowSize;
use serde::{Deserialize, Serialize};

use crate::container::Container;
use kernel::socket::network::NetworkConfig;

/// What to run and how it sees itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host name.
    pub hostname: Vec<u8>,
    /// Who runs the first process, `USER[:GROUP]` by the guest's own passwd(5); else as the process says.
    pub user: Option<Vec<u8>>,
    /// NIS domain name.
    pub domainname: Vec<u8>,
    /// Log every system call.
    pub strace: bool,
    /// Processors.
    pub cpus: u32,
    /// Text of /proc/cpuinfo, at least its first processor.
    pub cpuinfo: String,
    /// Bytes of memory.
    pub total_memory: u64,
    /// Lines of the uid_map and the gid_map of the jail: which ids of the host the container's are. `None`: the caller's own.
    pub id_maps: Option<(String, String)>,
    /// The first container. With its first process the sandbox ends.
    pub container: Container,
    /// The first process waits for a `start` request. Needs [`Handles::listener`].
    pub wait_for_start: bool,
    /// Guests' internet sockets are the host's, in the network namespace that the jail was started in.
    pub host_network: bool,
    /// Interfaces besides the loopback one; the first of [`Io::network`] carries the frames of the first, and so on.
    pub network: NetworkConfig,
}

/// What came through the wall. Trees are directory handles (O_PATH), or open files for those that are single files.
#[derive(Debug)]
pub struct Handles {
    /// The root.
    pub root: OwnedFd,
    /// Other trees; each a directory or a single file.
    pub volumes: Vec<OwnedFd>,
    /// The listening control socket, if there is one.
    pub listener: Option<OwnedFd>,
    /// The sentry's own oom_score_adj, and the value that it gets back once guest processes have inherited a higher one.
    pub oom_score: Option<(OwnedFd, i32)>,
}

/// Where bytes come from and go to.
#[derive(Debug)]
pub struct Io {
    /// Standard input, output and error of the command.
    pub stdio: [OwnedFd; 3],
    /// Descriptors that the command gets from 3 on.
    pub more: Vec<OwnedFd>,
    /// The terminal among the standard ones, if there is one to be relayed.
    pub terminal: Option<Terminal>,
    /// Where logs go; `None` means standard error.
    pub log: Option<OwnedFd>,
    /// Nobody asked for the log: it is kept short.
    pub log_bounded: bool,
    /// Packet sockets of network interfaces.
    pub network: Vec<OwnedFd>,
    /// Files of the host's control group that the sandbox is in, for the view inside.
    pub figures: Vec<(Figure, OwnedFd)>,
}

/// A terminal to be made for the guest, like the caller's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Which of the standard descriptors it takes the place of.
    pub standard: [bool; 3],
    /// Its first window size: rows, columns, pixels in both directions.
    pub size: [u16; 4],
    /// Input, output, control and local flags of its termios.
    pub flags: [u32; 4],
    /// Its control characters.
    pub characters: [u8; 19],
}

impl Terminal {
    /// Its first window size.
    pub fn window_size(&self) -> WindowSize {
        let [rows, columns, x_pixels, y_pixels] = self.size;
        WindowSize {
            rows,
            columns,
            x_pixels,
            y_pixels,
        }
    }
}
