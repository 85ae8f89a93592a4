//! Who goes into the kernel and comes back.

use super::Worker;
use super::heap::{Link, check, link, outlast};
use super::stops::attend;
use crate::oracle::rng::mix;
use crate::stress::page::Count;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tricolor::{Gc, GcCell, blocking, lock_os_thread, spawn, time, unlock_os_thread, yield_now};

/// Blocking calls of some length, with an object on the stack meanwhile.
pub fn block(w: Worker) {
    let mut rng = w.rng();
    let holder: Gc<[GcCell<Option<Gc<Link>>>]> = Gc::cells(1, None);
    let cell = &holder[0];
    let mut in_cell = 0;
    while w.go() {
        let (word, us) = (rng.draw(), if rng.one_in(3) { rng.length(3000) as u64 } else { 0 });
        not_a_locked_one(w);
        attend(w);
        let kept = Gc::new([word, mix(word)]);
        // What comes out of the heap here is told to the collector in the P's buffer, which the call gives up with the P.
        let taken = cell.get();
        cell.set(None);
        let found = blocking((word, us), |(word, us)| {
            match us {
                0 => std::thread::yield_now(),
                us => std::thread::sleep(Duration::from_micros(us)),
            }
            mix(word ^ us)
        });
        attend(w);
        if found != mix(word ^ us) {
            w.broke(format_args!("a blocking call gave {found:#x}, not {:#x}", mix(word ^ us)));
        }
        if *kept != [word, mix(word)] {
            w.broke(format_args!("an object kept over a blocking call holds {:#x?}, not {:#x}", *kept, word));
        }
        if let Some(object) = taken {
            outlast(&mut rng);
            check(w, object, in_cell, "taken out before a blocking call");
        }
        in_cell = word;
        cell.set(Some(link(word, None)));
        w.count(Count::Syscalls, 1);
    }
}

/// Reads or writes until 8 bytes have come or gone. The number of times that a signal ended it early; `None`: the end.
fn eight(fd: i32, bytes: &mut [u8; 8], write: bool) -> io::Result<Option<u64>> {
    let (mut done, mut interrupted) = (0, 0);
    while done < 8 {
        let rest = &mut bytes[done..];
        // SAFETY: a live buffer of that length.
        let n = unsafe {
            if write {
                libc::write(fd, rest.as_ptr().cast(), rest.len())
            } else {
                libc::read(fd, rest.as_mut_ptr().cast(), rest.len())
            }
        };
        match n {
            0 => return Ok(None),
            n if n > 0 => done += n as usize,
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => interrupted += 1,
                e => return Err(e),
            },
        }
    }
    Ok(Some(interrupted))
}

/// A goroutine reads what another one writes into a pipe, both in blocking calls.
pub fn pipe(w: Worker) {
    let (reader, writer) = io::pipe().unwrap_or_else(|why| w.broke(format_args!("no pipe: {why}")));
    let mut rng = w.rng();
    let source = spawn(move || {
        let mut n = 0_u64;
        while !w.over.load(std::sync::atomic::Ordering::Relaxed) {
            let slow = rng.one_in(8).then(|| rng.length(1000) as u64);
            let wrote = blocking((writer.as_raw_fd(), n, slow), |(fd, n, slow)| {
                slow.into_iter().for_each(|us| std::thread::sleep(Duration::from_micros(us)));
                eight(fd, &mut n.to_le_bytes(), true)
            });
            attend(w);
            match wrote {
                Ok(Some(interrupted)) => w.count(Count::Interrupted, interrupted),
                other => w.broke(format_args!("a write into a pipe: {other:?}")),
            }
            n += 1;
            if rng.one_in(4) {
                yield_now();
            }
        }
        drop(writer);
        n
    });
    let mut got = 0;
    loop {
        w.tick();
        let read = blocking((reader.as_raw_fd(),), |(fd,)| {
            let mut bytes = [0; 8];
            eight(fd, &mut bytes, false).map(|read| read.map(|interrupted| (u64::from_le_bytes(bytes), interrupted)))
        });
        attend(w);
        match read {
            Ok(Some((n, interrupted))) if n == got => w.count(Count::Interrupted, interrupted),
            Ok(None) => break,
            other => w.broke(format_args!("number {got} should come out of a pipe: {other:?}")),
        }
        got += 1;
        w.count(Count::Syscalls, 2);
    }
    match source.join() {
        Ok(n) if n == got => {}
        other => w.broke(format_args!("{got} numbers came out of a pipe, into which went {:?}", other.ok())),
    }
}

/// Threads beside the runtime's, made and joined in blocking calls.
pub fn threads(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        let word = rng.draw();
        let found = blocking((word,), |(word,)| {
            std::thread::spawn(move || {
                std::thread::yield_now();
                mix(word)
            })
            .join()
            .unwrap_or(0)
        });
        attend(w);
        if found != mix(word) {
            w.broke(format_args!("a thread gave {found:#x}, not {:#x}", mix(word)));
        }
        w.count(Count::Threads, 1);
        w.count(Count::Syscalls, 1);
        time::sleep(Duration::from_micros(rng.length(2000) as u64));
    }
}

fn thread() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

/// The slack of a thread's timers while a goroutine is locked to it, in nanoseconds. Threads inherit it from who makes them.
const SLACK: i32 = 61_234;
/// The kernel's own.
const USUAL: i32 = 50_000;

fn set_slack(nanos: i32) {
    // SAFETY: a number.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanos) };
}

/// Nobody else made this thread than should have.
fn not_a_locked_one(w: Worker) {
    let region = gc_core::sync::current::Region::enter();
    // SAFETY: asks for a number.
    let (slack, thread) = (unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }, thread());
    drop(region);
    if slack == SLACK {
        w.broke(format_args!("thread {thread} was made by one that is a goroutine's own"));
    }
}

/// Goroutines that keep their thread whatever they do; some end with it.
pub fn locked(w: Worker) {
    let mut rng = w.rng();
    while w.go() {
        not_a_locked_one(w);
        let (n, seed) = (rng.length(20), rng.draw());
        let ends_locked = rng.one_in(2);
        let one = spawn(move || {
            let mut rng = crate::oracle::rng::Rng::new(seed);
            not_a_locked_one(w);
            lock_os_thread();
            let mine = thread();
            set_slack(SLACK);
            for _ in 0..n {
                match rng.below(4) {
                    0 => yield_now(),
                    1 => time::sleep(Duration::from_micros(rng.length(300) as u64)),
                    2 => {
                        let there = blocking((), |()| thread());
                        if there != mine {
                            w.broke(format_args!("locked to thread {mine}, a blocking call runs on {there}"));
                        }
                        w.count(Count::Syscalls, 1);
                    }
                    _ => drop(Gc::new([seed; 4])),
                }
                if thread() != mine {
                    w.broke(format_args!("locked to thread {mine}, and runs on {}", thread()));
                }
                w.tick();
            }
            // Whoever runs here next is not locked.
            set_slack(USUAL);
            if !ends_locked {
                unlock_os_thread();
            }
        });
        if one.join().is_err() {
            w.broke(format_args!("a locked goroutine panicked"));
        }
        w.count(Count::Spawned, 1);
    }
}
