//! `GcMut`: mutable access, by plain stores, to a value with pointers inside a heap object.
//!
//! Plain stores have no barrier, so while a mutator is *inside* a value, its words count as part of the mutator's
//! stack (I4). There is no guard: leaked, it would yield a `&'static mut` that moves to another goroutine, whose
//! stores nobody sees. Access is a call of a closure, for any lifetime.
//!
//! ```text
//! enter   busy: 0 -> 1, by CAS; entry onto the mutator's list; shade all words, if marking
//! inside  plain loads and stores; the mutator's stack and the values on its list are scanned in one atomic step
//! leave   shade all words, if marking; entry off the list; busy -> 0. Also when a panic goes by
//! ```
//!
//! The list is linked through the stack frames of `try_with`, and its head belongs to the host's mutator
//! ([`World::entered`](crate::World::entered)): a goroutine may park inside, and take it to another thread. The marker
//! reads the words conservatively wherever it meets them, since they may tear under it; what it misreads is covered
//! by the three steps:
//!
//! - Without *enter's* shading: the stack is black, X is in the value, which is not scanned yet. X is moved to the
//!   stack, and nobody looks there again.
//! - Without the *list*: the object is black, X is on the grey stack alone. X is moved into the value, the stack is
//!   scanned, X is moved back.
//! - Without *leave's* shading: the object is black, X is on the grey stack alone. X is moved into the value, and the
//!   access ends before the stack is scanned.
//!
//! Entering puts the entry on the list before it asks whether marking is on, and leaving asks before it takes the
//! entry off; so a flip in between finds the value on the list.

use crate::faults::{self, Fault};
use crate::layout::{Field, Trace, TypeDesc};
use crate::mark::Scanner;
use crate::p::GcP;
use crate::sync::current::Region;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, word};
use barrier_lint::writebarrier;
use core::cell::UnsafeCell;
use core::fmt;
use core::ptr;

/// A value in a heap object that one at a time may change by plain stores.
///
/// For structs whose parts belong together, where a [`GcCell`](crate::GcCell) for each pointer would be too slow or
/// too fine. Access does not wait: who comes second, the same goroutine included, gets [`Busy`] (waiting is what a
/// mutex does). Entering and leaving cost a compare-exchange and, while the barrier is on, a look at each word.
///
/// ```
/// # use gc_core::{Gc, GcMut};
/// # #[derive(gc_core::Trace)] struct Queue { ends: GcMut<Ends> }
/// # #[derive(gc_core::Trace)] struct Ends { first: Option<Gc<u64>>, last: Option<Gc<u64>>, len: usize }
/// fn push_first(q: Gc<Queue>, value: Gc<u64>) {
///     q.ends.with(|ends| {
///         ends.first = Some(value);
///         ends.last = ends.last.or(ends.first);
///         ends.len += 1;
///     });
/// }
/// ```
#[repr(C)]
pub struct GcMut<T> {
    /// 1 while somebody is inside. A heap word.
    busy: UnsafeCell<usize>,
    value: UnsafeCell<T>,
}

// SAFETY: `busy` lets one at a time at the value.
unsafe impl<T: Send> Sync for GcMut<T> {}
// SAFETY: as its content.
unsafe impl<T: Send> Send for GcMut<T> {}

/// The descriptor of what is in a `GcMut<T>`.
struct Content<T>(T);

impl<T: Trace> Content<T> {
    const DESC: &'static TypeDesc =
        if T::DESC.has_pointers() { &TypeDesc::conservative::<T>("GcMut") } else { T::DESC };
}

// SAFETY: every word of the value is looked at, unless it has no pointers.
unsafe impl<T: Trace> Trace for GcMut<T> {
    const DESC: &'static TypeDesc = &TypeDesc::of_fields::<GcMut<T>>(
        "GcMut",
        &[Field { offset: core::mem::offset_of!(GcMut<T>, value), desc: Content::<T>::DESC, count: 1 }],
    );
}

/// Somebody is inside already: another goroutine, or this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the GcMut is being changed already, by another goroutine or by this one")
    }
}

impl std::error::Error for Busy {}

impl<T: Trace> GcMut<T> {
    /// A value, on its way into a new object.
    pub fn new(value: T) -> GcMut<T> {
        GcMut { busy: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Runs `f` with the value, which nobody else reaches meanwhile. `f` may contain safepoints. A panic in `f` ends
    /// the access and goes on. Needs a P.
    ///
    /// # Errors
    /// [`Busy`], if somebody is inside already; `f` has not run then.
    #[writebarrier]
    pub fn try_with<R>(&self, f: impl for<'a> FnOnce(&'a mut T) -> R) -> Result<R, Busy> {
        crate::sync::modelled("GcMut::try_with");
        let heap = GcP::current().heap();
        let region = Region::enter();
        // Acquire: pairs with the Release of who left.
        if self.busy().compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(Busy);
        }
        let list = heap.world.entered();
        let inside = Inside { cell: self, list, entry: Entry::new(self.value.get()) };
        list.push(&inside.entry);
        // SAFETY: ours since the exchange.
        unsafe { word::lend(self.value.get().expose_provenance(), size_of::<T>()) };
        if !faults::active(Fault::EnterUnshaded) {
            // SAFETY: as above.
            unsafe { heap.shade_value(self.value.get()) };
        }
        drop(region);
        // SAFETY: as above; for no longer than `f` runs.
        Ok(f(unsafe { &mut *self.value.get() }))
    }

