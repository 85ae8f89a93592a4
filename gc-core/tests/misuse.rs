//! Misuse that ends the process, with a message that names it: each in a process of its own.

use barrier_lint::{nowritebarrierrec, yeswritebarrierrec};
use gc_core::{
    Config, Entered, Gc, GcCell, GcMut, GcP, Heap, Root, RootCell, Scanner, StopReason, Stress, Trace, Weak, World,
    add_cleanup,
};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A host that says that the world has stopped while a thread runs on.
struct Liar {
    heap: OnceLock<&'static Heap>,
    entered: &'static Entered,
}

// SAFETY: it does not keep what it promises; that is what is tested. No thread does anything at the same time as
// another one.
unsafe impl World for Liar {
    fn stop_the_world(&self, _: StopReason) {}
    fn start_the_world(&self) {}
    fn for_each_p(&self, f: &(dyn Fn(&GcP) + Sync)) {
        self.heap.get().expect("set").ps().for_each(f);
    }
    fn at_safepoint(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn begin_mark(&self, _: u32) -> usize {
        0
    }
    fn scan_stack(&self, _: usize, _: &mut Scanner<'_>) -> bool {
        true
    }
    fn scan_roots(&self, _: &mut Scanner<'_>) {}
    fn entered(&self) -> &'static Entered {
        self.entered
    }
    fn wake_workers(&self) {}
    fn pause(&self) {}
}

fn heap(config: Config) -> &'static Heap {
    let entered = Box::leak(Box::new(Entered::new()));
    let world: &'static Liar = Box::leak(Box::new(Liar { heap: OnceLock::new(), entered }));
    let heap = Heap::new(config, world).expect("a heap");
    world.heap.get_or_init(|| heap)
}

#[derive(Trace)]
struct Node {
    id: u64,
    next: GcCell<Option<Gc<Node>>>,
    mutable: GcMut<Option<Gc<Node>>>,
}

fn node() -> Gc<Node> {
    Gc::new(Node { id: 7, next: GcCell::new(None), mutable: GcMut::new(None) })
}

/// What another thread does while this one has stopped the world. `late`: it takes its P only then.
fn beside_a_stop(late: bool, misuse: impl FnOnce(&Root<Node>, Gc<Node>, Gc<[GcCell<Option<Gc<Node>>>]>) + Send) {
    let heap = heap(Config::default());
    heap.acquire_p(heap.new_p());
    let (to, from): (Sender<()>, Receiver<()>) = channel();
    let (ready, is_ready) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let p = heap.new_p();
            heap.acquire_p(p);
            let (root, node, cells) = (Root::new(node()), node(), Gc::<[GcCell<Option<Gc<Node>>>]>::cells(5, None));
            if late {
                heap.release_p(p);
            }
            ready.send(()).expect("somebody listens");
            from.recv().expect("a stop");
            if late {
                heap.acquire_p(p);
            }
            misuse(&root, node, cells);
            println!("it went through");
            std::process::exit(0);
        });
        is_ready.recv().expect("the thread is ready");
        let mut told = false;
        heap.for_each_object(&mut |_| {
            if !std::mem::replace(&mut told, true) {
                to.send(()).expect("somebody listens");
                // Until the process ends.
                std::thread::sleep(std::time::Duration::from_secs(20));
            }
        });
    });
}

/// Writes to what the collector has freed.
fn write_after_free() {
    let mut stress = Stress::default();
    stress.poison = true;
    let heap = heap(Config { stress, ..Config::default() });
    heap.acquire_p(heap.new_p());
    // This host scans no stacks.
    let lost = node();
    let kept = Root::new(node());
    heap.collect();
    // SAFETY: none: the object is dead.
    unsafe { Gc::as_ptr(lost).cast::<u64>().byte_add(8).write(0xbad) };
    (0..100_000).for_each(|_| _ = std::hint::black_box(node()));
    assert_eq!(kept.get().id, 7);
}

