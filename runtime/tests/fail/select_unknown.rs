use tricolor::chan::{self, select};

fn main() {
    let (_tx, rx) = chan::bounded::<u64>(0);
    select! {
        receive(rx) -> value => drop(value),
        default => {}
    }
}
