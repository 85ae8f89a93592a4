//! Roots: where marking starts, cut into jobs that markers take one by one.
//!
//! Job 0 is the host's own tables, then come pieces of the table of [`Root`](crate::Root) slots, then one job per
//! stack. A stack is scanned once per cycle, in one atomic step for its goroutine (I4); a goroutine that runs scans
//! itself at its next safepoint, and its job waits in a list until somebody sees that this has happened. Marking cannot end
//! before every job is done.
//!
//! At most one goroutine runs on each P. But one that ran when its turn came still waits in the list when it has left, and if
//! the markers come along in the order in which the goroutines run, there are ever more of these. So the list may be full;
//! then most of those in it have left, and one of them is scanned for each that comes.

use super::work::GcWork;
use crate::faults::{self, Fault};
use crate::heap::{Heap, MAX_PS};
use crate::p::GcP;
use crate::stress::Window;
use crate::sync::{AtomicUsize, Lock, Ordering, Rank};

/// The jobs of a cycle.
pub(crate) struct Jobs {
    /// Root-table pieces of this cycle.
    pieces: AtomicUsize,
    total: AtomicUsize,
    next: AtomicUsize,
    /// Jobs that are not done.
    left: AtomicUsize,
    /// Stacks whose goroutine was running.
    retry: Lock<Retry>,
}

/// First in, first out, so that one that keeps running does not hide the others.
struct Retry {
    len: usize,
    /// More than can run at one time.
    stacks: [usize; MAX_PS + 8],
}

impl Retry {
    fn pop(&mut self) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let first = self.stacks[0];
        self.stacks.copy_within(1..self.len, 0);
        self.len -= 1;
        Some(first)
    }

    /// Appends a stack; if there is no room, instead of the first one, which it returns.
    fn push(&mut self, stack: usize) -> Option<usize> {
        let first = if self.len == self.stacks.len() { self.pop() } else { None };
        self.stacks[self.len] = stack;
        self.len += 1;
        first
    }
}

impl Jobs {
    pub fn new() -> Jobs {
        Jobs {
            pieces: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            retry: Lock::new(Rank::RootRetry, Retry { len: 0, stacks: [0; MAX_PS + 8] }),
        }
    }

    /// Sets up a cycle's jobs. The world is stopped.
    pub fn start(&self, pieces: usize, stacks: usize) {
        // Relaxed: the stop orders them.
        self.pieces.store(pieces, Ordering::Relaxed);
        self.total.store(1 + pieces + stacks, Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.left.store(1 + pieces + stacks, Ordering::Relaxed);
        self.retry.lock().len = 0;
    }

    /// How many stacks this cycle has.
    pub fn stacks(&self) -> usize {
        self.total.load(Ordering::Relaxed) - 1 - self.pieces.load(Ordering::Relaxed)
    }

    /// Whether every job is done.
    pub fn done(&self) -> bool {
        // Acquire: pairs with the Release in `finish`: what the jobs shaded is seen.
        self.left.load(Ordering::Acquire) == 0
    }

    fn finish(&self) {
        self.left.fetch_sub(1, Ordering::Release);
    }
}

/// Feeds roots to the marker (or to the verifier). Handed to the host, which says what the roots are.
pub struct Scanner<'a> {
    heap: &'a Heap,
    sink: Sink<'a>,
}

enum Sink<'a> {
    Mark(&'a mut GcWork),
    Verify(&'a mut dyn FnMut(Found)),
}

/// What the verifier hears of.
pub(crate) enum Found {
    /// The base of an object, or null.
    Typed(usize),
    /// A word that may point to an object.
    Word(usize),
    /// The words of a value inside an object that its mutator may change by plain stores.
    Lent(usize, usize),
}

impl<'a> Scanner<'a> {
    pub(crate) fn verify(heap: &'a Heap, sink: &'a mut dyn FnMut(Found)) -> Scanner<'a> {
        Scanner { heap, sink: Sink::Verify(sink) }
    }

    /// The number of the current cycle, with which a goroutine's stamp is compared.
    pub fn cycle(&self) -> u32 {
        self.heap.cycle()
    }

    /// Whether this is the verifier's walk: the world is stopped, and every root is wanted again, stamps or not.
    pub fn verifying(&self) -> bool {
        matches!(self.sink, Sink::Verify(_))
    }

    /// A typed root: the base of an object, or null.
    pub fn object<T: ?Sized>(&mut self, base: *const T) {
        let base = base.cast::<()>().expose_provenance();
        match &mut self.sink {
            Sink::Mark(gcw) => self.heap.shade(gcw, base),
            Sink::Verify(f) => f(Found::Typed(base)),
        }
    }

    /// Memory any aligned word of which may be a pointer into the heap: a stack, spilled registers.
    ///
    /// # Safety
    /// `lo..hi` is readable and word-aligned, and no thread writes it meanwhile.
    pub unsafe fn conservative(&mut self, lo: *const usize, hi: *const usize) {
        if faults::active(Fault::SkipStacks) {
            return;
        }
        let mut at = lo;
        while at < hi {
            // SAFETY: the caller's contract. Volatile: the frames there are not this function's objects.
            let word = unsafe { at.read_volatile() };
            match &mut self.sink {
                Sink::Mark(gcw) => self.heap.shade_conservatively(gcw, word),
                Sink::Verify(f) => f(Found::Word(word)),
            }
            // SAFETY: still inside the range.
            at = unsafe { at.add(1) };
        }
    }
}

