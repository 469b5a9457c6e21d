//! A pseudoterminal pair: one line discipline between the master and the slave.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::Kernel;
use kernel::task::ControllingTerminal;
use kernel::vfs::{Inode, make_dev};
use sync::{Events, Mutex, MutexGuard, WaitQueue, rank};

use super::ldisc::{LineDiscipline, Raised};
use super::termios::{Input, KernelTermios, Special, Termios, WinSize};
use super::{SLAVE_MAJOR, Terminals};

/// Bytes of output that wait for the master before writers wait.
pub const OUTPUT_MAX: usize = 16 << 10;
/// Bytes of input that wait for room in the line discipline before the master waits.
pub const PENDING_MAX: usize = 4096;

/// Status bits of packet mode (TIOCPKT_*).
pub mod packet {
    /// Input was flushed.
    pub const FLUSHREAD: u8 = 1;
    /// Output was flushed.
    pub const FLUSHWRITE: u8 = 2;
    /// Output was stopped.
    pub const STOP: u8 = 4;
    /// Output was started.
    pub const START: u8 = 8;
    /// START and STOP are not ^Q and ^S any more, or off.
    pub const NOSTOP: u8 = 16;
    /// START and STOP are ^Q and ^S.
    pub const DOSTOP: u8 = 32;
}

/// A terminal with its two ends.
pub struct Tty {
    /// N of /dev/pts/N.
    pub index: u32,
    kernel: Weak<Kernel>,
    terminals: Weak<Terminals>,
    state: Mutex<State>,
    /// Woken for those at the slave.
    pub slave_events: WaitQueue,
    /// Woken for those at the master.
    pub master_events: WaitQueue,
}

/// What changes about a terminal.
pub struct State {
    /// Settings, input, output.
    pub ldisc: LineDiscipline,
    /// Input that the line discipline had no room for.
    pub pending: VecDeque<u8>,
    /// A writer at the master is about to bring input.
    pub typing: bool,
    /// Bytes of output that writers at the slave are about to bring.
    pub reserved: usize,
    /// Size of the window.
    pub window: WinSize,
    /// The session it controls; 0: none.
    pub session: u32,
    /// Its foreground process group; 0: none.
    pub foreground: u32,
    /// TIOCPKT.
    pub packet: bool,
    /// What the next packet tells.
    pub packet_status: u8,
    /// TIOCSPTLCK: the slave cannot be opened.
    pub locked: bool,
    /// TIOCEXCL: the slave cannot be opened again.
    pub exclusive: bool,
    /// Bits, characters and line discipline that cannot be changed: those that are not zero (TIOCSLCKTRMIOS).
    pub fixed: KernelTermios,
    /// Open slaves that were not hung up.
    pub slaves: usize,
    /// Whether a slave was ever open.
    pub was_opened: bool,
    /// Whether the master is open.
    pub master_open: bool,
    /// Goes up with each hang-up: slaves opened before are dead.
    pub hangups: u64,
    /// Owner, group, permission bits of the node.
    pub node: (u32, u32, u32),
}

impl Tty {
    /// A terminal whose master is open and whose slave is locked.
    pub(super) fn new(
        index: u32,
        kernel: &Arc<Kernel>,
        terminals: &Arc<Terminals>,
        owner: (u32, u32),
    ) -> Arc<Tty> {
        let state = State {
            ldisc: LineDiscipline::default(),
            pending: VecDeque::new(),
            typing: false,
            reserved: 0,
            window: WinSize::default(),
            session: 0,
            foreground: 0,
            packet: false,
            packet_status: 0,
            locked: true,
            exclusive: false,
            fixed: KernelTermios::default(),
            slaves: 0,
            was_opened: false,
            master_open: true,
            hangups: 0,
            // Group 5 is `tty` wherever the group file names one; devpts is mounted with it.
            node: (owner.0, 5, 0o620),
        };
        Arc::new(Tty {
            index,
            kernel: Arc::downgrade(kernel),
            terminals: Arc::downgrade(terminals),
            state: Mutex::new(rank::FILE_STATE, state),
            slave_events: WaitQueue::new(),
            master_events: WaitQueue::new(),
        })
    }

    /// Its state. Signals are sent and queues are woken only after the lock is given back.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The kernel. `EIO` once it is gone.
    pub fn kernel(&self) -> Result<Arc<Kernel>, Errno> {
        self.kernel.upgrade().ok_or(Errno::EIO)
    }

    /// The table that it is in.
    pub(super) fn terminals(&self) -> Option<Arc<Terminals>> {
        self.terminals.upgrade()
    }

