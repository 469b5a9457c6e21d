//! Terminal settings (termios(3)): flags, special characters, and their layouts for ioctl_tty(2).

use abi::{AbiField, abi_struct};
use bitflags::bitflags;

bitflags! {
    /// c_iflag.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Input: u32 {
        /// Ignore breaks.
        const IGNBRK = 0o1;
        /// A break raises SIGINT.
        const BRKINT = 0o2;
        /// Ignore parity errors.
        const IGNPAR = 0o4;
        /// Mark parity errors; 0xff is doubled.
        const PARMRK = 0o10;
        /// Check parity.
        const INPCK = 0o20;
        /// Strip the eighth bit.
        const ISTRIP = 0o40;
        /// NL becomes CR.
        const INLCR = 0o100;
        /// Drop CR.
        const IGNCR = 0o200;
        /// CR becomes NL.
        const ICRNL = 0o400;
        /// Upper case becomes lower case.
        const IUCLC = 0o1000;
        /// START and STOP control output.
        const IXON = 0o2000;
        /// Any character restarts output.
        const IXANY = 0o4000;
        /// Send START and STOP.
        const IXOFF = 0o10000;
        /// Ring the bell when the input is full.
        const IMAXBEL = 0o20000;
        /// Input is UTF-8: erase whole characters.
        const IUTF8 = 0o40000;
        const _ = !0;
    }

    /// c_oflag.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Output: u32 {
        /// Process output.
        const OPOST = 0o1;
        /// Lower case becomes upper case.
        const OLCUC = 0o2;
        /// NL becomes CR NL.
        const ONLCR = 0o4;
        /// CR becomes NL.
        const OCRNL = 0o10;
        /// No CR at column 0.
        const ONOCR = 0o20;
        /// NL returns the carriage.
        const ONLRET = 0o40;
        /// Tabs become spaces (TAB3).
        const XTABS = 0o14000;
        const _ = !0;
    }

    /// c_lflag.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Local: u32 {
        /// INTR, QUIT and SUSP raise signals.
        const ISIG = 0o1;
        /// Input comes in lines.
        const ICANON = 0o2;
        /// Echo input.
        const ECHO = 0o10;
        /// Erase visibly.
        const ECHOE = 0o20;
        /// A newline after KILL.
        const ECHOK = 0o40;
        /// Echo NL even without ECHO.
        const ECHONL = 0o100;
        /// Signals do not flush.
        const NOFLSH = 0o200;
        /// Background writes raise SIGTTOU.
        const TOSTOP = 0o400;
        /// Echo control characters as ^X.
        const ECHOCTL = 0o1000;
        /// Echo erased characters (hard copy).
        const ECHOPRT = 0o2000;
        /// KILL erases the line visibly.
        const ECHOKE = 0o4000;
        /// WERASE, REPRINT, LNEXT work.
        const IEXTEN = 0o100000;
        /// The other side processes the input.
        const EXTPROC = 0o200000;
        const _ = !0;
    }
}

/// Special characters, by index in c_cc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Special {
    /// ^C.
    Intr = 0,
    /// ^\.
    Quit = 1,
    /// DEL.
    Erase = 2,
    /// ^U.
    Kill = 3,
    /// ^D.
    Eof = 4,
    /// Tenths of a second that a raw read waits.
    Time = 5,
    /// Bytes that a raw read waits for.
    Min = 6,
    /// ^Q.
    Start = 8,
    /// ^S.
    Stop = 9,
    /// ^Z.
    Susp = 10,
    /// Another end of line.
    Eol = 11,
    /// ^R.
    Reprint = 12,
    /// ^W.
    WordErase = 14,
    /// ^V.
    LiteralNext = 15,
    /// A second other end of line.
    Eol2 = 16,
}

/// Entries of c_cc.
pub const NCCS: usize = 19;
/// c_cflag's HUPCL.
pub const HUPCL: u32 = 0o2000;
/// B38400 | CS8 | CREAD.
const DEFAULT_CONTROL: u32 = 0o17 | 0o60 | 0o200;
/// Mask of c_cflag's speed.
const CBAUD: u32 = 0o10017;
/// A speed given as a number in c_ospeed.
const BOTHER: u32 = 0o10000;

/// A terminal's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    /// c_iflag.
    pub input: Input,
    /// c_oflag.
    pub output: Output,
    /// c_cflag: kept and shown, without an effect on a pseudoterminal.
    pub control: u32,
    /// c_lflag.
    pub local: Local,
    /// c_line.
    pub line: u8,
    /// c_cc.
    pub chars: [u8; NCCS],
    /// c_ispeed.
    pub input_speed: u32,
    /// c_ospeed.
    pub output_speed: u32,
}

impl Default for Termios {
    /// Linux's tty_std_termios.
    fn default() -> Self {
        let mut chars = [0; NCCS];
        chars[..19].copy_from_slice(&[3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0]);
        Termios {
            input: Input::ICRNL | Input::IXON,
            output: Output::OPOST | Output::ONLCR,
            control: DEFAULT_CONTROL,
            local: Local::ISIG
                | Local::ICANON
                | Local::ECHO
                | Local::ECHOE
                | Local::ECHOK
                | Local::ECHOCTL
                | Local::ECHOKE
                | Local::IEXTEN,
            line: 0,
            chars,
            input_speed: 38400,
            output_speed: 38400,
        }
    }
}

abi_struct! {
    /// The kernel's struct termios (TCGETS).
    pub struct KernelTermios {
        pub input: u32,
        pub output: u32,
        pub control: u32,
        pub local: u32,
        pub line: u8,
        pub chars: [u8; NCCS],
    }
}

