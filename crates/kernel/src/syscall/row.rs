//! A row of the system call table.

use abi::Errno;

use crate::task::CurrentTask;

/// How much of a call there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// All that Linux documents.
    Full,
    /// Works, but for what the text says.
    Partial(&'static str),
    /// Answers this error.
    Missing(Errno),
}

/// One system call.
#[derive(Clone, Copy)]
pub struct Row {
    /// x86-64 number.
    pub nr: u16,
    /// Name as in the man page.
    pub name: &'static str,
    /// How much of it there is.
    pub support: Support,
    /// Decodes the registers and serves the call.
    pub call: fn(&CurrentTask, &[u64; 6]) -> Result<u64, Errno>,
    /// The arguments for strace.
    pub show: fn(&CurrentTask, &[u64; 6]) -> String,
}

/// `row!(0, "read", super::read::read, Full)`.
macro_rules! row {
    ($nr:literal, $name:literal, $handler:path, $support:expr) => {
        Row {
            nr: $nr,
            name: $name,
            support: {
                #[allow(unused_imports)]
                use Support::*;
                $support
            },
            call: |task, args| $crate::syscall::arg::Handler::call(&$handler, task, args),
            show: |task, args| $crate::syscall::arg::Handler::show(&$handler, task, args),
        }
    };
}

/// `missing!(135, "personality", ENOSYS)`.
macro_rules! missing {
    ($nr:literal, $name:literal, $errno:ident) => {
        Row {
            nr: $nr,
            name: $name,
            support: Support::Missing(abi::Errno::$errno),
            call: |_, _| Err(abi::Errno::$errno),
            show: |_, args| {
                format!(
                    "{:#x}, {:#x}, {:#x}, {:#x}, {:#x}, {:#x}",
                    args[0], args[1], args[2], args[3], args[4], args[5]
                )
            },
        }
    };
}

pub(super) use {missing, row};
