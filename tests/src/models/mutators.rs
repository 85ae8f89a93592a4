//! A `World` of goroutines with explicit stacks, on threads with a P each. The ragged barrier is one: each P runs its function
//! when it comes by, the others go on.
//!
//! A goroutine runs on one thread at a time, and one thread may run several in turn. The stack of one that does not run can
//! be scanned by whoever marks; one that runs scans itself at a safepoint.

use gc_core::sync::current;
use gc_core::{Config, Entered, Gc, GcP, Heap, Scanner, StopReason, World};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;
use std::cell::Cell;

pub struct Mutators {
    heap: Cell<Option<&'static Heap>>,
    state: Mutex<State>,
    changed: Condvar,
    entered: &'static Entered,
    /// A word of some stack that may name an object.
    stale: Cell<usize>,
}

/// What a ragged barrier runs; no longer than it lasts.
type OnEachP = &'static (dyn Fn(&GcP) + Sync);

struct State {
    stopping: bool,
    /// A ragged barrier: what to run on each P, and where that is still to be done.
    ragged: Option<(OnEachP, Vec<&'static GcP>)>,
    goroutines: Vec<Goroutine>,
}

struct Goroutine {
    running: bool,
    /// The cycle in which its stack was scanned.
    stamp: u32,
    stack: Vec<usize>,
    /// The P with which it runs.
    p: &'static GcP,
}

// SAFETY: the cells are set before the model's threads start; the rest is under the lock.
unsafe impl Sync for Mutators {}

impl Mutators {
    /// A heap, this thread as the holder of its first P, and a goroutine for each of `ps`, with a P of its own or that of an
    /// earlier one.
    pub fn start(ps: &[usize]) -> &'static Mutators {
        let world: &'static Mutators = Box::leak(Box::new(Mutators {
            heap: Cell::new(None),
            state: Mutex::new(State { stopping: false, ragged: None, goroutines: Vec::new() }),
            changed: Condvar::new(),
            entered: Box::leak(Box::new(Entered::new())),
            stale: Cell::new(0),
        }));
        let heap = Heap::new(Config { procs: 2, ..Config::default() }, world).expect("a heap");
        world.heap.set(Some(heap));
        heap.acquire_p(heap.new_p());
        let mut made = Vec::new();
        for p in ps {
            if *p == made.len() {
                made.push(heap.new_p());
            }
            world.state().goroutines.push(Goroutine { running: false, stamp: 0, stack: Vec::new(), p: made[*p] });
        }
        world
    }

    pub fn heap(&self) -> &'static Heap {
        self.heap.get().expect("set by start")
    }

    /// One whole cycle.
    pub fn collect(&self) {
        self.heap().collect();
    }

    /// Whether the slot at `addr` holds an object.
    pub fn alive(&self, addr: usize) -> bool {
        self.heap().find_object(addr) == Some(addr)
    }

    /// From now on a stack has this word, which means nothing. Before the threads start.
    pub fn set_stale_word(&self, word: usize) {
        self.stale.set(word);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap()
    }

    /// Starts a thread that runs goroutine `g`.
    pub fn go<R: 'static>(&'static self, g: usize, f: impl FnOnce() -> R + 'static) -> thread::JoinHandle<R> {
        thread::spawn(move || self.run(g, f))
    }

    /// Runs goroutine `g` on this thread, which holds no P.
    fn run<R>(&self, g: usize, f: impl FnOnce() -> R) -> R {
        current::set_m(std::ptr::without_provenance_mut(g + 1));
        self.take_p(g);
        let result = f();
        self.give_p();
        result
    }

    /// The goroutine that this thread runs.
    fn me(&self) -> Option<usize> {
        current::m().addr().checked_sub(1)
    }

    fn take_p(&self, g: usize) {
        let mut state = self.state();
        while state.stopping {
            state = self.wait(state);
        }
        state.goroutines[g].running = true;
        self.heap().acquire_p(state.goroutines[g].p);
    }

    fn give_p(&self) {
        self.heap().release_p(GcP::current());
        let g = self.me().expect("a goroutine");
        self.state().goroutines[g].running = false;
        self.changed.notify_all();
    }

    /// A system call of this goroutine: `f` runs without a P.
    pub fn syscall<R>(&self, f: impl FnOnce() -> R) -> R {
        self.give_p();
        let result = f();
        self.take_p(self.me().expect("a goroutine"));
        result
    }

    /// Where this goroutine can be stopped, or asked to flush its P, but does not scan itself.
    pub fn stop_point(&self) {
        let Some(g) = self.me() else { return };
        let mut state = self.state();
        if let Some((f, left)) = &mut state.ragged
            && let Some(at) = left.iter().position(|p| std::ptr::eq(*p, GcP::current()))
        {
            f(left.swap_remove(at));
            self.changed.notify_all();
        }
        if state.stopping {
            drop(state);
            self.give_p();
            self.take_p(g);
        }
    }

    /// A safepoint: this goroutine's stack is scanned if that is due, and a stop is honoured.
    pub fn safepoint(&self) {
        if let (Some(g), true) = (self.me(), self.heap().marking()) {
            // SAFETY: this thread holds its P, and marking is on.
            scan(&mut self.state().goroutines[g], &mut unsafe { self.heap().scanner(GcP::current()) });
        }
        self.stop_point();
    }

    /// Goes on as goroutine `g`, with the same P; this one is parked.
    pub fn switch_to(&self, g: usize) {
        let me = self.me().expect("a goroutine");
        let mut state = self.state();
        state.goroutines[me].running = false;
        state.goroutines[g].running = true;
        self.changed.notify_all();
        drop(state);
        current::set_m(std::ptr::without_provenance_mut(g + 1));
    }

    /// Goroutine `g` is born now: while marking with a black stack.
    pub fn born(&self, g: usize) {
        self.state().goroutines[g].stamp = if self.heap().marking() { self.heap().cycle() } else { 0 };
    }

    /// Puts an object on the stack of goroutine `g`.
    pub fn push_on<T>(&self, g: usize, object: Gc<T>) {
        self.state().goroutines[g].stack.push(Gc::as_ptr(object).addr());
    }

    /// Puts an object on this goroutine's stack.
    pub fn push<T>(&self, object: Gc<T>) {
        self.push_on(self.me().expect("a goroutine"), object);
    }

    /// Takes the last one off.
    pub fn pop(&self) {
        let g = self.me().expect("a goroutine");
        self.state().goroutines[g].stack.pop();
    }
}

