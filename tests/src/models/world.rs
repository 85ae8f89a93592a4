//! Worlds for models. In the first one thread holds the P and collects; the others are in system calls, so a stop has
//! nobody to wait for.

use gc_core::{Config, Entered, Gc, GcP, Heap, Scanner, StopReason, Stress, World};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::cell::Cell;

pub struct Syscalls {
    heap: Cell<Option<&'static Heap>>,
}

// SAFETY: set once, before the model's threads start; loom runs one thread at a time.
unsafe impl Sync for Syscalls {}

impl Syscalls {
    /// A heap whose cycles are verified, and this thread as the holder of its P.
    pub fn start() -> &'static Heap {
        Self::start_with(Config { verify: true, ..Config::default() })
    }

    /// As `start`, without the verifier, which would find what is lost before it is freed.
    pub fn start_unverified() -> &'static Heap {
        Self::start_with(Config::default())
    }

    fn start_with(config: Config) -> &'static Heap {
        let world: &'static Syscalls = Box::leak(Box::new(Syscalls { heap: Cell::new(None) }));
        let heap = Heap::new(config, world).expect("a heap");
        world.heap.set(Some(heap));
        heap.acquire_p(heap.new_p());
        heap
    }
}

// SAFETY: only one thread holds a P.
unsafe impl World for Syscalls {
    fn stop_the_world(&self, _: StopReason) {}
    fn start_the_world(&self) {}
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        self.heap.get().expect("set").ps().for_each(f);
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        0
    }
    fn scan_stack(&self, _: usize, _: &mut Scanner<'_>) -> bool {
        true
    }
    fn scan_roots(&self, _: &mut Scanner<'_>) {}
    fn entered(&self) -> &'static Entered {
        Box::leak(Box::new(Entered::new()))
    }
    fn wake_workers(&self) {}
    fn pause(&self) {}
}

/// A `World` of two threads that both hold a P: the model's first thread collects, the other one mutates. The
/// mutator's stack is explicit.
pub struct TwoPs {
    heap: Cell<Option<&'static Heap>>,
    state: Mutex<Mutator>,
    changed: Condvar,
    /// What the mutator has mutable access to.
    entered: &'static Entered,
    /// A word of some other stack that may name an object.
    stale: Cell<usize>,
}

struct Mutator {
    /// The collector stops the world, or has.
    stopping: bool,
    /// The mutator holds no P: it has not begun, waits for a stop to end, or has ended.
    away: bool,
    /// The cycle in which its stack was scanned.
    stamp: u32,
    stack: Vec<usize>,
}

// SAFETY: the heap is set once, before the model's threads start; the rest is under the lock.
unsafe impl Sync for TwoPs {}

