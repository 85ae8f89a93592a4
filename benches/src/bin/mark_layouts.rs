//! `cargo run --release -p tricolor-benches --bin mark_layouts`: what each way of keeping marks costs, in bare loops.
//!
//! The loops know nothing of types, size classes, other markers or mutators: they show what the machine allows, and how
//! the candidates for the collector's mark layout compare. The heap shapes are those of `mark_rate`. Heaps are pages
//! of 8 KiB with slots of one size; a page's last 128 bytes stay free, for the layout that keeps its marks there.

use std::process::ExitCode;
use tricolor_benches::{Figure, Random};

const PAGE: usize = 8 << 10;
const TAIL: usize = 128;
const GRANULE: usize = 16;
const ROUNDS: usize = 5;

/// Address space from the operating system, zeroed; given back by the end of the process.
fn map(bytes: usize, huge: bool) -> usize {
    const ALIGN: usize = 2 << 20;
    // SAFETY: a fresh anonymous mapping.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes + ALIGN,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED, "{bytes} bytes of memory");
    let at = at.expose_provenance().next_multiple_of(ALIGN);
    let advice = if huge { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
    // SAFETY: inside the mapping.
    unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(at), bytes, advice) };
    at
}

fn word(at: usize) -> *mut usize {
    std::ptr::with_exposed_provenance_mut(at)
}

fn prefetch(at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on time.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(at));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// A heap of one shape.
struct Heap {
    base: usize,
    bytes: usize,
    slot: usize,
    /// Every object begins with so many pointers, null or the base of another one.
    pointers: usize,
    roots: Vec<usize>,
    huge: bool,
}

impl Heap {
    fn new(n: usize, slot: usize, pointers: usize, huge: bool) -> Heap {
        let bytes = n.div_ceil((PAGE - TAIL) / slot) * PAGE;
        Heap { base: map(bytes, huge), bytes, slot, pointers, roots: Vec::new(), huge }
    }

    fn object(&self, i: usize) -> usize {
        let per_page = (PAGE - TAIL) / self.slot;
        self.base + i / per_page * PAGE + i % per_page * self.slot
    }

    fn set(&self, object: usize, field: usize, to: usize) {
        // SAFETY: a word of one of this heap's objects.
        unsafe { word(object + field * 8).write(to) }
    }

    fn fields(&self, object: usize) -> impl Iterator<Item = usize> {
        // SAFETY: words of one of this heap's objects.
        (0..self.pointers).map(move |i| unsafe { word(object + i * 8).read() })
    }

    fn build(shape: &str, scale: usize, huge: bool) -> Heap {
        let mut random = Random::new();
        match shape {
            "graph" => {
                let n = (8 << 20) / scale;
                let mut heap = Heap::new(n, 64, 4, huge);
                for i in 0..n {
                    (0..4).for_each(|f| heap.set(heap.object(i), f, heap.object(random.below(n))));
                }
                heap.roots.push(heap.object(0));
                heap
            }
            "tree" => {
                fn tree(heap: &Heap, next: &mut usize, levels: u32) -> usize {
                    if levels == 0 {
                        return 0;
                    }
                    let (left, right) = (tree(heap, next, levels - 1), tree(heap, next, levels - 1));
                    let at = heap.object(*next);
                    *next += 1;
                    heap.set(at, 0, left);
                    heap.set(at, 1, right);
                    at
                }
                let levels = 25 - scale.ilog2();
                let mut heap = Heap::new((1 << levels) - 1, 32, 2, huge);
                let root = tree(&heap, &mut 0, levels);
                heap.roots.push(root);
                heap
            }
            _ => {
                let n = 10_000_000 / scale;
                let mut heap = Heap::new(n, 48, 0, huge);
                heap.roots = (0..n).map(|i| heap.object(i)).collect();
                if shape == "shuffled" {
                    for i in (1..n).rev() {
                        heap.roots.swap(i, random.below(i + 1));
                    }
                }
                heap
            }
        }
    }
}