/// Follows a pointer in what the collector has freed.
fn read_after_free() {
    let mut stress = Stress::default();
    stress.poison = true;
    let heap = heap(Config { stress, ..Config::default() });
    heap.acquire_p(heap.new_p());
    let lost = node();
    let kept = Root::new(node());
    lost.next.set(Some(kept.get()));
    heap.collect();
    let found = lost.next.get().map(|next| next.id);
    println!("it went through: {found:?}");
}

/// Has something to drop.
#[derive(Trace)]
struct Owner {
    name: String,
}

/// Writes to what was dropped.
fn write_after_drop() {
    let mut stress = Stress::default();
    stress.poison = true;
    let heap = heap(Config { stress, ..Config::default() });
    heap.acquire_p(heap.new_p());
    // One stays, and so does the span.
    let new = |name: &str| Gc::new(Owner { name: name.to_owned() });
    let (lost, kept) = (new("lost"), Root::new(new("kept")));
    heap.collect();
    assert_eq!(heap.run_afterlife(10), 1);
    // SAFETY: none: the object is dead.
    unsafe { Gc::as_ptr(lost).cast::<u64>().byte_add(8).write(0xbad) };
    (0..100_000).for_each(|_| _ = std::hint::black_box(new("new")));
    assert_eq!(Gc::with(kept.get(), |k| k.name.clone()), "kept");
}

/// What a thread without a P does with a weak pointer.
fn with_weak(misuse: impl FnOnce(Weak<Node>) + Send) {
    let heap = heap(Config::default());
    heap.acquire_p(heap.new_p());
    let weak = Weak::new(node());
    std::thread::scope(|s| drop(s.spawn(move || misuse(weak))));
}

/// Promises more than it can know.
#[nowritebarrierrec(indirect = "not true; that is what is tested")]
fn no_barrier(f: &dyn Fn(Gc<Node>), node: Gc<Node>) {
    f(node);
}

/// A P is held, and no collection runs: no other check has anything to say.
fn inside(f: impl Fn(Gc<Node>)) {
    let heap = heap(Config::default());
    heap.acquire_p(heap.new_p());
    no_barrier(&f, node());
}

#[yeswritebarrierrec]
fn gate(node: Gc<Node>) {
    node.next.set(Some(node));
}

/// Before and after a no-barrier function, and behind a gate, barriers are allowed.
fn around(before_the_end: impl Fn(Gc<Node>)) {
    inside(gate);
    let node = node();
    node.next.set(Some(node));
    no_barrier(&before_the_end, node);
}

struct StoresOnDrop(Gc<Node>);
impl Drop for StoresOnDrop {
    fn drop(&mut self) {
        self.0.next.set(None);
    }
}

static STATIC: RootCell<Node> = RootCell::new();

type Case = (&'static str, fn(), &'static str);
const STOPPED: &str = "while another thread has stopped the world";
const CASES: &[Case] = &[
    ("set", || beside_a_stop(false, |_, node, _| node.next.set(None)), STOPPED),
    ("set-late", || beside_a_stop(true, |_, node, _| node.next.set(None)), STOPPED),
    ("swap", || beside_a_stop(false, |_, node, _| _ = node.next.swap(None)), STOPPED),
    ("fill", || beside_a_stop(false, |_, _, cells| cells.fill(1..3, None)), STOPPED),
    ("root-cell", || beside_a_stop(false, |_, node, _| STATIC.set(Some(node))), STOPPED),
    ("root", || beside_a_stop(false, |root, _, _| _ = root.get()), STOPPED),
    ("new", || beside_a_stop(false, |_, _, _| _ = node()), STOPPED),
    ("mutable", || beside_a_stop(false, |_, node, _| node.mutable.with(|_| ())), STOPPED),
    ("weak", || beside_a_stop(false, |_, node, _| _ = Weak::new(node)), STOPPED),
    ("cleanup", || beside_a_stop(false, |_, node, _| _ = add_cleanup(node, drop, 1)), STOPPED),
    ("upgrade", || with_weak(|weak| _ = weak.upgrade()), "a weak pointer is upgraded by a thread that holds no P"),
    ("write-after-drop", write_after_drop, "was written to: byte 8 of it holds 0xbad"),
    ("no-p", || std::thread::scope(|s| drop(s.spawn(|| STATIC.get()))), "by a thread that holds no P"),
    ("write-after-free", write_after_free, "was written to: byte 8 of it holds 0xbad"),
];

