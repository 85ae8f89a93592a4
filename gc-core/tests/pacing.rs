//! Pacing, sweeping in proportion, events, census: when things happen, and who is told.

mod child;
mod threads;

use gc_core::events::{Event, MAX_LISTENERS, TooManyListeners};
use gc_core::{Config, Gc, GcCell, Heap, Stress, Trace, Window};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use threads::ThreadWorld;

/// Seven words, and so is its slot.
#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 6],
}

/// Of another class than [`Node`].
#[derive(Trace)]
struct Short {
    next: GcCell<Option<Gc<Short>>>,
}

#[inline(never)]
fn nodes(n: usize) -> Option<Gc<Node>> {
    let mut head = None;
    for i in 0..n {
        head = Some(Gc::new(Node { next: GcCell::new(head), data: [i as u64; 6] }));
    }
    head
}

#[inline(never)]
fn shorts(n: usize) -> Option<Gc<Short>> {
    let mut head = None;
    for _ in 0..n {
        head = Some(Gc::new(Short { next: GcCell::new(head) }));
    }
    head
}

/// What happened, for one listener: `data` is its address.
#[derive(Default)]
struct Log(Mutex<Vec<Event>>);

impl Log {
    fn leaked() -> &'static Log {
        Box::leak(Box::default())
    }

    fn listener(event: &Event, data: usize) {
        // SAFETY: the address of a leaked log.
        let log = unsafe { &*std::ptr::with_exposed_provenance::<Log>(data) };
        // One mutator, which does not stop while it is here.
        log.0.lock().unwrap().push(*event);
    }

    fn data(&'static self) -> usize {
        std::ptr::from_ref(self).expose_provenance()
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn cycles_end_near_their_goal() {
    let (world, heap) = ThreadWorld::start(Config::default());
    let log = Log::leaked();
    heap.listen(Log::listener, log.data()).expect("room");
    world.enter(|| {
        let keep = nodes(400_000);
        (0..200).for_each(|_| assert!(nodes(10_000).is_some()));
        std::hint::black_box(keep);
    });
    let mut ends = Vec::new();
    for event in log.events() {
        if let Event::CycleEnd { at_start, at_end, goal, .. } = event {
            assert!(at_start <= at_end);
            ends.push(at_end as f64 / goal as f64);
        }
    }
    assert!(ends.len() >= 4, "{ends:?}");
    // The first few learn.
    let late = &ends[2..];
    assert!(late.iter().all(|share| (0.6..1.15).contains(share)), "ends, in parts of the goal: {ends:?}");
}

#[test]
fn a_partial_cycle_that_finds_the_heap_grown_moves_the_goal() {
    let (world, heap) = ThreadWorld::start(Config::default());
    let log = Log::leaked();
    heap.listen(Log::listener, log.data()).expect("room");
    world.enter(|| {
        std::hint::black_box(nodes(400_000));
    });
    let ends: Vec<_> = log
        .events()
        .into_iter()
        .filter_map(|e| {
            if let Event::CycleEnd { partial, marked, goal, .. } = e { Some((partial, marked, goal)) } else { None }
        })
        .collect();
    // Everything is alive, so a partial cycle comes after a full one, and a full one after it.
    let grown: Vec<_> = ends.windows(2).filter(|w| w[0].0).map(|w| (w[1].0, w[1].2 as f64 / w[0].1 as f64)).collect();
    assert!(!grown.is_empty(), "no partial cycle: {ends:?}");
    for (partial, growth) in &grown {
        assert!(!partial, "all was alive, and another partial cycle came: {ends:?}");
        // Twice what the full cycle found and half of what has come since, which is as much again.
        assert!((1.4..1.6).contains(growth), "a goal {growth} times what was alive: {ends:?}");
    }
}

/// How far beyond its goal a heap gets at most, as a part of it, while one thread allocates and another one `stalls`, again and
/// again, at some place in the collector.
fn overshoot(stress: Stress, stalls: impl Fn(&Heap) + Sync) -> f64 {
    let (world, heap) = ThreadWorld::start(Config { stress, ..Config::default() });
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let other = threads.spawn(|| {
            world.enter(|| {
                while !done.load(Ordering::Relaxed) {
                    stalls(heap);
                    world.away(|| std::thread::sleep(Duration::from_millis(1)));
                }
            });
        });
        let most = world.enter(|| {
            let keep = nodes(100_000);
            let mut most = 0.0_f64;
            for _ in 0..2000 {
                assert!(nodes(1000).is_some());
                let stats = heap.stats();
                most = most.max(stats.heap_live as f64 / stats.heap_goal as f64);
            }
            std::hint::black_box(keep);
            most
        });
        done.store(true, Ordering::Relaxed);
        // Not left to the scope, whose waiting is std's and hidden from ThreadSanitizer.
        other.join().expect("no panic");
        most
    })
}

