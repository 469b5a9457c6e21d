//! Advisory locks: flock(2), POSIX record locks and open-file-description locks (fcntl(2)).

use super::FileDescription;

/// Gives up the flock(2) and open-file-description locks of a file that is being dropped.
pub fn release_all(file: &FileDescription) {
    let _ = file;
}

/// Gives up the POSIX record locks that the process `tgid` has on the file.
pub fn release_posix(file: &FileDescription, tgid: u32) {
    let _ = (file, tgid);
}
