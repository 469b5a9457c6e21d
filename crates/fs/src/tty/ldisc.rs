//! N_TTY, the line discipline, as a state machine: bytes typed, settings and requests go in; lines, output and signals come out.
//!
//! Follows Linux's drivers/tty/n_tty.c in behaviour. It waits for nothing and knows no file, process or clock.

use std::collections::VecDeque;

use super::output::{OutputSide, is_control};
use super::termios::{Input, Local, Special, Termios};

/// Bytes of input that are kept (Linux's N_TTY_BUF_SIZE); one stays free.
pub const INPUT_MAX: usize = 4096;
/// Bytes of echo that are kept while output is stopped.
const HELD_MAX: usize = 4096;

/// Bytes of output beyond which nothing is echoed: whoever types without reading gets no more.
const ECHO_MAX: usize = 32 << 10;

/// A signal that a typed character raises in the foreground process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTSTP.
    Suspend,
}

/// What happened that the other end may want to know (packet mode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Input was thrown away.
    pub flushed_input: bool,
    /// Output was thrown away.
    pub flushed_output: bool,
    /// Output was stopped (`Some(true)`) or started (`Some(false)`).
    pub stopped: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Plain,
    /// The last byte of a line.
    End,
    /// End of file: ends a line and is not read.
    Eof,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    byte: u8,
    mark: Mark,
}

/// The state of a terminal's line discipline.
#[derive(Debug, Default)]
pub struct LineDiscipline {
    termios: Termios,
    input: VecDeque<Cell>,
    /// Bytes of `input` that are complete lines (canonical mode).
    complete: usize,
    /// Output on its way to the terminal.
    pub output: OutputSide,
    /// Echo made while output was stopped.
    held: VecDeque<u8>,
    literal_next: bool,
    /// In the middle of echoing erased characters (ECHOPRT).
    erasing: bool,
    /// Output is stopped by STOP or TCOOFF.
    stopped: bool,
    /// It was TCOOFF: only TCOON starts it.
    stopped_by_call: bool,
    /// What the other end was not told yet.
    pub notices: Notices,
}

