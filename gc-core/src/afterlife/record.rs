//! Records: what is to happen when an object is found dead. Off heap, in a list that hangs on the object's span (Go's
//! `special`s).
//!
//! ```text
//! free ──add──► in the list of a span ──the object is found dead──► weak, sampled: free   cleanup: due ──it runs──► free
//!                                     └─stop()──► free
//! ```
//! The sweeper of the span walks the list, before any slot of the span can be used again. All links move under one
//! lock; only [`Heap::alive`] reads a record without it. The tag of a record grows whenever a handle to it turns stale,
//! so a [`Weak`](super::Weak) or [`Cleanup`](super::Cleanup) of an object that is gone never speaks for the next one.

use crate::faults::{self, Fault};
use crate::heap::{Heap, Span};
use crate::p::GcP;
use crate::sync::{AtomicU32, AtomicUsize, Lock, MapError, Ordering, Rank, Table, Zeroed};

/// Most weak pointers and cleanups of a heap. A small heap has fewer: an eighth of its bytes go into the table.
const MAX_RECORDS: usize = if cfg!(modelled) { 4 } else { 1 << 26 };
/// In `task`: the object is in the heap profile. Roots and sites are fewer.
const SITE: u32 = 1 << 31;
/// A record of this tag is not used again: a stale handle could have any of the tags before.
const LAST_TAG: u32 = u32::MAX;
/// In `made`: before the last flip. Sweep generations are even.
const EARLIER: u32 = 1;

pub(crate) struct Record {
    /// Base of the object; 0 once it was found dead.
    object: AtomicUsize,
    /// See the module's text.
    tag: AtomicU32,
    /// The sweep generation in which the record was made, or `EARLIER`. In its own generation the object cannot have
    /// been found dead.
    made: AtomicU32,
    /// Next in the list of the span, of due cleanups, or of free records (index + 1; 0: none).
    next: AtomicU32,
    /// A cleanup: the slot of the root that keeps its task, + 1. A weak pointer: 0. An object in the heap profile: its site,
    /// with the bit `SITE`.
    task: AtomicU32,
}

// SAFETY: integers.
unsafe impl Zeroed for Record {
    fn zeroed() -> Self {
        Record {
            object: AtomicUsize::new(0),
            tag: AtomicU32::new(0),
            made: AtomicU32::new(0),
            next: AtomicU32::new(0),
            task: AtomicU32::new(0),
        }
    }
}

/// A record, as handles name it: index + 1 and tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct RecordId {
    pub id: u32,
    pub tag: u32,
}

pub(crate) struct Records {
    table: Table<Record>,
    lists: Lock<Lists>,
}

struct Lists {
    /// Records ever used.
    top: u32,
    free: u32,
    /// Cleanups to run, first in, first out.
    due: u32,
    last_due: u32,
}

// Relaxed unless noted: under the lock.

impl Records {
    /// For a heap with `bytes` bytes of address space.
    pub fn new(bytes: usize) -> Result<Records, MapError> {
        let most = if cfg!(modelled) { MAX_RECORDS } else { (bytes / 8 / size_of::<Record>()).min(MAX_RECORDS) };
        let lists = Lists { top: 0, free: 0, due: 0, last_due: 0 };
        Ok(Records { table: Table::new(most)?, lists: Lock::new(Rank::Records, lists) })
    }

    /// Bytes of memory in the table.
    pub fn bytes(&self) -> usize {
        self.lists.lock().top as usize * size_of::<Record>()
    }

    fn get(&self, id: u32) -> &Record {
        &self.table[id as usize - 1]
    }

    fn take_free(&self, lists: &mut Lists) -> u32 {
        if lists.free != 0 {
            let id = lists.free;
            lists.free = self.get(id).next.load(Ordering::Relaxed);
            return id;
        }
        if lists.top as usize == self.table.len() {
            crate::throw!(
                "more than {} objects' weak pointers and cleanups, of which a heap of this size has no more",
                lists.top
            );
        }
        lists.top += 1;
        lists.top
    }

