//! Bulk moves, `GcMut` and `RootCell` while the heap is marked: everybody knows outside the heap which node should be
//! where.

mod lab;
#[path = "../../tests/src/oracle/rng.rs"]
#[allow(dead_code)]
mod rng;
mod threads;

use gc_core::{Busy, Config, Gc, GcCell, GcMut, Root, RootCell, Trace, keep_alive};
use lab::{Lab, Node, same, with_twins};
use rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;
use threads::ThreadWorld;

type Link = Option<Gc<Node>>;

/// One test at a time: each wants the whole machine.
static TURN: Mutex<()> = Mutex::new(());

fn time(twin: bool) -> Duration {
    // A twin ends when it finds something.
    Duration::from_millis(if twin { 20_000 } else { 700 })
}

/// An array, and what should be in it.
struct Known {
    cells: Root<[GcCell<Link>]>,
    ids: Vec<u64>,
}

impl Known {
    fn new(len: usize) -> Known {
        Known { cells: Root::new(Gc::<[GcCell<Link>]>::cells(len, None)), ids: vec![0; len] }
    }

    fn range(&self, rng: &mut Rng) -> std::ops::Range<usize> {
        let first = rng.below(self.ids.len());
        first..first + rng.below(self.ids.len() - first + 1)
    }

    #[inline(never)]
    fn check(&self) {
        self.cells.get().iter().zip(&self.ids).for_each(|(cell, id)| same(cell.get(), *id));
    }

    #[inline(never)]
    fn renew(&mut self, rng: &mut Rng) {
        let cells = self.cells.get();
        for _ in 0..self.ids.len() / 4 {
            let i = rng.below(self.ids.len());
            let (node, id) = Node::new();
            cells[i].set(Some(node));
            self.ids[i] = id;
        }
    }

    /// Only the stack keeps what was in the range.
    #[inline(never)]
    fn clear_and_hold(&mut self, lab: Lab, rng: &mut Rng) {
        lab.wait_for_a_black_stack();
        let range = self.range(rng);
        let cells = self.cells.get();
        let held = range.clone().next().map(|i| (cells[i].get(), self.ids[i]));
        cells.clear(range.clone());
        self.ids[range].fill(0);
        lab.wait_for_the_end();
        if let Some((node, id)) = held {
            same(node, id);
        }
    }

    /// A node that nobody has but this stack fills a part that marking has passed.
    #[inline(never)]
    fn fill(&mut self, lab: Lab, rng: &mut Rng) {
        let range = self.range(rng);
        let (node, id) = Node::new();
        lab.wait_for_a_cycle();
        self.cells.get().fill(range.clone(), Some(node));
        self.ids[range].fill(id);
    }
}

fn moves(lab: Lab, number: u64) {
    let mut rng = Rng::new(number);
    let mut arrays = [Known::new(900), Known::new(40), Known::new(300)];
    while lab.goes_on() {
        let i = rng.below(arrays.len());
        match rng.below(12) {
            0..3 => arrays[i].renew(&mut rng),
            3..6 => {
                let a = &mut arrays[i];
                let src = a.range(&mut rng);
                let dest = rng.below(a.ids.len() - src.len() + 1);
                a.cells.get().copy_within(src.clone(), dest);
                a.ids.copy_within(src, dest);
            }
            6..8 => {
                // The only copy moves to another array.
                let j = (i + 1) % arrays.len();
                let mut src = arrays[i].range(&mut rng);
                src.end = src.end.min(src.start + arrays[j].ids.len());
                let dest = rng.below(arrays[j].ids.len() - src.len() + 1);
                let from = arrays[i].cells.get();
                arrays[j].cells.get().copy_from(dest, &from[src.clone()]);
                from.clear(src.clone());
                let moved = arrays[i].ids[src.clone()].to_vec();
                arrays[j].ids[dest..dest + src.len()].copy_from_slice(&moved);
                arrays[i].ids[src].fill(0);
            }
            8 => arrays[i].clear_and_hold(lab, &mut rng),
            9 => arrays[i].fill(lab, &mut rng),
            10 => lab.garbage(200),
            _ => arrays[i].check(),
        }
    }
    arrays.iter().for_each(Known::check);
}