/// A way to keep marks.
trait Marks {
    fn new(heap: &Heap) -> Self;
    /// Starts to load what `mark` will look at.
    fn prefetch(&self, object: usize);
    /// Says whether the object was white.
    fn mark(&mut self, object: usize) -> bool;
    fn clear(&mut self);
}

/// One bit for each granule, beside the heap. `ATOMIC`: set by a locked instruction, as several markers must.
struct Bits<const ATOMIC: bool> {
    heap: usize,
    table: usize,
    bytes: usize,
}

impl<const ATOMIC: bool> Marks for Bits<ATOMIC> {
    fn new(heap: &Heap) -> Self {
        let bytes = heap.bytes / GRANULE / 8;
        Bits { heap: heap.base, table: map(bytes, heap.huge), bytes }
    }
    fn prefetch(&self, object: usize) {
        prefetch(self.table + (object - self.heap) / GRANULE / 8);
    }
    fn mark(&mut self, object: usize) -> bool {
        let granule = (object - self.heap) / GRANULE;
        let (at, bit) = (word(self.table + granule / 64 * 8), 1 << (granule % 64));
        // SAFETY: a word of the table.
        unsafe {
            if *at & bit != 0 {
                return false;
            }
            if ATOMIC {
                std::sync::atomic::AtomicUsize::from_ptr(at).fetch_or(bit, std::sync::atomic::Ordering::Relaxed);
            } else {
                *at |= bit;
            }
        }
        true
    }
    fn clear(&mut self) {
        // SAFETY: the table.
        unsafe { word(self.table).cast::<u8>().write_bytes(0, self.bytes) }
    }
}

/// One byte for each granule, beside the heap, set by plain stores.
struct Bytes {
    heap: usize,
    table: usize,
    bytes: usize,
}

impl Marks for Bytes {
    fn new(heap: &Heap) -> Self {
        let bytes = heap.bytes / GRANULE;
        Bytes { heap: heap.base, table: map(bytes, heap.huge), bytes }
    }
    fn prefetch(&self, object: usize) {
        prefetch(self.table + (object - self.heap) / GRANULE);
    }
    fn mark(&mut self, object: usize) -> bool {
        let at = word(self.table + (object - self.heap) / GRANULE).cast::<u8>();
        // SAFETY: a byte of the table.
        unsafe { std::mem::replace(&mut *at, 1) == 0 }
    }
    fn clear(&mut self) {
        // SAFETY: the table.
        unsafe { word(self.table).cast::<u8>().write_bytes(0, self.bytes) }
    }
}

/// From a stack, through a ring of `RING` objects that are prefetched, and back through a ring of `FOUND` pointers whose
/// marks are prefetched; a ring of 0 is none. Returns how many objects were marked.
fn depth_first<M: Marks, const RING: usize, const FOUND: usize>(heap: &Heap, marks: &mut M) -> usize {
    let mut ring = [0; 64];
    let mut found = [0; 64];
    let (mut at, mut found_at, mut marked) = (0, 0, 0);
    let mut stack: Vec<usize> = Vec::with_capacity(1 << 20);
    macro_rules! test {
        ($object:expr) => {
            if marks.mark($object) {
                marked += 1;
                if heap.pointers > 0 {
                    stack.push($object);
                }
            }
        };
    }
    macro_rules! find {
        ($object:expr) => {{
            let mut object = $object;
            if object != 0 {
                if FOUND > 0 {
                    marks.prefetch(object);
                    std::mem::swap(&mut object, &mut found[found_at]);
                    found_at = (found_at + 1) % FOUND.max(1);
                }
                if object != 0 {
                    test!(object);
                }
            }
        }};
    }
    heap.roots.iter().for_each(|r| find!(*r));
    loop {
        let mut object = stack.pop().unwrap_or(0);
        if RING > 0 {
            prefetch(object);
            std::mem::swap(&mut object, &mut ring[at]);
            at = (at + 1) % RING.max(1);
        }
        if object == 0 && stack.is_empty() {
            for f in &mut found[..FOUND] {
                let f = std::mem::take(f);
                if f != 0 {
                    test!(f);
                }
            }
            if stack.is_empty() {
                match ring[..RING].iter_mut().find(|o| **o != 0) {
                    Some(o) => object = std::mem::take(o),
                    None => return marked,
                }
            }
        }
        if object != 0 {
            heap.fields(object).for_each(|f| find!(f));
        }
    }
}

