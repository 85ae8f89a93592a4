//! `GcMut`, bulk moves and `RootCell` on goroutines.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{gc_always, run, with_procs};
use tricolor::chan::bounded;
use tricolor::{Gc, GcCell, GcMut, Root, RootCell, Trace};

#[derive(Trace)]
struct Pair {
    ends: GcMut<Ends>,
}

#[derive(Trace)]
struct Ends {
    first: Option<Gc<u64>>,
    last: Option<Gc<u64>>,
}

fn pair(n: u64) -> Gc<Pair> {
    Gc::new(Pair { ends: GcMut::new(Ends { first: Some(Gc::new(n)), last: None }) })
}

fn value(p: Option<Gc<u64>>) -> u64 {
    *p.expect("an object")
}

#[test]
fn a_goroutine_parks_inside_while_the_heap_is_collected() {
    run(gc_always(), || {
        let root = Root::new(pair(1));
        let (to, from) = bounded::<Option<Gc<u64>>>(0);
        let (done, is_done) = bounded::<u64>(1);
        let inside = root.get();
        let holder = tricolor::spawn(move || {
            inside.ends.with(|ends| {
                // Parks: the list goes with the goroutine, to whichever thread it wakes up on.
                while let Ok(Some(next)) = from.recv() {
                    ends.last = ends.first.replace(next);
                    Gc::new(0u64);
                }
                done.send(value(ends.first) * 1000 + value(ends.last)).expect("somebody waits");
            });
        });
        for n in 2..200 {
            to.send(Some(Gc::new(n))).expect("somebody waits");
            // Nobody else comes in meanwhile.
            assert!(root.get().ends.try_with(|_| ()).is_err());
            Gc::new([n; 3]);
        }
        to.send(None).expect("somebody waits");
        assert_eq!(is_done.recv(), Ok(199_198));
        holder.join().expect("no panic");
        root.get().ends.with(|ends| assert_eq!((value(ends.first), value(ends.last)), (199, 198)));
    });
}

#[test]
fn a_panic_inside_ends_the_access() {
    run(gc_always(), || {
        let pair = Root::new(pair(5));
        let theirs = pair.clone();
        let panics = tricolor::spawn(move || {
            theirs.get().ends.with(|ends| {
                ends.last = Some(Gc::new(6));
                panic!("inside");
            })
        });
        assert!(panics.join().is_err());
        pair.get().ends.with(|ends| assert_eq!((value(ends.first), value(ends.last)), (5, 6)));
    });
}

static LATEST: RootCell<u64> = RootCell::new();

#[test]
fn a_static_keeps_its_object_in_one_runtime() {
    for n in 0..3 {
        run(gc_always(), move || {
            assert!(LATEST.get().is_none(), "what an earlier runtime left");
            LATEST.set(Some(Gc::new(n)));
            let read = tricolor::spawn(|| {
                Gc::new(77);
                value(LATEST.get())
            });
            assert_eq!(read.join().expect("no panic"), n);
        });
    }
}

#[test]
fn many_pointers_move_while_others_stop_the_world() {
    run(with_procs(2).gc_percent(20).verify(true), || {
        const LEN: usize = 5000;
        let cells = Root::new(Gc::<[GcCell<Option<Gc<u64>>>]>::cells(LEN, None));
        for (i, cell) in cells.get().iter().enumerate() {
            cell.set(Some(Gc::new(i as u64)));
        }
        let collector = tricolor::spawn(|| (0..20).for_each(|_| tricolor::gc::collect()));
        for round in 0..200 {
            let cells = cells.get();
            let first = value(cells[0].get());
            let kept = cells[0].get();
            cells.copy_within(1.., 0);
            cells[LEN - 1].set(kept);
            Gc::new(round);
            assert_eq!(value(cells[LEN - 1].get()), first);
        }
        collector.join().expect("no panic");
        for (i, cell) in cells.get().iter().enumerate() {
            assert_eq!(value(cell.get()), (i as u64 + 200) % LEN as u64);
        }
    });
}