#[test]
fn bulk_moves_under_marking() {
    let _turn = TURN.lock();
    with_twins("bulk_moves_under_marking", &["skip-move-barrier"], |twin| Lab::run(2, time(twin), moves));
}

#[test]
fn ranges_that_do_not_fit_are_refused() {
    let (world, _) = ThreadWorld::start(Config::default());
    world.enter(|| {
        let cells = Gc::<[GcCell<Link>]>::cells(10, None);
        let says = |f: &dyn Fn()| {
            let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it is refused");
            payload.downcast_ref::<String>().expect("a message").clone()
        };
        for (message, wanted) in [
            (
                says(&|| cells.copy_within(5..11, 0)),
                "copy_within: cells Included(5) to Excluded(11) are not in an array of 10",
            ),
            (
                says(&|| cells.copy_within(5..8, 8)),
                "copy_within: 3 cells from cell 8 on do not fit into an array of 10",
            ),
            (
                says(&|| cells.copy_from(usize::MAX, &cells[..2])),
                "copy_from: 2 cells from cell 18446744073709551615 on",
            ),
            (says(&|| cells.fill(..=10, None)), "fill: cells Unbounded to Included(10) are not in an array of 10"),
            (says(&|| cells.clear(..=usize::MAX)), "clear: cells Unbounded to Included(18446744073709551615)"),
            #[allow(clippy::reversed_empty_ranges)]
            (says(&|| cells.clear(4..3)), "clear: cells Included(4) to Excluded(3)"),
        ] {
            assert!(message.contains(wanted), "{message}");
        }
        // What is empty, and what just fits.
        cells.copy_within(10.., 10);
        cells.fill(.., Some(Node::new().0));
        cells.clear(0..10);
        cells.copy_from(10, &[]);
    });
}

/// A bag of nodes that change by plain stores, with their numbers beside them.
#[derive(Trace)]
struct Bag {
    links: GcMut<Links>,
}

#[derive(Trace)]
struct Links {
    nodes: [Link; 6],
    ids: [u64; 6],
    choice: Choice,
}

#[derive(Trace)]
enum Choice {
    Number(#[allow(dead_code)] u32),
    Node(u32, Gc<Node>),
}

impl Links {
    fn check(&self) {
        self.nodes.iter().zip(&self.ids).for_each(|(node, id)| same(*node, *id));
        if let Choice::Node(low, node) = &self.choice {
            assert_eq!(*low, node.id() as u32, "a node is lost");
        }
    }
}

fn bag() -> Gc<Bag> {
    Gc::new(Bag { links: GcMut::new(Links { nodes: [None; 6], ids: [0; 6], choice: Choice::Number(7) }) })
}

/// As many bags as give the marker something to do between the first and the last.
const BAGS: usize = 2000;

struct Bags {
    all: Root<[GcCell<Option<Gc<Bag>>>]>,
}

impl Bags {
    fn new() -> Bags {
        let all = Gc::<[GcCell<Option<Gc<Bag>>>]>::cells(BAGS, None);
        let root = Root::new(all);
        (0..BAGS).for_each(|i| all[i].set(Some(bag())));
        Bags { all: root }
    }

    fn get(&self, i: usize) -> Gc<Bag> {
        self.all.get()[i].get().expect("never empty")
    }

    #[inline(never)]
    fn renew(&self, rng: &mut Rng) {
        for _ in 0..100 {
            let bag = self.get(rng.below(BAGS));
            let i = rng.below(6);
            bag.links.with(|links| {
                // An allocation, hence a safepoint, inside.
                let (node, id) = Node::new();
                (links.nodes[i], links.ids[i]) = (Some(node), id);
                if i == 0 {
                    links.choice = Choice::Node(id as u32, node);
                } else if i == 1 {
                    links.choice = Choice::Number(3);
                }
            });
        }
    }

