use gc_core::{Conservative, Gc};

fn main() {
    let _ = Gc::new(Conservative(String::from("may be anything to the collector")));
}