    /// As [`try_with`](GcMut::try_with), for where nobody else can be inside.
    ///
    /// # Panics
    /// If somebody is inside already, and if `f` does.
    #[writebarrier]
    pub fn with<R>(&self, f: impl for<'a> FnOnce(&'a mut T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(busy) => panic!("{busy}: `try_with` says so without a panic, a mutex waits"),
        }
    }
}

impl<T> GcMut<T> {
    fn busy(&self) -> &AtomicUsize {
        // SAFETY: a word of a heap object that is only used so.
        unsafe { word::at(self.busy.get().expose_provenance()) }
    }
}

impl<T> fmt::Debug for GcMut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcMut").finish_non_exhaustive()
    }
}

/// Ends an access, also when a panic goes by.
struct Inside<'a, T> {
    cell: &'a GcMut<T>,
    list: &'static Entered,
    entry: Entry,
}

impl<T> Drop for Inside<'_, T> {
    fn drop(&mut self) {
        let value = self.cell.value.get();
        let _region = Region::enter();
        // SAFETY: still ours.
        unsafe { word::adopt(value.expose_provenance(), size_of::<T>()) };
        if !faults::active(Fault::LeaveUnshaded) {
            // SAFETY: as above.
            unsafe { GcP::current().heap().shade_value(value) };
        }
        self.list.pop(&self.entry);
        // Release: pairs with the Acquire of who enters next.
        self.cell.busy().store(0, Ordering::Release);
    }
}

/// The words of a value that somebody is inside of. Lives in a stack frame of theirs.
struct Entry {
    words: *const usize,
    len: usize,
    next: AtomicPtr<Entry>,
}

impl Entry {
    fn new<T>(value: *const T) -> Entry {
        // A type with a smaller alignment holds no pointer.
        let len = if align_of::<T>() >= align_of::<usize>() { size_of::<T>() / size_of::<usize>() } else { 0 };
        Entry { words: value.cast(), len, next: AtomicPtr::new(ptr::null_mut()) }
    }
}

/// The values that a mutator is inside of ([`GcMut`]): a field of the host's mutator (goroutine, thread), empty at
/// first. The host hands it to [`Scanner::entered`] in the same step as the mutator's stack.
#[derive(Debug)]
pub struct Entered {
    head: AtomicPtr<Entry>,
}

impl Entered {
    /// An empty list.
    #[allow(clippy::new_without_default)] // `const`, but not under loom
    #[cfg(not(modelled))]
    pub const fn new() -> Entered {
        Entered { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// An empty list.
    #[allow(clippy::new_without_default)]
    #[cfg(modelled)]
    pub fn new() -> Entered {
        Entered { head: AtomicPtr::new(ptr::null_mut()) }
    }

    fn push(&self, entry: &Entry) {
        // Relaxed: its own mutator's; the head's Release publishes the entry.
        entry.next.store(self.head.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release: pairs with the Acquire of `Scanner::entered`, should the host scan where it suspended the mutator.
        self.head.store(ptr::from_ref(entry).cast_mut(), Ordering::Release);
    }

    /// Takes the entry off, which came last: closures end in reverse order.
    fn pop(&self, entry: &Entry) {
        debug_assert!(ptr::eq(self.head.load(Ordering::Relaxed), entry), "accesses end in reverse order");
        // Release: as in `push`.
        self.head.store(entry.next.load(Ordering::Relaxed), Ordering::Release);
    }
}

impl Scanner<'_> {
    /// The values that a mutator is inside of, together with its stack.
    ///
    /// # Safety
    /// The mutator does not run meanwhile, and nobody lets it.
    pub unsafe fn entered(&mut self, list: &Entered) {
        crate::sync::modelled("Scanner::entered");
        if faults::active(Fault::MutableUnscanned) {
            return;
        }
        // Acquire: pairs with the Release of `push`.
        let mut at = list.head.load(Ordering::Acquire);
        // SAFETY: an entry lies in a frame of the mutator, which does not run (the caller's contract).
        while let Some(entry) = unsafe { at.as_ref() } {
            // SAFETY: words of a value that only the mutator changes.
            unsafe { self.lent(entry.words, entry.words.add(entry.len)) };
            at = entry.next.load(Ordering::Relaxed);
        }
    }
}
