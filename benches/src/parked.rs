//! Goroutines that wait.

use tricolor::chan;
use tricolor::sync::WaitGroup;

/// Runs `f` while `n` goroutines wait for one channel; each was counted when it was about to.
pub fn beside_parked<R>(n: u64, f: impl FnOnce() -> R) -> R {
    let (wake, sleeps) = chan::bounded::<()>(0);
    let (up, ready) = chan::bounded::<()>(64);
    let all = WaitGroup::new();
    all.add(n as usize);
    for _ in 0..n {
        let (sleeps, up, all) = (sleeps.clone(), up.clone(), all.clone());
        tricolor::spawn(move || {
            up.send(()).unwrap();
            assert!(sleeps.recv().is_err());
            all.done();
        });
    }
    (0..n).for_each(|_| ready.recv().unwrap());
    let result = f();
    drop(wake);
    all.wait();
    result
}
