//! Kernels that use the runtime: the heap, channels, blocking calls, panics.

use super::registers::{fold, next};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tricolor::{Gc, GcCell, Trace, blocking, chan, spawn};

#[derive(Trace)]
struct Node {
    word: u64,
    left: GcCell<Option<Gc<Node>>>,
    right: GcCell<Option<Gc<Node>>>,
}

fn node(word: u64) -> Gc<Node> {
    Gc::new(Node { word, left: GcCell::new(None), right: GcCell::new(None) })
}

pub fn allocation(seed: u64) -> u64 {
    fn tree(depth: u32, state: &mut u64) -> Gc<Node> {
        let word = next(state);
        let node = node(word);
        if depth > 0 {
            node.left.set(Some(tree(depth - 1, state)));
            node.right.set(Some(tree(depth - 1, state)));
        }
        node
    }
    fn sum(node: Option<Gc<Node>>) -> u64 {
        node.map_or(7, |n| fold(&[sum(n.left.get()), n.word, sum(n.right.get())]))
    }
    let mut state = seed;
    sum(Some(tree(7, &mut state)))
}

/// Rotates the nodes of a ring, by stores alone.
pub fn stores(seed: u64) -> u64 {
    let mut state = seed;
    let ring: [Gc<Node>; 8] = std::array::from_fn(|_| node(next(&mut state)));
    for (i, n) in ring.iter().enumerate() {
        n.left.set(Some(ring[(i + 1) % 8]));
        n.right.set(Some(ring[(i + 3) % 8]));
    }
    for _ in 0..400 {
        let i = (next(&mut state) % 8) as usize;
        let (a, b) = (ring[i], ring[(i + 5) % 8]);
        let of_a = a.left.get();
        a.left.set(b.right.get());
        b.right.set(b.left.get());
        b.left.set(of_a);
    }
    let word = |cell: &GcCell<Option<Gc<Node>>>| cell.get().map_or(0, |n| n.word);
    fold(&ring.map(|n| fold(&[n.word, word(&n.left), word(&n.right)])))
}

/// Moves pointers within and between arrays.
pub fn moves(seed: u64) -> u64 {
    type Cells = Gc<[GcCell<Option<Gc<Node>>>]>;
    let mut state = seed;
    let cells = |state: &mut u64| -> Cells {
        let cells = Gc::cells(200, None);
        cells.iter().for_each(|cell| cell.set(Some(node(next(state)))));
        cells
    };
    let (a, b) = (cells(&mut state), cells(&mut state));
    for _ in 0..10 {
        let from = (next(&mut state) % 100) as usize;
        a.copy_within(from..from + 100, 37);
        b.copy_from(from, &a[50..100]);
        a.fill(from..from + 3, b[0].get());
        b.clear(from + 60..from + 62);
    }
    let words = |cells: Cells| fold(&cells.iter().map(|c| c.get().map_or(1, |n| n.word)).collect::<Vec<_>>());
    words(a) ^ words(b).rotate_left(1)
}

pub fn channels(seed: u64) -> u64 {
    let (to, inbox) = chan::bounded::<Gc<Node>>(2);
    let (back, outbox) = chan::bounded::<Gc<Node>>(0);
    let echo = spawn(move || {
        while let Ok(n) = inbox.recv() {
            let answer = node(n.word.rotate_left(9));
            answer.left.set(Some(n));
            if back.send(answer).is_err() {
                break;
            }
        }
    });
    let mut state = seed;
    let mut sum = 0_u64;
    for _ in 0..20 {
        to.send(node(next(&mut state))).expect("somebody listens");
        let answer = outbox.recv().expect("somebody answers");
        sum = fold(&[sum, answer.word, answer.left.get().map_or(0, |n| n.word)]);
    }
    drop(to);
    echo.join().expect("no panic");
    sum
}

/// Panics whose way up runs drops, with a heap pointer in the payload.
pub fn panics(seed: u64) -> u64 {
    struct Noisy<'a>(&'a mut u64, u64);
    impl Drop for Noisy<'_> {
        fn drop(&mut self) {
            for i in 0..300 {
                *self.0 = (*self.0 ^ self.1).rotate_left(7).wrapping_add(i);
            }
        }
    }
    #[inline(never)]
    fn down(depth: u64, sum: &mut u64, payload: Gc<Node>) {
        let noisy = Noisy(sum, depth);
        if depth == 0 {
            // Without the hook, which would print.
            tricolor::resume_unwind(Box::new(payload));
        }
        down(depth - 1, noisy.0, payload);
    }
    let mut sum = seed;
    for i in 0..3 {
        let caught = catch_unwind(AssertUnwindSafe(|| down(8 + i, &mut sum, node(seed ^ i))));
        let payload = caught.expect_err("it panics");
        let node = payload.downcast_ref::<Gc<Node>>().expect("what was thrown");
        sum = fold(&[sum, node.word]);
    }
    sum
}

pub fn blocking_calls(seed: u64) -> u64 {
    let mut sum = seed;
    for i in 0..20_u64 {
        let kept = node(sum);
        let answer = blocking((sum, i), |(sum, i)| {
            std::thread::yield_now();
            sum.wrapping_mul(2 * i + 3)
        });
        sum = fold(&[answer, kept.word]);
    }
    sum
}