impl TwoPs {
    /// A heap, and this thread as the holder of its first P.
    pub fn start() -> &'static TwoPs {
        TwoPs::start_with(Config { procs: 2, ..Config::default() })
    }

    /// As `start`; the verifier looks at each cycle.
    pub fn start_verified() -> &'static TwoPs {
        TwoPs::start_with(Config { procs: 2, verify: true, ..Config::default() })
    }

    /// As `start`; marks stay for the next cycle.
    pub fn start_partial() -> &'static TwoPs {
        let mut stress = Stress::default();
        stress.partial = true;
        TwoPs::start_with(Config { procs: 2, stress, ..Config::default() })
    }

    fn start_with(config: Config) -> &'static TwoPs {
        let mutator = Mutator { stopping: false, away: true, stamp: 0, stack: Vec::new() };
        let world: &'static TwoPs = Box::leak(Box::new(TwoPs {
            heap: Cell::new(None),
            state: Mutex::new(mutator),
            changed: Condvar::new(),
            entered: Box::leak(Box::new(Entered::new())),
            stale: Cell::new(0),
        }));
        let heap = Heap::new(config, world).expect("a heap");
        world.heap.set(Some(heap));
        heap.acquire_p(heap.new_p());
        world
    }

    fn heap(&self) -> &'static Heap {
        self.heap.get().expect("set by start")
    }

    /// One whole cycle.
    pub fn collect(&self) {
        self.heap().collect();
    }

    /// One cycle, which may be partial.
    pub fn cycle(&self) {
        self.heap().collect_some();
    }

    /// Whether the slot at `addr` holds an object.
    pub fn alive(&self, addr: usize) -> bool {
        self.heap().find_object(addr) == Some(addr)
    }

    /// From now on a stack beside the mutator's has this word, which means nothing. Before the threads start.
    pub fn set_stale_word(&self, word: usize) {
        self.stale.set(word);
    }

    /// Runs `f` as the mutator.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let p = self.heap().new_p();
        self.come_back(p);
        let result = f();
        self.go_away(p);
        result
    }

    fn come_back(&self, p: &'static GcP) {
        let mut state = self.state.lock().unwrap();
        while state.stopping {
            state = self.changed.wait(state).unwrap();
        }
        state.away = false;
        self.heap().acquire_p(p);
    }

    fn go_away(&self, p: &'static GcP) {
        self.heap().release_p(p);
        self.state.lock().unwrap().away = true;
        self.changed.notify_all();
    }

    /// A safepoint of the mutator: its stack is scanned if that is due, and a stop is honoured.
    pub fn safepoint(&self) {
        let p = GcP::current();
        if self.heap().marking() {
            // SAFETY: this thread holds `p`, and marking is on.
            self.scan(&mut self.state.lock().unwrap(), &mut unsafe { self.heap().scanner(p) });
        }
        if self.state.lock().unwrap().stopping {
            self.go_away(p);
            self.come_back(p);
        }
    }

    /// Puts an object on the mutator's stack.
    pub fn push<T>(&self, object: Gc<T>) {
        self.state.lock().unwrap().stack.push(Gc::as_ptr(object).addr());
    }

    /// Address of the last one.
    pub fn top(&self) -> Option<usize> {
        self.state.lock().unwrap().stack.last().copied()
    }

    /// Runs up to `budget` drops and cleanups; says how many.
    pub fn bury(&self, budget: usize) -> usize {
        self.heap().run_afterlife(budget)
    }

    /// Takes the last one off.
    pub fn pop(&self) {
        self.state.lock().unwrap().stack.pop();
    }

    fn scan(&self, state: &mut Mutator, scanner: &mut Scanner<'_>) {
        if state.stamp != scanner.cycle() {
            state.stamp = scanner.cycle();
            state.stack.iter().for_each(|word| scanner.object(std::ptr::with_exposed_provenance::<()>(*word)));
            // SAFETY: the mutator is away, or this is the mutator.
            unsafe { scanner.entered(self.entered) };
        }
    }
}

// SAFETY: a stop waits until the mutator is away, which it becomes through `release_p`; it comes back through
// `acquire_p`, not while the world is stopped.
unsafe impl World for TwoPs {
    fn stop_the_world(&self, _: StopReason) {
        let mut state = self.state.lock().unwrap();
        state.stopping = true;
        while !state.away {
            state = self.changed.wait(state).unwrap();
        }
    }
    fn start_the_world(&self) {
        self.state.lock().unwrap().stopping = false;
        self.changed.notify_all();
    }
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        self.stop_the_world(StopReason::User);
        self.heap().ps().for_each(f);
        self.start_the_world();
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        1
    }
    fn scan_stack(&self, _: usize, scanner: &mut Scanner<'_>) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.away {
            self.scan(&mut state, scanner);
        }
        state.away || state.stamp == scanner.cycle()
    }
    fn scan_roots(&self, scanner: &mut Scanner<'_>) {
        let word = self.stale.as_ptr().cast_const();
        // SAFETY: one word, which nobody changes any more.
        unsafe { scanner.conservative(word, word.add(1)) };
    }
    fn entered(&self) -> &'static Entered {
        self.entered
    }
    fn wake_workers(&self) {}
    fn pause(&self) {
        thread::yield_now();
    }
}
