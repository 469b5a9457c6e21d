//! Open files: descriptors, descriptions and the operations that each kind of file has.

pub mod aio;
mod close;
mod description;
pub mod epoll;
pub mod eventfd;
mod fd_table;
pub mod fifo;
pub mod inotify;
pub mod lease;
pub mod lock;
pub mod memfd;
mod memory;
pub mod memory_file;
mod ops;
pub mod page_quota;
pub mod page_set;
pub mod pipe;
pub mod readiness;
pub mod ring;
pub mod sigio;
pub mod signalfd;
pub mod times;
mod transfer;

pub use close::close;
pub use description::{FileDescription, FileOwner};
pub use fd_table::{FdEntry, FdTable};
pub use memory::{FileMemory, HeapMemory, MemoryProvider};
pub use ops::{DirSink, FileOps, MapPiece, Whence};
pub use transfer::{check_size, read, write, write_placed};