    /// What was in the bag moves to the stack, which is black: only entering has told.
    #[inline(never)]
    fn take_and_hold(&self, lab: Lab, rng: &mut Rng) {
        lab.wait_for_a_black_stack();
        let bag = self.get(rng.below(BAGS));
        let i = rng.below(6);
        let (node, id) = bag.links.with(|links| {
            if i == 0 {
                links.choice = Choice::Number(1);
            }
            (links.nodes[i].take(), std::mem::take(&mut links.ids[i]))
        });
        lab.wait_for_the_end();
        same(node, id);
    }

    /// In, scan, out: only the scan of the list sees it.
    #[inline(never)]
    fn stay_inside(&self, lab: Lab, rng: &mut Rng) {
        let bag = self.get(rng.below(20));
        bag.links.with(|links| {
            let (node, id) = Node::new();
            let mut node = Some(node);
            // From here on marking has been at the bag, as a rule.
            lab.wait_for_a_cycle();
            Self::swap(links, &mut node);
            lab.wait_for_a_black_stack();
            Self::swap(links, &mut node);
            lab.wait_for_the_end();
            same(node, id);
        });
    }

    #[inline(never)]
    fn swap(links: &mut Links, node: &mut Link) {
        std::mem::swap(&mut links.nodes[4], node);
    }

    #[inline(never)]
    fn put_new(links: &mut Links) {
        let (node, id) = Node::new();
        (links.nodes[3], links.ids[3]) = (Some(node), id);
    }

    /// What only the grey stack has goes into a bag that marking has passed: only leaving tells.
    #[inline(never)]
    fn leave_it_there(&self, lab: Lab, rng: &mut Rng) {
        let bag = self.get(rng.below(20));
        let (node, id) = Node::new();
        lab.wait_for_a_cycle();
        bag.links.with(|links| (links.nodes[2], links.ids[2]) = (Some(node), id));
    }

    #[inline(never)]
    fn swap_two(&self, rng: &mut Rng) {
        let (i, j) = (rng.below(BAGS), if rng.one_in(10) { 0 } else { rng.below(BAGS) });
        let i = if j == 0 { 0 } else { i };
        let (a, b) = (self.get(i), self.get(j));
        a.links.with(|a| {
            let swapped = b.links.try_with(|b| {
                std::mem::swap(a, b);
                Node::new();
            });
            assert_eq!(swapped.is_err(), i == j, "only the same bag twice is refused");
        });
    }

    /// A panic ends the access, and the bag is as it was left.
    #[inline(never)]
    fn panic_inside(&self, rng: &mut Rng) {
        let bag = self.get(rng.below(BAGS));
        let result = catch_unwind(AssertUnwindSafe(|| {
            bag.links.with(|links| {
                Self::put_new(links);
                std::panic::resume_unwind(Box::new(5));
            })
        }));
        assert!(result.is_err());
        bag.links.with(|links| links.check());
    }

