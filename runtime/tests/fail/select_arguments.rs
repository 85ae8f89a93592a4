use tricolor::chan::{self, select};

fn main() {
    let (tx, rx) = chan::bounded::<u64>(0);
    select! {
        send(tx) -> _ => {}
    }
    select! {
        recv(rx, 1) -> _ => {}
    }
    select! {
        recv(rx) if true -> _ => {}
    }
}