fn scan(goroutine: &mut Goroutine, scanner: &mut Scanner<'_>) {
    if goroutine.stamp != scanner.cycle() {
        goroutine.stamp = scanner.cycle();
        goroutine.stack.iter().for_each(|word| scanner.object(std::ptr::with_exposed_provenance::<()>(*word)));
    }
}

// SAFETY: a stop waits until no goroutine runs; each has released its P then, and takes it back when the stop is over. Only
// the thread that holds the first P stops the world.
unsafe impl World for Mutators {
    fn stop_the_world(&self, _: StopReason) {
        let mut state = self.state();
        state.stopping = true;
        while state.goroutines.iter().any(|g| g.running) {
            state = self.wait(state);
        }
    }
    fn start_the_world(&self) {
        self.state().stopping = false;
        self.changed.notify_all();
    }
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        // SAFETY: nobody has it any more when this returns.
        let f = unsafe { std::mem::transmute::<&(dyn Fn(&GcP) + Sync), OnEachP>(f) };
        let mut state = self.state();
        state.ragged = Some((f, self.heap().ps().collect()));
        loop {
            let State { ragged, goroutines, .. } = &mut *state;
            let (_, left) = ragged.as_mut().expect("set above");
            left.retain(|p| {
                let runs = goroutines.iter().any(|g| g.running && std::ptr::eq(g.p, *p));
                if !runs {
                    f(p);
                }
                runs
            });
            if left.is_empty() {
                state.ragged = None;
                return;
            }
            state = self.wait(state);
        }
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        self.stop_point();
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        self.state().goroutines.len()
    }
    fn scan_stack(&self, i: usize, scanner: &mut Scanner<'_>) -> bool {
        let mut state = self.state();
        let goroutine = &mut state.goroutines[i];
        if !goroutine.running {
            scan(goroutine, scanner);
        }
        goroutine.stamp == scanner.cycle()
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
