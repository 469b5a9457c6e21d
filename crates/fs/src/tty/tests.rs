//! Pairs, driven through the system calls.

use abi::Errno;
use abi::fcntl::{O_NOCTTY, O_NONBLOCK, O_RDWR};
use kernel::testing::Guest;
use kernel::vfs::Walker;

use super::termios::{KernelTermios, WinSize};
use crate::testing::{close, guest, ioctl, ioctl_number, names, open, read, readlink, slurp, write};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSF: u32 = 0x5404;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCSTI: u32 = 0x5412;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const FIONREAD: u32 = 0x541b;
const TIOCPKT: u32 = 0x5420;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGSID: u32 = 0x5429;
const TIOCGPTPEER: u32 = 0x5441;
const TIOCGPTN: u32 = 0x8004_5430;
const TIOCSPTLCK: u32 = 0x4004_5431;

const ICANON: u32 = 0o2;
const ECHO: u32 = 0o10;

/// Master and slave; neither waits, neither controls.
fn pair(guest: &Guest) -> (i32, i32) {
    let master = open(guest, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK).unwrap();
    let mut number = 0u32;
    ioctl(guest, master, TIOCGPTN, &mut number).unwrap();
    let path = format!("/dev/pts/{number}");
    assert_eq!(
        open(guest, &path, O_RDWR | O_NOCTTY),
        Err(Errno::EIO),
        "locked at first"
    );
    ioctl(guest, master, TIOCSPTLCK, &mut 0i32).unwrap();
    let slave = open(guest, &path, O_RDWR | O_NOCTTY | O_NONBLOCK).unwrap();
    (master, slave)
}

fn set_local(guest: &Guest, fd: i32, change: impl FnOnce(&mut KernelTermios)) {
    let mut termios = KernelTermios::default();
    ioctl(guest, fd, TCGETS, &mut termios).unwrap();
    change(&mut termios);
    ioctl(guest, fd, TCSETS, &mut termios).unwrap();
}

#[test]
fn lines_go_in_and_output_comes_out() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    assert_eq!(read(&guest, slave, 10), Err(Errno::EAGAIN));
    assert_eq!(write(&guest, master, b"hi\r"), Ok(3));
    let mut there = 0i32;
    ioctl(&guest, slave, FIONREAD, &mut there).unwrap();
    assert_eq!(there, 3);
    assert_eq!(read(&guest, slave, 10).unwrap(), b"hi\n");
    assert_eq!(read(&guest, master, 10).unwrap(), b"hi\r\n");
    assert_eq!(write(&guest, slave, b"out\n"), Ok(4));
    ioctl(&guest, slave, TIOCOUTQ, &mut there).unwrap();
    assert_eq!(there, 5);
    assert_eq!(read(&guest, master, 10).unwrap(), b"out\r\n");
    assert_eq!(read(&guest, master, 10), Err(Errno::EAGAIN));
}

#[test]
fn names_come_and_go_with_the_master() {
    let guest = guest();
    assert_eq!(names(&guest, "/dev/pts").unwrap(), ["ptmx"]);
    let (master, slave) = pair(&guest);
    assert_eq!(names(&guest, "/dev/pts").unwrap(), ["ptmx", "0"]);
    let shown = readlink(&guest, &format!("/proc/self/fd/{slave}")).unwrap();
    assert_eq!(shown, "/dev/pts/0");
    let (second, _) = pair(&guest);
    assert_eq!(names(&guest, "/dev/pts").unwrap(), ["ptmx", "0", "1"]);
    close(&guest, master);
    assert_eq!(names(&guest, "/dev/pts").unwrap(), ["ptmx", "1"]);
    assert_eq!(read(&guest, slave, 10).unwrap(), b"", "hung up");
    assert_eq!(write(&guest, slave, b"x"), Err(Errno::EIO));
    let mut termios = KernelTermios::default();
    assert_eq!(ioctl(&guest, slave, TCGETS, &mut termios), Err(Errno::EIO));
    close(&guest, second);
}

