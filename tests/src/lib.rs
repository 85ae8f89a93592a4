//! What needs more than one crate: the models, and what the integration tests share.

#[cfg(loom)]
pub mod models;
#[cfg(not(loom))]
pub mod oracle;
