use tricolor::chan::{self, select};

fn main() {
    let (_tx, rx) = chan::bounded::<u64>(0);
    select! {
        recv(rx) -> _ => {}
        default => {}
        default => {}
    }
    select! {
        default => {}
        after(std::time::Duration::from_secs(1)) => {}
    }
}
