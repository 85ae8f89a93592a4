//! A `World` in which threads share fewer Ps than they are. A goroutine is a thread with an explicit stack; it runs while its
//! thread holds a P, and comes to safepoints where the model says so. A P whose holder comes to a stop is kept, and given back
//! to the same thread; one whose holder makes a system call is anybody's. Handshakes and stops queue as those of the runtime.

use super::graph::Graph;
use super::mutate::Runs;
use gc_core::sync::current;
use gc_core::{Config, Entered, GcP, Heap, Scanner, StopReason, World};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread;
use std::cell::Cell;

/// Ps of every model's heap.
const PROCS: usize = 2;

pub struct Host {
    heap: Cell<Option<&'static Heap>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Nobody has mutable access to anything.
    entered: &'static Entered,
    /// The stacks, and what the oracle knows.
    pub graph: Graph,
}

/// What a handshake runs; no longer than it lasts.
type OnEachP = &'static (dyn Fn(&GcP) + Sync);

struct State {
    /// Ps that nobody holds.
    idle: Vec<&'static GcP>,
    /// How many wait at the door for the end of a stop, with their P.
    stopped: usize,
    stopping: bool,
    /// A handshake: what to run on each P, and where that is still to be done.
    handshake: Option<(OnEachP, Vec<&'static GcP>)>,
    goroutines: Vec<Goroutine>,
}

#[derive(Clone, Default)]
struct Goroutine {
    running: bool,
    /// The cycle in which its stack was scanned.
    stamp: u32,
}

// SAFETY: `heap` is set before the model's threads start, `graph` is not shared by OS threads; the rest is under the lock.
unsafe impl Sync for Host {}

impl Host {
    /// A heap, and so many goroutines. This thread holds a P and runs none.
    pub fn start(goroutines: usize, config: Config) -> &'static Host {
        let host: &'static Host = Box::leak(Box::new(Host {
            heap: Cell::new(None),
            state: Mutex::new(State {
                idle: Vec::new(),
                stopped: 0,
                stopping: false,
                handshake: None,
                goroutines: vec![Goroutine::default(); goroutines],
            }),
            changed: Condvar::new(),
            entered: Box::leak(Box::new(Entered::new())),
            graph: Graph::new(goroutines),
        }));
        let heap = Heap::new(Config { procs: PROCS, ..config }, host).expect("a heap");
        host.heap.set(Some(heap));
        host.state().idle.extend((0..PROCS).map(|_| heap.new_p()));
        host.take_p();
        host
    }

    pub fn heap(&self) -> &'static Heap {
        self.heap.get().expect("set by start")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap()
    }

    /// Starts a thread that runs goroutine `g`.
    pub fn go(&'static self, g: usize, f: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            current::set_g(std::ptr::without_provenance_mut(g + 1));
            self.take_p();
            f();
            self.give_p();
        })
    }

    /// The goroutine that this thread runs.
    pub fn me(&self) -> Option<usize> {
        current::g().addr().checked_sub(1)
    }

    /// Waits for a P. From then on this thread's goroutine runs.
    pub fn take_p(&self) {
        let mut state = self.state();
        let p = loop {
            if !state.stopping
                && let Some(p) = state.idle.pop()
            {
                break p;
            }
            state = self.wait(state);
        };
        self.heap().acquire_p(p);
        self.runs(&mut state, true);
    }

    /// This thread's goroutine stops running, and its P is anybody's.
    pub fn give_p(&self) {
        let p = GcP::current();
        self.heap().release_p(p);
        let mut state = self.state();
        self.runs(&mut state, false);
        state.idle.push(p);
        self.changed.notify_all();
    }

    fn runs(&self, state: &mut State, running: bool) {
        if let Some(g) = self.me() {
            state.goroutines[g].running = running;
        }
    }

    /// A blocking call: `f` runs without a P.
    pub fn blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        self.give_p();
        let result = f();
        self.take_p();
        result
    }

    /// What others want of this thread's P is done: a handshake's function, a stop.
    fn door<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let p = GcP::current();
        loop {
            p.preempt.store(false, gc_core::sync::Ordering::SeqCst);
            self.shake_hands(&mut state, &|of| std::ptr::eq(of, p));
            if !state.stopping {
                return state;
            }
            drop(state);
            self.heap().release_p(p);
            state = self.state();
            state.stopped += 1;
            self.changed.notify_all();
            while state.stopping {
                state = self.wait(state);
            }
            state.stopped -= 1;
            self.heap().acquire_p(p);
        }
    }

    /// Runs a handshake's function, if one is wanted, for those Ps.
    fn shake_hands(&self, state: &mut State, whose: &dyn Fn(&GcP) -> bool) {
        if let Some((f, left)) = &mut state.handshake {
            let before = left.len();
            left.retain(|p| !whose(p) || (f(p), false).1);
            if left.len() < before {
                self.changed.notify_all();
            }
        }
    }

    fn ask_all(&self) {
        self.heap().ps().for_each(|p| p.preempt.store(true, gc_core::sync::Ordering::SeqCst));
    }

    /// A safepoint of a goroutine: its stack is scanned if that is due, and it comes by the door.
    pub fn safepoint(&self) {
        let mut state = self.state();
        if let (Some(g), true) = (self.me(), self.heap().marking()) {
            // SAFETY: this thread holds its P, and marking is on.
            self.scan(&mut state, g, &mut unsafe { self.heap().scanner(GcP::current()) });
        }
        drop(self.door(state));
    }

    fn scan(&self, state: &mut State, g: usize, scanner: &mut Scanner<'_>) {
        if state.goroutines[g].stamp != scanner.cycle() || scanner.verifying() {
            state.goroutines[g].stamp = scanner.cycle();
            let words = self.graph.stack(g);
            words.into_iter().for_each(|word| scanner.object(std::ptr::with_exposed_provenance::<()>(word)));
        }
    }
}

