//! How registers become typed arguments, and results become registers.

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

/// A type that a system call takes in one register.
pub trait FromArg: Copy {
    /// From the register; Linux ignores the bits beyond the type's width.
    fn from_arg(raw: u64) -> Self;
    /// As strace prints it.
    fn show(self, task: &CurrentTask) -> String;
}

macro_rules! int_arg {
    ($($t:ty),*) => {$(
        impl FromArg for $t {
            fn from_arg(raw: u64) -> Self { raw as $t }
            fn show(self, _: &CurrentTask) -> String { self.to_string() }
        }
    )*};
}
int_arg!(i32, u32, i64, u64, usize);

impl FromArg for UserAddr {
    fn from_arg(raw: u64) -> Self {
        UserAddr(raw)
    }
    fn show(self, _: &CurrentTask) -> String {
        if self.is_null() {
            "NULL".into()
        } else {
            format!("{self:?}")
        }
    }
}

/// A descriptor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(pub i32);

/// AT_FDCWD of openat(2).
pub const AT_FDCWD: i32 = -100;

impl FromArg for Fd {
    fn from_arg(raw: u64) -> Self {
        Fd(raw as i32)
    }
    fn show(self, _: &CurrentTask) -> String {
        if self.0 == AT_FDCWD {
            "AT_FDCWD".into()
        } else {
            self.0.to_string()
        }
    }
}

/// The address of a NUL-terminated string (a path, a name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CStr(pub UserAddr);

impl FromArg for CStr {
    fn from_arg(raw: u64) -> Self {
        CStr(UserAddr(raw))
    }
    fn show(self, task: &CurrentTask) -> String {
        match task.read_path(self.0) {
            Ok(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            Err(_) => self.0.show(task),
        }
    }
}

/// Flags or modes, printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl FromArg for Flags {
    fn from_arg(raw: u64) -> Self {
        Flags(raw as u32)
    }
    fn show(self, _: &CurrentTask) -> String {
        format!("{:#x}", self.0)
    }
}

/// A file mode, printed in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl FromArg for Mode {
    fn from_arg(raw: u64) -> Self {
        Mode(raw as u32)
    }
    fn show(self, _: &CurrentTask) -> String {
        format!("{:#o}", self.0)
    }
}

/// A type that a system call returns.
pub trait IntoReturn {
    /// The register.
    fn into_return(self) -> u64;
}

impl IntoReturn for () {
    fn into_return(self) -> u64 {
        0
    }
}

macro_rules! int_return {
    ($($t:ty),*) => {$(
        impl IntoReturn for $t {
            fn into_return(self) -> u64 { self as u64 }
        }
    )*};
}
int_return!(i32, u32, i64, u64, usize);

impl IntoReturn for UserAddr {
    fn into_return(self) -> u64 {
        self.0
    }
}

impl IntoReturn for Fd {
    fn into_return(self) -> u64 {
        self.0 as u64
    }
}

/// Any handler, whatever its number of arguments; `A` is the tuple of their types.
pub trait Handler<A> {
    /// Decodes and calls.
    fn call(&self, task: &CurrentTask, args: &[u64; 6]) -> Result<u64, Errno>;
    /// The arguments as strace prints them.
    fn show(&self, task: &CurrentTask, args: &[u64; 6]) -> String;
}

macro_rules! handler {
    ($($t:ident $i:literal),*) => {
        impl<F, R, $($t,)*> Handler<($($t,)*)> for F
        where
            F: Fn(&CurrentTask, $($t),*) -> Result<R, Errno>,
            R: IntoReturn,
            $($t: FromArg,)*
        {
            #[allow(unused_variables)]
            fn call(&self, task: &CurrentTask, args: &[u64; 6]) -> Result<u64, Errno> {
                self(task, $($t::from_arg(args[$i])),*).map(IntoReturn::into_return)
            }
            #[allow(unused_variables)]
            fn show(&self, task: &CurrentTask, args: &[u64; 6]) -> String {
                let shown: Vec<String> = vec![$($t::from_arg(args[$i]).show(task)),*];
                shown.join(", ")
            }
        }
    };
}
handler!();
handler!(A 0);
handler!(A 0, B 1);
handler!(A 0, B 1, C 2);
handler!(A 0, B 1, C 2, D 3);
handler!(A 0, B 1, C 2, D 3, E 4);
handler!(A 0, B 1, C 2, D 3, E 4, G 5);
