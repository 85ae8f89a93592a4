use gc_core::Trace;

#[derive(Trace)]
struct Node {
    #[trace(skip)]
    n: u64,
}

fn main() {}
