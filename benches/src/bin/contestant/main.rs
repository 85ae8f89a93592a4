//! Tricolor's side of `cargo versus`: one workload, by name (`tricolor_bench_program` has the protocol).

mod memory;
mod net;
mod programs;
mod sched;

// The example, whose parts expect each other here.
#[path = "../../../../runtime/examples/word_index/files.rs"]
#[allow(dead_code)] // its exit status
mod files;
#[path = "../../../../runtime/examples/word_index/index.rs"]
#[allow(dead_code)] // what it prints of itself
mod index;
#[path = "../../../../runtime/examples/word_index/postings.rs"]
mod postings;
#[path = "../../../../runtime/examples/word_index/words.rs"]
mod words;

use tricolor_bench_program::{Ask, tell};
use tricolor_benches::mark;

fn main() {
    let ask = Ask::from_args();
    if let Some(shape) = ask.workload.strip_prefix("mark-") {
        let Some(shape) = mark::Shape::named(shape) else { ask.unknown() };
        // One plain thread, without a runtime, which would read this.
        let huge_pages = std::env::var_os("TRICOLOR_HUGEPAGES").is_some_and(|on| on == "on");
        tell("rate", mark::rate(shape, ask.scale as usize, 3, huge_pages).figure.median());
        return;
    }
    let run: fn(&Ask) = match ask.workload.as_str() {
        "echo" => net::echo,
        "spawn-join" => sched::spawn_join,
        "yield-2" => |ask| sched::yields(ask, 2),
        "yield-1000" => |ask| sched::yields(ask, 1000),
        "ping-pong" => sched::ping_pong,
        "buffered" => sched::buffered,
        "mutex" => sched::mutex,
        "skynet" => sched::skynet,
        "parked" => sched::parked,
        "read-byte" => sched::read_byte,
        "select" => sched::select,
        "trees-1w" => |ask| memory::trees(ask, 1),
        "trees-2w" => |ask| memory::trees(ask, 2),
        "gcbench" => memory::gcbench,
        "alloc-16" => |ask| memory::alloc(ask, 16, 1),
        "alloc-32" => |ask| memory::alloc(ask, 32, 1),
        "alloc-64" => |ask| memory::alloc(ask, 64, 1),
        "alloc-128" => |ask| memory::alloc(ask, 128, 1),
        "alloc-1024" => |ask| memory::alloc(ask, 1024, 1),
        "alloc-4096" => |ask| memory::alloc(ask, 4096, 1),
        "alloc-32-2w" => |ask| memory::alloc(ask, 32, 2),
        "ring" => memory::ring,
        "store-off" => memory::store_off,
        "store-on" => memory::store_on,
        "stops" => memory::stops,
        "hiccups" => memory::hiccups,
        "word-index" => programs::word_index,
        "stop-loop" => memory::stop_loop,
        _ => ask.unknown(),
    };
    let procs = ask.procs;
    // SAFETY: no `Gc` leaves goroutine stacks and heap objects; nothing thread-local or locked crosses a safepoint.
    unsafe { tricolor::Runtime::builder().procs(procs).run(move || run(&ask)) };
}
