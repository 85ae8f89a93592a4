//! A `World` of plain threads: the smallest host that is real. Stacks and registers are scanned conservatively.
//!
//! A thread is in one of three states. *Running*: it holds its P, and its stack may change. *At a safepoint*: it holds
//! its P and works for the collector; its stack above `lo` is frozen. *Away*: it holds no P (it waits for a stop to
//! end, or is in `World::away`); its stack is frozen too. A stop waits until every other thread is away.
//!
//! All that orders threads here is gc-core's own: ThreadSanitizer does not see into the locks of std, unless std is
//! built anew for it.
#![allow(dead_code)] // each test uses a part

use gc_core::sync::{Guard, Lock, Rank};
use gc_core::{Config, Entered, GcP, Heap, Scanner, StopReason, World};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

pub struct ThreadWorld {
    heap: OnceLock<&'static Heap>,
    state: Lock<State>,
    /// Counts the changes that somebody may wait for; a futex.
    changes: AtomicU32,
}

#[derive(Default)]
struct State {
    threads: Vec<Arc<Mutator>>,
    /// Ps of threads that have ended.
    idle: Vec<&'static GcP>,
    /// Somebody stops the world, or has.
    stopping: bool,
}

struct Mutator {
    p: &'static GcP,
    /// Address behind the stack's first frame.
    hi: usize,
    stack: Lock<Stack>,
    /// Scanned with the stack.
    entered: Entered,
}

struct Stack {
    /// Everything from here to `hi` is frozen; 0 while the thread runs.
    lo: usize,
    /// The cycle in which it was scanned.
    stamp: u32,
    away: bool,
    ended: bool,
}

std::thread_local! {
    static ME: Cell<*const Mutator> = const { Cell::new(std::ptr::null()) };
}

fn me() -> &'static Mutator {
    // SAFETY: set by `enter` for as long as the thread is inside; the list keeps the mutator for ever.
    unsafe { &*ME.get() }
}

impl ThreadWorld {
    pub fn start(config: Config) -> (&'static ThreadWorld, &'static Heap) {
        let world: &'static ThreadWorld = Box::leak(Box::new(ThreadWorld {
            heap: OnceLock::new(),
            state: Lock::new(Rank::Unranked, State::default()),
            changes: AtomicU32::new(0),
        }));
        let heap = Heap::new(config, world).expect("a heap");
        let _ = world.heap.set(heap);
        (world, heap)
    }

    fn heap(&self) -> &'static Heap {
        self.heap.get().expect("set by start")
    }

    /// Runs `f` as a mutator on this thread.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let (mut f, mut result) = (Some(f), None);
        let hi = (&raw const f).addr() + size_of_val(&f);
        // Not inlined: all that runs as a mutator has its frames below `f`.
        self.enter_below(hi.next_multiple_of(8), &mut || result = f.take().map(|f| f()));
        result.expect("it has run")
    }

    #[inline(never)]
    fn enter_below(&self, hi: usize, f: &mut dyn FnMut()) {
        let idle = self.lock().idle.pop();
        let p = idle.unwrap_or_else(|| self.heap().new_p());
        let stack = Lock::new(Rank::Unranked, Stack { lo: 0, stamp: 0, away: true, ended: false });
        let mutator = Arc::new(Mutator { p, hi, stack, entered: Entered::new() });
        ME.set(Arc::as_ptr(&mutator));
        self.state.lock().threads.push(mutator);
        self.come_back();
        f();
        self.heap().release_p(p);
        let mut stack = me().stack.lock();
        (stack.away, stack.ended) = (true, true);
        drop(stack);
        self.lock().idle.push(p);
        self.notify_all();
        ME.set(std::ptr::null());
    }

    /// Waits until the world is not stopped, then takes the P back.
    fn come_back(&self) {
        let state = self.wait_while(self.lock(), |s| s.stopping);
        let mut stack = me().stack.lock();
        stack.away = false;
        if !self.heap().marking() {
            // Born between cycles, or away over the end of one: nothing is owed to this one.
        }
        drop(stack);
        self.heap().acquire_p(me().p);
        drop(state);
    }

    fn go_away(&self) {
        self.heap().release_p(me().p);
        me().stack.lock().away = true;
        // A stopper that has just looked, under this lock, sleeps by now, and hears it.
        drop(self.lock());
        self.notify_all();
    }

    /// Runs `f` with this thread's stack frozen above it and its registers in it.
    #[inline(never)]
    fn frozen<R>(&self, f: &mut dyn FnMut() -> R) -> R {
        let mut registers = [0usize; 6];
        // SAFETY: stores the callee-saved registers, which may hold the only copy of a pointer.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "mov [{0}], rbx", "mov [{0} + 8], rbp", "mov [{0} + 16], r12", "mov [{0} + 24], r13",
                "mov [{0} + 32], r14", "mov [{0} + 40], r15", in(reg) registers.as_mut_ptr());
        }
        me().stack.lock().lo = registers.as_ptr().addr();
        let result = f();
        // Waits for whoever scans.
        me().stack.lock().lo = 0;
        std::hint::black_box(&registers);
        result
    }

    /// A wait of the host's own (join, lock): the thread does not hold up stops.
    pub fn away<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut f = Some(f);
        self.frozen(&mut || {
            self.go_away();
            let result = f.take().unwrap()();
            self.come_back();
            result
        })
    }

    /// A safepoint, if one is wanted.
    pub fn poll(&self) {
        if me().p.preempt.load(Ordering::Relaxed) {
            self.at_safepoint(&mut || {});
        }
    }

    /// Whether this thread's stack was scanned in the current cycle.
    pub fn scanned(&self) -> bool {
        me().stack.lock().stamp == self.heap().cycle()
    }

    /// Works for the collector.
    pub fn work(&self, work: &mut dyn FnMut()) {
        self.at_safepoint(work);
    }

    fn lock(&self) -> Guard<'_, State> {
        self.state.lock()
    }

    /// Sleeps while the state is such. Whoever changes it does so under its lock and calls `notify_all` then.
    fn wait_while<'a>(&'a self, mut state: Guard<'a, State>, such: impl Fn(&State) -> bool) -> Guard<'a, State> {
        while such(&state) {
            // Under the lock: a later change makes it a different number.
            let seen = self.changes.load(Ordering::SeqCst);
            drop(state);
            self.futex(libc::FUTEX_WAIT, seen);
            state = self.lock();
        }
        state
    }

    fn notify_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.futex(libc::FUTEX_WAKE, i32::MAX as u32);
    }

    fn futex(&self, operation: i32, value: u32) {
        let no_limit = std::ptr::null::<libc::timespec>();
        // SAFETY: the word is alive; a wait has no limit.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.changes.as_ptr(),
                operation | libc::FUTEX_PRIVATE_FLAG,
                value,
                no_limit,
            );
        }
    }
}

