//! The page heap: which pages are free, in coalesced runs.
//!
//! A free run is known by its length at both ends (`run[first]`, `run[last]`, as boundary tags), so a freed run
//! finds its neighbours without a search. Runs hang in one doubly linked list per length, the long ones together;
//! the links lie in the span table, whose entries of free pages nobody uses. Never-used pages are a bump pointer.

use super::{Heap, PAGE_SIZE};
use crate::sync::{AtomicU32, Lock, MapError, Ordering, Table};

/// Runs of this many pages or more share one list.
const LONG: usize = if cfg!(loom) { 4 } else { 128 };

pub(crate) struct PageHeap {
    lists: Lock<Lists>,
    /// Length of the free run that starts or ends here, else 0. Under the lock.
    run: Table<AtomicU32>,
    npages: usize,
}

struct Lists {
    /// First run of each length (page + 1; 0: none); the last one is the long ones'.
    head: [u32; LONG + 1],
    /// Pages from here on were never used.
    top: usize,
    /// Pages in free runs.
    free: usize,
}

impl PageHeap {
    pub fn new(npages: usize) -> Result<PageHeap, MapError> {
        Ok(PageHeap {
            lists: Lock::new(Lists { head: [0; LONG + 1], top: 0, free: 0 }),
            run: Table::new(npages)?,
            npages,
        })
    }

    /// `n` pages, not zeroed; `None` if the reservation is full.
    pub fn alloc(&self, heap: &Heap, n: usize) -> Option<usize> {
        let mut lists = self.lists.lock();
        for length in n.min(LONG)..=LONG {
            let mut id = lists.head[length];
            while id != 0 {
                let first = id as usize - 1;
                let have = self.len_at(first);
                if have >= n {
                    self.unlink(heap, &mut lists, first, have);
                    if have > n {
                        self.link(heap, &mut lists, first + n, have - n);
                    }
                    return Some(first);
                }
                id = heap.spans[first].next.load(Ordering::Relaxed);
            }
        }
        let first = lists.top;
        if first + n > self.npages {
            return None;
        }
        lists.top += n;
        Some(first)
    }

    /// Takes `n` pages back.
    pub fn free(&self, heap: &Heap, mut first: usize, mut n: usize) {
        let mut lists = self.lists.lock();
        if first > 0 {
            let before = self.len_at(first - 1);
            if before > 0 {
                first -= before;
                n += before;
                self.unlink(heap, &mut lists, first, before);
            }
        }
        if first + n < lists.top {
            let behind = self.len_at(first + n);
            if behind > 0 {
                self.unlink(heap, &mut lists, first + n, behind);
                n += behind;
            }
        }
        self.link(heap, &mut lists, first, n);
    }

    /// Pages that were ever used, and those of them that are free now.
    pub fn usage(&self) -> (usize, usize) {
        let lists = self.lists.lock();
        (lists.top, lists.free)
    }

    // Relaxed throughout: all under `lists`, whose lock orders them.

    fn len_at(&self, page: usize) -> usize {
        self.run[page].load(Ordering::Relaxed) as usize
    }

    fn tag(&self, first: usize, n: usize, length: u32) {
        self.run[first].store(length, Ordering::Relaxed);
        self.run[first + n - 1].store(length, Ordering::Relaxed);
    }

    fn link(&self, heap: &Heap, lists: &mut Lists, first: usize, n: usize) {
        self.tag(first, n, n as u32);
        let head = &mut lists.head[n.min(LONG)];
        heap.spans[first].prev.store(0, Ordering::Relaxed);
        heap.spans[first].next.store(*head, Ordering::Relaxed);
        if *head != 0 {
            heap.spans[*head as usize - 1].prev.store(first as u32 + 1, Ordering::Relaxed);
        }
        *head = first as u32 + 1;
        lists.free += n;
    }

    fn unlink(&self, heap: &Heap, lists: &mut Lists, first: usize, n: usize) {
        let next = heap.spans[first].next.load(Ordering::Relaxed);
        let prev = heap.spans[first].prev.load(Ordering::Relaxed);
        if next != 0 {
            heap.spans[next as usize - 1].prev.store(prev, Ordering::Relaxed);
        }
        match prev {
            0 => lists.head[n.min(LONG)] = next,
            prev => heap.spans[prev as usize - 1].next.store(next, Ordering::Relaxed),
        }
        self.tag(first, n, 0);
        lists.free -= n;
    }
}

impl Heap {
    /// `n` pages for a span, or a fatal error that says how full the heap is.
    pub(crate) fn alloc_pages(&self, n: usize) -> usize {
        self.pages.alloc(self, n).unwrap_or_else(|| {
            let (used, free) = self.pages.usage();
            crate::throw!(
                "out of memory: no {} contiguous bytes in the heap's reservation of {} bytes ({} used, {} free in pieces)",
                n * PAGE_SIZE,
                self.bytes,
                (used - free) * PAGE_SIZE,
                free * PAGE_SIZE
            )
        })
    }
}
