//! Leaked goroutines: those that wait for ever, since nobody is left who could wake them.
//!
//! A goroutine waits for a channel, a mutex, a wait group or a result; each is an object of the heap, and only who has a
//! handle of it can wake the goroutine. A handle is a `Root` and, beside it, the object's address. To the collector it is a
//! root wherever it lies, and so is every goroutine's stack, so the object is alive either way. Here it is asked whether
//! anybody *else* has one. While the world is stopped (`Reach` in gc-core walks, nothing is marked):
//!
//! ```text
//! roots at first: roots that belong to no handle; the scheduler's tables; the stacks of goroutines that do not wait so;
//!   what a drop or a weak pointer may still bring to light; all memory of the process that is not the runtime's
//! a goroutine waits for an object that was reached, or for several (`select`), one of which was: it may be woken, so its stack
//!   is a root too; again, until none is left
//! who is left has leaked
//! ```
//!
//! **No reachable one may be called leaked**; the other way round is allowed (an old copy of a handle on a stack, or in
//! memory that malloc has had back, keeps a goroutine from being reported). Hence:
//!
//! - Memory outside the heap (malloc's, statics, thread-locals, stacks of other threads) is read word by word, through
//!   `/proc`, so that what vanishes meanwhile is an error and no fault. What the runtime has there (`each_own_mapping`) is left
//!   out: old addresses abound in it, handles do not.
//! - Objects are read word by word, also what the collector does not look at: handles are free of heap pointers in its eyes.
//! - A goroutine counts as waiting only from when it is queued, under the object's lock, until it is taken off the queue, under
//!   the same lock. What would break if it were taken for waiting until it is readied: a waker that was stopped in between
//!   may need the object no more.
//! - Threads outside the runtime, and those in blocking calls, go on meanwhile and may move a handle from memory that is yet
//!   to be read to such as has been; so it is read twice, and who is left must be left both times. (A handle that moves back
//!   and forth at the right moments twice, or lies in registers only, would still be missed: no such program is known.)
//!
//! A time limit, a file, a blocking call, a turn to stop the world are never leaks. A leaked goroutine stays as it is.

use super::names::{self, Frame};
use super::rows::Row;
use crate::g::{self, G};
use crate::gc::on_goroutine;
use crate::sched::Sched;
use crate::world::scan_g;
use core::fmt;
use core::panic::Location;
use core::time::Duration;
use gc_core::faults::{self, Fault};
use gc_core::sync::Ordering;
use gc_core::{Gc, Pile, Reach, StopReason};
use std::io;

/// A goroutine that nobody can wake any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Leak {
    /// Its number, as in dumps.
    pub goroutine: u64,
    /// What it waits for: `chan receive`, `chan send`, `select`, `mutex lock`, `wait group` or `join`.
    pub waits_for: &'static str,
    /// For how long it has.
    pub waiting: Duration,
    /// Where it is, innermost first, from the function of the runtime in which it waits.
    pub stack: Vec<Frame>,
    /// The call of `spawn` that has made it; `None`: it is the main goroutine.
    pub created_at: Option<&'static Location<'static>>,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goroutine {} [{}, {} ms]:", self.goroutine, self.waits_for, self.waiting.as_millis())?;
        self.stack.iter().try_for_each(|frame| write!(f, "\n\t{frame}"))?;
        match self.created_at {
            Some(place) => write!(f, "\n\tcreated at {}:{}", place.file(), place.line()),
            None => Ok(()),
        }
    }
}

/// The goroutines that wait for ever: on a channel, mutex, wait group or join handle that nobody else can get at who is not
/// waiting for ever himself; in a [`select`](macro@crate::chan::select), on channels of which that is true for each. Who waits
/// with a time limit is none of them, nor is who waits for a file or in a blocking call. None of them is mistaken for one;
/// some may be missed, since old copies of a handle in memory cannot be told from the handle.
///
/// Runs a collection, stops the world, and reads the whole heap and all memory of the process, some seconds for some
/// gigabytes. Where a thread outside the runtime moves handles about in memory at that very moment, ask twice. Needs a P; a
/// safepoint. Source: Go's `goroutineleak` profile.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// use tricolor::{chan, profile, spawn, yield_now};
/// drop(spawn(|| {
///     let (tx, rx) = chan::bounded::<u8>(0);
///     let _ = rx.recv(); // who would send?
///     drop(tx);
/// }));
/// let leaks = loop {
///     yield_now();
///     let leaks = profile::leaks().unwrap();
///     if !leaks.is_empty() { break leaks }
/// };
/// assert_eq!(leaks[0].waits_for, "chan receive");
/// println!("{}", leaks[0]);
/// # }) }
/// ```
///
/// # Errors
/// If the memory of the process cannot be read (`/proc` is missing, or the process is not dumpable).
///
/// # Panics
/// Outside a goroutine.
pub fn leaks() -> io::Result<Vec<Leak>> {
    let gp = on_goroutine("profile::leaks");
    crate::gc::collect();
    let memory = super::memory::Memory::open()?;
    let mut found = Pile::new();
    let mut result = Ok(());
    gp.sched.stop_turn.with(gp, || {
        gp.sched.heap().stopped_and_swept(StopReason::Profile, &mut || result = check(gp, &memory, &mut found));
    });
    result.map_err(io::Error::from_raw_os_error)?;
    let now = crate::time::nanotime();
    super::elsewhere(move || {
        let leak = |row: &Row| Leak {
            goroutine: row.goid,
            waits_for: row.wait(),
            waiting: Duration::from_nanos(now.saturating_sub(row.since)),
            stack: stack(row),
            created_at: row.created_at,
        };
        found.as_slice().iter().map(leak).collect()
    })
}

