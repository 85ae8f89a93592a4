//! What needs more than one crate: the models, and what the integration tests share.

#[cfg(not(loom))]
pub mod goroutines;
#[cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
pub mod injection;
#[cfg(loom)]
pub mod models;
#[cfg(not(loom))]
pub mod oracle;
#[cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
pub mod stress;
