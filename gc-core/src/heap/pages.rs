//! The page heap: which pages are free, in coalesced runs, and which of those still cost memory.
//!
//! A free run is known by its length at both ends (`run[first]`, `run[last]`, as boundary tags), so a freed run
//! finds its neighbours without a search. Runs hang in one doubly linked list per length, the long ones together;
//! the links lie in the span table, whose entries of free pages nobody uses. Never-used pages are a bump pointer.
//!
//! A free page is *warm* (it still has its memory) or *returned* (the operating system has taken it back); a set says
//! which, and `cold[first]` counts a run's returned pages. There are two families of lists: runs with a warm page,
//! from which allocation takes first, and runs without one. Pages in use count as warm.
//!
//! Scavenging takes a stretch of warm pages out of its run, gives it back with no lock held, and puts it in again; so does
//! pretouching with cold pages, and such as were never used. In between it is as if somebody had allocated them; `away` is
//! held, for whoever finds no room meanwhile.

use super::pageset::PageSet;
use super::{PAGE_SIZE, Reservation, Spans};
use crate::faults::{self, Fault};
use crate::sync::{AtomicU32, AtomicUsize, Lock, MapError, Ordering, Rank, Table};
use barrier_lint::nowritebarrierrec;
use core::ops::Range;

/// Runs of this many pages or more share one list.
const LONG: usize = if cfg!(modelled) { 4 } else { 127 };
/// Pages are committed in multiples of this many, and an eighth of what is committed already: page faults of others wait
/// meanwhile, and allocations for the lock.
const COMMIT: usize = if cfg!(modelled) { 1 } else { (4 << 20) / PAGE_SIZE };

pub(crate) struct PageHeap {
    space: Reservation,
    lists: Lock<Lists>,
    /// Length of the free run that starts or ends here, else 0. Under the lock.
    run: Table<AtomicU32>,
    /// Returned pages of the free run that starts here. Under the lock.
    cold: Table<AtomicU32>,
    /// Free pages that were given back. Under the lock.
    returned: PageSet,
    npages: usize,
    /// Held by whoever has free pages out, to give them back or to make them warm.
    away: Lock<()>,
    /// Pages in use or warm: what `lists` says, for those who look without the lock.
    resident: AtomicUsize,
    /// Pages that were ever used, likewise.
    top: AtomicUsize,
    /// Pages that are warm and free, likewise.
    warm: AtomicUsize,
}

struct Lists {
    /// First run of each length (page + 1; 0: none), by family; the last one is the long ones'.
    head: [[u32; LONG + 1]; 2],
    /// Which of them have one, a bit each: a look at every head would be most of the cost of an allocation.
    some: [u128; 2],
    /// Pages from here on were never used.
    top: usize,
    /// Pages from here on were never committed.
    committed: usize,
    /// Pages in free runs.
    free: usize,
    /// Those of them that were given back.
    returned: usize,
}

/// The family of runs that have a warm page.
const WARM: usize = 0;
/// The family of runs that have none.
const COLD: usize = 1;

/// A free run that is in no list at the moment.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    n: usize,
    cold: usize,
}

/// How many pages are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Pages that were ever used.
    pub top: usize,
    /// Of `top`: free.
    pub free: usize,
    /// Of `free`: given back to the operating system.
    pub returned: usize,
}

impl Usage {
    /// Pages in spans.
    pub fn in_use(&self) -> usize {
        self.top - self.free
    }
}

/// Why there are no pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPages {
    /// The reservation has no run of that length.
    Full,
    /// The operating system gives no more memory.
    Refused(MapError),
}