#[test]
fn the_master_sees_the_last_slave_close() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    write(&guest, slave, b"bye").unwrap();
    close(&guest, slave);
    assert_eq!(read(&guest, master, 10).unwrap(), b"bye");
    assert_eq!(read(&guest, master, 10), Err(Errno::EIO));
    let again = open(&guest, "/dev/pts/0", O_RDWR | O_NOCTTY | O_NONBLOCK).unwrap();
    assert_eq!(read(&guest, master, 10), Err(Errno::EAGAIN));
    close(&guest, again);
}

#[test]
fn raw_mode_obeys_min() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    set_local(&guest, slave, |termios| {
        termios.local &= !(ICANON | ECHO);
        termios.chars[6] = 0;
    });
    assert_eq!(read(&guest, slave, 10).unwrap(), b"", "MIN 0, TIME 0 never waits");
    write(&guest, master, b"a\x7f").unwrap();
    assert_eq!(read(&guest, slave, 10).unwrap(), b"a\x7f");
    write(&guest, master, b"gone").unwrap();
    let mut termios = KernelTermios::default();
    ioctl(&guest, slave, TCGETS, &mut termios).unwrap();
    ioctl(&guest, slave, TCSETSF, &mut termios).unwrap();
    assert_eq!(read(&guest, slave, 10).unwrap(), b"");
}

#[test]
fn fixed_settings_stay() {
    const TIOCGLCKTRMIOS: u32 = 0x5456;
    const TIOCSLCKTRMIOS: u32 = 0x5457;
    let guest = guest();
    let (_master, slave) = pair(&guest);
    let mut fixed = KernelTermios::default();
    ioctl(&guest, slave, TIOCGLCKTRMIOS, &mut fixed).unwrap();
    assert_eq!((fixed.local, fixed.chars), (0, Default::default()));
    (fixed.local, fixed.chars[0]) = (ECHO, 1);
    ioctl(&guest, slave, TIOCSLCKTRMIOS, &mut fixed).unwrap();
    set_local(&guest, slave, |termios| {
        termios.local &= !(ICANON | ECHO);
        (termios.chars[0], termios.chars[1]) = (b'x', b'y');
    });
    let mut termios = KernelTermios::default();
    ioctl(&guest, slave, TCGETS, &mut termios).unwrap();
    assert_eq!(termios.local & (ICANON | ECHO), ECHO);
    assert_eq!(termios.chars[..2], [3, b'y']);
}

#[test]
fn time_ends_a_read() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    let waiting = open(&guest, "/dev/pts/0", O_RDWR | O_NOCTTY).unwrap();
    set_local(&guest, slave, |termios| {
        termios.local &= !(ICANON | ECHO);
        (termios.chars[5], termios.chars[6]) = (1, 0);
    });
    let start = std::time::Instant::now();
    assert_eq!(read(&guest, waiting, 10).unwrap(), b"");
    assert!(start.elapsed() >= std::time::Duration::from_millis(100));
    set_local(&guest, slave, |termios| {
        (termios.chars[5], termios.chars[6]) = (1, 3)
    });
    write(&guest, master, b"ab").unwrap();
    assert_eq!(
        read(&guest, waiting, 10).unwrap(),
        b"ab",
        "the time between bytes is over"
    );
}

#[test]
fn a_session_leader_gets_the_terminal_that_it_opens() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    let mut pgrp = 0i32;
    assert_eq!(ioctl(&guest, slave, TIOCGPGRP, &mut pgrp), Err(Errno::ENOTTY));
    let leading = open(&guest, "/dev/pts/0", O_RDWR).unwrap();
    ioctl(&guest, leading, TIOCGPGRP, &mut pgrp).unwrap();
    assert_eq!(pgrp, 1);
    ioctl(&guest, slave, TIOCGSID, &mut pgrp).unwrap();
    assert_eq!(pgrp, 1);
    ioctl(&guest, master, TIOCGPGRP, &mut pgrp).unwrap();
    assert_eq!(pgrp, 1);
    assert_eq!(ioctl(&guest, slave, TIOCSPGRP, &mut 77i32), Err(Errno::ESRCH));
    assert_eq!(ioctl(&guest, slave, TIOCSPGRP, &mut -1i32), Err(Errno::EINVAL));
    ioctl(&guest, slave, TIOCSPGRP, &mut 1i32).unwrap();
    let own = open(&guest, "/dev/tty", O_RDWR).unwrap();
    assert_eq!(write(&guest, own, b"to me"), Ok(5));
    assert_eq!(read(&guest, master, 10).unwrap(), b"to me");
    let stat = slurp(&guest, "/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!(fields[6..8], ["34816", "1"], "tty_nr and tpgid");
    assert_eq!(ioctl_number(&guest, slave, TIOCSTI, 0), Err(Errno::EPERM));
    ioctl_number(&guest, slave, TIOCNOTTY, 0).unwrap();
    assert_eq!(open(&guest, "/dev/tty", O_RDWR), Err(Errno::ENXIO));
    ioctl_number(&guest, slave, TIOCSCTTY, 0).unwrap();
    assert!(open(&guest, "/dev/tty", O_RDWR).is_ok());
}

