//! Quiet points: no mutator runs, so the oracle's knowledge and the heap can be compared as a whole.

use super::graph::IdSet;
use super::region::Region;
use super::shared::{Parcel, Rooted, Shared};
use super::{Counts, Host, fail, mortal, shape};
use gc_core::Heap;
use std::fmt;

/// Leftovers that are allowed: one in this many objects, and as many more.
const SHARE: usize = 1000;
const MORE: usize = 64;

/// What a run found. Its text is one line of `name=number`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Report {
    pub counts: Counts,
    pub rounds: u64,
    pub cycles: u32,
    /// Objects that the verifier of the collector walked.
    pub verified: u64,
    /// Objects that were reachable at quiet points.
    pub reachable: u64,
    /// Objects that were alive at quiet points though unreachable, in all and at most.
    pub leftover: u64,
    pub most_leftover: u64,
    pub most_allowed: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { counts, rounds, cycles, verified, reachable, leftover, most_leftover, most_allowed } = self;
        let Counts { steps, checked, held, parcels } = counts;
        write!(
            f,
            "oracle: passed rounds={rounds} cycles={cycles} steps={steps} checked={checked} held={held} \
             parcels={parcels} verified={verified} reachable={reachable} leftover={leftover} \
             most_leftover={most_leftover} most_allowed={most_allowed}"
        )
    }
}

/// What the oracle says must be alive.
struct Expected {
    /// Sorted.
    ids: Vec<u64>,
    arrays: usize,
    mortals: usize,
}

/// What a census found alive.
struct Alive {
    /// Tags of our objects; more than there is room for are only counted.
    tags: Vec<u64>,
    arrays: usize,
    too_many: usize,
}

impl Report {
    /// Compares everything, forces two cycles, and counts what is left. `alone`: nobody else uses the heap, so that
    /// what bears no name can be counted, too.
    pub fn quiet_point<H: Host>(&mut self, host: H, heap: &Heap, shared: &Shared, regions: &mut [Region], alone: bool) {
        bring_home(host, shared);
        host.rest();
        let expected = expected(shared, regions, &mut self.counts);
        scrub();
        heap.collect();
        scrub();
        heap.collect();
        let alive = census(heap, expected.ids.len() + expected.ids.len() / 4 + 100_000);
        mortal::bury(host, heap);
        let leftover = compare(&expected, &alive, alone).max(mortal::leftover(expected.mortals));
        let allowed = expected.ids.len() / SHARE + MORE;
        // Others may have left words on their stacks that keep something.
        if alone && leftover > allowed {
            fail(format_args!(
                "round {}: {leftover} unreachable objects are alive after two cycles, beside {} reachable ones \
                 ({allowed} allowed)",
                self.rounds,
                expected.ids.len()
            ));
        }
        self.rounds += 1;
        self.reachable += expected.ids.len() as u64;
        self.leftover += leftover as u64;
        if leftover as u64 >= self.most_leftover {
            (self.most_leftover, self.most_allowed) = (leftover as u64, allowed as u64);
        }
    }
}

/// Takes what is under way into the queue, or drops it, so that all is known.
#[inline(never)]
fn bring_home<H: Host>(host: H, shared: &Shared) {
    while host.in_transit() > 0 {
        match host.receive() {
            Some(Parcel { root, id, graph }) => drop(shared.push(Rooted { root: gc_core::Root::new(root), id, graph })),
            None => host.pause(),
        }
    }
}

/// Compares all regions and parcels with what the oracle knows, and lists it.
#[inline(never)]
fn expected(shared: &Shared, regions: &mut [Region], counts: &mut Counts) -> Expected {
    let mut ids = Vec::new();
    // Each region's anchors and its ballast, and the shared cells.
    let mut arrays = 2 * regions.len() + 1;
    let mut mortals = 0;
    for region in regions {
        region.check();
        let origins: Vec<u64> = region.origins().collect();
        region.graph.prune(origins);
        region.check_weak();
        mortals += region.graph.mortals();
        ids.extend(region.graph.ids().chain(region.ballast.ids()));
        arrays += region.graph.arrays();
    }
    let cells = shared.cells.get();
    shared.with_papers(|papers| {
        let mut filled = 0;
        for object in cells.iter().filter_map(|cell| cell.get()) {
            let id = shape::identity(object);
            let Some(graph) = papers.get(&id) else {
                fail(format_args!("object {id} is in a cell and has no papers"));
            };
            graph.check(object, id, usize::MAX, &mut IdSet::default(), counts);
            ids.extend(graph.ids());
            arrays += graph.arrays();
            mortals += graph.mortals();
            filled += 1;
        }
        if filled != papers.len() {
            fail(format_args!("{} parcels should be in the shared cells: {filled} are", papers.len()));
        }
    });
    shared.with_queue(|queue| {
        for parcel in queue {
            parcel.graph.check(parcel.root.get(), parcel.id, usize::MAX, &mut IdSet::default(), counts);
            ids.extend(parcel.graph.ids());
            arrays += parcel.graph.arrays();
            mortals += parcel.graph.mortals();
        }
    });
    ids.sort_unstable();
    Expected { ids, arrays, mortals }
}

/// Overwrites the part of the stack that calls have used, since it may hold pointers that mean nothing any more.
#[inline(never)]
fn scrub() {
    let mut words = [0usize; 8 << 10];
    std::hint::black_box(&mut words);
}

#[inline(never)]
fn census(heap: &Heap, room: usize) -> Alive {
    // Room beforehand: the world is stopped while the census runs, maybe with a lock of malloc's held.
    let mut alive = Alive { tags: Vec::with_capacity(room), arrays: 0, too_many: 0 };
    heap.for_each_object(&mut |object| {
        if object.name.contains(shape::NAMES) {
            if alive.tags.len() == alive.tags.capacity() {
                alive.too_many += 1;
                return;
            }
            // SAFETY: an object of one of our shapes, all of which begin with the tag; nobody writes it.
            alive.tags.push(unsafe { std::ptr::with_exposed_provenance::<u64>(object.base).read() });
        } else if matches!(object.name, "[data]" | "[pointers]") {
            alive.arrays += 1;
        }
    });
    alive
}

/// Fails if anything is missing. Returns how many objects are too many.
fn compare(expected: &Expected, alive: &Alive, alone: bool) -> usize {
    let mut ids: Vec<u64> = alive
        .tags
        .iter()
        .map(|tag| {
            shape::id_of_tag(*tag).unwrap_or_else(|| fail(format_args!("the census met an object with tag {tag:#x}")))
        })
        .collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        fail(format_args!("the census met an object twice"));
    }
    for id in &expected.ids {
        if alive.too_many == 0 && ids.binary_search(id).is_err() {
            fail(format_args!("object {id} is reachable and not in the census"));
        }
    }
    let arrays = alive.arrays.checked_sub(expected.arrays).unwrap_or_else(|| {
        fail(format_args!("{} arrays are alive: {} are reachable", alive.arrays, expected.arrays));
    });
    let arrays = if alone { arrays } else { 0 };
    // An object and its array are left over together.
    (alive.too_many + ids.len() - expected.ids.len()).max(arrays)
}
