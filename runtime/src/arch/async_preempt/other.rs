//! The architectures that have no `async_preempt`. Made by `cargo run -p mkpreempt`: do not edit.

/// Why the runtime refuses asynchronous preemption at start, whatever the machine.
pub(crate) const REFUSED: Option<&str> = Some("async_preempt exists for x86_64, i686, aarch64 only");