#[test]
fn windows_have_a_size() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    let mut size = WinSize {
        rows: 24,
        columns: 80,
        ..WinSize::default()
    };
    ioctl(&guest, master, TIOCSWINSZ, &mut size).unwrap();
    let mut seen = WinSize::default();
    ioctl(&guest, slave, TIOCGWINSZ, &mut seen).unwrap();
    assert_eq!(seen, size);
}

#[test]
fn packets_tell_of_flushes() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    ioctl(&guest, master, TIOCPKT, &mut 1i32).unwrap();
    write(&guest, slave, b"data").unwrap();
    assert_eq!(read(&guest, master, 10).unwrap(), b"\0data");
    ioctl_number(&guest, slave, TCFLSH, 1).unwrap();
    assert_eq!(read(&guest, master, 10).unwrap(), [2]);
    write(&guest, master, b"\x13").unwrap();
    assert_eq!(read(&guest, master, 10).unwrap(), [4], "stopped");
    assert_eq!(write(&guest, slave, b"x"), Err(Errno::EAGAIN));
    write(&guest, master, b"\x11").unwrap();
    assert_eq!(read(&guest, master, 10).unwrap(), [8], "started");
}

#[test]
fn the_peer_can_be_opened_without_its_name() {
    let guest = guest();
    let (master, _) = pair(&guest);
    let peer = ioctl_number(&guest, master, TIOCGPTPEER, u64::from(O_RDWR | O_NOCTTY)).unwrap();
    let peer = i32::try_from(peer).unwrap();
    assert_eq!(write(&guest, peer, b"here"), Ok(4));
    assert_eq!(read(&guest, master, 10).unwrap(), b"here");
    assert_eq!(
        readlink(&guest, &format!("/proc/self/fd/{peer}")).unwrap(),
        "/dev/pts/0"
    );
}

#[test]
fn much_output_is_held_back_and_none_is_lost() {
    let guest = guest();
    let (master, slave) = pair(&guest);
    let data = vec![b'x'; 200 << 10];
    let mut sent = 0;
    let mut seen = 0;
    while sent < data.len() {
        match write(&guest, slave, &data[sent..(sent + 8192).min(data.len())]) {
            Ok(count) => sent += usize::try_from(count).unwrap(),
            Err(error) => {
                assert_eq!(error, Errno::EAGAIN);
                seen += read(&guest, master, 16 << 10).unwrap().len();
            }
        }
    }
    while let Ok(bytes) = read(&guest, master, 16 << 10) {
        seen += bytes.len();
    }
    assert_eq!(seen, data.len());
}

#[test]
fn the_embedding_program_gets_a_pair_for_its_own_terminal() {
    let guest = guest();
    let walker = Walker::as_root(&guest.kernel, guest.task.fs().root());
    let (master, slave) = super::open_pair(&walker).unwrap();
    super::set_window_size(&master, 50, 132);
    super::make_controlling(&guest.kernel, &slave, 1).unwrap();
    let fd = guest.task.files().install(slave, false, 0, 100).unwrap();
    let mut size = WinSize::default();
    ioctl(&guest, fd, TIOCGWINSZ, &mut size).unwrap();
    assert_eq!((size.rows, size.columns), (50, 132));
    assert_eq!(
        readlink(&guest, &format!("/proc/self/fd/{fd}")).unwrap(),
        "/dev/pts/0"
    );
    assert!(open(&guest, "/dev/console", O_RDWR | O_NOCTTY).is_ok());
    drop(master);
}
