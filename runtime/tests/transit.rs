//! What the runtime keeps between two points is the only reference to an object, and a collection runs at every
//! allocation: the object must still be there, and be the same.

#[path = "common/checked.rs"]
mod checked;
mod common;
#[path = "common/object.rs"]
mod object;

use common::{gc_always, needs, run, wipe, with_procs};
use object::{Object, check, churn, object};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tricolor::{Builder, Gc, GcCell, JoinHandle, Weak, chan, gc, spawn, sync, yield_now};

/// Both with a collection at every allocation and, faster, with concurrent ones while other goroutines run.
fn each(f: fn(u64)) {
    let configs: [fn() -> Builder; 3] = [gc_always, || gc_always().procs(1), || with_procs(4).gc_every(7).verify(true)];
    quiet();
    for builder in configs {
        run(builder(), move || (1..=4).for_each(f));
    }
}

/// Runs a goroutine that keeps allocating while `f` runs.
fn beside(f: impl FnOnce()) {
    let (tx, rx) = chan::bounded::<()>(0);
    let noise = spawn(move || {
        while rx.try_recv() == Err(chan::TryRecvError::Empty) {
            churn();
            yield_now();
        }
    });
    f();
    drop(tx);
    noise.join().expect("no panic");
}

#[test]
fn a_spawned_closure() {
    each(|id| {
        beside(|| {
            let o = object(id);
            let h = spawn(move || {
                churn();
                check(o, id);
            });
            churn();
            h.join().expect("no panic");
        });
    });
}

#[test]
fn a_result() {
    each(|id| {
        beside(|| {
            let h: JoinHandle<Gc<Object>> = spawn(move || object(id));
            while !h.is_finished() {
                yield_now();
            }
            churn();
            let o = h.join().expect("no panic");
            churn();
            check(o, id);
        });
    });
}

#[test]
fn a_channel_buffer() {
    each(|id| {
        beside(|| {
            let (tx, rx) = chan::bounded(40);
            (0..40).for_each(|i| tx.send(object(id * 100 + i)).expect("room"));
            churn();
            for i in 0..40 {
                let o = rx.recv().expect("it is there");
                if i % 16 == 0 {
                    churn();
                }
                check(o, id * 100 + i);
            }
        });
    });
}

#[test]
fn a_value_in_transit_with_a_waiting_sender() {
    each(|id| {
        beside(|| {
            let (tx, rx) = chan::bounded(0);
            let h = spawn(move || tx.send(object(id)).map_err(drop).expect("main listens"));
            // The sender waits by now, with the value in its sudog.
            for _ in 0..3 {
                yield_now();
                churn();
            }
            let o = rx.recv().expect("it is there");
            churn();
            check(o, id);
            h.join().expect("no panic");
        });
    });
}

#[test]
fn a_value_in_transit_to_a_waiting_receiver() {
    each(|id| {
        beside(|| {
            let (tx, rx) = chan::bounded(0);
            let h = spawn(move || {
                let o: Gc<Object> = rx.recv().expect("main sends");
                churn();
                check(o, id);
            });
            (0..3).for_each(|_| yield_now());
            tx.send(object(id)).map_err(drop).expect("somebody listens");
            churn();
            h.join().expect("no panic");
        });
    });
}

#[test]
fn a_value_that_moves_from_a_waiting_sender_into_the_buffer() {
    each(|id| {
        beside(|| {
            let (tx, rx) = chan::bounded(1);
            tx.send(object(id)).map_err(drop).expect("room");
            let h = spawn(move || tx.send(object(id + 50)).map_err(drop).expect("main listens"));
            (0..3).for_each(|_| yield_now());
            let a = rx.recv().expect("it is there");
            churn();
            check(a, id);
            let b = rx.recv().expect("it is there");
            churn();
            check(b, id + 50);
            h.join().expect("no panic");
        });
    });
}

