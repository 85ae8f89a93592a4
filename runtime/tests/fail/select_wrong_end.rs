use tricolor::chan::{self, select};

fn main() {
    let (tx, rx) = chan::bounded::<u64>(0);
    select! {
        recv(tx) -> _ => {}
        send(rx, 1) -> _ => {}
    }
}
