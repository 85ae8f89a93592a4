//! What ties models to the code that ships.
#![cfg_attr(
    modelled,
    expect(clippy::disallowed_types, reason = "what models run beside is no part of what they model")
)]

#[cfg(modelled)]
use super::AtomicUsize;
use barrier_lint::nowritebarrierrec;
#[cfg(modelled)]
use std::collections::BTreeSet;
#[cfg(modelled)]
use std::sync::Mutex;

/// Functions that were entered in this process. A std lock: what models do meanwhile is no part of what they model.
#[cfg(modelled)]
static ENTERED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Says that a function which models drive has been entered, by the name under which they list it: a model that does not
/// enter what it lists proves nothing of it, and fails. Costs nothing in production. May run without a P.
#[nowritebarrierrec(indirect = "in models alone: not checked there")]
#[inline(always)]
pub fn modelled(name: &'static str) {
    #[cfg(modelled)]
    ENTERED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name);
    step(name, 0);
}

/// Who hears of each step of a model.
#[cfg(modelled)]
static LISTENER: std::sync::OnceLock<fn(&'static str, usize)> = std::sync::OnceLock::new();

/// Says that something has happened, for the trace of a model: what, and to which object (0: to none). Costs nothing in
/// production. May run without a P.
#[nowritebarrierrec(indirect = "in models alone: not checked there")]
#[inline(always)]
pub fn step(what: &'static str, object: usize) {
    #[cfg(modelled)]
    if let Some(listener) = LISTENER.get() {
        listener(what, object);
    }
    #[cfg(not(modelled))]
    let _ = (what, object);
}

/// From now on `listener` hears of each step.
#[cfg(modelled)]
pub fn listen(listener: fn(&'static str, usize)) {
    LISTENER.set(listener).expect("one listener");
}

/// Whether a function of this name was entered in this process.
#[cfg(modelled)]
pub fn entered(name: &str) -> bool {
    ENTERED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(name)
}

/// The address of a word, for assembly, of which there is none in models: nobody goes there.
#[cfg(modelled)]
pub trait AsPtr {
    /// See there.
    fn as_ptr(&self) -> *mut usize;
}

#[cfg(modelled)]
impl AsPtr for AtomicUsize {
    fn as_ptr(&self) -> *mut usize {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}
