//! A storm of signals (`preempt_storm`): whom it finds, and who hears of it.
#![cfg(target_arch = "x86_64")]

mod common;

use common::{child, is_child, needs, run, with_procs};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tricolor::{blocking, chan, gc, poll, set_procs, spawn, time, yield_now};

fn stormy(procs: usize) -> tricolor::Builder {
    with_procs(procs).preempt_storm(Duration::from_micros(20))
}

/// Computes, without a safepoint, until the storm has found it so often in either way.
fn computes_until_found(times: u64, when: &str) {
    let (begin, at_first) = (Instant::now(), gc::suspensions());
    loop {
        let now = gc::suspensions();
        if now.suspended >= at_first.suspended + times && now.descheduled >= at_first.descheduled + times {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{when}: {at_first:?}, {now:?}");
        for i in 0..1000_u32 {
            std::hint::black_box(i);
        }
    }
}

#[test]
fn it_goes_on_however_the_thread_has_got_its_p() {
    needs!(Signals);
    for procs in [1, 3] {
        run(stormy(procs), move || {
            computes_until_found(10, "at the start");
            blocking((), |()| std::thread::yield_now());
            computes_until_found(10, "after a short blocking call");
            blocking((), |()| std::thread::sleep(Duration::from_millis(30)));
            computes_until_found(10, "after a long one, whose P was taken");
            time::sleep(Duration::from_millis(5));
            computes_until_found(10, "after a sleep");
            let (to, from) = chan::bounded::<u32>(0);
            let other = spawn(move || {
                computes_until_found(10, "in a new goroutine");
                to.send(1)
            });
            from.recv().expect("it sends");
            other.join().expect("no panic").expect("somebody listens");
            computes_until_found(10, "after a channel");
            gc::collect();
            computes_until_found(10, "after stops");
            yield_now();
            poll();
            computes_until_found(10, "after a safepoint");
            set_procs(procs + 1);
            computes_until_found(10, "with another number of Ps");
        });
    }
}

static HEARD: AtomicU32 = AtomicU32::new(0);

extern "C" fn hear(_signal: libc::c_int) {
    HEARD.fetch_add(1, Ordering::SeqCst);
}

/// Its signals are nobody else's, also those that come while threads end.
#[test]
fn a_handler_of_the_program_does_not_hear_of_it() {
    needs!(Signals);
    const NAME: &str = "a_handler_of_the_program_does_not_hear_of_it";
    if !is_child(NAME) {
        let (code, err) = child(NAME, &[]);
        assert_eq!(code, Some(0), "{err}");
        return;
    }
    // SAFETY: a handler that counts.
    unsafe { libc::signal(libc::SIGURG, hear as *const () as usize) };
    for _ in 0..5 {
        run(stormy(4), || {
            let all: Vec<_> = (0..8).map(|_| spawn(|| computes_until_found(20, "one of eight"))).collect();
            all.into_iter().for_each(|g| g.join().expect("no panic"));
        });
    }
    assert_eq!(HEARD.load(Ordering::SeqCst), 0, "signals of the storm were passed on");
    // SAFETY: a signal to this thread, which is none of the runtime's: it is passed on.
    unsafe { libc::raise(libc::SIGURG) };
    assert_eq!(HEARD.load(Ordering::SeqCst), 1, "the handler hears of others");
}
