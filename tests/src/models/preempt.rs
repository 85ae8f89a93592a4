//! Goroutines that are descheduled or scanned while others run: vector registers (`tricolor`'s `xregs`), the SCAN bit
//! (`g`, `world`), and the context of a call that asks for more stack (`stack::grow`).
//!
//! Left out: the assembly (checked by itself: `mkpreempt`), segments (a check that finds a request goes the same way, and
//! comes back to the same one), goroutines that go on upon another thread, two scanners of one
//! stack, more than one preemption of a whole cycle (`scan`).

use super::Model;
use gc_core::Trace;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use tricolor::model::World;

pub const XREGS: Model = Model {
    name: "xregs",
    property: "a goroutine that a signal has descheduled goes on with its own vector registers, whoever needs an area meanwhile",
    source: "golang/go preempt_xreg.go: xRegRestore keeps the area in the P's cache",
    threads: 2,
    bound: Some(4),
    least: 750,
    run: xregs,
    drives: &["xreg_save", "xreg_restore", "Areas::take", "Areas::give_back"],
    twins: &["xregs-freed-early"],
};

pub const SCAN: Model = Model {
    name: "scan",
    property: "a stack is scanned while its goroutine is at rest: what that moves on it, before or after, survives the cycle",
    source: "golang/go proc.go: castogscanstatus, casgstatus; invariant I4",
    threads: 2,
    bound: Some(1),
    least: 50,
    run: scan,
    drives: &["casgstatus", "scan_g", "stop_the_world", "for_each_p", "Heap::finish_mark"],
    twins: &["status-ignores-scan"],
};

pub const CTXT: Model = Model {
    name: "morestack-ctxt",
    property: "the context of a call that asks for more stack survives while its G alone holds it, and the G holds it no longer",
    source: "golang/go commit bf9c71cb43, asm_amd64.s: morestack passes the context to newstack; `stack::grow`",
    threads: 2,
    bound: Some(1),
    least: 30,
    run: ctxt,
    drives: &["grow_with", "newstack", "take_ctxt", "gc_write_barrier", "scan_g", "Heap::finish_mark"],
    twins: &["ctxt-unbarriered"],
};

pub const CTXT_QUEUED: Model = Model {
    name: "morestack-queued",
    property: "a goroutine that is queued on its way to more stack finds the context of its call again",
    source: "golang/go mgcmark.go: gobuf.ctxt is a root of its goroutine; `stack::grow`",
    threads: 2,
    bound: Some(1),
    least: 57,
    run: ctxt_queued,
    drives: &["grow_with", "newstack", "take_ctxt", "scan_g", "Heap::finish_mark"],
    twins: &["g-unscanned"],
};

fn xregs() {
    let world = World::start(2);
    let preempted = move |i: usize| {
        world.on_m(i, || {
            for round in 0..2 {
                let value = (1 + 2 * i + round) as u8;
                assert_eq!(world.preempt_and_go_on(i, i, value), value, "registers of another goroutine");
                world.give_up_xregs(i);
            }
        });
    };
    let other = thread::spawn(move || preempted(1));
    preempted(0);
    other.join().expect("the other M");
}

#[derive(Trace)]
struct Node {
    id: u64,
}

/// A goroutine on whose stack X is takes it into a register; from then on only that has it, or the G. It leaves its M in
/// the check, and runs on after the collection.
fn context(while_marking: bool) {
    let world = World::start(2);
    let collected = Arc::new(AtomicUsize::new(0));
    let x = world.on_m(0, || world.alloc(Node { id: 1 }));
    world.set_stack(1, 0, x);
    let seen = collected.clone();
    let done = move || seen.fetch_add(0, SeqCst) > 0;
    let goroutine = thread::spawn(move || {
        if while_marking {
            world.until(|| done() || world.marking());
        }
        world.on_goroutine(1, |gp| {
            let env = gp.take_off_stack(0);
            if while_marking {
                // For a scan of its stack: the G may be black by then.
                world.until(|| done() || world.is_asked(1));
            }
            world.hold_back(1, move || !done());
            world.ends_slice(1);
            assert_eq!(gp.check_stack::<Node>(env), x, "another context came back");
            assert!(world.alive(x), "X is the context of a call and was freed");
            assert!(!gp.has_ctxt(), "the G holds a context that was taken");
        });
    });
    world.on_goroutine(0, |_| world.collect());
    collected.fetch_add(1, SeqCst);
    goroutine.join().expect("the goroutine");
}

fn ctxt() {
    context(true);
}

fn ctxt_queued() {
    context(false);
}

fn scan() {
    let world = World::start(2);
    let collected = Arc::new(AtomicUsize::new(0));
    let (x, other) = world.on_m(0, || (world.alloc(Node { id: 1 }), world.alloc(Node { id: 2 })));
    // A scan goes from the first word to the last, and has something to do in between.
    world.set_stack(1, 1, other);
    world.set_stack(1, 2, x);
    let goroutine = {
        let collected = collected.clone();
        thread::spawn(move || {
            world.on_goroutine(1, |gp| {
                world.poll();
                gp.move_on_stack(2, 0);
                world.until(|| {
                    world.poll();
                    collected.fetch_add(0, SeqCst) > 0
                });
                assert!(world.alive(x), "X is on the goroutine's stack and was freed");
            });
        })
    };
    world.on_goroutine(0, |_| world.collect());
    collected.fetch_add(1, SeqCst);
    goroutine.join().expect("the goroutine");
}
