//! The shortest whole: objects are made, linked, collected, found again.

mod threads;

use gc_core::{Config, Gc, GcCell, Root, Trace};
use threads::ThreadWorld;

#[derive(Trace)]
struct Node {
    id: u64,
    next: GcCell<Option<Gc<Node>>>,
}

fn list(n: u64) -> Option<Gc<Node>> {
    let mut head = None;
    for id in 0..n {
        head = Some(Gc::new(Node { id, next: GcCell::new(head) }));
    }
    head
}

fn sum(mut at: Option<Gc<Node>>) -> u64 {
    let mut sum = 0;
    while let Some(node) = at {
        sum += node.id;
        at = node.next.get();
    }
    sum
}

#[test]
fn a_list_survives_cycles_and_garbage_does_not() {
    let (world, heap) = ThreadWorld::start(Config { verify: true, ..Config::default() });
    world.enter(|| {
        let head = list(10_000);
        for round in 0..200 {
            let garbage = list(10_000);
            assert_eq!(sum(garbage), 10_000 * 9_999 / 2);
            assert_eq!(sum(head), 10_000 * 9_999 / 2, "round {round}");
        }
        let root = Root::new(head.unwrap());
        heap.collect();
        let stats = heap.stats();
        assert!(stats.cycles > 5, "{stats:?}");
        assert!(stats.heap_used < 64 << 20, "memory is reused: {stats:?}");
        assert_eq!(sum(Some(root.get())), 10_000 * 9_999 / 2);
        eprintln!("{stats:#?}");
    });
}

/// The flags that the kernel keeps for the mapping of `address`.
#[cfg(target_os = "linux")]
fn mapping_flags(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("this process's mappings");
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|r| r.split_once('-'));
        if let Some((Ok(from), Ok(to))) =
            range.map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)))
        {
            inside = (from..to).contains(&address);
        } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return Some(flags.to_owned());
        }
    }
    None
}

#[cfg(target_os = "linux")]
#[test]
fn huge_pages_are_asked_for_only_on_request() {
    if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        eprintln!("SKIPPED: this kernel has no transparent huge pages");
        return;
    }
    for huge_pages in [false, true] {
        let (world, _) = ThreadWorld::start(Config { huge_pages, ..Config::default() });
        world.enter(|| {
            let flags = mapping_flags(Gc::as_ptr(Gc::new(0u64)).addr()).expect("the heap's mapping");
            assert_eq!(flags.split_whitespace().any(|f| f == "hg"), huge_pages, "{flags}");
        });
    }
}

#[test]
fn arrays_and_texts() {
    let (world, heap) = ThreadWorld::start(Config { verify: true, gc_every: 100, ..Config::default() });
    world.enter(|| {
        let cells = Gc::<[GcCell<Option<Gc<str>>>]>::cells(1000, None);
        for i in 0..1000 {
            cells[i].set(Some(Gc::from_text(&format!("text {i}"))));
        }
        let big = Gc::<[u64]>::from_slice(&vec![7; 100_000]);
        heap.collect();
        for i in 0..1000 {
            assert_eq!(&**cells[i].get().as_ref().unwrap(), format!("text {i}"));
        }
        assert_eq!(big.iter().sum::<u64>(), 700_000);
    });
}

#[test]
fn several_threads() {
    let (world, heap) = ThreadWorld::start(Config { verify: true, procs: 4, ..Config::default() });
    world.enter(|| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    world.enter(|| {
                        let keep = list(1000);
                        for _ in 0..300 {
                            list(3000);
                            assert_eq!(sum(keep), 1000 * 999 / 2);
                        }
                    })
                })
            })
            .collect();
        for t in threads {
            world.away(|| t.join()).unwrap();
        }
        eprintln!("{:#?}", heap.stats());
    });
}