/// A goroutine that waits to send waits with what it had the last time, which is its own.
#[test]
fn values_that_a_goroutine_waits_with_one_after_another() {
    fn sends(id: u64, times: u64) -> (chan::Receiver<Gc<Object>>, JoinHandle<()>) {
        let (tx, rx) = chan::bounded(0);
        let h = spawn(move || {
            for i in 0..times {
                tx.send(object(id + i)).map_err(drop).expect("main listens");
                wipe();
                churn();
            }
        });
        (0..3).for_each(|_| yield_now());
        (rx, h)
    }
    fn expect(rx: &chan::Receiver<Gc<Object>>, id: u64) {
        let o = rx.recv().expect("it is there");
        churn();
        check(o, id);
    }
    each(|id| {
        let id = id * 1000;
        let (rx, h) = sends(id, 3);
        for i in 0..3 {
            expect(&rx, id + i);
            // If it were free by now, one of these would wait with it, too.
            let others: Vec<_> = (1..6).map(|k| (k * 100, sends(id + k * 100, 1))).collect();
            (0..3).for_each(|_| yield_now());
            churn();
            for (k, (rx, h)) in others {
                expect(&rx, id + k);
                h.join().expect("no panic");
            }
        }
        h.join().expect("no panic");
    });
}

/// What it waits with has no value any more when the wait is over: nobody knows when the next one comes.
#[test]
fn who_has_waited_keeps_no_value() {
    const MANY: usize = 20;

    /// Receives from each, and returns what tells whether the values are alive.
    #[inline(never)]
    fn take(all: &[chan::Receiver<Gc<Object>>], times: usize) -> Vec<Weak<Object>> {
        all.iter().flat_map(|rx| (0..times).map(|_| Weak::new(rx.recv().expect("it is there")))).collect()
    }
    #[inline(never)]
    fn see(o: Gc<Object>) -> Weak<Object> {
        Weak::new(o)
    }
    fn alive(known: &[Weak<Object>]) -> usize {
        wipe();
        (0..3).for_each(|_| gc::collect());
        known.iter().filter(|weak| weak.upgrade().is_some()).count()
    }
    quiet();
    run(with_procs(1), || {
        // Who sends waits for a receiver, or for room; or who receives waits.
        for (cap, times, name) in [(0, 1, "handed over"), (1, 2, "moved into the buffer"), (0, 0, "received")] {
            let over = Arc::new(AtomicBool::new(false));
            let (back, seen) = chan::bounded(MANY);
            let (mut ends, mut all) = (Vec::new(), Vec::new());
            for k in 0..MANY as u64 {
                let (tx, rx) = chan::bounded(cap);
                let over = over.clone();
                let stay = move || {
                    wipe();
                    while !over.load(Ordering::SeqCst) {
                        yield_now();
                    }
                };
                if times > 0 {
                    all.push(spawn(move || {
                        (0..times as u64).for_each(|i| tx.send(object(k + i)).map_err(drop).expect("main listens"));
                        stay();
                    }));
                    ends.push(rx);
                } else {
                    let back = back.clone();
                    all.push(spawn(move || {
                        back.send(see(rx.recv().expect("main sends"))).expect("room");
                        stay();
                    }));
                    yield_now();
                    tx.send(object(k)).map_err(drop).expect("it listens");
                }
            }
            (0..3).for_each(|_| yield_now());
            let known = if times > 0 { take(&ends, times) } else { seen.iter().take(MANY).collect() };
            (0..3).for_each(|_| yield_now());
            let alive = alive(&known);
            over.store(true, Ordering::SeqCst);
            all.into_iter().for_each(|h| h.join().expect("no panic"));
            // Stale words on stacks keep some.
            assert!(alive * 4 <= known.len(), "{name}: {alive} of {} values are alive", known.len());
        }
    });
}

#[test]
fn a_value_that_nobody_takes_comes_back() {
    each(|id| {
        let (tx, rx) = chan::bounded(0);
        let h = spawn(move || tx.send(object(id)).expect_err("nobody listens").0);
        (0..3).for_each(|_| yield_now());
        churn();
        drop(rx);
        churn();
        check(h.join().expect("no panic"), id);
    });
}

/// Allocates while a panic goes by.
struct AllocatesOnTheWay;

impl Drop for AllocatesOnTheWay {
    fn drop(&mut self) {
        churn();
    }
}

#[test]
fn a_panic_payload() {
    each(|id| {
        beside(|| {
            for resumed in [false, true] {
                let h = spawn(move || {
                    let _churns = AllocatesOnTheWay;
                    if resumed {
                        // Boxed memory is not scanned: between here and `resume_unwind` there is no safepoint.
                        let payload = Box::new((7_u64, object(id)));
                        tricolor::resume_unwind(payload);
                    }
                    std::panic::panic_any((7_u64, object(id)));
                });
                while !h.is_finished() {
                    yield_now();
                }
                churn();
                let payload = h.join().expect_err("it panics");
                // The contract: before the next safepoint.
                let (seven, o) = *payload.downcast::<(u64, Gc<Object>)>().expect("our payload");
                churn();
                assert_eq!(seven, 7);
                check(o, id);
            }
        });
    });
}