impl PageHeap {
    pub fn new(space: Reservation) -> Result<PageHeap, MapError> {
        let npages = space.bytes / PAGE_SIZE;
        let lists = Lists { head: [[0; LONG + 1]; 2], some: [0; 2], top: 0, committed: 0, free: 0, returned: 0 };
        Ok(PageHeap {
            space,
            lists: Lock::new(Rank::Pages, lists),
            run: Table::new(npages)?,
            cold: Table::new(npages)?,
            returned: PageSet::new(npages)?,
            npages,
            away: Lock::new(Rank::PagesAway, ()),
            resident: AtomicUsize::new(0),
            top: AtomicUsize::new(0),
            warm: AtomicUsize::new(0),
        })
    }

    /// `n` pages, not zeroed. The error: why there are none.
    pub fn alloc(&self, spans: &Spans, n: usize) -> Result<usize, NoPages> {
        let first = self.alloc_once(spans, n);
        if first.is_ok() {
            return first;
        }
        // Perhaps what is missing is only out.
        drop(self.away.lock());
        self.alloc_once(spans, n)
    }

    fn alloc_once(&self, spans: &Spans, n: usize) -> Result<usize, NoPages> {
        let mut lists = self.lists.lock();
        let run = match self.find(spans, &lists, n) {
            Some(run) => {
                self.unlink(spans, &mut lists, run);
                run
            }
            None => self.grow(spans, &mut lists, n)?,
        };
        let cold = if run.cold == 0 { 0 } else { self.returned.count(run.first, n) };
        if cold > 0 {
            self.returned.remove(run.first, n);
        }
        if run.n > n {
            self.link(spans, &mut lists, Run { first: run.first + n, n: run.n - n, cold: run.cold - cold });
        }
        self.note(&lists);
        Ok(run.first)
    }

    /// A run of at least `n` pages: as short as can be, and warm if there is one.
    fn find(&self, spans: &Spans, lists: &Lists, n: usize) -> Option<Run> {
        for family in [WARM, COLD] {
            let long_enough = lists.some[family] & (u128::MAX << n.min(LONG));
            if long_enough == 0 {
                continue;
            }
            // Only among the long ones the first may be too short.
            let mut id = lists.head[family][long_enough.trailing_zeros() as usize];
            while id != 0 {
                let first = id as usize - 1;
                let have = self.len_at(first);
                if have >= n {
                    return Some(Run { first, n: have, cold: self.cold_at(first) });
                }
                id = spans[first].next.load(Ordering::Relaxed);
            }
        }
        None
    }

    /// `n` pages at the end of what was ever used, with what is free there.
    fn grow(&self, spans: &Spans, lists: &mut Lists, n: usize) -> Result<Run, NoPages> {
        let have = if lists.top > 0 { self.len_at(lists.top - 1) } else { 0 };
        let first = lists.top - have;
        if n > self.npages - first {
            return Err(NoPages::Full);
        }
        let end = first + n;
        self.commit(lists, end).map_err(NoPages::Refused)?;
        let mut run = Run { first, n, cold: 0 };
        if have > 0 {
            run.cold = self.cold_at(first);
            self.unlink(spans, lists, Run { first, n: have, cold: run.cold });
        }
        lists.top = end;
        Ok(run)
    }

    /// Commits the pages before `end`, and some more if it may.
    fn commit(&self, lists: &mut Lists, end: usize) -> Result<(), MapError> {
        let from = lists.committed;
        if end <= from {
            return Ok(());
        }
        let rounded = |end: usize| end.next_multiple_of(COMMIT).min(self.npages);
        let commit = |to| self.space.commit(from, to).map(|()| to);
        let committed = commit(rounded(end.max(from + from / 8)));
        lists.committed = committed.or_else(|_| commit(rounded(end))).or_else(|_| commit(end))?;
        Ok(())
    }

    /// Takes `n` pages back.
    pub fn free(&self, spans: &Spans, first: usize, n: usize) {
        let mut lists = self.lists.lock();
        self.insert(spans, &mut lists, Run { first, n, cold: 0 });
        self.note(&lists);
    }

