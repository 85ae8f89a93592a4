//! Which mappings of this process are the runtime's own: its tables and lists, the heap, goroutines' stacks. Whoever reads
//! all other memory of the process leaves them out. Not modelled.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Most mappings that are remembered. One that is not is taken for the program's.
const MOST: usize = 4096;

/// Start and end; 0 and 0: free. The end is written last and cleared first.
static OWN: [[AtomicUsize; 2]; MOST] = [const { [const { AtomicUsize::new(0) }; 2] }; MOST];

/// Remembers a fresh mapping. May run without a P.
pub fn own_mapping(at: usize, bytes: usize) {
    for [start, end] in &OWN {
        if start.compare_exchange(0, at, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            end.store(at + bytes, Ordering::SeqCst);
            return;
        }
    }
}

/// Forgets a mapping, which is about to be unmapped. May run without a P.
pub fn disown_mapping(at: usize) {
    for [start, end] in &OWN {
        if start.load(Ordering::SeqCst) == at {
            end.store(0, Ordering::SeqCst);
            start.store(0, Ordering::SeqCst);
            return;
        }
    }
}

/// Calls `f` with start and end of each of them.
pub fn each_own_mapping(mut f: impl FnMut(usize, usize)) {
    for [start, end] in &OWN {
        let (start, end) = (start.load(Ordering::SeqCst), end.load(Ordering::SeqCst));
        if start < end {
            f(start, end);
        }
    }
}
