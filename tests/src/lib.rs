//! What needs more than one crate: the models, and what the integration tests share.

#[cfg(shuttle)]
pub mod cycles;
#[cfg(not(modelled))]
pub mod goroutines;
#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
pub mod injection;
#[cfg(loom)]
pub mod models;
#[cfg(not(modelled))]
pub mod oracle;
#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
pub mod stress;