impl Scanner<'_> {
    /// The words of a value in an object that a mutator is inside of.
    ///
    /// # Safety
    /// As [`conservative`](Scanner::conservative).
    pub(crate) unsafe fn lent(&mut self, lo: *const usize, hi: *const usize) {
        if let Sink::Verify(f) = &mut self.sink {
            f(Found::Lent(lo.addr(), hi.addr()));
        }
        // SAFETY: the caller's contract.
        unsafe { self.conservative(lo, hi) }
    }
}

impl Heap {
    /// A scanner that shades into `p`'s work.
    ///
    /// # Safety
    /// This thread holds `p`, marking is on, and nothing else borrows the work of `p` while the scanner lives.
    pub unsafe fn scanner<'a>(&'a self, p: &'a GcP) -> Scanner<'a> {
        // SAFETY: the caller's contract.
        Scanner { heap: self, sink: Sink::Mark(unsafe { p.gcw() }) }
    }

    /// Does one root job. `false`: none is left that can be done now.
    pub(crate) fn root_job(&self, p: &GcP) -> bool {
        let jobs = &self.work.jobs;
        // Relaxed: the counter only hands out numbers; `start` was ordered by the stop.
        let (pieces, total) = (jobs.pieces.load(Ordering::Relaxed), jobs.total.load(Ordering::Relaxed));
        if jobs.next.load(Ordering::Relaxed) < total {
            let job = jobs.next.fetch_add(1, Ordering::Relaxed);
            if job < total {
                match job {
                    0 => {
                        // SAFETY: this thread holds `p`, and marking is on.
                        self.world.scan_roots(&mut unsafe { self.scanner(p) });
                        jobs.finish();
                    }
                    j if j <= pieces => {
                        // SAFETY: as above.
                        self.roots.scan_piece(j - 1, &mut unsafe { self.scanner(p) });
                        jobs.finish();
                    }
                    j => {
                        self.stack_job(p, j - 1 - pieces);
                    }
                }
                return true;
            }
        }
        let again = jobs.retry.lock().pop();
        again.is_some_and(|stack| self.stack_job(p, stack))
    }

    /// Scans a stack, or lets it wait if its goroutine runs; where too many wait, another one of them. Says whether one is
    /// done.
    fn stack_job(&self, p: &GcP, mut stack: usize) -> bool {
        loop {
            if self.scan_stack(p, stack) {
                self.work.jobs.finish();
                return true;
            }
            let waiting = self.work.jobs.retry.lock().push(stack);
            match waiting {
                Some(first) => stack = first,
                None => return false,
            }
        }
    }

    /// Scans a stack, unless its goroutine runs.
    fn scan_stack(&self, p: &GcP, stack: usize) -> bool {
        self.window(Window::BeforeStackScan);
        // What loses a pointer from a stack to a black object needs stacks that are scanned late.
        let late = [Fault::LeaveUnshaded, Fault::MutableUnscanned, Fault::NoInsertionBarrier, Fault::SkipBulkBarrier];
        faults::linger_for(&late, 1000);
        // SAFETY: this thread holds `p`, and marking is on.
        self.world.scan_stack(stack, &mut unsafe { self.scanner(p) })
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use crate::Config;
    use crate::testing::Alone;

    #[test]
    fn any_number_of_goroutines_may_run_just_when_their_turn_comes() {
        let world: &Alone = Box::leak(Box::new(Alone { asked: (0..3 * MAX_PS).map(|_| 0.into()).collect() }));
        let config = Config { percent: None, reserve: 64 * crate::heap::PAGE_SIZE, ..Config::default() };
        let heap = Heap::new(config, world).expect("a small heap");
        let p = heap.new_p();
        heap.acquire_p(p);
        heap.collect();
        assert!(world.asked.iter().all(|n| n.load(Ordering::Relaxed) == 2), "each is scanned once");
        heap.release_p(p);
    }
}