/// Green Tea: marks decide about pages, not objects. A page with a fresh mark is queued once; when its turn comes, all
/// objects marked since the last time are scanned, in order. Marks and scans of a page lie together: in its own
/// tail (`BESIDE` false), as in Go, or beside the heap. With `LOOK` the objects are prefetched a page ahead.
struct Pages<const BESIDE: bool, const AHEAD: bool> {
    heap: usize,
    /// 128 bytes for each page, 64 of marks and 64 of scans.
    table: usize,
    bytes: usize,
    queued: Vec<u8>,
}

impl<const BESIDE: bool, const AHEAD: bool> Pages<BESIDE, AHEAD> {
    fn new(heap: &Heap) -> Self {
        let table = if BESIDE { map(heap.bytes / PAGE * TAIL, heap.huge) } else { 0 };
        Pages { heap: heap.base, table, bytes: heap.bytes, queued: vec![0; heap.bytes / PAGE] }
    }

    fn marks(&self, page: usize) -> usize {
        if BESIDE { self.table + page * TAIL } else { self.heap + (page + 1) * PAGE - TAIL }
    }

    fn run(&mut self, heap: &Heap) -> usize {
        let mut queue = std::collections::VecDeque::with_capacity(self.queued.len());
        let mut marked = 0;
        let mut find = |pages: &mut Self, queue: &mut std::collections::VecDeque<usize>, object: usize| {
            if object == 0 {
                return;
            }
            let page = (object - pages.heap) / PAGE;
            let granule = (object - pages.heap) % PAGE / GRANULE;
            let (at, bit) = (word(pages.marks(page) + granule / 64 * 8), 1usize << (granule % 64));
            // SAFETY: a word of the page's marks.
            let marks = unsafe { std::sync::atomic::AtomicUsize::from_ptr(at) };
            if marks.load(std::sync::atomic::Ordering::Relaxed) & bit != 0 {
                return;
            }
            marks.fetch_or(bit, std::sync::atomic::Ordering::Relaxed);
            marked += 1;
            if heap.pointers > 0 && std::mem::replace(&mut pages.queued[page], 1) == 0 {
                queue.push_back(page);
            }
        };
        for r in &heap.roots {
            find(self, &mut queue, *r);
        }
        while let Some(page) = queue.pop_front() {
            self.queued[page] = 0;
            if AHEAD && let Some(next) = queue.get(3) {
                self.each_unscanned(*next, false, prefetch);
            }
            let mut objects = [0; PAGE / GRANULE];
            let mut n = 0;
            self.each_unscanned(page, true, |object| {
                objects[n] = object;
                n += 1;
            });
            for object in &objects[..n] {
                heap.fields(*object).for_each(|f| find(self, &mut queue, f));
            }
        }
        marked
    }

    fn each_unscanned(&self, page: usize, take: bool, mut f: impl FnMut(usize)) {
        for i in 0..8 {
            let marks = self.marks(page) + i * 8;
            // SAFETY: words of the page's marks and scans.
            let (marks, scans) = unsafe { (*word(marks), &mut *word(marks + 64)) };
            let mut fresh = marks & !*scans;
            if take {
                *scans = marks;
            }
            while fresh != 0 {
                f(self.heap + page * PAGE + (i * 64 + fresh.trailing_zeros() as usize) * GRANULE);
                fresh &= fresh - 1;
            }
        }
    }

