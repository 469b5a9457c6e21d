//! execve(2): loading programs.
