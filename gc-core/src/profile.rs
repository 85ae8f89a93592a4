//! The heap profile: a sample of the allocations, by size and call stack (Go's `mprof`).
//!
//! **Sampling.** Of the bytes that a P allocates in one class, those at exponentially distributed distances are sampled,
//! [`Config::profile_rate`](crate::Config) bytes apart in the mean; an object is in the sample if one of its bytes is. The
//! fast path knows nothing of it: a refill ends the run of free slots before the object that is to be sampled
//! ([`Sampler::cut`]), which the slow path places then: its slot is hidden from the fast one. What would break if the
//! distance were one for all classes: a run that is cut short comes back for its rest, and whoever refills first in between
//! would get the sample; so each run of slots has a distance of its own.
//!
//! **In use.** A sampled object has a record on its span, as a weak pointer has (`afterlife::record`); when the sweep of the
//! span finds it dead the site's count of frees goes up. Allocations are seen at once and frees only after a cycle, so both
//! are kept apart by cycle: with `gen` the number of flips so far, an allocation counts for the flip to come, `gen + 1`, and a
//! free for the last one, `gen`. What was counted for a flip is complete when everything is swept after it, before the next
//! mark phase: then it is added to the sums that a profile shows. So these are of one moment, the end of a mark.
//!
//! Sites are never freed. No malloc; all is under one lock, which a program that samples seldom takes seldom.

use crate::alloc::Cache;
use crate::heap::Heap;
use crate::offheap::Pile;
use crate::p::GcP;
use crate::sync::{AtomicU32, Lock, MapError, Ordering, Rank, Table, Zeroed};
use core::cell::UnsafeCell;

/// Most return addresses that are kept of a stack.
pub const PROFILE_FRAMES: usize = if cfg!(any(modelled, miri)) { 2 } else { 32 };
/// Most sites: each is a stack and a size. 24 MiB of address space.
const SITES: usize = if cfg!(any(modelled, miri)) { 2 } else { 1 << 16 };
const HEADS: usize = if cfg!(any(modelled, miri)) { 2 } else { 1 << 14 };

/// How far an allocation is from the next one that is sampled.
#[derive(Clone, Copy)]
pub(crate) struct Sampler {
    /// Bytes to allocate before the one that is sampled.
    ahead: usize,
    /// The free run is a single slot behind `Slots::end`, for the object that is sampled.
    pub next: bool,
}

impl Sampler {
    /// `random`: see [`Sampler::draw`].
    pub fn new(rate: usize, random: &mut u64) -> Sampler {
        let mut sampler = Sampler { ahead: 0, next: false };
        sampler.draw(rate, random);
        sampler
    }

    /// An object was sampled: how far the next one is. `random` is the state of a generator, of one thread at a time.
    pub fn draw(&mut self, rate: usize, random: &mut u64) {
        self.next = false;
        if rate <= 1 {
            // Each object; or none is asked for.
            self.ahead = 0;
            return;
        }
        // Splitmix64, by Steele, Lea and Flood.
        *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // In (0, 1].
        let uniform = ((z >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        // A float beyond the integers becomes the largest one.
        self.ahead = (-uniform.ln() * rate as f64) as usize;
    }

    /// A run of `bytes` free bytes in slots of `slot` is about to be used up; how many bytes of it are before the next sampled
    /// object, or that object's slot.
    pub fn cut(&mut self, bytes: usize, slot: usize) -> usize {
        self.next = self.ahead < slot;
        if self.next {
            return slot;
        }
        let bytes = bytes.min(self.ahead / slot * slot);
        self.ahead -= bytes;
        bytes
    }

    /// `bytes` bytes of the run were not used after all.
    pub fn give_back(&mut self, bytes: usize) {
        if !core::mem::take(&mut self.next) {
            self.ahead += bytes;
        }
    }
}

/// What is known of one site: objects of one size allocated by one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileSite {
    /// Bytes of each object, its slot's.
    pub size: usize,
    /// Objects sampled.
    pub allocs: u64,
    /// Of those: found dead.
    pub frees: u64,
    stack: [usize; PROFILE_FRAMES],
    depth: usize,
}

impl ProfileSite {
    /// Return addresses, innermost first, as [`World::callers`](crate::World::callers) gave them.
    pub fn stack(&self) -> &[usize] {
        &self.stack[..self.depth]
    }
}

/// A site in the table.
#[derive(Clone, Copy)]
struct Entry {
    /// What a profile shows.
    site: ProfileSite,
    /// Next with the same hash (index + 1; 0: none).
    link: u32,
    /// The flip up to which everything is in `site`, but for the two rows below.
    gen_: u32,
    /// Allocations and frees that count for a flip, by the parity of its number.
    pending: [[u64; 2]; 2],
}

impl Entry {
    const NEW: Entry = Entry {
        site: ProfileSite { size: 0, allocs: 0, frees: 0, stack: [0; PROFILE_FRAMES], depth: 0 },
        link: 0,
        gen_: 0,
        pending: [[0; 2]; 2],
    };