    /// Joins a run with its neighbours and puts it into a list.
    fn insert(&self, spans: &Spans, lists: &mut Lists, mut run: Run) {
        if run.first > 0 {
            let n = self.len_at(run.first - 1);
            if n > 0 {
                let before = Run { first: run.first - n, n, cold: self.cold_at(run.first - n) };
                self.unlink(spans, lists, before);
                run = Run { first: before.first, n: n + run.n, cold: before.cold + run.cold };
            }
        }
        if run.first + run.n < lists.top {
            let first = run.first + run.n;
            let n = self.len_at(first);
            if n > 0 {
                let behind = Run { first, n, cold: self.cold_at(first) };
                self.unlink(spans, lists, behind);
                run = Run { first: run.first, n: run.n + n, cold: run.cold + behind.cold };
            }
        }
        self.link(spans, lists, run);
    }

    /// Gives up to `most` warm pages back to the operating system, from the longest free run. Returns how many.
    pub fn scavenge(&self, spans: &Spans, most: usize) -> usize {
        let _one = self.away.lock();
        let Some(piece) = self.take_warm(spans, most) else { return 0 };
        let more = faults::active(Fault::ScavengeInUse) && piece.first + piece.n < self.top();
        let taken = self.space.give_back(piece.first, piece.n + usize::from(more));
        self.put_back(spans, piece, !taken);
        if taken { piece.n } else { 0 }
    }

    /// Makes up to `most` pages warm and free: of the longest run of returned ones, else such as were never used. Returns how
    /// many. `tables` does the same for what others keep about them.
    pub fn pretouch(&self, spans: &Spans, most: usize, tables: impl FnOnce(Range<usize>)) -> usize {
        let _one = self.away.lock();
        let Some(piece) = self.take_cold(spans, most) else { return 0 };
        let pages = piece.first..piece.first + piece.n;
        // With the lock everybody would wait for these page faults.
        self.run.pretouch(pages.clone());
        self.cold.pretouch(pages.clone());
        tables(pages);
        let touched = self.space.touch(piece.first, piece.n);
        self.put_back(spans, piece, touched);
        if touched { piece.n } else { 0 }
    }

    /// Puts pages in again that were out, with their memory or without.
    fn put_back(&self, spans: &Spans, piece: Run, warm: bool) {
        let mut lists = self.lists.lock();
        let cold = if warm { 0 } else { piece.n };
        if !warm {
            self.returned.insert(piece.first, piece.n);
        }
        self.insert(spans, &mut lists, Run { cold, ..piece });
        self.note(&lists);
    }

    /// Takes up to `most` pages out of a run without a warm one, else behind all that were ever used.
    fn take_cold(&self, spans: &Spans, most: usize) -> Option<Run> {
        let mut lists = self.lists.lock();
        if let Some(longest) = lists.some[COLD].checked_ilog2() {
            let first = lists.head[COLD][longest as usize] as usize - 1;
            let run = Run { first, n: self.len_at(first), cold: self.cold_at(first) };
            self.unlink(spans, &mut lists, run);
            let n = run.n.min(most);
            self.returned.remove(first, n);
            if run.n > n {
                self.link(spans, &mut lists, Run { first: first + n, n: run.n - n, cold: run.n - n });
            }
            return Some(Run { first, n, cold: 0 });
        }
        let first = lists.top;
        let n = most.min(self.npages - first);
        if n == 0 || self.commit(&mut lists, first + n).is_err() {
            return None;
        }
        lists.top += n;
        Some(Run { first, n, cold: 0 })
    }

