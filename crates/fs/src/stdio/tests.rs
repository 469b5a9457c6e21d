//! Host descriptors as standard input and output.