    /// There have been `now` flips: what counts for the earlier ones is complete.
    fn advance(&mut self, now: u32) {
        // At `gen_` both rows may have counts, for `gen_` and for `gen_ + 1`.
        for flip in [self.gen_, self.gen_.wrapping_add(1)] {
            // Numbers of flips have 31 bits.
            if now.wrapping_sub(flip).wrapping_sub(1) & (u32::MAX >> 1) < 1 << 30 {
                let [allocs, frees] = core::mem::take(&mut self.pending[flip as usize % 2]);
                self.site.allocs += allocs;
                self.site.frees += frees;
            }
        }
        self.gen_ = now;
    }
}

struct Cell(UnsafeCell<Entry>);

// SAFETY: used under the lock of `Profile`.
unsafe impl Sync for Cell {}
// SAFETY: integers.
unsafe impl Zeroed for Cell {
    fn zeroed() -> Self {
        Cell(UnsafeCell::new(Entry::NEW))
    }
}

/// All sites.
pub(crate) struct Profile {
    sites: Table<Cell>,
    /// The first site of each hash (index + 1).
    heads: Table<AtomicU32>,
    state: Lock<State>,
}

struct State {
    /// Sites in use.
    len: usize,
    /// Samples that found no place.
    lost: u64,
}

impl Profile {
    pub fn new() -> Result<Profile, MapError> {
        Ok(Profile {
            sites: Table::new(SITES)?,
            heads: Table::new(HEADS)?,
            state: Lock::new(Rank::Profile, State { len: 0, lost: 0 }),
        })
    }

    /// Bytes of the sites in use.
    pub fn bytes(&self) -> usize {
        self.state.lock().len * size_of::<Cell>()
    }

    /// # Safety
    /// The caller has the lock, and no other borrow of the entry.
    #[allow(clippy::mut_from_ref)]
    unsafe fn entry(&self, i: usize) -> &mut Entry {
        // SAFETY: the caller's contract.
        unsafe { &mut *self.sites[i].0.get() }
    }

    /// The site of a stack and a size. `None`: there is no room for another one.
    fn find(&self, state: &mut State, size: usize, stack: &[usize]) -> Option<usize> {
        let hash = stack.iter().fold(size, |h, pc| (h.rotate_left(5) ^ pc).wrapping_mul(0x517c_c1b7_2722_0a95));
        let head = &self.heads[(hash >> 40) % HEADS];
        // Relaxed, here and below: under the lock.
        let mut id = head.load(Ordering::Relaxed);
        while id != 0 {
            // SAFETY: under the lock, and given up before the next one.
            let entry = unsafe { self.entry(id as usize - 1) };
            if entry.site.size == size && entry.site.stack() == stack {
                return Some(id as usize - 1);
            }
            id = entry.link;
        }
        if state.len == self.sites.len() {
            return None;
        }
        // SAFETY: as above.
        let entry = unsafe { self.entry(state.len) };
        *entry = Entry { link: head.load(Ordering::Relaxed), ..Entry::NEW };
        entry.site.size = size;
        entry.site.depth = stack.len();
        entry.site.stack[..stack.len()].copy_from_slice(stack);
        state.len += 1;
        head.store(state.len as u32, Ordering::Relaxed);
        Some(state.len - 1)
    }

    /// Counts an allocation after flip number `now`. The number of its site.
    fn allocated(&self, now: u32, size: usize, stack: &[usize]) -> Option<u32> {
        let mut state = self.state.lock();
        let Some(at) = self.find(&mut state, size, stack) else {
            state.lost += 1;
            return None;
        };
        // SAFETY: under the lock.
        let entry = unsafe { self.entry(at) };
        entry.advance(now);
        entry.pending[(now as usize + 1) % 2][0] += 1;
        Some(at as u32)
    }

    /// The object whose allocation was counted last has no record: as if it died at once.
    fn unseen(&self, site: u32) {
        let mut state = self.state.lock();
        state.lost += 1;
        // SAFETY: under the lock.
        let entry = unsafe { self.entry(site as usize) };
        entry.pending[(entry.gen_ as usize + 1) % 2][0] -= 1;
    }

    /// An object of this site was found dead, by a sweep after flip number `now`.
    pub fn freed(&self, now: u32, site: u32) {
        let _state = self.state.lock();
        // SAFETY: under the lock.
        let entry = unsafe { self.entry(site as usize) };
        entry.advance(now);
        entry.pending[now as usize % 2][1] += 1;
    }
}

/// What [`Heap::heap_profile`] shows.
#[derive(Default)]
pub struct HeapProfile {
    /// All sites of which an object was sampled.
    pub sites: Pile<ProfileSite>,
    /// Samples that are missing, because there was no room for their sites.
    pub lost: u64,
}

impl Heap {
    /// The number of flips so far that ended a mark.
    fn flips(&self) -> u32 {
        self.sweepgen() / 2
    }