    /// Takes the last stretch of warm pages out of the longest run that has any.
    fn take_warm(&self, spans: &Spans, most: usize) -> Option<Run> {
        let mut lists = self.lists.lock();
        let longest = lists.some[WARM].checked_ilog2()?;
        let id = lists.head[WARM][longest as usize];
        let first = id as usize - 1;
        let run = Run { first, n: self.len_at(first), cold: self.cold_at(first) };
        let end = self.returned.last(first, first + run.n, false)? + 1;
        let start = self.returned.last(first, end, true).map_or(first, |p| p + 1).max(end.saturating_sub(most));
        self.unlink(spans, &mut lists, run);
        let behind = first + run.n - end;
        if behind > 0 {
            // Behind the last warm page all are returned.
            self.link(spans, &mut lists, Run { first: end, n: behind, cold: behind });
        }
        if start > first {
            self.link(spans, &mut lists, Run { first, n: start - first, cold: run.cold - behind });
        }
        Some(Run { first: start, n: end - start, cold: 0 })
    }

    /// How many pages are in which state. Pages that are out count as in use.
    pub fn usage(&self) -> Usage {
        let lists = self.lists.lock();
        Usage { top: lists.top, free: lists.free, returned: lists.returned }
    }

    /// Pages that [`scavenge`](PageHeap::scavenge) could give back, without a lock.
    #[nowritebarrierrec]
    #[inline]
    pub fn warm(&self) -> usize {
        // Relaxed: an estimate.
        self.warm.load(Ordering::Relaxed)
    }

    /// Pages in use or warm, without a lock.
    #[nowritebarrierrec]
    #[inline]
    pub fn resident(&self) -> usize {
        // Relaxed: an estimate.
        self.resident.load(Ordering::Relaxed)
    }

    /// Pages that were ever used, without a lock.
    pub fn top(&self) -> usize {
        // Relaxed: an estimate.
        self.top.load(Ordering::Relaxed)
    }

    /// Pages of the whole reservation.
    pub fn capacity(&self) -> usize {
        self.npages
    }

    // Relaxed throughout: all under `lists`, whose lock orders them.

    fn note(&self, lists: &Lists) {
        self.resident.store(lists.top - lists.returned, Ordering::Relaxed);
        self.top.store(lists.top, Ordering::Relaxed);
        self.warm.store(lists.free - lists.returned, Ordering::Relaxed);
    }

    fn len_at(&self, page: usize) -> usize {
        self.run[page].load(Ordering::Relaxed) as usize
    }

    fn cold_at(&self, first: usize) -> usize {
        self.cold[first].load(Ordering::Relaxed) as usize
    }

    fn tag(&self, first: usize, n: usize, length: u32) {
        self.run[first].store(length, Ordering::Relaxed);
        self.run[first + n - 1].store(length, Ordering::Relaxed);
    }

    fn link(&self, spans: &Spans, lists: &mut Lists, run: Run) {
        let Run { first, n, cold } = run;
        self.tag(first, n, n as u32);
        self.cold[first].store(cold as u32, Ordering::Relaxed);
        let family = if cold == n { COLD } else { WARM };
        let head = &mut lists.head[family][n.min(LONG)];
        spans[first].prev.store(0, Ordering::Relaxed);
        spans[first].next.store(*head, Ordering::Relaxed);
        if *head != 0 {
            spans[*head as usize - 1].prev.store(first as u32 + 1, Ordering::Relaxed);
        }
        *head = first as u32 + 1;
        lists.some[family] |= 1 << n.min(LONG);
        lists.free += n;
        lists.returned += cold;
    }

    fn unlink(&self, spans: &Spans, lists: &mut Lists, run: Run) {
        let Run { first, n, cold } = run;
        let family = if cold == n { COLD } else { WARM };
        let next = spans[first].next.load(Ordering::Relaxed);
        let prev = spans[first].prev.load(Ordering::Relaxed);
        if next != 0 {
            spans[next as usize - 1].prev.store(prev, Ordering::Relaxed);
        }
        match prev {
            0 => {
                lists.head[family][n.min(LONG)] = next;
                if next == 0 {
                    lists.some[family] &= !(1 << n.min(LONG));
                }
            }
            prev => spans[prev as usize - 1].next.store(next, Ordering::Relaxed),
        }
        self.tag(first, n, 0);
        lists.free -= n;
        lists.returned -= cold;
    }
}

