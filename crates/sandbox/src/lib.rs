//! Inside the jail: puts kernel, file systems and execution engine together and runs the container's first process.
#![forbid(unsafe_code)]