    /// Handles to the record turn stale.
    fn retire(&self, id: u32) {
        let record = self.get(id);
        record.object.store(0, Ordering::Relaxed);
        if !faults::active(Fault::StaleWeak) {
            record.tag.store(record.tag.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    fn free(&self, lists: &mut Lists, id: u32) {
        let record = self.get(id);
        if record.tag.load(Ordering::Relaxed) < LAST_TAG {
            record.next.store(lists.free, Ordering::Relaxed);
            lists.free = id;
        }
    }
}

impl Heap {
    /// The record of weak pointers to `object`: each object has one at most. The caller holds a P, and the object.
    pub(super) fn weak_record(&self, object: usize) -> RecordId {
        let records = &self.afterlife.records;
        let mut lists = records.lists.lock();
        let mut id = self.span_of_object(object).records.load(Ordering::Relaxed);
        while id != 0 {
            let record = records.get(id);
            if record.object.load(Ordering::Relaxed) == object && record.task.load(Ordering::Relaxed) == 0 {
                return RecordId { id, tag: record.tag.load(Ordering::Relaxed) };
            }
            id = record.next.load(Ordering::Relaxed);
        }
        self.add_record(&mut lists, object, 0)
    }

    /// A record of a cleanup. As `weak_record`.
    pub(super) fn cleanup_record(&self, object: usize, root: u32) -> RecordId {
        self.add_record(&mut self.afterlife.records.lists.lock(), object, root + 1)
    }

    /// Adds a record that the object belongs to this site of the heap profile. `false`: there is no room; the second half of the
    /// table is for weak pointers and cleanups. As `weak_record`.
    pub(crate) fn sample_record(&self, object: usize, site: u32) -> bool {
        let records = &self.afterlife.records;
        let mut lists = records.lists.lock();
        if lists.free == 0 && lists.top as usize >= records.table.len() / 2 {
            return false;
        }
        self.add_record(&mut lists, object, SITE | site);
        true
    }

    fn add_record(&self, lists: &mut Lists, object: usize, task: u32) -> RecordId {
        let records = &self.afterlife.records;
        let id = records.take_free(lists);
        let record = records.get(id);
        let tag = record.tag.load(Ordering::Relaxed);
        let span = self.span_of_object(object);
        record.task.store(task, Ordering::Relaxed);
        record.next.store(span.records.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release, both: pair with the Acquires in `alive`: who sees them sees the tag that this record got.
        record.made.store(self.sweepgen(), Ordering::Release);
        record.object.store(object, Ordering::Release);
        span.records.store(id, Ordering::Relaxed);
        RecordId { id, tag }
    }

    /// The object of a weak record, unless it was found dead. Takes no lock. The caller holds `p`, and no safepoint
    /// comes before it has put the pointer where the collector looks: so no flip does.
    ///
    /// While marking everything is swept, so a record that is still there speaks of an object that may be white but was
    /// not found dead: it is shaded, since the stack that gets it may be black. Otherwise the fresh marks decide, swept
    /// or not, unless the record is younger than they are.
    pub(super) fn alive(&self, p: &GcP, weak: RecordId) -> Option<usize> {
        crate::sync::modelled("Heap::alive");
        let record = self.afterlife.records.get(weak.id);
        // Acquire: pair with the Releases in `add_record`. The tag comes last: a record that was used again in between
        // has another one.
        let object = record.object.load(Ordering::Acquire);
        let made = record.made.load(Ordering::Acquire);
        if object == 0 || record.tag.load(Ordering::Relaxed) != weak.tag {
            return None;
        }
        if self.marking() {
            if !faults::active(Fault::WeakUpgradeUnshaded) {
                // SAFETY: this thread holds `p`; no other borrow of its work is alive.
                self.shade(unsafe { p.gcw() }, object);
            }
            return Some(object);
        }
        let alive = made == self.sweepgen() || self.alloc_map().is_marked(self.granule_of(object));
        (alive || faults::active(Fault::WeakUpgradeDead)).then_some(object)
    }

    /// Calls `f` with each object that weak pointers may give out. The world is stopped.
    pub(crate) fn each_weak(&self, f: &mut dyn FnMut(usize)) {
        let records = &self.afterlife.records;
        let top = records.lists.lock().top;
        for record in (1..=top).map(|id| records.get(id)) {
            let object = record.object.load(Ordering::Relaxed);
            if object != 0 && record.task.load(Ordering::Relaxed) == 0 {
                f(object);
            }
        }
    }

    /// Part of a span's sweep: takes the records of dead objects off the list. The caller owns the span.
    pub(crate) fn sweep_records(&self, span: &Span) {
        // A record that is added at this moment is of a live object.
        if span.records.load(Ordering::Relaxed) == 0 {
            return;
        }
        let records = &self.afterlife.records;
        let mut lists = records.lists.lock();
        let mut link = &span.records;
        loop {
            let id = link.load(Ordering::Relaxed);
            if id == 0 {
                return;
            }
            let record = records.get(id);
            let next = record.next.load(Ordering::Relaxed);
            if self.alloc_map().is_marked(self.granule_of(record.object.load(Ordering::Relaxed))) {
                // So that the number of a generation may come again.
                record.made.store(EARLIER, Ordering::Relaxed);
                link = &record.next;
                continue;
            }
            link.store(next, Ordering::Relaxed);
            records.retire(id);
            let task = record.task.load(Ordering::Relaxed);
            if task == 0 || task & SITE != 0 {
                records.free(&mut lists, id);
                if task != 0 && !faults::active(Fault::SampleNotFreed) {
                    self.profile.freed(self.sweepgen() / 2, task & !SITE);
                }
                continue;
            }
            record.next.store(0, Ordering::Relaxed);
            match core::mem::replace(&mut lists.last_due, id) {
                0 => lists.due = id,
                last => records.get(last).next.store(id, Ordering::Relaxed),
            }
            self.afterlife.add_due(1);
        }
    }

    /// The root slot of the next cleanup that is to run; its record is free again. Nobody else knows the slot.
    pub(super) fn take_due_cleanup(&self) -> Option<u32> {
        let records = &self.afterlife.records;
        let mut lists = records.lists.lock();
        let id = lists.due;
        if id == 0 {
            return None;
        }
        let record = records.get(id);
        lists.due = record.next.load(Ordering::Relaxed);
        if lists.due == 0 {
            lists.last_due = 0;
        }
        let root = record.task.load(Ordering::Relaxed) - 1;
        records.free(&mut lists, id);
        Some(root)
    }

    /// Takes a cleanup off its object's list, if the object was not found dead yet; the root slot of its task.
    pub(super) fn stop_cleanup(&self, cleanup: RecordId) -> Option<u32> {
        let records = &self.afterlife.records;
        let mut lists = records.lists.lock();
        let record = records.get(cleanup.id);
        if record.tag.load(Ordering::Relaxed) != cleanup.tag {
            return None;
        }
        // The tag is right, so the record is in the list of the span.
        let mut link = &self.span_of_object(record.object.load(Ordering::Relaxed)).records;
        while link.load(Ordering::Relaxed) != cleanup.id {
            link = &records.get(link.load(Ordering::Relaxed)).next;
        }
        link.store(record.next.load(Ordering::Relaxed), Ordering::Relaxed);
        let root = record.task.load(Ordering::Relaxed) - 1;
        records.retire(cleanup.id);
        records.free(&mut lists, cleanup.id);
        Some(root)
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;

    #[test]
    fn a_record_whose_tags_are_used_up_is_not_used_again() {
        let records = Records::new(1 << 20).unwrap();
        let mut lists = records.lists.lock();
        let first = records.take_free(&mut lists);
        records.retire(first);
        records.free(&mut lists, first);
        assert_eq!(records.take_free(&mut lists), first);
        records.get(first).tag.store(LAST_TAG - 1, Ordering::Relaxed);
        records.retire(first);
        records.free(&mut lists, first);
        assert_ne!(records.take_free(&mut lists), first);
    }
}
