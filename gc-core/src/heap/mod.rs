//! The heap: one address reservation, its tables, and the state of the collector.
//!
//! "Is this a heap pointer, and in which span" is a subtraction and a table load. Everything that describes memory
//! lies beside it, in tables indexed by page or by 16-byte granule:
//!
//! ```text
//! page_map[page]   -> first page of the span + 1 (0: not in use), and its allocation class
//! spans[page]      the span that starts at this page
//! maps[0], maps[1] one bit per granule: the marks of this cycle, and the slots that the last one left alive
//! stored           one bit per granule: a pointer was stored into it between cycles (`mark::partial`)
//! ```

mod page_map;
mod pages;
mod pageset;
mod pretouch;
mod reserve;
mod scavenge;
mod span;

pub(crate) use page_map::{Page, PageMap};
pub(crate) use pages::{NoPages, PageHeap};
pub(crate) use pretouch::Pretouch;
pub(crate) use reserve::Reservation;
pub use reserve::address_space_left;
pub(crate) use scavenge::Scavenger;
pub(crate) use span::{Span, Spans};

use crate::afterlife::Afterlife;
use crate::alloc::{Class, Classes};
use crate::events::Listeners;
use crate::limiter::Limiter;
use crate::mark::{Cycle, MarkMap, Work};
use crate::p::GcP;
use crate::pacer::Pacer;
use crate::profile::Profile;
use crate::root::RootTable;
use crate::stats::{Counters, Stats};
use crate::stress::Stress;
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Lock, MapError, Ordering, Rank, Table, Zeroed};
use crate::world::World;
use barrier_lint::nowritebarrierrec;
use core::fmt;

/// Bytes of a page, the unit of spans.
#[cfg(not(modelled))]
pub const PAGE_SIZE: usize = 8 << 10;
/// Bytes of a page; tiny, so that a model's tables are.
#[cfg(modelled)]
pub const PAGE_SIZE: usize = 128;

/// Most Ps that a heap serves.
#[cfg(not(modelled))]
pub const MAX_PS: usize = 1024;
/// Most Ps that a heap serves.
#[cfg(modelled)]
pub const MAX_PS: usize = 4;

/// How a heap is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Collect when the heap has grown by this many percent over what was live (as GOGC); `None`: only on request.
    pub percent: Option<u32>,
    /// Print one line per cycle to standard error.
    pub gctrace: bool,
    /// After every mark, walk the heap with a second, independent walker and compare.
    pub verify: bool,
    /// Run a whole cycle before every Nth allocation; 0: never. Very slow, finds much.
    pub gc_every: u32,
    /// Switches that make what is rare happen often; all off.
    pub stress: Stress,
    /// Mean distance in bytes of the allocations that the heap profile samples ([`Heap::heap_profile`]); 1: all of them; 0:
    /// none.
    pub profile_rate: usize,
    /// Heap size in bytes below which no cycle starts by itself, at 100 percent.
    pub min_heap: usize,
    /// Bytes of memory that the collector tries to keep within: pages in use, free pages not yet given back, and its
    /// tables ([`Stats::footprint`]). Soft: where the live heap does not fit, the collector takes up to half of the
    /// processor time and then gives way. At least 1 MiB. Threads' stacks and malloc'd memory do not count.
    pub memory_limit: Option<usize>,
    /// Address space to reserve at most, in bytes. Less is taken where the limits of the process (`RLIMIT_AS`,
    /// `RLIMIT_DATA`, a kernel that does not overcommit) leave less than three times as much, and where the operating
    /// system refuses.
    pub reserve: usize,
    /// Ask the operating system for huge pages under the heap, where it gives them on request (transparent huge pages
    /// in the mode `madvise`; in the mode `always` it does so by itself). Scattered objects are marked faster, and fresh
    /// memory comes in larger pieces, touched or not. A hint: what becomes of it is not reported.
    pub huge_pages: bool,
    /// Let cycles keep the marks of the one before where that pays, so that only younger objects are marked (a generational
    /// collector's minor collections, by sticky mark bits). In between pointer stores are remembered, as while marking. Full
    /// cycles still come, and [`Heap::collect`] runs one; none is partial under a memory limit.
    pub partial: bool,
    /// Number of Ps that run mutators, for the share of marking: a quarter of them. [`Heap::set_procs`] changes it.
    pub procs: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            percent: Some(100),
            gctrace: false,
            verify: false,
            gc_every: 0,
            stress: Stress::default(),
            profile_rate: 0,
            min_heap: 4 << 20,
            memory_limit: None,
            reserve: if cfg!(any(modelled, miri)) { 4 * PAGE_SIZE } else { 64 << 30 },
            huge_pages: false,
            partial: true,
            procs: 1,
        }
    }
}