#[test]
fn nobody_outruns_a_thread_that_stalls_in_the_collector() {
    if !child::is_child() {
        return child::passes_and_notices(
            "nobody_outruns_a_thread_that_stalls_in_the_collector",
            &["no-wait-beyond-goal"],
        );
    }
    child::choose_fault();
    // About to end a cycle, all work handed out; and in the way of whoever wants to start one.
    let ending = overshoot(Stress::default().delay(Window::RaggedBarrierToStop, 200_000), Heap::collect);
    let starting = overshoot(Stress::default(), |heap| {
        heap.between_cycles(&mut || std::thread::sleep(Duration::from_millis(100)))
    });
    eprintln!("at most {ending:.2} and {starting:.2} of the goal");
    assert!(ending < 1.2 && starting < 1.2, "{ending} and {starting} of the goal");
}

#[test]
fn the_starter_of_a_cycle_has_little_left_to_sweep() {
    if !child::is_child() {
        return child::passes_and_notices(
            "the_starter_of_a_cycle_has_little_left_to_sweep",
            &["no-proportional-sweep"],
        );
    }
    child::choose_fault();
    let (world, heap) = ThreadWorld::start(Config::default());
    let log = Log::leaked();
    heap.listen(Log::listener, log.data()).expect("room");
    world.enter(|| {
        // Most spans are of a class from which nobody allocates, so that nobody sweeps them for his own use.
        let keep = nodes(300_000);
        (0..100).for_each(|_| assert!(shorts(100_000).is_some()));
        std::hint::black_box(keep);
    });
    // The sweep of the starter is the last one before its stop.
    let events = log.events();
    let (mut starts, mut left, mut last) = (0, 0, 0);
    for event in &events {
        match event {
            Event::Sweep { spans } => last = *spans,
            Event::Stop { reason: gc_core::StopReason::GcStart, .. } => {
                starts += 1;
                left += last;
                last = 0;
            }
            _ => {}
        }
    }
    let swept = heap.stats().swept_spans as usize;
    assert!(starts >= 4 && swept > 5000, "{starts} cycles, {swept} spans");
    assert!(left * 20 < swept, "{left} of {swept} spans were left to the starters of {starts} cycles");
    // A refill sweeps a slice or two, or as much as a large object gives back.
    let most = events.iter().filter_map(|e| if let Event::Sweep { spans } = e { Some(*spans) } else { None }).max();
    assert!(most <= Some(128), "{most:?} spans at once");
}