    fn clear(&mut self) {
        for page in 0..self.bytes / PAGE {
            // SAFETY: the page's marks and scans.
            unsafe { word(self.marks(page)).cast::<u8>().write_bytes(0, TAIL) }
        }
    }
}

/// MiB of slots marked for each second of processor time, over the rounds.
fn row<S>(heap: &Heap, shape: &str, name: &str, mut state: S, run: impl Fn(&mut S) -> usize, clear: impl Fn(&mut S)) {
    let rate = |_| {
        let begin = gc_core::sync::cpu_nanos();
        let marked = run(&mut state);
        let seconds = (gc_core::sync::cpu_nanos() - begin) as f64 / 1e9;
        clear(&mut state);
        (marked * heap.slot) as f64 / f64::from(1 << 20) / seconds
    };
    let mut rounds: Vec<f64> = (0..=ROUNDS).map(rate).collect();
    rounds.remove(0);
    println!("{shape:<10} {name:<44} {}", Figure::of(rounds));
}

fn rings<M: Marks, const RING: usize, const FOUND: usize>(heap: &Heap, shape: &str, name: &str) {
    let name = format!("{name}, ring {RING}, found {FOUND}");
    row(heap, shape, &name, M::new(heap), |m| depth_first::<M, RING, FOUND>(heap, m), M::clear);
}

fn pages<const BESIDE: bool, const AHEAD: bool>(heap: &Heap, shape: &str, name: &str) {
    row(heap, shape, name, Pages::<BESIDE, AHEAD>::new(heap), |p| p.run(heap), Pages::clear);
}

fn measure(shape: &str, scale: usize, huge: bool) {
    let heap = Heap::build(shape, scale, huge);
    rings::<Bits<false>, 0, 0>(&heap, shape, "bits");
    rings::<Bits<false>, 16, 0>(&heap, shape, "bits");
    rings::<Bits<true>, 16, 0>(&heap, shape, "bits, atomic");
    rings::<Bits<true>, 16, 8>(&heap, shape, "bits, atomic");
    rings::<Bits<true>, 16, 16>(&heap, shape, "bits, atomic");
    rings::<Bits<true>, 32, 16>(&heap, shape, "bits, atomic");
    rings::<Bytes, 16, 0>(&heap, shape, "bytes");
    rings::<Bytes, 16, 8>(&heap, shape, "bytes");
    rings::<Bytes, 16, 16>(&heap, shape, "bytes");
    pages::<false, false>(&heap, shape, "pages, marks in the page (Green Tea)");
    pages::<false, true>(&heap, shape, "pages, marks in the page, prefetched");
    pages::<true, false>(&heap, shape, "pages, marks beside the heap");
    pages::<true, true>(&heap, shape, "pages, marks beside the heap, prefetched");
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let huge = args.iter().any(|a| a == "--huge-pages");
    let scale = match args.iter().find_map(|a| a.strip_prefix("--scale=")).map(str::parse) {
        None => 1,
        Some(Ok(n)) if n > 0 => n,
        Some(_) => {
            eprintln!("mark_layouts: --scale takes a number, 1 or more");
            return ExitCode::from(2);
        }
    };
    let shapes: Vec<&str> = args.iter().filter(|a| !a.starts_with("--")).map(String::as_str).collect();
    if let Some(unknown) = shapes.iter().find(|s| !["graph", "tree", "ordered", "shuffled"].contains(s)) {
        eprintln!("mark_layouts: no shape is called `{unknown}`: graph, tree, ordered, shuffled");
        return ExitCode::from(2);
    }
    println!("{:<55} {:>32}", "MiB per CPU second", "median        min        max");
    for shape in ["graph", "tree", "ordered", "shuffled"] {
        if shapes.is_empty() || shapes.contains(&shape) {
            measure(shape, scale, huge);
        }
    }
    ExitCode::SUCCESS
}
