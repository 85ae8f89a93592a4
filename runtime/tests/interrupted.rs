//! Calls that signals interrupt, under a storm and stops in a loop, inside and outside `blocking`: they end, none before
//! its time, and with no other error than EINTR.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{needs, run, with_procs};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use tricolor::{blocking, gc, spawn};

/// How long each call is to last.
const TIME: Duration = Duration::from_millis(4);

/// What signals may do to a call.
#[derive(Clone, Copy, PartialEq)]
enum Signals {
    /// It goes on by itself, or its library does so.
    GoUnnoticed,
    /// It returns EINTR, even though the handler was installed with SA_RESTART.
    Interrupt,
}

/// A call that goes on until [`TIME`] is over, and how often it was interrupted.
type Call = (&'static str, Signals, fn() -> u32);

const CALLS: [Call; 9] = [
    ("thread::sleep", Signals::GoUnnoticed, sleeps),
    ("Condvar::wait_timeout", Signals::GoUnnoticed, waits_for_a_condition),
    ("Receiver::recv_timeout", Signals::GoUnnoticed, waits_for_a_message),
    ("thread::park_timeout", Signals::GoUnnoticed, parks),
    ("read of a pipe", Signals::GoUnnoticed, reads),
    ("nanosleep", Signals::Interrupt, || interrupted(nanosleep)),
    ("poll", Signals::Interrupt, || interrupted(poll)),
    ("epoll_wait", Signals::Interrupt, || interrupted(epoll_wait)),
    ("a timed futex", Signals::Interrupt, || interrupted(futex)),
];

fn sleeps() -> u32 {
    std::thread::sleep(TIME);
    0
}

fn waits_for_a_condition() -> u32 {
    let (lock, condition) = (Mutex::new(()), Condvar::new());
    let guard = lock.lock().expect("nobody panics");
    let (_guard, waited) = condition.wait_timeout_while(guard, TIME, |()| true).expect("nobody panics");
    assert!(waited.timed_out());
    0
}

fn waits_for_a_message() -> u32 {
    let (_to, from) = mpsc::channel::<()>();
    assert_eq!(from.recv_timeout(TIME), Err(mpsc::RecvTimeoutError::Timeout));
    0
}

/// std promises that it ends, and not when.
fn parks() -> u32 {
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        std::thread::park_timeout(TIME);
    }
    0
}

/// As libc has it, without a loop around it.
fn reads() -> u32 {
    let (from, to) = std::io::pipe().expect("a pipe");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(TIME + Duration::from_millis(1));
        std::io::Write::write_all(&mut &to, &[7]).expect("somebody reads");
    });
    let mut byte = 0_u8;
    // SAFETY: reads one byte into a live one.
    let n = unsafe { libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1) };
    assert_eq!((n, byte), (1, 7), "{}", std::io::Error::last_os_error());
    writer.join().expect("it writes");
    0
}

/// Calls again with the time that is left, as a program must; how often that was.
fn interrupted(call: fn(Duration) -> libc::c_int) -> u32 {
    let begin = Instant::now();
    let mut times = 0;
    loop {
        let left = TIME.saturating_sub(begin.elapsed());
        if call(left) == 0 {
            return times;
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => times += 1,
            Some(libc::ETIMEDOUT) => return times,
            _ => panic!("{error}"),
        }
    }
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() }
}

/// Milliseconds, rounded up.
fn millis(time: Duration) -> libc::c_int {
    time.as_nanos().div_ceil(1_000_000) as libc::c_int
}

fn nanosleep(time: Duration) -> libc::c_int {
    let (wanted, mut left) = (timespec(time), timespec(Duration::ZERO));
    // SAFETY: two live timespecs.
    let result = unsafe { libc::nanosleep(&raw const wanted, &raw mut left) };
    // The kernel counts to the end of the timer's slack.
    assert!(result == 0 || left.tv_sec == 0 && left.tv_nsec <= wanted.tv_nsec + 1_000_000);
    result
}

fn poll(time: Duration) -> libc::c_int {
    // SAFETY: no files.
    unsafe { libc::poll(std::ptr::null_mut(), 0, millis(time)) }
}

fn epoll_wait(time: Duration) -> libc::c_int {
    // SAFETY: a file of its own, and room for one event. `close` fails for no reason that matters here.
    unsafe {
        let file = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let result = libc::epoll_wait(file, &raw mut event, 1, millis(time));
        let error = *libc::__errno_location();
        libc::close(file);
        *libc::__errno_location() = error;
        result
    }
}

fn futex(time: Duration) -> libc::c_int {
    let (word, time) = (0_u32, timespec(time));
    let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: waits for a word that nobody changes.
    unsafe { libc::syscall(libc::SYS_futex, &raw const word, wait, 0, &raw const time) as libc::c_int }
}

/// SIGURG to a thread, until it is dropped: inside `blocking` the runtime has no reason to send any.
struct Nagging(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Nagging {
    fn of_this_thread() -> Nagging {
        let on = Arc::new(AtomicBool::new(true));
        let go_on = on.clone();
        // SAFETY: asks for numbers.
        let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
        let sender = std::thread::spawn(move || {
            while go_on.load(Ordering::Relaxed) {
                // SAFETY: a signal that the runtime handles.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGURG) };
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Nagging(on, Some(sender))
    }
}

impl Drop for Nagging {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        self.1.take().map(std::thread::JoinHandle::join);
    }
}

fn outside_blocking(which: usize) -> u32 {
    CALLS[which].2()
}

fn inside_blocking(which: usize) -> u32 {
    blocking(which, |which| {
        let _nagging = Nagging::of_this_thread();
        CALLS[which].2()
    })
}

/// Runs all calls so, each until signals have interrupted it, if they do that.
fn under_signals(call: fn(usize) -> u32) {
    // Much longer than the timer's slack (50 us), by which a sleep that is interrupted says too much is left: at shorter
    // intervals a sleep that begins again with what is left may not get on.
    run(with_procs(3).preempt_storm(Duration::from_micros(400)), move || {
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        let stops = spawn(move || {
            while !end.load(Ordering::Relaxed) {
                gc::with_stopped_world(|| {});
                blocking((), |()| std::thread::sleep(Duration::from_micros(300)));
            }
        });
        for (which, (name, signals, _)) in CALLS.iter().enumerate() {
            let (begin, mut times) = (Instant::now(), 0);
            for round in 0.. {
                let start = Instant::now();
                times += call(which);
                assert!(start.elapsed() >= TIME, "{name} ended early: after {:?}", start.elapsed());
                if round >= 5 && (*signals == Signals::GoUnnoticed || times > 0) {
                    break;
                }
                assert!(begin.elapsed() < Duration::from_secs(60), "{name}: never interrupted");
            }
            assert!(*signals == Signals::Interrupt || times == 0);
        }
        over.store(true, Ordering::Relaxed);
        stops.join().expect("no panic");
    });
}

#[test]
fn calls_outside_blocking_end_in_time() {
    needs!(Signals);
    under_signals(outside_blocking);
}

#[test]
fn calls_inside_blocking_end_in_time() {
    needs!(Signals);
    under_signals(inside_blocking);
}
