//! ioctl_tty(2) on both ends.

use std::sync::Arc;

use abi::{Errno, UserAddr};
use kernel::cred::Caps;
use kernel::file::{FdEntry, FileDescription};
use kernel::task::CurrentTask;

use super::Tty;
use super::job::SIGTTOU;
use super::slave::Slave;
use super::termios::{KernelTermio, KernelTermios, KernelTermios2, Special, Termios, WinSize};

macro_rules! commands {
    ($($name:ident = $value:literal;)*) => { $(const $name: u32 = $value;)* };
}

commands! {
    TCGETS = 0x5401;
    TCSETS = 0x5402;
    TCSETSW = 0x5403;
    TCSETSF = 0x5404;
    TCGETA = 0x5405;
    TCSETA = 0x5406;
    TCSETAW = 0x5407;
    TCSETAF = 0x5408;
    TCSBRK = 0x5409;
    TCXONC = 0x540a;
    TCFLSH = 0x540b;
    TIOCEXCL = 0x540c;
    TIOCNXCL = 0x540d;
    TIOCSCTTY = 0x540e;
    TIOCGPGRP = 0x540f;
    TIOCSPGRP = 0x5410;
    TIOCOUTQ = 0x5411;
    TIOCSTI = 0x5412;
    TIOCGWINSZ = 0x5413;
    TIOCSWINSZ = 0x5414;
    TIOCGSOFTCAR = 0x5419;
    TIOCSSOFTCAR = 0x541a;
    FIONREAD = 0x541b;
    TIOCPKT = 0x5420;
    TIOCNOTTY = 0x5422;
    TIOCSETD = 0x5423;
    TIOCGETD = 0x5424;
    TCSBRKP = 0x5425;
    TIOCSBRK = 0x5427;
    TIOCCBRK = 0x5428;
    TIOCGSID = 0x5429;
    TIOCVHANGUP = 0x5437;
    TIOCGPTPEER = 0x5441;
    TIOCGLCKTRMIOS = 0x5456;
    TIOCSLCKTRMIOS = 0x5457;
    TCGETS2 = 0x802c_542a;
    TCSETS2 = 0x402c_542b;
    TCSETSW2 = 0x402c_542c;
    TCSETSF2 = 0x402c_542d;
    TIOCGPTN = 0x8004_5430;
    TIOCSPTLCK = 0x4004_5431;
    TIOCGDEV = 0x8004_5432;
    TIOCGPKT = 0x8004_5438;
    TIOCGPTLCK = 0x8004_5439;
    TIOCGEXCL = 0x8004_5440;
}

/// Which end was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Master,
    Slave,
}

/// A call, for the functions below.
struct Call<'a> {
    tty: &'a Arc<Tty>,
    file: &'a FileDescription,
    task: &'a CurrentTask,
    arg: u64,
    end: End,
}

/// ioctl(2) on a slave.
pub fn slave(
    tty: &Arc<Tty>,
    file: &FileDescription,
    task: &CurrentTask,
    command: u32,
    arg: u64,
) -> Result<i64, Errno> {
    let end = End::Slave;
    let call = Call {
        tty,
        file,
        task,
        arg,
        end,
    };
    call.both(command)
}

/// ioctl(2) on a master.
pub fn master(
    tty: &Arc<Tty>,
    file: &FileDescription,
    task: &CurrentTask,
    command: u32,
    arg: u64,
) -> Result<i64, Errno> {
    let end = End::Master;
    let call = Call {
        tty,
        file,
        task,
        arg,
        end,
    };
    match command {
        TIOCGPTN => call.put(&tty.index),
        TIOCSPTLCK => {
            let lock: i32 = call.get()?;
            tty.lock().locked = lock != 0;
            Ok(0)
        }
        TIOCGPTLCK => call.put(&i32::from(tty.lock().locked)),
        TIOCPKT => {
            let on: i32 = call.get()?;
            let mut state = tty.lock();
            if on != 0 && !state.packet {
                state.packet_status = 0;
            }
            state.packet = on != 0;
            Ok(0)
        }
        TIOCGPKT => call.put(&i32::from(tty.lock().packet)),
        TIOCGPTPEER => call.open_peer(),
        FIONREAD => call.put(&count(tty.lock().ldisc.output.queue.len())),
        _ => call.both(command),
    }
}

