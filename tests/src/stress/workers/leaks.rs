//! Goroutines that wait and can still be woken are not called leaked.

use super::Worker;
use super::moves::wipe;
use crate::stress::page::Count;
use tricolor::chan::{Sender, bounded, select};
use tricolor::{JoinHandle, profile, spawn, yield_now};

/// Two goroutines that wait: one for what malloc'd memory keeps the sender of, one for what the other one has on its stack, or
/// for what nobody will send.
struct Waiting {
    sender: Box<Sender<u64>>,
    goroutines: [JoinHandle<Option<u64>>; 2],
}

impl Waiting {
    #[inline(never)]
    fn new() -> Waiting {
        let (first, from_us) = bounded::<u64>(0);
        let (second, from_first) = bounded::<u64>(0);
        let hands_on = spawn(move || {
            let word = from_us.recv().ok()?;
            second.send(word).is_ok().then_some(word)
        });
        let selects = spawn(move || {
            let (ours, never) = bounded::<u64>(0);
            let word = select! {
                recv(never) -> word => word,
                recv(from_first) -> word => word,
            };
            drop(ours);
            word.ok()
        });
        Waiting { sender: Box::new(first), goroutines: [hands_on, selects] }
    }

    fn end(self, w: Worker, word: u64) {
        let sent = self.sender.send(word).is_ok();
        let got = self.goroutines.map(|goroutine| goroutine.join().ok().flatten());
        if !sent || got != [Some(word); 2] {
            w.broke(format_args!("{word} was handed on as {got:?}"));
        }
    }
}

/// See [`super::Kind::Leaks`].
pub fn leaks(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let waiting = Waiting::new();
        wipe();
        (0..20).for_each(|_| yield_now());
        match profile::leaks() {
            Ok(leaks) => {
                let ours = |goroutine| waiting.goroutines.iter().any(|handle| handle.id() == goroutine);
                if let Some(leak) = leaks.iter().find(|leak| ours(leak.goroutine)) {
                    w.broke(format_args!("who can still be woken is called leaked: {leak}"));
                }
            }
            Err(why) => w.broke(format_args!("leaks cannot be looked for: {why}")),
        }
        w.tick();
        waiting.end(w, rng.draw());
        w.count(Count::Spawned, 2);
        let pause = std::time::Duration::from_millis(rng.below(100) as u64);
        tricolor::time::sleep(pause);
    }
}