/// A heap could not be made.
#[derive(Debug)]
pub enum InitError {
    /// No address space.
    Map(MapError),
    /// A value of the [`Config`] is out of range: which one, its value, and what is allowed.
    Config(&'static str, usize, &'static str),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitError::Map(e) => e.fmt(f),
            InitError::Config(what, value, allowed) => write!(f, "{what} is {value}: {allowed}"),
        }
    }
}

impl std::error::Error for InitError {}

impl From<MapError> for InitError {
    fn from(e: MapError) -> Self {
        InitError::Map(e)
    }
}

/// What the collector is doing.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing, or sweeping.
    Off = 0,
    /// Marking: the write barrier is on, new objects are black.
    Mark = 1,
}

/// Where a heap's reservation lies.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub base: usize,
    pub bytes: usize,
}

#[nowritebarrierrec]
impl Bounds {
    /// Whether `addr` is inside.
    #[inline(always)]
    pub fn contain(self, addr: usize) -> bool {
        addr.wrapping_sub(self.base) < self.bytes
    }

    /// The page of an address inside.
    #[inline(always)]
    pub fn page_of(self, addr: usize) -> usize {
        (addr - self.base) / PAGE_SIZE
    }

    /// The mark bit of an address inside.
    #[inline(always)]
    pub fn granule_of(self, addr: usize) -> usize {
        (addr - self.base) / crate::layout::GRANULE
    }
}

/// A heap and its collector. Lives until the process ends.
pub struct Heap {
    pub(crate) bounds: Bounds,
    pub(crate) page_map: PageMap,
    pub(crate) spans: Spans,
    pub(crate) pages: PageHeap,
    pub(crate) maps: [MarkMap; 2],
    /// Granules on the lists, see `mark::partial`.
    pub(crate) stored: MarkMap,
    pub(crate) classes: Classes,
    pub(crate) work: Work,
    pub(crate) cycle: Cycle,
    pub(crate) pacer: Pacer,
    pub(crate) roots: RootTable,
    pub(crate) afterlife: Afterlife,
    pub(crate) profile: Profile,
    pub(crate) counters: Counters,
    pub(crate) listeners: Listeners,
    pub(crate) scavenger: Scavenger,
    pub(crate) pretouch: Pretouch,
    pub(crate) limiter: Limiter,
    pub(crate) config: Config,
    pub(crate) world: &'static dyn World,
    /// The P of the thread that has stopped the world; see `stop`.
    pub(crate) stopper: AtomicPtr<GcP>,
    /// Random numbers for `stress`.
    pub(crate) lingered: AtomicU64,
    /// Ps that run mutators; at first those of `config`.
    procs: AtomicUsize,
    ps: Table<PSlot>,
    ps_len: AtomicUsize,
    ps_lock: Lock<()>,
}

/// One entry of the list of Ps.
pub(crate) struct PSlot(AtomicPtr<GcP>);

// SAFETY: a null pointer.
unsafe impl Zeroed for PSlot {
    fn zeroed() -> Self {
        PSlot(AtomicPtr::new(core::ptr::null_mut()))
    }
}

