//! Where a running thread is: its program counter and the return addresses on its stack, noted by itself in a signal
//! handler, also where it refuses to stop.
//!
//! ```text
//! FREE ──who wants to know, CAS; SIGURG──► ASKED ──handler, CAS──► NOTING ──handler──► NOTED ──who asked──► FREE
//!                                          ASKED ──who asked, CAS: no answer in time──► FREE
//! ```
//! The handler reads words of the thread's own stacks only (its goroutine's, its own, the signal stack), and no more
//! than [`FRAMES`] frames. What would break without `NOTING`: who gives up would let the next one ask while the
//! handler still writes, and read a mixture.

use crate::m::M;
use barrier_lint::nowritebarrierrec;
use core::time::Duration;
use gc_core::sync::{AtomicU32, AtomicUsize, Note, Ordering};

/// Most addresses that are noted.
pub(crate) const FRAMES: usize = if cfg!(modelled) { 1 } else { 32 };

const FREE: u32 = 0;
const ASKED: u32 = 1;
const NOTING: u32 = 2;
const NOTED: u32 = 3;

/// What an M notes.
pub(crate) struct Sight {
    state: AtomicU32,
    len: AtomicUsize,
    pcs: [AtomicUsize; FRAMES],
}

impl Sight {
    pub(crate) fn new() -> Sight {
        Sight {
            state: AtomicU32::new(FREE),
            len: AtomicUsize::new(0),
            pcs: core::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    fn moves(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Addresses: where a thread was, then the return addresses.
pub(crate) struct Seen {
    pcs: [usize; FRAMES],
    len: usize,
}

impl Seen {
    pub(crate) fn pcs(&self) -> &[usize] {
        &self.pcs[..self.len]
    }
}

/// Asks the thread of `m`, another one, where it is. `None`: it has not answered for `limit`, because it takes no
/// signals; or somebody else is asking. May run without a P.
pub(crate) fn look_at(m: &M, limit: Duration) -> Option<Seen> {
    if !m.sight.moves(FREE, ASKED) {
        return None;
    }
    // At worst the thread has ended.
    gc_core::sync::signal::send(m.tid.load(Ordering::SeqCst), libc::SIGURG as u32);
    let pause = Note::new();
    let mut waited = Duration::ZERO;
    while m.sight.state.load(Ordering::SeqCst) != NOTED {
        if waited >= limit && m.sight.moves(ASKED, FREE) {
            return None;
        }
        let step = Duration::from_micros(100);
        pause.sleep_for(step);
        waited += step;
    }
    let mut seen = Seen { pcs: [0; FRAMES], len: m.sight.len.load(Ordering::Relaxed).min(FRAMES) };
    // Relaxed: the SeqCst load of NOTED has ordered them.
    seen.pcs.iter_mut().zip(&m.sight.pcs).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
    m.sight.state.store(FREE, Ordering::SeqCst);
    Some(seen)
}

/// Notes where this thread, which is that of `m`, has been interrupted, if somebody asks. In the signal handler.
#[nowritebarrierrec]
pub(crate) fn note(m: &M, context: &libc::ucontext_t) {
    let sight = &m.sight;
    if sight.state.compare_exchange(ASKED, NOTING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return;
    }
    let n = walk(m, context, &sight.pcs);
    sight.len.store(n, Ordering::Relaxed);
    sight.state.store(NOTED, Ordering::SeqCst);
}

/// Where this thread, if it is that of an M, has been interrupted. In a signal handler.
pub(crate) fn own(m: &M, context: &libc::ucontext_t) -> Seen {
    let pcs = core::array::from_fn(|_| AtomicUsize::new(0));
    let len = walk(m, context, &pcs);
    Seen { pcs: pcs.map(AtomicUsize::into_inner), len }
}

/// Follows the frame pointers from the interrupted registers; how many addresses it found.
#[nowritebarrierrec]
fn walk(m: &M, context: &libc::ucontext_t, pcs: &[AtomicUsize; FRAMES]) -> usize {
    let (pc, sp, mut frame) = crate::arch::interrupted_at(context);
    pcs[0].store(pc, Ordering::Relaxed);
    // The newest segment; frames on older ones are left out.
    let goroutine = match m.curg() {
        Some(gp) => match gp.segments.holding(gp.stack, sp) {
            Some(stack) => (stack.lo, stack.hi),
            None => (gp.stack.lo, gp.stack.hi),
        },
        None => (0, 0),
    };
    let signal_stack = m.altstack.load(Ordering::Relaxed);
    let top = m.g0_hi.load(Ordering::Relaxed);
    // Of its own stack what is in use; the others are mapped as a whole. Each address is in one of the three.
    let saved = m.g0_sp.load(Ordering::Relaxed);
    let used = if sp < top && top - sp < crate::proc::newm::G0_STACK { sp } else { saved };
    let stacks = [goroutine, (used, top), (signal_stack, signal_stack + crate::signal::ALTSTACK)];
    let mut n = 1;
    // Where there is no frame: in the C library's short functions (system calls), and between a call and its function's frame.
    // SAFETY: the instruction that the thread is at.
    let at = if in_program(pc) { unsafe { crate::arch::way_back(pc, sp) } } else { Some(sp) };
    if let Some(at) = at
        && readable(&stacks, at)
    {
        // SAFETY: a word of a stack of this thread, which is mapped there.
        let back = unsafe { word(at) };
        if in_program(back) {
            pcs[n].store(back, Ordering::Relaxed);
            n += 1;
        }
    }
    while n < FRAMES && readable(&stacks, frame) {
        // SAFETY: two words of a stack of this thread, which is mapped there.
        let (next, back) = unsafe { (word(frame), word(frame + 8)) };
        if back == 0 {
            break;
        }
        pcs[n].store(back, Ordering::Relaxed);
        n += 1;
        if next == frame {
            break;
        }
        frame = next;
    }
    n
}

/// Whether the two words at `at` lie in one of the stacks.
#[nowritebarrierrec]
fn readable(stacks: &[(usize, usize); 3], at: usize) -> bool {
    let mut inside = false;
    let mut i = 0;
    while i < stacks.len() {
        let (lo, hi) = stacks[i];
        inside |= lo != 0 && at >= lo && at < hi && hi - at >= 16;
        i += 1;
    }
    inside && at.is_multiple_of(8)
}

/// Whether `pc` is in the program's own text.
#[nowritebarrierrec]
pub(crate) fn in_program(pc: usize) -> bool {
    pc >= (&raw const __executable_start).addr() && pc < (&raw const etext).addr()
}

unsafe extern "C" {
    // From the linker.
    static __executable_start: u8;
    static etext: u8;
}

/// # Safety
/// A word of a stack of this thread.
#[nowritebarrierrec]
unsafe fn word(at: usize) -> usize {
    // SAFETY: the caller's contract.
    unsafe { core::ptr::with_exposed_provenance::<usize>(at).read() }
}