/// Without how it was parked.
fn stack(row: &Row) -> Vec<Frame> {
    let mut frames: Vec<Frame> = row.stack().iter().flat_map(|pc| names::of(*pc)).collect();
    // Line tables alone have no paths of modules.
    let parks = |f: &Frame| {
        f.function.starts_with("tricolor::proc::")
            || ["src/proc/schedule.rs", "src/proc/park.rs"].iter().any(|file| f.file.ends_with(file))
    };
    let parked = frames.iter().take_while(|f| parks(f)).count();
    frames.drain(..parked);
    frames
}

/// A goroutine that waits for an object, or for one of several.
#[derive(Clone, Copy)]
struct Waiter {
    index: usize,
    /// Somebody can wake it.
    awaited: bool,
}

/// Finds the leaked goroutines. On g0, the world is stopped. `gp` asks. The error is a number of the system's.
fn check(gp: &G, memory: &super::memory::Memory, found: &mut Pile<Row>) -> Result<(), i32> {
    let (sched, heap) = (gp.sched, gp.sched.heap());
    // What the collector keeps.
    let mut alive = heap.reach();
    alive.from(|s| sched.scan_tables(s));
    alive.from_roots(true);
    (0..sched.nallgs()).for_each(|i| stack_of(sched, i, &mut alive));
    alive.spread();

    let mut reach = heap.reach();
    reach.from(|s| sched.scan_tables(s));
    reach.from_roots(false);
    reach.from_afterlife(&alive);
    let mut waiters = Pile::new();
    for index in 0..sched.nallgs() {
        match sched.allg(index).and_then(|gp| gp.awaits(|_| false)) {
            Some(_) => waiters.push(Waiter { index, awaited: false }),
            None => {
                stack_of(sched, index, &mut reach);
                blocking_call(sched, index, memory, &mut reach);
            }
        }
    }
    for _ in 0..2 {
        if !faults::active(Fault::LeaksBlind) {
            memory.each_word(sched, &mut |word| reach.word(word))?;
        }
        spread(sched, waiters.as_mut_slice(), &mut reach);
    }
    for waiter in waiters.as_slice().iter().filter(|w| !w.awaited) {
        if let Some(one) = sched.allg(waiter.index) {
            found.push(Row::of(&one, gp));
        }
    }
    Ok(())
}

/// Who waits for something that was reached may be woken and do whatever its stack lets it do.
fn spread(sched: &Sched, waiters: &mut [Waiter], reach: &mut Reach<'_>) {
    loop {
        reach.spread();
        let mut more = false;
        for waiter in waiters.iter_mut().filter(|w| !w.awaited) {
            if sched.allg(waiter.index).and_then(|gp| gp.awaits(|object| reach.has(object))) == Some(true) {
                (waiter.awaited, more) = (true, true);
                if !faults::active(Fault::LeaksEndEarly) {
                    stack_of(sched, waiter.index, reach);
                }
            }
        }
        if !more {
            return;
        }
    }
}

/// What a goroutine's stack leads to, its registers included.
fn stack_of(sched: &Sched, index: usize, reach: &mut Reach<'_>) {
    if let Some(gp) = sched.allg(index) {
        reach.from(|s| {
            s.object(Gc::as_ptr(gp));
            // The world is stopped: nobody runs.
            let _ = scan_g(&gp, s);
        });
    }
}

/// In a blocking call a goroutine goes on below the sp that it has left.
fn blocking_call(sched: &Sched, index: usize, memory: &super::memory::Memory, reach: &mut Reach<'_>) {
    if let Some(gp) = sched.allg(index)
        && gp.status() == g::SYSCALL
    {
        let sp = gp.sp.load(Ordering::SeqCst);
        if let Some(stack) = gp.segments.holding(gp.stack, sp) {
            memory.words(stack.lo, sp, true, &mut |word| reach.word(word));
        }
    }
}