impl LineDiscipline {
    /// The settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    fn local(&self, flag: Local) -> bool {
        self.termios.local.contains(flag)
    }

    fn iflag(&self, flag: Input) -> bool {
        self.termios.input.contains(flag)
    }

    /// New settings. What was typed stays; when lines begin or end to matter it becomes readable as one piece.
    pub fn set_termios(&mut self, new: Termios) {
        let old = std::mem::replace(&mut self.termios, new);
        if (old.local ^ new.local).intersects(Local::ICANON | Local::EXTPROC) {
            for cell in &mut self.input {
                cell.mark = Mark::Plain;
            }
            self.complete = 0;
            if new.canonical()
                && let Some(last) = self.input.back_mut()
            {
                last.mark = Mark::End;
                self.complete = self.input.len();
            }
            self.erasing = false;
            self.literal_next = false;
        }
        if old.input.contains(Input::IXON) && !self.iflag(Input::IXON) && !self.stopped_by_call {
            self.start();
        }
    }

    /// Whether output is stopped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Stops output; `by_call`: TCOOFF.
    pub fn stop(&mut self, by_call: bool) {
        self.stopped_by_call |= by_call;
        if !self.stopped {
            self.stopped = true;
            self.notices.stopped = Some(true);
        }
    }

    /// TCOON.
    pub fn start_by_call(&mut self) {
        if std::mem::take(&mut self.stopped_by_call) {
            self.start();
        }
    }

    fn start(&mut self) {
        if self.stopped && !self.stopped_by_call {
            self.stopped = false;
            self.notices.stopped = Some(false);
            let held = std::mem::take(&mut self.held);
            self.output.queue.extend(held);
        }
    }

    /// Throws typed input away (TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.complete = 0;
        self.erasing = false;
        self.literal_next = false;
        self.notices.flushed_input = true;
    }

    /// Throws output away (TCOFLUSH).
    pub fn flush_output(&mut self) {
        self.output.queue.clear();
        self.held.clear();
        self.notices.flushed_output = true;
    }

    /// Takes typed bytes and returns how many: fewer when the input is full. Signals to send are added to `raised`.
    pub fn receive(&mut self, bytes: &[u8], raised: &mut Vec<Raised>) -> usize {
        for (done, byte) in bytes.iter().enumerate() {
            let widest = if self.iflag(Input::PARMRK) { 3 } else { 1 };
            if self.input.len() + widest > INPUT_MAX - 1 {
                // A full line without an end: the last byte is overwritten, so that an end can still be typed.
                if !(self.termios.canonical() && self.complete == 0) {
                    return done;
                }
                self.input.truncate(INPUT_MAX - 1 - widest);
            }
            self.receive_byte(*byte, raised);
        }
        bytes.len()
    }

    /// Whether typed bytes would be taken now.
    pub fn has_room(&self) -> bool {
        let widest = if self.iflag(Input::PARMRK) { 3 } else { 1 };
        self.input.len() + widest < INPUT_MAX || (self.termios.canonical() && self.complete == 0)
    }

    fn receive_byte(&mut self, mut c: u8, raised: &mut Vec<Raised>) {
        if self.iflag(Input::ISTRIP) {
            c &= 0x7f;
        }
        if self.iflag(Input::IUCLC) && self.local(Local::IEXTEN) {
            c = c.to_ascii_lowercase();
        }
        if std::mem::take(&mut self.literal_next) {
            return self.receive_plain(c);
        }
        if self.local(Local::EXTPROC) {
            return self.store(c, Mark::Plain);
        }
        if self.iflag(Input::IXON) && self.flow_control(c) {
            return;
        }
        if self.local(Local::ISIG) {
            let signals = [
                (Special::Intr, Raised::Interrupt),
                (Special::Quit, Raised::Quit),
                (Special::Susp, Raised::Suspend),
            ];
            if let Some((_, signal)) = signals.iter().find(|(which, _)| self.termios.is(c, *which)) {
                return self.receive_signal(c, *signal, raised);
            }
        }
        self.restart_by_any();
        match c {
            b'\r' if self.iflag(Input::IGNCR) => return,
            b'\r' if self.iflag(Input::ICRNL) => c = b'\n',
            b'\n' if self.iflag(Input::INLCR) => c = b'\r',
            _ => {}
        }
        if self.termios.canonical() && self.receive_canonical(c) {
            return;
        }
        if self.local(Local::ECHO) && c == b'\n' {
            self.finish_erasing();
            self.echo_raw(b'\n');
            self.store(c, Mark::Plain);
        } else {
            self.receive_plain(c);
        }
    }

    /// START and STOP; true when `c` was one.
    fn flow_control(&mut self, c: u8) -> bool {
        if self.termios.is(c, Special::Start) {
            self.start();
            return true;
        }
        let stop = self.termios.is(c, Special::Stop);
        if stop {
            self.stop(false);
        }
        stop
    }

    fn restart_by_any(&mut self) {
        if self.iflag(Input::IXON) && self.iflag(Input::IXANY) {
            self.start();
        }
    }

    fn receive_signal(&mut self, c: u8, signal: Raised, raised: &mut Vec<Raised>) {
        raised.push(signal);
        if !self.local(Local::NOFLSH) {
            self.flush_input();
            self.flush_output();
        }
        if self.iflag(Input::IXON) {
            self.start();
        }
        if self.local(Local::ECHO) {
            self.echo(c);
        }
    }

    /// An ordinary byte, or one after LNEXT.
    fn receive_plain(&mut self, c: u8) {
        self.restart_by_any();
        if self.local(Local::ECHO) {
            self.finish_erasing();
            self.note_line_start();
            self.echo(c);
        }
        if c == 0xff && self.iflag(Input::PARMRK) {
            self.store(c, Mark::Plain);
        }
        self.store(c, Mark::Plain);
    }

    /// A byte in canonical mode; true when it was a special one.
    fn receive_canonical(&mut self, c: u8) -> bool {
        let extended = self.local(Local::IEXTEN);
        let is = |which| self.termios.is(c, which);
        if is(Special::Erase) || is(Special::Kill) || (extended && is(Special::WordErase)) {
            self.erase(c);
            return true;
        }
        if extended && is(Special::LiteralNext) {
            self.literal_next = true;
            if self.local(Local::ECHO) {
                self.finish_erasing();
                if self.local(Local::ECHOCTL) {
                    self.echo_raw(b'^');
                    self.echo_raw(8);
                }
            }
            return true;
        }
        if extended && self.local(Local::ECHO) && is(Special::Reprint) {
            self.reprint(c);
            return true;
        }
        if c == b'\n' {
            if self.local(Local::ECHO) || self.local(Local::ECHONL) {
                self.echo_raw(b'\n');
            }
            self.end_line(c, Mark::End);
            return true;
        }
        if is(Special::Eof) {
            self.end_line(0, Mark::Eof);
            return true;
        }
        if is(Special::Eol) || (extended && is(Special::Eol2)) {
            if self.local(Local::ECHO) {
                self.note_line_start();
                self.echo(c);
            }
            if c == 0xff && self.iflag(Input::PARMRK) {
                self.store(c, Mark::Plain);
            }
            self.end_line(c, Mark::End);
            return true;
        }
        false
    }

    fn reprint(&mut self, c: u8) {
        self.finish_erasing();
        self.echo(c);
        self.echo_raw(b'\n');
        let line: Vec<u8> = self
            .input
            .iter()
            .skip(self.complete)
            .map(|cell| cell.byte)
            .collect();
        for byte in line {
            self.echo(byte);
        }
    }

    fn store(&mut self, byte: u8, mark: Mark) {
        self.input.push_back(Cell { byte, mark });
    }

    fn end_line(&mut self, byte: u8, mark: Mark) {
        self.store(byte, mark);
        self.complete = self.input.len();
        self.erasing = false;
    }

    /// Remembers the column in which the line being typed begins.
    fn note_line_start(&mut self) {
        if self.input.len() == self.complete {
            self.output.canon_column = self.output.column;
        }
    }

    // Erasing.

    fn finish_erasing(&mut self) {
        if std::mem::take(&mut self.erasing) {
            self.echo_raw(b'/');
        }
    }

    fn erase(&mut self, c: u8) {
        if self.input.len() == self.complete {
            return;
        }
        let single = self.termios.is(c, Special::Erase);
        let word = !single && self.termios.is(c, Special::WordErase);
        if !single && !word {
            let visibly = [Local::ECHOK, Local::ECHOKE, Local::ECHOE];
            if !self.local(Local::ECHO) {
                self.input.truncate(self.complete);
                return;
            }
            if visibly.iter().any(|flag| !self.local(*flag)) {
                self.input.truncate(self.complete);
                self.finish_erasing();
                self.echo(c);
                if self.local(Local::ECHOK) {
                    self.echo_raw(b'\n');
                }
                return;
            }
        }
        let mut in_word = false;
        while self.input.len() > self.complete {
            let Some(bytes) = self.last_character() else { break };
            let first = bytes[0];
            if word {
                if first.is_ascii_alphanumeric() || first == b'_' {
                    in_word = true;
                } else if in_word {
                    break;
                }
            }
            self.input.truncate(self.input.len() - bytes.len());
            if self.local(Local::ECHO) {
                self.show_erased(&bytes, single);
            }
            if single {
                break;
            }
        }
        if self.input.len() == self.complete && self.local(Local::ECHO) {
            self.finish_erasing();
        }
    }

    /// The bytes of the last character of the line being typed; `None` when it has no beginning.
    fn last_character(&self) -> Option<Vec<u8>> {
        let mut bytes = VecDeque::new();
        for cell in self.input.iter().skip(self.complete).rev() {
            bytes.push_front(cell.byte);
            if !super::output::is_continuation(cell.byte, &self.termios) {
                return Some(bytes.into());
            }
        }
        None
    }

    fn show_erased(&mut self, bytes: &[u8], single: bool) {
        let first = bytes[0];
        if self.local(Local::ECHOPRT) {
            if !self.erasing {
                self.echo_raw(b'\\');
                self.erasing = true;
            }
            self.echo(first);
            for byte in &bytes[1..] {
                self.echo_raw(*byte);
            }
        } else if single && !self.local(Local::ECHOE) {
            self.echo(self.termios.chars[Special::Erase as usize]);
        } else if first == b'\t' {
            let (columns, after_tab) = self.columns_before_tab();
            self.with_output(|output, _| output.erase_tab(columns, after_tab));
        } else {
            let carets = self.local(Local::ECHOCTL);
            let width = match (is_control(first), carets) {
                (true, true) => 2,
                (true, false) => 0,
                (false, _) => 1,
            };
            for _ in 0..width {
                self.echo_raw(8);
                self.echo_raw(b' ');
                self.echo_raw(8);
            }
        }
    }

    /// Columns of what was typed since the last tab (true) or since the line began.
    fn columns_before_tab(&self) -> (usize, bool) {
        let mut columns = 0;
        for cell in self.input.iter().skip(self.complete).rev() {
            match cell.byte {
                b'\t' => return (columns, true),
                c if is_control(c) => columns += if self.local(Local::ECHOCTL) { 2 } else { 0 },
                c if super::output::is_continuation(c, &self.termios) => {}
                _ => columns += 1,
            }
        }
        (columns, false)
    }

    // Echo.

    /// Lets `put` add to the output; while output is stopped what it adds is held back.
    fn with_output(&mut self, put: impl FnOnce(&mut OutputSide, &Termios)) {
        if self.output.queue.len() >= ECHO_MAX {
            return;
        }
        if !self.stopped {
            put(&mut self.output, &self.termios);
            return;
        }
        let queue = std::mem::take(&mut self.output.queue);
        put(&mut self.output, &self.termios);
        let added = std::mem::replace(&mut self.output.queue, queue);
        if self.held.len() + added.len() <= HELD_MAX {
            self.held.extend(added);
        }
    }

    fn echo_raw(&mut self, c: u8) {
        self.with_output(|output, termios| output.put(c, termios));
    }

    fn echo(&mut self, c: u8) {
        if self.local(Local::ECHOCTL) && is_control(c) && c != b'\t' {
            self.with_output(|output, _| output.caret(c));
        } else {
            self.echo_raw(c);
        }
    }

    // The process's side.

    /// Bytes that a read could get now (FIONREAD): in canonical mode those of complete lines.
    pub fn readable_bytes(&self) -> usize {
        if !self.termios.canonical() {
            return self.input.len();
        }
        let lines = self.input.iter().take(self.complete);
        lines.filter(|cell| cell.mark != Mark::Eof).count()
    }

    /// Whether a read would find something: a line, or in raw mode `least` bytes.
    pub fn can_read(&self, least: usize) -> bool {
        if self.termios.canonical() && !self.local(Local::EXTPROC) {
            self.complete > 0
        } else {
            self.input.len() >= least.max(1)
        }
    }

    /// Takes up to `max` bytes: in canonical mode of one line. Call it only when [`LineDiscipline::can_read`];
    /// an empty answer is an end of file.
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        if !self.termios.canonical() || self.local(Local::EXTPROC) {
            let count = max.min(self.input.len());
            self.complete = self.complete.saturating_sub(count);
            return self.input.drain(..count).map(|cell| cell.byte).collect();
        }
        let mut bytes = Vec::new();
        while let Some(cell) = self.input.front().copied().filter(|_| self.complete > 0) {
            // An end of file is taken even when the reader's buffer is full: it is not a byte.
            if bytes.len() == max && cell.mark != Mark::Eof {
                break;
            }
            self.input.pop_front();
            self.complete -= 1;
            if cell.mark != Mark::Eof {
                bytes.push(cell.byte);
            }
            if cell.mark != Mark::Plain {
                break;
            }
        }
        bytes
    }

    /// Processes written bytes into the output queue.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.output.put(*byte, &self.termios);
        }
    }
}

#[cfg(test)]
#[path = "ldisc_tests.rs"]
mod tests;
