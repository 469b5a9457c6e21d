//! Open files: descriptors, descriptions and the operations that each kind of file has.

mod description;
mod fd_table;
mod memory;
mod ops;

pub use description::FileDescription;
pub use fd_table::{FdEntry, FdTable};
pub use memory::{FileMemory, HeapMemory, MemoryProvider};
pub use ops::{DirSink, FileOps, MapPiece, Whence};
