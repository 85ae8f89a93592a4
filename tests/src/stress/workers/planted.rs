//! Who does wrong on purpose.

use super::{Kind, Worker};
use std::time::Duration;
use tricolor::{chan, time};

/// After a while, so that there is something to see of the others.
pub fn work(w: Worker) {
    time::sleep(Duration::from_millis(200));
    w.tick();
    match w.kind {
        Kind::Hang => {
            let (tx, rx) = chan::bounded::<u64>(0);
            let _ = rx.recv();
            drop(tx);
        }
        // SAFETY: none: nothing is mapped there, which is what it is about.
        Kind::Crash => drop(unsafe { std::ptr::with_exposed_provenance::<u64>(8).read_volatile() }),
        Kind::Wrong => w.broke(format_args!("a wrong answer, planted")),
        Kind::Panic => panic!("a panic, planted"),
        _ => {
            // SAFETY: a function that returns.
            unsafe { libc::atexit(takes_its_time) };
            std::process::exit(0)
        }
    }
}

/// What a program may still have to do when it exits: signals come meanwhile, also to the main thread, whose signal stack
/// std has unmapped by then.
extern "C" fn takes_its_time() {
    for _ in 0..20 {
        // SAFETY: a signal that `outside` handles, to the main thread.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::getpid(), libc::SIGUSR1) };
        std::thread::sleep(Duration::from_millis(1));
    }
}
