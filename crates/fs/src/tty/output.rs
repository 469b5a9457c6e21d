//! What N_TTY does to output: OPOST, tabs, and the column that erasing needs to know.

use std::collections::VecDeque;

use super::termios::{Input, Output, Termios};

/// Columns between tab stops.
const TAB: usize = 8;

/// Whether `c` is a control character (C locale).
pub fn is_control(c: u8) -> bool {
    c < 0x20 || c == 0x7f
}

/// Whether `c` continues a UTF-8 character.
pub fn is_continuation(c: u8, termios: &Termios) -> bool {
    termios.input.contains(Input::IUTF8) && c & 0xc0 == 0x80
}

/// The output side of a line discipline: bytes on their way to the terminal.
#[derive(Debug, Default)]
pub struct OutputSide {
    /// Processed bytes that the terminal has not taken yet.
    pub queue: VecDeque<u8>,
    /// Where the cursor is.
    pub column: usize,
    /// Where the line being typed began.
    pub canon_column: usize,
}

impl OutputSide {
    /// The most bytes that one written byte becomes.
    pub fn growth(termios: &Termios) -> usize {
        if !termios.output.contains(Output::OPOST) {
            1
        } else if termios.output.contains(Output::XTABS) {
            TAB
        } else {
            2
        }
    }

    /// Puts a byte without processing and without counting columns.
    pub fn raw(&mut self, c: u8) {
        self.queue.push_back(c);
    }

    /// Puts a byte as write(2) brings it (Linux's do_output_char).
    pub fn put(&mut self, mut c: u8, termios: &Termios) {
        if !termios.output.contains(Output::OPOST) {
            self.queue.push_back(c);
            return;
        }
        let has = |flag| termios.output.contains(flag);
        match c {
            b'\n' => {
                if has(Output::ONLRET) || has(Output::ONLCR) {
                    self.column = 0;
                }
                if has(Output::ONLCR) {
                    self.queue.push_back(b'\r');
                }
                self.canon_column = self.column;
            }
            b'\r' => {
                if has(Output::ONOCR) && self.column == 0 {
                    return;
                }
                if has(Output::OCRNL) {
                    c = b'\n';
                    if has(Output::ONLRET) {
                        (self.column, self.canon_column) = (0, 0);
                    }
                } else {
                    (self.column, self.canon_column) = (0, 0);
                }
            }
            b'\t' => {
                let spaces = TAB - self.column % TAB;
                self.column += spaces;
                if has(Output::XTABS) {
                    self.queue.extend(std::iter::repeat_n(b' ', spaces));
                    return;
                }
            }
            8 => self.column = self.column.saturating_sub(1),
            _ if !is_control(c) => {
                if has(Output::OLCUC) {
                    c = c.to_ascii_uppercase();
                }
                if !is_continuation(c, termios) {
                    self.column += 1;
                }
            }
            _ => {}
        }
        self.queue.push_back(c);
    }

    /// Puts a control character as `^X`.
    pub fn caret(&mut self, c: u8) {
        self.queue.extend([b'^', c ^ 0x40]);
        self.column += 2;
    }

    /// Goes back over a tab that `columns` columns follow: counted from the tab before it, or from the line's start.
    pub fn erase_tab(&mut self, columns: usize, after_tab: bool) {
        let from = columns + if after_tab { 0 } else { self.canon_column };
        for _ in 0..TAB - from % TAB {
            self.queue.push_back(8);
            self.column = self.column.saturating_sub(1);
        }
    }
}