impl Runs for Host {
    const STACK: usize = 4;
    fn graph(&self) -> &Graph {
        &self.graph
    }
    fn safepoint(&self, _: usize) {
        Host::safepoint(self);
    }
    fn blocking(&self, _: usize) {
        Host::blocking(self, thread::yield_now);
    }
}

// SAFETY: a stop waits until every other P is idle or at the door, and neither is taken before it has ended.
unsafe impl World for Host {
    fn stop_the_world(&self, _: StopReason) {
        let mut state = self.state();
        while state.stopping {
            state = self.door(state);
        }
        state.stopping = true;
        self.ask_all();
        while state.idle.len() + state.stopped < PROCS - 1 {
            let me = GcP::current();
            self.shake_hands(&mut state, &|p| std::ptr::eq(p, me));
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
        let mut state = self.door(self.state());
        while state.handshake.is_some() {
            state = self.door(self.wait(state));
        }
        state.handshake = Some((f, self.heap().ps().collect()));
        self.ask_all();
        loop {
            state = self.door(state);
            let idle = state.idle.clone();
            self.shake_hands(&mut state, &|p| idle.iter().any(|i| std::ptr::eq(*i, p)));
            if state.handshake.as_ref().is_some_and(|(_, left)| left.is_empty()) {
                state.handshake = None;
                self.changed.notify_all();
                return;
            }
            state = self.wait(state);
        }
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        // As `mcall`: at rest on its stack the goroutine can be scanned by others, and by `work`.
        let mut state = self.door(self.state());
        self.runs(&mut state, false);
        drop(state);
        work();
        let mut state = self.door(self.state());
        self.runs(&mut state, true);
    }
    fn begin_mark(&self, _: u32) -> usize {
        self.state().goroutines.len()
    }
    fn scan_stack(&self, g: usize, scanner: &mut Scanner<'_>) -> bool {
        let mut state = self.state();
        if !state.goroutines[g].running || scanner.verifying() {
            self.scan(&mut state, g, scanner);
        }
        state.goroutines[g].stamp == scanner.cycle()
    }
    fn scan_roots(&self, _: &mut Scanner<'_>) {}
    fn entered(&self) -> &'static Entered {
        self.entered
    }
    fn wake_workers(&self) {}
    fn pause(&self) {
        drop(self.door(self.state()));
        thread::yield_now();
    }
}
