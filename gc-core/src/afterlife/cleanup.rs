//! Cleanups: a function that runs some time after an object was found dead.
//!
//! The function and its argument lie in a heap object of conservative kind, the *task*, which a root keeps alive until
//! it has run; whoever gets the root slot from the records (the runner, or `stop`) takes them out, once.

use super::record::RecordId;
use super::unless_panic;
use crate::faults::{self, Fault};
use crate::gc::Gc;
use crate::heap::Heap;
use crate::layout::{Conservative, NoGc, Trace, TypeDesc};
use crate::p::{GcP, holder};
use crate::root::Root;
use crate::sync::current::Region;
use crate::sync::{Ordering, word};
use core::fmt;
use core::mem::MaybeUninit;

/// The head of a task: takes its function and its argument out, and runs it, or only drops both.
#[repr(C)]
struct Task {
    finish: unsafe fn(&'static Heap, Gc<Conservative<Task>>, run: bool),
}

#[repr(C)]
struct TaskOf<F, A> {
    head: Task,
    call: MaybeUninit<(F, A)>,
}

/// Has `f(arg)` run, some time after `object` was found dead, on a goroutine that the host chooses.
///
/// The object is not resurrected: its memory may be in use again when `f` runs. What `f` and `arg` hold is kept alive
/// until then; so they must not lead to the object, or it is kept alive, too, and `f` never runs. An object may have
/// several cleanups; they run in any order, and a panic in one is reported and ends that one only. What has not run when
/// the program ends does not run. A cleanup does not know whether anybody still uses what it frees: where that is taken
/// from the object, hold the object with [`keep_alive`](crate::keep_alive) or [`Gc::with`] until the last use.
///
/// A safepoint; needs a P. Source: Go's `runtime.AddCleanup`.
///
/// ```
/// # use gc_core::{Gc, Trace, add_cleanup};
/// # #[derive(Trace)] struct Mapping { base: usize, len: usize }
/// fn watched(base: usize, len: usize, log: std::sync::mpsc::Sender<usize>) -> Gc<Mapping> {
///     let mapping = Gc::new(Mapping { base, len });
///     add_cleanup(mapping, |(log, base)| { let _ = log.send(base); }, (log, base));
///     mapping
/// }
/// ```
///
/// # Panics
/// If a word of `f` or `arg` points into the object, which would keep it alive for ever.
pub fn add_cleanup<T, F, A>(object: Gc<T>, f: F, arg: A) -> Cleanup
where
    T: ?Sized,
    F: FnOnce(A) + Send + 'static,
    A: Send + 'static,
{
    // Whether it holds the object is seen here, on the stack, and not where the collector may already look.
    let call = MaybeUninit::new((f, arg));
    if points_into(&call, object) {
        // SAFETY: initialised above, and dropped once.
        drop(unsafe { call.assume_init() });
        panic!("the cleanup or its argument points to the object itself, so it would keep it alive and never run");
    }
    let task = Gc::new(Conservative(TaskOf { head: Task { finish: finish::<F, A> }, call }));
    let root = Root::new(task).into_slot();
    let heap = holder("a cleanup is added").heap();
    let record = heap.cleanup_record(object.addr(), root);
    crate::gc::keep_alive(object);
    Cleanup { heap, record }
}

/// Whether a word of `value` points into `object`, as the conservative look-up sees it.
fn points_into<V, T: ?Sized>(value: &MaybeUninit<V>, object: Gc<T>) -> bool {
    if align_of::<V>() < align_of::<usize>() {
        return false;
    }
    let slot = GcP::current().heap().span_of_object(object.addr()).slot.load(Ordering::Relaxed);
    let words = value.as_ptr().cast::<usize>();
    (0..size_of::<V>() / size_of::<usize>()).any(|i| {
        // SAFETY: inside `value`, which is aligned like a word. Volatile: it may have padding.
        let word = unsafe { words.add(i).read_volatile() };
        word.wrapping_sub(object.addr()) < slot
    })
}

/// # Safety
/// `task` is the head of a `TaskOf<F, A>` whose call is there; it is taken here. Needs a P.
unsafe fn finish<F: FnOnce(A), A>(heap: &'static Heap, task: Gc<Conservative<Task>>, run: bool) {
    let task = Gc::as_ptr(task).cast::<TaskOf<F, A>>();
    // SAFETY: the caller's contract. This stack may be black already, so what moves onto it is shaded, with no
    // safepoint in between.
    let (f, arg) = unsafe {
        let _region = Region::enter();
        if !faults::active(Fault::CleanupUnshaded) {
            heap.shade_value(&raw const (*task).call);
        }
        let call = (*task).call.as_ptr().read();
        // The task no longer keeps what has moved out.
        (*task).call.as_mut_ptr().write_bytes(0, 1);
        word::adopt((&raw const (*task).call).addr(), size_of::<(F, A)>());
        call
    };
    if run {
        f(arg);
    }
}

/// A cleanup that was added to an object. Plain data: dropping it changes nothing. Source: Go's `runtime.Cleanup`.
#[derive(Clone, Copy)]
pub struct Cleanup {
    heap: &'static Heap,
    record: RecordId,
}

// SAFETY: a number; needs no drop.
unsafe impl NoGc for Cleanup {}
// SAFETY: to the collector a number.
unsafe impl Trace for Cleanup {
    const DESC: &'static TypeDesc = &TypeDesc::data::<Self>("Cleanup");
}

impl fmt::Debug for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cleanup#{}.{}", self.record.id, self.record.tag)
    }
}

impl Cleanup {
    /// Takes the cleanup back, and drops its function and its argument here. `false`: too late (the object was found
    /// dead, so it has run or will), or it was stopped before. Needs a P, of the object's own heap.
    pub fn stop(&self) -> bool {
        if !core::ptr::eq(holder("a cleanup is stopped").heap(), self.heap) {
            return false;
        }
        match self.heap.stop_cleanup(self.record) {
            Some(root) => {
                // SAFETY: the slot came from `stop_cleanup`, which gives it once.
                unsafe { self.heap.finish_task(root, false) };
                true
            }
            None => false,
        }
    }
}

impl Heap {
    /// Runs the next cleanup that is due, if there is one. The caller is the runner.
    pub(super) fn run_cleanup(&self) -> bool {
        crate::sync::modelled("Heap::run_cleanup");
        let Some(root) = self.take_due_cleanup() else { return false };
        self.afterlife.take_due(1);
        // SAFETY: the slot came from `take_due_cleanup`, which gives it once.
        unless_panic(|| unsafe { GcP::current().heap().finish_task(root, true) });
        true
    }

    /// Takes the call out of a task, and runs it or drops it. Its root goes afterwards.
    ///
    /// # Safety
    /// `root` is the slot of a task that was not finished yet.
    unsafe fn finish_task(&'static self, root: u32, run: bool) {
        // SAFETY: the caller's contract: `add_cleanup` made the slot of a root of a task, whose head says its types.
        unsafe {
            let root = Root::<Conservative<Task>>::from_slot(self, root);
            let task = root.get();
            (task.finish)(self, task, run);
        }
    }
}