    #[inline(never)]
    fn check(&self) {
        (0..BAGS).for_each(|i| self.get(i).links.with(|links| links.check()));
    }
}

fn mutable(lab: Lab, number: u64) {
    let mut rng = Rng::new(number);
    let bags = Bags::new();
    while lab.goes_on() {
        match rng.below(12) {
            0..3 => bags.renew(&mut rng),
            3..5 => bags.take_and_hold(lab, &mut rng),
            5..7 => bags.stay_inside(lab, &mut rng),
            7..9 => bags.leave_it_there(lab, &mut rng),
            9 => bags.swap_two(&mut rng),
            10 => bags.panic_inside(&mut rng),
            _ => bags.check(),
        }
    }
    bags.check();
}

#[test]
fn mutable_access_under_marking() {
    let _turn = TURN.lock();
    let twins = ["mutable-unscanned", "enter-unshaded", "leave-unshaded"];
    with_twins("mutable_access_under_marking", &twins, |twin| Lab::run(2, time(twin), mutable));
}

#[test]
fn several_threads_share_what_is_mutable() {
    let _turn = TURN.lock();
    static SHARED: RootCell<Bag> = RootCell::new();
    let busy = std::sync::atomic::AtomicUsize::new(0);
    Lab::run(3, time(false), |lab, number| {
        if number == 0 {
            SHARED.set(Some(bag()));
        }
        while lab.goes_on() {
            let Some(bag) = SHARED.get() else { continue };
            let outcome = bag.links.try_with(|links| {
                links.check();
                Bags::put_new(links);
                lab.garbage(3);
                links.check();
            });
            if outcome.is_err() {
                busy.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            keep_alive(bag);
        }
    });
    assert!(busy.into_inner() > 0, "they never met");
}

#[test]
fn a_second_entry_is_refused() {
    let (world, _) = ThreadWorld::start(Config::default());
    world.enter(|| {
        let bag = bag();
        bag.links.with(|_| {
            let busy: Busy = bag.links.try_with(|_| ()).expect_err("it is refused");
            assert!(busy.to_string().contains("changed already"));
            let again = catch_unwind(AssertUnwindSafe(|| bag.links.with(|_| ()))).expect_err("a panic");
            let message = again.downcast_ref::<String>().expect("a message");
            assert!(message.starts_with("the GcMut is being changed already"), "{message}");
        });
        assert_eq!(bag.links.try_with(|links| links.ids.len()), Ok(6));
    });
}

static ROOTS: [RootCell<Node>; 4] = [const { RootCell::new() }; 4];

fn root_cells(lab: Lab, number: u64) {
    let mut rng = Rng::new(number);
    let mine = &ROOTS[number as usize * 2..][..2];
    let mut ids = [0; 2];
    let ballast = Bags::new();
    while lab.goes_on() {
        let i = rng.below(2);
        same(mine[i].get(), ids[i]);
        match rng.below(4) {
            0 => {
                let (node, id) = Node::new();
                lab.wait_for_a_cycle();
                same(mine[i].swap(Some(node)), std::mem::replace(&mut ids[i], id));
            }
            1 => {
                lab.wait_for_a_black_stack();
                let node = mine[i].swap(None);
                let id = std::mem::take(&mut ids[i]);
                lab.wait_for_the_end();
                same(node, id);
            }
            2 => lab.wait_for_the_end(),
            _ => ballast.renew(&mut rng),
        }
    }
}

#[test]
fn root_cells_under_marking() {
    let _turn = TURN.lock();
    with_twins("root_cells_under_marking", &["rootcell-unshaded"], |twin| Lab::run(2, time(twin), root_cells));
}

#[test]
fn a_root_cell_belongs_to_one_heap() {
    static CELL: RootCell<Node> = RootCell::new();
    let (first, _) = ThreadWorld::start(Config::default());
    let (second, heap) = ThreadWorld::start(Config::default());
    first.enter(|| {
        assert!(CELL.get().is_none());
        CELL.set(Some(Node::new().0));
        assert!(CELL.get().is_some());
    });
    second.enter(|| {
        assert!(CELL.get().is_none(), "what another heap holds");
        let (node, id) = Node::new();
        CELL.set(Some(node));
        heap.collect();
        same(CELL.get(), id);
        CELL.set(None);
        assert!(CELL.get().is_none());
    });
    first.enter(|| assert!(CELL.get().is_none()));
}

#[test]
fn a_dropped_root_cell_keeps_nothing() {
    let (world, heap) = ThreadWorld::start(Config::default());
    world.enter(|| {
        #[inline(never)]
        fn set_many() -> Vec<RootCell<[u64]>> {
            let cells: Vec<RootCell<[u64]>> = (0..100).map(|_| RootCell::new()).collect();
            cells.iter().for_each(|cell| cell.set(Some(Gc::from_slice(&[1; 10_000]))));
            cells
        }
        let cells = set_many();
        heap.collect();
        assert!(heap.stats().marked_bytes > 100 * 80_000);
        assert!(cells.iter().all(|cell| cell.get().is_some_and(|words| words.len() == 10_000)));
        drop(cells);
        heap.collect();
        assert!(heap.stats().marked_bytes < 10 * 80_000, "{:?}", heap.stats());
    });
}