const SET: &str = "(gc_core::barrier::cell::set (gc-core/src/barrier/cell.rs:";
/// Found by builds with debug assertions only.
const INSIDE: &[Case] = &[
    ("inside-set", || inside(|node| node.next.set(None)), SET),
    ("inside-root-cell", || inside(|node| STATIC.set(Some(node))), "gc_core::barrier::rootcell::set ("),
    ("inside-drop", || inside(|node| drop(StoresOnDrop(node))), SET),
    ("inside-swap", || inside(|node| _ = node.next.swap(None)), "gc_core::barrier::cell::swap ("),
    (
        "inside-mutable",
        || inside(|node| node.mutable.with(|_| ())),
        "inside the no-barrier function misuse::no_barrier (",
    ),
    (
        "inside-fill",
        || inside(|_| Gc::<[GcCell<Option<Gc<Node>>>]>::cells(2, None).fill(.., None)),
        "gc_core::barrier::moves::fill (",
    ),
    ("inside-root", || inside(|node| _ = Root::new(node)), "gc_core::root::new ("),
    (
        "inside-after-a-gate",
        || {
            around(|node| {
                gate(node);
                node.next.set(None)
            })
        },
        SET,
    ),
];

const CASE: &str = "GC_CORE_MISUSE";

fn child(test: &str, case: &str) -> (Option<i32>, String) {
    let output = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .output()
        .expect("a test program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stderr) + &text(&output.stdout))
}

#[test]
fn misuse_is_fatal_and_says_what_it_is() {
    if let Ok(name) = std::env::var(CASE) {
        let (_, run, _) = CASES.iter().chain(INSIDE).find(|(n, _, _)| *n == name).expect("a case");
        return run();
    }
    let checked = if cfg!(debug_assertions) { INSIDE } else { &[] };
    for (name, _, message) in CASES.iter().chain(checked) {
        let (status, said) = child("misuse_is_fatal_and_says_what_it_is", name);
        assert_eq!(status, Some(2), "{name}: {said}");
        let line = said.lines().find(|l| l.starts_with("fatal error: ")).unwrap_or_default();
        assert!(line.contains(message), "{name}: {said}");
        println!("  {name}: {line}");
    }
    let (_, said) = child("misuse_is_fatal_and_says_what_it_is", "write-after-free");
    assert!(said.contains("a freed slot of `misuse::Node`"), "the type is named: {said}");
}

#[test]
fn a_pointer_read_from_a_freed_slot_faults() {
    if std::env::var(CASE).is_ok() {
        return read_after_free();
    }
    let (status, said) = child("a_pointer_read_from_a_freed_slot_faults", "read");
    assert!(status.is_none() && !said.contains("it went through"), "{status:?}: {said}");
}

/// Checked where debug assertions are on.
#[cfg(debug_assertions)]
#[test]
fn locks_out_of_order_are_fatal_and_the_order_is_said() {
    use gc_core::sync::{Rank, RawLock};
    if let Ok(name) = std::env::var(CASE) {
        let outer = RawLock::new(Rank::Pages);
        let inner = RawLock::new(if name == "inversion" { Rank::Sched } else { Rank::Pages });
        outer.lock();
        inner.lock();
        println!("it went through");
        return;
    }
    for (name, message) in [
        (
            "inversion",
            "fatal error: lock order: a Sched lock is taken by a thread that holds a Pages lock; \
             allowed is first Sched, then Pages",
        ),
        ("same", "fatal error: lock order: a Pages lock is taken by a thread that holds one; allowed is one at a time"),
    ] {
        let (status, said) = child("locks_out_of_order_are_fatal_and_the_order_is_said", name);
        assert_eq!(status, Some(2), "{name}: {said}");
        assert!(said.contains(message), "{name}: {said}");
    }
}