#[cfg(all(test, not(modelled)))]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::test_runner::TestCaseError;

    const PAGES: usize = if cfg!(miri) { 64 } else { 600 };

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum State {
        Fresh,
        Used,
        Warm,
        Returned,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Alloc(usize),
        /// Frees one of what is allocated.
        Free(usize),
        Scavenge(usize),
        Pretouch(usize),
    }

    struct Model {
        heap: PageHeap,
        spans: Spans,
        pages: Vec<State>,
        live: Vec<(usize, usize)>,
    }

    impl Model {
        fn new() -> Model {
            Model {
                heap: PageHeap::new(Reservation::new(PAGES * PAGE_SIZE).unwrap()).unwrap(),
                spans: Spans::new(PAGES).unwrap(),
                pages: vec![State::Fresh; PAGES],
                live: Vec::new(),
            }
        }

        fn free_run(&self, warm: bool, n: usize) -> bool {
            // Runs of free pages, as long as can be.
            self.pages
                .chunk_by(|a, b| is_free(*a) == is_free(*b))
                .any(|run| is_free(run[0]) && run.len() >= n && (!warm || run.contains(&State::Warm)))
        }

        fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
            match *step {
                Step::Alloc(n) => match self.heap.alloc(&self.spans, n) {
                    Ok(first) => {
                        let got = &self.pages[first..first + n];
                        prop_assert!(!got.contains(&State::Used), "pages {first}..+{n} are in use: {got:?}");
                        if self.free_run(true, n) {
                            let near = &self.pages[..first + n];
                            let run = near.iter().rev().skip(n).take_while(|s| is_free(**s)).count();
                            prop_assert_eq!(run, 0, "a run is taken from its start");
                            let whole = self.pages[first..].iter().take_while(|s| is_free(**s));
                            prop_assert!(whole.into_iter().any(|s| *s == State::Warm), "a warm run was there");
                        }
                        self.pages[first..first + n].fill(State::Used);
                        self.live.push((first, n));
                    }
                    Err(e) => {
                        prop_assert_eq!(e, NoPages::Full);
                        prop_assert!(!self.free_run(false, n), "a free run of {n} was not found");
                        let tail = self.pages.iter().rev().take_while(|s| **s != State::Used).count();
                        prop_assert!(tail < n, "there was room at the end");
                    }
                },
                Step::Free(which) if !self.live.is_empty() => {
                    let (first, n) = self.live.swap_remove(which % self.live.len());
                    self.heap.free(&self.spans, first, n);
                    self.pages[first..first + n].fill(State::Warm);
                }
                Step::Free(_) => {}
                Step::Scavenge(most) => {
                    let before = self.count(State::Warm);
                    let n = self.heap.scavenge(&self.spans, most);
                    prop_assert!(n <= most && (n > 0 || before == 0), "{n} of {before} warm pages");
                    for (page, state) in self.pages.iter_mut().enumerate() {
                        if is_free(*state) && self.heap.returned.count(page, 1) == 1 {
                            *state = State::Returned;
                        }
                    }
                    prop_assert_eq!(self.count(State::Warm), before - n);
                }
                Step::Pretouch(most) => {
                    let cold = |run: &&[State]| run.iter().all(|s| *s == State::Returned);
                    let longest =
                        self.pages.chunk_by(|a, b| is_free(*a) == is_free(*b)).filter(cold).map(<[_]>::len).max();
                    let room = longest.unwrap_or(self.count(State::Fresh));
                    let mut touched = 0..0;
                    let n = self.heap.pretouch(&self.spans, most, |pages| touched = pages);
                    prop_assert_eq!(n, touched.len());
                    prop_assert_eq!(n, most.min(room));
                    let before = if longest.is_some() { State::Returned } else { State::Fresh };
                    prop_assert!(self.pages[touched.clone()].iter().all(|s| *s == before), "{touched:?}");
                    self.pages[touched].fill(State::Warm);
                }
            }
            self.check()
        }

        fn count(&self, state: State) -> usize {
            self.pages.iter().filter(|s| **s == state).count()
        }

        /// Tags, counts and lists say what the model says.
        fn check(&self) -> Result<(), TestCaseError> {
            let usage = self.heap.usage();
            prop_assert_eq!(usage.returned, self.count(State::Returned));
            prop_assert_eq!(usage.free, usage.returned + self.count(State::Warm));
            prop_assert_eq!(usage.top, PAGES - self.count(State::Fresh));
            prop_assert_eq!(self.heap.resident(), usage.top - usage.returned);
            prop_assert_eq!(self.heap.warm(), self.count(State::Warm));
            let mut expected = Vec::new();
            let mut page = 0;
            while page < usage.top {
                let n = self.pages[page..usage.top].iter().take_while(|s| is_free(**s)).count();
                let cold = self.pages[page..page + n].iter().filter(|s| **s == State::Returned).count();
                if n == 0 {
                    page += 1;
                    continue;
                }
                // One run, though it came in pieces: coalescing is complete.
                prop_assert_eq!((self.heap.len_at(page), self.heap.len_at(page + n - 1)), (n, n), "at {}", page);
                prop_assert_eq!(self.heap.cold_at(page), cold);
                prop_assert_eq!(self.heap.returned.count(page, n), cold);
                expected.push((page, if cold == n { COLD } else { WARM }, n.min(LONG)));
                page += n;
            }
            let lists = self.heap.lists.lock();
            let mut listed = Vec::new();
            for family in [WARM, COLD] {
                for length in 0..=LONG {
                    let (mut id, mut prev) = (lists.head[family][length], 0);
                    prop_assert_eq!(lists.some[family] >> length & 1, u128::from(id != 0), "of {} pages", length);
                    while id != 0 {
                        listed.push((id as usize - 1, family, length));
                        prop_assert_eq!(self.spans[id as usize - 1].prev.load(Ordering::Relaxed), prev);
                        prev = id;
                        id = self.spans[id as usize - 1].next.load(Ordering::Relaxed);
                    }
                }
            }
            listed.sort_unstable();
            prop_assert_eq!(listed, expected);
            Ok(())
        }
    }

    fn is_free(state: State) -> bool {
        matches!(state, State::Warm | State::Returned)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop_oneof![8 => 1..20_usize, 1 => 100..200_usize].prop_map(Step::Alloc),
            3 => (0..1000_usize).prop_map(Step::Free),
            1 => (1..150_usize).prop_map(Step::Scavenge),
            1 => (1..60_usize).prop_map(Step::Pretouch),
        ]
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn agrees_with_a_list_of_page_states(steps in prop::collection::vec(step(), 1..120)) {
            let mut model = Model::new();
            for step in &steps {
                model.step(step)?;
            }
            // When all is free again there is one run.
            while let Some((first, n)) = model.live.pop() {
                model.heap.free(&model.spans, first, n);
            }
            let usage = model.heap.usage();
            prop_assert_eq!(usage.free, usage.top);
            if usage.top > 0 {
                prop_assert_eq!(model.heap.len_at(0), usage.top);
            }
        }
    }

    #[test]
    fn everything_warm_goes_back_piece_by_piece() {
        let m = Model::new();
        let first = m.heap.alloc(&m.spans, PAGES / 2).unwrap();
        m.heap.free(&m.spans, first, PAGES / 2);
        let mut pieces = 0;
        while m.heap.scavenge(&m.spans, 16) > 0 {
            pieces += 1;
        }
        assert_eq!(pieces, (PAGES / 2).div_ceil(16));
        assert_eq!(m.heap.resident(), 0);
        let again = m.heap.alloc(&m.spans, PAGES / 2).unwrap();
        assert_eq!((again, m.heap.resident()), (first, PAGES / 2));
    }
}
