//! The Linux ABI of x86-64 as guests see it: errno values, call numbers, flags and structures.
//!
//! Plain data only: nothing here makes a host call or keeps state.
//! Structures are read from and written to guest bytes field by field (`AbiStruct`), never transmuted.
#![forbid(unsafe_code)]

mod addr;
pub mod errno;
pub mod fcntl;
pub mod signal;
mod structs;

pub use addr::{PAGE_SIZE, UserAddr, page_down, page_up};
pub use errno::Errno;
pub use structs::{AbiField, AbiStruct};