    /// The slave's node.
    pub(super) fn inode(&self) -> Result<Arc<Inode>, Errno> {
        let directory = self.terminals().ok_or(Errno::EIO)?.directory();
        directory.ops.lookup(self.index.to_string().as_bytes())
    }

    /// Device number of the slave.
    pub fn number(&self) -> u64 {
        make_dev(SLAVE_MAJOR, self.index)
    }

    /// Wakes both ends: something changed about both.
    pub fn wake_all(&self) {
        self.slave_events.wake(Events::all());
        self.master_events.wake(Events::all());
    }

    /// Takes at most [`PENDING_MAX`] bytes from the master: to the line discipline, what it has no room for waits.
    pub fn type_in(&self, bytes: &[u8]) {
        let mut raised = Vec::new();
        let foreground = {
            let mut state = self.lock();
            let done = state.ldisc.receive(bytes, &mut raised);
            state.pending.extend(&bytes[done..]);
            state.note();
            state.foreground
        };
        self.after_input(foreground, &raised);
    }

    /// Gives waiting input to the line discipline, now that there is room.
    pub fn type_pending(&self) {
        let mut raised = Vec::new();
        let foreground = {
            let mut state = self.lock();
            if state.pending.is_empty() {
                return;
            }
            let bytes: Vec<u8> = state.pending.drain(..).collect();
            let done = state.ldisc.receive(&bytes, &mut raised);
            state.pending.extend(&bytes[done..]);
            state.note();
            state.foreground
        };
        self.after_input(foreground, &raised);
        self.master_events.wake(Events::WRITABLE);
    }

    fn after_input(&self, foreground: u32, raised: &[Raised]) {
        for signal in raised {
            self.signal(foreground, *signal);
        }
        self.slave_events.wake(Events::READABLE | Events::WRITABLE);
        self.master_events.wake(Events::READABLE | Events::PRI);
    }

    /// Ends the connection of all open slaves: they read end of file and cannot write.
    /// Returns the session that it controlled and the foreground group.
    pub fn hang_up(&self) -> (u32, u32) {
        let before = {
            let mut state = self.lock();
            state.hangups += 1;
            state.slaves = 0;
            state.ldisc.flush_input();
            state.pending.clear();
            let session = std::mem::take(&mut state.session);
            (session, std::mem::take(&mut state.foreground))
        };
        self.wake_all();
        before
    }

    /// The master was closed: hangs up and forgets the name.
    pub fn close_master(&self) {
        self.lock().master_open = false;
        if let Some(terminals) = self.terminals.upgrade() {
            terminals.remove(self.index);
        }
        let (session, foreground) = self.hang_up();
        if let Some(kernel) = self.kernel.upgrade() {
            super::job::session_hung_up(&kernel, session, foreground);
        }
    }
}

impl State {
    /// Turns what happened in the line discipline into packet status.
    pub fn note(&mut self) {
        let notices = std::mem::take(&mut self.ldisc.notices);
        if !self.packet {
            return;
        }
        if notices.flushed_input {
            self.packet_status |= packet::FLUSHREAD;
        }
        if notices.flushed_output {
            self.packet_status |= packet::FLUSHWRITE;
        }
        match notices.stopped {
            Some(true) => self.packet_status = self.packet_status & !packet::START | packet::STOP,
            Some(false) => self.packet_status = self.packet_status & !packet::STOP | packet::START,
            None => {}
        }
    }

    /// New settings.
    pub fn set_termios(&mut self, new: Termios) {
        let usual = |termios: &Termios| {
            termios.input.contains(Input::IXON)
                && termios.chars[Special::Stop as usize] == 19
                && termios.chars[Special::Start as usize] == 17
        };
        let (old, now) = (usual(self.ldisc.termios()), usual(&new));
        self.ldisc.set_termios(new);
        self.note();
        if self.packet && old != now {
            self.packet_status &= !(packet::DOSTOP | packet::NOSTOP);
            self.packet_status |= if now { packet::DOSTOP } else { packet::NOSTOP };
        }
    }

    /// Whether the master reads an end: a slave was open and none is.
    pub fn slaves_gone(&self) -> bool {
        self.was_opened && self.slaves == 0
    }
}

impl ControllingTerminal for Tty {
    fn device(&self) -> u64 {
        self.number()
    }

    fn foreground(&self) -> u32 {
        self.lock().foreground
    }

    fn disassociate(&self) {
        // The leader has exited: whoever is left in its session has no terminal any more.
        self.hang_up();
    }
}
