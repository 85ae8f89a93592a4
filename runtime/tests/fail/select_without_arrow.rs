use tricolor::chan::{self, select};

fn main() {
    let (tx, rx) = chan::bounded::<u64>(0);
    select! {
        recv(rx) -> value
    }
    select! {
        recv(rx) => {}
        default => {}
    }
    select! {
        send(tx, 1) -> _ {}
        recv(rx) -> _ => {}
    }
    select! {
        recv(rx) -> _ => {}
        default
    }
    select! {
        recv(rx) -> _ => {}
        after(std::time::Duration::from_secs(1)) {}
    }
}
