//! What signals do for a loop without calls: in a program that is built with frame pointers, in one that is not, and with
//! signals off.
//!
//! `cargo verify --only outside` builds it both ways and runs it with what it is to find. It starts itself, and compares
//! everything that it prints.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tricolor::{Runtime, gc, spawn, yield_now};

/// What is printed at start where frame pointers are missing.
const NO_FRAME_POINTERS: &str = "tricolor: time slices end at safepoints only: the program has no frame pointers, by which \
    calls from libc are found; build it with RUSTFLAGS=\"-C force-frame-pointers=yes\"\n";

/// Stops that wait for the loop are not worth a report.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Rounds of a loop that somebody is expected to end, and of one that nobody is.
const ENDLESS: u64 = 1 << 36;
const LONG: u64 = 1 << 29;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["acts", slices, stops] => acts(slices == "true", stops == "true"),
        ["with"] => {
            expect(true, true, "");
            println!("outside: with frame pointers, time slices end in loops without calls");
        }
        ["without"] => {
            expect(false, true, NO_FRAME_POINTERS);
            println!("outside: without frame pointers, stops end in loops without calls, time slices do not");
        }
        _ => panic!("say whether this program was built `with` or `without` frame pointers"),
    }
}

/// Runs the acts in a program that is said to be able to do so much, and once more with signals off.
fn expect(slices: bool, stops: bool, says: &str) {
    for (debug, slices, stops, says) in [("", slices, stops, says), ("asyncpreemptoff=1", false, false, "")] {
        let mut acts = Command::new(std::env::current_exe().expect("its own path"));
        acts.args(["acts", &slices.to_string(), &stops.to_string()]).env("TRICOLOR_DEBUG", debug);
        let output = acts.output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), says, "{debug}");
        assert!(output.status.success());
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(found, format!("time slices end: {slices}, stops end: {stops}\n"), "{debug}");
    }
}

/// A goroutine that makes no call.
struct Loop {
    begun: AtomicBool,
    end: AtomicBool,
    ended: AtomicBool,
}

impl Loop {
    fn start(expected_to_be_ended: bool) -> (Arc<Loop>, tricolor::JoinHandle<()>) {
        let new = || AtomicBool::new(false);
        let it = Arc::new(Loop { begun: new(), end: new(), ended: new() });
        let (here, rounds) = (it.clone(), if expected_to_be_ended { ENDLESS } else { LONG });
        let handle = spawn(move || {
            here.begun.store(true, Ordering::Relaxed);
            let mut n = 0;
            while n < rounds && !here.end.load(Ordering::Relaxed) {
                n += 1;
            }
            here.ended.store(true, Ordering::Relaxed);
        });
        (it, handle)
    }
}

/// On one P, somebody else runs before the loop has ended, or not; on two, a collection is made before it has, or not.
fn acts(slices: bool, stops: bool) {
    let find = |expected, procs, act: fn(&Loop)| {
        // SAFETY: no `Gc`, no thread-local, and no lock of std.
        unsafe {
            Runtime::builder().procs(procs).stw_timeout(PATIENCE).run(move || {
                let (it, handle) = Loop::start(expected);
                act(&it);
                let ended_by_itself = it.ended.load(Ordering::Relaxed);
                it.end.store(true, Ordering::Relaxed);
                handle.join().expect("no panic");
                !ended_by_itself
            })
        }
    };
    fn wait(it: &Loop) {
        while !it.begun.load(Ordering::Relaxed) {
            yield_now();
        }
    }
    let slices = find(slices, 1, wait);
    let stops = find(stops, 2, |it| {
        wait(it);
        gc::collect();
    });
    println!("time slices end: {slices}, stops end: {stops}");
}