impl Heap {
    /// A heap for `world`'s threads.
    ///
    /// # Errors
    /// [`InitError`] if no address space can be had or the configuration makes no sense.
    pub fn new(config: Config, world: &'static dyn World) -> Result<&'static Heap, InitError> {
        config.check()?;
        #[cfg(debug_assertions)]
        barrier_lint::on_violation(crate::p::inside_no_barrier);
        let mut refused = MapError { bytes: config.reserve, errno: 0 };
        for bytes in reserve::sizes(config.reserve) {
            match Heap::sized(bytes, &config, world) {
                Ok(heap) => {
                    let heap = Box::leak(Box::new(heap));
                    #[cfg(any(feature = "faults", modelled))]
                    crate::faults::remember(heap);
                    return Ok(heap);
                }
                Err(e) => refused = e,
            }
        }
        Err(InitError::Map(refused))
    }

    /// A heap with `bytes` bytes of address space, and its tables.
    fn sized(bytes: usize, config: &Config, world: &'static dyn World) -> Result<Heap, MapError> {
        let space = Reservation::new(bytes)?;
        let (base, bytes) = (space.base, space.bytes);
        #[cfg(not(any(modelled, miri)))]
        if config.huge_pages {
            crate::sync::want_huge_pages(base, bytes);
        }
        let npages = bytes / PAGE_SIZE;
        let granules = bytes / crate::layout::GRANULE;
        let heap = Heap {
            bounds: Bounds { base, bytes },
            page_map: PageMap::new(npages)?,
            spans: Spans::new(npages)?,
            pages: PageHeap::new(space)?,
            maps: [MarkMap::new(granules)?, MarkMap::new(granules)?],
            stored: MarkMap::new(granules)?,
            classes: Classes::new()?,
            work: Work::new(npages, &config.stress)?,
            cycle: Cycle::new(),
            pacer: Pacer::new(),
            roots: RootTable::new(bytes)?,
            afterlife: Afterlife::new(bytes)?,
            profile: Profile::new()?,
            counters: Counters::new(),
            listeners: Listeners::new(),
            scavenger: Scavenger::new(),
            pretouch: Pretouch::new(),
            limiter: Limiter::new(config),
            procs: AtomicUsize::new(config.procs),
            ps: Table::new(MAX_PS)?,
            ps_len: AtomicUsize::new(0),
            ps_lock: Lock::new(Rank::Ps, ()),
            stopper: AtomicPtr::new(core::ptr::null_mut()),
            lingered: AtomicU64::new(0),
            config: config.clone(),
            world,
        };
        heap.pacer.start(&heap);
        Ok(heap)
    }

    /// The collector's part of one more P. Nobody holds it yet.
    ///
    /// # Panics
    /// If there are more than [`MAX_PS`].
    pub fn new_p(&'static self) -> &'static GcP {
        let _guard = self.ps_lock.lock();
        let n = self.ps_len.load(Ordering::Relaxed);
        assert!(n < MAX_PS, "a heap serves at most {MAX_PS} Ps");
        let p = GcP::new(self, n as u32);
        self.ps[n].0.store(core::ptr::from_ref(p).cast_mut(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `ps`, which then reads the entry.
        self.ps_len.store(n + 1, Ordering::Release);
        p
    }

    /// All Ps ever made for this heap.
    pub fn ps(&self) -> impl Iterator<Item = &'static GcP> {
        (0..self.ps_len.load(Ordering::Acquire)).map(|i| {
            // SAFETY: `new_p` stored it before the count; Ps live for ever.
            unsafe { &*self.ps[i].0.load(Ordering::Relaxed) }
        })
    }

    /// How many Ps run mutators.
    pub fn procs(&self) -> usize {
        // Relaxed: for estimates.
        self.procs.load(Ordering::Relaxed)
    }

    /// The host runs mutators on `n` Ps from now on. What it gave for `Config::procs` at first.
    ///
    /// # Panics
    /// If `n` is not in 1 to [`MAX_PS`].
    pub fn set_procs(&self, n: usize) {
        assert!((1..=MAX_PS).contains(&n), "a heap serves 1 to {MAX_PS} Ps, not {n}");
        self.procs.store(n, Ordering::Relaxed);
    }

    /// Bytes of memory in the tables that grow with the heap.
    pub(crate) fn table_bytes(&self) -> usize {
        self.page_table_bytes() + self.work.table_bytes() + self.afterlife.records.bytes()
    }

    /// Bytes of memory in the tables that have entries for each page that was ever used.
    pub(crate) fn page_table_bytes(&self) -> usize {
        // The page map, the two tables of runs, the span table, and the bits in the two mark maps.
        const EACH: usize =
            2 * size_of::<u64>() + size_of::<Span>() + 2 * PAGE_SIZE / crate::layout::GRANULE / u8::BITS as usize;
        self.pages.top() * EACH
    }

    /// The configuration that the heap was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the collector has done so far.
    pub fn stats(&self) -> Stats {
        Stats::collect(self)
    }

    /// Whether `addr` lies in the reservation.
    #[nowritebarrierrec]
    #[inline(always)]
    pub fn contains(&self, addr: usize) -> bool {
        self.bounds.contain(addr)
    }

    /// The page of an address in the reservation.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn page_of(&self, addr: usize) -> usize {
        self.bounds.page_of(addr)
    }

    /// The mark bit of an address in the reservation.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn granule_of(&self, addr: usize) -> usize {
        self.bounds.granule_of(addr)
    }

    /// The span of an object.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn span_of_object(&self, base: usize) -> &Span {
        &self.spans[self.page_of_object(base).span as usize - 1]
    }