#[test]
fn events_come_in_order_and_stats_agree() {
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    let log = Log::leaked();
    let id = heap.listen(Log::listener, log.data()).expect("room");
    world.enter(|| {
        let keep = nodes(1000);
        heap.collect();
        heap.collect();
        std::hint::black_box(keep);
    });
    let events = log.events();
    let cycles: Vec<Event> =
        events.iter().filter(|e| matches!(e, Event::CycleStart { .. } | Event::CycleEnd { .. })).copied().collect();
    assert!(
        matches!(
            cycles[..],
            [
                Event::CycleStart { cycle: 1, .. },
                Event::CycleEnd { cycle: 1, goal: usize::MAX, .. },
                Event::CycleStart { cycle: 2, .. },
                Event::CycleEnd { cycle: 2, .. }
            ]
        ),
        "{cycles:?}"
    );
    let stats = heap.stats();
    let (mut stops, mut stopped, mut spans, mut marked) = (0, 0, 0, 0);
    for event in &events {
        match event {
            Event::Stop { stopped_ns, .. } => {
                stops += 1;
                stopped += stopped_ns;
            }
            Event::Sweep { spans: n } => spans += n,
            Event::Mark { cpu_ns, .. } => marked += cpu_ns,
            _ => {}
        }
    }
    assert_eq!((stats.cycles, stats.stops, stats.swept_spans), (2, stops, spans as u64));
    assert_eq!(stats.time_stopped.as_nanos(), u128::from(stopped));
    assert_eq!((stats.mark_assist + stats.mark_idle + stats.mark_dedicated).as_nanos(), u128::from(marked));
    let Some(Event::CycleEnd { marked, objects, .. }) = cycles.last() else { unreachable!() };
    assert_eq!((stats.marked_bytes, stats.marked_objects), (*marked, *objects));
    assert_eq!((*objects, *marked), (1000, 1000 * size_of::<Node>()));
    // Who no longer listens hears nothing.
    heap.unlisten(id);
    world.enter(|| heap.collect());
    assert_eq!(log.events().len(), events.len());
}

#[test]
fn the_table_of_listeners_is_fixed_and_its_entries_are_used_again() {
    static CALLS: [AtomicUsize; MAX_LISTENERS] = [const { AtomicUsize::new(0) }; MAX_LISTENERS];
    fn count(_: &Event, data: usize) {
        CALLS[data].fetch_add(1, Ordering::Relaxed);
    }
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    let mut ids: Vec<_> = (0..MAX_LISTENERS).map(|i| heap.listen(count, i).expect("room")).collect();
    assert_eq!(heap.listen(count, 0), Err(TooManyListeners));
    assert_eq!(TooManyListeners.to_string(), "a heap has 8 listeners at most");
    heap.unlisten(ids.remove(3));
    world.enter(|| heap.collect());
    let calls: Vec<usize> = CALLS.iter().map(|c| c.load(Ordering::Relaxed)).collect();
    assert!(
        calls[0] > 3 && calls.iter().enumerate().all(|(i, c)| *c == if i == 3 { 0 } else { calls[0] }),
        "{calls:?}"
    );
    heap.listen(count, 3).expect("the entry is free again");
    world.enter(|| heap.collect());
    assert!(CALLS[3].load(Ordering::Relaxed) > 0);
}

#[test]
fn the_census_counts_objects_bytes_and_spans_by_type() {
    let (world, heap) = ThreadWorld::start(Config { percent: None, ..Config::default() });
    world.enter(|| {
        let (keep, text) = (nodes(1000), Gc::<str>::from_text(&"x".repeat(100_000)));
        let garbage = shorts(5000);
        assert!(garbage.is_some());
        heap.collect();
        let rows = heap.census();
        let row = |name: &str| rows.iter().find(|r| r.name.ends_with(name)).copied();
        let node = row("Node").expect("nodes are there");
        assert_eq!((node.objects, node.bytes), (1000, 1000 * size_of::<Node>()));
        assert_eq!(node.spans, 1000_usize.div_ceil(8192 / size_of::<Node>()));
        let data = row("[data]").expect("the text is there");
        assert!(data.objects >= 1 && data.bytes >= 100_000, "{data:?}");
        assert!(rows.is_sorted_by(|a, b| a.bytes >= b.bytes), "the largest first: {rows:?}");
        let mut names: Vec<_> = rows.iter().map(|r| r.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows.len(), "one row for each name");
        // The same as object by object.
        let (mut objects, mut bytes) = (0, 0);
        heap.for_each_object(&mut |o| {
            objects += 1;
            bytes += o.bytes;
        });
        assert_eq!(
            rows.iter().map(|r| (r.objects, r.bytes)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
            (objects, bytes)
        );
        std::hint::black_box((keep, text, garbage));
    });
}
