//! Waiting for time (and, next to it, for what the kernel tells of files): without a thread for each that waits.

pub(crate) mod watch;