    /// What the page map says about an object.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn page_of_object(&self, base: usize) -> Page {
        self.page_map.of_object(self.page_of(base))
    }

    /// The class of an object.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn class_of_object(&self, base: usize) -> &Class {
        self.classes.get(self.page_of_object(base).class)
    }

    /// Bytes of an object's slot. A large object's is its span, and the span says how long that is.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn size_of_object(&self, class: &Class, base: usize) -> usize {
        let slot = class.slot();
        // Relaxed: constant while the object lives.
        if slot <= crate::layout::SMALL_MAX { slot } else { self.span_of_object(base).slot.load(Ordering::Relaxed) }
    }

    /// The object that an arbitrary word points into, if it is a live slot: its span is in use, and the slot is
    /// published and allocated. Interior pointers count; everything else is `None`, never an error.
    #[nowritebarrierrec]
    #[inline]
    pub fn find_object(&self, word: usize) -> Option<usize> {
        if !self.contains(word) {
            return None;
        }
        // Acquire: pairs with the Release in `Spans::publish`: the span's fields are there.
        let page = self.page_map.get(self.page_of(word), Ordering::Acquire);
        if page.span == 0 {
            return None;
        }
        let span = &self.spans[page.span as usize - 1];
        let Some(slot) = span.slot_of(word) else { return None };
        // Acquire: pairs with the Release of publication: what the object holds is there.
        let live = slot < span.published.load(Ordering::Acquire) || self.alloc_map().is_marked(self.granule_of(slot));
        live.then_some(slot)
    }
}

impl Config {
    fn check(&self) -> Result<(), InitError> {
        let within = |what, value, lo, hi, allowed| {
            if (lo..=hi).contains(&value) { Ok(()) } else { Err(InitError::Config(what, value, allowed)) }
        };
        within("procs", self.procs, 1, MAX_PS, "1 to 1024 are allowed")?;
        if let Some(percent) = self.percent {
            within("percent", percent as usize, 1, 100_000, "1 to 100000 are allowed, or none at all")?;
        }
        if let Some(bytes) = self.memory_limit {
            within("memory_limit", bytes, 1 << 20, isize::MAX as usize, "at least 1 MiB (1048576) is needed")?;
        }
        within("min_heap", self.min_heap, 0, isize::MAX as usize, "that is more than an address space has")?;
        within("reserve", self.reserve, PAGE_SIZE, 1 << 44, "a page (8192) to 16 TiB are allowed")
    }
}
