use tricolor::chan::{self, select};

fn main() {
    let (tx, _rx) = chan::bounded::<u64>(0);
    select! {
        send(tx, "one") -> _ => {}
    }
}