abi_struct! {
    /// struct termios2 (TCGETS2).
    pub struct KernelTermios2 {
        pub termios: KernelTermios,
        pub input_speed: u32,
        pub output_speed: u32,
    }
}

abi_struct! {
    /// struct termio (TCGETA).
    pub struct KernelTermio {
        pub input: u16,
        pub output: u16,
        pub control: u16,
        pub local: u16,
        pub line: u8,
        pub chars: [u8; 8],
        pub pad: u8,
    }
}

abi_struct! {
    /// struct winsize (TIOCGWINSZ).
    pub struct WinSize {
        pub rows: u16,
        pub columns: u16,
        pub x_pixels: u16,
        pub y_pixels: u16,
    }
}

/// Speeds of c_cflag's codes 0 to 15.
const SPEEDS: [u32; 16] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
];
/// Speeds of the codes from BOTHER + 1 on.
const HIGH_SPEEDS: [u32; 15] = [
    57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
    2_500_000, 3_000_000, 3_500_000, 4_000_000,
];

fn speed_of(control: u32) -> Option<u32> {
    let code = control & CBAUD;
    let table: &[u32] = if code & BOTHER == 0 { &SPEEDS } else { &HIGH_SPEEDS };
    let index = match code & BOTHER {
        0 => Some(code),
        _ => (code & 0o17).checked_sub(1),
    };
    index.and_then(|index| table.get(index as usize).copied())
}

impl Termios {
    /// A special character; `None` when it is disabled (0).
    pub fn special(&self, which: Special) -> Option<u8> {
        Some(self.chars[which as usize]).filter(|c| *c != 0)
    }

    /// Whether `c` is this special character.
    pub fn is(&self, c: u8, which: Special) -> bool {
        self.special(which) == Some(c)
    }

    /// VMIN.
    pub fn min(&self) -> usize {
        usize::from(self.chars[Special::Min as usize])
    }

    /// VTIME in tenths of a second.
    pub fn time(&self) -> u64 {
        u64::from(self.chars[Special::Time as usize])
    }

    /// Whether input comes in lines.
    pub fn canonical(&self) -> bool {
        self.local.contains(Local::ICANON)
    }

    /// As TCGETS shows it.
    pub fn to_kernel(self) -> KernelTermios {
        KernelTermios {
            input: self.input.bits(),
            output: self.output.bits(),
            control: self.control,
            local: self.local.bits(),
            line: self.line,
            chars: self.chars,
        }
    }

    /// As TCGETS2 shows it.
    pub fn to_kernel2(self) -> KernelTermios2 {
        KernelTermios2 {
            termios: self.to_kernel(),
            input_speed: self.input_speed,
            output_speed: self.output_speed,
        }
    }

    /// As TCGETA shows it.
    pub fn to_termio(self) -> KernelTermio {
        let mut chars = [0; 8];
        chars.copy_from_slice(&self.chars[..8]);
        KernelTermio {
            input: self.input.bits() as u16,
            output: self.output.bits() as u16,
            control: self.control as u16,
            local: self.local.bits() as u16,
            line: self.line,
            chars,
            pad: 0,
        }
    }

    /// What TCSETS gives.
    pub fn from_kernel(self, new: &KernelTermios) -> Termios {
        let speed = speed_of(new.control);
        Termios {
            input: Input::from_bits_retain(new.input),
            output: Output::from_bits_retain(new.output),
            control: new.control,
            local: Local::from_bits_retain(new.local),
            line: new.line,
            chars: new.chars,
            input_speed: speed.unwrap_or(self.input_speed),
            output_speed: speed.unwrap_or(self.output_speed),
        }
    }

    /// `new`, but for what is fixed (ioctl_tty(2), "Locking the termios structure").
    pub fn keeping(self, fixed: &KernelTermios, mut new: Termios) -> Termios {
        let keep = |new: u32, old: u32, fixed: u32| new & !fixed | old & fixed;
        new.input = Input::from_bits_retain(keep(new.input.bits(), self.input.bits(), fixed.input));
        new.output = Output::from_bits_retain(keep(new.output.bits(), self.output.bits(), fixed.output));
        new.control = keep(new.control, self.control, fixed.control);
        new.local = Local::from_bits_retain(keep(new.local.bits(), self.local.bits(), fixed.local));
        if fixed.line != 0 {
            new.line = self.line;
        }
        for (at, fixed) in fixed.chars.iter().enumerate() {
            if *fixed != 0 {
                new.chars[at] = self.chars[at];
            }
        }
        new
    }

    /// What TCSETS2 gives.
    pub fn from_kernel2(self, new: &KernelTermios2) -> Termios {
        let mut termios = self.from_kernel(&new.termios);
        if new.termios.control & CBAUD == BOTHER {
            termios.output_speed = new.output_speed;
            termios.input_speed = new.input_speed;
        }
        termios
    }

    /// What TCSETA gives: the lower halves of the flags and the first eight characters.
    pub fn from_termio(self, new: &KernelTermio) -> Termios {
        let merge = |old: u32, low: u16| old & 0xffff_0000 | u32::from(low);
        let mut chars = self.chars;
        chars[..8].copy_from_slice(&new.chars);
        self.from_kernel(&KernelTermios {
            input: merge(self.input.bits(), new.input),
            output: merge(self.output.bits(), new.output),
            control: merge(self.control, new.control),
            local: merge(self.local.bits(), new.local),
            line: new.line,
            chars,
        })
    }
}

const _: () = assert!(<KernelTermios as AbiField>::SIZE == 36 && <KernelTermios2 as AbiField>::SIZE == 44);
