//! The heap: one address reservation, its tables, and the state of the collector.
//!
//! "Is this a heap pointer, and in which span" is a subtraction and a table load. Everything that describes memory
//! lies beside it, in tables indexed by page or by 16-byte granule:
//!
//! ```text
//! page_map[page]   -> first page of the span + 1 (0: not in use), and its allocation class
//! spans[page]      the span that starts at this page
//! maps[0], maps[1] one bit per granule: the marks of this cycle, and the slots that the last one left alive
//! ```

mod page_map;
mod pages;
mod span;

pub(crate) use page_map::PageMap;
pub(crate) use pages::PageHeap;
pub(crate) use span::{Span, Spans};

use crate::afterlife::Afterlife;
use crate::alloc::{Class, Classes};
use crate::mark::{Cycle, MarkMap, Work};
use crate::p::GcP;
use crate::pacer::Pacer;
use crate::root::RootTable;
use crate::stats::{Counters, Stats};
use crate::sync::{AtomicPtr, AtomicUsize, Lock, MapError, Ordering, Table, Zeroed};
use crate::world::World;
use barrier_lint::nowritebarrierrec;
use core::fmt;

/// Bytes of a page, the unit of spans.
#[cfg(not(loom))]
pub const PAGE_SIZE: usize = 8 << 10;
/// Bytes of a page; tiny, so that a model's tables are.
#[cfg(loom)]
pub const PAGE_SIZE: usize = 128;

/// Most Ps that a heap serves.
#[cfg(not(loom))]
pub const MAX_PS: usize = 1024;
/// Most Ps that a heap serves.
#[cfg(loom)]
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
    /// Heap size in bytes below which no cycle starts by itself, at 100 percent.
    pub min_heap: usize,
    /// Address space to reserve, in bytes; halved until the operating system agrees.
    pub reserve: usize,
    /// Number of Ps, for the share of marking: a quarter of them.
    pub procs: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            percent: Some(100),
            gctrace: false,
            verify: false,
            gc_every: 0,
            min_heap: 4 << 20,
            reserve: if cfg!(any(loom, miri)) { 4 * PAGE_SIZE } else { 64 << 30 },
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

/// A heap and its collector. Lives until the process ends.
pub struct Heap {
    pub(crate) base: usize,
    pub(crate) bytes: usize,
    pub(crate) page_map: PageMap,
    pub(crate) spans: Spans,
    pub(crate) pages: PageHeap,
    pub(crate) maps: [MarkMap; 2],
    pub(crate) classes: Classes,
    pub(crate) work: Work,
    pub(crate) cycle: Cycle,
    pub(crate) pacer: Pacer,
    pub(crate) roots: RootTable,
    pub(crate) afterlife: Afterlife,
    pub(crate) counters: Counters,
    pub(crate) config: Config,
    pub(crate) world: &'static dyn World,
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
        if config.procs == 0 || config.procs > MAX_PS {
            return Err(InitError::Config("procs", config.procs, "1 to 1024"));
        }
        if let Some(p) = config.percent
            && !(1..=100_000).contains(&p)
        {
            return Err(InitError::Config("percent", p as usize, "1 to 100000, or off"));
        }
        let (base, bytes) = reserve(config.reserve)?;
        let npages = bytes / PAGE_SIZE;
        let granules = bytes / crate::layout::GRANULE;
        let heap = Box::new(Heap {
            base,
            bytes,
            page_map: PageMap::new(npages)?,
            spans: Spans::new(npages)?,
            pages: PageHeap::new(npages)?,
            maps: [MarkMap::new(granules)?, MarkMap::new(granules)?],
            classes: Classes::new()?,
            work: Work::new(npages)?,
            cycle: Cycle::new(),
            pacer: Pacer::new(&config),
            roots: RootTable::new()?,
            afterlife: Afterlife::new(granules)?,
            counters: Counters::new(),
            ps: Table::new(MAX_PS)?,
            ps_len: AtomicUsize::new(0),
            ps_lock: Lock::new(()),
            config,
            world,
        });
        let heap = Box::leak(heap);
        #[cfg(any(feature = "faults", loom))]
        crate::faults::remember(heap);
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
        addr.wrapping_sub(self.base) < self.bytes
    }

    /// The page of an address in the reservation.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn page_of(&self, addr: usize) -> usize {
        (addr - self.base) / PAGE_SIZE
    }

    /// The mark bit of an address in the reservation.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn granule_of(&self, addr: usize) -> usize {
        (addr - self.base) / crate::layout::GRANULE
    }

    /// The span of an object.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn span_of_object(&self, base: usize) -> &Span {
        // Relaxed: whoever has the pointer got it by an Acquire that comes after the span was made.
        let page = self.page_map.get(self.page_of(base), Ordering::Relaxed);
        debug_assert_ne!(page.span, 0, "{base:#x} is in no span");
        &self.spans[page.span as usize - 1]
    }

    /// The class of an object.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn class_of_object(&self, base: usize) -> &Class {
        // Relaxed: as in `span_of_object`.
        self.classes.get(self.page_map.get(self.page_of(base), Ordering::Relaxed).class)
    }

    /// Bytes of an object's slot. A large object's is its span, and the span says how long that is.
    #[nowritebarrierrec]
    #[inline(always)]
    pub(crate) fn size_of_object(&self, class: &Class, base: usize) -> usize {
        let slot = class.slot();
        // Relaxed: as in `span_of_object`.
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

/// Address space for a heap: as much of `wanted` as the operating system allows, by halves.
fn reserve(wanted: usize) -> Result<(usize, usize), MapError> {
    #[cfg(not(any(loom, miri)))]
    {
        const LEAST: usize = 64 << 20;
        let mut bytes = wanted.next_multiple_of(PAGE_SIZE).max(LEAST);
        loop {
            match crate::sync::map_reserve(bytes + PAGE_SIZE) {
                Ok(p) => {
                    return Ok((p.as_ptr().expose_provenance().next_multiple_of(PAGE_SIZE), bytes));
                }
                Err(e) if bytes <= LEAST => return Err(e),
                Err(_) => bytes = (bytes / 2).max(LEAST),
            }
        }
    }
    #[cfg(any(loom, miri))]
    {
        let layout = core::alloc::Layout::from_size_align(wanted, PAGE_SIZE).expect("a small heap");
        // SAFETY: not empty.
        let base = unsafe { std::alloc::alloc_zeroed(layout) }.expose_provenance();
        #[cfg(loom)]
        crate::sync::word::model::install(base, wanted);
        Ok((base, wanted))
    }
}
