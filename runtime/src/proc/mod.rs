//! Running goroutines: the loop (`schedule`), the queues (`runq`), parking and readying (`park`), birth and death
//! (`spawn`), the global queue (`globrunq`), lists of goroutines to run (`glist`), threads (`newm`, `template`), goroutines
//! with a thread of their own (`locked`), the number of Ps (`resize`).

pub(crate) mod glist;
pub(crate) mod globrunq;
pub(crate) mod locked;
pub(crate) mod newm;
pub(crate) mod park;
pub(crate) mod resize;
pub(crate) mod runq;
pub(crate) mod schedule;
pub(crate) mod spawn;
pub(crate) mod template;
