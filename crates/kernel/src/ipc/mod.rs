//! System V IPC and POSIX message queues.

/// All IPC objects of the sandbox.
#[derive(Default)]
pub struct IpcTable {}
