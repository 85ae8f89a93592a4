//! Drops, weak pointers and cleanups among goroutines: something is due, a goroutine wakes and does it.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{run, with_procs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tricolor::{Builder, Gc, GcCell, Root, Trace, Weak, chan, gc, spawn, yield_now};

/// Counts its drop; needs it through a field, and has pointers beside that.
#[derive(Trace)]
struct Named {
    name: String,
    token: Token,
    next: GcCell<Option<Gc<Named>>>,
}

#[derive(Trace)]
struct Token {
    drops: Arc<AtomicUsize>,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

fn named(i: usize, drops: &Arc<AtomicUsize>, next: Option<Gc<Named>>) -> Gc<Named> {
    let token = Token { drops: drops.clone() };
    Gc::new(Named { name: format!("object {i}"), token, next: GcCell::new(next) })
}

fn list(n: usize, drops: &Arc<AtomicUsize>) -> Option<Gc<Named>> {
    (0..n).fold(None, |next, i| Some(named(i, drops, next)))
}

fn length(mut at: Option<Gc<Named>>) -> usize {
    let mut n = 0;
    while let Some(this) = at {
        at = Gc::with(this, |o| {
            assert!(o.name.starts_with("object "));
            o.next.get()
        });
        n += 1;
    }
    n
}

/// Collects until `enough`, which the goroutine of the runtime brings about.
fn collect_until(mut enough: impl FnMut() -> bool) {
    for _ in 0..1000 {
        gc::collect();
        for _ in 0..10 {
            if enough() {
                return;
            }
            yield_now();
        }
    }
    panic!("nothing of this happened in a thousand collections: {:?}", gc::stats());
}

fn each(f: fn()) {
    let configs: [fn() -> Builder; 3] =
        [|| with_procs(1), || with_procs(4).verify(true).min_heap(1 << 16), || with_procs(2).gc_every(53)];
    for config in configs {
        run(config(), f);
    }
}

#[test]
fn dead_objects_of_all_goroutines_are_dropped() {
    const N: usize = 500;
    each(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let kept = Root::new(list(N, &drops).expect("not empty"));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let drops = drops.clone();
                spawn(move || (0..4).map(|_| length(list(N, &drops))).sum::<usize>())
            })
            .collect();
        workers.into_iter().for_each(|w| assert_eq!(w.join().unwrap(), 4 * N));
        // A stale word here and there may keep a list or a part of one.
        collect_until(|| drops.load(Ordering::SeqCst) > 8 * 4 * N * 3 / 4);
        assert!(drops.load(Ordering::SeqCst) <= 8 * 4 * N);
        assert_eq!(length(Some(kept.get())), N);
    });
}

#[test]
fn cleanups_run_on_a_goroutine() {
    each(|| {
        let (tx, rx) = chan::bounded(0);
        let sender = spawn(move || {
            for i in 0..20_u64 {
                let tx = tx.clone();
                // It blocks in the channel, so it is on a goroutine.
                let send = move |i| tx.send(Gc::new(i)).unwrap_or_default();
                gc::add_cleanup(Gc::new([i; 4]), send, i);
            }
        });
        sender.join().unwrap();
        let receiver = spawn(move || {
            let mut got = Vec::new();
            while got.len() < 15 {
                got.push(*rx.recv().unwrap());
            }
            got
        });
        let done = Arc::new(AtomicUsize::new(0));
        let watch = {
            let done = done.clone();
            spawn(move || {
                let got = receiver.join().unwrap();
                done.store(1, Ordering::SeqCst);
                got
            })
        };
        collect_until(|| done.load(Ordering::SeqCst) == 1);
        let mut got = watch.join().unwrap();
        got.sort_unstable();
        got.dedup();
        assert!(got.len() == 15 && got.iter().all(|i| *i < 20), "{got:?}");
    });
}

#[test]
fn weak_pointers_do_not_keep_what_they_find() {
    each(|| {
        let kept = Root::new(Gc::new(7_u64));
        let strong = Weak::new(kept.get());
        let weak: Vec<Weak<u64>> = spawn(|| (0..100).map(|i| Weak::new(Gc::new(i))).collect()).join().unwrap();
        collect_until(|| weak.iter().filter(|w| w.upgrade().is_some()).count() < 10);
        assert_eq!(strong.upgrade().map(|s| *s), Some(7));
        assert_eq!(strong, Weak::new(kept.get()));
    });
}

#[derive(Trace)]
struct Explosive {
    token: Token,
}

impl Drop for Explosive {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn a_panic_in_a_drop_ends_that_drop_only() {
    each(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counter = drops.clone();
        let explosive = move |_| {
            Gc::new(Explosive { token: Token { drops: counter.clone() } });
        };
        spawn(move || (0..100).for_each(explosive)).join().unwrap();
        // The token is a field: it is dropped although the drop of the whole has panicked.
        collect_until(|| drops.load(Ordering::SeqCst) > 75);
    });
}

/// The goroutine of the runtime has nothing to do, so it does not count among those that wait.
#[test]
fn all_asleep_is_still_seen() {
    if std::env::var_os("TRICOLOR_CHILD").is_some() {
        run(with_procs(2), || {
            let (tx, rx) = chan::bounded::<u64>(0);
            let _ = rx.recv();
            drop(tx);
        });
        return;
    }
    let (code, text) = common::child("all_asleep_is_still_seen", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("all goroutines are asleep") && text.matches("\ngoroutine ").count() == 1, "{text}");
}

#[derive(Trace)]
struct Bulky {
    token: Token,
    bulk: [u8; 1000],
}

/// The goroutine that drops gets its turn although another one never waits.
#[test]
fn drops_keep_up_with_who_allocates() {
    for procs in [1, 2] {
        run(with_procs(procs).min_heap(4 << 20), || {
            let drops = Arc::new(AtomicUsize::new(0));
            let mut made = 0;
            while drops.load(Ordering::SeqCst) < 50_000 {
                let bulky = Gc::new(Bulky { token: Token { drops: drops.clone() }, bulk: [made as u8; 1000] });
                assert_eq!(Gc::with(bulky, |b| b.bulk[999]), made as u8);
                made += 1;
                assert!(made < 5_000_000, "hardly anything is dropped: {:?}", gc::stats());
            }
            assert!(gc::stats().cycles > 5);
        });
    }
}
