//! What the attributes of `barrier-lint` do at run time, on goroutines: each fatal case runs in a child.
#![cfg(debug_assertions)]

mod common;

use barrier_lint::{SystemStack, nowritebarrierrec, systemstack};
use common::{child, is_child, with_procs};
use tricolor::{Gc, GcCell, Trace, spawn, yield_now};

fn here(f: impl FnOnce() + Send) {
    // SAFETY: a `Gc` is kept on stacks and in heap objects only.
    unsafe { with_procs(2).run(f) }
}

#[systemstack]
fn for_g0(_on: &SystemStack) {}

#[test]
fn a_system_stack_function_on_a_goroutine() {
    if is_child("a_system_stack_function_on_a_goroutine") {
        // SAFETY: not true; that is what is tested.
        return here(|| for_g0(&unsafe { SystemStack::conjure() }));
    }
    // This is no thread of the runtime: none of its stacks is a goroutine's.
    // SAFETY: as just said.
    for_g0(&unsafe { SystemStack::conjure() });
    let (code, err) = child("a_system_stack_function_on_a_goroutine", &[]);
    assert_eq!(code, None, "{err}");
    let says = "fatal error: the #[systemstack] function attributes::for_g0 was called on a goroutine's stack";
    assert!(err.contains(says), "{err}");
}

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
}

fn store() {
    let node = Gc::new(Node { next: GcCell::new(None) });
    node.next.set(Some(node));
}

#[nowritebarrierrec(indirect = "not true; that is what is tested")]
fn no_barrier(f: &dyn Fn()) {
    f();
}

/// Goroutines leave their thread in the middle of a no-barrier function. Others, which store there, are not blamed, and
/// the note comes along to where the goroutine goes on.
#[test]
fn a_note_belongs_to_its_goroutine() {
    let across = |then: fn()| {
        here(move || {
            let goroutines: Vec<_> = (0..8)
                .map(|i| {
                    spawn(move || match i % 2 {
                        0 => no_barrier(&|| (0..50).for_each(|_| yield_now())),
                        _ => (0..50).for_each(|_| {
                            store();
                            yield_now();
                        }),
                    })
                })
                .collect();
            goroutines.into_iter().for_each(|g| g.join().expect("no panic"));
            store();
            no_barrier(&|| {
                yield_now();
                then();
            });
        });
    };
    if is_child("a_note_belongs_to_its_goroutine") {
        return across(store);
    }
    {
        let _turn = common::turn();
        across(|| ());
    }
    let (code, err) = child("a_note_belongs_to_its_goroutine", &[]);
    assert_eq!(code, Some(2), "{err}");
    for says in [
        "fatal error: a write barrier (gc_core::barrier::cell::set (",
        " inside the no-barrier function attributes::no_barrier (runtime/tests/attributes.rs:",
    ] {
        assert!(err.contains(says), "{err}");
    }
}