/// Each stays until the joining goroutine's next safepoint, also right after another one.
#[test]
fn the_second_payload_of_two() {
    needs!(Signals);
    quiet();
    run(with_procs(2), || {
        let panicked = |id| {
            let (tx, rx) = chan::bounded(1);
            let h = spawn(move || -> () {
                let o = object(id);
                tx.send(Weak::new(o)).expect("there is room");
                tricolor::resume_unwind(Box::new((7_u64, o)))
            });
            while !h.is_finished() {
                yield_now();
            }
            (h, rx.recv().expect("it was sent"))
        };
        let [(first, _), (second, known)] = [1, 2].map(panicked);
        let words = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let [go, done] = words.clone();
        let collector = spawn(move || {
            while !go.load(Ordering::SeqCst) {
                yield_now();
            }
            gc::collect();
            done.store(true, Ordering::SeqCst);
        });
        drop(first.join());
        let payload = second.join().expect_err("it panics");
        words[0].store(true, Ordering::SeqCst);
        // It is stopped here, and comes to no safepoint of its own.
        while !words[1].load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        assert!(known.upgrade().is_some(), "what the second payload points to was freed");
        let (_, o) = *payload.downcast::<(u64, Gc<Object>)>().expect("our payload");
        check(o, 2);
        collector.join().expect("no panic");
    });
}

#[test]
fn an_outer_payload_while_an_inner_panic_is_caught() {
    struct PanicsInside;
    impl Drop for PanicsInside {
        fn drop(&mut self) {
            let inner = std::panic::catch_unwind(|| std::panic::panic_any((1_u64, object(1))));
            assert!(inner.is_err());
            churn();
        }
    }
    each(|id| {
        let h = spawn(move || {
            let _inner = PanicsInside;
            std::panic::panic_any((7_u64, object(id)));
        });
        let (_, o) = *h.join().expect_err("it panics").downcast::<(u64, Gc<Object>)>().expect("our payload");
        churn();
        check(o, id);
    });
}

/// No message for panics on purpose. Before the first runtime, whose hook comes in front of this one.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(common::quiet::<(u64, Gc<Object>)>);
}

#[test]
fn a_mutex_content() {
    each(|id| {
        beside(|| {
            let m = sync::Mutex::new((0_u64, object(id)));
            churn();
            m.with(|v| {
                churn();
                check(v.1, id);
                v.1 = object(id + 1);
                churn();
            });
            churn();
            let m2 = m.clone();
            spawn(move || {
                m2.with(|v| {
                    let old = std::mem::replace(&mut v.1, object(id + 2));
                    churn();
                    check(old, id + 1);
                })
            })
            .join()
            .expect("no panic");
            churn();
            m.with(|v| check(v.1, id + 2));
        });
    });
}

#[test]
fn what_a_blocked_goroutine_holds() {
    each(|id| {
        let (rx, mut tx) = std::io::pipe().expect("a pipe");
        let h = spawn(move || {
            let o = object(id);
            let n = tricolor::blocking(rx, |mut rx| {
                let mut b = [0];
                rx.read_exact(&mut b).map(|()| b[0])
            });
            check(o, id);
            n.expect("a byte")
        });
        for _ in 0..3 {
            yield_now();
            churn();
        }
        tx.write_all(&[5]).expect("the reader is there");
        assert_eq!(h.join().expect("no panic"), 5);
    });
}

#[test]
fn a_cell_of_a_shared_object() {
    #[derive(tricolor::Trace)]
    struct Shared {
        slot: GcCell<Option<Gc<Object>>>,
    }
    each(|id| {
        beside(|| {
            let shared = Gc::new(Shared { slot: GcCell::new(None) });
            let handles: Vec<_> = (0..4)
                .map(|i| {
                    let root = tricolor::Root::new(shared);
                    spawn(move || {
                        for j in 0..5 {
                            let mine = object(id * 1_000 + i * 10 + j);
                            root.get().slot.set(Some(mine));
                            churn();
                            let seen = root.get().slot.get().expect("somebody stored");
                            churn();
                            check(seen, seen.id);
                        }
                    })
                })
                .collect();
            handles.into_iter().for_each(|h| h.join().expect("no panic"));
        });
    });
}

#[test]
fn collections_happen() {
    quiet();
    let stats = run(gc_always(), || {
        churn();
        gc::collect();
        gc::stats()
    });
    assert!(stats.cycles > 0, "{stats:?}");
}