    /// The profile as it was when the last mark ended; before the first one, of everything so far. Sampled objects, not
    /// scaled up.
    ///
    /// Sweeps what is left to sweep. A safepoint, which may wait for the end of a mark; needs a P. One caller at a time.
    pub fn heap_profile(&self) -> HeapProfile {
        let mut out = HeapProfile::default();
        self.between_cycles(&mut || {
            self.finish_sweep();
            let (first, now) = (self.cycle.completed() == 0, self.flips());
            let state = self.profile.state.lock();
            out.lost = state.lost;
            for i in 0..state.len {
                // SAFETY: under the lock.
                let entry = unsafe { self.profile.entry(i) };
                entry.advance(now);
                let mut site = entry.site;
                // Swept, so complete; and if there was no mark, what is for the first one is all there is.
                for flip in [now as usize, now as usize + 1].into_iter().take(1 + usize::from(first)) {
                    site.allocs += entry.pending[flip % 2][0];
                    site.frees += entry.pending[flip % 2][1];
                }
                if site.allocs > 0 {
                    out.sites.push(site);
                }
            }
        });
        out
    }

    /// Takes an object into the sample that was just published. The caller holds `p` and the object, and no safepoint has
    /// come since.
    #[cold]
    #[inline(never)]
    pub(crate) fn sample(&self, p: &GcP, object: usize, bytes: usize, of: impl FnOnce(&mut Cache) -> &mut Sampler) {
        let mut stack = [0; PROFILE_FRAMES];
        let depth = self.world.callers(&mut stack).min(PROFILE_FRAMES);
        if let Some(site) = self.profile.allocated(self.flips(), bytes, &stack[..depth])
            && !self.sample_record(object, site)
        {
            self.profile.unseen(site);
        }
        // SAFETY: this thread holds `p`, and no other borrow of its cache is alive.
        let cache = unsafe { p.cache() };
        let mut random = cache.random;
        of(cache).draw(self.config.profile_rate, &mut random);
        cache.random = random;
    }
}

#[cfg(all(test, not(any(modelled, miri))))]
mod tests {
    use super::{Entry, Sampler};

    /// How many of `n` objects are sampled that come in runs of `run` slots, of which `unused` are given back every second time.
    fn samples(n: usize, slot: usize, rate: usize, run: usize, unused: usize) -> usize {
        let mut random = 7;
        let mut sampler = Sampler::new(rate, &mut random);
        let (mut made, mut sampled, mut all_used) = (0, 0, false);
        while made < n {
            let bytes = sampler.cut(run * slot, slot);
            assert!(bytes > 0 && bytes.is_multiple_of(slot) && bytes <= run * slot);
            all_used = !all_used;
            let left = if all_used { 0 } else { unused.min(bytes / slot) };
            made += bytes / slot - left;
            if sampler.next && left == 0 {
                sampled += 1;
                sampler.draw(rate, &mut random);
            } else {
                sampler.give_back(left * slot);
            }
        }
        sampled
    }

    #[test]
    fn an_object_is_sampled_as_likely_as_one_of_its_bytes() {
        const N: usize = 2_000_000;
        for (slot, rate, run, unused) in
            [(16, 4096, 512, 0), (112, 4096, 73, 0), (8192, 4096, 1, 0), (32, 512, 64, 5), (48, 1 << 16, 170, 100)]
        {
            let p = -(-(slot as f64) / rate as f64).exp_m1();
            let (expected, n) = (N as f64 * p, samples(N, slot, rate, run, unused) as f64);
            let deviation = (expected * (1.0 - p)).sqrt();
            assert!((n - expected).abs() < 5.0 * deviation, "{slot} of {rate}: {n}, not {expected} +- {deviation}");
        }
    }

    #[test]
    fn a_rate_of_one_samples_all() {
        let mut sampler = Sampler::new(1, &mut 3);
        for _ in 0..10 {
            assert_eq!((sampler.cut(4096, 64), sampler.next), (64, true));
            sampler.draw(1, &mut 3);
        }
    }

    #[test]
    fn what_is_complete_is_added_up() {
        let mut e = Entry::NEW;
        let shows = |e: &Entry| (e.site.allocs, e.site.frees);
        // Before the first flip 3 are allocated, after it 2, of which the sweep finds 1 of the first ones dead.
        e.pending[1][0] += 3;
        e.advance(1);
        assert_eq!(shows(&e), (0, 0), "the sweep after the first flip may still find some dead");
        e.pending[1][1] += 1;
        e.pending[0][0] += 2;
        e.advance(2);
        assert_eq!(shows(&e), (3, 1));
        e.advance(9);
        assert_eq!(shows(&e), (5, 1));
        assert_eq!(e.pending, [[0; 2]; 2]);
        e.advance(9);
        assert_eq!(shows(&e), (5, 1));
    }
}
