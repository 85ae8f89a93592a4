use tricolor::chan::{self, select};

fn main() {
    let (_tx, rx) = chan::bounded::<u64>(0);
    let got = select! {
        recv(rx) -> got => got.unwrap()
        default => 0
    };
    drop(got);
}