// SAFETY: a stop waits until every other thread is away, which it becomes through `release_p`; a thread comes back
// through `acquire_p`, not while the world is stopped.
unsafe impl World for ThreadWorld {
    fn stop_the_world(&self, _: StopReason) {
        let mut state = self.lock();
        while state.stopping {
            // Another stop: give way, as everyone else does.
            drop(state);
            self.go_away();
            self.come_back();
            state = self.lock();
        }
        state.stopping = true;
        state.threads.iter().for_each(|t| t.p.preempt.store(true, Ordering::SeqCst));
        let all_away = |s: &State| s.threads.iter().all(|t| std::ptr::eq(&**t, me()) || t.stack.lock().away);
        drop(self.wait_while(state, |s| !all_away(s)));
    }

    fn start_the_world(&self) {
        let mut state = self.lock();
        state.stopping = false;
        drop(state);
        self.notify_all();
    }

    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        self.stop_the_world(StopReason::User);
        self.heap().ps().for_each(f);
        self.start_the_world();
    }

    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        self.frozen(&mut || {
            me().p.preempt.store(false, Ordering::SeqCst);
            if self.lock().stopping {
                self.go_away();
                self.come_back();
            }
            work();
        });
    }

    fn begin_mark(&self, _: u32) -> usize {
        let state = self.lock();
        // Everyone comes to a safepoint soon, where others can scan its stack.
        state.threads.iter().for_each(|t| t.p.preempt.store(true, Ordering::SeqCst));
        state.threads.len()
    }

    fn scan_stack(&self, i: usize, scanner: &mut Scanner<'_>) -> bool {
        let thread = self.lock().threads[i].clone();
        let mut stack = thread.stack.lock();
        if stack.ended || (stack.stamp == scanner.cycle() && !scanner.verifying()) {
            return true;
        }
        if stack.lo == 0 {
            thread.p.preempt.store(true, Ordering::SeqCst);
            return false;
        }
        stack.stamp = scanner.cycle();
        // SAFETY: frozen until the lock is released.
        unsafe {
            scanner.conservative(stack.lo as *const usize, thread.hi as *const usize);
            scanner.entered(&thread.entered);
        }
        true
    }

    fn scan_roots(&self, _: &mut Scanner<'_>) {}

    fn entered(&self) -> &'static Entered {
        &me().entered
    }

    fn wake_workers(&self) {}

    fn pause(&self) {
        self.at_safepoint(&mut || {});
        std::thread::yield_now();
    }
}