/// A number of bytes as an int.
fn count(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

impl Call<'_> {
    fn get<T: abi::AbiField>(&self) -> Result<T, Errno> {
        self.task.read_struct(UserAddr(self.arg))
    }

    fn put<T: abi::AbiField>(&self, value: &T) -> Result<i64, Errno> {
        self.task.write_struct(UserAddr(self.arg), value).map(|()| 0)
    }

    fn both(&self, command: u32) -> Result<i64, Errno> {
        let tty = self.tty;
        match command {
            TCGETS => self.put(&self.termios().to_kernel()),
            TCGETS2 => self.put(&self.termios().to_kernel2()),
            TCGETA => self.put(&self.termios().to_termio()),
            TCSETS | TCSETSW | TCSETSF | TCSETS2 | TCSETSW2 | TCSETSF2 | TCSETA | TCSETAW | TCSETAF => {
                self.set_termios(command)
            }
            TIOCGLCKTRMIOS => self.put(&tty.lock().fixed),
            TIOCSLCKTRMIOS => self.fix_termios(),
            TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK => self.check().map(|()| 0),
            TCXONC => self.flow(),
            TCFLSH => self.flush(),
            TIOCEXCL | TIOCNXCL => {
                tty.lock().exclusive = command == TIOCEXCL;
                Ok(0)
            }
            TIOCGEXCL => self.put(&i32::from(tty.lock().exclusive)),
            TIOCGPGRP | TIOCGSID => self.get_job(command),
            TIOCSPGRP => self.set_foreground(),
            TIOCSCTTY => self.take_control(),
            TIOCNOTTY => tty.give_up(self.task.task()).map(|()| 0),
            TIOCOUTQ => match self.end {
                End::Slave => self.put(&count(tty.lock().ldisc.output.queue.len())),
                End::Master => self.put(&count(tty.lock().pending.len())),
            },
            TIOCSTI => Err(Errno::EPERM),
            TIOCGWINSZ => self.put(&tty.lock().window),
            TIOCSWINSZ => {
                let window: WinSize = self.get()?;
                tty.resize(window);
                Ok(0)
            }
            FIONREAD => self.put(&count(tty.lock().ldisc.readable_bytes())),
            TIOCGETD => self.put(&0i32),
            TIOCSETD => match self.get::<i32>()? {
                0 => Ok(0),
                _ => Err(Errno::EINVAL),
            },
            TIOCGSOFTCAR => self.put(&0i32),
            TIOCSSOFTCAR => Ok(0),
            TIOCGDEV => self.put(&(tty.number() as u32)),
            TIOCVHANGUP => self.hang_up(),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn termios(&self) -> Termios {
        *self.tty.lock().ldisc.termios()
    }

    /// A change by a background process stops it (SIGTTOU).
    fn check(&self) -> Result<(), Errno> {
        match self.end {
            End::Slave => self.tty.check_job(SIGTTOU),
            End::Master => Ok(()),
        }
    }

    fn set_termios(&self, command: u32) -> Result<i64, Errno> {
        self.check()?;
        let old = self.termios();
        let new = match command {
            TCSETS | TCSETSW | TCSETSF => old.from_kernel(&self.get::<KernelTermios>()?),
            TCSETA | TCSETAW | TCSETAF => old.from_termio(&self.get::<KernelTermio>()?),
            _ => old.from_kernel2(&self.get::<KernelTermios2>()?),
        };
        {
            let mut state = self.tty.lock();
            // Output needs no waiting for: what was written is on its way to the master in order.
            if matches!(command, TCSETSF | TCSETAF | TCSETSF2) {
                state.ldisc.flush_input();
                state.pending.clear();
            }
            let new = old.keeping(&state.fixed, new);
            state.set_termios(new);
        }
        self.tty.wake_all();
        Ok(0)
    }

    /// Settings that nobody can change from now on (TIOCSLCKTRMIOS).
    fn fix_termios(&self) -> Result<i64, Errno> {
        if !self.task.cred().has(Caps::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let fixed: KernelTermios = self.get()?;
        self.tty.lock().fixed = fixed;
        Ok(0)
    }

    /// tcflow(3).
    fn flow(&self) -> Result<i64, Errno> {
        self.check()?;
        match self.arg {
            0 => self.tty.lock().ldisc.stop(true),
            1 => self.tty.lock().ldisc.start_by_call(),
            2 | 3 => {
                // TCIOFF and TCION send STOP and START to the other end.
                let which = if self.arg == 2 {
                    Special::Stop
                } else {
                    Special::Start
                };
                let mut state = self.tty.lock();
                let room = state.ldisc.output.queue.len() < super::pair::OUTPUT_MAX;
                if let Some(c) = state.ldisc.termios().special(which).filter(|_| room) {
                    state.ldisc.output.queue.push_back(c);
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        self.tty.lock().note();
        self.tty.wake_all();
        Ok(0)
    }

    /// tcflush(3).
    fn flush(&self) -> Result<i64, Errno> {
        self.check()?;
        if self.arg > 2 {
            return Err(Errno::EINVAL);
        }
        {
            let mut state = self.tty.lock();
            // 0: input, 1: output, 2: both. The master's input is the slave's output.
            let (input, output) = (self.arg != 1, self.arg != 0);
            let (input, output) = match self.end {
                End::Slave => (input, output),
                End::Master => (output, input),
            };
            if input {
                state.ldisc.flush_input();
                state.pending.clear();
            }
            if output {
                state.ldisc.flush_output();
            }
            state.note();
        }
        self.tty.wake_all();
        Ok(0)
    }

    /// Foreground group or session: for those it controls, and for the master.
    fn get_job(&self, command: u32) -> Result<i64, Errno> {
        if self.end == End::Slave && !self.tty.controls(self.task.task()) {
            return Err(Errno::ENOTTY);
        }
        let (session, foreground) = {
            let state = self.tty.lock();
            (state.session, state.foreground)
        };
        match command {
            TIOCGSID if session == 0 => Err(Errno::ENOTTY),
            TIOCGSID => self.put(&self.task.own_pid(session)),
            _ => self.put(&self.task.own_pid(foreground)),
        }
    }

    fn set_foreground(&self) -> Result<i64, Errno> {
        match self.check() {
            Err(Errno::EIO) => return Err(Errno::ENOTTY),
            other => other?,
        }
        if !self.tty.controls(self.task.task()) {
            return Err(Errno::ENOTTY);
        }
        let pgrp: i32 = self.get()?;
        self.tty.set_foreground(self.task.task(), pgrp).map(|()| 0)
    }

    fn take_control(&self) -> Result<i64, Errno> {
        if self.end == End::Master {
            return Err(Errno::EIO);
        }
        let privileged = self.task.cred().has(Caps::SYS_ADMIN);
        if !self.file.readable() && !privileged {
            return Err(Errno::EPERM);
        }
        self.tty.control(self.task.task(), self.arg == 1).map(|()| 0)
    }

    fn hang_up(&self) -> Result<i64, Errno> {
        if !self.task.cred().has(Caps::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let (session, foreground) = self.tty.hang_up();
        super::job::session_hung_up(&self.task.kernel, session, foreground);
        Ok(0)
    }

    /// TIOCGPTPEER: a descriptor of the slave, whatever is mounted on /dev/pts.
    fn open_peer(&self) -> Result<i64, Errno> {
        let flags = u32::try_from(self.arg).map_err(|_| Errno::EINVAL)?;
        let ops = Slave::open(self.tty, flags)?;
        let inode = self.tty.inode()?;
        let name = format!("/dev/pts/{}", self.tty.index);
        let path = kernel::vfs::anon_path_of(&self.task.kernel, &name, inode);
        let file = FileDescription::new(path, Box::new(ops), flags);
        let cloexec = flags & abi::fcntl::O_CLOEXEC != 0;
        let limit = self.task.group.fd_limit();
        let entry = FdEntry { file, cloexec };
        let fd = self.task.files().install(entry.file, entry.cloexec, 0, limit)?;
        Ok(i64::from(fd))
    }
}

impl Tty {
    /// A new window size; the foreground group is told when it differs.
    pub fn resize(&self, window: WinSize) {
        let changed = {
            let mut state = self.lock();
            std::mem::replace(&mut state.window, window) != window
        };
        if changed {
            self.signal_window();
        }
    }
}
